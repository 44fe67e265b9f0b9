"""A histogram over the bits of float64: what remains of a column of numbers when the data may not be kept.

The top 18 bits of a float64 (sign, exponent, six bits of mantissa) are a bucket number: 64 buckets to the octave, no
edges to agree on, no sorting, and one sentinel of 999999999 cannot stretch a scale. Merging is integer addition, so
the shards of a table give the same bytes in any order.

The trap: resolution is relative (about 1.1 %). Values that vary little far from zero, such as Unix timestamps, would all
fall into one bucket; the column's `origin` is subtracted first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import Numbers, is_invalid

Codes = NDArray[np.int64]
Counts = NDArray[np.int64]

_SHIFT = 46
_SIGN = 1 << (63 - _SHIFT)
_ALL = (1 << (64 - _SHIFT)) - 1
NO_VALUE = -1  # the bucket number of NaN


def codes_of(values: Numbers) -> Codes:
    """Return the bucket number of each value: ordered as the values are, NO_VALUE for NaN."""
    bits = ((values + 0.0).view(np.uint64) >> np.uint64(_SHIFT)).astype(np.int64)  # + 0.0 turns -0.0 into 0.0
    codes = np.where(bits & _SIGN, bits ^ _ALL, bits | _SIGN)
    codes[np.isnan(values)] = NO_VALUE
    return codes


def lower_bound(codes: Codes) -> Numbers:
    """Return the smallest value of each bucket (the inverse of `codes_of`, to the bucket's lower border)."""
    bits = np.where(codes & _SIGN, codes ^ _SIGN, codes ^ _ALL).astype(np.uint64) << np.uint64(_SHIFT)
    low = np.where(codes & _SIGN, bits, bits | np.uint64((1 << _SHIFT) - 1))  # a negative bucket's smallest value has the largest magnitude
    found: Numbers = low.view(np.float64)
    return np.where(np.isnan(found), -np.inf, found)  # the bucket of minus infinity


@dataclass(frozen=True, slots=True, eq=False)
class NumberSketch:
    """Sorted bucket numbers with their row counts, the rows without a value, those of a wrong type, and the extremes (NaN if no value)."""

    codes: Codes
    counts: Counts
    missing: int
    invalid: int
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Numbers, origin: float = 0.0) -> NumberSketch:
        """Sketch numbers less `origin`; infinities are values."""
        present = values[~np.isnan(values)]
        invalid = int(is_invalid(values).sum()) if present.size < values.size else 0
        codes, counts = np.unique(codes_of(present - origin if origin else present), return_counts=True)
        low, high = (float(present.min()) + 0.0, float(present.max()) + 0.0) if present.size else (np.nan, np.nan)
        return cls(codes, counts.astype(np.int64), int(values.size - present.size) - invalid, invalid, low, high)

    @property
    def rows(self) -> int:
        """All rows, those without a value included."""
        return int(self.counts.sum()) + self.missing + self.invalid

    def merge(self, other: NumberSketch) -> NumberSketch:
        """Return the sketch of both sets of rows: exact, commutative and associative."""
        codes, place = np.unique(np.concatenate([self.codes, other.codes]), return_inverse=True)
        counts = np.zeros(codes.size, dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        low, high = float(np.fmin(self.minimum, other.minimum)), float(np.fmax(self.maximum, other.maximum))
        return NumberSketch(codes, counts, self.missing + other.missing, self.invalid + other.invalid, low, high)
