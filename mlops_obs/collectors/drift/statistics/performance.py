"""Confidence-based performance estimation: how good is the model now, said from its calibrated scores before any label is there.

If the score s of a row is the probability that its label is 1, a row contributes s expected positives and 1 - s expected negatives at its
score: the expected confusion matrix, and from it AUC, accuracy and Brier score, follow from the distribution of scores alone (NannyML's
CBPE; Guillory et al. 2021 for accuracy). Scores are first calibrated by the label rates that the reference has for each bin of scores.

The trap: CBPE believes the calibration. It is right under covariate shift (other customers, same behaviour) and blind to concept drift
(same customers, other behaviour): matured labels decide, `collectors.quality` compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
_Z90 = 1.6448536269514722  # 90 % interval, two-sided


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated figure with its 90 % interval (sampling of rows and of the calibration; not a change of the concept)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Performance:
    """`auc`, `accuracy` at the threshold, `brier` score, `positives` (expected share of label 1), of `rows` rows; NaN without rows."""

    auc: Estimate
    accuracy: Estimate
    brier: Estimate
    positives: Estimate
    rows: int


def calibrate(labels: NDArray[np.int64]) -> tuple[Values, Values]:
    """Return (label rate, its variance) of each score bin from counts (bins, 2) of labels 0 and 1.

    Half a row of either label is added (Jeffreys' prior), and rates are made monotone (pool adjacent violators, Ayer et al. 1955): a
    higher score is never believed to be a lower probability.
    """
    total = labels.sum(axis=1).astype(np.float64) + 1
    rate = (labels[:, 1] + 0.5) / total
    blocks: list[list[float]] = []  # rate, weight, bins
    for first, weight in zip(rate.tolist(), total.tolist(), strict=True):
        blocks.append([first, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            upper, lower = blocks.pop(), blocks.pop()
            both = lower[1] + upper[1]
            blocks.append([(lower[0] * lower[1] + upper[0] * upper[1]) / both, both, lower[2] + upper[2]])
    rates = np.repeat([one[0] for one in blocks], [int(one[2]) for one in blocks])
    weights = np.repeat([one[1] for one in blocks], [int(one[2]) for one in blocks])
    return rates, rates * (1 - rates) / weights


def estimate(
    scores: NDArray[np.int64], labels: NDArray[np.int64], threshold: float = 0.5, replicates: int = 200, seed: int = 0
) -> Performance:
    """Estimate the performance of the rows behind `scores`.

    Args:
        scores: current rows by score bin (bins,), bins in ascending order of score.
        labels: the reference's rows by score bin and label (bins, 2).
        threshold: of the calibrated probability, at which a row counts as predicted 1.
        replicates: of the parametric bootstrap behind the intervals.
        seed: of the bootstrap.
    """
    rows = int(scores.sum())
    if not rows or not labels.sum():
        nothing = Estimate(float("nan"), float("nan"), float("nan"))
        return Performance(nothing, nothing, nothing, nothing, rows)
    rates, variances = calibrate(labels)
    random = np.random.default_rng(seed)
    # labels that have not come yet are drawn, and so is the calibration: what is asked is the performance of these very rows
    drawn_rates = np.clip(random.normal(rates, np.sqrt(variances), (replicates, rates.size)), 0, 1)
    positives = random.binomial(scores, drawn_rates).astype(np.float64)
    expected = (scores * rates)[None]
    values = _figures(np.vstack([expected, positives]), scores.astype(np.float64), rates, threshold)
    area, accuracy, brier, share = (_interval(values[:, place]) for place in range(4))
    return Performance(area, accuracy, brier, share, rows)


def auc_interval(auc: float, positives: float, negatives: float) -> Estimate:
    """Return an AUC with its 90 % interval from the numbers of labels behind it (Hanley and McNeil 1982)."""
    if positives < 1 or negatives < 1 or not 0 <= auc <= 1:
        return Estimate(float("nan"), float("nan"), float("nan"))
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)) / (positives * negatives)
    half = _Z90 * sqrt(max(variance, 0.0))
    return Estimate(auc, max(0.0, auc - half), min(1.0, auc + half))


def auc(positives: Values, negatives: Values) -> Values:
    """Return the area under the ROC curve from rows by ascending score bin (..., bins); ties count half (Mann and Whitney 1947)."""
    total = positives.sum(axis=-1) * negatives.sum(axis=-1)
    below = np.cumsum(negatives, axis=-1) - negatives / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Values = (positives * below).sum(axis=-1) / total
    return found


def _figures(positives: Values, rows: Values, rates: Values, threshold: float) -> Values:
    negatives = rows - positives
    total = rows.sum()
    accuracy = np.where(rates >= threshold, positives, negatives).sum(axis=1) / total
    brier = (positives * (1 - rates) ** 2 + negatives * rates**2).sum(axis=1) / total
    return np.stack([auc(positives, negatives), accuracy, brier, positives.sum(axis=1) / total], axis=1)


def _interval(draws: Values) -> Estimate:
    value = float(draws[0])
    if not np.isfinite(draws[1:]).any():
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.nanquantile(draws[1:], [0.05, 0.95])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
