"""The cells in which a feature is compared: few, fixed by the reference alone, the same for a window, a table and a month.

Numbers: below all that the reference has seen, its deciles, above, missing, invalid. Names: those that hold enough rows, the rest of
the known ones together, unseen ones, missing, invalid. What the reference never had is a cell of its own, so that a feature that
turns null or changes its unit is seen even where the reference was constant.

The trap: edges that are chosen anew from each window (as common tools do) make the scores of two days incomparable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Categories, Column, ColumnData, Numbers, is_invalid
from mlops_obs.collectors.drift.sketches.categories import CategorySketch, short_name
from mlops_obs.collectors.drift.sketches.numbers import NO_VALUE, Codes, Counts, NumberSketch, codes_of, lower_bound

_DECILES = 10
_MOST_NAMES = 30
_LEAST_SHARE = 0.002  # of the reference's rows, for a name to have a cell of its own

Cells = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NumberPartition:
    """`labels` say what each cell is, `expected` are the reference's rows in it, `edges` the last bucket of all but three."""

    labels: tuple[str, ...]
    expected: Counts
    edges: Codes
    origin: float = 0.0

    @classmethod
    def of(cls, sketch: NumberSketch, column: Column) -> NumberPartition:
        """Cut at bucket borders into deciles; a value that holds more than a tenth of the rows gets a cell of its own."""
        upper, filled, target = [], 0, max(1.0, sketch.counts.sum() / _DECILES)
        codes, counts = sketch.codes.tolist(), sketch.counts.tolist()
        for place, (code, count) in enumerate(zip(codes, counts, strict=True)):
            if filled and filled + count > 1.5 * target:
                upper.append(codes[place - 1])
                filled = 0
            filled += count
            if filled >= target:
                upper.append(code)
                filled = 0
        if filled:
            upper.append(codes[-1])
        # a column without any value keeps one edge: all values are then "above"
        edges = np.array([codes[0] - 1, *upper] if codes else [-1], dtype=np.int64)
        low = lower_bound(edges + 1) + column.origin
        labels = (f"< {low[0]:.6g}", *(f"{a:.6g} to {b:.6g}" for a, b in pairwise(low)), f">= {low[-1]:.6g}")
        found = cls((*labels, "missing", "invalid"), np.zeros(edges.size + 3, dtype=np.int64), edges, column.origin)
        found.expected[:] = found.count(sketch)
        return found

    def count(self, sketch: NumberSketch) -> Counts:
        """Return the rows of another sketch of the column by cell; exact, because the cells end at bucket borders."""
        counts = np.zeros_like(self.expected)
        np.add.at(counts, np.searchsorted(self.edges, sketch.codes), sketch.counts)
        counts[-2:] = sketch.missing, sketch.invalid
        return counts

    def cells(self, values: Numbers) -> Cells:
        """Return the cell of each row."""
        codes = codes_of(values - self.origin if self.origin else values)
        cell = np.searchsorted(self.edges, codes)
        lacking = codes == NO_VALUE
        if lacking.any():
            cell[lacking] = self.expected.size - 2 + is_invalid(values)[lacking]
        return cell.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryPartition:
    """`names` have cells of their own, in order; then "other" (known to the reference), "unseen", "missing", "invalid"."""

    labels: tuple[str, ...]
    expected: Counts
    names: dict[str, int]
    known: frozenset[str] = field(repr=False, default=frozenset())
    complete: bool = True  # False: the reference had more names than it could keep; then "unseen" is counted as "other"

    @classmethod
    def of(cls, sketch: CategorySketch, column: Column) -> CategoryPartition:  # noqa: ARG003 - the signature of both partitions
        """Give the names that hold the most rows a cell each."""
        least = max(1.0, _LEAST_SHARE * sketch.rows)
        ordered = sorted(sketch.names.items(), key=lambda one: (-one[1], one[0]))
        named = {name: place for place, (name, count) in enumerate(ordered[:_MOST_NAMES]) if count >= least}
        labels = (*named, "other", "unseen", "missing", "invalid")
        found = cls(labels, np.zeros(len(labels), dtype=np.int64), named, frozenset(sketch.names), sketch.level == 0)
        found.expected[:] = found.count(sketch)
        return found

    def count(self, sketch: CategorySketch) -> Counts:
        """Return the rows of another sketch of the column by cell. Rows whose name it could not keep count as "other"."""
        counts = np.zeros_like(self.expected)
        for name, rows in sketch.names.items():
            counts[self._cell(name)] += rows
        counts[-4] += int(sketch.buckets.sum()) - sum(sketch.names.values())
        counts[-2:] = sketch.missing, sketch.invalid
        return counts

    def cells(self, data: Categories) -> Cells:
        """Return the cell of each row."""
        table = np.array([*(self._cell(short_name(name)) for name in data.names), -1, -1], dtype=np.int64)
        table[INVALID_CODE], table[MISSING_CODE] = self.expected.size - 1, self.expected.size - 2
        return table[data.codes]

    def _cell(self, name: str) -> int:
        unseen = self.complete and name not in self.known
        return self.names.get(name, self.expected.size - (3 if unseen else 4))


Partition = NumberPartition | CategoryPartition


def partition_of(sketch: NumberSketch | CategorySketch, column: Column) -> Partition:
    """Return the cells of a column, from its reference sketch."""
    return NumberPartition.of(sketch, column) if isinstance(sketch, NumberSketch) else CategoryPartition.of(sketch, column)


def cells_of(partition: Partition, data: ColumnData) -> Cells:
    """Return the cell of each row; data of another type than the reference's is invalid in every row that is not missing."""
    if isinstance(partition, NumberPartition) and not isinstance(data, Categories):
        return partition.cells(np.asarray(data, dtype=np.float64))
    if isinstance(partition, CategoryPartition) and isinstance(data, Categories):
        return partition.cells(data)
    missing = data.codes == MISSING_CODE if isinstance(data, Categories) else np.isnan(data) & ~is_invalid(data.astype(np.float64))
    return np.where(missing, partition.expected.size - 2, partition.expected.size - 1)
