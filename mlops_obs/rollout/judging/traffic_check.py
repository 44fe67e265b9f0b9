"""Does the canary get the share of the traffic that was declared? A sequential test for sample-ratio mismatch.

Weights in a spec, and even in a status, are promises: an ingress that ignores them, sticky sessions, or clients that
bypass the split leave 0 % or 80 % on a canary that should have 10 %. Then every comparison is between different users,
and a step that nobody used is "accepted". The observed share is tested against the declared one in both directions, with
the same blocks and noise as the test of harm, and an error rate of its own.

The trap: a split that has been repaired. The alarm ends with a whole block whose share is as declared, and the test begins
anew with a smaller part of its error rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlops_obs.rollout.judging.engine import (
    BlockCurve,
    Row,
    block_index,
    log_likelihood,
    log_mean_exp,
    median_columns,
)

ALPHA = 0.01
_TOLERATED = math.log(1.2)  # ratio of the odds observed / declared that is no mismatch
_STALL = 0.3  # log standard deviation of the share in a block that has only begun: a split takes seconds to settle
_NULL = tuple(_TOLERATED * one / 3 for one in range(-3, 4))
_NULL_NOISE = (0.02, 0.06, 0.15)  # log standard deviation of the share from block to block
_FAR = (0.35, 0.5, 0.8, 1.2, 1.8, 2.7, 4.5)
_WRONG = (*(-one for one in _FAR), *_FAR)
_WRONG_NOISE = (0.03, 0.2)
_SETTLE = 10.0  # seconds that a split gets to take effect everywhere
_SILENCE = 20.0  # seconds without a request for the canary before that is said
_SILENT = math.log(10_000.0)  # requests without one for the canary, times its share, that cannot be chance in thousands of them
_LEAST_SHARE = 0.01  # of the traffic, when nobody has declared it


@dataclass(frozen=True, slots=True)
class Traffic:
    """The canary's share as declared and as observed (of `requests` of the newest block), and the evidence that they differ."""

    declared: float | None
    observed: float | None
    requests: int
    log10_e: float
    log10_bound: float
    problem: str = ""


class TrafficTest:
    """Tests the canary's share row by row; rows come in the order of time."""

    def __init__(self, anchor: float, block: float = 60.0, alpha: float = ALPHA) -> None:
        self._anchor, self._block, self._alpha = anchor, block, alpha
        self._alarms, self._alarm = 0, False
        self._peak = 0.0
        self._block_totals, self._last_totals = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]  # canary, all, expected
        self._all = [0.0, 0.0]  # canary and all requests so far
        self._silent = self._silent_for = 0.0  # requests since the canary's last one, and seconds
        self._declared: float | None = None
        self._changed_at = anchor
        self._index = -1
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._told, self._alarm, self._value = 0, False, 0.0
        self._curve = BlockCurve(-1)
        self._null = self._null_now = np.zeros(len(_NULL) * len(_NULL_NOISE))
        self._since = self._since_now = np.full(len(_WRONG) * len(_WRONG_NOISE), -math.inf)

    def _excuse(self) -> None:
        """End an alarm; the next one needs more evidence."""
        self._alarms += 1
        self._begin_anew()

    @property
    def _bound(self) -> float:
        return math.log((self._alarms + 1) * (self._alarms + 2) / self._alpha)

    def push(self, start: float, end: float, canary: int, stable: int, weight: float | None) -> None:
        """Add a slice: requests of both arms, and the canary's declared share in percent (None: not declared, or it changed)."""
        index = block_index(end, self._anchor, self._block)
        if index != self._index:
            whole = self._block_totals
            if self._alarm and whole[2] > 0 and _alike(whole[0], whole[1], whole[2] / whole[1]):
                self._excuse()
            self._index, self._last_totals, self._block_totals = index, whole, [0.0, 0.0, 0.0]
        share = None if weight is None else weight / 100
        if share != self._declared:
            if self._alarm:
                self._excuse()  # an alarm about another split says nothing of this one, and at 100 % nothing could ever end it
            self._declared, self._changed_at = share, start
            self._last_totals, self._block_totals = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]  # what was seen of another split
        total = canary + stable
        quiet = not canary and weight != 0
        self._silent = self._silent + stable if quiet else 0.0
        self._silent_for = self._silent_for + end - start if quiet else 0.0
        self._all[0] += canary
        self._all[1] += total
        self._block_totals[0] += canary
        self._block_totals[1] += total
        if share is not None and 0 < share < 1 and total > 0 and end - self._changed_at > _SETTLE:
            self._block_totals[2] += total * share
            self._test(Row(start, end, canary, share, stable, 1 - share), index)

    def _test(self, row: Row, index: int) -> None:
        if index != self._curve.index:
            self._curve = BlockCurve(index)
            self._null, self._since = self._null_now, self._since_now
            self._told += 1
            self._since = np.logaddexp(self._since, log_mean_exp(self._null) - math.log(self._told * (self._told + 1)))
        self._curve.push(row)
        weights, factor = self._curve.weights(), self._curve.width(self._block)
        null = log_likelihood(weights, median_columns(_NULL, _NULL_NOISE))
        if factor > 1.001:
            null = np.maximum(null, np.repeat(log_likelihood(weights, median_columns(_NULL, (round(_STALL * factor, 2),))), 3))
        self._null_now = self._null + null
        self._since_now = self._since + log_likelihood(weights, median_columns(_WRONG, _WRONG_NOISE))
        later = log_mean_exp(self._null_now) - math.log(self._told + 1)
        self._value = float(np.logaddexp(log_mean_exp(self._since_now), later)) - float(self._null_now.max())
        self._alarm = self._alarm or self._value >= self._bound

    def look(self) -> Traffic:
        """Return what is known now; `problem` says in words what is wrong, or is empty."""
        canary, total = (now + last for now, last in zip(self._block_totals[:2], self._last_totals[:2], strict=True))
        return Traffic(
            self._declared,
            canary / total if total else None,
            int(total),
            self._value / math.log(10),
            self._bound / math.log(10),
            self._problem(canary, total),
        )

    def _problem(self, canary: float, total: float) -> str:
        usual = self._declared if self._declared is not None else max(_LEAST_SHARE, self._all[0] / max(self._all[1], 1.0))
        if self._silent_for >= _SILENCE and self._silent * min(usual, 0.5) * 0.75 > _SILENT:
            return f"the canary got none of the last {self._silent:.0f} requests"
        if self._alarm and self._declared is not None and total:
            found = f"the canary gets {canary / total:.1%} ({canary:.0f}/{total:.0f}) of the requests instead of {self._declared:.0%}"
            return f"{found}; evidence {odds(self._value)} >= {odds(self._bound)}"
        return ""


def _alike(canary: float, total: float, share: float) -> bool:
    deviation = math.sqrt(share * (1 - share) / total)
    return share / 1.2 - 2 * deviation <= canary / total <= share * 1.2 + 2 * deviation and canary > 0


def odds(log_e: float) -> str:
    """Return evidence in words, such as 204:1, from its natural logarithm."""
    log10 = max(log_e, 0.0) / math.log(10)
    return f"{10**log10:,.0f}:1" if log10 < 6 else f"10^{log10:.0f}:1"
