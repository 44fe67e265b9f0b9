"""A world small enough to try every future: the real controller, store contract and decisions; scripted evidence; a virtual clock.

Every call to the store, the target and the pager passes through `World.call`, where a schedule may let it fail in the ways
in which real ones do. What must never happen is checked where it would happen, by `Oracle`, which knows nothing of `decide`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops_obs.errors import Conflict, ObsError, StateError, TargetError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.log.phrases import RecordedBudget
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.obey import FULL
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.ports import compact
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.rollout_memory import MemoryStore

if TYPE_CHECKING:
    from exhaustive_run import Run

SERVICE, TICK, TTL = "credit-risk", 2.0, 3.0
START = 1_000_000.0
FROZEN = RecordedBudget(freeze="promotions are frozen", actions={"availability": "freeze"}, watched=("availability",))
ANY_CALL = ("crash-before", "crash-after", "takeover")
MENU: dict[str, tuple[str, ...]] = {
    "tick": ("blind", "clock-back", "clock-leap", "meddle"),
    "lease": (*ANY_CALL, "error"),
    "load": ("crash-before", "error", "stale", "takeover"),
    "save": (*ANY_CALL, "error", "error-after", "conflict"),
    "weights": (*ANY_CALL, "error", "stale"),
    "way_back": ("crash-before", "error", "gone", "takeover"),
    "deploy": (*ANY_CALL, "error", "error-after", "conflict", "denied"),
    "set_weights": (*ANY_CALL, "error", "error-after", "conflict", "denied", "late", "crash-late"),
    "finish": (*ANY_CALL, "error", "error-after", "conflict"),
    "deliver": (*ANY_CALL, "error", "error-after"),
}
Schedule = tuple[tuple[int, int, str], ...]  # (tick, number of the call in it, fault)


class Killed(BaseException):
    """kill -9: nothing after it runs."""


class Violation(BaseException):  # the controller swallows an Exception of its target
    """Something that must never happen, happened."""


@dataclass(frozen=True)
class Scenario:
    """A story: what the canary is like, what people ask for at which tick, and how it may end (phase, canary's percent)."""

    name: str
    ends: frozenset[tuple[str, int]]
    canary: str = "healthy"  # healthy, bad, late
    requests: tuple[tuple[int, str], ...] = ()
    frozen: tuple[int, int] = (0, 0)
    shared: tuple[int, int] = (0, 0)
    finishes: bool = False
    spec: dict[str, Any] = field(default_factory=dict)


class World:
    """Everything outside of the controller. `fork` makes a copy that goes its own way."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.store = MemoryStore()
        self.now, self.tick, self.calls = START, 0, 0
        self.split, self.shown_before = {"v1": 100}, {"v1": 100}
        self.packages = {"v1"}
        self.finished = ""
        self.since_change, self.exposed, self.at_top = 0, 0, 0
        self.harmful = False
        self.blind = self.gone = self.meddled = 0
        self.late: tuple[tuple[int, dict[str, int], dict[str, int]], ...] = ()
        self.delivered: tuple[str, ...] = ()
        self.previous: Stored | None = None
        self.last_fault = 0
        self.owner, self.nested = 1, False
        self.carry: Any = None  # what the controller had in memory when a copy was made
        # the oracle's own memory
        self.last_change, self.last_accept, self.last_known = 0, -1, -1
        self.tries = 0
        fields = {"service": SERVICE, "canary": "v2", "package": "/p", "steps": (20, 100), "step_duration_min": TICK, "digest": "sha256:a"}
        spec = Rollout.model_validate({**fields, **scenario.spec})
        state = RolloutState(id="r", spec=spec, created_at=self.now, updated_at=self.now)
        self.store.create(state, make_record("request", state, at=self.now, action="start", reason="", before=None, after=None))

    def fork(self) -> World:
        other = copy.copy(self)
        other.store = self.store.snapshot()
        other.split, other.packages = dict(self.split), set(self.packages)
        return other

    @property
    def state(self) -> RolloutState:
        return self.store._rollouts[-1][0]

    @property
    def share(self) -> int:
        return self.split.get("v2", 0)

    # --- time and evidence ----------------------------------------------------------------------------------

    def pass_time(self) -> None:
        """Let one tick go by: requests arrive, late changes land, evidence grows."""
        self.tick, self.calls = self.tick + 1, 0
        self.now += TICK
        for at, kind in self.scenario.requests:
            if at == self.tick:
                self.store.request(self.state.id, kind, "ada", "because", self.now)  # type: ignore[arg-type]
        for due, weights, expected in self.late:
            if due == self.tick and compact(self.split) == compact(expected):
                self._set(weights)
                self.last_fault = self.tick
        if self.meddled and self.tick >= self.meddled:
            self.meddled = 0
            if self.state.goal == "forward":
                self._set(dict(self.state.previous if self.state.step_started_at is None else self.state.desired) or {"v1": 100})
        self.since_change += 1
        self.exposed += bool(self.share)
        self.at_top += self.share >= 90
        bad = self.exposed >= 3 if self.scenario.canary == "bad" else self.scenario.canary == "late" and self.at_top >= 4
        self.harmful = self.harmful or bad

    def verdict(self) -> Verdict:
        if self.tick < self.blind:
            return Verdict("unknown", "nothing can be seen")
        if self.harmful:
            return Verdict("condemned", "v2 fails", attribution="canary")
        if self.scenario.shared[0] <= self.tick < self.scenario.shared[1]:
            return Verdict("undecided", "both arms fail", attribution="shared")
        if not self.share:
            return Verdict("undecided", "no traffic")
        return Verdict("accepted", "as good") if self.since_change >= 2 else Verdict("undecided", "too few requests")

    def budget(self) -> RecordedBudget:
        return FROZEN if self.scenario.frozen[0] <= self.tick < self.scenario.frozen[1] else RecordedBudget()

    def _set(self, weights: dict[str, int]) -> None:
        self.shown_before, self.split = self.split, compact(weights)
        self.since_change, self.last_change = 0, self.tick

    # --- the oracle -----------------------------------------------------------------------------------------

    def change(self, weights: dict[str, int], token: int, *, zombie: bool) -> None:
        """Apply a change of the controller that holds `token`, unless it must never happen."""
        if compact(weights) == compact(self.split):
            return
        if not any(one["kind"] == "intent" and compact(one["weights_after"] or {}) == compact(weights) for one in self.store.raw()):
            raise Violation(f"{weights} was not written down before it was done")
        if token != self.store.token and not zombie:
            raise Violation(f"a controller that was replaced (token {token} of {self.store.token}) changed the traffic")
        state = self.state
        if weights.get("v2", 0) > self.share and not zombie:
            if "v2" not in self.packages:
                raise Violation("traffic for a revision that is not ready")
            if state.goal != "forward" or state.over:
                raise Violation(f"traffic rose to {weights} after a retreat was decided")
            if self.last_known != self.tick and state.waived < state.step:
                raise Violation("traffic rose although nothing could be seen")
            if state.waived < state.step and (self.budget().freeze or self.verdict().attribution == "shared"):
                raise Violation("traffic rose in a freeze or a shared incident")
            if state.waived < state.step and weights["v2"] in state.spec.manual_gates:
                raise Violation(f"nobody let the rollout pass to {weights['v2']} %")
            if self.tick < self.gone and state.waived < FULL and state.watch_started_at is None:
                raise Violation("traffic rose without a way back")
            fresh = self.last_accept >= self.last_change and self.tick - self.last_accept <= 32
            if self.share and not fresh and state.waived < state.step:
                raise Violation(f"traffic rose to {weights} without evidence newer than the last change")
        self._set(weights)

    def saved(self, before: RolloutState, after: RolloutState) -> None:
        if before.over and after.phase != before.phase and not (before.phase == "Promoted" and after.goal == "rollback"):
            raise Violation(f"{before.phase} did not stay: {after.phase}")
        if before.goal != "forward" and after.goal != before.goal:
            raise Violation("a retreat was taken back")

    def end(self) -> None:
        """Check what must hold when the faults are over and time has passed."""
        state = self.state
        if not state.over:
            raise Violation(f"no end: {state.phase}: {state.reason}")
        if self.store.load(SERVICE).requests:  # type: ignore[union-attr]
            raise Violation("a request that is never answered")
        if (state.phase, self.share) not in self.scenario.ends:
            raise Violation(f"ended as {state.phase} with {self.share} %: {state.reason}")
        if self.harmful and self.share and not any("/stuck" in key or "/guard" in key for key in self.delivered):
            raise Violation("a condemned canary has traffic and nobody was told")
        if state.outbox or set(state.told) - set(self.delivered):
            raise Violation(f"nobody was told: {set(state.told) - set(self.delivered) or state.outbox}")
        if state.goal == "rollback" and f"{state.id}/rollback" not in self.delivered:
            raise Violation("a rollback of which nobody was told")

    # --- calls and faults -----------------------------------------------------------------------------------

    def call(self, name: str, act: Callable[[], Any], run: Run) -> Any:
        if self.nested:
            return act()
        self.calls += 1
        run.trace.append((self.tick, self.calls, name))
        fault = run.schedule.get((self.tick, self.calls))
        if fault is None:
            return act()
        self.last_fault = self.tick
        error: ObsError = TargetError("OBS-FAKE-004", "the target does not answer")
        if name in ("lease", "load", "save"):
            error = StateError("OBS-ROLL-011", "the store does not answer")
        assert fault in MENU[name], f"call {self.calls} of tick {self.tick} is {name}, not one that can {fault}"
        if fault == "crash-before":
            raise Killed
        if fault in ("error", "denied"):
            raise error
        if fault == "conflict":
            raise StateError("OBS-ROLL-012", "it moved on") if name == "save" else Conflict("OBS-FAKE-002", "somebody was first")
        if fault in ("late", "crash-late"):
            self.late = (*self.late, (self.tick + 3, *run.arguments))
            if fault == "late":
                raise error
            raise Killed
        if fault == "stale":
            if name == "load" and self.previous is not None:
                return self.previous
            return dict(self.shown_before) if name == "weights" else act()
        if fault == "gone":
            self.gone = self.tick + 6
            return act()
        if fault == "takeover":
            run.take_over(self)
            return act()
        act()
        if fault == "crash-after":
            raise Killed
        raise error  # applied, then timed out
