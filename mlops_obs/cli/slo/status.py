"""`obs slo status`: where the budgets stand, once or as a table that stays.

The trap of a live table is the last good answer: while the metrics cannot be read it must not look current. The table
then says since when it is old, and every verdict in it is shown as unknown.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.shared import Env, Output, as_json
from mlops_obs.errors import TelemetryUnavailable, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlops_obs.slo.counters import CounterSource
    from mlops_obs.slo.spec import SLO
    from mlops_obs.slo.verdict import GroupStatus

_BURNING, _UNKNOWN = 3, 4
_COLOURS = {"healthy": "green", "burning": "red", "unknown": "yellow"}
_RUNG_COLOURS = {"warn": "yellow", "freeze": "dark_orange", "rollback": "red"}
_WIDE = 112
_CELLS, _EIGHTHS = 8, " ▏▎▍▌▋▊▉█"


def status(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: the environment's, else slo/.")] = None,
    env: Env = None,
    output: Output = "text",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until Ctrl-C; with -o json, a line per look.")] = False,
    every: Annotated[str, typer.Option(help="Time between two looks of --watch.")] = "10s",
    team: Annotated[str | None, typer.Option(help="Only this team's SLOs.")] = None,
    service: Annotated[str | None, typer.Option(help="Only this service's SLOs.")] = None,
) -> None:
    """Show where every SLO stands now. Exit code 0: healthy, 3: something burns, 4: something is unknown."""
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.cli import wiring
    from mlops_obs.durations import parse_duration

    pause = float(parse_duration(every))
    environment = wiring.load_environment(env)
    every_slo = load_slos(*(specs or environment.slos or [Path("slo")]))
    slos = [slo for slo in every_slo if team in (None, slo.team) and service in (None, slo.service)]
    if not slos:
        raise UsageError("OBS-REP-005", "no SLO is left to show", todo="correct --team or --service")
    source, structured = wiring.counter_source(environment), as_json(output)
    if watch:
        found = _follow(slos, every_slo, source, pause, structured)
    else:
        found, now = _look(slos, every_slo, source, time.time()), time.time()
        if structured:
            typer.echo(json.dumps([document(one) for one in found], indent=2))
        else:
            from rich.console import Console

            console = Console()
            console.print(table(found, now, width=console.width))
    verdicts = {one.verdict.value for one in found}
    if "burning" in verdicts:
        raise typer.Exit(_BURNING)
    if "unknown" in verdicts or not found:
        raise typer.Exit(_UNKNOWN)


def _look(slos: Sequence[SLO], others: Sequence[SLO], source: CounterSource, now: float) -> list[GroupStatus]:
    """Return where `slos` stand; the stages of chains are found among `others`."""
    from mlops_obs.slo.verdict import slo_status

    return [one for slo in slos for one in slo_status(slo, source, now, others)]


def _follow(slos: Sequence[SLO], others: Sequence[SLO], source: CounterSource, pause: float, structured: bool) -> list[GroupStatus]:
    """Look again and again until Ctrl-C; return what was last seen."""
    from contextlib import nullcontext

    from rich.console import Console
    from rich.live import Live

    found: list[GroupStatus] = []
    seen_at = 0.0
    console = Console()
    live = nullcontext(None) if structured else Live(console=console, auto_refresh=False, vertical_overflow="visible")
    try:
        with live as screen:
            while True:
                problem = ""
                try:
                    now = time.time()
                    found, seen_at = _look(slos, others, source, now), now
                except TelemetryUnavailable as error:
                    problem = str(error)
                if screen is not None:
                    screen.update(table(found, seen_at, problem, time.time(), width=console.width), refresh=True)
                else:
                    typer.echo(json.dumps({"at": seen_at, "problem": problem or None, "slos": [document(one) for one in found]}))
                time.sleep(pause)
    except KeyboardInterrupt:
        return found


def document(one: GroupStatus) -> dict[str, object]:
    """Return a status as plain data; ratios and shares are None where there is nothing to divide."""
    return {
        "service": one.slo.service,
        "team": one.slo.team,
        "slo": one.slo.name,
        "group": dict(one.group),
        "verdict": one.verdict.value,
        "objective": float(one.slo.objective),
        "period": one.slo.period,
        "bad": one.bad,
        "total": one.total,
        "error_ratio": one.error_ratio,
        "burn_rate": one.burn_rate,
        "budget_remaining": one.budget_remaining,
        "seconds_to_exhaustion": one.seconds_to_exhaustion,
        "tiers": list(one.tiers),
        "policy": policy_of(one) or None,
    }


def policy_of(one: GroupStatus) -> str:
    """Return the sternest action of the budget policy in force; empty for a group, and where nothing is known."""
    from mlops_obs.slo.policy import in_force

    rungs = in_force(one.slo, None if one.group or one.verdict.value == "unknown" else one.budget_remaining)
    return rungs[-1].action if rungs else ""


def table(found: Sequence[GroupStatus], seen_at: float, problem: str = "", now: float = 0.0, *, width: int = _WIDE) -> RenderableType:
    """Return the table as it stood at `seen_at`; with a `problem` nothing in it is current, and it says so (Unix seconds).

    A screen of less than 112 columns gets no bars, so that no column is cut off.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    policed = any(policy_of(one) for one in found)
    rows = [_cells(one, old=bool(problem), bars=width >= _WIDE) for one in found]
    for index, name in enumerate(
        ("SLO", "VERDICT", "BAD / ALL", "BURN", "BUDGET LEFT" if width >= _WIDE else "LEFT", "GONE IN", *(["POLICY"] if policed else []))
    ):
        # Names and numbers are never cut off, headings may be.
        widest = max((Text.from_markup(row[index]).cell_len for row in rows), default=0)
        grid.add_column(name, justify="left" if name in ("SLO", "VERDICT", "POLICY") else "right", no_wrap=True, min_width=widest)
    for row in rows:
        grid.add_row(*row[: 7 if policed else 6])
    lines: list[RenderableType] = [grid, Text(_summary(found, seen_at), style="dim")]
    if problem:
        from mlops_obs.durations import humanize_duration

        age = f"nothing above is newer than {humanize_duration(now - seen_at)}" if seen_at else "nothing is known yet"
        lines.append(Text(f"{problem}\n{age}", style="bold yellow"))
    return Group(*lines)


def _cells(one: GroupStatus, *, old: bool, bars: bool) -> list[str]:
    from rich.markup import escape

    from mlops_obs.durations import humanize_duration

    gone, burn = one.seconds_to_exhaustion, one.burn_rate
    idle = burn is None and one.verdict.value == "healthy"
    verdict = one.tiers[0] if one.tiers else "healthy (idle)" if idle else one.verdict.value
    shown = f"[yellow]unknown[/] [dim](was {verdict})[/]" if old else f"[{_COLOURS[one.verdict.value]}]{verdict}[/]"
    known, rung = one.verdict.value != "unknown", policy_of(one)
    lasts = burn is None or burn <= 1  # the budget outlives its period
    return [
        f"{one.slo.service} {one.slo.name}" if not one.group else f"  {escape(' '.join(one.group.values()))}",
        shown,
        f"{one.bad:,.0f} / {one.total:,.0f}",
        "-" if burn is None else f"{burn:.1f}x",
        f"{f'{_bar(one)} ' if bars else ''}{one.budget_remaining * 100:6.1f} %" if known else "-",
        "exhausted" if gone == 0 else "-" if gone is None or lasts else humanize_duration(gone),
        f"[{_RUNG_COLOURS[rung]}]{rung}[/]" if rung else "",
    ]


def _bar(one: GroupStatus) -> str:
    """Draw what is left of the budget in eighths of a cell."""
    share = min(max(one.budget_remaining, 0.0), 1.0)
    full, part = divmod(round(share * _CELLS * 8), 8)
    cells = ("█" * full + (_EIGHTHS[part] if part else "")).ljust(_CELLS)
    colour = "red" if one.budget_remaining <= 0 else "yellow" if one.budget_remaining < 0.25 else "green"
    return f"[{colour}]{cells}[/]"


def _summary(found: Sequence[GroupStatus], seen_at: float) -> str:
    from collections import Counter

    whole = [one for one in found if not one.group]
    counted = Counter(one.verdict.value for one in whole)
    parts = [f"{counted[name]} {name}" for name in ("burning", "unknown", "healthy") if counted[name]]
    frozen = sorted({one.slo.service for one in whole if policy_of(one) in ("freeze", "rollback")})
    held = f"; the budget policy freezes promotions of {', '.join(frozen)}" if frozen else ""
    many = "1 SLO" if len(whole) == 1 else f"{len(whole)} SLOs"
    return f"{many} at {time.strftime('%H:%M:%S', time.localtime(seen_at))}: {', '.join(parts) or 'nothing is known'}{held}"
