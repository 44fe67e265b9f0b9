"""Maximum mean discrepancy: were two tables of many columns drawn from one distribution?

The trap: MMD between two samples of one distribution is not zero, and its scale depends on kernel, rows and columns. A threshold on the
bare number means nothing; here its law under no drift is computed from the features' own covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.tails import gamma_tail

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """`mmd_squared`: squared distance of the mean features, less what chance adds; `relative`: it divided by the variance within the
    reference (0 if nothing changed, about 0.05 for half a standard deviation in every direction); `p_value` of no drift.
    """

    mmd_squared: float
    relative: float
    p_value: float


def mmd(
    sums: tuple[NDArray[np.int64], NDArray[np.int64]],
    products: NDArray[np.int64],
    rows: tuple[int, int],
    amplitude: float,
    effect: float = 1.0,
) -> Discrepancy:
    """Compare two samples by their sums of random Fourier features (Gretton et al. 2012; Rahimi and Recht 2007).

    Under no drift n m / (n + m) x MMD^2 is a sum of chi-squares weighted by the eigenvalues of the features' covariance; its tail is taken
    from the gamma distribution of the same mean and variance (Satterthwaite; Box 1954).

    Args:
        sums: sums of features (k,) of reference and current.
        products: sums of products (k, k) of the reference.
        rows: of both samples.
        amplitude: the integer that stands for a feature of 1.
        effect: rows that one independent row was counted as.
    """
    n, m = rows
    if min(n, m) < 2:
        return Discrepancy(float("nan"), float("nan"), 1.0)
    first, second = sums[0] / (n * amplitude), sums[1] / (m * amplitude)
    covariance: Matrix = products / (n * amplitude**2) - np.outer(first, first)
    trace, squares = float(np.trace(covariance)), float((covariance**2).sum())
    if trace <= 1e-12 or squares <= 0:
        same = bool(np.allclose(first, second))
        return Discrepancy(0.0 if same else 1.0, 0.0 if same else 1.0, 1.0 if same else 0.0)
    scale = (1 / n + 1 / m) * effect
    distance = float(((first - second) ** 2).sum())
    # gamma with mean trace x scale and variance 2 x squares x scale^2
    shape = trace**2 / (2 * squares)
    p_value = gamma_tail(shape, distance / scale * shape / trace)
    excess = max(0.0, distance - trace * scale)
    return Discrepancy(excess / first.size, excess / trace, p_value)
