"""The loop that makes decisions real: look, decide, write down the intent, act, write down the result.

It is level-triggered: each step starts from what the store and the target say now, so that a controller killed at any
instruction is continued by the next one. The trap is a second controller: a lease lets one act, every save carries the
lease's fencing token, and every change of weights names the weights it expects to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mlops_obs.errors import ObsError, TargetError
from mlops_obs.rollout.budget import NO_BUDGET, Budget, BudgetWatch
from mlops_obs.rollout.decide import decide, settle
from mlops_obs.rollout.evidence import Arms, read_evidence
from mlops_obs.rollout.judge import Verdict, judge
from mlops_obs.rollout.ports import TrafficTarget
from mlops_obs.rollout.records import Record, make_record
from mlops_obs.rollout.state import Action, Decision, Deploy, Request, RolloutState, Seen, SetWeights
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.spec import SLO

_RECORD_EVERY = 10.0  # seconds between records while nothing but the wording of a hold changes


@dataclass(frozen=True, slots=True)
class Stored:
    """A rollout as the store has it: the version guards the next save, `requests` are not answered yet."""

    state: RolloutState
    version: int
    requests: tuple[Request, ...] = ()


class ControllerStore(Protocol):
    """What the controller needs to survive a kill. Every method raises StateError if the store fails, and then changed nothing."""

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        """Take or renew the lease for `ttl` seconds; return its fencing token, or None while another owner holds it."""
        ...

    def load(self, service: str) -> Stored | None:
        """Return the newest rollout of `service`."""
        ...

    def save(self, stored: Stored, state: RolloutState, records: list[Record], token: int, *, answered: bool = False) -> Stored:
        """Replace `stored` by `state` and append `records`, all or nothing; with `answered`, its requests are done.

        Raises StateError OBS-ROLL-012 if the version moved on, OBS-ROLL-013 if the lease `token` is not current.
        """
        ...


class Controller:
    """Carries the newest rollout of one service forward; call `step` about once a second.

    Args:
        slos: objectives; the budget policies of those of the service are obeyed, the others are stages of chains.
        owner: unique name of this process, kept in the lease.
        clock: Unix seconds; read again after an action, which may take long.
        ttl: seconds after which another controller may take over.
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
    ) -> None:
        self._budgets = BudgetWatch(service, slos, source)
        self._service, self._store, self._target, self._source = service, store, target, source
        self._owner, self._clock, self._ttl = owner, clock, ttl
        self._recorded: tuple[str, int, float] = ("", -1, 0.0)  # rollout, slices and time of the last decision record

    def step(self) -> RolloutState | None:
        """Look once and do at most one thing; return the state, or None if there is no rollout or another controller has the lease.

        Raises:
            StateError: the store cannot be read or written, or this controller has been replaced. Nothing was done half.
        """
        now = self._clock()
        token = self._store.lease(self._owner, now, self._ttl)
        if token is None:
            return None
        stored = self._store.load(self._service)
        if stored is None or (stored.state.over and not stored.requests):
            return stored.state if stored else None
        seen = self._look(stored, now)
        decision = decide(stored.state, seen, now)
        records = [self._asked(decision.state, request, seen) for request in stored.requests]
        if decision.action is None:
            return self._note(stored, decision, seen, records, now, token)
        return self._act(stored, decision, decision.action, seen, records, now, token)

    def _look(self, stored: Stored, now: float) -> Seen:
        state = stored.state
        verdict, budget = Verdict("undecided", "nothing has been looked at yet"), NO_BUDGET
        if state.stable:
            # Until the target has shown the first step, the canary may have no traffic and owes us no samples.
            since = state.step_started_at or (state.began_at if state.step > 0 else None)
            arms = Arms(state.stable, state.spec.canary, bool(state.desired.get(state.stable)), since)
            try:
                evidence = read_evidence(self._source, state.spec, arms, state.began_at, now)
                verdict = judge(evidence, state.spec, state.stable, state.began_at, state.step_started_at)
            except Exception as error:  # noqa: BLE001 - a surprise in the metrics must not keep a person's abort from the target
                verdict = Verdict("unknown", f"metrics cannot be read: unexpected {type(error).__name__}: {error}")
            if self._budgets.slos and not state.over:
                budget = self._look_at_budgets(state, arms, now)
        try:
            return Seen(dict(self._target.weights()), verdict, stored.requests, budget=budget)
        except Exception as error:  # noqa: BLE001 - refusal or surprise, nothing is done without the weights
            return Seen(None, verdict, stored.requests, str(_told(error)), budget)

    def _look_at_budgets(self, state: RolloutState, arms: Arms, now: float) -> Budget:
        try:
            return self._budgets.look(state.spec, arms, state.began_at, now)
        except Exception as error:  # noqa: BLE001 - as above; what cannot be read neither starts nor lifts a freeze
            what = f"the error budgets cannot be read: unexpected {type(error).__name__}: {error}"
            every = tuple(slo.name for slo in self._budgets.slos)
            return Budget(unknown=(what,), watched=every, unread=every)

    def _asked(self, state: RolloutState, request: Request, seen: Seen) -> Record:
        return make_record(
            "request",
            state,
            at=request.at,
            action=request.kind,
            reason=request.reason,
            before=seen.weights,
            after=None,
            actor=request.actor,
        )

    def _note(self, stored: Stored, decision: Decision, seen: Seen, records: list[Record], now: float, token: int) -> RolloutState:
        """Save a decision without an action; record it if it says something new."""
        state, (rollout, slices, at) = decision.state, self._recorded
        news = (
            state.phase != stored.state.phase
            or state.policy != stored.state.policy
            or bool(records)
            or ((rollout, slices) != (state.id, seen.verdict.slices) and seen.verdict.kind != "unknown")
            or (state.reason != stored.state.reason and now - at >= _RECORD_EVERY)
        )
        if news:
            # The target confirms a retreat that was decided, and recorded as a decision, before.
            confirmed = state.phase in ("RolledBack", "Aborted") and stored.state.goal != "forward"
            records.append(
                make_record(
                    "result" if confirmed else "decision",
                    state,
                    at=now,
                    action=decision.verb,
                    reason=decision.reason,
                    before=seen.weights,
                    after=seen.weights,
                    evidence=seen.numbers(),
                )
            )
        if records or state != stored.state:
            self._store.save(stored, state.model_copy(update={"updated_at": now}), records, token, answered=True)
        if news:
            self._recorded = (state.id, seen.verdict.slices, now)
        return state

    def _act(
        self, stored: Stored, decision: Decision, action: Action, seen: Seen, records: list[Record], now: float, token: int
    ) -> RolloutState:
        """Write the intent, act, write the result. A kill between any two of them is repaired by the next step."""
        state, evidence = decision.state.model_copy(update={"updated_at": now}), seen.numbers()
        after = dict(action.weights) if isinstance(action, SetWeights) else seen.weights
        for kind in ("decision", "intent"):
            before, why = seen.weights, decision.reason
            records.append(
                make_record(kind, state, at=now, action=decision.verb, reason=why, before=before, after=after, evidence=evidence)
            )
        stored = self._store.save(stored, state, records, token, answered=True)
        error = self._carry_out(action)
        done = self._clock()
        state = settle(state, action, error, done).model_copy(update={"updated_at": done})
        result = make_record(
            "result",
            state,
            at=done,
            action=decision.verb,
            reason=decision.reason if error is None else state.reason,
            before=seen.weights,
            after=after if error is None else None,
            evidence=evidence,
            ok=error is None,
        )
        self._store.save(stored, state, [result], token)
        self._recorded = (state.id, seen.verdict.slices, done)
        return state

    def _carry_out(self, action: Action) -> ObsError | None:
        try:
            if isinstance(action, Deploy):
                self._target.deploy(action.revision, action.package)
            else:
                self._target.set_weights(action.weights, action.expected)
        except Exception as error:  # noqa: BLE001 - a surprise in an adapter is told and tried again like a refusal
            return _told(error)
        return None


def _told(error: Exception) -> TargetError:
    """Return what a target raised as a TargetError, also what its adapter did not foresee."""
    if isinstance(error, TargetError):
        return error
    what = f"unexpected {type(error).__name__} from the target: {error}"
    return TargetError("OBS-ROLL-021", what, todo="see that its address and names are right")
