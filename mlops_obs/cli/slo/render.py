"""`obs slo render`: specs compiled to Prometheus rules, Alertmanager routing and the tests of both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.shared import Replan, Specs, load
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.paging.routing import Routing
    from mlops_obs.slo.annotations import Links
    from mlops_obs.slo.spec import SLO

FORMATS = ("prometheus", "prometheus-operator")
_COUNTED = 300  # seconds between the counts that every window is made of
Interval = Annotated[str, typer.Option(help="How often Prometheus evaluates the rules; a part of 5m, as 15s, 30s, 1m or 5m.")]
SlothNames = Annotated[bool, typer.Option("--sloth-names/--no-sloth-names", help="Record everything under Sloth's names too.")]


def render(
    specs: Specs,
    out: Annotated[Path, typer.Option(help="Folder for rules and routing; tests go to `tests` beside it.")] = Path("slo/generated"),
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; exit 2 if a file is missing or not current.")] = False,
    replan: Replan = False,
    interval: Interval = "30s",
    sloth_names: SlothNames = True,
    form: Annotated[
        str, typer.Option("--format", help="prometheus, or prometheus-operator: PrometheusRule resources beside the rule files.")
    ] = "prometheus",
    namespace: Annotated[str, typer.Option(help="prometheus-operator: namespace of the resources.")] = "monitoring",
    label: Annotated[list[str] | None, typer.Option(help="prometheus-operator: key=value by which your Prometheus selects rules.")] = None,
    routing: Annotated[Path | None, typer.Option(help="Who is told (default: paging/routing.yaml beside --out, if it is there).")] = None,
    webhook: Annotated[str | None, typer.Option(help="Send every page and ticket here, whatever paging/routing.yaml says.")] = None,
    dashboards: Annotated[str, typer.Option(help="Base URL of dashboards in pages.")] = "http://localhost:3000/d",
    runbooks: Annotated[str, typer.Option(help="Base URL of runbooks in pages.")] = "http://localhost:3000/runbooks",
) -> None:
    """Compile SPECS to Prometheus rules, Alertmanager routing and the tests of both. Same input, same bytes."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.adapters.routing_file import routing_of
    from mlops_obs.durations import parse_duration
    from mlops_obs.slo.annotations import Links

    if _COUNTED % parse_duration(interval):  # counts of 5 minutes would overlap or leave events out
        raise UsageError("OBS-CLI-001", f"--interval {interval} leaves 5-minute counts out", todo="write for example --interval 1m")
    if form not in FORMATS:
        raise UsageError("OBS-CLI-001", f"unknown format {form!r}", todo=f"write {' or '.join(FORMATS)}")
    wrong = [one for one in label or [] if not all(one.partition("="))]
    if wrong:
        raise UsageError("OBS-CLI-001", f"--label {wrong[0]!r} is not key=value", todo="write for example --label prometheus=k8s")
    if out.name in ("", ".."):
        out = out.resolve()  # `.` has no name of its own, and paths below are made of it
    slos = load(specs, replan=replan)
    links = Links(dashboards=dashboards.rstrip("/"), runbooks=runbooks.rstrip("/"))
    texts = artefacts(
        slos, routing_of(routing, out.parent, webhook), generated=out.name, links=links, interval=interval, sloth_names=sloth_names
    )
    if form == "prometheus-operator":
        labels = {"app.kubernetes.io/managed-by": "mlops-obs"} | dict(one.split("=", 1) for one in label or [])
        texts |= _manifests(slos, out.name, links, interval, sloth_names, namespace, labels)
    files = {out.parent / name: text for name, text in texts.items()}
    stale = [path for path, text in files.items() if not path.is_file() or path.read_bytes() != text.encode()]
    if check_only:
        if stale:
            raise UsageError("OBS-SLO-012", f"not current: {', '.join(map(str, stale))}", todo="run obs slo render and commit the result")
        typer.echo(f"{len(files)} files are current")
        return
    for path in stale:
        write_atomically(path, files[path])
    typer.echo(f"{len(stale)} of {len(files)} files written: {', '.join(map(str, stale)) or 'all were current'}")


def artefacts(
    slos: Sequence[SLO],
    routing: Routing,
    *,
    generated: str = "generated",
    links: Links | None = None,
    interval: str = "30s",
    sloth_names: bool = True,
) -> dict[str, str]:
    """Return everything that is rendered for `slos`: text by path, relative to the folder above `generated`.

    Raises:
        SpecError: OBS-SLO-010 if an alert could never fire, OBS-SLO-027 if upstream relations go in a circle.
    """
    from mlops_obs.paging.artefacts import paging_files
    from mlops_obs.slo.rule_tests import render_test_files
    from mlops_obs.slo.rules.prometheus_rules import render_platform_rules, render_rules

    files = {f"{generated}/platform-rules.yaml": render_platform_rules(evaluation_interval=interval, links=links)}
    for service, mine in by_service(slos):
        rules = f"{generated}/{service}-rules.yaml"
        files[rules] = render_rules(mine, evaluation_interval=interval, links=links, sloth_names=sloth_names, among=slos)
        tests = render_test_files(mine, [f"../{rules}"], sloth_names=sloth_names, links=links)
        files |= {f"tests/{name}": text for name, text in tests.items()}
    return files | paging_files(slos, routing, generated=generated)


def by_service(slos: Sequence[SLO]) -> list[tuple[str, list[SLO]]]:
    """Return the SLOs of each service, services in alphabetical order."""
    ordered = sorted(slos, key=lambda slo: slo.service)
    return [(service, list(mine)) for service, mine in groupby(ordered, key=lambda slo: slo.service)]


def _manifests(
    slos: Sequence[SLO], generated: str, links: Links, interval: str, sloth_names: bool, namespace: str, labels: dict[str, str]
) -> dict[str, str]:
    from mlops_obs.slo.rules.prometheus_rules import platform_groups, rule_groups
    from mlops_obs.slo.yaml_text import rule_manifest

    found = {"platform": platform_groups(evaluation_interval=interval, links=links)}
    for service, mine in by_service(slos):
        found[service] = rule_groups(mine, evaluation_interval=interval, links=links, sloth_names=sloth_names, among=slos)
    return {
        f"{generated}/{name}-prometheusrule.yaml": rule_manifest(header, groups, f"mlops-obs-{name}", labels, namespace)
        for name, (header, groups) in found.items()
    }
