"""A whole rollout on a virtual clock: counters, target, store and controller, with requests drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlops_obs.adapters.rollout_store import RolloutStore
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.spec import SLO
from mlops_obs.testing.counters import ScriptedCounters
from mlops_obs.testing.targets import FakeTarget

SERVICE = "credit-risk"
START = 1_800_000_000.0
HEALTHY = (0.0, 0.01)  # share of errors, share of slow requests
BAD = (0.45, 0.4)


@dataclass
class World:
    """Time moves only in `tick`: requests are answered, counters scraped, the controller looks."""

    folder: Path
    canary: tuple[float, float] = HEALTHY
    stable: tuple[float, float] = HEALTHY
    rps: int = 30
    seed: int = 1
    spec: Mapping[str, Any] = field(default_factory=dict)
    now: float = START
    slos: Sequence[SLO] = ()

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.counters = ScriptedCounters()
        self.target = FakeTarget({"v1": 100}, {"v1": "/packages/v1"})
        self.store = RolloutStore(self.folder / "state.db")
        self.scraping = True
        self.counters.add_requests(SERVICE, "v1")
        self.owner = 0
        for _ in range(5):
            self.pass_second()

    def start(self) -> RolloutState:
        spec = Rollout.model_validate({"service": SERVICE, "canary": "v2", "package": "/packages/v2", **self.spec})
        state = RolloutState(id=f"{SERVICE}-{spec.canary}", spec=spec, created_at=self.now)
        record = make_record("request", state, at=self.now, action="start", reason="", before=None, after=None, actor="test")
        return self.store.create(state, record)

    def ask(self, kind: Any, reason: str = "because") -> None:
        self.store.request(self.state.id, kind, "ada", reason, self.now)

    def controller(self, store: Any = None, target: Any = None, ttl: float = 15.0, **more: Any) -> Controller:
        self.owner += 1
        return Controller(
            SERVICE,
            store or self.store,
            target or self.target,
            self.counters,
            owner=f"test-{self.owner}",
            clock=lambda: self.now,
            ttl=ttl,
            slos=self.slos,
            **more,
        )

    def pass_second(self) -> None:
        """Answer a second of requests with the weights that are applied, then scrape."""
        self.now += 1.0
        weights = dict(self.target._weights)
        total = int(self.random.poisson(self.rps))
        shares = self.random.multinomial(total, [percent / 100 for percent in weights.values()])
        for revision, count in zip(weights, shares, strict=True):
            errors, slow = self.stable if revision == "v1" else self.canary
            n = int(count)
            self.counters.add_requests(
                SERVICE, revision, total=n, errors=int(self.random.binomial(n, errors)), slow=int(self.random.binomial(n, slow))
            )
        if self.scraping:
            self.counters.scrape(self.now - 0.3)

    def run(self, seconds: int, controller: Controller | None = None, until: Callable[[RolloutState], bool] | None = None) -> RolloutState:
        controller = controller or self.controller()
        for _ in range(seconds):
            self.pass_second()
            state = controller.step()
            if state and (until or (lambda one: one.over))(state):
                break
        return self.state

    @property
    def state(self) -> RolloutState:
        stored = self.store.load(SERVICE)
        assert stored is not None
        return stored.state

    @property
    def share(self) -> int:
        return self.target._weights.get("v2", 0)
