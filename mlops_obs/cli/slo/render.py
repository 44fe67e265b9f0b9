"""`obs slo render`: specs compiled to Prometheus rules, Alertmanager routing and promtool tests."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.cli.slo.shared import Replan, Specs, load
from mlops_obs.errors import UsageError


def render(
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

    slos = sorted(load(specs, replan=replan), key=lambda slo: slo.service)
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
            raise UsageError("OBS-SLO-012", f"not current: {', '.join(map(str, stale))}", todo="run obs slo render and commit the result")
        typer.echo(f"{len(files)} files are current")
        return
    for path in stale:
        write_atomically(path, files[path])
    typer.echo(f"{len(stale)} of {len(files)} files written: {', '.join(map(str, stale)) or 'all were current'}")
