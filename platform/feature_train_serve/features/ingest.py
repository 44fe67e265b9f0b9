"""Read an event table, refuse what cannot be trusted, and split it by customer.

Splitting by customer here is what makes the batch job free of shuffles: all events of a customer are in one file, one Ray Data task.
Reading the simulator's file and a user's own goes through the same checks.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from feature_train_serve.features.events import EVENT_TYPES
from feature_train_serve.files import replacing
from feature_train_serve.simulator.lender import EVENT_COLUMNS
from mlops_obs.errors import PlatformError, SpecError

_REQUIRED = ("customer_id", "event_time", "event_type", "amount_cents")


def read_events(path: Path) -> pa.Table:
    """Read a Parquet, CSV or JSON-lines event table in time order, with the columns of `EVENT_COLUMNS`.

    `event_id` may be missing (the order of the file is then the order of events), as may `category` and `score`.

    Raises:
        PlatformError: OBS-DATA-001 if the file cannot be read.
        SpecError: OBS-DATA-002..006 if a column is missing or of the wrong type, has nulls, holds an unknown event type, or repeats an id.
    """
    return checked(read_table(path), str(path))


def read_table(path: Path) -> pa.Table:
    """Read a Parquet, CSV or JSON-lines file as it is. Raises OBS-DATA-001 or OBS-DATA-002."""
    readers = {".parquet": pq.read_table, ".csv": _read_csv, ".jsonl": pa.json.read_json}
    reader = readers.get(path.suffix)
    if reader is None:
        raise SpecError(
            "OBS-DATA-002", f"cannot read a {path.suffix or 'suffix-less'} file", todo="give .parquet, .csv or .jsonl", where=str(path)
        )
    try:
        return reader(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise PlatformError("OBS-DATA-001", f"cannot read events: {error}", todo="check the path and the file", where=str(path)) from error


def _read_csv(path: Path) -> pa.Table:
    # Left to itself pyarrow reads the customer 00123 as the number 123, whom the service then does not know.
    text = {name: pa.string() for name in ("customer_id", "event_type", "category")}
    return pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=text))


def checked(table: pa.Table, where: str) -> pa.Table:
    """Return the columns of `EVENT_COLUMNS`, in time order. Raises OBS-DATA-003..006."""
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        known = ", ".join(EVENT_COLUMNS.names)
        raise SpecError("OBS-DATA-003", f"no column {', '.join(missing)}", todo=f"the columns are {known}", where=where)
    if table.num_rows == 0:
        raise SpecError("OBS-DATA-003", "the event table is empty", todo="give at least one customer's events", where=where)
    columns = []
    for field in EVENT_COLUMNS:
        if field.name not in table.column_names:
            filler = pa.array(range(table.num_rows), pa.int64()) if field.name == "event_id" else pa.nulls(table.num_rows, field.type)
            columns.append(filler)
            continue
        column = table[field.name]
        try:
            if field.name == "event_time" and pa.types.is_timestamp(column.type):
                column = column.cast(pa.timestamp("ms", column.type.tz), safe=False)  # its number alone would count its own unit
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SpecError("OBS-DATA-004", f"column {field.name}: {error}", todo=f"it must be {field.type}", where=where) from error
        if not field.nullable and column.null_count:
            raise SpecError(
                "OBS-DATA-004", f"column {field.name} has {column.null_count} nulls", todo="drop or fill those rows", where=where
            )
        if field.name == "customer_id" and pc.any(pc.equal(column, "")).as_py():
            raise SpecError("OBS-DATA-004", "column customer_id has empty values", todo="drop or fill those rows", where=where)
        columns.append(column)
    checked = pa.Table.from_arrays(columns, names=EVENT_COLUMNS.names)
    strange = sorted(set(pc.unique(checked["event_type"]).to_pylist()) - set(EVENT_TYPES))
    if strange:
        raise SpecError("OBS-DATA-005", f"unknown event types: {', '.join(strange[:5])}", todo=f"use {', '.join(EVENT_TYPES)}", where=where)
    if pc.count_distinct(checked["event_id"]).as_py() != checked.num_rows:
        raise SpecError("OBS-DATA-006", "event_id repeats", todo="every event needs its own id, else it is counted twice", where=where)
    return checked.sort_by([("event_time", "ascending"), ("event_id", "ascending")])


def partition(table: pa.Table, folder: Path, partitions: int) -> list[Path]:
    """Write `table` as `partitions` Parquet files split by customer (a stable hash) and return the paths of those with events."""
    folder.mkdir(parents=True, exist_ok=True)
    dictionary = table["customer_id"].combine_chunks().dictionary_encode()
    home = np.array([zlib.crc32(name.encode()) % partitions for name in dictionary.dictionary.to_pylist()], dtype=np.int64)
    home = home[dictionary.indices.to_numpy()]
    paths = []
    for number in range(partitions):
        rows = np.flatnonzero(home == number)
        if rows.size:
            paths.append(folder / f"events-{number:03d}.parquet")
            with replacing(paths[-1]) as temporary:
                pq.write_table(table.take(rows), temporary)
    return paths
