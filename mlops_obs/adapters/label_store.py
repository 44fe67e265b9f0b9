"""Asks a table of labelled predictions in SQLite how good the model was: read-only, so that watching can never lock it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from mlops_obs.adapters.collector_config import read_config
from mlops_obs.collectors.quality.labels import LabelsConfig, cohorts_from
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

    def read(self) -> list[Reading]:
        """Return the gauges of every cohort.

        Raises:
            LabelsUnavailable: OBS-QLT-004 if the file cannot be opened, the query fails, or its rows are of another shape.
        """
        now = self._clock()
        try:
            connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
            try:
                # A mapping may hold more than the query names, so one without `:since` is asked as it is.
                rows = connection.execute(self._config.query, {"since": self._config.since(now)})
                counted = ((str(revision), float(made), float(labelled), float(wrong)) for revision, made, labelled, wrong in rows)
                return cohorts_from(self._config, counted, now)
            finally:
                connection.close()
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
