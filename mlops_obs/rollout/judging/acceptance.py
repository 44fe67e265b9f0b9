"""Is the canary good enough for the next step? Evidence of its own, not the mere absence of harm.

Two things must be shown at each step. *In absolute terms*: the confidence bound of "how many more of its requests are
bad" lies below the margin, at all times and although somebody looks after every slice. *In relative terms*: the blocks of
this step look like a canary that is no worse, and not like one that is worse by the least detectable ratio. How clearly,
depends on what the traffic can show: at two requests a second nothing about a doubled ratio of errors can ever be known,
and the margin decides alone; at two hundred a canary twice as bad must not slip through under a margin of 5 %.

The trap: a stall at the start of a step must not be averaged away for minutes. Both questions are asked again of each lap
(the shortest duration of a step) and of each block on, for a price.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlops_obs.rollout.judging.engine import BlockCurve, Floats, Row, block_index, log_likelihood, mean_columns, median_columns

# Prior of a ratio of bad requests: most mass near zero, where services live. Half a pseudo-failure in twenty requests.
_PRIOR_BAD, _PRIOR_GOOD = 0.5, 20.0

_LAPS = 20  # how many of the newest laps are asked, beside the whole step
_BLOCKS = 60  # how many of the newest blocks a step remembers one by one
_ALIKE = (-1.5, -0.7, -0.35, 0.0, 0.1, 0.2, 0.35, 0.5)  # log ratios of a canary that is no worse; above 0 where pods differ
_BEYOND = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.1, 2.0)  # beyond ln of the least detectable ratio
_LENIENT = 0.75  # nats against it that count for nothing where the traffic can show nothing
_NOISE = (0.125, 0.375, 0.75)  # times the largest noise
_TYPICAL = 0.3
_ANEW = 1.0  # nats more that a part of the step must bring than the whole


@dataclass(frozen=True, slots=True)
class Acceptance:
    """How much worse the canary could be (difference of shares), in how many requests, and how clearly it is no worse.

    The latter in nats, of those required.
    """

    upper: float
    requests: int
    alike: float
    required: float


class StepEvidence:
    """What one question has told since a step began. Rows come in the order of time."""

    def __init__(self, anchor: float, block: float, noise: float, ratio: float, lap: float) -> None:
        """`anchor` in seconds; `ratio` is the least detectable one, `noise` the largest, `lap` in seconds."""
        self._anchor, self._block, self._lap, self._ratio = anchor, block, lap, ratio
        self._noise = max(noise, 0.02)
        self._thetas = (*_ALIKE, *(math.log(ratio) + one for one in _BEYOND))
        self._starts: list[float] = []
        self._sums: list[tuple[float, float, float, float]] = [(0.0, 0.0, 0.0, 0.0)]
        self._end = self._seconds = 0.0
        self._closed: list[Floats] = []
        self._open = np.zeros((len(self._thetas), len(_NOISE)))
        self._curve = BlockCurve(-1)

    def push(self, row: Row) -> None:
        """Add a row."""
        index = block_index(row.end, self._anchor, self._block)
        if index != self._curve.index:
            if self._curve.tells:
                self._closed = [*self._closed[-_BLOCKS:], self._open]
            self._curve, self._open = BlockCurve(index), np.zeros_like(self._open)
        self._curve.push(row)
        if self._curve.tells:
            factor = round(self._curve.width(self._block), 2)
            columns = mean_columns if factor <= 1.0 else median_columns
            prior = columns(self._thetas, tuple(self._noise * one * factor for one in _NOISE))
            self._open = log_likelihood(self._curve.weights(), prior).reshape(self._open.shape)
        self._starts.append(row.start)
        last = self._sums[-1]
        self._sums.append((last[0] + row.canary_bad, last[1] + row.canary_total, last[2] + row.stable_bad, last[3] + row.stable_total))
        self._end = row.end
        self._seconds += row.seconds

    def look(self, alpha: float, margin: float, before: tuple[float, float], horizon: float, spare: float = 0.0) -> Acceptance:
        """Return what is shown now.

        Args:
            alpha: chance, per step, of accepting a canary that is worse by `margin` (a share of its requests).
            before: stable's (bad, all) since the rollout began, to compare with where stable has no traffic any more.
            horizon: seconds that a step may take; what the traffic could show in them sets what is asked for.
            spare: ln of the ratio by which two healthy sets of pods may differ.
        """
        alike, noise = self._alike(spare)
        required = self._required(alpha, horizon, noise)
        upper, requests = self._difference(0, 0, alpha, before)
        count = 1 + int((self._end - self._starts[0]) / self._lap) if self._starts else 1
        for number in range(max(1, count - _LAPS), count) if upper > margin else ():
            first = bisect_left(self._starts, self._starts[0] + number * self._lap - 1e-9)
            found = self._difference(first, number, alpha, before)
            if found[0] < upper:
                upper, requests = found
        return Acceptance(upper, requests, alike, required)

    def _difference(self, first: int, number: int, alpha: float, before: tuple[float, float]) -> tuple[float, int]:
        """Return the upper bound of canary's share minus stable's since row `first`, and the canary's requests in it."""
        start, end = self._sums[first], self._sums[-1]
        bad, total, stable_bad, stable_total = (after - now for after, now in zip(end, start, strict=True))
        if not stable_total:  # at the last step nothing is left to compare with but what stable did before
            stable_bad, stable_total = before
        share = alpha / ((number + 1) * (number + 2)) / 2  # sums to alpha over all laps; half for each arm's bound
        return upper_bound(bad, total, share) - lower_bound(stable_bad, stable_total, share), round(total)

    def _alike(self, spare: float) -> tuple[float, float]:
        """Return the nats by which the newest blocks look like a canary that is no worse, and the noise they have."""
        every = np.stack([*self._closed, self._open])
        since = np.cumsum(every[::-1], axis=0)[::-1]  # sums from each block on
        like = sum(1 for one in _ALIKE if one <= spare / 2 + 1e-9)
        unlike = len(_ALIKE) + next(index for index, one in enumerate(_BEYOND) if one >= min(spare, _BEYOND[-1]) - 1e-9)
        alike = since[:, :like, :].max(axis=(1, 2)) - since[:, unlike:, :].max(axis=(1, 2))
        noise = _TYPICAL
        if len(every) >= 5:
            noise = self._noise * _NOISE[int(since[0].max(axis=0).argmax())]
        return max(float(alike[0]), float(alike[1:].max(initial=-math.inf)) - _ANEW), noise

    def _required(self, alpha: float, horizon: float, noise: float) -> float:
        _, total, bad, stable_total = self._sums[-1]
        if not self._seconds or not bad or not stable_total:
            return -_LENIENT
        rate = bad / stable_total * horizon / self._seconds
        variance = noise**2 * self._block / max(horizon, self._block) + 1 / max(rate * total, 1e-9) + 1 / (rate * stable_total)
        could = math.log(self._ratio) ** 2 / (2 * variance)
        return max(-_LENIENT, min(math.log(1 / alpha), could / 5 - _LENIENT))


@lru_cache(maxsize=65_536)
def upper_bound(bad: float, total: float, alpha: float) -> float:
    """Return the bound that the true share stays under at all times with probability 1 - alpha (beta-binomial mixture)."""
    if total <= 0:
        return 1.0
    return 1.0 if bad >= total else _edge(bad / total, 1.0, False, _rejects(bad, total, alpha))


@lru_cache(maxsize=65_536)
def lower_bound(bad: float, total: float, alpha: float) -> float:
    """Return the bound that the true share stays over at all times with probability 1 - alpha."""
    return 0.0 if total <= 0 or bad <= 0 else _edge(0.0, bad / total, True, _rejects(bad, total, alpha))


def _rejects(bad: float, total: float, alpha: float) -> Callable[[float], bool]:
    mixture = _log_beta(bad + _PRIOR_BAD, total - bad + _PRIOR_GOOD) - _log_beta(_PRIOR_BAD, _PRIOR_GOOD)
    limit = mixture + math.log(alpha)

    def rejected(ratio: float) -> bool:
        likelihood = (bad * math.log(ratio) if bad else 0.0) + ((total - bad) * math.log1p(-ratio) if bad < total else 0.0)
        return limit >= likelihood

    return rejected


def _edge(low: float, high: float, rejected_first: bool, rejected: Callable[[float], bool]) -> float:
    for _ in range(40):
        middle = (low + high) / 2
        if not 0.0 < middle < 1.0:
            break
        if rejected(middle) == rejected_first:
            low = middle
        else:
            high = middle
    return low if rejected_first else high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
