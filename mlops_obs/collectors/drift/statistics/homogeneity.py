"""Were both samples drawn from one distribution? Tests of counts that know that the reference is a sample too.

The trap: the one-sample chi-square, which takes the reference's shares as exact, alarms on 29 % of identical five-category samples
of 1,000 rows and on all with 500 categories, at a nominal 5 %.
"""

from __future__ import annotations

from math import floor

from mlops_obs.collectors.drift.statistics.divergences import Counts
from mlops_obs.collectors.drift.tails import chi_square_tail, excess_tail

_WELL_FILLED = 10  # expected rows; below this the chi-square tail is too light at the levels we use


def homogeneity_chi_square(reference: Counts, current: Counts) -> tuple[float, int, float]:
    """Return Pearson's two-sample statistic, its degrees of freedom and its p-value; cells that neither side has are left out.

    Sum over both samples and all cells of (observed - expected)^2 / expected, expected from the pooled shares; chi-square with
    (cells - 1) degrees (Pearson 1911). Right only where every expected count is large: use `homogeneity` for a verdict.
    """
    n, m = float(reference.sum()), float(current.sum())
    before, now = reference.tolist(), current.tolist()
    statistic, cells = 0.0, 0
    if n and m:
        for one, other in zip(before, now, strict=True):
            if one + other:
                cells += 1
                statistic += (one * m - other * n) ** 2 / (one + other)
        statistic /= n * m
    degrees = max(cells - 1, 0)
    return statistic, degrees, chi_square_tail(statistic, degrees)


def homogeneity(reference: Counts, current: Counts, largest: float = 1.0, spare: int = 0) -> tuple[float, int]:
    """Test that both were drawn from one distribution: (p-value, degrees of freedom of its chi-square part).

    Well-filled cells share a chi-square; every other cell has an exact test of its own (hypergeometric, Fisher 1935) for rows that
    the reference does not explain. The smallest p-value counts, multiplied by how many there are (Bonferroni).

    Args:
        reference: rows by cell.
        current: rows by cell; parts of rows once repeats are taken out.
        largest: in thin cells every `largest` rows count as one, because one customer may have made them.
        spare: rows of a thin cell that are never evidence; 1 makes a single sentinel harmless however large the reference is.
    """
    n, m = int(reference.sum()), float(current.sum())
    if not n or m < 1:
        return 1.0, 0
    p_values: list[float] = []
    full: list[tuple[float, float]] = []
    smaller = min(n, m) / (n + m) / _WELL_FILLED
    for before, now in zip(reference.tolist(), current.tolist(), strict=True):
        if (before + now) * smaller >= 1:
            full.append((before, now))
        elif before + now:
            rows = max(0, floor(now / largest) - spare)
            if before + rows:
                p_values.append(excess_tail(rows, before + rows, int(m), n))
    degrees = max(len(full) - 1, 0)
    if degrees:
        total, drawn = sum(one for one, _ in full), sum(other for _, other in full)
        statistic = sum((one * drawn - other * total) ** 2 / (one + other) for one, other in full) / max(total * drawn, 1e-300)
        p_values.append(chi_square_tail(statistic, degrees))
    if not p_values:  # one cell holds every row of both
        return 1.0, 0
    return min(1.0, min(p_values) * len(p_values)), degrees
