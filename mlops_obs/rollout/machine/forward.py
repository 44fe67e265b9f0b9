"""The way up: step by step, each on fresh evidence, then a watch, then the end.

The order of the questions is the safety argument: whose split is it, can we see, is there budget, is it the canary's
doing, is there a way back, does a person have to say yes; only then may traffic rise. The trap is a change of ours that
lands late: a step up is sent again only while the evidence that allowed it is young, and a split that somebody else
made is never overwritten on the way up.
"""

from __future__ import annotations

from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.machine.clocks import used
from mlops_obs.rollout.machine.obey import END, FULL, text, turn_back, with_
from mlops_obs.rollout.machine.pace import can_decide, full_weight, next_weight, plan_of
from mlops_obs.rollout.machine.readiness import no_way_back
from mlops_obs.rollout.machine.retreat import retreat
from mlops_obs.rollout.machine.state import Decision, Deploy, Finish, RolloutState, Seen, SetWeights, Verb
from mlops_obs.rollout.ports import compact

_YOUNG = 60.0  # seconds for which the evidence that allowed a step allows to send it again
_FIGHT, _FIGHT_SPAN = 3, 600.0  # changes by somebody else within so many seconds are a fight


def forward(state: RolloutState, seen: Seen, now: float, verb: Verb | None, frozen: str) -> Decision:
    """Return what brings the rollout on, or why it has to wait."""
    spec, found, verdict = state.spec, compact(seen.weights or {}), seen.verdict
    if not state.stable:
        stable = next(iter(found), "")
        if len(found) != 1:
            return hold(state, f"traffic is split already ({text(found)}); a rollout starts from one revision at 100 %")
        if stable == spec.canary:
            return hold(state, f"{spec.canary} has all the traffic already; abort this rollout")
        state = with_(state, stable=stable, desired=found, previous=found, plan=plan_of(spec))
    state, quarrel = _others(state, found, now)
    if quarrel:
        return hold(state, quarrel)
    if not state.deployed:
        return _deploy(state, seen, now)
    if found != compact(state.desired):
        return _land(state, seen, now, verb, frozen)
    if state.step >= 0 and state.step_started_at is None:
        state = with_(state, step_started_at=now, shown=(*state.shown, (now, state.weight)))
    if state.paused:
        return Decision(with_(state, phase="Paused"), verb or "wait", state.reason)
    if state.watch_started_at is not None:
        return _watch(state, seen, now, verb)
    if state.waived > state.step:
        return _next(state, seen, now, state.reason, frozen)
    if verdict.kind == "unknown":
        return hold(state, verdict.reason)
    if verdict.attribution == "shared":
        return hold(state, verdict.reason)
    for gate in seen.gates:
        if not gate.dry_run and not gate.ok and state.step >= 0:
            return hold(state, f"gate {gate.name}: {gate.words}")
    lost = no_way_back(seen)
    if used(state, now) > spec.deadline and verdict.kind != "accepted":
        why = f"no verdict within {humanize_duration(spec.deadline)}: {verdict.reason}"
        if lost:
            return hold(state, f"{lost}; {why}")
        if spec.on_inconclusive == "rollback":
            return retreat(turn_back(state, "rollback", why), seen, now)
        return hold(state, why + "; promote, abort or roll back by hand")
    if frozen and state.step < 0:
        return hold(state, frozen)
    if state.step < 0:
        return _next(state, seen, now, f"{spec.canary} is ready and {state.stable}'s requests can be seen", frozen)
    left = spec.step_duration_min - (now - (state.step_started_at or now))
    if verdict.kind == "accepted" and left <= 0:
        return _next(state, seen, now, verdict.reason, frozen)
    reason = verdict.reason if left <= 0 or verdict.kind != "accepted" else f"{verdict.reason}; {humanize_duration(left)} left of this step"
    if verdict.kind == "undecided" and left <= 0 and verdict.power and not can_decide(verdict, spec, state.weight, state.weight):
        reason += f"; at this traffic a step at {state.weight} % cannot find a regression of {spec.least_detectable_ratio:g}x in time"
    if lost:
        return hold(state, f"{lost}; {reason}")
    return Decision(with_(state, phase="Progressing", reason=reason), verb or "wait", reason)


def _others(state: RolloutState, found: dict[str, int], now: float) -> tuple[RolloutState, str]:
    """Tell a split that somebody else made from one of ours, and count how often they change it."""
    ours = found == compact(state.desired)
    # What was wanted before, while our change is on its way; or a step up that was given up and comes late, to be taken back.
    late = found.get(state.spec.canary, 0) > state.weight
    landing = state.step >= 0 and (state.step_started_at is None or late) and found == compact(state.previous)
    if not ours and not landing:
        fights = state.fights
        if found != state.foreign:
            fights = (*(at for at in fights if now - at < _FIGHT_SPAN), now)
        state = with_(state, foreign=found, fights=fights)
        what = f"someone else changed the traffic: found {text(found)}, expected {text(state.desired)}; restore it, or abort"
        return state, what + (f" (change {len(fights)} within {humanize_duration(_FIGHT_SPAN)})" if len(fights) > 1 else "")
    if state.foreign:  # restored: what was answered meanwhile says nothing about this step
        started = now if state.step_started_at is not None else None
        # A step of ours that they turned back was allowed by evidence from before; it is not simply sent again.
        state = with_(state, foreign={}, step_started_at=started, raised_at=state.raised_at if started else None)
        state = with_(state, shown=(*state.shown, (now, state.weight))) if started else state
    recent = [at for at in state.fights if now - at < _FIGHT_SPAN]
    if len(recent) >= _FIGHT:
        left = humanize_duration(max(_FIGHT_SPAN - (now - recent[-1]), 1.0))
        what = f"somebody else changed the split {len(recent)} times within {humanize_duration(_FIGHT_SPAN)} (Git, a sync, a person)"
        return state, f"{what}; find out who, then resume; goes on by itself after {left} of peace"
    return state, ""


def _deploy(state: RolloutState, seen: Seen, now: float) -> Decision:
    spec = state.spec
    if seen.known_bad and not state.override:
        what = f"this very package (digest {spec.digest}) was rolled back in {seen.known_bad}"
        return hold(state, f"{what}; abort, or promote with --reason to ship it all the same")
    if now < state.retry_at:
        return Decision(state, "wait", state.reason)
    state = with_(state, phase="Pending", reason=f"deploying {spec.canary} at weight 0")
    return Decision(state, "deploy", state.reason, Deploy(spec.canary, spec.package))


def _land(state: RolloutState, seen: Seen, now: float, verb: Verb | None, frozen: str) -> Decision:
    """A change of ours has not landed: send it again, while it may still be sent."""
    rising = state.weight > (seen.weights or {}).get(state.spec.canary, 0)
    if state.paused and rising:
        return Decision(with_(state, phase="Paused"), verb or "wait", state.reason)
    if now < state.retry_at:
        return Decision(state, "wait", state.reason)
    if rising and state.waived < state.step:
        why_not = seen.verdict.reason if seen.verdict.kind == "unknown" or seen.verdict.attribution == "shared" else frozen
        if why_not:
            return hold(state, why_not)
    if rising and state.waived < FULL and state.watch_started_at is None:  # after the watch the way back is given up anyway
        lost = no_way_back(seen)
        if lost:
            return hold(state, lost)
    young = state.raised_at is not None and now - state.raised_at <= _YOUNG
    if rising and state.step > 0 and state.waived < state.step and not young:
        reason = f"the step to {state.weight} % was not taken in time; the evidence for it is asked anew"
        step = state.step if state.watch_started_at is not None else state.step - 1
        back = {"step": step, "desired": state.previous, "previous": state.desired, "step_started_at": None, "retry_at": now}
        return Decision(with_(state, **back, phase="Holding", reason=reason), "hold", reason)
    return _set(state, seen, now, f"once more: {seen.verdict.reason}")


def _next(state: RolloutState, seen: Seen, now: float, reason: str, frozen: str) -> Decision:
    """Go to the next step, or to the end after the last one; say why not where something stands in the way."""
    spec = state.spec
    weight, useless = next_weight(state, seen)
    waived = state.waived > state.step
    if weight is None:
        if spec.watch is not None and state.watch_started_at is None:
            reason = f"{reason}; {state.stable} stays warm for {humanize_duration(spec.watch)}"
            return Decision(with_(state, phase="Watching", watch_started_at=now, reason=reason), "wait", reason)
        return conclude(state, seen, now, reason)
    if frozen and not waived:
        return hold(state, f"{reason}, but {frozen}")
    lost = no_way_back(seen)
    if lost and state.waived < FULL:
        return hold(state, f"{reason}, but {lost}")
    if useless and not waived:
        return hold(state, f"{useless}; promote to pass by hand, or abort")
    if weight in spec.manual_gates and not waived:
        return hold(state, f"{reason}; {weight} % is a manual gate: obs rollout promote lets it pass")
    plan = state.plan if spec.pace == "steps" else (*state.plan[: state.step + 1], weight)
    step = plan.index(weight) if spec.pace == "steps" else len(plan) - 1
    state = with_(
        state,
        plan=plan,
        step=step,
        desired={state.stable: 100 - weight, spec.canary: weight},
        previous=compact(seen.weights or {}),
        began_at=now if state.began_at is None else state.began_at,
        raised_at=now,
        step_started_at=None,
        attempts=0,
    )
    return _set(state, seen, now, reason)


def _watch(state: RolloutState, seen: Seen, now: float, verb: Verb | None) -> Decision:
    """All the traffic is the canary's and the old revision warm: late harm was asked before, here only the end is."""
    spec, verdict = state.spec, seen.verdict
    started = max(state.watch_started_at or now, state.step_started_at or now)  # a split that somebody changed is watched anew
    left = (spec.watch or 0.0) - (now - started)
    lost = no_way_back(seen)
    if state.weight > full_weight(spec):  # the watch is over and stable has given up its share: only the end is left
        return conclude(state, seen, now, state.reason)
    if state.waived >= END or (left <= 0 and verdict.kind != "unknown" and verdict.attribution != "shared"):
        calm = f"no late regression within {humanize_duration(spec.watch or 0)}"
        return conclude(state, seen, now, state.reason if state.waived >= END else calm)
    if lost:
        reason = lost
    elif left <= 0:
        reason = f"the watch goes on, for what happened in it is not known: {verdict.reason}"
    else:
        reason = f"watching for {humanize_duration(max(left, 1.0))} more: {verdict.reason}"
    return Decision(with_(state, phase="Watching", reason=reason), verb or "wait", reason)


def conclude(state: RolloutState, seen: Seen, now: float, reason: str) -> Decision:
    """Give the canary what stable still keeps, let the target finish, and end as promoted: one act at a look."""
    canary, found = state.spec.canary, compact(seen.weights or {})
    if found != {canary: 100}:
        state = with_(state, desired={canary: 100, state.stable: 0}, previous=found, raised_at=now, step_started_at=None, attempts=0)
        return _set(state, seen, now, reason)
    if seen.finishes and not state.finished:
        if now < state.retry_at and state.attempts:
            return Decision(state, "wait", state.reason)
        return Decision(with_(state, reason=reason), "finish", reason, Finish(canary))
    return Decision(with_(state, phase="Promoted", reason=reason, ended_at=now), "promote", reason)


def _set(state: RolloutState, seen: Seen, now: float, reason: str) -> Decision:
    state = with_(state, phase="Progressing", reason=reason, retry_at=now)
    return Decision(state, "advance", reason, SetWeights(state.desired, dict(seen.weights or {})))


def hold(state: RolloutState, reason: str) -> Decision:
    """Stay where we are, and say why."""
    return Decision(with_(state, phase="Paused" if state.paused else "Holding", reason=reason), "hold", reason)
