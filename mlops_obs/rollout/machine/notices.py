"""What people must be told, exactly once: made with the decision, kept in the state, delivered after acting.

The trap is the key. It is made from the rollout and from what the notice is about, never from the attempt: a controller
that is killed between the pager's "taken" and its own note of it delivers the same key again, and nobody is paged twice.
"""

from __future__ import annotations

from mlops_obs.durations import humanize_duration
from mlops_obs.rollout.machine.obey import REFUSALS, text
from mlops_obs.rollout.machine.state import Decision, RolloutState, Seen, SetWeights
from mlops_obs.rollout.ports import Notice

BLIND = 120.0  # seconds without trustworthy telemetry after which people are told
SILENT = 60.0  # seconds without an answer of the target during a retreat after which people are told
REFUSED = 20  # attempts on the way up, some ten minutes, after which people are told; most targets only ask for patience
_BUCKET = 600.0  # what comes and goes is told once within so many seconds
_REMEMBERED = 40  # keys


def tell(before: RolloutState, decision: Decision, seen: Seen, now: float) -> Decision:
    """Add the notices that this decision calls for to the outbox of its state; each key once."""
    state = decision.state
    new = [one for one in _notices(before, decision, seen, now) if one.key not in state.told]
    if not new:
        return decision
    told = (*state.told, *(one.key for one in new))[-_REMEMBERED:]
    state = state.model_copy(update={"told": told, "outbox": (*state.outbox, *new)})
    return Decision(state, decision.verb, decision.reason, decision.action)


def _notices(before: RolloutState, decision: Decision, seen: Seen, now: float) -> list[Notice]:
    state, out = decision.state, []
    canary, service = state.spec.canary, state.spec.service

    def add(what: str, kind: str, title: str, words: str, **labels: str) -> None:
        base = {"rollout": state.id, "service": service, "revision": canary, "stable": state.stable, "cause": what.split("/")[0]}
        evidence = f"obs rollout explain --rollout {state.id}"
        said = f"{words}\nEvidence: {evidence}"
        out.append(Notice(f"{state.id}/{what}", kind, service, now, title, said, {**base, **labels, "evidence": evidence}))

    if before.goal == "forward" and state.goal == "rollback":
        name = "would have been rolled back (dry run)" if state.spec.dry_run else "is rolled back"
        add("rollback", "step" if state.spec.dry_run else "rollback", f"{canary} of {service} {name}", state.why, **_bound(seen))
    if before.goal == "forward" and state.goal == "abort":
        add("abort", "step", f"the rollout of {canary} of {service} is aborted", state.why)
    if before.phase != "Promoted" and state.phase == "Promoted":
        add("promoted", "promoted", f"{canary} of {service} is promoted", decision.reason)
    if isinstance(decision.action, SetWeights) and decision.verb == "advance" and state.step != before.step:
        add(f"step/{state.step}/{state.weight}", "step", f"{canary} of {service} gets {state.weight} %", decision.reason)
    if state.over:
        if before.over and len(state.fights) > len(before.fights):
            add(f"guard/{int(now // _BUCKET)}", "stuck", f"{canary} of {service} gets traffic after its rollback", decision.reason)
        return out
    if state.goal == "forward" and state.unknown_since is not None and now - state.unknown_since >= BLIND:
        since = humanize_duration(now - state.unknown_since)
        words = f"nothing trustworthy has been seen for {since}: {seen.verdict.reason}. The split stays as it is: {text(state.desired)}."
        add(f"telemetry/{int(state.unknown_since)}", "telemetry", f"the rollout of {canary} of {service} is blind", words)
    if state.goal == "forward" and state.way_back and not before.way_back and state.step >= 0:
        words = f"{state.stable} could not take the traffic back: {state.way_back}. The split stays as it is: {text(state.desired)}."
        add(f"way-back/{int(now // _BUCKET)}", "stuck", f"the way back of {canary} of {service} is lost", words)
    if len(state.fights) >= 3 and len(state.fights) > len(before.fights) and state.goal == "forward":
        add(f"fight/{int(now // _BUCKET)}", "stuck", f"somebody else changes the traffic of {service}", decision.reason)
    if state.goal == "forward" and state.attempts >= REFUSED and decision.action is None:
        words = f"{state.reason}. It is tried again and again; the split stays as it is."
        add(f"refused/{state.step}", "stuck", f"the rollout of {canary} of {service} does not get on", words)
    if state.goal != "forward" and _stuck(state, seen, now):
        what = f"{state.goal} of {canary} is due ({state.why}) and not done: {state.reason}"
        add("stuck", "stuck", f"the {state.goal} of {canary} of {service} is stuck", f"{what}. It is tried again and again.")
    return out


def _stuck(state: RolloutState, seen: Seen, now: float) -> bool:
    silent = state.silent_since is not None and now - state.silent_since >= SILENT
    nowhere = seen.way_back is not None and not seen.way_back.ready and state.attempts > 0
    return silent or nowhere or state.attempts >= REFUSALS


def _bound(seen: Seen) -> dict[str, str]:
    """Return the value that condemned the canary and the bound that it crossed, where a test did it."""
    for one in seen.verdict.findings:
        if one.condemned:
            return {"test": one.test, "value": f"{one.log10_e_peak:.3f}", "bound": f"{one.log10_bound:.3f}", "unit": "log10 evidence"}
    return {}
