"""Predictions whose labels come late: a cohort speaks once, when it is mature, into the slice of that moment.

Canary and stable of one cohort are a pair, so what made the whole cohort hard to predict cancels out. The traps: the first
labels to arrive are no fair sample, so nothing is read before maturity; and a label that comes later changes no slice
that was judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlops_obs.metric_names import COHORT, QUALITY_BAD, QUALITY_EVENTS, REVISION, SERVICE
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.spec.gates import QualityGate
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource, Series

Both = tuple[tuple[int, int], tuple[int, int]]  # (bad, total) of canary, and of stable
GAUGE_AGE = 300.0  # seconds after which a gauge that was not scraped again says nothing, as in Prometheus


def read_cohorts(
    source: CounterSource, spec: Rollout, gate: QualityGate, arms: Arms, began_at: float, edges: Sequence[float]
) -> list[tuple[float, Both]]:
    """Return what the cohorts say that become mature within slices, by the end of the slice; `edges` are those of the slices."""
    due = cohorts_due(gate, began_at, edges[0], edges[-1])
    if not due:
        return []
    matured = gate.cohort + gate.maturity
    window = (due[0] + matured - GAUGE_AGE, edges[-1])
    events, bad = (source.series(metric.name, {SERVICE: spec.service}, *window) for metric in (QUALITY_EVENTS, QUALITY_BAD))
    found: dict[float, list[int]] = {}
    for start in due:
        at = start + matured
        edge = next(one for one in edges[1:] if at <= one)
        pairs = [cohort_counts(events, bad, revision, start, at) for revision in (arms.canary, arms.stable)]
        if any(pair is None or pair[1] < gate.min_labels for pair in pairs):
            continue
        row = found.setdefault(edge, [0, 0, 0, 0])
        for index, number in enumerate(number for pair in pairs if pair for number in pair):
            row[index] += number
    return [(edge, ((row[0], row[1]), (row[2], row[3]))) for edge, row in found.items()]


def cohorts_due(gate: QualityGate, began_at: float, after: float, until: float) -> list[float]:
    """Return the starts of the cohorts after `began_at` that become mature in (after, until] (Unix seconds)."""
    matured = gate.cohort + gate.maturity
    first = max(math.floor((after - matured) / gate.cohort) + 1, math.ceil(began_at / gate.cohort))
    last = math.floor((until - matured) / gate.cohort)
    return [number * gate.cohort for number in range(first, last + 1)]


def cohort_counts(events: Sequence[Series], bad: Sequence[Series], revision: str, start: float, at: float) -> tuple[int, int] | None:
    """Return (wrong, labelled) of a cohort of `revision` as it stood at `at`; None if its gauges were not there."""
    numbers = []
    for family in (bad, events):
        values = []
        for one in family:
            if one.labels.get(REVISION) == revision and one.labels.get(COHORT) == str(int(start)):
                there = [value for when, value in one.samples if at - GAUGE_AGE < when <= at]
                values += there[-1:]
        if not values:
            return None
        value = max(values)  # several replicas of the collector read the same table
        if not (math.isfinite(value) and value >= 0):
            return None
        numbers.append(round(value))
    return min(numbers[0], numbers[1]), numbers[1]
