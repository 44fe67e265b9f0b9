"""A column of two tables, brought to one form: the same cells, the same origin, whatever the current table made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlops_obs.collectors.drift.columns import Column, ColumnKind
from mlops_obs.collectors.drift.partition import CategoryPartition, NumberPartition, Partition
from mlops_obs.collectors.drift.sketches import Sketch
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, codes_of
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch
from mlops_obs.collectors.drift.statistics.divergences import Counts
from mlops_obs.collectors.drift.statistics.ordered import quantiles, representatives

_EARLIER = 0.02  # share of the rows that may be earlier than in the reference


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """The reference's sketch and the current one of a column, with the current rows by cell."""

    column: Column
    partition: Partition
    reference: Sketch
    current: Sketch
    counts: Counts


def pair_of(column: Column, partition: Partition, reference: Sketch, current: Sketch, origin: float) -> Pair:
    """Return a column's pair. `origin` is the one of the current table; values of another type count as invalid."""
    if isinstance(current, NumberSketch) and isinstance(reference, NumberSketch) and origin != column.origin:
        current = _moved(current, origin - column.origin)
    counts: Counts
    inner = current.lengths if isinstance(current, VectorSketch) and isinstance(reference, VectorSketch) else current
    if isinstance(partition, NumberPartition) and isinstance(inner, NumberSketch) and _alike(reference, current):
        counts = partition.count(inner)
    elif isinstance(partition, CategoryPartition) and isinstance(current, CategorySketch):
        counts = partition.count(current)
    else:
        counts = np.zeros_like(partition.expected)
        counts[-2:] = current.missing, current.rows - current.missing
    if column.kind is ColumnKind.TIMESTAMP and not _other_clock(reference, current, column.origin):
        partition, counts = as_time_goes_on(partition, counts)
    return Pair(column, partition, reference, current, counts)


def as_time_goes_on(partition: Partition, counts: Counts) -> tuple[Partition, Counts]:
    """Return the cells of a column of timestamps, all values in one cell on both sides if they only went on: later than before is no drift.

    Values that go back (a default of 1970, an old extract) stay in their cells.
    """
    n, m = float(partition.expected[:-2].sum()), float(counts[:-2].sum())
    if not isinstance(partition, NumberPartition) or not n or not m:
        return partition, counts
    earlier = np.cumsum(counts[:-2]) / m - np.cumsum(partition.expected[:-2]) / n
    if earlier.max() > _EARLIER + 2 / np.sqrt(m):
        return partition, counts
    return replace(partition, expected=_in_one_cell(partition.expected).astype(np.int64)), _in_one_cell(counts)


def _in_one_cell(counts: Counts) -> Counts:
    found = np.zeros_like(counts)
    found[1], found[-2:] = counts[:-2].sum(), counts[-2:]
    return found


def _other_clock(reference: Sketch, current: Sketch, origin: float) -> bool:
    """Whether the current timestamps are in another unit (milliseconds): time does not double."""
    if (
        not isinstance(reference, NumberSketch)
        or not isinstance(current, NumberSketch)
        or not reference.codes.size
        or not current.codes.size
    ):
        return False
    before, now = (float(quantiles(one, np.array([0.5]))[0]) + origin for one in (reference, current))
    return before > 0 and not 0.5 <= now / before <= 2


def _alike(reference: Sketch, current: Sketch) -> bool:
    if isinstance(reference, VectorSketch):
        return isinstance(current, VectorSketch) and reference.size == current.size
    return isinstance(current, NumberSketch)


def _moved(sketch: NumberSketch, by: float) -> NumberSketch:
    """Return the sketch of the values plus `by`, to the resolution that is left."""
    codes, place = np.unique(codes_of(representatives(sketch.codes) + by), return_inverse=True)
    counts = np.zeros(codes.size, dtype=np.int64)
    np.add.at(counts, place, sketch.counts)
    return NumberSketch(codes, counts, sketch.missing, sketch.invalid, sketch.minimum, sketch.maximum)
