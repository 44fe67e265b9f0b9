"""`obs slo export`: specs as OpenSLO v1 documents, Prometheus rule files or PrometheusRule resources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.slo.import_ import Force, Losses, check_losses, deliver, tell
from mlops_obs.cli.slo.shared import Replan, Specs, load
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.slo.foreign.losses import Loss
    from mlops_obs.slo.spec import SLO

FORMATS = ("openslo", "prometheus", "prometheus-operator")


def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="openslo, prometheus or prometheus-operator.")],
    specs: Specs,
    out: Annotated[Path | None, typer.Option(help="File to write; a folder for rules of several services. Default: print.")] = None,
    two_conditions: Annotated[
        bool, typer.Option("--two-conditions", help="openslo: both windows as conditions of a policy, which its validator refuses yet.")
    ] = False,
    namespace: Annotated[str, typer.Option(help="prometheus-operator: namespace of the resources.")] = "monitoring",
    label: Annotated[list[str] | None, typer.Option(help="prometheus-operator: key=value by which your Prometheus selects rules.")] = None,
    replan: Replan = False,
    losses: Losses = "text",
    force: Force = False,
) -> None:
    """Write SPECS in another tool's form; list what that tool will not understand."""
    check_losses(losses)
    if form not in FORMATS:
        raise UsageError("OBS-CLI-001", f"unknown format {form!r}", todo=f"write {', '.join(FORMATS)}")
    wrong = [one for one in label or [] if not all(one.partition("="))]
    if wrong:
        raise UsageError("OBS-CLI-001", f"--label {wrong[0]!r} is not key=value", todo="write for example --label prometheus=k8s")
    slos = load(specs, replan=replan)
    lost: list[Loss] = []
    if form == "openslo":
        from mlops_obs.slo.foreign.openslo_export import openslo_losses, render_openslo

        texts = {"openslo": render_openslo(slos, two_conditions=two_conditions)}
        lost = openslo_losses(slos, two_conditions=two_conditions)
    else:
        from mlops_obs.cli.slo.render import by_service

        one_file = [slos] if form == "prometheus" and out is None else []  # Prometheus reads the first document of a file only
        texts = {
            mine[0].service: _rules(form, mine, slos, namespace, label or []) for mine in one_file or [mine for _, mine in by_service(slos)]
        }
    targets: dict[Path, str] = {}
    if out is not None and (len(texts) > 1 or out.is_dir()):
        if out.suffix in (".yaml", ".yml"):
            raise UsageError("OBS-IMP-007", f"rules of {', '.join(texts)} do not fit one file", todo="name a folder", where=str(out))
        targets = {out / f"{name}.yaml": text for name, text in texts.items()}
    elif out is not None:
        targets = {out: next(iter(texts.values()))}
    deliver(targets, "---\n".join(texts.values()), force=force)
    tell(lost, losses)


def _rules(form: str, slos: list[SLO], among: list[SLO], namespace: str, labels: list[str]) -> str:
    from mlops_obs.cli.slo.render import by_service
    from mlops_obs.slo.rules.prometheus_rules import rule_groups
    from mlops_obs.slo.yaml_text import rule_file, rule_manifest

    found = [rule_groups(mine, among=among) for _, mine in by_service(slos)]
    header, groups = "\n".join(head for head, _ in found), [one for _, several in found for one in several]
    if form == "prometheus":
        return rule_file(header, groups)
    meta = {"app.kubernetes.io/managed-by": "mlops-obs"} | dict(label.split("=", 1) for label in labels)
    return rule_manifest(header, groups, f"mlops-obs-{slos[0].service}", meta, namespace)
