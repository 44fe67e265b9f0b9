"""Asks a table of labelled predictions in SQLite how good the model was: read-only, so that watching can never lock it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mlops_obs.adapters.collector_config import read_config
from mlops_obs.collectors.quality.labels import LabelsConfig, cohorts_from
from mlops_obs.collectors.quality.performance import Performance
from mlops_obs.collectors.quality.scored import PerformanceConfig, Row, measured, readings_of
from mlops_obs.durations import parse_duration
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import Reading


class LabelsUnavailable(PlatformError):
    """The labels cannot be asked for; `reason` is the value of the label of the same name."""

    reason = "labels_unavailable"


class SqliteLabels:
    """A collector: `register_collector("quality", SqliteLabels(config, path).read)`.

    Args:
        config: the query and the cohorts.
        path: the SQLite file.
        clock: returns Unix seconds.

    Raises:
        SpecError: OBS-QLT-001 if the cohorts cannot be counted.
    """

    def __init__(self, config: LabelsConfig, path: Path, clock: Callable[[], float] = time.time) -> None:
        config.cohorts()
        self._config = config
        self._path = path
        self._clock = clock
        self._performance: list[Reading] = []
        self._due = float("-inf")

    def read(self) -> list[Reading]:
        """Return the gauges of every cohort, and the performance of each model as of the last time that it was due.

        Raises:
            LabelsUnavailable: OBS-QLT-004 if the file cannot be opened, a query fails, or its rows are of another shape; OBS-QLT-005 if
                there are more predictions than `most_rows`.
        """
        now = self._clock()
        performance = self._config.performance
        with self._asked() as connection:
            # A mapping may hold more than the query names, so one without `:since` is asked as it is.
            rows = connection.execute(self._config.query, {"since": self._config.since(now)})
            counted = ((str(revision), float(made), float(labelled), float(wrong)) for revision, made, labelled, wrong in rows)
            readings = cohorts_from(self._config, counted, now)
            if performance is not None and now >= self._due:
                found = self._measured(connection, performance, now)
                self._performance = readings_of(self._config.service, found)
                self._due = now + float(parse_duration(performance.every))
        return readings + self._performance

    def performance(self) -> dict[str, Performance]:
        """Return the performance by revision, asked now; empty if the configuration does not ask for it.

        Raises:
            LabelsUnavailable: as `read`.
        """
        if self._config.performance is None:
            return {}
        with self._asked() as connection:
            return self._measured(connection, self._config.performance, self._clock())

    def _measured(self, connection: sqlite3.Connection, config: PerformanceConfig, now: float) -> dict[str, Performance]:
        rows = connection.execute(config.query, {"since": config.since(now)})
        return measured(config, self._scored(rows, config.most_rows), now, self._config.revisions)

    def _scored(self, rows: sqlite3.Cursor, most: int) -> Iterator[Row]:
        for place, (revision, made_at, score, label, labelled_at) in enumerate(rows):
            if place >= most:
                raise LabelsUnavailable(
                    "OBS-QLT-005",
                    f"more than {most} predictions are kept",
                    where=str(self._path),
                    todo="ask for a sample of customers, for fewer days, or raise performance.most_rows",
                )
            if score is not None:
                yield str(revision), made_at, score, label, labelled_at

    @contextmanager
    def _asked(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
                yield connection
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise LabelsUnavailable(
                "OBS-QLT-004", f"cannot ask for the labels: {error}", where=str(self._path), todo="check path and query"
            ) from error


def load_config(path: Path) -> LabelsConfig:
    """Read `collector.yaml`.

    Raises:
        UsageError: OBS-QLT-002 if there is no such file.
        SpecError: OBS-QLT-003 if it is not a configuration of the quality collector.
    """
    return read_config(path, LabelsConfig, missing="OBS-QLT-002", wrong="OBS-QLT-003", example="collectors/quality/collector.yaml")
