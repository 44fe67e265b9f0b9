"""What counts as normal: how far a share, or the mean of any score over the cells, may lie from the reference's and still be no alarm.

Three things widen the interval:

- the reference is finite: n rows say a share only to about z sqrt(p (1 - p) D / n) (Wilson's interval, which knows that a cell never
  seen in n rows may still hold z^2 / n of them);
- the feature wanders by itself (`natural`);
- a small effect does not matter (`tolerance`, in standard deviations of the feature: a shift of the latent normal score).

z = 2.5: the alternatives stand well beyond the border of the interval, so a reference that is unlucky by more than that
costs detection speed and not yet a false alarm; benchmarks/drift/streaming.py measures it for references of 500 to 10,000 rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.natural import STILL, Natural, Variation

Scores = NDArray[np.float64]
_NORMAL = NormalDist()
_EDGE = 1e-12
_ROOT_HALF = sqrt(0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Normal:
    """How cautious to be. `z`: standard errors of the reference; `tolerance`: standard deviations that do not matter."""

    z: float = 2.5
    tolerance: float = 0.05
    natural: Natural | None = None

    def variation(self, feature: str, scores: Scores, given: NDArray[np.bool_] | None = None) -> Variation:
        """Return how the mean of `scores` varies by itself; STILL where nothing is known."""
        return self.natural.variation(feature, scores, given) if self.natural else STILL

    def share(self, rows: float, of: float, varies: Variation) -> tuple[float, float]:
        """Return the lowest and highest normal share of a cell that held `rows` of the reference's `of` rows."""
        if of <= 0:
            return 0.0, 1.0
        p = rows / of
        spread = p * (1 - p)
        # one error for both: a reference of as many independent rows as would vary this much
        n = of / varies.effect
        if varies.wander > 0:
            n = min(n, spread / (spread / n + varies.wander**2)) if spread > 0 else n
        low, high = _wilson(p, n, self.z)
        return shifted(low, -self.tolerance) if rows else 0.0, shifted(high, self.tolerance)

    def mean(self, scores: Scores, counts: Scores, tolerated: float, varies: Variation) -> float:
        """Return the highest normal mean of `scores` (cells,), given the reference's `counts` (cells,).

        Args:
            tolerated: how much an effect that does not matter adds to the mean.
        """
        n = float(counts.sum())
        mean = float(counts @ scores) / n
        variance = float(counts @ (scores - mean) ** 2) / n
        error = self.z * sqrt(variance * varies.effect / n + varies.wander**2)
        # Bernstein: a mean of few large scores has a longer tail than its variance says
        return mean + error + self.z**2 * varies.effect * float(scores.max() - mean) / (6 * n) + tolerated


def shifted(share: float, by: float) -> float:
    """Return the share after the latent normal score moved by `by` standard deviations: Phi(Phi^-1(share) + by)."""
    if share <= _EDGE or share >= 1 - _EDGE:
        return min(max(share, 0.0), 1.0)
    return below(_NORMAL.inv_cdf(share) + by)


def latent(share: float) -> float:
    """Return the normal score below which `share` lies."""
    return _NORMAL.inv_cdf(min(max(share, _EDGE), 1 - _EDGE))


def below(score: float) -> float:
    """Return the share below a normal score; infinities are scores."""
    return 0.5 * erfc(-score * _ROOT_HALF)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score interval (JASA 22, 1927) of a share `p` among `n` rows."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
