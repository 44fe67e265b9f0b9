"""A cluster whose time moves only in `second`: Rollout objects on a real API server, a target in memory, counters made from its weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_obs.adapters.kubernetes.events import Event
from mlops_obs.adapters.kubernetes.reconcile import Looked, Reconciler
from mlops_obs.adapters.kubernetes.resources import ROLLOUTS
from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.testing.counters import ScriptedCounters
from mlops_obs.testing.targets import FakeTarget
from tests.kubernetes.conftest import rollout

START = 1_800_000_000.0
HEALTHY, BAD = 0.0, 0.45
SPEC = {"steps": [20, 50, 100], "step_duration_min": "6s", "slice": "2s", "block": "2s", "warm_up": "0s", "alpha_accept": 0.05}


class Told:
    """An EventSink that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def run(self, stop: Any) -> None:
        stop.wait()

    def reasons(self) -> list[str]:
        return [one.reason for one in self.events]


class Leader:
    """Who leads is said by the test."""

    def __init__(self, token: int | None = 1) -> None:
        self.now = token

    def token(self) -> int | None:
        return self.now

    def outrank(self, token: int) -> None:
        self.now = token + 1


class ClusterWorld:
    """One namespace. `operator()` gives one more reconciler that sees the same cluster."""

    name = "credit-risk"

    def __init__(self, api: Any, namespace: str, *, errors: float = HEALTHY, rps: int = 60, seed: int = 1) -> None:
        self.api, self.namespace, self.errors, self.rps = api, namespace, errors, rps
        self.random, self.now = np.random.default_rng(seed), START
        self.counters, self.target = ScriptedCounters(), FakeTarget({"v1": 100}, {"v1": "/packages/v1"})
        self.told = Told()
        self.scraping = True
        self.leader = Leader()
        self.counters.add_requests("credit-risk", "v1")
        self.people = KubernetesRolloutStore(api, namespace, clock=lambda: self.now)
        self.reconciler = self.operator(self.leader)
        self.stores: dict[str, KubernetesRolloutStore]
        for _ in range(5):
            self.second(look=False)

    def operator(self, leader: Leader, target: Any = None, api: Any = None, **settings: Any) -> Reconciler:
        api = api or self.api
        stores: dict[str, KubernetesRolloutStore] = {}

        def store(namespace: str) -> KubernetesRolloutStore:
            return stores.setdefault(
                namespace, KubernetesRolloutStore(api, namespace, leader=leader, clock=lambda: self.now, saved=self._saved)
            )

        def controller(name: str, store: Any, target: Any, spec: Any) -> Controller:
            return Controller(spec.service, store, target, self.counters, owner="op", clock=lambda: self.now, key=name)

        return Reconciler(
            api,
            store,
            self.told,
            token=leader.token,
            make_target=lambda _: target or self.target,
            make_controller=controller,
            clock=lambda: self.now,
            **settings,
        )

    def _saved(self, about: Any, records: Any) -> None:
        from mlops_obs.adapters.kubernetes.events import event_of

        self.told.events += [event for event in (event_of(about, one) for one in records) if event]

    # --- what people do -----------------------------------------------------------------------------------------

    def apply(self, **spec: Any) -> str:
        document = rollout(self.name, **{**SPEC, **spec})
        if "target" not in spec:
            document["spec"]["target"]["kserve"]["namespace"] = self.namespace
        return self.people.apply(document)

    def ask(self, kind: str, reason: str = "because") -> None:
        self.people.request(self.status["rollout"], kind, "ada", reason, self.now)

    def delete(self) -> None:
        self.api.delete(ROLLOUTS, self.namespace, self.name)

    # --- time ---------------------------------------------------------------------------------------------------

    def second(self, look: bool = True) -> Looked | None:
        """Answer a second of requests with the weights that are applied, scrape, then look as the queue would."""
        self.now += 1.0
        weights = dict(self.target._weights)
        shares = self.random.multinomial(int(self.random.poisson(self.rps)), [percent / 100 for percent in weights.values()])
        for revision, count in zip(weights, shares, strict=True):
            errors = int(self.random.binomial(int(count), HEALTHY if revision == "v1" else self.errors))
            self.counters.add_requests("credit-risk", revision, total=int(count), errors=errors)
        if self.scraping:
            self.counters.scrape(self.now - 0.3)
        return self.look() if look else None

    def look(self, reconciler: Reconciler | None = None) -> Looked:
        looked = (reconciler or self.reconciler).look((self.namespace, self.name))
        while looked.again == 0.0:
            looked = (reconciler or self.reconciler).look((self.namespace, self.name))
        return looked

    def run(self, seconds: int, until: Any = None) -> RolloutState | None:
        state = None
        for _ in range(seconds):
            looked = self.second()
            state = (looked and looked.state) or state
            if state and (until or (lambda one: one.over))(state):
                break
        return state

    # --- what there is ------------------------------------------------------------------------------------------

    @property
    def object(self) -> Any:
        return self.api.get(ROLLOUTS, self.namespace, self.name)

    @property
    def status(self) -> Any:
        return self.object.get("status") or {}

    def condition(self, name: str) -> tuple[str, str]:
        found = next(one for one in self.status["conditions"] if one["type"] == name)
        return found["status"], found["reason"]

    @property
    def share(self) -> int:
        return self.target._weights.get("v2", 0)
