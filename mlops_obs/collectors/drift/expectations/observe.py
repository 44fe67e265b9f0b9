"""What a table or a window shows of each expectation: counts, and nothing else is needed to judge.

From rows the counts are exact. From the sketches of a window they are exact for missing, invalid and unknown names; numbers are counted
in buckets that are 1.6 % wide, and the bucket that a border falls into counts as inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import MISSING_CODE, Block, Categories, Column, ColumnData, ColumnKind, is_invalid
from mlops_obs.collectors.drift.expectations.document import Expectation
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, Sketch
from mlops_obs.collectors.drift.sketches.categories import short_name
from mlops_obs.collectors.drift.sketches.numbers import lower_bound


@dataclass(frozen=True, slots=True)
class Observed:
    """Rows of one column: all, without a value, of another type, outside of the range, below and above the median's bounds, of other
    names."""

    rows: int
    missing: int = 0
    invalid: int = 0
    outside: int = 0
    below: int = 0
    above: int = 0
    others: int = 0


def observe_block(expectations: Mapping[str, Expectation], block: Block) -> dict[str, Observed]:
    """Count the rows of a block; columns that it lacks are left out."""
    return {name: _exact(of, block[name]) for name, of in expectations.items() if name in block}


def observe_profile(expectations: Mapping[str, Expectation], profile: ReferenceProfile) -> dict[str, Observed]:
    """Count the rows of a profile (a window, a table) from its sketches; columns that it lacks are left out."""
    kinds = {one.name: one for one in profile.schema}
    return {name: _sketched(of, profile.sketches[name], kinds[name]) for name, of in expectations.items() if name in profile.sketches}


def add(one: Mapping[str, Observed], other: Mapping[str, Observed]) -> dict[str, Observed]:
    """Return the counts of two sets of rows together."""
    names = ("rows", "missing", "invalid", "outside", "below", "above", "others")
    nothing = Observed(0)
    return {
        column: Observed(*(getattr(one.get(column, nothing), name) + getattr(other.get(column, nothing), name) for name in names))
        for column in {**one, **other}
    }


def _exact(of: Expectation, data: ColumnData) -> Observed:
    names = of.type in ("category", "boolean")
    if isinstance(data, Categories):
        rows, missing = int(data.codes.size), int((data.codes == MISSING_CODE).sum())
        if not names:
            return Observed(rows, missing, rows - missing)
        present = data.codes >= 0
        allowed = None if of.values is None else {short_name(one) for one in of.values}
        unknown = np.array([allowed is not None and short_name(one) not in allowed for one in data.names], dtype=bool)
        others = int(unknown[data.codes[present]].sum()) if unknown.size else 0
        return Observed(rows, missing, rows - missing - int(present.sum()), others=others)
    if data.ndim == 2:
        missing = int(np.count_nonzero(np.isnan(data.sum(axis=1))))
        return Observed(len(data), missing, 0 if of.type == "embedding" else len(data) - missing)
    values = np.asarray(data, dtype=np.float64)
    lacking = np.isnan(values)
    invalid = int(is_invalid(values).sum())
    missing = int(lacking.sum()) - invalid
    if names or of.type == "embedding":
        return Observed(values.size, missing, values.size - missing)
    there = values[~lacking]
    low, high = of.range or (-np.inf, np.inf)
    least, most = of.median or (-np.inf, np.inf)
    outside = int(((there < low) | (there > high)).sum())
    return Observed(values.size, missing, invalid, outside, int((there < least).sum()), int((there > most).sum()))


def _sketched(of: Expectation, sketch: Sketch, column: Column) -> Observed:
    names = of.type in ("category", "boolean")
    if isinstance(sketch, CategorySketch):
        if not names:
            return Observed(sketch.rows, sketch.missing, sketch.rows - sketch.missing)
        others = 0
        if of.values is not None:
            allowed = {short_name(one) for one in of.values}
            # names that the sketch could not keep are not counted as unknown: nobody knows which they were
            others = sum(count for name, count in sketch.names.items() if name not in allowed)
        return Observed(sketch.rows, sketch.missing, sketch.invalid, others=others)
    if not isinstance(sketch, NumberSketch):
        return Observed(sketch.rows, 0, 0 if of.type == "embedding" else sketch.rows)
    if names or column.kind is ColumnKind.EMBEDDING:
        return Observed(sketch.rows, sketch.missing, sketch.rows - sketch.missing)
    starts = lower_bound(sketch.codes) + column.origin
    ends = lower_bound(sketch.codes + 1) + column.origin
    low, high = of.range or (-np.inf, np.inf)
    least, most = of.median or (-np.inf, np.inf)

    def count(where: NDArray[np.bool_]) -> int:
        return int(sketch.counts[where].sum())

    outside = count((ends <= low) | (starts > high))
    return Observed(sketch.rows, sketch.missing, sketch.invalid, outside, count(ends <= least), count(starts > most))
