"""Whole distributions of features as Prometheus native histograms: one series for each feature, buckets that need no choice.

A value is counted where the lower end (of the magnitude) of its sketch bucket lies, in buckets of schema 7, which end at 2^(i / 128). Every
bucket of the sketch, 64 to the octave, then has a native bucket of its own, so that the cells of a reference can be cut out in PromQL
exactly: PSI and KS there are those that Python computes. The price is that a quantile may be 1.6 % low.
Counts only grow, as counters do, and start anew with the process. https://prometheus.io/docs/specs/native_histograms/

The trap: a column with an `origin` (a year, a timestamp) varies little for its size; it is exposed less its origin, else all of it would be
in two buckets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnKind, Numbers
from mlops_obs.collectors.drift.partition import NumberPartition
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, codes_of, lower_bound

SCHEMA = 7
ZERO_THRESHOLD = 2.0**-128  # as client_golang's default: what is nearer to zero is in the zero bucket
MOST_FEATURES = 500
_NUMERIC = (ColumnKind.NUMBER, ColumnKind.TIMESTAMP, ColumnKind.TEXT)
_PER_OCTAVE = 1 << SCHEMA
_INFINITE = 1024 * _PER_OCTAVE + 1  # above the bucket that ends at 2^1024

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NativeHistogram:
    """Counts by bucket index (sorted) of positive and of negative values (by magnitude), those of zero, and the sum of all."""

    positive: tuple[Indices, Indices]
    negative: tuple[Indices, Indices]
    zeros: int
    total: float

    @property
    def count(self) -> int:
        """All values."""
        return int(self.positive[1].sum() + self.negative[1].sum()) + self.zeros


def index_of(magnitudes: Numbers) -> Indices:
    """Return the native bucket of each positive number: i where 2^((i - 1) / 128) < number <= 2^(i / 128)."""
    with np.errstate(divide="ignore"):
        found = np.ceil(np.log2(np.minimum(magnitudes, np.finfo(np.float64).max)) * _PER_OCTAVE)
    return np.where(np.isinf(magnitudes), _INFINITE, found).astype(np.int64)


class FeatureHistograms:
    """Cumulative histograms of the number-like columns of a model, at most MOST_FEATURES of them."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._origins = {one.name: one.origin for one in columns if one.kind in _NUMERIC}
        self._names = list(self._origins)[:MOST_FEATURES]
        empty = np.zeros(0, dtype=np.int64)
        self._current = {name: NativeHistogram((empty, empty), (empty, empty), 0, 0.0) for name in self._names}

    def add(self, block: Block) -> None:
        """Count the rows of a block; missing and invalid values are no observations."""
        after = dict(self._current)
        for name in self._names:
            data = block[name]
            if not isinstance(data, Categories):
                values = data[~np.isnan(data)].astype(np.float64)
                if values.size:
                    origin = self._origins[name]
                    after[name] = _added(after[name], values - origin if origin else values)
        self._current = after  # replaced whole: a scrape that reads now sees all of the block or nothing of it

    def read(self) -> Mapping[str, NativeHistogram]:
        """Return the histograms by feature. Safe from any thread."""
        return self._current


def native_cells(sketch: NumberSketch, partition: NumberPartition) -> tuple[list[float], list[int]]:
    """Return the partition's cells of values as PromQL can cut them: borders of native buckets, rising, and the sketch's rows between.

    The rows are one more than the cuts: up to the first, between each two, above the last. Rows without a value are not among them.
    """
    cuts: list[float] = []
    rows: list[int] = []
    counts = partition.count(sketch)[:-2].tolist()
    for cut, count in zip(_cuts(partition.edges), counts, strict=False):
        if cuts and cut == cuts[-1]:  # next to zero two edges may fall into one bucket
            rows[-1] += count
        else:
            cuts.append(cut)
            rows.append(count)
    return cuts, [*rows, counts[-1]]


def _cuts(edges: Indices) -> list[float]:
    """Return the largest number that Prometheus counts with each of these sketch buckets."""
    ends = _lower_ends(edges)
    magnitudes = np.abs(ends)
    indices = index_of(np.maximum(magnitudes, ZERO_THRESHOLD))
    below_zero = edges < codes_of(np.zeros(1))[0]
    with np.errstate(over="ignore"):  # the bucket that ends at 2^1024
        borders = np.where(below_zero, -np.exp2((indices - 1) / _PER_OCTAVE), np.exp2(np.minimum(indices, _INFINITE - 1) / _PER_OCTAVE))
    near = np.where(below_zero, -ZERO_THRESHOLD, ZERO_THRESHOLD)
    largest = float(np.finfo(np.float64).max)
    found: list[float] = np.clip(np.where(magnitudes <= ZERO_THRESHOLD, near, borders), -largest, largest).tolist()
    return found


def _lower_ends(codes: Indices) -> Numbers:
    """Return the end of each sketch bucket that is nearer to zero."""
    low = lower_bound(codes)
    with np.errstate(invalid="ignore"):
        return np.where(codes < codes_of(np.zeros(1))[0], -lower_bound(codes_of(-low)), low)


def _added(one: NativeHistogram, values: Numbers) -> NativeHistogram:
    codes, counts = np.unique(codes_of(values), return_counts=True)
    ends = _lower_ends(codes)
    zero = np.abs(ends) <= ZERO_THRESHOLD
    above, below = ~zero & (ends > 0), ~zero & (ends < 0)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities of both signs sum to NaN, as in every Prometheus client
        total = one.total + float(values.sum())
    return NativeHistogram(
        _merged(one.positive, index_of(ends[above]), counts[above]),
        _merged(one.negative, index_of(-ends[below]), counts[below]),
        one.zeros + int(counts[zero].sum()),
        total,
    )


def _merged(before: tuple[Indices, Indices], found: Indices, counts: Indices) -> tuple[Indices, Indices]:
    if not found.size:
        return before
    indices, place = np.unique(np.concatenate([before[0], found]), return_inverse=True)
    merged = np.zeros(indices.size, dtype=np.int64)
    np.add.at(merged, place, np.concatenate([before[1], counts]))
    return indices, merged
