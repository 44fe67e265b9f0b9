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
SIGN = 1 << (63 - _SHIFT)
_ALL = (1 << (64 - _SHIFT)) - 1
NO_VALUE = -1  # the bucket number of NaN
_INFINITE = 0x7FF0 << (48 - _SHIFT)  # magnitude of infinity
_WINDOW = 4096  # buckets below the largest magnitude: 64 octaves
_CHUNK = 1 << 15  # rows counted at once: what fits into a core's own cache
_ONE, _SHIFT_BITS, _SHIFT_MORE, _SIGN_BIT = np.uint64(1), np.uint64(_SHIFT), np.uint64(_SHIFT + 1), np.uint64(63)


def codes_of(values: Numbers) -> Codes:
    """Return the bucket number of each value: ordered as the values are, NO_VALUE for NaN."""
    bits = ((values + 0.0).view(np.uint64) >> np.uint64(_SHIFT)).astype(np.int64)  # + 0.0 turns -0.0 into 0.0
    codes = np.where(bits & SIGN, bits ^ _ALL, bits | SIGN)
    codes[np.isnan(values)] = NO_VALUE
    return codes


def lower_bound(codes: Codes) -> Numbers:
    """Return the smallest value of each bucket (the inverse of `codes_of`, to the bucket's lower border)."""
    bits = np.where(codes & SIGN, codes ^ SIGN, codes ^ _ALL).astype(np.uint64) << np.uint64(_SHIFT)
    low = np.where(codes & SIGN, bits, bits | np.uint64((1 << _SHIFT) - 1))  # a negative bucket's smallest value has the largest magnitude
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
        values = np.ascontiguousarray(values, dtype=np.float64)
        nothing = np.zeros(0, dtype=np.int64)
        low, high = (float(np.fmin.reduce(values)) + 0.0, float(np.fmax.reduce(values)) + 0.0) if values.size else (np.nan, np.nan)
        if low != low:
            invalid = int(is_invalid(values).sum())
            return cls(nothing, nothing, values.size - invalid, invalid, np.nan, np.nan)
        shifted = values - origin if origin else values
        codes, counts = _count_near(shifted, low - origin, high - origin) or _count_any(shifted)
        lacking = int(values.size - counts.sum())
        invalid = int(np.count_nonzero(is_invalid(values))) if lacking else 0
        return cls(codes, counts, lacking - invalid, invalid, low, high)

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


def _count_near(values: Numbers, low: float, high: float) -> tuple[Codes, Counts] | None:
    """Count the rows of each bucket in a window of bucket numbers below the largest magnitude; None if it does not hold them all.

    Sorting a million values takes fifty times as long as reading them; counting them in a small table takes six times as long.
    What lies outside of the window must be zeros and NaN, all of it.
    """
    top = _magnitude(max(abs(low), abs(high)))
    bottom = max(top - _WINDOW, _magnitude(low) if low > 0 else 1)
    if top >= _INFINITE or bottom > top:
        return None
    width = top - bottom + 2  # the last one is for what lies outside
    found = np.zeros(2 * width, dtype=np.int64)
    bits = values.view(np.uint64)
    size = min(values.size, _CHUNK)
    scratch, last = np.empty((2, size), dtype=np.uint64), np.full(size, width - 1, dtype=np.uint64)  # fresh memory costs more than counting
    for start in range(0, values.size, _CHUNK):
        chunk = bits[start : start + _CHUNK]
        place = scratch[0, : chunk.size]
        if low < 0:
            np.right_shift(np.left_shift(chunk, _ONE, out=place), _SHIFT_MORE, out=place)
        else:
            np.right_shift(chunk, _SHIFT_BITS, out=place)
        place -= np.uint64(bottom)  # what is below wraps around to the largest
        np.minimum(place, last[: chunk.size], out=place)
        if low < 0:
            sign = np.right_shift(chunk, _SIGN_BIT, out=scratch[1, : chunk.size])
            sign *= np.uint64(width)
            place += sign
        counted = np.bincount(place.view(np.int64))
        found[: counted.size] += counted
    outside = int(found[width - 1] + found[-1])
    zeros = int(np.count_nonzero(values == 0)) if outside and low <= 0 else 0
    sure = outside == zeros or (low > 0 and bottom == _magnitude(low))  # no value can lie below the window
    if not sure and outside != zeros + int(np.count_nonzero(np.isnan(values))):
        return None
    magnitudes = np.arange(bottom, top + 1)
    counts = np.concatenate([found[width:-1][::-1], [zeros], found[: width - 1]])
    codes = np.concatenate([magnitudes[::-1] ^ (SIGN - 1), [SIGN], magnitudes | SIGN])
    kept = np.flatnonzero(counts)
    return codes[kept], counts[kept]


def _count_any(values: Numbers) -> tuple[Codes, Counts]:
    codes = codes_of(values)
    counts = np.bincount(codes[codes != NO_VALUE])
    kept = np.flatnonzero(counts)
    return kept.astype(np.int64), counts[kept].astype(np.int64)


def _magnitude(value: float) -> int:
    return int(np.float64(value).view(np.uint64) >> np.uint64(_SHIFT))
