"""How far apart two discrete distributions are: p the reference's shares by cell, q the current ones.

All take counts (..., cells), of rows or of parts of rows (repeats taken out), and work on the last axis, so that a table of
features is one call. Without rows on one side the answer is NaN: no data is not a distance.

The trap: "Jensen-Shannon" names two things. The divergence is in nats (0 to ln 2) or bits; the distance is its root, which is a metric
and what scipy and Evidently return.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64] | NDArray[np.float64]
Statistic = NDArray[np.float64]


def shares(counts: Counts) -> NDArray[np.float64]:
    """Return counts divided by their sum over the last axis; NaN where there are no rows."""
    total = counts.sum(axis=-1, keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = counts / np.where(total > 0, total, np.nan)
    return found


def psi(reference: Counts, current: Counts) -> Statistic:
    """Return the population stability index, sum of (q - p) ln(q / p): 0 if equal, symmetric, additive over cells.

    Each side gets one pseudo-row, spread as the pool of both is, so that an empty cell gives a finite value that does not depend on a
    constant chosen by hand. Equal to Jeffreys' divergence of the smoothed shares (Kullback and Leibler 1951; Yurdakul 2018 for the
    name and its law: under no drift PSI x nm / (n + m) is nearly chi-square with cells - 1 degrees of freedom).
    """
    return np.asarray(psi_by_cell(reference, current).sum(axis=-1))


def psi_by_cell(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return what each cell adds to the PSI: never negative, 0 for a cell that neither side has."""
    n, m = (side.sum(axis=-1, keepdims=True).astype(np.float64) for side in (reference, current))
    with np.errstate(invalid="ignore", divide="ignore"):
        pool = (reference + current) / np.where((n > 0) & (m > 0), n + m, np.nan)
        p, q = (reference + pool) / (n + 1), (current + pool) / (m + 1)
        found: NDArray[np.float64] = np.where(pool == 0, 0.0, (q - p) * np.log(q / p))
    return found


def jensen_shannon_divergence(reference: Counts, current: Counts, base: float = 2.0) -> Statistic:
    """Return the mean of KL(p || m) and KL(q || m), m the mean of both: 0 to 1 in bits (base 2). Source: Lin 1991."""
    p, q = shares(reference), shares(current)
    middle = (p + q) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = [np.where(side == 0, 0.0, side * np.log(side / middle)) for side in (p, q)]
    return np.asarray(np.maximum(0.0, (terms[0] + terms[1]).sum(axis=-1) / (2 * np.log(base))))


def jensen_shannon_distance(reference: Counts, current: Counts, base: float = 2.0) -> Statistic:
    """Return the root of the divergence, a metric: 0 to 1 in base 2. Source: Endres and Schindelin 2003; scipy's `jensenshannon`."""
    return np.sqrt(jensen_shannon_divergence(reference, current, base))


def total_variation(reference: Counts, current: Counts) -> Statistic:
    """Return half the sum of |p - q|: the largest difference that any set of cells can have, 0 to 1 (Levin and Peres, ch. 4)."""
    found: Statistic = np.abs(shares(reference) - shares(current)).sum(axis=-1) / 2
    return found


def linf(reference: Counts, current: Counts) -> Statistic:
    """Return the largest |p - q| of a single cell (Chebyshev distance; what TFDV calls L-infinity)."""
    found: Statistic = np.abs(shares(reference) - shares(current)).max(axis=-1)
    return found


def hellinger(reference: Counts, current: Counts) -> Statistic:
    """Return the Euclidean distance of the roots of the shares, divided by the root of 2: 0 to 1 (Hellinger 1909)."""
    apart = np.sqrt(shares(reference)) - np.sqrt(shares(current))
    found: Statistic = np.sqrt((apart**2).sum(axis=-1) / 2)
    return found
