"""Raw samples on arrays, read as Prometheus reads them: `increase` with its extrapolation, and what an instant selector sees.

The replay must fire in the very minute in which Prometheus fires, so it repeats Prometheus' arithmetic operation by operation
(promql/functions.go, extrapolatedRate). The trap is the range: its left edge is closed before Prometheus 3 and open since, so
`[5m]` on a 1-minute scrape holds 6 samples in one and 5 in the other, and the second has to extrapolate.

Only what replays history imports this module: it needs numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlops_obs.slo.counters import Series

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Flavour = Literal["prometheus-2", "prometheus-3"]
LOOKBACK_MS = 300_000  # how long an instant selector still sees a series that is no longer sampled
_THRESHOLD = 1.1  # of the mean distance between samples; a gap at the edge that is wider is no missing sample


@dataclass(frozen=True, slots=True)
class RawSeries:
    """One series: `labels`, sample times in Unix milliseconds (ascending) and values; NaN marks the end of the series."""

    labels: Mapping[str, str]
    at_ms: Times
    values: Floats


def from_series(found: Iterable[Series]) -> list[RawSeries]:
    """Return `found` on arrays. A NaN in it is Prometheus' mark for the end of a series."""
    out = []
    for one in found:
        pairs = np.asarray(one.samples, dtype=np.float64).reshape(-1, 2)
        out.append(RawSeries(one.labels, np.rint(pairs[:, 0] * 1000).astype(np.int64), pairs[:, 1].copy()))
    return out


def increase(series: RawSeries, now_ms: Times, window_ms: int, flavour: Flavour = "prometheus-2") -> Floats:
    """Return `increase(series[window])` at every moment of `now_ms`; NaN where Prometheus has no answer (fewer than 2 samples)."""
    there = ~np.isnan(series.values)
    at, values = series.at_ms[there], series.values[there]
    found = np.full(len(now_ms), np.nan)
    if len(at) < 2:
        return found
    start_ms = now_ms - window_ms
    first = np.searchsorted(at, start_ms, side="left" if flavour == "prometheus-2" else "right")
    last = np.searchsorted(at, now_ms, side="right") - 1
    ok = last > first
    if not ok.any():
        return found
    a, z = first[ok], last[ok]
    before_reset = np.concatenate(([0.0], np.cumsum(np.where(values[1:] < values[:-1], values[:-1], 0.0))))
    counted = (values[z] - values[a]) + (before_reset[z] - before_reset[a])
    to_start, to_end = (at[a] - start_ms[ok]) / 1000, (now_ms[ok] - at[z]) / 1000
    sampled = (at[z] - at[a]) / 1000
    found[ok] = counted * _factor(counted, values[a], to_start, to_end, sampled, sampled / (z - a), flavour)
    return found


def _factor(counted: Floats, first: Floats, to_start: Floats, to_end: Floats, sampled: Floats, mean: Floats, flavour: Flavour) -> Floats:
    """Return by how much the counted events are blown up because the samples do not reach the edges of the range (seconds)."""
    limit, half = mean * _THRESHOLD, mean / 2
    # A counter cannot have been below zero: it is not extrapolated to before the moment at which it was zero.
    to_zero = np.full(len(counted), np.inf)
    rising = (counted > 0) & (first >= 0)
    to_zero[rising] = sampled[rising] * (first[rising] / counted[rising])
    if flavour == "prometheus-2":
        to_start = np.minimum(to_start, to_zero)
        to_start = np.where(to_start < limit, to_start, half)
        to_end = np.where(to_end < limit, to_end, half)
    else:
        to_start = np.minimum(np.where(to_start < limit, to_start, half), to_zero)
        to_end = np.where(to_end < limit, to_end, half)
    return (sampled + to_start + to_end) / sampled


def present(series: RawSeries, now_ms: Times, flavour: Flavour = "prometheus-2") -> npt.NDArray[np.bool_]:
    """Say for every moment whether an instant selector sees `series`: sampled within 5 minutes and not marked as ended."""
    if not len(series.at_ms):
        return np.zeros(len(now_ms), dtype=np.bool_)
    last = np.searchsorted(series.at_ms, now_ms, side="right") - 1
    at = np.maximum(last, 0)
    age = now_ms - series.at_ms[at]
    fresh = age <= LOOKBACK_MS if flavour == "prometheus-2" else age < LOOKBACK_MS
    return (last >= 0) & fresh & ~np.isnan(series.values[at])


def count_over_time(series: RawSeries, now_ms: Times, window_ms: int) -> Floats:
    """Return how many samples are in (now - window, now] at every moment; NaN where there is none."""
    first, last = _stretch(series, now_ms, window_ms)
    return np.where(last > first, (last - first).astype(np.float64), np.nan)


def sum_over_time(series: RawSeries, now_ms: Times, window_ms: int) -> Floats:
    """Return the sum of the samples in (now - window, now] at every moment; NaN where there is none."""
    first, last = _stretch(series, now_ms, window_ms)
    sums = np.concatenate(([0.0], np.cumsum(series.values[~np.isnan(series.values)])))
    return np.where(last > first, sums[last] - sums[first], np.nan)


def _stretch(series: RawSeries, now_ms: Times, window_ms: int) -> tuple[Times, Times]:
    at = series.at_ms[~np.isnan(series.values)]
    return np.searchsorted(at, now_ms - window_ms, side="right"), np.searchsorted(at, now_ms, side="right")


def instant(series: RawSeries, now_ms: Times, flavour: Flavour = "prometheus-2") -> Floats:
    """Return what an instant selector reads at every moment; NaN where it sees nothing."""
    found = np.full(len(now_ms), np.nan)
    seen = present(series, now_ms, flavour)
    found[seen] = series.values[np.searchsorted(series.at_ms, now_ms[seen], side="right") - 1]
    return found


def add_up(parts: Sequence[Floats]) -> Floats:
    """Return `sum(...)` over series: what is absent (NaN) adds nothing, and where all are absent so is the sum."""
    total = parts[0]
    for one in parts[1:]:
        total = np.where(np.isnan(total), one, np.where(np.isnan(one), total, total + one))
    return total


class RunningSum:
    """Sums of stretches of `points` (NaN: not there) as differences of one running sum.

    It is kept in extended precision, since 4.999999 bad events are not 5.
    """

    __slots__ = ("_sums", "_there")

    def __init__(self, points: Floats) -> None:
        there = ~np.isnan(points)
        self._sums = np.concatenate((np.zeros(1, dtype=np.longdouble), np.cumsum(np.where(there, points, 0.0), dtype=np.longdouble)))
        self._there = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(there, dtype=np.int64)))

    def between(self, first: Times, last: Times) -> tuple[Floats, Times]:
        """Return for each pair of positions the sum of the points from `first` to `last`, and how many of them are there."""
        low = np.clip(first, 0, len(self._there) - 1)
        high = np.maximum(np.clip(last + 1, 0, len(self._there) - 1), low)
        return (self._sums[high] - self._sums[low]).astype(np.float64), self._there[high] - self._there[low]
