"""`obs drift calibrate`: how often each detector alarms on your own data without any drift, and what it sees when there is some."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.drift.inputs import OutputOption, SchemaOption, check_output
from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlops_obs.collectors.drift.alarms.calibration import Calibration
    from mlops_obs.collectors.drift.columns import Block, Schema

_MOST_ROWS = 200_000
_LEAST_ROWS = 200


def calibrate(
    reference: Annotated[str, typer.Option("--reference", "-r", help="The table that the model was trained on; its rows are needed.")],
    trials: Annotated[int, typer.Option("--trials", min=2, max=10_000, help="Random splits of the table.")] = 20,
    windows: Annotated[str, typer.Option("--windows", help="Rows of a window, several separated by commas.")] = "100,500,2000",
    budget: Annotated[str, typer.Option("--budget", help="False alarms allowed in the stream, by rows.")] = "1 per 100000 rows",
    time: Annotated[str, typer.Option("--time", help="Column with the time of the row: parts are then contiguous.")] = "",
    evidently: Annotated[bool, typer.Option("--evidently", help="Evidently's defaults too: a second or more for each window.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same result.")] = 0,
    output: OutputOption = "table",
    schema: SchemaOption = None,
) -> None:
    """Measure false-alarm rates and power of every detector on your own reference, ours beside others', and recommend."""
    import numpy as np

    from mlops_obs.collectors.drift.alarms import Budget
    from mlops_obs.collectors.drift.alarms.calibration import calibrate as measure

    check_output(output)
    sizes = _sizes(windows)
    allowed = Budget.parse(budget, where="--budget")
    if allowed.rows is None:
        raise UsageError("OBS-ALM-013", f"a budget of {allowed} needs a clock", todo='give it by rows: "1 per 100000 rows"')
    block, columns, rows = _rows(reference, schema, time)
    others = {}
    if evidently:
        from mlops_obs.adapters.evidently_verdicts import alarmed

        others["Evidently's defaults"] = alarmed
    with _progress(trials) as step:
        rng = np.random.default_rng(seed)
        found = measure(block, columns, rng, trials=trials, windows=sizes, budget=allowed, by_time=bool(time), others=others, step=step)
    if rows > _MOST_ROWS:
        typer.echo(f"obs: {_MOST_ROWS:,} of {rows:,} rows are used", err=True)
    if output == "json":
        typer.echo(json.dumps(document(found), indent=2, allow_nan=False))
    else:
        _show(found)


def document(found: Calibration) -> dict[str, object]:
    """Return a calibration as plain data."""
    return {
        "rows": found.rows,
        "false_alarms": {name: {str(size): one.to_json() for size, one in by_size.items()} for name, by_size in found.false_alarms.items()},
        "power": {name: {str(size): one.to_json() for size, one in by_size.items()} for name, by_size in found.power.items()},
        "stream": {
            "budget": str(found.budget),
            "rows": found.stream_rows,
            "alarms": found.stream_alarms,
            "delay_rows": {name: list(rows) for name, rows in found.delays.items()},
        },
        "recommendation": list(found.recommendation),
    }


def _show(found: Calibration) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    sizes = sorted({size for by_size in found.false_alarms.values() for size in by_size})
    for title, rates in (("Alarms without drift, any column", found.false_alarms), ("Changes that `obs drift score` sees", found.power)):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        table.add_column("")
        for size in sizes:
            table.add_column(f"{size:,} rows", justify="right")
        for name, by_size in rates.items():
            cells = [by_size[size] for size in sizes]
            table.add_row(name, *(f"{one.hits / max(one.trials, 1):.0%} ({one.interval[0]:.0%}-{one.interval[1]:.0%})" for one in cells))
        console.print(table)
        console.print()
    table = Table(title="Rows until the stream names it (median, slowest)", title_justify="left", box=None, pad_edge=False)
    for name, rows in found.delays.items():
        table.add_row(name, _delay(rows))
    console.print(table)
    console.print()
    for line in found.recommendation:
        console.print(f"- {line}", soft_wrap=True)


@contextmanager
def _progress(trials: int) -> Iterator[Callable[[], None]]:
    if not os.isatty(2):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trials", total=trials)
        yield lambda: progress.advance(task)


def _delay(rows: Sequence[int | None]) -> str:
    known = sorted(one for one in rows if one is not None)
    missed = len(rows) - len(known)
    told = f"{known[len(known) // 2]:,}, {known[-1]:,}" if known else "-"
    return f"{told}; not seen in {missed} of {len(rows)}" if missed else told


def _sizes(text: str) -> list[int]:
    try:
        found = sorted({int(part.replace("_", "")) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 10:
        raise UsageError("OBS-ALM-014", f"{text!r} are no window sizes", todo="write for example --windows 100,500,2000")
    return found


def _rows(reference: str, schema: Path | None, time: str) -> tuple[Block, Schema, int]:
    """Read the table; beyond the most rows that are used, every n-th row."""
    import numpy as np

    from mlops_obs.adapters.tables import Overrides, blocks, expand, infer_table, read_overrides
    from mlops_obs.collectors.drift.columns import Categories, rows_of

    sources = expand([reference])
    table = infer_table(sources, read_overrides(schema) if schema else Overrides(time=time))
    parts = [block for source in sources for block in blocks(source, table.readable)]
    rows = sum(rows_of(one) for one in parts)
    if rows < _LEAST_ROWS:
        todo = f"give a table of at least {_LEAST_ROWS} rows"
        raise SpecError("OBS-ALM-015", f"{rows} rows are too few to be split and resampled", where=reference, todo=todo)
    whole = {name: _joined([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}
    order = np.arange(rows)
    if time:
        if time not in whole:
            raise UsageError("OBS-ALM-016", f"the table has no column {time!r}", where=reference, todo="correct --time")
        moments = whole[time]
        order = np.argsort(moments.codes if isinstance(moments, Categories) else moments, kind="stable")
    order = order[:: -(-rows // _MOST_ROWS)]
    kept = [one for one in table.schema if one.name in whole and one.kind.value != "embedding" and one.name != time]
    chosen = {one.name: _ordered(whole[one.name], order) for one in kept}
    return chosen, type(table.schema)(tuple(kept)), rows


def _ordered(data: Any, order: Any) -> Any:
    from mlops_obs.collectors.drift.columns import Categories

    return Categories(data.codes[order], data.names) if isinstance(data, Categories) else data[order]


def _joined(parts: Sequence[Any]) -> Any:
    import numpy as np

    from mlops_obs.collectors.drift.columns import Categories

    if not isinstance(parts[0], Categories):
        return np.concatenate(parts)
    places: dict[str, int] = {}
    codes = []
    for part in parts:
        table = np.array([*(places.setdefault(name, len(places)) for name in part.names), -2, -1], dtype=np.int64)
        codes.append(table[part.codes])
    return Categories(np.concatenate(codes), list(places))
