"""`obs page`: explain an alert before it wakes anybody, and prove that a page gets through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.errors import UsageError

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]


@app.command()
def explain(
    alert: Annotated[str, typer.Argument(help="The alert's name, for example AvailabilityBudgetBurn.")],
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: slo/.")] = None,
) -> None:
    """Say what ALERT means here: which SLO, what condition, how soon it fires, and where its runbook is."""
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.durations import format_duration
    from mlops_obs.slo import annotations as words
    from mlops_obs.slo.platform_alerts import PLATFORM_ALERTS
    from mlops_obs.slo.prometheus_rules import absent_expr, burn_expr, platform_expr
    from mlops_obs.slo.tiers import describe, plan_tiers

    if found := [one for one in PLATFORM_ALERTS if one.name == alert]:  # has no SLO, so none is read
        typer.echo(f"{alert}: {found[0].meaning}\n")
        typer.echo("\n".join(f"    {line}" for line in f"{platform_expr(found[0])}   for {format_duration(found[0].hold)}".splitlines()))
    elif alert in words.ALERTS.values():
        mine = [slo for slo in load_slos(*(specs or [Path("slo")])) if words.alert_name(slo) == alert]
        typer.echo(f"{alert}: the error budget of an SLO is being spent too fast.")
        for slo in mine:
            typer.echo(f"\n{slo.service} {slo.name} (team {slo.team}): {slo.description}")
            typer.echo(
                f"  objective {(slo.objective * 100).normalize():f} % over {slo.period}, so {(slo.budget * 100).normalize():f} % may be bad"
            )
            for tier in plan_tiers(slo):
                typer.echo(f"\n  {tier.severity.upper()} {describe(tier)}\n")
                typer.echo("\n".join(f"    {line}" for line in burn_expr(slo, tier).splitlines()))
        if not mine:
            typer.echo("No SLO here has it.")
    elif alert == words.TELEMETRY_ABSENT:
        typer.echo(f"{alert}: the counters of an SLO were there and are gone; idle services still export theirs.")
        for slo in words.watched(load_slos(*(specs or [Path("slo")]))):
            typer.echo(f"\n{slo.service} {slo.name} (team {slo.team})\n")
            typer.echo("\n".join(f"    {line}" for line in absent_expr(slo).splitlines()))
    else:
        known = sorted([*words.ALERTS.values(), words.TELEMETRY_ABSENT, *(one.name for one in PLATFORM_ALERTS)])
        raise UsageError("OBS-PAGE-004", f"no alert is called {alert!r}", todo=f"known: {', '.join(known)}")
    typer.echo(f"\nRunbook: runbooks/{alert}.md")


@app.command("test")
def send_test(
    team: Annotated[str, typer.Option(help="Whose route is tried.")],
    env: Env = None,
    alertmanager: Annotated[str | None, typer.Option(help="Alertmanager's URL; default: the one that Prometheus uses.")] = None,
    lasts: Annotated[str, typer.Option(help="How long the test alert fires.")] = "1m",
) -> None:
    """Send a page marked as a test along the real route: Alertmanager if there is one, else the inbox directly."""
    from mlops_obs.adapters.alertmanager import alertmanager_of, post_webhook, send_alert
    from mlops_obs.cli import wiring
    from mlops_obs.durations import parse_duration
    from mlops_obs.paging.page import make_test_alert, make_test_payload

    environment = wiring.load_environment(env)
    now = datetime.now(UTC)
    labels, annotations = make_test_alert(environment.service, team)
    prometheus = environment.metrics.prometheus
    if alertmanager or prometheus:
        url = alertmanager or alertmanager_of(str(prometheus))
        send_alert(url, labels, annotations, now, timedelta(seconds=float(parse_duration(lasts))))
        typer.echo(f"test page handed to Alertmanager at {url}; it arrives after the group_wait of the route of team {team}")
    elif environment.inbox:
        post_webhook(f"{environment.inbox.rstrip('/')}/alerts", make_test_payload(labels, annotations, now.isoformat()))
        typer.echo(f"test page delivered to {environment.inbox}")
    else:
        raise UsageError(
            "OBS-PAGE-005", "nobody would be paged", where=str(environment.path), todo="set inbox: URL or metrics: {prometheus: URL}"
        )
