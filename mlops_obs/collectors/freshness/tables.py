"""The upstream tables of a feature store: how old each is, and whether its materialisations keep their schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mlops_obs.collectors.freshness.schedule import Materialisations, Observation, Schedule
from mlops_obs.durations import parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import MATERIALISATIONS, OUTCOME, SERVICE, TABLE, TABLE_AGE, Reading

Unit = Literal["s", "ms", "us", "ns"]
SECONDS: Mapping[Unit, float] = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class TableConfig(BaseModel):
    """One table.

    `complete_by` says how it tells up to when it is complete: `events`, the newest value of `column` in Parquet files, read from their
    statistics and not from their rows; `written`, when its newest file was written; `manifest`, a JSON file {table: {complete_up_to,
    completed_at}}. `path` is a file, a folder or a pattern. `every` and `by` are its schedule: filled every hour, by ten minutes past.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=120)
    path: str
    complete_by: Literal["events", "written", "manifest"] = "written"
    column: str | None = None
    unit: Unit = "s"
    every: str
    by: str = "10m"
    offset: str | None = None
    slack: str | None = None
    give_up: str | None = None

    @field_validator("every", "by", "offset", "slack", "give_up")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_duration(value)
            except SpecError as error:
                raise ValueError(f"{error.what}; {error.todo}") from error
        return value

    @model_validator(mode="after")
    def _column_of_events(self) -> Self:
        if (self.complete_by == "events") != (self.column is not None):
            raise ValueError("complete_by: events needs the column of the event time, the others have none")
        return self

    def schedule(self) -> Schedule:
        """Return the schedule in seconds."""
        length = {name: None if text is None else float(parse_duration(text)) for name, text in self.durations().items()}
        slack = length["slack"]
        if slack is None:
            slack = 0.1 * (length["every"] or 0.0) if self.complete_by == "events" else 0.0
        return Schedule(length["every"] or 0.0, length["by"] or 0.0, length["offset"] or 0.0, slack, length["give_up"])

    def durations(self) -> dict[str, str | None]:
        """Return what was written for each length."""
        return {"every": self.every, "by": self.by, "offset": self.offset, "slack": self.slack, "give_up": self.give_up}


class TableMeter:
    """Counts the materialisations of tables.

    Args:
        service: label value.
        schedules: by table; no other table becomes a label.
    """

    def __init__(self, service: str, schedules: Mapping[str, Schedule]) -> None:
        self._service = service
        self.tables = {name: Materialisations(schedule) for name, schedule in schedules.items()}

    def read(self, now: float, seen: Mapping[str, Observation]) -> list[Reading]:
        """Take one look and return the readings. A table that cannot be seen just now is passed over: its slots wait."""
        readings = []
        for name, state in self.tables.items():
            labels = {SERVICE: self._service, TABLE: name}
            observation = seen.get(name)
            if observation is not None:
                state.observe(now, observation)
                if observation.complete_up_to is not None:
                    readings.append(Reading(TABLE_AGE, labels, max(0.0, now - observation.complete_up_to)))
            readings += [Reading(MATERIALISATIONS, {**labels, OUTCOME: outcome}, count) for outcome, count in state.counts.items()]
        return readings
