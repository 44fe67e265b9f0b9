"""The way back: give the canary's share to stable, and keep trying until the target itself says that it is done.

Three traps. A step that the target has never shown may still be on its way: no share now is no proof then. Stable may be
gone: to send everything to a revision that cannot answer is worse than a bad canary, so it is waited for, but not for
ever, and people are told at once. And a platform, or a sync from Git, may put the traffic back after the end.
"""

from __future__ import annotations

from mlops_obs.rollout.machine.obey import REFUSALS, text, with_
from mlops_obs.rollout.machine.state import Decision, RolloutState, Seen, SetWeights, Verb
from mlops_obs.rollout.ports import compact

GUARD = 900.0  # seconds after a rollback in which a share that comes back is taken away again
LATE = 60.0  # seconds after an abort in which a step of ours that comes late is taken away again
_FIGHTS = 3  # times that this is done before it is left to people


def retreat(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Give the canary's share back to stable; done when the target says so.

    A step that the target has never shown may still be on its way. Its share is taken back all the same, and the rollout
    ends only if the target still says so a settling time later.
    """
    found, canary = compact(seen.weights or {}), state.spec.canary
    verb: Verb = "abort" if state.goal == "abort" else "rollback"
    share = found.get(canary, 0)
    if share and found == compact(state.desired) and state.step_started_at is None:
        state = with_(state, step_started_at=now, shown=(*state.shown, (now, share)))
    shown = state.step_started_at is not None
    settled = found == compact(state.desired) and state.attempts == 0 and now >= state.retry_at
    if state.step < 0 or (share == 0 and (shown or settled)):  # before the first step nothing of ours has touched the traffic
        phase = "Aborted" if verb == "abort" else "RolledBack"
        desired = {**(found or state.desired), canary: 0}
        return Decision(with_(state, phase=phase, reason=state.why, desired=desired, ended_at=now, fights=()), verb, state.why)
    if now < state.retry_at:
        return Decision(state, "wait", state.reason)
    if seen.way_back is not None and not seen.way_back.ready and not found.get(state.stable) and state.attempts < REFUSALS:
        reason = f"{verb} of {canary} is due ({state.why}), but {state.stable} could not take the traffic: {seen.way_back.reason}"
        pause = min(5.0, 2.0**state.attempts)
        state = with_(state, attempts=state.attempts + 1, retry_at=now + pause, phase="Holding", previous=found, reason=reason)
        return Decision(state, "hold", reason)
    weights = {**found, state.stable: found.get(state.stable, 0) + share, canary: 0}
    attempts = state.attempts if share else max(1, state.attempts)  # not 0, or a kill before the act would pass for its success
    state = with_(state, phase="Progressing", reason=state.why, desired=weights, previous=found, attempts=attempts)
    return Decision(state, verb, state.why, SetWeights(weights, dict(seen.weights or {})))


def guarded(state: RolloutState, now: float) -> bool:
    """Tell whether a rollout that is over still has to be looked at: its canary gave the traffic back and must stay so for a while.

    After a promotion the look itself is what is wanted: a target may have things to put right when it is asked for its weights. An
    abort that left the canary its traffic, because the target would not take it back, has nothing to keep.
    """
    left = state.phase == "Aborted" and state.weight > 0
    if not state.over or left or state.step < 0 or state.spec.dry_run:
        return False
    return now - (state.ended_at or now) < (LATE if state.phase == "Aborted" else GUARD)


def guard(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Keep the promise of a retreat: take away a share that came back, a few times, then leave it to people. The phase stays.

    After an abort a person may route as they like; only a split that is one of our own steps is one that came late, written by a
    controller that was asleep while another one carried out the abort.
    """
    found, canary = compact(seen.weights or {}), state.spec.canary
    share = found.get(canary, 0)
    late = share in state.plan and found == compact({state.stable: 100 - share, canary: share})
    if state.phase == "Promoted" or (state.phase == "Aborted" and not late):
        return Decision(state, "wait", state.reason)
    if not share or not found or now < state.retry_at or len(state.fights) > _FIGHTS:
        return Decision(state, "wait", state.reason)
    state = with_(state, fights=(*state.fights, now))
    if len(state.fights) > _FIGHTS:
        reason = f"{canary} gave its traffic back, but somebody gives it {share} % again and again; find out who (Git, a sync, a person)"
        return Decision(with_(state, reason=f"{state.why}; {reason}"), "hold", reason)
    weights = {**found, state.stable: found.get(state.stable, 0) + share, canary: 0}
    reason = f"{canary} gave its traffic back and got {share} % again (found {text(found)}): taken back"
    return Decision(with_(state, desired=weights, previous=found), "rollback", reason, SetWeights(weights, dict(seen.weights or {})))
