"""`obs slo`: check SLO specs, compile them to rules, routing and tests, and show where the budgets stand."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.slo.spec import SLO
    from mlops_obs.slo.verdict import GroupStatus

app = typer.Typer(no_args_is_help=True, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

Specs = Annotated[list[Path], typer.Argument(help="SLO files, or folders of them.")]
Replan = Annotated[bool, typer.Option("--replan", help="Stretch alert windows that could never fire, instead of refusing them.")]
Env = Annotated[Path | None, typer.Option("--env", help="Environment file (default: $OBS_ENV, else ./obs.yaml).")]
Output = Annotated[str, typer.Option("-o", "--output", help="text or json.")]
_BURNING, _UNKNOWN = 3, 4


@app.command()
def check(specs: Specs, replan: Replan = False, output: Output = "text") -> None:
    """Read SPECS and prove that every alert can fire; print how soon each does under a total outage."""
    from mlops_obs.slo.tiers import describe, plan_tiers

    slos = _load(specs, replan=replan)
    if _json(output):
        found = [
            {
                "service": slo.service,
                "slo": slo.name,
                "tier": tier.name,
                "error_ratio": float(tier.threshold),
                "outage_seconds": tier.seconds_to_fire,
            }
            for slo in slos
            for tier in plan_tiers(slo)
        ]
        typer.echo(json.dumps(found, indent=2))
        return
    for slo in slos:
        typer.echo(f"{slo.service} {slo.name}: {(slo.objective * 100).normalize():f} % over {slo.period}, {slo.indicator.type}")
        for tier in plan_tiers(slo):
            typer.echo(f"  {describe(tier)}")


@app.command("compile")
def compile_specs(
    specs: Specs,
    out: Annotated[Path, typer.Option(help="Folder for rules and routing; tests go to `tests` beside it.")] = Path("slo/generated"),
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if a file is missing or not current.")] = False,
    replan: Replan = False,
    interval: Annotated[str, typer.Option(help="How often Prometheus evaluates the rules.")] = "30s",
    webhook: Annotated[str, typer.Option(help="Where Alertmanager sends pages and tickets.")] = "http://127.0.0.1:9099/alerts",
    dashboards: Annotated[str, typer.Option(help="Base URL of dashboards in pages.")] = "http://localhost:3000/d",
    runbooks: Annotated[str, typer.Option(help="Base URL of runbooks in pages.")] = "http://localhost:3000/runbooks",
) -> None:
    """Compile SPECS to Prometheus rules, Alertmanager routing and promtool tests. Same input, same bytes."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.paging.alertmanager import render_config
    from mlops_obs.slo.annotations import Links
    from mlops_obs.slo.prometheus_rules import render_platform_rules, render_rules
    from mlops_obs.slo.rule_tests import render_tests

    slos = sorted(_load(specs, replan=replan), key=lambda slo: slo.service)
    links = Links(dashboards=dashboards.rstrip("/"), runbooks=runbooks.rstrip("/"))
    tests = out.parent / "tests"
    files = {
        out / "platform-rules.yaml": render_platform_rules(evaluation_interval=interval, links=links),
        out / "alertmanager.yaml": render_config(slos, webhook),
    }
    for service, group in groupby(slos, key=lambda slo: slo.service):
        mine = list(group)
        rules = f"{service}-rules.yaml"
        files[out / rules] = render_rules(mine, evaluation_interval=interval, links=links)
        files[tests / f"{service}-tests.yaml"] = render_tests(mine, [f"../{out.name}/{rules}"])
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check_only:
        if stale:
            raise UsageError("OBS-SLO-012", f"not current: {', '.join(map(str, stale))}", todo="run obs slo compile and commit the result")
        typer.echo(f"{len(files)} files are current")
        return
    for path in stale:
        write_atomically(path, files[path])
    typer.echo(f"{len(stale)} of {len(files)} files written: {', '.join(map(str, stale)) or 'all were current'}")


@app.command()
def status(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files; default: the environment's, else slo/.")] = None,
    env: Env = None,
    output: Output = "text",
) -> None:
    """Show where every SLO stands now. Exit code 0: healthy, 3: something burns, 4: something is unknown."""
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.cli import wiring
    from mlops_obs.slo.verdict import Verdict, slo_status

    environment = wiring.load_environment(env)
    slos = load_slos(*(specs or environment.slos or [Path("slo")]))
    source, now = wiring.counter_source(environment), time.time()
    found = [one for slo in slos for one in slo_status(slo, source, now)]
    if _json(output):
        typer.echo(json.dumps([_document(one) for one in found], indent=2))
    else:
        _print_table(found)
    verdicts = {one.verdict for one in found}
    if Verdict.BURNING in verdicts:
        raise typer.Exit(_BURNING)
    if Verdict.UNKNOWN in verdicts:
        raise typer.Exit(_UNKNOWN)


def _load(specs: Sequence[Path], *, replan: bool) -> list[SLO]:
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.slo.tiers import plan_all

    slos = load_slos(*specs)
    if replan:
        slos = [slo.model_copy(update={"replan": True}) for slo in slos]
    plan_all(slos)
    return slos


def _json(output: str) -> bool:
    if output not in ("text", "json"):
        raise UsageError("OBS-CLI-001", f"unknown output {output!r}", todo="write -o text or -o json")
    return output == "json"


def _document(one: GroupStatus) -> dict[str, object]:
    return {
        "service": one.slo.service,
        "slo": one.slo.name,
        "group": dict(one.group),
        "verdict": one.verdict.value,
        "objective": float(one.slo.objective),
        "bad": one.bad,
        "total": one.total,
        "error_ratio": one.error_ratio,
        "burn_rate": one.burn_rate,
        "budget_remaining": one.budget_remaining,
        "seconds_to_exhaustion": one.seconds_to_exhaustion,
        "tiers": list(one.tiers),
    }


def _print_table(found: Sequence[GroupStatus]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mlops_obs.durations import humanize_duration

    colours = {"healthy": "green", "burning": "red", "unknown": "yellow"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("SLO", "VERDICT", "BAD / ALL", "BURN", "LEFT", "GONE IN"):
        table.add_column(name, justify="left" if name in ("SLO", "VERDICT") else "right", no_wrap=True)
    for one in found:
        whole = not one.group
        gone = one.seconds_to_exhaustion
        idle = one.burn_rate is None and one.verdict == "healthy"
        verdict = one.tiers[0] if one.tiers else "healthy (idle)" if idle else one.verdict.value
        lasts = one.burn_rate is None or one.burn_rate <= 1  # the budget outlives its period
        table.add_row(
            f"{one.slo.service} {one.slo.name}" if whole else f"  {' '.join(one.group.values())}",
            f"[{colours[one.verdict.value]}]{verdict}[/]",
            f"{one.bad:.0f} / {one.total:.0f}",
            "-" if one.burn_rate is None else f"{one.burn_rate:.1f}x",
            "-" if one.verdict == "unknown" else f"{one.budget_remaining * 100:.1f} %",
            "exhausted" if gone == 0 else "-" if gone is None or lasts else humanize_duration(gone),
        )
    Console().print(table)
