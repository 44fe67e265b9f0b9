"""`obs page`: explain an alert before it wakes anybody, and prove that a page gets through."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.paging.explain import AlertRule
    from mlops_obs.slo.spec import SLO

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]
Routing = Annotated[Path | None, typer.Option("--routing", help="Routing file; default: slo/paging/routing.yaml if it is there.")]
_FAILED = 1


@app.command()
def explain(
    alert: Annotated[str, typer.Argument(help="The alert's name, for example AvailabilityBudgetBurn.")],
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: slo/.")] = None,
    only: Annotated[str | None, typer.Option("--slo", help="Only this SLO: its name, or service/name.")] = None,
    rules: Annotated[list[Path] | None, typer.Option("--rules", help="Look for ALERT in these rule files, whoever made them.")] = None,
    routing: Routing = None,
) -> None:
    """Say what ALERT means here: which SLO, what condition, how soon it fires, who is told, what it silences, where its runbook is."""
    from mlops_obs.adapters.files import load_slos, load_yaml
    from mlops_obs.adapters.routing_file import routing_of
    from mlops_obs.paging import explain as words
    from mlops_obs.paging.plan import STANDARD, plan_of

    found = [one for path in rules or () for one in words.alert_rules(load_yaml(path)[0])]
    known = sorted({*words.known_alerts(), *(one.name for one in found)})
    if alert not in known:
        raise UsageError("OBS-PAGE-004", f"no alert is called {alert!r}", todo=f"known: {', '.join(known)}")
    # An alert about the platform has no SLO, and other people's alerts need none, so none is read.
    slos = load_slos(*(specs or [Path("slo")])) if specs or (not rules and words.needs_slos(alert)) else []
    who = routing_of(routing, Path("slo"), None)
    plan = plan_of(slos, sorted(who.teams), who.grouping) if slos else STANDARD
    chosen = [slo for slo in slos if only in (None, slo.name, f"{slo.service}/{slo.name}")]
    if slos and not chosen:
        names = ", ".join(f"{slo.service}/{slo.name}" for slo in slos)
        raise UsageError("OBS-PAGE-013", f"no SLO is called {only!r}", todo=f"known: {names}")
    wanted = {(slo.service, slo.name) for slo in chosen}
    found = found or [one for one in _rules(slos) if not wanted or (one.labels.get("service"), one.labels.get("slo")) in wanted]
    typer.echo(words.explain(alert, found, slos, plan, who.delays), nl=False)


@app.command("test")
def send_test(
    team: Annotated[str, typer.Option(help="Whose route is tried.")],
    env: Env = None,
    alertmanager: Annotated[str | None, typer.Option(help="Alertmanager's URL; default: the one that Prometheus uses.")] = None,
    lasts: Annotated[str, typer.Option(help="How long the test alert fires.")] = "1m",
    severity: Annotated[str, typer.Option(help="page or ticket: which route of the team is tried.")] = "page",
) -> None:
    """Send a page marked as a test along the real route: Alertmanager if there is one, else the inbox directly. Names the receiver."""
    from mlops_obs.adapters.alertmanager import alertmanager_of, post_webhook, receivers_of, send_alert
    from mlops_obs.cli import wiring
    from mlops_obs.durations import parse_duration
    from mlops_obs.paging.page import make_test_alert, make_test_payload

    if severity not in ("page", "ticket"):
        raise UsageError("OBS-PAGE-012", f"{severity!r} is not a severity", todo="write --severity page or --severity ticket")
    environment = wiring.load_environment(env)
    now = datetime.now(UTC)
    labels, annotations = make_test_alert(environment.service, team, severity, now.strftime("%H%M%S"))
    prometheus = environment.metrics.prometheus
    if alertmanager or prometheus:
        url = alertmanager or alertmanager_of(str(prometheus))
        send_alert(url, labels, annotations, now, timedelta(seconds=float(parse_duration(lasts))))
        chosen = receivers_of(url, labels)
        typer.echo(f"test {severity} handed to Alertmanager at {url}")
        if not chosen:
            typer.echo("Alertmanager took it and has not shown its receiver yet", err=True)
        elif chosen == ["unrouted"]:
            typer.echo(f"no route is for team {team}: it goes to the receiver `unrouted`; is the team in an SLO file?", err=True)
            raise typer.Exit(_FAILED)
        else:
            typer.echo(f"it goes to the receiver {' and '.join(chosen)}, after the group_wait of that route")
    elif environment.inbox:
        post_webhook(f"{environment.inbox.rstrip('/')}/alerts", make_test_payload(labels, annotations, now.isoformat()))
        typer.echo(f"test {severity} delivered to the inbox at {environment.inbox}, as the embedded engine does for team {team}")
    else:
        raise UsageError(
            "OBS-PAGE-005", "nobody would be paged", where=str(environment.path), todo="set inbox: URL or metrics: {prometheus: URL}"
        )


@app.command("routes-test")
def routes_test(
    tests: Annotated[Path, typer.Argument(help="Route tests, as obs slo render writes them.")] = Path("slo/tests/paging/routes.yaml"),
    config: Annotated[Path | None, typer.Option(help="Alertmanager's configuration; default: the one that the tests name.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="text or json.")] = "text",
) -> None:
    """Run route and inhibition tests on a real Alertmanager, started for it on a free port; nobody is paged. Exit code 1: one failed."""
    import tempfile

    import yaml

    from mlops_obs.adapters.alertmanager_trial import check_config, run_cases
    from mlops_obs.adapters.files import load_yaml
    from mlops_obs.paging.case_file import parse_cases

    if output not in ("text", "json"):
        raise UsageError("OBS-CLI-001", f"unknown output {output!r}", todo="write -o text or -o json")
    named, cases = parse_cases(*load_yaml(tests))
    path = config or Path(os.path.normpath(tests.parent / named))
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise SpecError("OBS-PAGE-011", f"cannot be read: {_first_line(error)}", todo="run obs slo render", where=str(path)) from error
    unsound = check_config(path)
    if unsound:
        raise SpecError("OBS-PAGE-011", f"amtool refuses it: {_first_line(unsound)}", todo="correct that", where=str(path))
    with tempfile.TemporaryDirectory(prefix="obs-routes-") as folder:
        problems = run_cases(document, cases, Path(folder))
    _report(path, [case.name for case in cases], problems, amtool=unsound is not None, as_json=output == "json")
    if any(problems):
        raise typer.Exit(_FAILED)


def _report(config: Path, names: list[str], problems: list[list[str]], *, amtool: bool, as_json: bool) -> None:
    if as_json:
        found = [{"case": name, "passed": not one, "problems": one} for name, one in zip(names, problems, strict=True)]
        typer.echo(json.dumps(found, indent=2))
        return
    for name, one in zip(names, problems, strict=True):
        if one:
            typer.echo(f"FAILED {name}")
            for problem in one:
                typer.echo(f"       {problem}")
    failed = sum(1 for one in problems if one)
    checked = "checked by amtool" if amtool else "amtool is not installed, so its own check was left out"
    typer.echo(f"{len(names) - failed} of {len(names)} route cases pass on a real Alertmanager with {config} ({checked})")


def _rules(slos: list[SLO]) -> list[AlertRule]:
    import yaml

    from mlops_obs.cli.slo.render import by_service
    from mlops_obs.paging.explain import alert_rules
    from mlops_obs.slo.rules.prometheus_rules import render_platform_rules, render_rules

    texts = [render_rules(mine, among=slos) for _, mine in by_service(slos)] or [render_platform_rules()]
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [one for text in texts for one in alert_rules(yaml.load(text, Loader=loader))]  # noqa: S506 - a safe loader, in C where there is one


def _first_line(problem: object) -> str:
    return " ".join(str(problem).split())[:300]
