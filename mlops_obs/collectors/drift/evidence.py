"""Has a feature drifted? Only if chance does not explain the difference and the difference matters.

A PSI threshold alone alarms on small windows: 60 rows in ten cells score 0.15 by chance. A test alone alarms on large tables, where
every difference is significant. So both are asked, and where the rows are too few to see a difference that would matter the answer
is `inconclusive`.

What matters (`Tolerances`), and why these defaults:

- PSI above 0.1, "moderate change" in the credit industry's rule of thumb: about a third of a standard deviation of a normal feature. At
  0.2 a shift of half a standard deviation (PSI 0.23) is missed in every third sample of 1,000 rows.
- A cell of broken or never seen data (missing, invalid, unseen, below, above) or of the reference's outermost 1 % whose share moves by
  more than 0.01, or by half of what the reference has there, at most 0.05. PSI is nearly blind to such cells: it scores 0.03 if
  missing rows double from 5 % to 10 %.

The trap: one sentinel among a million rows is significant in any exact test. A single row in a thin cell is never evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.partition import NumberPartition, Partition
from mlops_obs.collectors.drift.repeats import Weight
from mlops_obs.collectors.drift.results import Verdict
from mlops_obs.collectors.drift.statistics.divergences import Counts
from mlops_obs.collectors.drift.statistics.ordered import kolmogorov_smirnov_p_value
from mlops_obs.collectors.drift.tails import chi_square_tail, excess_tail

Table = NDArray[np.float64]  # (features, cells), empty cells at the end of features with fewer

_CAUTION = 2.0  # Kish's effect is right for the variance; the tail of a few heavy customers is longer than a chi-square's
_WELL_FILLED = 10  # expected rows; below this the chi-square tail is too light at the levels we use
_SPARE = 1  # rows of a thin cell that are never evidence
_MOST = 0.05  # a change of a special cell's share that is never tolerated
_OUTER = 0.02  # an outermost cell of at most this share of the reference is a tail
ALONE = Weight()


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What difference is too small to matter: `psi` of the cells, `share` (0..1) of a cell of broken, unseen or extreme values.

    `correlation` is a difference of two correlations; `discrepancy` a relative MMD (see `statistics.mmd`), for embeddings and whole rows.
    """

    psi: float = 0.1
    share: float = 0.01
    correlation: float = 0.15
    discrepancy: float = 0.01


@dataclass(frozen=True, slots=True)
class Evidence:
    """`p_value` of the null that nothing changed; `size`: the effect divided by what is tolerated, above 1 it matters."""

    p_value: float
    size: float
    rows_reference: float
    rows_current: float
    degrees: int
    psi_tolerated: float

    def verdict(self, alpha: float, *, rejected: bool | None = None) -> Verdict:
        """Return the verdict at level `alpha`; `rejected` overrules the plain comparison of p-value and level (Holm)."""
        n, m = self.rows_reference, self.rows_current
        if n <= 0 or m <= 0:
            return Verdict.INCONCLUSIVE
        if self.size > 1:
            return Verdict.DRIFTED if (self.p_value < alpha if rejected is None else rejected) else Verdict.INCONCLUSIVE
        # Could a change of exactly the tolerated PSI have been significant? n m / (n + m) x PSI is what it adds to the chi-square.
        resolved = chi_square_tail(self.psi_tolerated * n * m / (n + m), max(self.degrees, 1)) <= alpha
        return Verdict.STABLE if resolved else Verdict.INCONCLUSIVE


def table_of(rows: Sequence[Counts]) -> tuple[Table, NDArray[np.int64]]:
    """Return counts of different length as one table, zeros at the end, and their lengths; empty cells change no statistic."""
    sizes = np.fromiter((one.size for one in rows), dtype=np.int64, count=len(rows))
    table = np.zeros((len(rows), int(sizes.max(initial=0))))
    table[np.arange(table.shape[1]) < sizes[:, None]] = np.concatenate(rows) if len(rows) else 0
    return table, sizes


def weigh(
    partitions: Sequence[Partition],
    reference: Table,
    current: Table,
    sizes: NDArray[np.int64],
    psi: NDArray[np.float64],
    strictness: NDArray[np.float64],
    tolerances: Tolerances,
    weights: Sequence[Weight],
    effects: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> list[Evidence]:
    """Weigh features' rows by cell against their references.

    The p-value is Bonferroni's of a two-sample test of the cells (a chi-square of the well-filled ones, exact tests of the others, see
    `statistics.homogeneity`) and, for numbers, of Kolmogorov and Smirnov's over the cells' borders.

    Args:
        partitions: the features' cells.
        reference: rows by cell, as `reference_counts` gives them.
        current: rows by cell.
        sizes: number of cells of each feature.
        psi: of these cells, repeats taken out.
        strictness: what the tolerances are multiplied by, of each feature.
        tolerances: what is too small to matter.
        weights: how many rows one independent current row was counted as, see `repeats`.
        effects: design effects of the reference's and the current rows, see `dependence`; 1 if left out.
    """
    mean = np.array([one.mean for one in weights])
    cautious = 1 + _CAUTION * (mean - 1)
    largest = np.maximum(1.0, np.array([one.largest for one in weights]) / cautious)
    before, now = reference, current / cautious[:, None]
    if effects is not None:
        before, now = before / effects[0][:, None], now / effects[1][:, None]
    numbers = np.array([isinstance(one, NumberPartition) for one in partitions])
    p_values, degrees = _homogeneity(before, now, largest)
    ks = np.where(numbers, _ks(before, now, sizes), 0.0)
    n, m = before.sum(axis=1), now.sum(axis=1)
    specials = _special_sizes(reference, current, sizes, numbers, tolerances.share * strictness)
    effect = np.maximum(np.nan_to_num(psi) / (tolerances.psi * strictness), specials)
    rows = current.sum(axis=1) / mean / (1.0 if effects is None else effects[1])
    found = []
    for place, first in enumerate(p_values):
        p_value = first
        if numbers[place]:
            second = kolmogorov_smirnov_p_value(float(ks[place]), float(n[place]), float(np.floor(m[place])))
            p_value = min(1.0, 2 * min(first, second))
        tolerated = float(tolerances.psi * strictness[place])
        found.append(Evidence(p_value, float(effect[place]), float(n[place]), float(rows[place]), int(degrees[place]), tolerated))
    return found


def reference_counts(partition: Partition, current: Counts) -> Counts:
    """Return the reference's rows by cell as a comparison with `current` should see them.

    Names that the reference has once could as well have been missed by it: a sample of 1,000 rows of 500 categories misses a tenth of
    the next one's names. That many unseen rows are explained, and taken from "other".
    """
    if isinstance(partition, NumberPartition) or not partition.rare or not current.sum():
        return partition.expected
    n, m = float(partition.expected.sum()), float(current.sum())
    found = partition.expected.copy()
    first = found.size - 3 - partition.others
    others = found[first:-3]
    explained = min(partition.rare, int(others.sum()), int(np.ceil(n * float(current[-3]) / m)))
    if explained > 0:
        upto = np.cumsum(others) * explained // others.sum()  # of each in proportion, in whole rows
        found[first:-3] -= np.diff(upto, prepend=0)
        found[-3] += explained
    return found


def special_cells(partition: Partition) -> dict[str, int]:
    """Return the cells that are judged by their own share: what no decile and no named category explains."""
    last = partition.expected.size - 1
    if isinstance(partition, NumberPartition):
        return {"below": 0, "above": last - 2, "missing": last - 1, "invalid": last}
    return {"unseen": last - 2, "missing": last - 1, "invalid": last}


def _homogeneity(before: Table, now: Table, largest: NDArray[np.float64]) -> tuple[list[float], NDArray[np.int64]]:
    """`statistics.homogeneity` for a table of features: p-values and degrees of freedom."""
    n, m = before.sum(axis=1), now.sum(axis=1)
    usable = (n >= 1) & (m >= 1)
    pooled = before + now
    with np.errstate(invalid="ignore", divide="ignore"):
        full = pooled * (np.minimum(n, m) / (n + m))[:, None] >= _WELL_FILLED
        total, drawn = (before * full).sum(axis=1), (now * full).sum(axis=1)
        apart = (before * drawn[:, None] - now * total[:, None]) ** 2 / pooled
        statistic = np.where(full, apart, 0.0).sum(axis=1) / (total * drawn)
    degrees = np.maximum(full.sum(axis=1) - 1, 0)
    rows = np.maximum(0.0, np.floor(now / largest[:, None]) - _SPARE)
    thin = ~full & (before + rows > 0)
    tests = thin.sum(axis=1) + (degrees > 0)
    smallest = [chi_square_tail(float(one), int(df)) if df else 1.0 for one, df in zip(statistic, degrees, strict=True)]
    with np.errstate(invalid="ignore"):
        more = thin & (rows * n[:, None] > before * m[:, None])  # what is not in excess is no evidence
    for feature, cell in np.argwhere(more & usable[:, None]):
        observed = int(rows[feature, cell])
        p_value = excess_tail(observed, int(before[feature, cell]) + observed, int(m[feature]), int(n[feature]))
        smallest[feature] = min(smallest[feature], p_value)
    return [min(1.0, one * int(k)) if k and good else 1.0 for one, k, good in zip(smallest, tests, usable, strict=True)], degrees


def _ks(before: Table, now: Table, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Largest difference of the distribution functions at the cells' borders, over rows that have a value."""
    values = np.arange(before.shape[1]) < (sizes - 2)[:, None]
    before, now = before * values, now * values
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.cumsum(before, axis=1) / before.sum(axis=1)[:, None] - np.cumsum(now, axis=1) / now.sum(axis=1)[:, None]
    return np.asarray(np.nan_to_num(np.abs(apart).max(axis=1, initial=0.0)))


def _special_sizes(
    reference: Table, current: Table, sizes: NDArray[np.int64], numbers: NDArray[np.bool_], tolerated: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Largest change of a special cell's share, divided by what is tolerated."""
    row = np.arange(len(sizes))
    with np.errstate(invalid="ignore", divide="ignore"):
        p, q = reference / reference.sum(axis=1)[:, None], current / current.sum(axis=1)[:, None]
    pairs = [(p[row, sizes - back], q[row, sizes - back], row >= 0) for back in (1, 2, 3)]
    pairs.append((p[:, 0], q[:, 0], numbers))
    tailed = numbers & (sizes >= 6)
    low, high = (np.zeros_like(sizes), np.minimum(sizes - 1, 1)), (np.maximum(sizes - 4, 0), sizes - 3)
    for first, second in (low, high):
        share = p[row, first] + p[row, second]
        pairs.append((share, q[row, first] + q[row, second], tailed & (share <= _OUTER)))
    found = np.zeros(len(sizes))
    for before, now, counts in pairs:
        size = np.abs(now - before) / np.minimum(np.maximum(tolerated, before / 2), np.maximum(_MOST, tolerated))
        found = np.where(counts, np.fmax(found, np.nan_to_num(size)), found)
    return found
