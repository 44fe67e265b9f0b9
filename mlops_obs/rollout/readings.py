"""What the controller exports about itself.

Two traps. Counters kept in memory fall back to zero with every restart of the controller; these are read from the evidence
log, which survives. And a number of a rollout that is over must not look like the present: what only means something
while it runs is exported only while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_obs import metric_names as m
from mlops_obs.metric_names import ACTION, ATTRIBUTION, GATE, PHASE, REVISION, SERVICE, SLO, TEST, Reading
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import PHASES, RolloutState

ATTRIBUTIONS = ("none", "canary", "shared", "telemetry")


@dataclass(frozen=True, slots=True)
class ActionSummary:
    """How often an action was decided for a revision, and when it was last carried out (Unix seconds; None: never)."""

    revision: str
    action: str
    decisions: int
    last_done_at: float | None


def rollout_readings(state: RolloutState | None, summary: Sequence[ActionSummary], newest: Record | None) -> list[Reading]:
    """Return the metrics of the newest rollout; `newest` is its newest record with evidence."""
    if state is None:
        return []
    service = {SERVICE: state.spec.service}
    arms = {**service, "stable": state.stable, "canary": state.spec.canary}
    out = [Reading(m.ROLLOUT_WEIGHT, {**service, REVISION: revision}, percent / 100) for revision, percent in sorted(state.desired.items())]
    out += [Reading(m.ROLLOUT_PHASE, {**arms, PHASE: phase}, float(phase == state.phase)) for phase in PHASES]
    decisions: dict[str, int] = {}
    for one in summary:
        decisions[one.action] = decisions.get(one.action, 0) + one.decisions
        if one.last_done_at is not None:
            out.append(Reading(m.ROLLOUT_ACTION_TIME, {**service, REVISION: one.revision, ACTION: one.action}, one.last_done_at))
    out += [Reading(m.ROLLOUT_DECISIONS, {**service, ACTION: action}, float(count)) for action, count in sorted(decisions.items())]
    evidence = (newest or {}).get("evidence", {})
    canary = {**service, REVISION: state.spec.canary}
    for name, numbers in sorted(evidence.get("tests", {}).items()):
        out.append(Reading(m.ROLLOUT_EVIDENCE, {**canary, TEST: name}, float(numbers["log10_e"])))
        if "log10_bound" in numbers:
            out.append(Reading(m.ROLLOUT_EVIDENCE_BOUND, {**canary, TEST: name}, float(numbers["log10_bound"])))
    named = {**service, "canary": state.spec.canary}
    out.append(Reading(m.ROLLOUT_NOTICES_WAITING, named, float(len(state.outbox))))
    out.append(Reading(m.ROLLOUT_NOTICE_STUCK, named, float(bool(state.outbox))))
    if state.over:
        return out
    out += [Reading(m.ROLLOUT_POLICY, {**service, SLO: slo, ACTION: action}, 1.0) for slo, action in sorted(state.policy.items())]
    out += [Reading(m.ROLLOUT_ATTRIBUTION, {**named, ATTRIBUTION: one}, float(one == state.attribution)) for one in ATTRIBUTIONS]
    return out + _way_back(state, evidence, arms) + _traffic(evidence, canary, named) + _power(evidence, canary) + _gates(evidence, canary)


def _way_back(state: RolloutState, evidence: Mapping[str, Any], arms: dict[str, str]) -> list[Reading]:
    """Tell nothing before somebody has asked the target: not known is not lost."""
    told = evidence.get("way_back")
    if not state.stable or (told is None and not state.way_back):
        return []
    out = [Reading(m.ROLLOUT_WAY_BACK, arms, float(not state.way_back))]
    seconds = None if state.way_back else (told or {}).get("seconds")
    return [*out, Reading(m.ROLLOUT_WAY_BACK_TIME, arms, float(seconds))] if seconds is not None else out


def _traffic(evidence: Mapping[str, Any], canary: dict[str, str], named: dict[str, str]) -> list[Reading]:
    traffic = evidence.get("traffic") or {}
    out = [Reading(m.ROLLOUT_TRAFFIC_MISMATCH, named, float(bool(traffic.get("problem"))))] if traffic else []
    if traffic.get("observed") is not None:
        out.append(Reading(m.ROLLOUT_OBSERVED_SHARE, canary, float(traffic["observed"])))
    return out


def _power(evidence: Mapping[str, Any], canary: dict[str, str]) -> list[Reading]:
    return [
        Reading(m.ROLLOUT_POWER, {**canary, TEST: one["test"]}, math.inf if one["seconds"] is None else float(one["seconds"]))
        for one in evidence.get("power", ())
    ]


def _gates(evidence: Mapping[str, Any], canary: dict[str, str]) -> list[Reading]:
    values = {True: 1.0, False: 0.0, None: -1.0}
    return [Reading(m.ROLLOUT_GATE, {**canary, GATE: name}, values[one["ok"]]) for name, one in sorted(evidence.get("gates", {}).items())]
