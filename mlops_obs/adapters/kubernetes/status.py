"""What a Rollout's status tells people and programs: the plain fields behind `kubectl get rollouts`, conditions, a summary of actions.

Pure: a function of the state, its newest record and the status before. The machine's own memory is beside it, as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlops_obs.adapters.kubernetes.api import Object
from mlops_obs.adapters.kubernetes.resources import rfc3339
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.readings import ActionSummary

_LONGEST = 1024  # characters of a condition's message
# What touches the target is done when its result says so; its decision alone may be followed by a failure.
_ACTS = ("deploy", "advance", "rollback", "abort", "finish")


def project(status: Object, state: RolloutState, records: Iterable[Record], now: float, generation: int) -> None:
    """Write into `status` what `state` and the newest of `records` say; `now` in Unix seconds."""
    records = list(records)
    evidence: Mapping[str, Any] = next((one["evidence"] for one in reversed(records) if one.get("evidence")), {})
    weights: Mapping[str, int] | None = next((one["weights_before"] for one in reversed(records) if one["kind"] != "request"), {})
    verdict = str(evidence.get("verdict") or state.verdict or status.get("verdict") or "")
    status.update(
        rollout=state.id,
        phase=state.phase,
        message=state.reason,
        reason=_reason(state),
        stable=state.stable,
        canary=state.spec.canary,
        weight=state.weight,
        step=f"{max(state.step + 1, 0)}/{len(state.plan or state.spec.steps)}",
        verdict=verdict,
        attribution=state.attribution,
        startedAt=rfc3339(state.created_at),
    )
    if weights:
        status["observedWeight"] = int(weights.get(state.spec.canary, 0))
    status.pop("endedAt", None)
    if state.ended_at is not None:
        status["endedAt"] = rfc3339(state.ended_at)
    for name, (value, reason, message) in _conditions(status, state, verdict, evidence, weights).items():
        set_condition(status, name, value, reason, message, now, generation)
    status["summary"] = _summary(status.get("summary") or [], records)


def set_condition(status: Object, name: str, value: bool | None, reason: str, message: str, now: float, generation: int) -> None:
    """Set one condition; its transition time moves only when its value does. None is Unknown."""
    text = "Unknown" if value is None else str(value)
    conditions = [dict(one) for one in status.get("conditions") or []]
    before = next((one for one in conditions if one["type"] == name), None)
    since = before["lastTransitionTime"] if before and before["status"] == text else rfc3339(now)
    new = {
        "type": name,
        "status": text,
        "reason": reason,
        "message": message[:_LONGEST],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }
    status["conditions"] = [new if one is before else one for one in conditions] if before else [*conditions, new]


def condition(status: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return one condition, None if it was never set."""
    return next((one for one in status.get("conditions") or [] if one["type"] == name), None)


def summary_of(status: Mapping[str, Any]) -> list[ActionSummary]:
    """Return how often each action was decided and when it was last carried out."""
    rows = status.get("summary") or []
    return [ActionSummary(one["revision"], one["action"], int(one["decisions"]), one.get("lastDoneAt")) for one in rows]


def _conditions(
    status: Mapping[str, Any], state: RolloutState, verdict: str, evidence: Mapping[str, Any], weights: Mapping[str, int] | None
) -> dict[str, tuple[bool | None, str, str]]:
    going = not state.over and state.phase in ("Pending", "Progressing", "Watching")
    turned = state.goal != "forward"
    out: dict[str, tuple[bool | None, str, str]] = {
        "Progressing": (going, _reason(state), state.reason),
        "Degraded": (
            turned or state.phase in ("RolledBack", "Aborted"),
            _reason(state) if turned else "AsAsked",
            state.why if turned else f"{state.spec.canary} is not condemned",
        ),
        "Succeeded": (state.phase == "Promoted", _reason(state), state.reason),
        "Available": (
            (None, "TargetSilent", "the target does not tell its weights")
            if weights is None
            else (True, "TargetAnswers", ", ".join(f"{name} {percent} %" for name, percent in sorted(weights.items())))
            if weights
            else _kept(status, "Available", "NotLookedAt")
        ),
    }
    way = evidence.get("way_back")
    if way:
        seconds = "" if way.get("seconds") is None else f" in about {way['seconds']:g} s"
        ready = bool(way["ready"])
        message = way["reason"] or f"{state.stable} could take all traffic{seconds}"
        out["WayBack"] = (ready, "Ready" if ready else "Lost", message)
    else:
        out["WayBack"] = (False, "Lost", state.way_back) if state.way_back else _kept(status, "WayBack", "NotLookedAt")
    if verdict == "unknown":
        out["TelemetryTrusted"] = (False, "Unknown", str(evidence.get("unknown") or state.reason))
    elif verdict:
        out["TelemetryTrusted"] = (True, "Fresh", "canary and stable are both seen")
    else:
        out["TelemetryTrusted"] = (None, "NotLookedAt", "nothing has been judged yet")
    return out


def _kept(status: Mapping[str, Any], name: str, otherwise: str) -> tuple[bool | None, str, str]:
    """Return what a condition said before: a record that does not mention it has nothing against it."""
    before = condition(status, name)
    if before is None:
        return None, otherwise, "nothing has been looked at yet"
    return {"True": True, "False": False}.get(before["status"]), before["reason"], before["message"]


def _reason(state: RolloutState) -> str:
    """Return one word in CamelCase for where the rollout is."""
    if state.over:
        return state.phase
    if state.goal != "forward":
        return "RollingBack" if state.goal == "rollback" else "Aborting"
    if state.phase == "Holding":
        causes = {"shared": "SharedIncident", "telemetry": "TelemetryLost"}
        return "BudgetSpent" if state.frozen_at is not None else causes.get(state.attribution, "Holding")
    return state.phase


def _summary(before: Iterable[Mapping[str, Any]], records: Iterable[Record]) -> list[Object]:
    rows = {(one["revision"], one["action"]): dict(one) for one in before}
    for record in records:
        if record["kind"] == "request":
            continue
        key = record["canary"], record["action"]
        row = rows.setdefault(key, {"revision": key[0], "action": key[1], "decisions": 0, "lastDoneAt": None})
        decided, ended = record["kind"] == "decision", record["phase"] in ("RolledBack", "Aborted")
        row["decisions"] += decided
        if record["ok"] and key[1] != "wait" and (record["kind"] == "result" or (decided and (key[1] not in _ACTS or ended))):
            row["lastDoneAt"] = record["at"]
    return list(rows.values())[-40:]  # ten actions of the last four revisions
