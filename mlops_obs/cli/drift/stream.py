"""`obs drift stream`: rows on standard input, alarms on standard output, a line of JSON each and at once.

It reads what the pipe has and never waits for more, so an alarm is not held up by a buffer; and it never dies of a bad row.
Without a clock rows are time, and the budget is one false alarm in 100,000 rows.

Exit codes: 0 no alarm, 3 at least one, 2 a reference or options that cannot be used.
"""

from __future__ import annotations

import json
import os
import sys
import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.drift.inputs import DRIFT_EXIT, ReferenceOption, SchemaOption, load_reference
from mlops_obs.errors import UsageError

PROFILE = b"mlops-obs reference "

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlops_obs.adapters.stream_rows import RowReader
    from mlops_obs.collectors.drift.alarms import Alarm, Budget
    from mlops_obs.collectors.drift.alarms.document import DriftDocument
    from mlops_obs.collectors.drift.alarms.live import LiveRows
    from mlops_obs.collectors.drift.reference import ReferenceProfile


def stream(
    reference: ReferenceOption,
    spec: Annotated[Path | None, typer.Option("--spec", help="Drift document (YAML): budget, importance, tolerance.")] = None,
    budget: Annotated[str, typer.Option("--budget", help='False alarms allowed: "1 per 90d", "1 per 100000 rows".')] = "",
    arl: Annotated[float, typer.Option("--arl", min=0, help="Rows for one false alarm on average; the same as --budget.")] = 0,
    rate: Annotated[float, typer.Option("--rows-per-second", min=0, help="Turns a budget of days into rows.")] = 0,
    time: Annotated[str, typer.Option("--time", help="Column with the time of the row: ISO 8601 or Unix seconds.")] = "",
    form: Annotated[str, typer.Option("--format", help="json (a line each) or csv (with a header); by default seen from the input.")] = "",
    features: Annotated[str, typer.Option("--features", help="Only these columns, separated by commas.")] = "",
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, max=2, help="Shift in standard deviations that is no news.")
    ] = None,
    schema: SchemaOption = None,
) -> None:
    """Watch rows on standard input. Alarms are JSON lines on standard output. Exits 3 if there was one."""
    from mlops_obs.adapters.stream_rows import CHUNK, RowReader
    from mlops_obs.collectors.drift.alarms import Detector
    from mlops_obs.collectors.drift.alarms.document import DriftDocument
    from mlops_obs.collectors.drift.alarms.live import LiveRows

    if form not in ("", "json", "csv"):
        raise UsageError("OBS-ALM-010", f"{form!r} is no format of a stream", todo="use --format json or csv")
    document = load_document(spec) if spec else DriftDocument()
    allowed = _budget(budget or (f"1 per {arl:.0f} rows" if arl else document.budget if spec else ""), rate, time)
    profile = _with_natural(reference, load_reference(reference, schema=schema), schema)
    chosen = [name.strip() for name in features.split(",") if name.strip()] or None
    unknown = [name for name in chosen or () if name not in profile.sketches]
    if unknown:
        raise UsageError("OBS-ALM-011", f"the reference lacks {', '.join(unknown)}", todo="correct --features")
    detector = Detector.of(
        profile,
        allowed,
        importance=document.importance or None,
        tolerance=document.tolerance if tolerance is None else tolerance,
        features=chosen,
    )
    _say(f"{len(detector.names)} features, {profile.rows:,} reference rows; at most {allowed} false alarms on average")
    rows = LiveRows(profile, detector)
    reader = RowReader(profile.schema, time=time, form=form)
    started, count = clock.monotonic(), 0
    try:
        for chunk in _chunks(sys.stdin.fileno(), CHUNK):
            found = reader.feed(chunk)
            for alarm in rows.add(found.block, found.rows, found.times) if found else ():
                count += 1
                _tell(alarm)
    except KeyboardInterrupt:
        pass
    _summary(rows, reader, count, clock.monotonic() - started)
    if count:
        raise typer.Exit(DRIFT_EXIT)


def _chunks(descriptor: int, most: int) -> Iterator[bytes]:
    """Yield what the pipe has, as soon as it has it; an empty chunk at the end."""
    while chunk := os.read(descriptor, most):
        yield chunk
    yield b""


def _tell(alarm: Alarm) -> None:
    sys.stdout.write(json.dumps(alarm.to_json(), allow_nan=False) + "\n")
    sys.stdout.flush()


def _say(text: str) -> None:
    typer.echo(f"obs: {text}", err=True)


def _summary(rows: LiveRows, reader: RowReader, alarms: int, seconds: float) -> None:
    detector = rows.detector
    many = "no alarm" if not alarms else "1 alarm" if alarms == 1 else f"{alarms} alarms"
    still = f", still drifted: {', '.join(detector.active)}" if detector.active else ""
    _say(f"{detector.rows:,} rows in {seconds:.1f} s, {many}{still}")
    if reader.problems.lines:
        _say(f"{reader.problems.lines} lines were no rows: {'; '.join(reader.problems.named[:5])}")
    if detector.rows and rows.never_seen:
        _say(f"in the reference and not in the stream, so not watched: {', '.join(rows.never_seen)}")
    if reader.unknown:
        _say(f"in the stream and not in the reference: {', '.join(sorted(reader.unknown)[:10])}")
    if detector.rows and len(rows.never_seen) == len(detector.names):
        raise UsageError("OBS-ALM-012", "the stream has no column of the reference", todo="give rows with the reference's column names")


def _budget(text: str, rate: float, time: str) -> Budget:
    from mlops_obs.collectors.drift.alarms import Budget
    from mlops_obs.collectors.drift.alarms.budget import ROWS

    if not text:
        return Budget(1.0, seconds=90 * 86_400.0) if time else Budget(1.0, rows=90 * 86_400.0 * rate if rate else ROWS)
    found = Budget.parse(text, where="--budget")
    if found.rows is None and not time:
        if not rate:
            todo = 'give --time COLUMN, --rows-per-second, or a budget of rows such as "1 per 100000 rows"'
            raise UsageError("OBS-ALM-013", f"a budget of {found} needs a clock", todo=todo)
        return Budget(found.alarms, rows=found.period * rate)
    return found


def _with_natural(reference: str, profile: ReferenceProfile, schema: Path | None) -> ReferenceProfile:
    """Return the profile with what a second look at a table's rows says about their natural variation; profiles bring it along."""
    from mlops_obs.adapters.tables import Overrides, blocks, expand, infer_table, read_overrides
    from mlops_obs.collectors.drift.alarms.natural import SECTION, section_from_blocks

    if not Path(reference).is_file():
        return profile
    with Path(reference).open("rb") as file:
        if file.read(len(PROFILE)) == PROFILE:  # it brings along what it knows
            return profile
    sources = expand([reference])
    if len(sources) != 1:
        return profile
    columns = infer_table(sources, read_overrides(schema) if schema else Overrides(), known=profile.schema).schema
    section = section_from_blocks(profile, blocks(sources[0], columns))
    return profile.with_section(SECTION, section) if section else profile


def load_document(path: Path) -> DriftDocument:
    """Read a drift document.

    Raises:
        SpecErrors: every mistake in it, with its line.
        SpecError: it is no YAML.
    """
    from mlops_obs.adapters.files import load_yaml
    from mlops_obs.collectors.drift.alarms.document import parse_drift

    return parse_drift(*load_yaml(path))
