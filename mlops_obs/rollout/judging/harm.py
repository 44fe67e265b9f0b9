"""Is the canary worse? An e-process that a tolerated canary drives above 1/alpha with probability at most alpha, ever.

Universal inference (Wasserman, Ramdas and Balakrishnan, 2020): the numerator is a mixture fixed in advance over how bad
the canary is, how noisy, and since which block; the denominator is the *best* that any tolerated canary could do, with
any noise up to the declared one. Whatever tolerated truth holds, the quotient is at most a likelihood ratio against it,
and so at most 1 in expectation at every time (Ville's inequality does the rest).

Two refinements. While there are only a few bad requests, nobody could tell the tolerated ratio from its square root, and
the noise of minutes is hidden in that of counts; so the square root is what must be exceeded until `_FEW` have been seen,
which finds a gross regression at little traffic. (A canary exactly as bad as is tolerated was then condemned in 1 of 400
simulated rollouts of half an hour at 2 and at 20 requests a second: still less than alpha.) And during the warm-up more is
tolerated: `gross` times as much at its beginning, falling to nothing extra at its end. A cold cache is not harm, a total
failure is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.rollout.judging.engine import (
    BlockCurve,
    Floats,
    Row,
    block_index,
    log_likelihood,
    log_mean_exp,
    mean_columns,
    median_columns,
)

# Log ratios relative to the tolerated one: healthy, borderline, and above it where pods differ (see `spare` below).
_BELOW = (-2.0, -1.4, -1.0, -0.7, -0.5, -0.35, -0.2, -0.1, 0.0)
_SPARE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 1.1)
_NOISE = (0.0625, 0.125, 0.25, 0.45, 0.7, 1.0)  # times the largest noise
_COLD = (0.0, 0.5, 1.0)  # how cold the canary is, as a share of what is tolerated in the warm-up
_USUAL = [_BELOW.index(one) for one in (-1.0, -0.5, -0.35, 0.0)]  # what is expected before a regression begins
_FEW = 60.0  # bad requests of both arms

# Alternatives: log ratios beyond the tolerated one with their weights, and their noise.
_WORSE, _WEIGHTS = (0.35, 0.7, 1.1, 1.5, 2.0, 2.7, 3.6, 4.8, 6.1), (0.5, 0.8, 1.0, 1.3, 1.6, 1.3, 0.9, 0.8, 0.8)
_NOISE_WORSE = (0.1, 0.35, 0.8)
_PRIOR: Floats = np.log(np.repeat(_WEIGHTS, len(_NOISE_WORSE)) / (sum(_WEIGHTS) * len(_NOISE_WORSE)))
_LATER = 0.4  # chance that a regression begins later than with the first block that tells something; than with the k-th: 0.4 / sqrt(k)


@dataclass(frozen=True, slots=True)
class Null:
    """What is tolerated: the mean ratio, noise (log standard deviation per block), seconds of a block, and the warm-up's extra ratio."""

    tolerated: float
    noise: float = 0.8
    block: float = 60.0
    warm_up: float = 0.0
    gross: float = 1.0
    stall: float = 0.5
    """How fast a stall averages out within a block: noise falls with age to this power. Errors come from stalls less often."""

    def cold(self, since: float) -> float:
        """Return ln of the extra ratio that is tolerated in a block whose middle is `since` seconds after the canary's first traffic."""
        return math.log(self.gross) * (1.0 - since / self.warm_up) if since < self.warm_up else 0.0


class HarmTest:
    """The e-process of one question. Rows come in the order of time; a row costs one block, whatever the history."""

    def __init__(self, null: Null, anchor: float) -> None:
        """Begin at `anchor` (seconds), when the canary first got traffic."""
        self.null, self._anchor = null, anchor
        self.value = self.peak = 0.0
        limit = math.log(null.tolerated)
        self._thetas = (*(limit + one for one in _BELOW), limit / 2, *(limit + one for one in _SPARE))
        self._masks = {extra: np.array(self._thetas) <= limit + extra + 1e-9 for extra in (-limit / 2, 0.0, *_SPARE)}
        self._bad = 0.0
        self._taus = tuple(max(null.noise, 0.02) * one for one in _NOISE)
        self._worse = mean_columns(
            tuple(math.log(null.tolerated) + one for one in _WORSE), tuple(max(null.noise, 0.02) * one for one in _NOISE_WORSE)
        )
        self._told = 0
        self._curve = BlockCurve(-1)
        shape = (len(_COLD), len(self._thetas), len(self._taus))
        # Sums of whole blocks, and the same with the open block: under the null, of what is expected before a regression (a
        # density, which the null with its stalls is not), and under each alternative since some block.
        self._null = self._null_now = np.zeros(shape)
        self._before = self._before_now = np.zeros((len(_COLD), len(_USUAL), len(self._taus)))
        self._since = self._since_now = np.full(len(_PRIOR), -math.inf)

    def push(self, row: Row, wide: float = 1.0, spare: float = 0.0) -> float:
        """Add a row; return ln of the e-value after it.

        Args:
            wide: factor on the noise that is tolerated in its block, more than 1 during an incident.
            spare: ln of what is tolerated beyond the tolerated ratio since stable's own pods differ as much.
        """
        index = block_index(row.end, self._anchor, self.null.block)
        if index != self._curve.index:
            self._curve = BlockCurve(index)
            self._null, self._before, self._since = self._null_now, self._before_now, self._since_now
        fresh = not self._curve.tells
        self._curve.push(row)
        if row.tells:
            self._bad += row.canary_bad + row.stable_bad
            if fresh:
                self._told += 1
                begins = _later(self._told - 1) - _later(self._told)
                self._since = np.logaddexp(self._since, log_mean_exp(self._before) + math.log(begins))
            self._add_open_block(wide)
        elif self._curve.tells:
            self._add_open_block(wide)  # the block has become older
        if self._told:
            now = log_mean_exp(self._since_now, _PRIOR)
            later = log_mean_exp(self._before_now) + math.log(_later(self._told))
            self.value = float(np.logaddexp(now, later)) - float(self._null_now[:, self._allowed(spare), :].max())
            self.peak = max(self.peak, self.value)
        return self.value

    def _allowed(self, spare: float) -> NDArray[np.bool_]:
        """Return which log ratios belong to the null if `spare` is tolerated beyond; rounded up."""
        if spare <= 1e-9:
            return self._masks[-math.log(self.null.tolerated) / 2 if self._bad < _FEW else 0.0]
        return self._masks[next((one for one in _SPARE if one >= spare - 1e-9), _SPARE[-1])]

    def _add_open_block(self, wide: float) -> None:
        weights, block, noise = self._curve.weights(), self.null.block, max(self.null.noise, 0.02)
        factor = self._curve.width(block) ** (2.0 * self.null.stall) * wide
        cold = self.null.cold((self._curve.index + 0.5) * block)
        found, before = [], []
        for share in _COLD if cold > 0 else _COLD[:1]:
            thetas = tuple(round(theta + share * cold, 9) for theta in self._thetas)
            usual = log_likelihood(weights, mean_columns(thetas, self._taus)).reshape(len(thetas), -1)
            expected = usual[_USUAL]
            if factor > 1.001:
                stalled = median_columns(tuple(theta - noise * noise / 2 for theta in thetas), (round(noise * factor, 2),))
                wider = log_likelihood(weights, stalled)[:, None]
                usual, expected = np.maximum(usual, wider), np.logaddexp(expected, wider[_USUAL]) - math.log(2.0)
            found.append(usual)
            before.append(expected)
        self._null_now = self._null + (np.stack(found) if cold > 0 else found[0])
        self._before_now = self._before + (np.stack(before) if cold > 0 else before[0])
        self._since_now = self._since + log_likelihood(weights, self._worse)


def _later(told: int) -> float:
    """Return the prior chance that a regression begins after the `told`-th block that tells something."""
    return _LATER / math.sqrt(told) if told else 1.0
