"""`obs slo lint`: alerts in anybody's rule files that can never fire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mlops_obs.cli.slo.shared import Output, as_json

_FOUND = 3


def lint(
    files: Annotated[list[Path], typer.Argument(help="Prometheus rule files, PrometheusRule manifests, or folders of them.")],
    output: Output = "text",
    advice: Annotated[
        bool, typer.Option("--advice", help="Also say what makes budgets or alerts wrong in other ways; changes no exit code.")
    ] = False,
) -> None:
    """Find burn-rate alerts that can never fire in FILES of Sloth, Pyrra, kubernetes-mixin or your own hand. Exit code 3: some."""
    from mlops_obs.adapters.rule_files import load_rules
    from mlops_obs.slo.lint.findings import advise
    from mlops_obs.slo.lint.findings import lint as find

    rules = load_rules(files)
    findings = find(rules)
    more = advise(rules) if advice else []
    if as_json(output):
        listed = [
            {
                "code": one.code,
                "group": one.group,
                "alert": one.alert,
                "severity": one.severity,
                "why": one.why,
                "place": one.place,
            }
            for one in [*findings, *more]
        ]
        typer.echo(json.dumps(listed, indent=2))
    else:
        for one in [*findings, *more]:
            severity = f" ({one.severity})" if one.severity else ""
            typer.echo(f"{one.place}: {one.alert}{severity}: {one.why} [{one.code}]")
        alerts = sum(rule.is_alert for rule in rules)
        summary = f"{len(findings)} of {alerts} alerts cannot do their work" if findings else f"{alerts} alerts, all can fire"
        typer.echo(summary)
    if findings:
        raise typer.Exit(_FOUND)
