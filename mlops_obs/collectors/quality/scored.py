"""Scored predictions that stand in a table, with their labels once these arrive: what is asked for, and the few series it becomes.

A model gets at most a dozen series, whatever the number of its cohorts. What is not ripe has no realised series: an alert on an absent
series does not fire, so young labels cannot page.

The trap: models share their customers, so they share one label clock. A canary of a week has no clock of its own and needs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlops_obs.collectors.quality.performance import Performance, PerformanceSettings, Predictions, clock_of, measure
from mlops_obs.durations import parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import (
    BASIS,
    BOUND,
    MEASURE,
    QUALITY_BOUND,
    QUALITY_CONCEPT,
    QUALITY_CONCEPT_DRIFTS,
    QUALITY_ESTIMATE_ERROR,
    QUALITY_MATURITY,
    QUALITY_PERFORMANCE,
    QUALITY_RIPE_AGE,
    QUALITY_RIPE_START,
    REVISION,
    SERVICE,
    Reading,
)

_YEAR = 365 * 86_400
Row = tuple[str, float, float, float | None, float | None]
"""Revision, when the prediction was made (Unix seconds), score, label (0, 1 or None), when that came (Unix seconds or None)."""


class PerformanceConfig(BaseModel):
    """`performance` in `collector.yaml`.

    `query` returns rows of (revision, Unix seconds of the prediction, score, label or NULL, Unix seconds of the label or NULL), those
    without a label too; `:since` in it is the oldest time that is kept. No label comes later than `deadline` after its prediction; `keep`
    must be longer. Scores from `threshold` on are decisions for "bad". A cohort counts when the share `ripe` of every label value is
    in. `calibration` maps scores to probabilities, [[score, probability], ...], where scores are none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str
    deadline: str
    keep: str = "400d"
    cohort: str = "7d"
    every: str = "10m"
    threshold: float = 0.5
    ripe: float = Field(default=0.9, ge=0.5, le=1)
    false_alarms_per_year: float = Field(default=1.0, gt=0, le=100)
    calibration: list[tuple[float, float]] | None = Field(default=None, min_length=2)
    most_rows: int = Field(default=2_000_000, ge=1)

    @field_validator("deadline", "keep", "cohort", "every")
    @classmethod
    def _durations(cls, value: str) -> str:
        try:
            parse_duration(value)
        except SpecError as error:
            raise ValueError(f"{error.what}; {error.todo}") from None
        return value

    @field_validator("calibration")
    @classmethod
    def _rising(cls, value: list[tuple[float, float]] | None) -> list[tuple[float, float]] | None:
        if value is not None:
            scores, chances = ([one[place] for one in value] for place in (0, 1))
            if scores != sorted(set(scores)) or chances != sorted(chances) or not 0 <= chances[0] <= chances[-1] <= 1:
                raise ValueError("scores and probabilities must rise, probabilities from 0 to 1")
        return value

    def settings(self) -> PerformanceSettings:
        """Return the settings of the arithmetic."""
        length = float(parse_duration(self.cohort))
        return PerformanceSettings(
            length,
            float(parse_duration(self.deadline)),
            self.threshold,
            self.ripe,
            self.false_alarms_per_year * length / _YEAR,
            table=self.calibration,
        )

    def since(self, now: float) -> float:
        """Return the Unix time before which no prediction is asked for."""
        length = float(parse_duration(self.cohort))
        return (now - float(parse_duration(self.keep))) // length * length


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPredictions:
    """Predictions of several models: `revision` (rows,) is the place of a row's model in `names`."""

    every: Predictions
    revision: NDArray[np.float64]
    names: tuple[str, ...]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> ScoredPredictions:
        """Take rows one by one.

        Raises:
            ValueError: a row is no prediction.
        """
        codes: dict[str, int] = {}

        def numbers() -> Iterator[tuple[float, ...]]:
            for revision, made_at, score, label, labelled_at in rows:
                answer = (np.nan, np.nan) if label is None or labelled_at is None else (float(label), float(labelled_at))
                yield (float(made_at), float(score), *answer, codes.setdefault(revision, len(codes)))

        table: NDArray[np.float64] = np.fromiter(numbers(), dtype=np.dtype((np.float64, 5)))  # a million rows are 40 MB, and no objects
        if not np.isfinite(table[:, 0]).all() or not np.isin(table[:, 2][~np.isnan(table[:, 2])], (0.0, 1.0)).all():
            raise ValueError("a prediction has no time, or a label that is neither 0 nor 1")
        return cls(Predictions(*table[:, :4].T), table[:, 4], tuple(codes))


def measured(config: PerformanceConfig, rows: Iterable[Row], now: float, revisions: int = 8) -> dict[str, Performance]:
    """Return the performance of the models that were used last, by revision.

    Args:
        config: see there.
        rows: see `Row`.
        now: Unix seconds.
        revisions: how many models are told apart; older ones only teach the clock.

    Raises:
        ValueError: a row is no prediction.
    """
    return by_revision(ScoredPredictions.of(rows), now, config.settings(), revisions)


def by_revision(scored: ScoredPredictions, now: float, settings: PerformanceSettings, revisions: int = 8) -> dict[str, Performance]:
    """Return the performance of the models that were used last, by revision; `now` is in Unix seconds."""
    if not scored.every.made_at.size:
        return {}
    clock = clock_of(scored.every, now, settings.deadline_seconds)
    rows = {name: scored.revision == code for code, name in enumerate(scored.names)}
    last = {name: float(scored.every.made_at[mine].max()) for name, mine in rows.items() if mine.any()}
    newest = sorted(last, key=lambda name: (-last[name], name))[:revisions]
    return {name: measure(scored.every.at(rows[name]), now, settings, clock) for name in newest}


def readings_of(service: str, found: Mapping[str, Performance]) -> list[Reading]:
    """Return the series of the models."""
    readings: list[Reading] = []
    if found:
        readings.append(Reading(QUALITY_RIPE_AGE, {SERVICE: service}, next(iter(found.values())).ripe_age))
    for revision, one in sorted(found.items()):
        labels = {SERVICE: service, REVISION: revision}
        made = sum(cohort.predictions for cohort in one.cohorts)
        readings.append(Reading(QUALITY_MATURITY, labels, sum(cohort.labelled for cohort in one.cohorts) / made if made else 0.0))
        if one.cohorts:
            for measure_name, value in sorted(one.cohorts[-1].expected.items()):
                readings.append(Reading(QUALITY_PERFORMANCE, {**labels, MEASURE: measure_name, BASIS: "estimated"}, value))
        if ripe := one.newest_ripe:
            readings.append(Reading(QUALITY_RIPE_START, dict(labels), ripe.start))
            for measure_name, estimate in sorted(ripe.realised.items()):
                mine = {**labels, MEASURE: measure_name}
                readings.append(Reading(QUALITY_PERFORMANCE, {**mine, BASIS: "realised"}, estimate.value))
                readings.append(Reading(QUALITY_BOUND, {**mine, BOUND: "low"}, estimate.low))
                readings.append(Reading(QUALITY_BOUND, {**mine, BOUND: "high"}, estimate.high))
            readings.append(Reading(QUALITY_CONCEPT, dict(labels), one.concept.evidence))
            readings.append(Reading(QUALITY_CONCEPT_DRIFTS, dict(labels), len(one.concept.findings)))
        for measure_name, apart in sorted(one.estimate_errors().items()):
            readings.append(Reading(QUALITY_ESTIMATE_ERROR, {**labels, MEASURE: measure_name}, apart))
    return readings
