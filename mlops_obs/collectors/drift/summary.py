"""A column in one line, for the person who checks what a table was taken for."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from mlops_obs.collectors.drift.columns import Column, ColumnKind
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, Sketch
from mlops_obs.collectors.drift.sketches.numbers import lower_bound

_NAMES = 4


def summary_of(sketch: Sketch, column: Column) -> str:
    """Return the range and median of numbers, moments and lengths, or the most frequent names."""
    if isinstance(sketch, CategorySketch):
        names = sorted(sketch.names.items(), key=lambda one: (-one[1], one[0]))
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        return ("over " if sketch.level else "") + f"{len(names)} names: {', '.join(name for name, _ in names[:_NAMES])}{more}"
    if not isinstance(sketch, NumberSketch):
        return f"{column.size} numbers each"
    if not sketch.codes.size:
        return "no value at all"
    middle = float(lower_bound(sketch.codes)[np.searchsorted(np.cumsum(sketch.counts), sketch.counts.sum() / 2)] + column.origin)
    middle = min(max(middle, sketch.minimum), sketch.maximum)
    if column.kind is ColumnKind.TIMESTAMP:
        return f"{_moment(sketch.minimum)} to {_moment(sketch.maximum)}"
    unit = " characters" if column.kind is ColumnKind.TEXT else ""
    return f"{sketch.minimum:.6g} to {sketch.maximum:.6g}{unit}, median about {middle:.4g}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.6g}"
