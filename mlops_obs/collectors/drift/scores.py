"""Is this window drawn from the reference? An effect size (PSI) and a test that knows how many rows it saw.

A PSI threshold alone alarms on small windows: 60 rows in ten bins score 0.15 by chance. A test alone alarms on large
ones, where every difference is significant. A feature has drifted only if both say so. The test compares two
samples: treating the reference as exact, as common tools do, alarms on 29 % of identical five-category windows.

Missing rows and values below or above all that the reference has seen are cells of their own, so that a feature
that turns null or changes its unit is seen even where the reference was constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.repeats import Weight
from mlops_obs.collectors.drift.sketch import MISSING, Codes, Counts, ReferenceProfile, Sketch
from mlops_obs.collectors.drift.tails import chi_square_critical, chi_square_tail, excess_tail
from mlops_obs.errors import SpecError

Rows = NDArray[np.int64] | NDArray[np.float64]  # rows by cell; fractions once repeats are taken out

PSI_LIMIT = 0.2  # "significant change" in the credit industry's rule of thumb
ALPHA = 0.001  # chance that a window without drift is called drifted, over all features
_ALONE = Weight()
_CAUTION = 2.0  # Kish's effect is right for the variance; the tail of a few heavy customers is longer than a chi-square's
_DECILES = 10
_WELL_FILLED = 10  # expected rows; below this the chi-square tail is too light at the levels we use


class DriftVerdict(StrEnum):
    """What a window says. `inconclusive`: too few rows to see a drift of the size that matters."""

    STABLE = "stable"
    DRIFTED = "drifted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The partition that a reference is compared on: below, its deciles, above, missing. `expected` are reference rows."""

    edges: Codes
    expected: Counts

    @classmethod
    def of(cls, sketch: Sketch) -> Cells:
        """Cut at bucket borders into deciles; a value that holds more than a tenth of the rows gets a cell of its own."""
        upper, filled, target = [], 0, max(1.0, sketch.counts.sum() / _DECILES)
        codes, counts = sketch.codes.tolist(), sketch.counts.tolist()
        for place, (code, count) in enumerate(zip(codes, counts, strict=True)):
            if filled and filled + count > 1.5 * target:
                upper.append(codes[place - 1])
                filled = 0
            filled += count
            if filled >= target:
                upper.append(code)
                filled = 0
        if filled:
            upper.append(codes[-1])
        # a column without any value keeps one edge: all values are then "above"
        edges = np.array([codes[0] - 1, *upper] if codes else [-1], dtype=np.int64)
        cells = cls(edges, np.zeros(edges.size + 2, dtype=np.int64))
        np.add.at(cells.expected, np.searchsorted(edges, sketch.codes), sketch.counts)
        cells.expected[-1] = sketch.missing
        return cells

    def count(self, codes: Codes) -> Counts:
        """Count the rows in each cell, given their bucket numbers."""
        cell = np.searchsorted(self.edges, codes)
        cell[codes == MISSING] = self.expected.size - 1
        return np.bincount(cell, minlength=self.expected.size).astype(np.int64)

    def count_sketch(self, sketch: Sketch) -> Counts:
        """Count the rows of another sketch in each cell; exact, because the cells end at bucket borders."""
        counts = np.zeros_like(self.expected)
        np.add.at(counts, np.searchsorted(self.edges, sketch.codes), sketch.counts)
        counts[-1] = sketch.missing
        return counts


@dataclass(frozen=True, slots=True)
class FeatureScore:
    """How one feature's window compares: `psi` (1), `p_value`, `missing` ratio (0..1), and the verdict."""

    feature: str
    psi: float
    p_value: float
    missing: float
    verdict: DriftVerdict


def psi(reference: Counts, current: Rows) -> float:
    """Return the population stability index; each side gets one pseudo-row drawn from the pool, so it is always finite."""
    pool = (reference + current) / (reference.sum() + current.sum())
    seen = pool > 0
    p = ((reference + pool) / (reference.sum() + 1))[seen]
    q = ((current + pool) / (current.sum() + 1))[seen]
    return float(np.sum((q - p) * np.log(q / p)))


def homogeneity(reference: Counts, current: Rows, largest: float = 1.0) -> tuple[float, int]:
    """Test that both were drawn from one distribution: (p-value, degrees of freedom of its chi-square part).

    Well-filled cells share a chi-square; every other cell has an exact test of its own for rows that the reference does
    not explain; there, every `largest` rows count as one, because one customer may have made them. The smallest p-value
    counts, multiplied by how many there are.
    """
    n, m = int(reference.sum()), float(current.sum())
    if not n or m < 1:
        return 1.0, 0
    pooled = reference + current
    full = pooled * (min(n, m) / (n + m)) >= _WELL_FILLED
    p_values = [
        excess_tail(now, before + now, int(m), n)
        for before, now in zip(reference[~full].tolist(), np.floor(current[~full] / largest).astype(int).tolist(), strict=True)
        if before + now
    ]
    degrees = max(int(full.sum()) - 1, 0)
    if degrees:
        shared = pooled[full]
        statistic = 0.0
        for counts in (reference[full], current[full]):
            expected = shared * (counts.sum() / shared.sum())
            statistic += float(((counts - expected) ** 2 / np.maximum(expected, 1e-300)).sum())
        p_values.append(chi_square_tail(statistic, degrees))
    if not p_values:  # one cell holds every row of both
        return 1.0, 0
    return min(1.0, min(p_values) * len(p_values)), degrees


def score(
    feature: str, reference: Counts, current: Counts, *, alpha: float, psi_limit: float = PSI_LIMIT, weight: Weight = _ALONE
) -> FeatureScore:
    """Compare one feature's cells at level `alpha` (already divided among the features and looks).

    `weight` is the number of rows that one independent row was counted as, see `repeats`.
    """
    rows = current / weight.mean
    effect = psi(reference, rows)
    cautious = 1 + _CAUTION * (weight.mean - 1)
    p_value, degrees = homogeneity(reference, current / cautious, max(1.0, weight.largest / cautious))
    n, m = float(reference.sum()), float(rows.sum())
    # Could a shift of exactly psi_limit have been significant? n m / (n + m) x PSI is what it adds to the chi-square.
    resolved = n > 0 and m > 0 and psi_limit * n * m / (n + m) >= chi_square_critical(alpha, max(degrees, 1))
    if effect > psi_limit:
        verdict = DriftVerdict.DRIFTED if p_value < alpha else DriftVerdict.INCONCLUSIVE
    else:
        verdict = DriftVerdict.STABLE if resolved else DriftVerdict.INCONCLUSIVE
    return FeatureScore(feature, effect, p_value, float(rows[-1]) / m if m else 0.0, verdict)


def compare_profiles(reference: ReferenceProfile, current: ReferenceProfile, *, alpha: float = ALPHA) -> list[FeatureScore]:
    """Compare two tables by their profiles; `alpha` is shared among the features.

    Raises:
        SpecError: OBS-DRF-004 if a reference feature is missing from the current table.
    """
    lacking = [name for name in reference.sketches if name not in current.sketches]
    if lacking:
        raise SpecError("OBS-DRF-004", f"the table lacks {', '.join(lacking)}", todo="compare tables with the features of the reference")
    scores = []
    for name, sketch in reference.sketches.items():
        cells = Cells.of(sketch)
        scores.append(score(name, cells.expected, cells.count_sketch(current.sketches[name]), alpha=alpha / len(reference.sketches)))
    return scores


def combine(scores: list[FeatureScore]) -> DriftVerdict:
    """One drifted feature makes the window drifted; only if every feature is stable is the window stable."""
    verdicts = {one.verdict for one in scores}
    for verdict in (DriftVerdict.DRIFTED, DriftVerdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return DriftVerdict.STABLE if verdicts else DriftVerdict.INCONCLUSIVE
