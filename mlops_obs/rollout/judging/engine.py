"""The likelihood of canary against stable, block by block, under noise that requests alone do not explain.

Canary and stable are compared within the same slices. Given the bad requests of a slice, those of the canary are
Binomial(m, pi) with pi = sigmoid(u + ln(canary requests / stable requests)): the common level of errors cancels, and so
does every incident that hits both. u is the log ratio of bad requests of the canary. It is *not* constant: a garbage
collection, a noisy neighbour or a slow disk moves a whole minute of one arm, so that ten thousand requests of that minute
are one event. Hence time is cut into blocks, and each block draws its own u ~ Normal(theta - tau^2/2, tau^2): the mean
ratio is exp(theta), the noise has log standard deviation tau.

The trap: a block that has only just begun, or is cut short, has not averaged a stall of two seconds yet. Its noise is
wider: the standard deviation of a block, times the square root of block / age. Noise that stays longer than a block is a
difference between the arms to this model, not noise: a service whose trouble comes in stretches of five minutes needs
`block: 5m`.

Everything is a fixed grid over u and a matrix per family of (theta, tau), so that a slice costs one product of a vector
and a matrix. Never several at once: a matrix times a matrix would round differently with the number of rows, and a replay
must give the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP = 0.04
GRID: Floats = np.arange(-150.0, 201.0).astype(np.float64) * STEP  # u from -6 to 8: from 1/400 to 3,000 times as many bad requests
_ENOUGH = 10_000.0  # bad requests of a block beyond which its likelihood gets no narrower; the grid could not follow
_TINY = 1e-300


class Row(NamedTuple):
    """Counts of one slice, (start, end] in seconds."""

    start: float
    end: float
    canary_bad: float
    canary_total: float
    stable_bad: float
    stable_total: float

    @property
    def seconds(self) -> float:
        """Length of the slice."""
        return self.end - self.start

    @property
    def tells(self) -> bool:
        """Both arms answered, and somebody badly; anything else says nothing about the ratio."""
        return self.canary_bad + self.stable_bad > 0 and self.canary_total > 0 and self.stable_total > 0


class BlockCurve:
    """The log likelihood of u on GRID for the rows of one block, as they come."""

    __slots__ = ("_seen", "_total", "age", "index", "tells")

    def __init__(self, index: int) -> None:
        self.index, self.age, self.tells = index, 0.0, False
        self._seen, self._total = 0.0, np.zeros(len(GRID))

    def push(self, row: Row) -> None:
        """Add a row. Time without rows (missing slices) does not make a block older."""
        self.age += row.seconds
        if row.tells:
            self.tells = True
            bad = row.canary_bad + row.stable_bad
            logit = GRID + math.log(row.canary_total / row.stable_total)
            self._total = self._total + (row.canary_bad * logit - bad * np.logaddexp(0.0, logit))
            self._seen += bad

    def weights(self) -> Floats:
        """Return the likelihood of u on GRID; its greatest value is 1."""
        curve = self._total - self._total.max()
        found: Floats = np.exp(curve if self._seen <= _ENOUGH else curve * (_ENOUGH / self._seen))
        return found

    def width(self, block: float) -> float:
        """Return the factor on the noise of a block of `block` seconds that its age asks for: 1 when it is whole."""
        return math.sqrt(max(1.0, block / max(self.age, 1e-3)))


def block_index(end: float, anchor: float, width: float) -> int:
    """Return which block of `width` seconds on a grid from `anchor` a slice that ends at `end` belongs to."""
    return math.floor((end - anchor) / width - 1e-6)


def log_likelihood(weights: Floats, columns: Floats) -> Floats:
    """Return ln of the likelihood of a block under each column of a prior of u."""
    found: Floats = np.log(np.maximum(weights @ columns, _TINY))
    return found


@lru_cache(maxsize=128)  # about 300 kB each
def mean_columns(thetas: tuple[float, ...], taus: tuple[float, ...]) -> Floats:
    """Return the prior of u as (grid, theta x tau) with *mean* ratio exp(theta) and log standard deviation tau."""
    return _columns(tuple((theta - tau * tau / 2, tau) for theta in thetas for tau in taus))


@lru_cache(maxsize=512)  # about 50 kB each
def median_columns(thetas: tuple[float, ...], taus: tuple[float, ...]) -> Floats:
    """Return the prior of u as (grid, theta x tau) with *median* ratio exp(theta): what a stall of a short block looks like."""
    return _columns(tuple((theta, tau) for theta in thetas for tau in taus))


def _columns(normals: Sequence[tuple[float, float]]) -> Floats:
    edges = np.concatenate(([-math.inf], (GRID[1:] + GRID[:-1]) / 2, [math.inf]))
    out = np.empty((len(GRID), len(normals)))
    for index, (centre, deviation) in enumerate(normals):
        if deviation < STEP / 2:  # a point: shared between its two neighbours on the grid
            place = min(max((centre - GRID[0]) / STEP, 0.0), len(GRID) - 1.0)
            low = min(int(place), len(GRID) - 2)
            out[:, index] = 0.0
            out[low, index], out[low + 1, index] = 1.0 - (place - low), place - low
        else:
            out[:, index] = np.diff([0.5 * math.erfc(-(edge - centre) / (deviation * math.sqrt(2.0))) for edge in edges])
    out.flags.writeable = False
    return out


def log_mean_exp(values: Floats, log_weights: Floats | None = None) -> float:
    """Return ln of the mean of exp(values), or of the sum with weights exp(log_weights)."""
    part = values if log_weights is None else values + log_weights
    top = float(part.max())
    if top == -math.inf:
        return top
    total = float(np.exp(part - top).sum())
    return top + math.log(total if log_weights is not None else total / part.size)
