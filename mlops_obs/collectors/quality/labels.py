"""Labels that stand in a table: predictions joined with what became of them.

Asking the table each time is what makes corrections work: a label that was wrong and is put right changes its cohort, where a
count of arrivals would count it twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlops_obs.collectors.quality.cohorts import Cohorts
from mlops_obs.collectors.quality.scored import PerformanceConfig
from mlops_obs.durations import parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import Reading


class LabelsConfig(BaseModel):
    """`collector.yaml` of the quality collector.

    `query` returns rows of (revision, Unix seconds at which the prediction was made, how many are labelled, how many of them were
    wrong), one per prediction or summed up by cohort; `:since` in it is the oldest time that is still kept. `cohort` is that of
    the SLO; `keep` covers its period and maturity. `revisions` bounds how many models become label values. `performance` asks for
    the predictions themselves, for AUC and concept drift; without it errors are counted and nothing more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: str
    store: str
    query: str
    cohort: str = "1h"
    keep: str = "33d"
    revisions: int = Field(default=8, ge=1, le=100)
    performance: PerformanceConfig | None = None

    @field_validator("cohort", "keep")
    @classmethod
    def _durations(cls, value: str) -> str:
        try:
            parse_duration(value)
        except SpecError as error:
            raise ValueError(f"{error.what}; {error.todo}") from None
        return value

    def cohorts(self) -> Cohorts:
        """Return an empty table of cohorts of this configuration; SpecError OBS-QLT-001 if they cannot be counted."""
        return Cohorts(self.service, int(parse_duration(self.cohort)), int(parse_duration(self.keep)), self.revisions)

    def since(self, now: float) -> float:
        """Return the Unix time before which no prediction is asked for: a whole cohort, so that none is counted in part."""
        length = int(parse_duration(self.cohort))
        return (now - float(parse_duration(self.keep))) // length * length


def cohorts_from(config: LabelsConfig, rows: Iterable[tuple[str, float, float, float]], now: float) -> list[Reading]:
    """Return the gauges of all cohorts in `rows`; `now` is in Unix seconds.

    Raises:
        ValueError: a row has no counts.
    """
    table = config.cohorts()
    for revision, made_at, labelled, wrong in rows:
        table.add(revision, made_at, labelled, wrong)
    return table.readings(now)
