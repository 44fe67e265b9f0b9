"""A dry run: everything is judged and recorded, and the traffic is never touched.

The trap is to imagine the traffic one would have set: the evidence is made by the split that is really there. So a dry
run follows what others do with the traffic, and says at each look what it would do.
"""

from __future__ import annotations

from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.machine.clocks import used
from mlops_obs.rollout.machine.forward import hold
from mlops_obs.rollout.machine.obey import text, with_
from mlops_obs.rollout.machine.pace import full_weight, next_weight, plan_of
from mlops_obs.rollout.machine.state import Decision, RolloutState, Seen
from mlops_obs.rollout.ports import compact

_SAYS = "dry run, the traffic was not touched: "


def follow(state: RolloutState, seen: Seen, now: float) -> Decision:
    """Return what would be decided at the split that is found; the decision never has an action."""
    spec, found, verdict = state.spec, compact(seen.weights or {}), seen.verdict
    if state.goal != "forward":
        phase, verb = ("Aborted", "abort") if state.goal == "abort" else ("RolledBack", "rollback")
        reason = _SAYS + state.why
        return Decision(with_(state, phase=phase, reason=reason, ended_at=now), "abort" if verb == "abort" else "rollback", reason)
    if not state.stable:
        others = [revision for revision in found if revision != spec.canary]
        if len(others) != 1:
            return hold(state, f"{_SAYS}it compares {spec.canary} with one other revision, and found {text(found)}")
        state = with_(state, stable=others[0], desired=found, previous=found, plan=plan_of(spec), deployed=True)
    share = found.get(spec.canary, 0)
    if not share:
        return hold(state, f"{_SAYS}waiting for somebody to give {spec.canary} traffic")
    if found != compact(state.desired) or state.step_started_at is None:
        step = max([0, *(index for index, weight in enumerate(state.plan) if weight <= share)])
        began = now if state.began_at is None else state.began_at
        shown = (*state.shown, (now, share))
        state = with_(state, desired=found, previous=state.desired, step=step, began_at=began, step_started_at=now, shown=shown)
    if state.paused:
        return Decision(with_(state, phase="Paused"), "wait", state.reason)
    if verdict.kind == "unknown" or verdict.attribution == "shared":
        return hold(state, verdict.reason)
    left = spec.step_duration_min - (now - (state.step_started_at or now))
    if verdict.kind == "accepted" and left <= 0:
        if share >= full_weight(spec):
            reason = f"{_SAYS}{verdict.reason}"
            return Decision(with_(state, phase="Promoted", reason=reason, ended_at=now), "promote", reason)
        weight, _ = next_weight(state, seen)
        reason = f"{_SAYS}would go on to {weight} %: {verdict.reason}"
        return Decision(with_(state, phase="Progressing", reason=reason), "advance", reason)
    if used(state, now) > spec.deadline:
        return hold(state, f"{_SAYS}no verdict within {humanize_duration(spec.deadline)}: {verdict.reason}")
    return Decision(with_(state, phase="Progressing", reason=verdict.reason), "wait", verdict.reason)
