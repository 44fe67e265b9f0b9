"""`decide(state, seen, now)`: everything a rollout ever does, as a pure function.

Order matters, and it is the safety argument. What a person asked comes first; then a proven harm, because it outlives
every other trouble; then what we cannot see, which stops us; then an error budget that is spent, which freezes us; only
then may traffic rise. A retreat, once decided, is never taken back: it ends when the target itself says that the canary
has no traffic.
"""

from __future__ import annotations

from typing import Any

from mlops_obs.durations import humanize_duration
from mlops_obs.errors import Conflict, ObsError
from mlops_obs.rollout.state import Action, Decision, Deploy, Request, RolloutState, Seen, SetWeights, Verb, compact

_SETTLE = 5.0  # seconds that a target gets to show weights it has accepted
_REFUSALS = 5  # failures after which a person may give up a retreat from a canary that has all the traffic
_BACKOFF_FORWARD, _BACKOFF_RETREAT = 30.0, 5.0  # longest pause between attempts, seconds


def decide(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Return what to do next and the state to remember; at most one action, and none that is not needed."""
    state, verb = _obey(state, seen.requests)
    if state.over:
        return Decision(state, verb or "wait", state.reason)
    state, frozen = _budgeted(state, seen, now)
    if state.goal == "forward" and seen.verdict.kind == "condemned":
        state = _turn_back(state, "rollback", seen.verdict.reason)
    elif state.goal == "forward" and seen.budget.rollback and seen.verdict.kind != "unknown":
        state = _turn_back(state, "rollback", seen.budget.rollback)
    if seen.weights is None and (state.goal == "forward" or state.step >= 0):
        doing = "" if state.goal == "forward" else f"{state.goal} of {state.spec.canary} is due ({state.why}), but "
        return _hold(state, f"{doing}the target does not tell its weights: {seen.problem}")
    if state.goal != "forward":
        return _retreat(state, seen, now)
    return _forward(state, seen, now, verb, frozen)


def settle(state: RolloutState, action: Action, error: ObsError | None, now: float) -> RolloutState:
    """Return the state after `action` was carried out, or failed with `error`."""
    if error is None:
        ready = {"deployed": True, "reason": f"{state.spec.canary} is ready at weight 0"} if isinstance(action, Deploy) else {}
        return _with(state, attempts=0, retry_at=0.0 if ready else now + _SETTLE, **ready)
    longest = _BACKOFF_FORWARD if state.goal == "forward" else _BACKOFF_RETREAT
    pause = 1.0 if isinstance(error, Conflict) and isinstance(action, SetWeights) else min(longest, 2.0 ** min(state.attempts, 10))
    doing = f"deploy {state.spec.canary}" if isinstance(action, Deploy) else f"set {_text(action.weights)}"
    state = _with(state, attempts=state.attempts + 1, retry_at=now + pause, phase="Holding")
    way_out = "; `obs rollout abort` gives up and leaves the traffic as it is" if _refused(state) else ""
    return _with(state, reason=f"could not {doing}: {error}{way_out}")


def _refused(state: RolloutState) -> bool:
    """The target will not take back all the traffic, e.g. for want of the old revision; nothing else could ever end the rollout."""
    return state.goal != "forward" and state.attempts >= _REFUSALS and state.previous == {state.spec.canary: 100}


def _obey(state: RolloutState, requests: tuple[Request, ...]) -> tuple[RolloutState, Verb | None]:
    """Fold what people asked into the state, in order. What makes no sense any more is left without effect."""
    verb: Verb | None = None
    for one in requests:
        words = f"{one.kind} asked by {one.actor}" + (f": {one.reason}" if one.reason else "")
        if one.kind == "rollback" and state.phase == "Promoted":
            state, verb = _turn_back(_with(state, phase="Progressing", ended_at=None), "rollback", words), "rollback"
        elif one.kind == "abort" and _refused(state):
            reason = f"{words}; {state.spec.canary} keeps the traffic, for the target did not take it back"
            state, verb = _with(state, phase="Aborted", reason=reason, desired=state.previous, ended_at=one.at), "abort"
        elif state.over or state.goal != "forward":
            continue
        elif one.kind in ("abort", "rollback"):
            verb = "abort" if one.kind == "abort" else "rollback"
            state = _turn_back(state, verb, words)
        elif one.kind == "pause":
            state, verb = _with(state, paused=True, phase="Paused", reason=words), "pause"
        elif one.kind == "resume":
            state, verb = _with(state, paused=False, reason=words), "resume"
        else:
            last = len(state.spec.steps)
            state, verb = _with(state, paused=False, waived=last if one.kind == "promote-full" else state.step + 1, reason=words), "promote"
        state = _with(state, actor=one.actor)
    return state, verb


def _budgeted(state: RolloutState, seen: Seen, now: float) -> tuple[RolloutState, str]:
    """Note what the budgets say; return why traffic must not rise, or an empty string.

    Ignorance starts no freeze, and ends none: a budget that cannot be read asks for what it asked for when it last could be. A
    person's `promote` passes a frozen step, as it passes one without evidence.
    """
    budget, frozen = seen.budget, seen.budget.freeze
    asked = {slo: action for slo, action in state.policy.items() if slo in budget.unread}
    still = sorted(slo for slo, action in asked.items() if action in ("freeze", "rollback"))
    if not frozen and still:
        frozen = f"promotions stay frozen by {', '.join(still)}: {'; '.join(budget.unknown)}"
    if frozen and state.frozen_at is None:
        state = _with(state, frozen_at=now)
    elif not frozen and state.frozen_at is not None:
        state = _with(state, frozen_at=None, frozen_for=_frozen_seconds(state, now))
    words = frozen or budget.warning or (budget.unknown[0] if budget.unknown else "")
    return _with(state, budget=words, policy={**asked, **budget.actions}), frozen


def _frozen_seconds(state: RolloutState, now: float) -> float:
    since = max(now - state.frozen_at, 0.0) if state.frozen_at is not None else 0.0  # a clock that was set back froze nothing
    return state.frozen_for + since


def _turn_back(state: RolloutState, goal: Verb, why: str) -> RolloutState:
    return _with(state, goal=goal, why=why, attempts=0, retry_at=0.0, paused=False)


def _retreat(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Give the canary's share back to stable; done when the target says so.

    A step that the target has never shown may still be on its way. No share now is no proof then: the share is taken
    back all the same, and the rollout ends only if the target still says so a settling time later.
    """
    found, canary = compact(seen.weights or {}), state.spec.canary
    verb: Verb = "abort" if state.goal == "abort" else "rollback"
    share = found.get(canary, 0)
    if share and found == compact(state.desired) and state.step_started_at is None:
        state = _with(state, step_started_at=now)
    shown = state.step_started_at is not None
    settled = found == compact(state.desired) and state.attempts == 0 and now >= state.retry_at
    if state.step < 0 or (share == 0 and (shown or settled)):  # before the first step nothing of ours has touched the traffic
        phase = "Aborted" if verb == "abort" else "RolledBack"
        return Decision(
            _with(state, phase=phase, reason=state.why, desired={**(found or state.desired), canary: 0}, ended_at=now), verb, state.why
        )
    if now < state.retry_at:
        return Decision(state, "wait", state.reason)
    weights = {**found, state.stable: found.get(state.stable, 0) + share, canary: 0}
    attempts = state.attempts if share else max(1, state.attempts)  # not 0, or a kill before the act would pass for its success
    state = _with(state, phase="Progressing", reason=state.why, desired=weights, previous=found, attempts=attempts)
    return Decision(state, verb, state.why, SetWeights(weights, dict(seen.weights or {})))


def _forward(state: RolloutState, seen: Seen, now: float, verb: Verb | None, frozen: str) -> Decision:
    spec, found, verdict = state.spec, compact(seen.weights or {}), seen.verdict
    if not state.stable:
        stable = next(iter(found), "")
        if len(found) != 1:
            return _hold(state, f"traffic is split already ({_text(found)}); a rollout starts from one revision at 100 %")
        if stable == spec.canary:
            return _hold(state, f"{spec.canary} has all the traffic already; abort this rollout")
        state = _with(state, stable=stable, desired=found, previous=found)
    if found != compact(state.desired) and (state.step < 0 or found != compact(state.previous)):
        return _hold(
            state, f"someone else changed the traffic: found {_text(found)}, expected {_text(state.desired)}; restore it, or abort"
        )
    if not state.deployed:
        if now < state.retry_at:
            return Decision(state, "wait", state.reason)
        state = _with(state, phase="Pending", reason=f"deploying {spec.canary} at weight 0")
        return Decision(state, "deploy", state.reason, Deploy(spec.canary, spec.package))
    if found != compact(state.desired):
        if state.paused:
            return Decision(_with(state, phase="Paused"), verb or "wait", state.reason)
        if now < state.retry_at:
            return Decision(state, "wait", state.reason)
        if verdict.kind == "unknown" and state.waived < state.step:
            return _hold(state, verdict.reason)
        if frozen and state.waived < state.step:
            return _hold(state, frozen)
        return _set(state, seen, now, f"once more: {verdict.reason}")
    if state.step >= 0 and state.step_started_at is None:
        state = _with(state, step_started_at=now)
    if state.paused:
        return Decision(_with(state, phase="Paused"), verb or "wait", state.reason)
    if state.waived > state.step:
        return _next(state, seen, now, state.reason)
    if verdict.kind == "unknown":
        return _hold(state, verdict.reason)
    if now - state.created_at - _frozen_seconds(state, now) > spec.deadline:
        why = f"no verdict within {humanize_duration(spec.deadline)}: {verdict.reason}"
        if spec.on_inconclusive == "rollback":
            return _retreat(_turn_back(state, "rollback", why), seen, now)
        return _hold(state, why + "; promote, abort or roll back by hand")
    if frozen and state.step < 0:
        return _hold(state, frozen)
    if state.step < 0:
        return _next(state, seen, now, f"{spec.canary} is ready and {state.stable}'s requests can be seen")
    left = spec.step_duration_min - (now - (state.step_started_at or now))
    if frozen and verdict.kind == "accepted" and left <= 0 and state.step + 1 < len(spec.steps):
        return _hold(state, f"{verdict.reason}, but {frozen}")
    if verdict.kind == "accepted" and left <= 0:
        return _next(state, seen, now, verdict.reason)
    reason = verdict.reason if left <= 0 or verdict.kind != "accepted" else f"{verdict.reason}; {humanize_duration(left)} left of this step"
    return Decision(_with(state, phase="Progressing", reason=reason), verb or "wait", reason)


def _next(state: RolloutState, seen: Seen, now: float, reason: str) -> Decision:
    """Go to the next step, or end as promoted after the last one."""
    steps = state.spec.steps
    if state.step + 1 >= len(steps):
        return Decision(_with(state, phase="Promoted", reason=reason, ended_at=now), "promote", reason)
    step = len(steps) - 1 if state.waived >= len(steps) else state.step + 1
    share = steps[step]
    state = _with(
        state,
        step=step,
        desired={state.stable: 100 - share, state.spec.canary: share},
        previous=compact(seen.weights or {}),
        began_at=now if state.began_at is None else state.began_at,
        step_started_at=None,
        attempts=0,
    )
    return _set(state, seen, now, reason)


def _set(state: RolloutState, seen: Seen, now: float, reason: str) -> Decision:
    state = _with(state, phase="Progressing", reason=reason, retry_at=now)
    return Decision(state, "advance", reason, SetWeights(state.desired, dict(seen.weights or {})))


def _hold(state: RolloutState, reason: str) -> Decision:
    return Decision(_with(state, phase="Paused" if state.paused else "Holding", reason=reason), "hold", reason)


def _with(state: RolloutState, **changes: Any) -> RolloutState:
    return state.model_copy(update=changes)


def _text(weights: Any) -> str:
    return " ".join(f"{revision} {percent} %" for revision, percent in sorted(weights.items())) or "no traffic"
