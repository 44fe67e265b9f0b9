"""What a monitor exports: few series, whatever the number of features.

The trap: a gauge for each feature of a model with 2,000 of them is 2,000 series from each replica. At most FEATURES are exported:
those that have drifted, then the most important ones; the others are counted by verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops_obs.collectors.drift.results import FeatureResult, Verdict
from mlops_obs.metric_names import (
    DRIFT_ALARM,
    DRIFT_ALARMS,
    DRIFT_BUDGET_USED,
    DRIFT_EVIDENCE,
    DRIFT_FEATURES,
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFT_ROWS_DROPPED,
    DRIFT_WINDOWS,
    FEATURE,
    KIND,
    MISSING_RATIO,
    VERDICT,
    Reading,
)

FEATURES = 50
_DRIFTED = 25  # of these at most: the others keep their series


def readings_of(
    labels: Mapping[str, str],
    rows: int,
    dropped: int,
    verdicts: Mapping[Verdict, int],
    scores: Sequence[FeatureResult],
    importance: Mapping[str, float],
) -> list[Reading]:
    """Return the readings of a monitor. `importance` orders the features; without it they keep their order."""
    readings = [Reading(DRIFT_WINDOWS, {**labels, VERDICT: verdict.value}, count) for verdict, count in verdicts.items()]
    readings.append(Reading(DRIFT_ROWS, dict(labels), rows))
    readings.append(Reading(DRIFT_ROWS_DROPPED, dict(labels), dropped))
    for verdict in Verdict:
        count = sum(one.verdict is verdict for one in scores)
        readings.append(Reading(DRIFT_FEATURES, {**labels, VERDICT: verdict.value}, count))
    for one in exported(scores, importance):
        of_feature = {**labels, FEATURE: one.name}
        readings.append(Reading(DRIFT_PSI, of_feature, one.statistics["psi"]))
        readings.append(Reading(MISSING_RATIO, dict(of_feature), one.statistics["missing"]))
    return readings


def alarm_readings(
    labels: Mapping[str, str], active: Mapping[str, str], raised: Mapping[tuple[str, str], int], evidence: float, budget_used: float
) -> list[Reading]:
    """Return the readings of the alarms: only features that ever raised one have series of their own.

    `active` are the features that are not back to normal, with their kind of change; `raised` counts alarms by feature and kind.
    """
    readings = [Reading(DRIFT_EVIDENCE, dict(labels), min(evidence, 1.0)), Reading(DRIFT_BUDGET_USED, dict(labels), budget_used)]
    for feature, kind in sorted(raised)[: 2 * FEATURES]:
        of_kind = {**labels, FEATURE: feature, KIND: kind}
        readings.append(Reading(DRIFT_ALARM, of_kind, float(active.get(feature) == kind)))
        readings.append(Reading(DRIFT_ALARMS, dict(of_kind), raised[feature, kind]))
    return readings


def exported(scores: Sequence[FeatureResult], importance: Mapping[str, float]) -> list[FeatureResult]:
    """Return the features that have series of their own, at most FEATURES."""
    if len(scores) <= FEATURES:
        return list(scores)
    drifted = sorted((one for one in scores if one.alarm), key=lambda one: -one.statistics["psi"])[:_DRIFTED]
    fixed = sorted((one for one in scores if one not in drifted), key=lambda one: -importance.get(one.name, 0.0))
    return drifted + fixed[: FEATURES - len(drifted)]
