"""The offline side of a skew check: every sampled request again, from the event files and the batch code.

`python -m feature_train_serve.features.recompute --events events/*.parquet live.jsonl --online skew/ --out offline.parquet`

For each request of the skew log the features are worked out as of its own moment, at earlier moments (a value that equals an older one is
stale), and from only those events that had arrived by then (what the store could have known). `obs drift skew` joins the two.
The trap: late events. Recomputing with everything that is known today calls every late arrival a fault of the store.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from feature_train_serve.features.batch import History
from feature_train_serve.features.definitions import CATEGORIES, FEATURE_NAMES
from feature_train_serve.features.ingest import checked, read_table
from feature_train_serve.files import replacing
from mlops_obs.adapters.skew_log import read_records
from mlops_obs.errors import ObsError, PlatformError, SpecError

EARLIER_SECONDS = (3_600, 86_400, 7 * 86_400)
_ARRIVED = "arrived_ms"


def recompute(events: pa.Table, request_id: Sequence[str], customer_id: Sequence[str], at_ms: np.ndarray) -> pa.Table:
    """Return the offline features of each request: request_id, as_of (Unix seconds), basis, and every feature, codes as names.

    Args:
        events: with the columns of an event table; a column `arrived_ms` says when an event reached the store, null: in time.
        request_id: (n,) as in the skew log.
        customer_id: (n,) whose features.
        at_ms: (n,) as of when, ms UTC.

    `basis` is "event" for what happened by then (four rows: then, and an hour, a day and a week before), "arrival" for what had arrived.
    """
    wanted = pa.array(sorted(set(customer_id)), pa.string())
    mine = events.filter(pc.is_in(events["customer_id"], wanted))
    tables = []
    for basis, back in (("event", 0), *(("event", seconds) for seconds in EARLIER_SECONDS)):
        tables.append(_rows(mine, request_id, customer_id, at_ms - back * 1000, basis))
    if _ARRIVED in mine.column_names:
        late = pc.fill_null(pc.greater(mine[_ARRIVED], mine["event_time"]), False)
        touched = set(mine.filter(late)["customer_id"].to_pylist())
        for place, name in enumerate(customer_id):
            if name in touched:
                known = pc.fill_null(pc.less_equal(mine[_ARRIVED], int(at_ms[place])), True)
                one = mine.filter(pc.and_(known, pc.equal(mine["customer_id"], name)))
                if one.num_rows:
                    tables.append(_rows(one, request_id[place : place + 1], [name], at_ms[place : place + 1], "arrival"))
    return pa.concat_tables(tables)


def _rows(events: pa.Table, request_id: Sequence[str], customer_id: Sequence[str], at_ms: np.ndarray, basis: str) -> pa.Table:
    history = History(events)
    index = {name: place for place, name in enumerate(history.names.tolist())}
    there = np.array([name in index for name in customer_id])
    customer = np.array([index[name] for name in customer_id if name in index], dtype=np.int64)
    moments = np.asarray(at_ms)[there]
    values = history.features(customer, moments)
    columns: dict[str, pa.Array] = {
        "request_id": pa.array(np.array(request_id, dtype=object)[there], pa.string()),
        "as_of": pa.array(moments / 1000),
        "basis": pa.array([basis] * int(there.sum()), pa.string()),
    }
    return pa.table(columns | {name: named(name, values[name]) for name in FEATURE_NAMES})


def named(name: str, values: np.ndarray) -> pa.Array:
    """Return a feature as people read it: a number, or the name behind a code; null where there is none."""
    lacking = np.isnan(values)
    if name not in CATEGORIES:
        return pa.array(values, pa.float64(), mask=lacking)
    codes = np.where(lacking, 0, values).astype(np.int64)
    return pa.array(np.array(CATEGORIES[name], dtype=object)[codes], pa.string(), mask=lacking)


def read_all(paths: Sequence[Path]) -> pa.Table:
    """Read event tables of several files as one; ids are given anew, for files of different writers may share them.

    Raises what `read_events` raises.
    """
    parts = []
    for path in paths:
        if path.exists() and path.stat().st_size == 0:
            continue  # nothing has happened on this stream yet
        table = read_table(path)
        arrived = table[_ARRIVED] if _ARRIVED in table.column_names else pa.chunked_array([pa.nulls(table.num_rows, pa.int64())])
        if "event_id" in table.column_names:
            table = table.drop_columns(["event_id"])
        events = checked(table, str(path))  # its event_id is now the row's place in the file
        parts.append(events.append_column(_ARRIVED, pc.take(arrived, events["event_id"])))
    if not parts:
        raise SpecError("OBS-DATA-008", "no events were given", todo="name event files with --events")
    together = pa.concat_tables(parts).sort_by([("event_time", "ascending")])
    return together.set_column(0, "event_id", pa.array(range(together.num_rows), pa.int64()))


def main(argv: list[str] | None = None) -> int:
    """Write the offline side. Returns 0, or the exit code of the error, which is one line."""
    parser = argparse.ArgumentParser(prog="recompute", description="Features of sampled requests again, offline, for `obs drift skew`.")
    parser.add_argument("--events", type=Path, nargs="+", required=True, help="event tables: .parquet, .csv or .jsonl")
    parser.add_argument("--online", type=Path, required=True, help="folder of the skew log")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    options = parser.parse_args(argv)
    try:
        records = list(read_records(options.online))
        if not records:
            todo = "set MLOPS_OBS_SKEW_DIR for the predictor, and send it requests"
            raise SpecError("OBS-DATA-009", "the skew log has no request yet", todo=todo, where=str(options.online))
        at_ms = np.array([round(one.time * 1000) for one in records], dtype=np.int64)
        table = recompute(read_all(options.events), [one.request_id for one in records], [one.entity for one in records], at_ms)
        with replacing(options.out) as temporary:
            pq.write_table(table, temporary)
    except ObsError as error:
        sys.stderr.write(f"recompute: {error}\n")
        return error.exit_code
    except OSError as error:
        what = f"cannot write: {error.strerror or error}"
        said = PlatformError("OBS-FEAT-002", what, todo="choose another --out", where=str(options.out))
        sys.stderr.write(f"recompute: {said}\n")
        return said.exit_code
    sys.stdout.write(f"{len(records):,} requests recomputed in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
