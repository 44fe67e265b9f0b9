"""Statistics of numbers, from their bucket sketches: Kolmogorov-Smirnov, Wasserstein, quantiles.

A sketch keeps a value to its bucket (1.6 % of the value at most), so that distribution functions are exact at bucket borders:
KS from sketches is never above the exact one and below it by at most the share of rows in one bucket; Wasserstein and quantiles are
within 1.6 % of the values' magnitude.

The trap: the Wasserstein distance is in the unit of the feature, and one sentinel of 1e9 in a million rows moves it by 1,000. It is
shown, scaled by the reference's interquartile range too, and never decides alone.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.sketches.numbers import Codes, NumberSketch

Values = NDArray[np.float64]
_SHIFT = 46  # bits of a float64 that a bucket number leaves out
_ZERO = 1 << (63 - _SHIFT)  # the bucket of 0.0


def representatives(codes: Codes) -> Values:
    """Return the value in each bucket that is nearest to zero: exact for whole numbers up to 64 and for powers of two."""
    positive = codes >= _ZERO
    magnitude = (np.where(positive, codes - _ZERO, _ZERO - 1 - codes) << _SHIFT).view(np.float64)
    return np.where(positive, magnitude, -magnitude)


def kolmogorov_smirnov(reference: NumberSketch, current: NumberSketch) -> float:
    """Return the largest difference of the two distribution functions, 0 to 1, over rows that have a value; NaN if a side has none.

    Source: Smirnov 1939. Exact for the rows rounded to buckets, so a lower bound of the rows' own.
    """
    return apart(reference, current)[0]


def kolmogorov_smirnov_p_value(statistic: float, n: float, m: float) -> float:
    """Return the asymptotic two-sided p-value, 2 sum of (-1)^(k-1) exp(-2 k^2 z^2), z = D sqrt(nm / (n + m)) (Kolmogorov 1933).

    Conservative where values are tied or rows are few. NaN statistics (no rows) give 1.
    """
    if not (statistic > 0 and n > 0 and m > 0):
        return 1.0
    z = statistic * sqrt(n / (n + m) * m)
    if z < 0.2:  # the series converges slowly where the answer is 1 to twelve places
        return 1.0
    total, sign = 0.0, 1.0
    for k in range(1, 101):
        term = exp(-2.0 * (k * z) ** 2)
        total += sign * term
        if term <= total * 1e-16:
            break
        sign = -sign
    return min(1.0, max(0.0, 2 * total))


def wasserstein_1(reference: NumberSketch, current: NumberSketch) -> float:
    """Return the earth mover's distance, integral of |F - G|, in the feature's unit; infinite values are left out; NaN if a side has none.

    Source: Vallender 1974 for the one-dimensional form; scipy's `wasserstein_distance`.
    """
    return apart(reference, current)[1]


def quantiles(sketch: NumberSketch, levels: Values) -> Values:
    """Return the values below which the given shares (0 to 1) of the rows with a value lie; NaN if there are none.

    The inverse of the distribution function, as numpy's method "inverted_cdf", to the bucket.
    """
    if not sketch.codes.size:
        return np.full(np.shape(levels), np.nan)
    filled = np.cumsum(sketch.counts)
    place = np.searchsorted(filled, np.ceil(np.asarray(levels) * filled[-1]).clip(1), side="left")
    return representatives(sketch.codes[np.minimum(place, sketch.codes.size - 1)])


def apart(reference: NumberSketch, current: NumberSketch) -> tuple[float, float]:
    """Return (Kolmogorov-Smirnov statistic, Wasserstein-1 distance) in one pass; NaN if a side has no value."""
    n, m = int(reference.counts.sum()), int(current.counts.sum())
    if not n or not m:
        return float("nan"), float("nan")
    codes = np.concatenate([reference.codes, current.codes])
    order = np.argsort(codes, kind="stable")  # two sorted runs: one merge
    codes = codes[order]
    steps = np.concatenate([reference.counts / n, current.counts / -m])[order]
    difference = np.abs(np.cumsum(steps))
    last = codes[1:] != codes[:-1]  # inside a bucket that both have, the difference means nothing
    ks = float(difference[:-1][last].max(initial=0.0))
    values = representatives(codes)
    finite = np.isfinite(values)
    if not finite.all():
        return ks, _finite_wasserstein(
            values[finite], order[finite] < reference.codes.size, np.concatenate([reference.counts, current.counts])[order][finite]
        )
    return ks, float(np.dot(difference[:-1], np.diff(values)))


def _finite_wasserstein(values: Values, first: NDArray[np.bool_], counts: NDArray[np.int64]) -> float:
    n, m = int(counts[first].sum()), int(counts[~first].sum())
    if not n or not m:
        return float("nan")
    difference = np.abs(np.cumsum(np.where(first, counts / n, counts / -m)))
    return float(np.dot(difference[:-1], np.diff(values)))
