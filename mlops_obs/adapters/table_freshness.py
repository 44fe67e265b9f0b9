"""Asks upstream tables up to when they are complete, without reading a row: Parquet statistics, file times, a manifest."""

from __future__ import annotations

import glob
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mlops_obs.collectors.freshness.schedule import Observation
from mlops_obs.collectors.freshness.tables import SECONDS, TableConfig, TableMeter
from mlops_obs.errors import ObsError, PlatformError
from mlops_obs.metric_names import Reading


class TableUnavailable(PlatformError):
    """An upstream table cannot be asked; `reason` is the value of the label of the same name."""

    reason = "table_unavailable"


class TableFreshness:
    """A collector: `register_collector("tables", TableFreshness(service, tables, folder).read)`.

    Args:
        service: label value.
        tables: what to ask.
        folder: relative paths start here.
        clock: returns Unix seconds.

    Raises:
        SpecError: OBS-FRS-006 if a schedule makes no sense.
    """

    def __init__(self, service: str, tables: Sequence[TableConfig], folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._tables = tuple(tables)
        self._folder = folder
        self._clock = clock
        self._known: dict[Path, tuple[int, float | None]] = {}
        self.meter = TableMeter(service, {one.name: one.schedule() for one in tables})

    def read(self) -> list[Reading]:
        """Return the readings of all tables that can be asked.

        Raises:
            TableUnavailable: OBS-FRS-008 if none of them can; a single one that cannot is left out, and its slots go missing in time.
        """
        now, seen, failed = self._clock(), {}, []
        for table in self._tables:
            try:
                seen[table.name] = self.ask(table)
            except ObsError as error:
                failed.append(error)
                # Gone is not unknown: nothing is complete, and what is due will be missing.
                seen[table.name] = Observation(None)
        readings = self.meter.read(now, seen)
        if failed and len(failed) == len(self._tables):
            raise failed[0]
        return readings

    def ask(self, table: TableConfig) -> Observation:
        """Return what one table says.

        Raises:
            TableUnavailable: OBS-FRS-008 if it cannot be asked.
        """
        try:
            if table.complete_by == "manifest":
                return _manifest(self._folder / table.path, table.name)
            files = _files(self._folder / table.path)
            if not files:
                raise TableUnavailable("OBS-FRS-008", "there is no file", where=str(self._folder / table.path), todo="check the path")
            written = max(file.stat().st_mtime for file in files)
            if table.complete_by == "written":
                return Observation(written, written)
            newest = [one for file in files if (one := self._newest_event(file, table)) is not None]
            return Observation(max(newest) if newest else None, written)
        except OSError as error:
            raise TableUnavailable(
                "OBS-FRS-008", f"cannot be asked: {error.strerror}", where=str(error.filename or table.path), todo="check path and rights"
            ) from error

    def _newest_event(self, file: Path, table: TableConfig) -> float | None:
        """The largest value of the column, of a file that has not changed from memory."""
        version = file.stat().st_mtime_ns
        if self._known.get(file, (None, None))[0] != version:
            if len(self._known) > 100_000:
                self._known.clear()
            self._known[file] = (version, _largest(file, table.column or "", SECONDS[table.unit]))
        return self._known[file][1]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [
            one for one in path.rglob("*") if one.is_file() and not any(part.startswith((".", "_")) for part in one.relative_to(path).parts)
        ]
    return [Path(one) for one in glob.glob(str(path), recursive=True) if Path(one).is_file()]  # noqa: PTH207 - the pattern may be absolute


def _largest(file: Path, column: str, seconds: float) -> float | None:
    """The largest value of a column by the statistics of the file's row groups; None if they have none. No row is read."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise TableUnavailable(
            "OBS-FRS-009", "pyarrow is not installed", where=str(file), todo="pip install 'mlops-obs[drift]', or use complete_by: written"
        ) from error
    try:
        metadata = pq.read_metadata(file)
        names = [metadata.schema.column(at).path for at in range(metadata.num_columns)]
        if column not in names:
            raise TableUnavailable("OBS-FRS-008", f"has no column {column!r}", where=str(file), todo="name the column of the event time")
        at = names.index(column)
        found = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups)]
    except pa.ArrowException as error:
        said = (str(error).splitlines() or [""])[0]
        raise TableUnavailable("OBS-FRS-008", f"not readable as Parquet: {said}", where=str(file), todo="write it again") from error
    largest = [_unix(one.max, seconds) for one in found if one is not None and one.has_min_max]
    return max(largest) if largest else None


def _unix(value: Any, seconds: float) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return float(value) * seconds


def _manifest(path: Path, table: str) -> Observation:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entry = found[table]
        moments = [_moment(entry.get(name)) for name in ("complete_up_to", "completed_at")]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = f"no entry {table!r}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        todo = 'write {table: {"complete_up_to": Unix seconds or ISO 8601}}'
        raise TableUnavailable("OBS-FRS-008", f"not a manifest of it: {said}", where=str(path), todo=todo) from error
    return Observation(*moments)


def _moment(raw: Any) -> float | None:
    if raw is None:
        return None
    value = _unix(datetime.fromisoformat(raw), 1.0) if isinstance(raw, str) else float(raw)
    if not math.isfinite(value):
        raise ValueError(f"{raw} is no moment")
    return value


def limits_of(tables: Sequence[TableConfig]) -> Mapping[str, float]:
    """Return the age up to which each table is fresh: a slot, and the time it has to be filled."""
    return {one.name: one.schedule().every + one.schedule().by for one in tables}
