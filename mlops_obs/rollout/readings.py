"""What the controller exports about itself.

The trap: counters kept in memory fall back to zero with every restart of the controller. These are read from the
evidence log, which survives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_obs.metric_names import (
    ACTION,
    PHASE,
    REVISION,
    ROLLOUT_ACTION_TIME,
    ROLLOUT_DECISIONS,
    ROLLOUT_EVIDENCE,
    ROLLOUT_PHASE,
    ROLLOUT_POLICY,
    ROLLOUT_WEIGHT,
    SERVICE,
    SLO,
    TEST,
    Reading,
)
from mlops_obs.rollout.records import Record
from mlops_obs.rollout.state import PHASES, RolloutState


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
    canary = {**service, REVISION: state.spec.canary}
    out = [Reading(ROLLOUT_WEIGHT, {**service, REVISION: revision}, percent / 100) for revision, percent in sorted(state.desired.items())]
    for phase in PHASES:
        labels = {**service, "stable": state.stable, "canary": state.spec.canary, PHASE: phase}
        out.append(Reading(ROLLOUT_PHASE, labels, float(phase == state.phase)))
    decisions: dict[str, int] = {}
    for one in summary:
        decisions[one.action] = decisions.get(one.action, 0) + one.decisions
        if one.last_done_at is not None:
            out.append(Reading(ROLLOUT_ACTION_TIME, {**service, REVISION: one.revision, ACTION: one.action}, one.last_done_at))
    out += [Reading(ROLLOUT_DECISIONS, {**service, ACTION: action}, float(count)) for action, count in sorted(decisions.items())]
    tests = (newest or {}).get("evidence", {}).get("tests", {})
    out += [Reading(ROLLOUT_EVIDENCE, {**canary, TEST: name}, float(numbers["log10_e"])) for name, numbers in sorted(tests.items())]
    policy = {} if state.over else state.policy
    return out + [Reading(ROLLOUT_POLICY, {**service, SLO: slo, ACTION: action}, 1.0) for slo, action in sorted(policy.items())]
