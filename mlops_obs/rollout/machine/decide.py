"""`decide(state, seen, now)`: everything a rollout ever does, as a pure function.

Order matters, and it is the safety argument. What a person asked comes first; then a proven harm, because it outlives
every other trouble; then what we cannot see, which stops us; then an error budget that is spent, which freezes us, and
an incident that is not the canary's; then whether there is a way back, and whether a person has to say yes; only then
may traffic rise. A retreat, once decided, is never taken back: it ends when the target itself says that the canary has
no traffic. The parts are in `obey`, `retreat` and `forward`.
"""

from __future__ import annotations

from mlops_obs.errors import Conflict, ObsError
from mlops_obs.rollout.machine.clocks import hold_clock, on_time
from mlops_obs.rollout.machine.follow import follow
from mlops_obs.rollout.machine.forward import forward, hold
from mlops_obs.rollout.machine.notices import tell
from mlops_obs.rollout.machine.obey import obey, refused, text, turn_back, with_
from mlops_obs.rollout.machine.pace import next_weight
from mlops_obs.rollout.machine.readiness import note
from mlops_obs.rollout.machine.retreat import guard, guarded, retreat
from mlops_obs.rollout.machine.state import Action, Decision, Deploy, Finish, RolloutState, Seen, Verb

_SETTLE = 5.0  # seconds that a target gets to show weights it has accepted
_BACKOFF_FORWARD, _BACKOFF_RETREAT = 30.0, 5.0  # longest pause between attempts, seconds


def decide(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Return what to do next and the state to remember; at most one action, and none that is not needed."""
    before, state = state, on_time(state, now)
    state, verb = obey(state, seen.requests)
    if state.over:
        idle = verb is not None or not guarded(state, now)
        decision = Decision(state, verb or "wait", state.reason) if idle else guard(state, seen, now)
    else:
        decision = _decide(state, seen, now, verb)
    return tell(before, decision, seen, now)


def _decide(state: RolloutState, seen: Seen, now: float, verb: Verb | None) -> Decision:
    state = note(_observed(state, seen, now), seen)
    state, frozen = _budgeted(state, seen, now)
    harm = _harm(seen) if state.goal == "forward" else ""
    if harm:
        state = turn_back(state, "rollback", harm)
    state = hold_clock(state, bool(frozen) or _excused(state, seen), now)
    if state.spec.dry_run and seen.weights is not None:
        return follow(state, seen, now)
    if seen.weights is None and (state.goal == "forward" or state.step >= 0):
        doing = "" if state.goal == "forward" else f"{state.goal} of {state.spec.canary} is due ({state.why}), but "
        return hold(state, f"{doing}the target does not tell its weights: {seen.problem}")
    if state.goal != "forward":
        return retreat(state, seen, now)
    return forward(state, seen, now, verb, frozen)


def _harm(seen: Seen) -> str:
    """Return why the canary must go, if that is proven; a freeze, a shared incident or blindness proves nothing."""
    verdict = seen.verdict
    if verdict.kind == "condemned":
        return verdict.reason
    if verdict.kind == "unknown" or verdict.attribution == "shared":
        return seen.budget.rollback if verdict.kind != "unknown" else ""
    failed = next((one for one in seen.gates if one.ok is False and one.on_fail == "rollback" and not one.dry_run), None)
    return seen.budget.rollback or (f"gate {failed.name}: {failed.words}" if failed else "")


def _observed(state: RolloutState, seen: Seen, now: float) -> RolloutState:
    """Note what the verdict is, and since when nothing can be seen or the target says nothing."""
    blind, silent = seen.verdict.kind == "unknown", seen.weights is None
    return with_(
        state,
        verdict=seen.verdict.kind,
        attribution=seen.verdict.attribution,
        unknown_since=(now if state.unknown_since is None else state.unknown_since) if blind else None,
        silent_since=(now if state.silent_since is None else state.silent_since) if silent else None,
    )


def _excused(state: RolloutState, seen: Seen) -> bool:
    """Tell whether the deadline stands still: nothing can be decided now, or a person has to."""
    verdict = seen.verdict
    if seen.weights is None or verdict.kind == "unknown" or verdict.attribution == "shared" or state.paused:
        return True
    if state.step >= 0 and any(one.ok is None and not one.dry_run for one in seen.gates):
        return True
    if verdict.kind != "accepted" or state.waived > state.step or not state.stable:
        return False
    return next_weight(state, seen)[0] in state.spec.manual_gates


def settle(state: RolloutState, action: Action, error: ObsError | None, now: float) -> RolloutState:
    """Return the state after `action` was carried out, or failed with `error`."""
    if error is None:
        done: dict[str, object] = {"attempts": 0, "retry_at": now + _SETTLE}
        if isinstance(action, Deploy):
            done |= {"deployed": True, "retry_at": 0.0, "reason": f"{state.spec.canary} is ready at weight 0"}
        elif isinstance(action, Finish):
            done |= {"finished": True, "retry_at": 0.0}
        return with_(state, **done)
    longest = _BACKOFF_FORWARD if state.goal == "forward" else _BACKOFF_RETREAT
    plain = isinstance(error, Conflict) and not isinstance(action, Deploy)
    pause = 1.0 if plain else min(longest, 2.0 ** min(state.attempts, 10))
    doing = (
        f"deploy {state.spec.canary}"
        if isinstance(action, Deploy)
        else f"finish with {action.revision}"
        if isinstance(action, Finish)
        else f"set {text(action.weights)}"
    )
    state = with_(state, attempts=state.attempts + 1, retry_at=now + pause, phase=state.phase if state.over else "Holding")
    way_out = "; `obs rollout abort` gives up and leaves the traffic as it is" if refused(state) else ""
    return with_(state, reason=f"could not {doing}: {error}{way_out}")


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
        state = with_(state, frozen_at=now)
    elif not frozen and state.frozen_at is not None:
        since = max(now - state.frozen_at, 0.0)  # a clock that was set back froze nothing
        state = with_(state, frozen_at=None, frozen_for=state.frozen_for + since)
    words = frozen or budget.warning or (budget.unknown[0] if budget.unknown else "")
    return with_(state, budget=words, policy={**asked, **budget.actions}), frozen
