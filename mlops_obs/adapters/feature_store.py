"""Asks a feature store in SQLite how fresh it is: read-only, so that watching can never lock or create it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from pydantic import ValidationError

from mlops_obs.collectors.freshness.store import StoreConfig, ages_from
from mlops_obs.errors import PlatformError, SpecError, UsageError
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
    try:
        return StoreConfig.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(
            "OBS-FRS-002", f"cannot read the configuration: {error.strerror}", where=str(path), todo="pass --config FILE"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise SpecError(
            "OBS-FRS-003", f"{place}: {first['msg']}", where=str(path), todo="see collectors/freshness/collector.yaml"
        ) from error
    except UnicodeDecodeError as error:
        raise SpecError("OBS-FRS-003", "not UTF-8 text", where=str(path), todo="save it as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError("OBS-FRS-003", f"not YAML: {problem}", where=where, todo="see collectors/freshness/collector.yaml") from error
