"""Asks a feature store in SQLite how fresh it is: read-only, so that watching can never lock or create it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from mlops_obs.adapters.collector_config import read_config
from mlops_obs.collectors.freshness.store import StoreConfig, ages_from
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import Reading


class StoreUnavailable(PlatformError):
    """The feature store cannot be asked; `reason` is the value of the label of the same name."""

    reason = "store_unavailable"


class SqliteFreshness:
    """A collector: `register_collector("freshness", SqliteFreshness(config, path).read)`.

    Args:
        config: the query and the views.
        path: the SQLite file.
        clock: returns Unix seconds.
    """

    def __init__(self, config: StoreConfig, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._path = path
        self._clock = clock

    def read(self) -> list[Reading]:
        """Return the age of each view.

        Raises:
            StoreUnavailable: OBS-FRS-004 if the file cannot be opened, the query fails, or its rows are of another shape.
        """
        try:
            connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
            try:
                rows = [(str(view), None if newest is None else float(newest)) for view, newest in connection.execute(self._config.query)]
            finally:
                connection.close()
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StoreUnavailable(
                "OBS-FRS-004", f"cannot ask the feature store: {error}", where=str(self._path), todo="check path and query"
            ) from error
        return ages_from(self._config, rows, self._clock())


def load_config(path: Path) -> StoreConfig:
    """Read `collector.yaml`.

    Raises:
        UsageError: OBS-FRS-002 if there is no such file.
        SpecError: OBS-FRS-003 if it is not a freshness configuration.
    """
    return read_config(path, StoreConfig, missing="OBS-FRS-002", wrong="OBS-FRS-003", example="collectors/freshness/collector.yaml")
