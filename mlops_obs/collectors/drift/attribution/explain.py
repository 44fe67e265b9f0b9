"""Adds to what a comparison found why it matters: cost, importance, since when, in which segments, and one line that says it all.

The line keeps the order in which on-call asks: what happened, since when, to whom, what does it cost.

The trap: "features as before, errors up" is a finding about labels, and no feature's. It is a result of its own, of the kind `concept`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution.costs import cost_of, importances
from mlops_obs.collectors.drift.attribution.impact import impact_of
from mlops_obs.collectors.drift.attribution.segments import Carriers
from mlops_obs.collectors.drift.columns import ColumnKind, Role
from mlops_obs.collectors.drift.partition import NumberPartition
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Comparison, Cost, FeatureResult, Since, Verdict
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch

Counts = NDArray[np.int64]

_ROWS_BELOW = 1e8  # times below this are row numbers, not Unix seconds (which passed it in 1973)


def explain(
    comparison: Comparison,
    reference: ReferenceProfile,
    current: ReferenceProfile | None = None,
    *,
    counts: Mapping[str, Counts] | None = None,
    since: Mapping[str, Since] | None = None,
    segments: Mapping[str, Carriers] | None = None,
) -> Comparison:
    """Return the comparison with importance for every feature, and cost, since and words for those that have drifted.

    Args:
        comparison: what was found.
        reference: with a section `impact` if costs are wanted.
        current: profile of the current rows; not needed where `counts` has them.
        counts: by feature, current rows by cell of `reference.partition(feature)`.
        since: by feature, see `changepoint.since`; a result that already has one keeps it.
        segments: by feature, see `segments.carriers`.

    Raises:
        SpecError: OBS-ATT-003 if the section `impact` cannot be read.
    """
    worth, impact = importances(reference), impact_of(reference)
    found = []
    for one in comparison.features:
        known = replace(one, importance=worth.get(one.name)) if one.importance is None else one
        if one.alarm:
            rows = _counts(known, reference, current, counts or {})
            cost = known.cost or (cost_of(reference, one.name, rows, one.kind) if rows is not None else None)
            began = known.since or (since or {}).get(one.name)
            words = line(known.words, began, (segments or {}).get(one.name), cost, impact.currency if impact else "")
            known = replace(known, cost=cost, since=began, words=words)
        found.append(known)
    return replace(comparison, features=tuple(found))


def with_concept(comparison: Comparison, result: FeatureResult) -> Comparison:
    """Return the comparison with what its labels say, from `concept.LabelLook` or made from a finding of `collectors.quality`.

    Args:
        comparison: of the features, in the time of the predictions whose labels are known now. If one of them has drifted, an alarm of
            the labels names it as a cause to look at first.
        result: of the column of labels.
    """
    kept = tuple(one for one in comparison.features if one.name != result.name)
    if not result.alarm:
        return replace(comparison, features=(*kept, result))
    drifted = [one.name for one in kept if one.alarm and one.role is Role.FEATURE]
    words = (
        f"{result.words}; {', '.join(drifted[:3])} drifted too: look there first"
        if drifted
        else f"features as before, errors up: {result.words}"
    )
    said = replace(result, words=line(words, result.since, None, None, ""))
    return replace(comparison, verdict=Verdict.DRIFTED, features=(*kept, said))


def line(words: str, since: Since | None, carriers: Carriers | None, cost: Cost | None, currency: str) -> str:
    """Return one line: what, since when, in which segments; and what it costs."""
    parts = [words] if words else []
    if since is not None:
        parts.append(since_words(since))
    if carriers is not None:
        parts.append(carriers.words)
    said = ", ".join(parts)
    price = cost_words(cost, currency) if cost else ""
    return f"{said}; {price}" if said and price else said or price


def since_words(since: Since) -> str:
    """Return "since 2026-03-01 14:05 (14:03 to 14:06) UTC", or rows where times are row numbers."""
    if since.latest < _ROWS_BELOW:
        return f"since row {since.at:,.0f} ({since.earliest:,.0f} to {since.latest:,.0f})"
    at, earliest, latest = (datetime.fromtimestamp(one, UTC) for one in (since.at, since.earliest, since.latest))
    precise = latest.timestamp() - earliest.timestamp() < 120
    clock = "%H:%M:%S" if precise else "%H:%M"
    day = f"%Y-%m-%d {clock}"
    form = clock if earliest.date() == latest.date() == at.date() else day
    return f"since {at.strftime(day)} ({earliest.strftime(form)} to {latest.strftime(form)}) UTC"


def cost_words(cost: Cost, currency: str) -> str:
    """Return "predicted AUC -0.041 (-0.050 to -0.030), 310 EUR per 1,000 predictions (250 to 380)"."""
    if cost == Cost(0.0, 0.0, 0.0) or cost == Cost(0.0, 0.0, 0.0, 0.0, 0.0, 0.0):
        return "the model does not use it: no cost"
    said = f"predicted AUC {cost.auc:+.3f} ({cost.auc_low:+.3f} to {cost.auc_high:+.3f})"
    if cost.money is None or cost.money_low is None or cost.money_high is None:
        return said
    unit = f" {currency}" if currency else ""
    return f"{said}, {cost.money:+,.0f}{unit} per 1,000 predictions ({cost.money_low:+,.0f} to {cost.money_high:+,.0f})"


def _counts(
    one: FeatureResult, reference: ReferenceProfile, current: ReferenceProfile | None, counts: Mapping[str, Counts]
) -> Counts | None:
    if one.column is ColumnKind.EMBEDDING or one.name not in reference.sketches:
        return None
    partition = reference.partition(one.name)
    if one.kind is Change.GONE:
        lost = np.zeros_like(partition.expected)
        lost[-2] = max(1, current.rows if current else int(partition.expected.sum()))
        return lost
    if one.name in counts:
        return counts[one.name]
    sketch = current.sketches.get(one.name) if current else None
    if isinstance(partition, NumberPartition) and isinstance(sketch, NumberSketch):
        return partition.count(sketch)
    if not isinstance(partition, NumberPartition) and isinstance(sketch, CategorySketch):
        return partition.count(sketch)
    if sketch is None:
        return None
    wrong = np.zeros_like(partition.expected)
    wrong[-1] = sketch.rows
    return wrong
