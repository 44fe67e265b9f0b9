"""A world small enough to try every future: the real controller, store contract and decisions; scripted evidence; a virtual clock.

Every call to the store, the target and the pager passes through `World.call`, where a schedule may let it fail in the ways
in which real ones do. What must never happen is checked where it would happen, by `Oracle`, which knows nothing of `decide`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mlops_obs.errors import Conflict, ObsError, StateError, TargetError
from mlops_obs.rollout.controller import Controller, Stored
from mlops_obs.rollout.decide import decide
from mlops_obs.rollout.inputs import Look
from mlops_obs.rollout.judge import Verdict
from mlops_obs.rollout.memory import Memory
from mlops_obs.rollout.obey import FULL
from mlops_obs.rollout.ports import Finishes, Notice, WayBack
from mlops_obs.rollout.records import make_record
from mlops_obs.rollout.said import RecordedBudget
from mlops_obs.rollout.spec import Rollout
from mlops_obs.rollout.state import RolloutState, Seen, compact
from mlops_obs.testing.rollout_memory import MemoryStore

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


class Hand:
    """The store, the target and the pager as one controller reaches them."""

    def __init__(self, world: World, run: Run) -> None:
        self.world, self.run, self.token = world, run, 0

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        found = self.world.call("lease", lambda: self.world.store.lease(owner, now, ttl), self.run)
        self.token = found or self.token
        return found

    def load(self, key: str) -> Stored | None:
        found = self.world.call("load", lambda: self.world.store.load(key), self.run)
        self.world.previous = found
        return found

    def history(self, rollout: str) -> list[Any]:
        return []

    def save(self, stored: Stored, state: RolloutState, records: list[Any], token: int, *, answered: bool = False) -> Stored:
        def act() -> Stored:
            before = self.world.state
            after = self.world.store.save(stored, state, records, token, answered=answered)
            self.world.saved(before, state)
            return after

        return self.world.call("save", act, self.run)

    def weights(self) -> dict[str, int]:
        return self.world.call("weights", lambda: dict(self.world.split), self.run)

    def way_back(self, revision: str) -> WayBack:
        def act() -> WayBack:
            gone = self.world.tick < self.world.gone
            return WayBack(not gone, f"{revision} was collected" if gone else "")

        return self.world.call("way_back", act, self.run)

    def deploy(self, revision: str, package: str) -> None:
        self.world.call("deploy", lambda: self.world.packages.add(revision), self.run)

    def set_weights(self, weights: Any, expected: Any) -> None:
        world = self.world
        zombie_at = world.store.token

        def act() -> None:
            world.tries += 1
            now = compact(world.split)
            if now == compact(weights):
                return
            if now != compact(expected):
                raise Conflict("OBS-FAKE-002", f"weights are {now}, not {expected}")
            world.change(dict(weights), self.token, zombie=world.store.token != zombie_at)

        self.run.arguments = (dict(weights), dict(expected))
        world.call("set_weights", act, self.run)

    def deliver(self, notice: Notice) -> None:
        def act() -> None:
            if notice.key not in self.world.delivered:
                self.world.delivered = (*self.world.delivered, notice.key)

        self.world.call("deliver", act, self.run)


class FinishingHand(Hand):
    def finish(self, revision: str) -> None:
        def act() -> None:
            if compact(self.world.split) != {revision: 100}:
                raise Conflict("OBS-FAKE-007", "not all the traffic")
            self.world.finished = revision

        self.world.call("finish", act, self.run)


class Scripted(Controller):
    """The real controller; only what it reads of the metrics is scripted."""

    def __init__(self, world: World, run: Run, owner: str) -> None:
        hand = (FinishingHand if world.scenario.finishes else Hand)(world, run)
        super().__init__(SERVICE, hand, hand, None, owner=owner, clock=lambda: world.now, ttl=TTL, notifier=hand)  # type: ignore[arg-type]
        self.world = world

    def _remembered(self, stored: Stored) -> Memory:
        memory = self._memory
        if memory is None or memory.version != stored.version:
            self._memory = memory = Memory(stored.state.id, stored.version, None, None)  # type: ignore[arg-type]
        return memory

    def _look(self, stored: Stored, memory: Memory, now: float) -> Look:
        state = stored.state
        look = Look(now, None, requests=stored.requests, finishes=isinstance(self._target, Finishes), budget=self.world.budget())
        if state.stable and not state.over:
            look = replace(look, looked=True, way_back=self._ask_way_back(state, memory, now, 10.0))
        try:
            return replace(look, weights=dict(self._target.weights()))
        except Exception as error:  # noqa: BLE001
            return replace(look, problem=str(error))

    def _decided(self, state: RolloutState, look: Look, memory: Memory) -> tuple[Seen, Any]:
        verdict = self.world.verdict() if look.looked else Verdict("undecided", "not looked")
        if verdict.kind == "accepted":
            self.world.last_accept = self.world.tick
        if verdict.kind not in ("unknown", "condemned") and look.weights is not None:
            self.world.last_known = self.world.tick
        seen = Seen(look.weights, verdict, look.requests, look.problem, look.budget, look.way_back, (), look.finishes)
        decision = decide(state, seen, look.now)
        return seen, replace(decision, state=decision.state.model_copy(update={"updated_at": look.now}))


class Run:
    """One future: a schedule of faults carried out from a world, to the end."""

    LONGEST = 90

    def __init__(self, schedule: Schedule, states: set[Any] | None = None) -> None:
        self.schedule = {(tick, number): fault for tick, number, fault in schedule}
        self.last = max((tick for tick, _, _ in schedule), default=0)
        self.trace: list[tuple[int, int, str]] = []
        self.arguments: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self.states = states

    def play(self, world: World, keep: dict[int, World] | None = None) -> World:
        """Go on from `world` until the rollout is over and calm; `keep` gets a copy of the world before each tick."""
        controller = Scripted(world, self, f"c{world.owner}")
        if world.carry is not None:
            controller._memory = copy.copy(world.carry[0])
            controller._delivery._failures, controller._delivery._again_at = world.carry[1:]
        calm = 0
        while calm < 5:
            if world.tick - self.last > self.LONGEST:
                break
            if keep is not None:
                delivery = controller._delivery
                world.carry = (copy.copy(controller._memory), delivery._failures, delivery._again_at)
                keep[world.tick + 1] = world.fork()
            world.pass_time()
            self._weather(world)
            try:
                controller.step()
            except Killed:
                world.owner += 1
                world.now += TTL
                controller = Scripted(world, self, f"c{world.owner}")
            except StateError:
                if world.owner != int(controller._owner[1:]):
                    controller = Scripted(world, self, f"c{world.owner}")
            if world.owner != int(controller._owner[1:]):
                controller = Scripted(world, self, f"c{world.owner}")
            state = world.state
            if self.states is not None:
                self.states.add(
                    (state.phase, state.goal, state.step, state.deployed, state.finished, min(state.attempts, 6), bool(state.outbox),
                     state.paused, bool(state.way_back), state.verdict, tuple(sorted(world.split.items())), state.step_started_at is None,
                     bool(state.foreign), min(len(state.fights), 4), state.watch_started_at is None)
                )  # fmt: skip
            quiet = state.over and not state.outbox and world.tick >= self.last and all(due < world.tick for due, _, _ in world.late)
            quiet = quiet and not world.store.load(SERVICE).requests  # type: ignore[union-attr]
            quiet = quiet and all(at <= world.tick for at, _ in world.scenario.requests)
            calm = calm + 1 if quiet else 0
        world.end()
        return world

    def take_over(self, world: World) -> None:
        """Let time pass and another controller work for a while, as if the one that runs were asleep."""
        world.nested, world.owner = True, world.owner + 1
        other = Scripted(world, self, f"c{world.owner}")
        world.now += TTL + 1
        for _ in range(4):
            world.pass_time()
            other.step()
        world.nested = False
        world.calls = 1_000  # what the sleeper still does in this tick is not numbered again

    def _weather(self, world: World) -> None:
        world.calls += 1
        self.trace.append((world.tick, world.calls, "tick"))
        fault = self.schedule.get((world.tick, world.calls))
        if fault is None:
            return
        world.last_fault = world.tick
        if fault == "blind":
            world.blind = world.tick + 4
        elif fault in ("clock-back", "clock-leap"):
            world.now += -300.0 if fault == "clock-back" else 300.0
        elif fault == "meddle" and not world.state.over and world.state.step >= 0:  # before, an abort leaves the split to its maker
            world._set({"v1": 65, "v2": 35})
            world.meddled = world.tick + 3
