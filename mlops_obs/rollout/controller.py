"""The loop that makes decisions real: look, decide, write down the intent, act, write down the result, tell people.

It is level-triggered: each step starts from what the store and the target say now, so that a controller killed at any
instruction is continued by the next one. The trap is a second controller: a lease lets one act, it is asked for again
right before each change, every save carries its fencing token, and every change of weights names the weights it expects
to find. A look that is not recorded changes nothing; its state is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mlops_obs.errors import ObsError, StateError, TargetError
from mlops_obs.rollout.budget import NO_BUDGET, Budget, BudgetWatch
from mlops_obs.rollout.evidence.memory import Memory
from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence, Unknown
from mlops_obs.rollout.gates import GateReading, GateWatch
from mlops_obs.rollout.log.phrases import RecordedBudget
from mlops_obs.rollout.log.records import Record, decided, done, news
from mlops_obs.rollout.machine.clocks import on_time
from mlops_obs.rollout.machine.decide import decide, settle
from mlops_obs.rollout.machine.delivery import Delivery
from mlops_obs.rollout.machine.inputs import Look, slices_of
from mlops_obs.rollout.machine.look import arms_of, see, since_start
from mlops_obs.rollout.machine.retreat import guarded
from mlops_obs.rollout.machine.state import Action, Decision, Deploy, Finish, Request, RolloutState, Seen, SetWeights
from mlops_obs.rollout.ports import Finishes, Notifier, TrafficTarget, WayBack
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.spec import SLO

_RECORD_EVERY = 10.0  # seconds between records while nothing but words and counts change
_WAY_BACK_EVERY = 10.0  # seconds for which the answer about the way back is good enough while no traffic rises

Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Stored:
    """A rollout as the store has it: the version guards the next save, `requests` are not answered yet.

    `known_bad` names a rollout of the same package (by its digest) that was rolled back; empty if there is none.
    """

    state: RolloutState
    version: int
    requests: tuple[Request, ...] = ()
    known_bad: str = ""


class ControllerStore(Protocol):
    """What the controller needs to survive a kill. Every method raises StateError if the store fails, and then changed nothing."""

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        """Take or renew the lease for `ttl` seconds; return its fencing token, or None while another owner holds it."""
        ...

    def load(self, key: str) -> Stored | None:
        """Return the newest rollout of `key`: a service, or a Rollout's name in Kubernetes."""
        ...

    def save(self, stored: Stored, state: RolloutState, records: list[Record], token: int, *, answered: bool = False) -> Stored:
        """Replace `stored` by `state` and append `records`, all or nothing; with `answered`, its requests are done.

        Raises StateError OBS-ROLL-012 if the version moved on, OBS-ROLL-013 if the lease `token` is not current.
        """
        ...

    def history(self, rollout: str) -> list[Record]:
        """Return all records of one rollout, oldest first: the evidence after a restart."""
        ...


def directly(act: Act, renew: Act) -> None:  # noqa: ARG001 - nothing renews a lease on the thread that acts
    """Carry out an act on this thread. For acts that may outlast the lease, give the controller one that renews it meanwhile."""
    act()


class Controller:
    """Carries the newest rollout of one service forward; call `step` about once a second.

    Args:
        slos: objectives; the budget policies of those of the service are obeyed, the others are stages of chains.
        owner: unique name of this process, kept in the lease.
        clock: Unix seconds; read again after an action, which may take long.
        ttl: seconds after which another controller may take over.
        notifier: whoever tells people; None: nobody.
        key: under which the store has the rollout; None: the service.
        carry_out: runs an act and renews the lease while it lasts.
    """

    def __init__(
        self,
        service: str,
        store: ControllerStore,
        target: TrafficTarget,
        source: CounterSource,
        *,
        owner: str,
        clock: Callable[[], float],
        ttl: float = 15.0,
        slos: Sequence[SLO] = (),
        notifier: Notifier | None = None,
        key: str | None = None,
        carry_out: Callable[[Act, Act], None] = directly,
    ) -> None:
        self._budgets = BudgetWatch(service, slos, source)
        self._slos = tuple(slos)
        self._key, self._store, self._target, self._source = service if key is None else key, store, target, source
        self._owner, self._clock, self._ttl = owner, clock, ttl
        self._delivery = Delivery(notifier)
        self._carry_out = carry_out
        self._memory: Memory | None = None

    def step(self) -> RolloutState | None:
        """Look once and do at most one thing; return the state, or None if there is no rollout or another controller has the lease.

        Raises:
            StateError: the store cannot be read or written, or this controller has been replaced. Nothing was done half.
        """
        now = self._clock()
        token = self._store.lease(self._owner, now, self._ttl)
        if token is None:
            self._memory = None
            return None
        stored = self._store.load(self._key)
        if stored is None:
            return None
        if stored.state.over and not stored.requests and not guarded(stored.state, now):
            return self._deliver(stored, token).state
        memory = self._remembered(stored)
        look = self._look(stored, memory, now)
        seen, decision = self._decided(stored.state, look, memory)
        if _rises(decision, seen) and look.way_back is not None and (memory.way_back or (now,))[0] != now:
            look = replace(look, way_back=self._ask_way_back(stored.state, memory, now, 0.0))
            seen, decision = self._decided(stored.state, look, memory)
        if decision.action is not None:
            return self._act(stored, decision, decision.action, seen, look, memory, token)
        return self._note(stored, decision, seen, look, memory, token)

    # --- looking --------------------------------------------------------------------------------------------

    def _remembered(self, stored: Stored) -> Memory:
        state, memory = stored.state, self._memory
        if memory is None or (memory.rollout, memory.version) != (state.id, stored.version):
            reader = EvidenceReader(self._source, state.spec, self._slos)
            gates = GateWatch(state.spec, self._source, self._slos) if state.spec.gates else None
            memory = Memory(state.id, stored.version, reader, gates, recorded=slices_of(self._store.history(state.id)))
            self._memory = memory
        return memory

    def _look(self, stored: Stored, memory: Memory, now: float) -> Look:
        state = on_time(stored.state, now)
        look = Look(now, None, requests=stored.requests, finishes=isinstance(self._target, Finishes), known_bad=stored.known_bad)
        if state.stable and not state.over:
            arms = arms_of(state)
            evidence = self._read(state, arms, memory, now)
            if isinstance(evidence, Unknown):
                look = replace(look, looked=True, unknown=evidence.reason)
            else:
                memory.learn(evidence.slices[len(since_start(state, memory.slices)) :])
                look = replace(look, looked=True, until=evidence.until, bounds=evidence.bounds, notes=evidence.notes)
            away = isinstance(evidence, Unknown) and evidence.away  # each further question would wait for its own timeout
            budget = RecordedBudget.of(self._look_at_budgets(state, arms, now, away) if self._budgets.slos else NO_BUDGET)
            gates = () if away else self._gates(state, arms, memory, now)
            look = replace(look, slices=tuple(memory.fresh), budget=budget, gates=gates)
            look = replace(look, way_back=self._ask_way_back(state, memory, now, _WAY_BACK_EVERY))
        elif any(one.kind == "rollback" for one in stored.requests) and state.phase == "Promoted":
            look = replace(look, way_back=self._ask_way_back(state, memory, now, 0.0))  # stable may be gone for long
        try:
            return replace(look, weights=dict(self._target.weights()))
        except Exception as error:  # noqa: BLE001 - refusal or surprise, nothing is done without the weights
            return replace(look, problem=str(_told(error)))

    def _read(self, state: RolloutState, arms: Arms, memory: Memory, now: float) -> Evidence | Unknown:
        try:
            return memory.reader.read(arms, state.began_at, since_start(state, memory.slices), state.shown, now)
        except Exception as error:  # noqa: BLE001 - a surprise in the metrics must not keep a person's abort from the target
            return Unknown(f"metrics cannot be read: unexpected {type(error).__name__}: {error}")

    def _look_at_budgets(self, state: RolloutState, arms: Arms, now: float, away: bool) -> Budget:
        what = "the error budgets cannot be read: the metrics are away"
        try:
            if not away:
                return self._budgets.look(state.spec, arms, state.began_at, now)
        except Exception as error:  # noqa: BLE001 - as above; what cannot be read neither starts nor lifts a freeze
            what = f"the error budgets cannot be read: unexpected {type(error).__name__}: {error}"
        every = tuple(slo.name for slo in self._budgets.slos)
        return Budget(unknown=(what,), watched=every, unread=every)

    def _gates(self, state: RolloutState, arms: Arms, memory: Memory, now: float) -> tuple[GateReading, ...]:
        if memory.gates is None:
            return ()
        return memory.gates.look(arms, state.began_at, state.step_started_at, now)

    def _ask_way_back(self, state: RolloutState, memory: Memory, now: float, age: float) -> WayBack:
        """Ask the target, or take an answer that is at most `age` seconds old and was good; what cannot be told is not ready."""
        known = memory.way_back
        if known is not None and known[1].ready and 0 <= now - known[0] < age:
            return known[1]
        try:
            way = self._target.way_back(state.stable)
        except Exception as error:  # noqa: BLE001 - as for the weights
            way = WayBack(False, f"it cannot be told: {_told(error)}")
        memory.way_back = (now, way)
        return way

    # --- deciding and acting --------------------------------------------------------------------------------

    def _decided(self, state: RolloutState, look: Look, memory: Memory) -> tuple[Seen, Decision]:
        seen = see(state, look, memory.slices)
        decision = decide(state, seen, look.now)
        return seen, replace(decision, state=decision.state.model_copy(update={"updated_at": look.now}))

    def _note(self, stored: Stored, decision: Decision, seen: Seen, look: Look, memory: Memory, token: int) -> RolloutState:
        """Save a decision without an action if it says something new, or if it is time; else nothing has happened."""
        before, state = stored.state, decision.state
        due = not before.over and abs(look.now - before.updated_at) >= max(_RECORD_EVERY, before.spec.slice)
        if stored.requests or due or news(before, state):
            stored = self._save(stored, state, decided(before, decision, seen, look), token, memory, answered=True)
        self._deliver(stored, token)
        return state

    def _act(self, stored: Stored, decision: Decision, action: Action, seen: Seen, look: Look, memory: Memory, token: int) -> RolloutState:
        """Write the intent, act, write the result. A kill between any two of them is repaired by the next step."""
        stored = self._save(stored, decision.state, decided(stored.state, decision, seen, look), token, memory, answered=True)
        self._hold_lease(token)
        error = self._try(action, token)
        at = self._clock()
        state = settle(stored.state, action, error, at).model_copy(update={"updated_at": at})
        self._hold_lease(token)
        stored = self._save(stored, state, [done(decision, state, seen, error, at)], token, memory)
        self._deliver(stored, token)
        return state

    def _try(self, action: Action, token: int) -> ObsError | None:
        def act() -> None:
            if isinstance(action, Deploy):
                self._target.deploy(action.revision, action.package)
            elif isinstance(action, Finish):
                if isinstance(self._target, Finishes):
                    self._target.finish(action.revision)
            else:
                self._target.set_weights(action.weights, action.expected)

        try:
            self._carry_out(act, lambda: self._hold_lease(token))
        except StateError:
            raise
        except Exception as error:  # noqa: BLE001 - a surprise in an adapter is told and tried again like a refusal
            return _told(error)
        return None

    def _hold_lease(self, token: int) -> None:
        """Renew the lease; raise StateError if it is another's by now: what we were about to do is not ours to do any more."""
        if self._store.lease(self._owner, self._clock(), self._ttl) != token:
            self._memory = None
            raise StateError("OBS-ROLL-013", "another controller has taken over", todo="stop this one")

    def _save(
        self, stored: Stored, state: RolloutState, records: list[Record], token: int, memory: Memory, *, answered: bool = False
    ) -> Stored:
        if self._delivery.nobody and state.outbox:
            state = state.model_copy(update={"outbox": ()})
        try:
            after = self._store.save(stored, state, records, token, answered=answered)
        except BaseException:
            self._memory = None  # whether it was saved is not known
            raise
        memory.saved(after.version, recorded=any("now" in one.get("input", {}) for one in records))
        return after

    def _deliver(self, stored: Stored, token: int) -> Stored:
        """Hand over what people must be told; what was taken leaves the outbox, what was not is tried again later."""
        left = self._delivery.attempt(stored.state.outbox, self._clock())
        if len(left) == len(stored.state.outbox):
            return stored
        memory = self._memory
        after = self._store.save(stored, stored.state.model_copy(update={"outbox": left}), [], token)
        if memory is not None and memory.version == stored.version:
            memory.saved(after.version, recorded=False)
        return after


def _rises(decision: Decision, seen: Seen) -> bool:
    """Tell whether the canary would get more traffic."""
    action, canary = decision.action, decision.state.spec.canary
    return isinstance(action, SetWeights) and action.weights.get(canary, 0) > (seen.weights or {}).get(canary, 0)


def _told(error: Exception) -> TargetError:
    """Return what a target raised as a TargetError, also what its adapter did not foresee."""
    if isinstance(error, TargetError):
        return error
    what = f"unexpected {type(error).__name__} from the target: {error}"
    return TargetError("OBS-ROLL-021", what, todo="see that its address and names are right")
