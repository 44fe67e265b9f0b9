"""`obs drift watch`: where the drift of running models stands, from their metrics, once or as a table that stays.

The trap is the one of every live table: while the metrics cannot be read, nothing in it is current, and it says so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.drift.inputs import DRIFT_EXIT, OutputOption, check_output
from mlops_obs.cli.slo.shared import Env
from mlops_obs.errors import TelemetryUnavailable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlops_obs.collectors.drift.alarms.standing import Standing
    from mlops_obs.slo.counters import CounterSource

_UNKNOWN = 4
_COLOURS = {"stable": "green", "drifted": "red", "idle": "dim"}
_SHOWN = 3  # features with the highest score


def watch(
    env: Env = None,
    service: Annotated[str | None, typer.Option(help="Only this service.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once instead of staying until Ctrl-C.")] = False,
    every: Annotated[str, typer.Option(help="Time between two looks.")] = "10s",
    output: OutputOption = "table",
) -> None:
    """Follow the drift of running models. Exit code 0: stable, 3: something has drifted, 4: nothing is known."""
    from mlops_obs.cli import wiring
    from mlops_obs.collectors.drift.alarms.standing import standings
    from mlops_obs.durations import parse_duration

    check_output(output)
    pause = float(parse_duration(every))
    source = wiring.counter_source(wiring.load_environment(env))
    if once:
        now = time.time()
        found = standings(source, now, service)
        if output == "json":
            typer.echo(json.dumps([one.to_json() for one in found], indent=2))
        else:
            from rich.console import Console

            Console(highlight=False).print(table(found, now))
    else:
        found = _follow(source, service, pause, structured=output == "json")
    if any(one.alarms for one in found):
        raise typer.Exit(DRIFT_EXIT)
    if not found:
        raise typer.Exit(_UNKNOWN)


def _follow(source: CounterSource, service: str | None, pause: float, *, structured: bool) -> list[Standing]:
    from contextlib import nullcontext

    from rich.console import Console
    from rich.live import Live

    from mlops_obs.collectors.drift.alarms.standing import standings

    found: list[Standing] = []
    seen_at = 0.0
    live = nullcontext(None) if structured else Live(console=Console(highlight=False), auto_refresh=False, vertical_overflow="visible")
    try:
        with live as screen:
            while True:
                problem, now = "", time.time()
                try:
                    found, seen_at = standings(source, now, service), now
                except TelemetryUnavailable as error:
                    problem = str(error)
                if screen is None:
                    typer.echo(json.dumps({"at": seen_at, "problem": problem or None, "models": [one.to_json() for one in found]}))
                else:
                    screen.update(table(found, seen_at, problem, now), refresh=True)
                time.sleep(pause)
    except KeyboardInterrupt:
        return found


def table(found: Sequence[Standing], seen_at: float, problem: str = "", now: float = 0.0) -> RenderableType:
    """Return the table as it stood at `seen_at` (Unix seconds); with a `problem` nothing in it is current, and it says so."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("MODEL", "STATE", "ROWS 5M", "EVIDENCE", "BUDGET USED", "DRIFTED, ELSE HIGHEST PSI"):
        grid.add_column(name, justify="right" if name in ("ROWS 5M", "EVIDENCE", "BUDGET USED") else "left", no_wrap=name == "STATE")
    for one in found:
        state = one.state.value
        told = [f"{name}: {kind}" for name, kind in one.alarms.items()] or [
            f"{name} {score:.2f}" for name, score in list(one.scores.items())[:_SHOWN]
        ]
        grid.add_row(
            escape(f"{one.service} {one.revision}".strip()),
            f"[yellow]unknown[/] [dim](was {state})[/]" if problem else f"[{_COLOURS[state]}]{state}[/]",
            f"{one.rows:,.0f}" + (f" ({one.dropped:,.0f} dropped)" if one.dropped else ""),
            "-" if one.evidence is None else f"{one.evidence:.1%}",
            "-" if one.budget_used is None else f"{one.budget_used:.0%}",
            escape(", ".join(told)) or "-",
        )
    lines: list[RenderableType] = [grid]
    clock = time.strftime("%H:%M:%S", time.localtime(seen_at))
    lines.append(Text(f"{len(found)} models at {clock}" if found else "no model exports drift metrics", style="dim"))
    if problem:
        from mlops_obs.durations import humanize_duration

        age = f"nothing above is newer than {humanize_duration(now - seen_at)}" if seen_at else "nothing is known yet"
        lines.append(Text(f"{problem}\n{age}", style="bold yellow"))
    return Group(*lines)
