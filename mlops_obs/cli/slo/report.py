"""`obs slo report`: what a team's objectives cost in a month, as a page for people and as Markdown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.shared import Env
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.cli.wiring import Environment
    from mlops_obs.dashboards.slo_report_words import TeamReport
    from mlops_obs.slo.accounts import History
    from mlops_obs.slo.spec import SLO


def report(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: the environment's, else slo/.")] = None,
    env: Env = None,
    month: Annotated[str | None, typer.Option(help="Which month, e.g. 2026-11; default: the present one, as far as it is.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team; default: a report for each.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the reports.")] = Path("out/slo-report"),
    kind: Annotated[str, typer.Option("--format", help="html, md, or both.")] = "both",
) -> None:
    """Write a report per team: objectives met and missed, budgets spent, and the incidents that spent them."""
    from mlops_obs.adapters.files import load_slos, write_atomically
    from mlops_obs.cli import wiring
    from mlops_obs.dashboards.slo_report import render_slo_report
    from mlops_obs.dashboards.slo_report_markdown import render_markdown

    if kind not in ("html", "md", "both"):
        raise UsageError("OBS-REP-002", f"unknown format {kind!r}", todo="write --format html, md or both")
    now = time.time()
    chosen = month or datetime.fromtimestamp(now, UTC).strftime("%Y-%m")
    environment = wiring.load_environment(env)
    slos = load_slos(*(specs or environment.slos or [Path("slo")]))
    teams = sorted({slo.team for slo in slos} if team is None else {slo.team for slo in slos} & {team})
    if not teams:
        raise UsageError("OBS-REP-003", f"no SLO is team {team}'s", todo=f"known: {', '.join(sorted({slo.team for slo in slos}))}")
    history = _history(environment, slos, now)
    for one in teams:
        made = make_report(one, chosen, [slo for slo in slos if slo.team == one], history, now)
        for suffix, render in (("html", render_slo_report), ("md", render_markdown)):
            if kind in (suffix, "both"):
                path = out / f"{chosen}-{one}.{suffix}"
                write_atomically(path, render(made))
                typer.echo(str(path))


def make_report(team: str, month: str, slos: Sequence[SLO], history: History, now: float) -> TeamReport:
    """Draw up the accounts of a team's SLOs for `month`, and what else is known of their services.

    Raises:
        UsageError: OBS-REP-001 if `month` is none, OBS-REP-004 if it has not begun.
        TelemetryUnavailable: the metrics did not answer in full.
    """
    from mlops_obs.dashboards.slo_report_words import TeamReport
    from mlops_obs.slo.accounts import account, month_bounds

    accounts = []
    for slo in slos:
        start, end = month_bounds(month, slo.time_zone)
        if start >= now:
            raise UsageError("OBS-REP-004", f"{month} has not begun", todo="choose a month that has")
        accounts.append(account(slo, history.counts(slo, start, end), start, end, now))
    start, end = min(one.start for one in accounts), max(one.end for one in accounts)
    services = sorted({slo.service for slo in slos})
    fired = {service: history.alerts(service, start, end) for service in services}
    acts = {service: history.acts(service, start, end) for service in services}
    return TeamReport(team, month, accounts, now, fired, acts)


def _history(environment: Environment, slos: Sequence[SLO], now: float) -> History:
    from mlops_obs.adapters.prometheus import PrometheusCounters
    from mlops_obs.cli import wiring

    if environment.metrics.prometheus:
        from mlops_obs.adapters.recorded_history import RecordedHistory

        return RecordedHistory(PrometheusCounters(environment.metrics.prometheus, timeout=60.0), slos, now)
    from mlops_obs.slo.raw_history import RawHistory

    return RawHistory(wiring.counter_source(environment), slos, now)
