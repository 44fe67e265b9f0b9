"""The cells in which a feature is compared: few, fixed by the reference alone, the same for a window, a table and a month.

Numbers: below all that the reference has seen, its deciles and outermost hundredths, above, missing, invalid. Names: those that hold
enough rows, the rest of the known ones together, unseen ones, missing, invalid. What the reference never had is a cell of its own, so
that a feature that turns null or changes its unit is seen even where the reference was constant.

The trap: edges that are chosen anew from each window (as common tools do) make the scores of two days incomparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Categories, Column, ColumnData, Numbers, is_invalid
from mlops_obs.collectors.drift.sketches.categories import BUCKETS, CategorySketch, bucket_of, short_name
from mlops_obs.collectors.drift.sketches.numbers import NO_VALUE, SIGN, Codes, Counts, NumberSketch, codes_of, lower_bound
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch, lengths_of

_DECILES, _FINEST = 10, 100
_HEAVY = 0.15  # share of the rows that gives a value a cell of its own
_ENOUGH_FOR_TAILS = 1000  # rows of which a hundredth are worth a cell
_MOST_NAMES = 30
_GAP = 1.5  # standard deviations between the last name with a cell and the next
_OTHERS, _HASHED = 16, 32  # groups by hash of the names without a cell: beside named ones, and where the names are too many to keep
_NOTHING = 1e-300  # borders nearer to zero are zero to a reader
_LEAST_ROWS = 5  # of the reference, for a name to have a cell of its own: with fewer its count is chance
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
        """Cut at bucket borders into tenths, the outermost hundredths apart.

        A value that holds more than 15 % of the rows gets a cell of its own, and the rest is cut into tenths of what remains (no finer
        than hundredths): else a change of the few values that are not zero would be lost in one cell.
        """
        codes, filled = sketch.codes, np.cumsum(sketch.counts)
        rows = int(sketch.counts.sum())
        rest = rows - int(sketch.counts[sketch.counts > _HEAVY * rows].sum())
        target = max(1.0, rows / _FINEST, rest / _DECILES)
        tail = rows / _FINEST if rows >= _ENOUGH_FOR_TAILS else 0.0
        last = int(np.searchsorted(filled - sketch.counts, rows - tail)) if tail else codes.size  # the first bucket of the upper tail
        upper: list[int] = []
        start, before = 0, 0
        while start < codes.size:
            goal = before + (target if upper or not tail else tail)
            end = min(int(np.searchsorted(filled, goal)), codes.size - 1)
            if end > start and filled[end] - before > 1.5 * target:
                end -= 1
            if start < last <= end:
                end = last - 1
            upper.append(int(codes[end]))
            start, before = end + 1, int(filled[end])
        # a column without any value keeps one edge: all values are then "above"
        edges = np.array([codes[0] - 1, *upper] if codes.size else [-1], dtype=np.int64)
        found = cls(
            (*_labels(edges, codes, column.origin), "missing", "invalid"), np.zeros(edges.size + 3, dtype=np.int64), edges, column.origin
        )
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
    """`names` have cells of their own, in order; then `others` (known to the reference), "unseen", "missing", "invalid".

    A reference of more names than it could keep (`hashed`) has cells of names by hash instead.

    `rest` are the hash buckets in which the reference has rows of names that it did not keep: a name that it does not know is unseen
    if it falls into another bucket, and may be one of those ("other") if it falls into one of these. `filled` are all buckets with rows.
    """

    labels: tuple[str, ...]
    expected: Counts
    names: dict[str, int]
    known: frozenset[str] = field(repr=False, default=frozenset())
    rest: frozenset[int] = field(repr=False, default=frozenset())
    filled: frozenset[int] = field(repr=False, default=frozenset())
    hashed: dict[int, int] | None = None
    others: int = 1  # cells of known names without one of their own: groups by hash, so that no choice by rows is involved
    rare: int = 0  # rows of "other" that would be unseen in another sample of the same population (Good and Turing), upper bound

    @classmethod
    def of(cls, sketch: CategorySketch, column: Column) -> CategoryPartition:  # noqa: ARG003 - the signature of both partitions
        """Give the names that hold the most rows a cell each."""
        least = max(_LEAST_ROWS, _LEAST_SHARE * sketch.rows)
        if sketch.level:
            labels = (*(f"names by hash {place + 1} of {_HASHED}" for place in range(_HASHED)), "other", "unseen", "missing", "invalid")
            groups = {bucket: bucket * _HASHED // BUCKETS for bucket in range(BUCKETS)}
            found = cls(labels, np.zeros(len(labels), dtype=np.int64), {}, hashed=groups)
        else:
            ordered = sorted(sketch.names.items(), key=lambda one: (-one[1], one[0]))
            named = {name: place for place, (name, _) in enumerate(ordered[: _stands_out([count for _, count in ordered], least)])}
            others = max(1, min(_OTHERS, (len(ordered) - len(named)) // 2))
            rest_labels = [f"other names {place + 1} of {others}" for place in range(others)] if others > 1 else ["other"]
            labels = (*named, *rest_labels, "unseen", "missing", "invalid")
            empty = np.zeros(len(labels), dtype=np.int64)
            rest, filled = (frozenset(np.flatnonzero(rows).tolist()) for rows in (sketch.unnamed(), sketch.buckets))
            found = cls(labels, empty, named, frozenset(sketch.names), rest, filled, others=others, rare=_rare_rows(sketch))
        found.expected[:] = found.count(sketch)
        return found

    def count(self, sketch: CategorySketch) -> Counts:
        """Return the rows of another sketch of the column by cell.

        Exact while that sketch has kept all of its names; the rows of others are other or unseen, as their hash buckets say.
        """
        counts = np.zeros_like(self.expected)
        if self.hashed is not None:
            for bucket, rows in enumerate(sketch.buckets.tolist()):
                counts[self.hashed[bucket]] += rows
        else:
            for name, rows in sketch.names.items():
                counts[self._cell(name)] += rows
            for bucket, rows in enumerate(sketch.unnamed().tolist()):
                counts[self.cell_of_bucket(bucket)] += rows
        counts[-2:] = sketch.missing, sketch.invalid
        return counts

    def cells(self, data: Categories) -> Cells:
        """Return the cell of each row."""
        table = np.array([*(self._cell(short_name(name)) for name in data.names), -1, -1], dtype=np.int64)
        table[INVALID_CODE], table[MISSING_CODE] = self.expected.size - 1, self.expected.size - 2
        return table[data.codes]

    def cell_of_bucket(self, bucket: int) -> int:
        """Return the cell of rows of which only the hash bucket is known."""
        if self.hashed is not None:
            return self.hashed[bucket]
        return self._other(bucket) if bucket in self.filled else self.expected.size - 3

    def _cell(self, name: str) -> int:
        other = self.expected.size - 4
        if self.hashed is not None:
            return self.hashed[bucket_of(name)]
        if name in self.names:
            return self.names[name]
        if self.others == 1 and name in self.known:
            return other
        bucket = bucket_of(name)
        return self._other(bucket) if name in self.known or bucket in self.rest else other + 1

    def _other(self, bucket: int) -> int:
        return len(self.names) + bucket * self.others // BUCKETS


def _stands_out(counts: list[int], least: float) -> int:
    """Return how many of the names (rows in falling order) get a cell each: all, or those down to a gap that is no chance.

    Of 60 equally common names the 30 that happen to lead in the reference will not lead in the next sample: cells chosen by
    their rows alarm on identical data. A gap of 1.5 standard deviations says that the same names would be chosen again.
    """
    fit = sum(count >= least for count in counts)
    if fit == len(counts) <= _MOST_NAMES:
        return fit
    gaps = (place for place in range(min(fit, _MOST_NAMES, len(counts) - 1), 0, -1))
    return next((place for place in gaps if counts[place - 1] - counts[place] >= _GAP * counts[place - 1] ** 0.5), 0)


def _rare_rows(sketch: CategorySketch) -> int:
    """Bound the rows of names that a sample of this size sees once, for which as many names were never seen (Good 1953), by two sigma."""
    counts = np.array([*sketch.names.values(), *sketch.unnamed()[sketch.unnamed() > 0]], dtype=np.int64)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once + int(np.ceil(2 * np.sqrt(once + 2 * twice)))


def _labels(edges: Codes, filled: Codes, origin: float) -> Iterator[str]:
    """Name the cells of numbers by their borders; one in which the reference fills a single bucket by the value of that bucket."""
    low, values = (np.where(np.abs(one) < _NOTHING, 0.0, one) for one in (lower_bound(edges + 1), _nearest(filled)))
    yield f"< {low[0] + origin:.6g}"
    borders = np.searchsorted(filled, edges, side="right")
    for place, (start, end) in enumerate(pairwise(borders.tolist())):
        single = f"{values[start] + origin:.6g}" if end == start + 1 else ""
        yield single or f"{low[place] + origin:.6g} to {low[place + 1] + origin:.6g}"
    yield f">= {low[-1] + origin:.6g}"


def _nearest(codes: Codes) -> Numbers:
    """Return the value of each bucket that is nearest to zero: the round one, where values are round."""
    return np.where(codes & SIGN, lower_bound(codes), lower_bound(codes + 1))


Partition = NumberPartition | CategoryPartition


def partition_of(sketch: NumberSketch | CategorySketch | VectorSketch, column: Column) -> Partition:
    """Return the cells of a column, from its reference sketch; of embeddings the cells of their lengths."""
    if isinstance(sketch, CategorySketch):
        return CategoryPartition.of(sketch, column)
    return NumberPartition.of(sketch.lengths if isinstance(sketch, VectorSketch) else sketch, column)


def cells_of(partition: Partition, data: ColumnData) -> Cells:
    """Return the cell of each row; data of another type than the reference's is invalid in every row that is not missing."""
    if isinstance(partition, NumberPartition) and not isinstance(data, Categories):
        if data.ndim == 2:
            return partition.cells(lengths_of(data))
        return partition.cells(np.asarray(data, dtype=np.float64))
    if isinstance(partition, CategoryPartition) and isinstance(data, Categories):
        return partition.cells(data)
    missing = data.codes == MISSING_CODE if isinstance(data, Categories) else np.isnan(data) & ~is_invalid(data.astype(np.float64))
    return np.where(missing, partition.expected.size - 2, partition.expected.size - 1)
