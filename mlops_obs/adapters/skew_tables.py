"""The sides of a skew check as tables: Parquet, CSV or JSON lines, a row a request.

The offline side is a query that somebody ran: `request_id` and the features. Two more columns turn "differs" into "stale" and "late":
`as_of` (several rows of a request; the newest is the recomputation, the others are its older values) and `basis` (`event`, or `arrival` for
a row made of only those events that had arrived).

The trap: text columns must keep their text and numbers their last bit, so the tables are read here as they are, and not as the sketches
of drift read them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from mlops_obs.adapters.skew_log import read_records
from mlops_obs.collectors.skew.records import Recomputed, Served, Value, Values, value_of
from mlops_obs.errors import SpecError, UsageError

AS_OF, BASIS, ENTITY, TIME, REVISION = "as_of", "basis", "entity", "time", "revision"
ARRIVAL, EVENT = "arrival", "event"
_INPUT, _ONLINE, _AGE = "input.", "online.", "age."
_TABLES = (".parquet", ".csv")
_MOST_OLDER = 16
_EMPTY = frozenset({"", "na", "nan", "null", "none"})

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a `.parquet`, `.csv` or `.jsonl` file.

    Raises:
        UsageError: OBS-SKW-006 if it is missing or of another kind.
        SpecError: OBS-SKW-007 if it cannot be read as what its name says.
    """
    readers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl}
    if not path.is_file() or path.suffix not in readers:
        what = f"{path.suffix or 'no suffix'} is no table that we read" if path.is_file() else "there is no such table"
        raise UsageError("OBS-SKW-006", what, where=str(path), todo="give a .parquet, .csv or .jsonl file")
    try:
        yield from readers[path.suffix](path)
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(path, error) from error


def read_offline(path: Path, wanted: Collection[str] | None = None, *, key: str = "request_id") -> list[Recomputed]:
    """Return the recomputed requests of a table.

    Args:
        path: the table.
        wanted: ids of requests; the others are not kept.
        key: column of the request's id.

    Raises:
        UsageError, SpecError: as `read_rows`; OBS-SKW-008 if the column of the id is not there or `basis` says something else.
    """
    rows: dict[str, list[Row]] = {}
    for number, row in enumerate(read_rows(path), start=1):
        if key not in row:
            raise SpecError("OBS-SKW-008", f"has no column {key!r}", where=f"{path}, row {number}", todo="name the column with --id")
        if row.get(BASIS) not in (None, "", ARRIVAL, EVENT):
            what = f"basis {str(row[BASIS])[:40]!r}"
            raise SpecError("OBS-SKW-008", what, where=f"{path}, row {number}", todo=f"write {EVENT} or {ARRIVAL}, or leave it out")
        name = _id(row[key])
        if wanted is None or name in wanted:
            rows.setdefault(name, []).append(row)
    return [_recomputed(name, of, key) for name, of in rows.items()]


def read_online(path: Path, bad: list[int] | None = None, *, key: str = "request_id") -> Iterator[Served]:
    """Yield the served requests of a skew log (file or folder) or of a table.

    In a table `entity`, `time` and `revision` may be given; `input.NAME` is what the model was fed, `age.NAME` how old the source of a
    feature was in seconds, `online.NAME` or plain NAME what was read.

    Raises:
        UsageError, SpecError: as `read_rows` and `read_records`; OBS-SKW-008 if the column of the id is not there.
    """
    if path.suffix not in _TABLES:
        yield from read_records(path, bad)
        return
    for number, row in enumerate(read_rows(path), start=1):
        if key not in row:
            raise SpecError("OBS-SKW-008", f"has no column {key!r}", where=f"{path}, row {number}", todo="name the column with --id")
        time = _seconds(row.get(TIME))
        sides: dict[str, dict[str, Value]] = {_INPUT: {}, _AGE: {}, _ONLINE: {}}
        for name, raw in row.items():
            if name not in (key, ENTITY, TIME, REVISION, AS_OF):
                prefix = next((one for one in sides if name.startswith(one)), "")
                sides[prefix or _ONLINE][name.removeprefix(prefix)] = value_of(raw)
        ages = {name: float(age) for name, age in sides[_AGE].items() if isinstance(age, float)}
        served = float(number) if time is None else time
        yield Served(_id(row[key]), _id(row.get(ENTITY, "")), served, sides[_ONLINE], sides[_INPUT], ages, str(row.get(REVISION) or ""))


def _recomputed(name: str, rows: list[Row], key: str) -> Recomputed:
    arrived = [row for row in rows if row.get(BASIS) == ARRIVAL]
    computed = [row for row in rows if row.get(BASIS) != ARRIVAL]
    # without a time the order of the rows is theirs: the last one is the newest
    computed.sort(key=lambda row: _seconds(row.get(AS_OF)) or 0.0)
    newest, *older = reversed(computed or arrived)
    known = max(arrived, key=lambda row: _seconds(row.get(AS_OF)) or 0.0) if arrived and computed else None
    return Recomputed(
        name,
        _features(newest, key),
        tuple(_features(row, key) for row in older[:_MOST_OLDER]),
        _features(known, key) if known is not None else None,
    )


def _features(row: Row, key: str) -> Values:
    return {name: value_of(raw) for name, raw in row.items() if name not in (key, AS_OF, BASIS, ENTITY, TIME)}


def _id(raw: Any) -> str:
    return str(int(raw)) if isinstance(raw, float) and raw.is_integer() else str(raw)


def _seconds(raw: Any) -> float | None:
    """Unix seconds of a number, a datetime or a text of either; None if it is none."""
    if raw is None or raw == "":
        return None
    from mlops_obs.collectors.skew.pairs import moment_of

    value = value_of(raw)
    return None if value is None else moment_of(value)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(
            "OBS-SKW-009", "pyarrow is not installed", where=str(path), todo="pip install 'mlops-obs[drift]' or use .csv"
        ) from error
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _csv(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        for row in csv.DictReader(lines, strict=True):
            if None in row or None in row.values():
                raise csv.Error("a line has another number of values than the header")
            yield {name: None if text.strip().lower() in _EMPTY else text for name, text in row.items()}


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise csv.Error("a line is no JSON object")
                yield row


def _unreadable(path: Path, error: Exception) -> SpecError:
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return SpecError("OBS-SKW-007", f"cannot be read: {said}", where=str(path), todo="write the table again")


def features_of(records: Iterable[Values]) -> list[str]:
    """Return the names in any of `records`, in the order in which they are met."""
    return list(dict.fromkeys(name for record in records for name in record))
