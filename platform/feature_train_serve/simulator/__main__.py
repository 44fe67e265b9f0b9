"""`python -m feature_train_serve.simulator --fault unit_change --out FILE`: synthetic tables with a fault of your choice.

Every file says that it is synthetic: Parquet in its metadata, every format in `FILE.json` beside it, which also holds what was asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from feature_train_serve.config import DAY_MS
from feature_train_serve.files import replacing
from feature_train_serve.simulator.faults import MEANINGS, Fault, FaultName, parse
from feature_train_serve.simulator.lender import Simulation, simulate
from mlops_obs.errors import ObsError, PlatformError, SpecError

_SUFFIXES = (".parquet", ".csv", ".jsonl")


def main(argv: list[str] | None = None) -> int:
    """Write one table. Returns 0, or the exit code of the error, which is one line."""
    try:
        return _run(_options(argv))
    except ObsError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return error.exit_code


def write(table: pa.Table, path: Path, about: dict[str, object]) -> None:
    """Write `table` as the suffix of `path` says, whole or not at all, and `about` beside it.

    Raises:
        SpecError: OBS-SIM-003 for a suffix that is not .parquet, .csv or .jsonl.
        PlatformError: OBS-SIM-004 if it cannot be written.
    """
    if path.suffix not in _SUFFIXES:
        raise SpecError(
            "OBS-SIM-003", f"cannot write a {path.suffix or 'suffix-less'} file", todo=f"use {', '.join(_SUFFIXES)}", where=str(path)
        )
    try:
        with replacing(path) as temporary:
            if path.suffix == ".parquet":
                pq.write_table(table.replace_schema_metadata({"synthetic": "true", "simulation": json.dumps(about)}), temporary)
            elif path.suffix == ".csv":
                pa.csv.write_csv(table, temporary)
            else:
                temporary.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))
        with replacing(path.with_name(path.name + ".json")) as temporary:
            temporary.write_text(json.dumps({"synthetic": True, **about}, indent=2) + "\n")
    except OSError as error:
        raise PlatformError(
            "OBS-SIM-004", f"cannot write: {error.strerror or error}", todo="choose another --out", where=str(path)
        ) from error


def table_of(what: str, simulation: Simulation, options: argparse.Namespace) -> pa.Table:
    """Return the table that was asked for: events, requests, labels or truth."""
    from feature_train_serve.simulator.labels import labels
    from feature_train_serve.simulator.requests import requests

    if what in ("events", "truth"):
        return simulation.events if what == "events" else simulation.truth
    start_ms = options.end_ms - options.days * DAY_MS
    last = options.to_day if options.to_day is not None else options.days - (90 if what == "labels" else 0)
    if not 0 <= options.from_day < last <= options.days:
        raise SpecError("OBS-SIM-005", f"requests from day {options.from_day:g} to day {last:g}", todo=f"stay within 0 to {options.days}")
    rows = requests(simulation.events, options.rows, options.seed, start_ms, options.from_day, last)
    if what == "requests":
        return rows
    customer = rows["customer_id"].to_numpy()
    truth = simulation.truth
    exposure = dict(zip(truth["customer_id"].to_pylist(), truth["exposure_cents"].to_pylist(), strict=True))
    as_of = rows["as_of"].cast(pa.int64()).to_numpy()
    return labels(simulation.events, customer, as_of, np.array([exposure[name] for name in customer], dtype=np.int64), options.seed)


def _run(options: argparse.Namespace) -> int:
    faults: list[Fault] = [parse(text, max(0.0, options.days - 30.0)) for text in options.fault]
    table = table_of(options.table, simulate(options.seed, options.customers, options.days, options.end_ms, faults), options)
    told = [
        {"name": one.name.value, "start": one.start, "end": min(one.end, options.days), "strength": one.strength, "how": one.how}
        for one in faults
    ]
    about = {
        "table": options.table,
        "seed": options.seed,
        "customers": options.customers,
        "days": options.days,
        "ends_at_ms": options.end_ms,
    }
    write(table, options.out, {**about, "faults": told})
    sys.stdout.write(f"{table.num_rows:,} synthetic rows in {options.out}\n")
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    words = "\n".join(
        f"  {name:<17} {meaning.words}; strength: {meaning.unit} ({meaning.strength:g})"
        + (f"; how: {', '.join(meaning.how)}" if meaning.how else "")
        for name, meaning in MEANINGS.items()
    )
    parser = argparse.ArgumentParser(
        prog="simulator",
        description="Synthetic tables of a lender that does not exist.",
        epilog=f"faults:\n{words}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="file to write: .parquet, .csv or .jsonl")
    parser.add_argument("--table", choices=("events", "requests", "labels", "truth"), default="events", help="what to write")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:start=DAY,end=DAY,strength=X,how=Y]",
        help=f"one of {', '.join(FaultName)}; repeatable",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--customers", type=int, default=1_000, help="synthetic applicants")
    parser.add_argument("--days", type=int, default=360, help="simulated days; faults start 30 days before the end unless they say when")
    parser.add_argument("--end-ms", type=int, default=1_767_225_600_000, help="last moment, ms UTC (2026-01-01)")
    parser.add_argument("--rows", type=int, default=10_000, help="requests or labels to write")
    parser.add_argument("--from-day", type=float, default=90.0, help="day of the first request; features look back 90 days")
    parser.add_argument("--to-day", type=float, help="day before which the last request comes; the end by default")
    options = parser.parse_args(argv)
    if options.customers < 1 or options.days < 30 or options.rows < 1 or options.seed < 0:
        parser.error("--customers and --rows must be at least 1, --days at least 30, --seed at least 0")
    return options


if __name__ == "__main__":
    sys.exit(main())
