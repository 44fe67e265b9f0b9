"""Do two tables' columns move together in the same way? From sums of powers of their scores, that merge exactly.

The trap: Fisher's 1 / (n - 3) is the variance of a correlation of normal rows only. Columns that are volatile together (x and y large on
the same days, in either direction) are uncorrelated with a variance three times as large, and a test that does not know it alarms. The
fourth moments are therefore kept and used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
_CLOSE = 0.9995  # correlations beyond are as good as one


@dataclass(frozen=True, slots=True)
class PowerSums:
    """Sums over rows of x_i x_j, x_i^2 x_j^2 and x_i^3 x_j, each (columns, columns), of scores that are centred on the reference."""

    rows: int
    products: NDArray[np.int64]
    squares: NDArray[np.int64]
    cubes: NDArray[np.int64]

    def __add__(self, other: PowerSums) -> PowerSums:
        return PowerSums(self.rows + other.rows, self.products + other.products, self.squares + other.squares, self.cubes + other.cubes)


def correlations(sums: PowerSums) -> Matrix:
    """Return Pearson's correlations (columns, columns) of the scores; of normal scores: van der Waerden's. 0 for a constant column."""
    size = np.sqrt(np.diag(sums.products).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = sums.products / np.outer(size, size)
    return np.asarray(np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0))


def correlation_change(reference: PowerSums, current: PowerSums, effects: Matrix | None = None) -> tuple[Matrix, Matrix]:
    """Return (current - reference correlations, z-scores of the change under no change), both (columns, columns), diagonal 0.

    The difference of Fisher's z = atanh r, over its standard deviation by the delta method from the pooled fourth moments
    (Steiger and Hakstian 1982), which is Fisher's 1 / n + 1 / m where rows are normal. `effects` (columns, columns) are the rows that one
    independent row was counted as, of each pair.
    """
    before, now = correlations(reference), correlations(current)
    pooled = reference + current
    variance = _variance(pooled)
    r = np.clip(correlations(pooled), -_CLOSE, _CLOSE)
    apart = np.arctanh(np.clip(now, -_CLOSE, _CLOSE)) - np.arctanh(np.clip(before, -_CLOSE, _CLOSE))
    scale = 1 / max(reference.rows - 3, 1) + 1 / max(current.rows - 3, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = apart / np.sqrt(np.maximum(variance, 1e-9) * scale) * (1 - r**2)
    z = np.nan_to_num(z if effects is None else z / np.sqrt(effects), nan=0.0, posinf=0.0, neginf=0.0)
    np.fill_diagonal(z, 0.0)
    return now - before, z


def _variance(sums: PowerSums) -> Matrix:
    """n times the variance of a sample correlation, by the delta method on its raw moments."""
    n = max(sums.rows, 1)
    second, fourth, third = sums.products / n, sums.squares / n, sums.cubes / n
    own = np.diag(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        both = fourth / np.outer(own, own)
        kurtosis = np.diag(fourth) / own**2
        r = second / np.sqrt(np.outer(own, own))
        skew = third / np.outer(own**1.5, own**0.5)
        return both + r**2 / 4 * (kurtosis[:, None] + kurtosis[None, :] + 2 * both) - r * (skew + skew.T)
