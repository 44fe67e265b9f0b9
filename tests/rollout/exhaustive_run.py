"""The real controller in the small world: its hands, through which every call goes, and one future played to its end."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from exhaustive_world import SERVICE, TTL, Killed, Schedule, World

from mlops_obs.errors import Conflict, StateError
from mlops_obs.rollout.controller import Controller, Stored
from mlops_obs.rollout.evidence.memory import Memory
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.machine.decide import decide
from mlops_obs.rollout.machine.inputs import Look
from mlops_obs.rollout.machine.state import RolloutState, Seen
from mlops_obs.rollout.ports import Finishes, Notice, WayBack, compact


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
            controller._delivery._later = world.carry[1]
        calm = 0
        while calm < 5:
            if world.tick - self.last > self.LONGEST:
                break
            if keep is not None:
                world.carry = (copy.copy(controller._memory), controller._delivery._later)
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
