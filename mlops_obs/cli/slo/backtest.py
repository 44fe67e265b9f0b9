"""`obs slo backtest`: which pages would have come, and whether they were about anything."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.shared import Output, Specs, as_json, load
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.paging.backtest import Outcome
    from mlops_obs.paging.replay import Page
    from mlops_obs.slo.backtest import Proposal, Score
    from mlops_obs.slo.recordings import Recordings
    from mlops_obs.slo.spec import SLO

DAY = 86_400
Source = Annotated[
    str,
    typer.Option(
        "--from",
        help="prometheus=URL, a CSV of counts (time,service,slo,bad,total; a row for every 5 minutes, 0,0 while idle: a missing row is "
        "missing telemetry), or an OpenMetrics file.",
    ),
]


def backtest(
    specs: Specs,
    source: Source,
    incidents: Annotated[Path | None, typer.Option(help="CSV of what really happened: start,end,service,slo,note.")] = None,
    tiers: Annotated[
        str, typer.Option(help="Sets to compare: yours, workbook, plain (no statistical proof), or files of specs.")
    ] = "yours,workbook,plain",
    start: Annotated[str, typer.Option(help="First moment, Unix or ISO 8601; default: 30 days before the end, or all of a file.")] = "",
    end: Annotated[str, typer.Option(help="Last moment; default: now, or all of a file.")] = "",
    step: Annotated[
        int, typer.Option(min=0, max=300, help="Seconds between evaluations of raw counters; 0: 60, or 300 beyond two weeks.")
    ] = 0,
    proposals: Annotated[bool, typer.Option("--propose/--no-propose", help="Search for better page tiers.")] = True,
    show: Annotated[int, typer.Option(min=0, help="How many pages to list.")] = 20,
    output: Output = "text",
) -> None:
    """Replay history through recordings, alerts, grouping and inhibition, for several sets of alert tiers.

    Raw history of less than two weeks is evaluated every minute, recorded counts every 5 minutes.
    """
    from mlops_obs.adapters.history_files import read_incidents
    from mlops_obs.adapters.routing_file import routing_of
    from mlops_obs.paging.backtest import backtest as run
    from mlops_obs.slo.backtest import candidate_windows, concerned, propose, tier_set
    from mlops_obs.slo.replay import raw_windows

    slos = load(specs, replan=True)
    told = read_incidents(incidents) if incidents else []
    sets = {name: _named(name, slos) or tier_set(name, slos) for name in _names(tiers)}
    windows = sorted({*candidate_windows(slos), *(window for one in sets.values() for window in raw_windows(one))})
    recorded = read(source, slos, windows, start=moment(start), end=moment(end), step=step)
    at = next(iter(recorded.values())).at
    if len(at) < 2:
        raise UsageError("OBS-HIST-004", "the history is a single moment", where=source, todo="check --start and --end, or take more of it")
    real = concerned(told, slos, float(at[0]), float(at[-1]))
    if len(real) < len(told):
        typer.echo(f"{len(told) - len(real)} of {len(told)} incidents are about other SLOs or another time, and not judged", err=True)
    delays = routing_of(None, specs[0].parent, None).delays
    found = [run(name, one, recorded, delays, real) for name, one in sets.items()]
    better = propose(slos, recorded, real) if proposals else []
    if as_json(output):
        typer.echo(json.dumps(_document(found, better, recorded, slos), indent=2))
    else:
        _print(found, better, recorded, slos, show, judged=bool(real))


def read(
    source: str, slos: Sequence[SLO], windows: Sequence[int], *, start: float | None, end: float | None, step: int = 0
) -> dict[str, Recordings]:
    """Return the recordings of `slos` from where `--from` says."""
    from mlops_obs.adapters.history import read_history, read_prometheus

    if source.startswith(("prometheus=", "http://", "https://")):
        until = end if end is not None else time.time()
        since = start if start is not None else until - 30 * DAY
        return read_prometheus(source.removeprefix("prometheus="), slos, windows, since, until)
    since, until = -math.inf if start is None else start, math.inf if end is None else end
    return read_history(Path(source), slos, windows, start=since, end=until, step=step or None)


def _names(tiers: str) -> list[str]:
    found = [one.strip() for one in tiers.split(",") if one.strip()]
    if not found:
        raise UsageError("OBS-CLI-001", "no set of tiers is named", todo="write --tiers yours,workbook,plain")
    wrong = [one for one in found if one not in ("yours", "workbook", "plain") and not Path(one).exists()]
    if wrong:
        raise UsageError(
            "OBS-CLI-001", f"unknown tiers {wrong[0]!r}", todo="write yours, workbook, plain, or the path of a spec with tiers"
        )
    return found


def _named(name: str, slos: Sequence[SLO]) -> list[SLO] | None:
    """Return `slos` with the tiers that the spec at the path `name` gives to SLOs of the same name; None if it is no path."""
    if name in ("yours", "workbook", "plain"):
        return None
    others = {slo.ref: slo for slo in load([Path(name)], replan=True)}
    return [others.get(slo.ref, slo) for slo in slos]


def moment(text: str) -> float | None:
    """Return Unix seconds of what somebody wrote as a moment; None for nothing."""
    if not text:
        return None
    from mlops_obs.adapters.history_files import unix_seconds

    try:
        return unix_seconds(text)
    except ValueError as error:
        raise UsageError("OBS-CLI-001", str(error), todo="write Unix seconds, or for example 2026-11-01T00:00:00Z") from None


def _print(
    found: Sequence[Outcome],
    better: Sequence[Proposal],
    recorded: Mapping[str, Recordings],
    slos: Sequence[SLO],
    show: int,
    *,
    judged: bool,
) -> None:
    from rich.console import Console
    from rich.table import Table

    at = next(iter(recorded.values())).at
    console = Console(width=max(Console().width, 120))  # a table that is cut says nothing; a narrow terminal wraps it
    console.print(
        f"{len(slos)} SLOs, {_when(at[0])} to {_when(at[-1])} ({(at[-1] - at[0]) / DAY:.1f} d), evaluated every {at[1] - at[0]} s"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("TIERS", "PAGES", "TICKETS", "PAGES/WEEK", "PRECISION", "RECALL", "DETECT (MEDIAN)", "DETECT (WORST)"):
        table.add_column(name, justify="left" if name == "TIERS" else "right", no_wrap=True)
    for one in found:
        score = one.score
        table.add_row(
            one.tiers, str(score.pages), str(score.tickets), f"{score.pages_per_week:.2f}", _share(score.precision), _share(score.recall),
            _lasting(score.detect), _lasting(score.detect_worst),
        )  # fmt: skip
    console.print(table)
    for page in found[0].pages[:show]:
        typer.echo(f"  {_when(page.opened)}  {page.severity:<6}  {_about(page)}")
    if len(found[0].pages) > show:
        typer.echo(f"  and {len(found[0].pages) - show} more; -o json lists them all")
    for missed in found[0].score.missed[:show]:
        typer.echo(f"  missed: {_when(missed.start)} {missed.service} {missed.slo} {missed.note}".rstrip())
    if better:
        _print_proposals(console, better, slos, found[0].score, judged=judged)


def _print_proposals(console: object, better: Sequence[Proposal], slos: Sequence[SLO], now: Score, *, judged: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from mlops_obs.slo.backtest import outage_seconds, recommend

    assert isinstance(console, Console)  # noqa: S101 - only its type is imported late
    typer.echo("\nPage tiers of which none is worse than another in everything (share of the budget / long window, for 30 days):")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("QUICK", "SLOW", "BOUND", "PAGES/WEEK", "FALSE/WEEK", "RECALL", "DETECT", "TOTAL OUTAGE"):
        table.add_column(name, justify="left" if name in ("QUICK", "SLOW", "BOUND") else "right", no_wrap=True)
    for one in better:
        table.add_row(
            *(f"{share * 100:.0f} % / {window / 3600:g} h" for share, window in (one.quick, one.slow)),
            "on" if one.bound else "off",
            f"{one.pages_per_week:.2f}",
            "-" if one.false_per_week is None else f"{one.false_per_week:.2f}",
            _share(one.recall) if judged else "-",
            _lasting(one.detect),
            _lasting(one.outage),
        )
    console.print(table)
    best = recommend(better, now, outage_seconds(slos))
    if best is None:
        typer.echo("\nNone of them is better than what you have.")
        return
    typer.echo(f"\nBetter than what you have, written for {slos[0].ref} (add the tickets that you want to keep):")
    typer.echo("    tiers:")
    for tier in best.tiers(slos[0]):
        typer.echo(f"      - {{name: {tier.name}, severity: page, factor: {tier.factor:.6g}, long: {tier.long}, short: {tier.short}}}")
    typer.echo("    statistical_bound: on" if best.bound else "    statistical_bound: off\n    min_bad_events: 1")


def _document(
    found: Sequence[Outcome], better: Sequence[Proposal], recorded: Mapping[str, Recordings], slos: Sequence[SLO]
) -> dict[str, object]:
    at = next(iter(recorded.values())).at
    return {
        "from": int(at[0]),
        "to": int(at[-1]),
        "evaluated_every": int(at[1] - at[0]),
        "slos": [slo.ref for slo in slos],
        "tiers": [
            {
                "name": one.tiers,
                "pages": one.score.pages,
                "tickets": one.score.tickets,
                "pages_per_week": one.score.pages_per_week,
                "precision": one.score.precision,
                "recall": one.score.recall,
                "detect_seconds": one.score.detect,
                "detect_worst_seconds": one.score.detect_worst,
                "missed": [{"start": miss.start, "end": miss.end, "service": miss.service, "slo": miss.slo} for miss in one.score.missed],
                "told": [
                    {
                        "opened": page.opened,
                        "ended": page.ended,
                        "receiver": page.receiver,
                        "severity": page.severity,
                        "alerts": [dict(a) for a in page.alerts],
                    }
                    for page in one.pages
                ],
            }
            for one in found
        ],
        "proposals": [
            {
                "quick": {"share": float(one.quick[0]), "long_seconds": one.quick[1]},
                "slow": {"share": float(one.slow[0]), "long_seconds": one.slow[1]},
                "bound": one.bound,
                "pages_per_week": one.pages_per_week,
                "false_per_week": one.false_per_week,
                "recall": one.recall,
                "detect_seconds": one.detect,
                "outage_seconds": one.outage,
            }
            for one in better
        ],
    }


def _about(page: Page) -> str:
    alerts = sorted({f"{one['alertname']} {one.get('slo', '')} ({one.get('tier', '')})" for one in page.alerts})
    lasted = "still open" if page.ended is None else _lasting(page.ended - page.opened)
    more = f" and {len(alerts) - 2} more" if len(alerts) > 2 else ""
    return f"{' '.join(page.group.values())}: {', '.join(alerts[:2])}{more}, {lasted}"


def _when(at: float) -> str:
    return datetime.fromtimestamp(float(at), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.0f} %"


def _lasting(seconds: float | None) -> str:
    from mlops_obs.durations import humanize_duration

    return "-" if seconds is None else humanize_duration(seconds)
