"""The same controller and judge on every platform: a good canary gets all traffic, a bad one gets none, whatever splits it.

The platforms' stand-ins work in a thread on a real API server; the rollout's clock is virtual, a second per look.
"""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest
from rigs import KServeRig, KubeRayRig, LLMRig

from mlops_obs.adapters.rollout_store import RolloutStore
from mlops_obs.errors import TargetError
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.counters import ScriptedCounters

pytestmark = pytest.mark.stack
SERVICE, RATE, SECONDS = "credit-risk", 200, 900


class World:
    """Requests drawn from a seed, split as the platform's route has it."""

    def __init__(self, rig, folder, errors):
        self.rig, self.errors, self.now = rig, errors, 1_800_000_000.0
        self.random, self.counters, self.store = np.random.default_rng(7), ScriptedCounters(), RolloutStore(folder / "state.db")
        self.weights, self.highest = {"v1": 100}, 0
        self.counters.add_requests(SERVICE, "v1")
        for _ in range(5):
            self.second()
        spec = Rollout.model_validate(
            {"service": SERVICE, "canary": "v2", "package": rig.package("v2"), "steps": [20, 50, 100], "warm_up": "0s", "deadline": SECONDS}
        )
        state = RolloutState(id="r1", spec=spec, created_at=self.now)
        self.store.create(state, make_record("request", state, at=self.now, action="start", reason="", before=None, after=None, actor="t"))
        self.controller = Controller(SERVICE, self.store, rig.target, self.counters, owner="test", clock=lambda: self.now)

    def second(self):
        self.now += 1.0
        with contextlib.suppress(TargetError):  # the route is just being changed: it splits as before
            self.weights = dict(self.rig.target.weights())
        self.highest = max(self.highest, self.weights.get("v2", 0))
        for revision, percent in self.weights.items():
            n = int(self.random.poisson(RATE * percent / 100))
            share = self.errors if revision == "v2" else 0.005
            self.counters.add_requests(SERVICE, revision, total=n, errors=int(self.random.binomial(n, share)), slow=0)
        self.counters.scrape(self.now - 0.3)

    def run(self):
        for _ in range(SECONDS):
            self.second()
            state = self.controller.step()
            if state is not None and state.over:
                return state
            time.sleep(0.01)
        return state


@pytest.fixture(params=["Knative", "Standard", "LLM", "KubeRay"])
def world(request, cluster, tmp_path):
    made = {"LLM": LLMRig, "KubeRay": KubeRayRig}
    rig = made[request.param](cluster) if request.param in made else KServeRig(cluster, request.param)
    yield lambda errors: World(rig, tmp_path, errors)
    rig.close()


def test_a_good_canary_gets_all_the_traffic(world):
    one = world(0.005)

    state = one.run()

    assert (state.phase, state.reason) == ("Promoted", state.reason), state.reason
    one.rig.eventually({"v2": 100})


def test_a_bad_canary_is_taken_back_to_zero(world):
    one = world(0.2)

    state = one.run()

    assert state.phase == "RolledBack", (state.phase, state.reason)
    assert one.highest == 20
    one.rig.eventually({"v1": 100})
