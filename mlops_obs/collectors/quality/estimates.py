"""Performance from the labels that are in, weighed for those that are not, with intervals that say how little that may be.

Each label that is in counts 1 / F, F being the chance that it is in by now (see `maturation`). The variance is the sandwich of the ratio
estimator, with what the delay curve itself does not know added; proportions get Wilson's interval at the effective number of rows.

The trap: a cohort in which one label value cannot have arrived yet has no estimate at all. That is None, not 0 and not 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.quality.maturation import Maturation

Numbers = NDArray[np.float64]

Z = 1.6448536269514722  # 90 %
LEAST_SHARE = 0.2  # of a label value must have arrived; below it a few labels would speak for all


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 90 % interval, from `labels` labels that are worth `effective` equally weighted ones."""

    value: float
    low: float
    high: float
    labels: int
    effective: float


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Labels that are in, (rows,) each: `label`, `weight` (one over the chance of being in), `doubt` (variance of its logarithm)."""

    label: Numbers
    weight: Numbers
    doubt: Numbers

    @classmethod
    def of(cls, label: Numbers, ages: Numbers, clock: Maturation | None) -> Weighted | None:
        """Weigh labels by their age (seconds since the prediction); None if some value has hardly begun to arrive, or there are none.

        Without a clock every label counts one.
        """
        if not label.size:
            return None
        if clock is None:
            return cls(label, np.ones(label.size), np.zeros(label.size))
        oldest = float(ages.max())
        if any(float(curve.at(oldest)) < LEAST_SHARE for curve in clock.curves.values() if curve.labels):
            return None
        chance = clock.at(label, ages)
        kept = chance > 0
        chance, label = chance[kept], label[kept]
        if not label.size:
            return None
        counts = np.array([clock.curves[int(one)].labels if int(one) in clock.curves else 1 for one in label], dtype=np.float64)
        return cls(label, 1 / chance, (1 - chance) / (chance * counts))

    @property
    def effective(self) -> float:
        """Equally weighted labels that would say as much (Kish 1965)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())


def mean(values: Numbers, weighted: Weighted, *, proportion: bool = True) -> Estimate:
    """Estimate a mean over all predictions of a cohort from the labels that are in.

    Args:
        values: (rows,) of the labels in `weighted`.
        weighted: their weights.
        proportion: values are 0 to 1, and so is the interval.
    """
    weight, total = weighted.weight, weighted.weight.sum()
    value = float((weight * values).sum() / total)
    variance = float((weight**2 * (values - value) ** 2).sum() / total**2)
    pull = weight * (values - value) * np.sqrt(weighted.doubt) / total
    variance += sum(float(pull[weighted.label == one].sum()) ** 2 for one in (0.0, 1.0))  # labels of one value share their curve's error
    if not proportion:
        half = Z * sqrt(variance)
        return Estimate(value, value - half, value + half, weight.size, weighted.effective)
    spread = value * (1 - value)
    rows = spread / variance if variance > 0 and spread > 0 else weighted.effective
    low, high = wilson(value, rows)
    return Estimate(value, low, high, weight.size, weighted.effective)


def auc(scores: Numbers, weighted: Weighted) -> Estimate | None:
    """Estimate the area under the ROC curve from the labels that are in; None without both good and bad ones.

    Weighted Mann-Whitney, ties half; variance by structural components (DeLong et al. 1988) with weights; interval on the log odds.
    """
    bad = weighted.label == 1
    if not bad.any() or bad.all():
        return None
    weight = weighted.weight
    # the weighted share of good rows below each bad one, and of bad rows above each good one
    above = _share_below(scores[~bad], weight[~bad], scores[bad])
    below = 1 - _share_below(scores[bad], weight[bad], scores[~bad])
    value = float((weight[bad] * above).sum() / weight[bad].sum())
    variance = float((weight[bad] ** 2 * (above - value) ** 2).sum() / weight[bad].sum() ** 2)
    variance += float((weight[~bad] ** 2 * (below - value) ** 2).sum() / weight[~bad].sum() ** 2)
    inside = min(max(value, 1e-6), 1 - 1e-6)
    half = Z * sqrt(variance) / (inside * (1 - inside))
    odds = log(inside / (1 - inside))
    return Estimate(value, _logistic(odds - half), _logistic(odds + half), weight.size, weighted.effective)


def expected_auc(scores: Numbers, probability: Numbers) -> float:
    """Return the area under the curve if each row is bad with its probability (CBPE, NannyML 2022); NaN without rows."""
    if not scores.size:
        return float("nan")
    above = _share_below(scores, 1 - probability, scores)
    return float((probability * above).sum() / max(float(probability.sum()), 1e-300))


def expected_error(flagged: NDArray[np.bool_], probability: Numbers) -> float:
    """Return the share of wrong decisions if each row is bad with its probability (CBPE); NaN without rows."""
    return float(np.where(flagged, 1 - probability, probability).mean()) if probability.size else float("nan")


def wilson(share: float, rows: float) -> tuple[float, float]:
    """Return Wilson's 90 % interval (1927) of a share of `rows` independent rows."""
    if rows <= 0:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * rows)) / (1 + Z * Z / rows)
    half = Z * sqrt(share * (1 - share) / rows + Z * Z / (4 * rows * rows)) / (1 + Z * Z / rows)
    return max(0.0, middle - half), min(1.0, middle + half)


def _share_below(scores: Numbers, weight: Numbers, at: Numbers) -> Numbers:
    """Return the weighted share of `scores` below each of `at`, ties half."""
    order = np.argsort(scores, kind="stable")
    ordered, filled = scores[order], np.append(0.0, np.cumsum(weight[order]))
    found: Numbers = (filled[np.searchsorted(ordered, at)] + filled[np.searchsorted(ordered, at, side="right")]) / (2 * filled[-1])
    return found


def _logistic(odds: float) -> float:
    return 1 / (1 + exp(-odds)) if odds > -700 else 0.0


def calibrated(scores: Numbers, table: Sequence[tuple[float, float]] | None) -> Numbers:
    """Return probabilities: scores as they are (0 to 1), or read from a table of (score, probability), rising, in straight lines."""
    if not table:
        return np.clip(scores, 0.0, 1.0)
    points = np.asarray(table, dtype=np.float64)
    found: Numbers = np.interp(scores, points[:, 0], points[:, 1])
    return found
