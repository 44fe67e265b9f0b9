"""How good the model was, by cohort: realised where labels are ripe, estimated where they are not, and how wrong the estimates were.

Realised values are weighed by the label clock and carry intervals; a cohort counts when that share of every label is in which `ripe`
says. Estimates (CBPE: what scores promise if they are calibrated) fill the gap up to today, and each one is held against its cohort
once that is ripe, so that nobody trusts them further than they have earned.

The trap: a young service knows only short delays, and its clock says that all is in. There is no clock before predictions are as old as
`deadline`, the time after which no label comes any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.quality.concept import TOLERANCE, ConceptState, MatureCohort, watch
from mlops_obs.collectors.quality.estimates import Estimate, Weighted, auc, calibrated, expected_auc, expected_error, mean
from mlops_obs.collectors.quality.maturation import Maturation

Numbers = NDArray[np.float64]

AUC, ERROR, BRIER = "auc", "error", "brier"
_LEAST_LABELS = 30  # to learn the clock from


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Predictions of one model, (rows,) each: Unix seconds, score, label (0, 1, or NaN while it is out), Unix seconds or NaN."""

    made_at: Numbers
    score: Numbers
    label: Numbers
    labelled_at: Numbers

    def at(self, rows: NDArray[np.bool_]) -> Predictions:
        """Return some of the rows."""
        return Predictions(self.made_at[rows], self.score[rows], self.label[rows], self.labelled_at[rows])


@dataclass(frozen=True, slots=True)
class PerformanceSettings:
    """How performance is measured.

    Args:
        cohort_seconds: length of a cohort.
        deadline_seconds: no label comes later than this after its prediction.
        threshold: scores from here on are decisions for "bad".
        ripe: share of every label value that must be in for a cohort to count.
        share: mean number of false concept alarms that a cohort may cause.
        tolerance: log odds by which calibration may be off.
        table: (score, probability) if scores are no probabilities.
    """

    cohort_seconds: float
    deadline_seconds: float
    threshold: float = 0.5
    ripe: float = 0.9
    share: float = 1 / 52
    tolerance: float = TOLERANCE
    table: Sequence[tuple[float, float]] | None = None


@dataclass(frozen=True, slots=True)
class CohortPerformance:
    """One cohort: `maturity` is the share of its predictions whose label is in; estimates are None where they cannot be had.

    `realised` by measure (auc, error, brier), from labels; `expected` by measure (auc, error), from scores alone.
    """

    start: float
    predictions: int
    labelled: int
    ripe: bool
    realised: Mapping[str, Estimate] = field(default_factory=dict)
    expected: Mapping[str, float] = field(default_factory=dict)

    @property
    def maturity(self) -> float:
        """Share of the predictions whose label is in."""
        return self.labelled / self.predictions if self.predictions else 0.0


@dataclass(frozen=True, slots=True)
class Performance:
    """All cohorts of a model, the oldest first, the age (seconds) at which a cohort is ripe, and what was found about its law."""

    cohorts: tuple[CohortPerformance, ...]
    ripe_age: float
    concept: ConceptState

    @property
    def newest_ripe(self) -> CohortPerformance | None:
        """The newest cohort that counts."""
        return next((one for one in reversed(self.cohorts) if one.ripe), None)

    def estimate_errors(self) -> dict[str, float]:
        """Return by measure the mean of |expected - realised| over all ripe cohorts: what an estimate is worth."""
        found = {}
        for measure in (AUC, ERROR):
            apart = [
                abs(one.expected[measure] - one.realised[measure].value)
                for one in self.cohorts
                if one.ripe and measure in one.realised and measure in one.expected
            ]
            if apart:
                found[measure] = float(np.mean(apart))
        return found


def clock_of(predictions: Predictions, now: float, deadline_seconds: float) -> Maturation | None:
    """Return the label clock; None if there are too few labels, or no prediction is as old as the deadline."""
    known = np.flatnonzero(predictions.labelled_at <= now)
    if known.size < _LEAST_LABELS or now - float(predictions.made_at.min()) < deadline_seconds:
        return None
    return Maturation.of(predictions.made_at, predictions.labelled_at, predictions.label, now)


def measure(predictions: Predictions, now: float, settings: PerformanceSettings, clock: Maturation | None = None) -> Performance:
    """Measure a model by cohort.

    Args:
        predictions: all that are kept, labelled or not. Predictions without a score are left out.
        now: Unix seconds; labels of later are not looked at.
        settings: see there.
        clock: of all models together, if this one is too young for its own.
    """
    kept = predictions.at(np.isfinite(predictions.score) & (predictions.made_at <= now))
    clock = clock or clock_of(kept, now, settings.deadline_seconds) if kept.made_at.size else clock
    ripe_age = clock.age_of(settings.ripe) if clock else float("inf")
    starts = np.floor(kept.made_at / settings.cohort_seconds) * settings.cohort_seconds
    cohorts, mature = [], []
    for start in np.unique(starts).tolist():
        mine = kept.at(starts == start)
        cohorts.append(_cohort(start, mine, now, settings, clock, ripe_age))
        ripe_at = start + settings.cohort_seconds + ripe_age
        if clock and ripe_at <= now:
            mature.append(_mature(start, mine, ripe_at, settings, clock))
    return Performance(tuple(cohorts), ripe_age, watch(mature, settings.share, settings.tolerance))


def _cohort(
    start: float, mine: Predictions, now: float, settings: PerformanceSettings, clock: Maturation | None, ripe_age: float
) -> CohortPerformance:
    probability = calibrated(mine.score, settings.table)
    flagged = mine.score >= settings.threshold
    expected = {AUC: expected_auc(mine.score, probability), ERROR: expected_error(flagged, probability)}
    known = np.isin(mine.label, (0.0, 1.0)) & (mine.labelled_at <= now)
    ripe = now >= start + settings.cohort_seconds + ripe_age
    realised: dict[str, Estimate] = {}
    if clock:
        ages, label = now - mine.made_at, mine.label
        known &= clock.at(label, ages) > 0
        weighted = Weighted.of(label[known], ages[known], clock)
        if weighted is not None:
            wrong = (flagged != (label == 1))[known].astype(np.float64)
            realised[ERROR] = mean(wrong, weighted)
            realised[BRIER] = mean((probability[known] - label[known]) ** 2, weighted)
            area = auc(mine.score[known], weighted)
            if area is not None:
                realised[AUC] = area
    finite = {name: value for name, value in expected.items() if np.isfinite(value)}
    return CohortPerformance(start, mine.made_at.size, int(known.sum()), ripe, realised, finite)


def _mature(start: float, mine: Predictions, ripe_at: float, settings: PerformanceSettings, clock: Maturation) -> MatureCohort:
    known = np.isin(mine.label, (0.0, 1.0)) & (mine.labelled_at <= ripe_at)
    ages = ripe_at - mine.made_at[known]
    good, bad = (clock.at(np.full(ages.size, value), ages) for value in (0, 1))
    seen = (good > 0) | (bad > 0)
    probability = calibrated(mine.score[known], settings.table)
    return MatureCohort(start, probability[seen], mine.label[known][seen], good[seen], bad[seen])
