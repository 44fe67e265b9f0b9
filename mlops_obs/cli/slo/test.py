"""`obs slo test`: the generated rules under the generated tests, in Prometheus' own promtool."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from mlops_obs.cli.slo.shared import Output, Replan, as_json, load
from mlops_obs.errors import UsageError

_FOUND = 3


def run_tests(
    specs: Annotated[list[Path] | None, typer.Argument(help="SLO files to render and test; default: what is in --generated.")] = None,
    generated: Annotated[Path, typer.Option(help="Folder of rules; their tests are in `tests` beside it.")] = Path("slo/generated"),
    replan: Replan = False,
    output: Output = "text",
) -> None:
    """Prove that the alerts fire when they must and stay silent when they must. Exit code 0: all pass, 3: something fails."""
    from mlops_obs.adapters import promtool

    machine = as_json(output)
    promtool.promtool_program()
    if specs:
        with tempfile.TemporaryDirectory(prefix="obs-slo-test-") as scratch:
            found = _judge(_rendered(specs, Path(scratch), replan=replan), tell=not machine)
    else:
        found = _judge(generated, tell=not machine)
    failed = [one for one in found if not one["passed"]]
    if machine:
        typer.echo(json.dumps(found, indent=2))
    else:
        cases = sum(one["cases"] for one in found)
        typer.echo(f"{len(found) - len(failed)} of {len(found)} files pass, {cases} cases")
    if failed:
        raise typer.Exit(_FOUND)


def _rendered(specs: list[Path], scratch: Path, *, replan: bool) -> Path:
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.adapters.routing_file import routing_of
    from mlops_obs.cli.slo.render import artefacts

    for name, text in artefacts(load(specs, replan=replan), routing_of(None, scratch, None)).items():
        write_atomically(scratch / name, text)
    return scratch / "generated"


def _judge(generated: Path, *, tell: bool) -> list[dict[str, Any]]:
    from mlops_obs.adapters import promtool

    rules = sorted(generated.glob("*-rules.yaml"))
    tests = sorted((generated.parent / "tests").glob("*.yaml"))
    if not rules or not tests:
        missing = f"{generated}/*-rules.yaml" if not rules else f"{generated.parent / 'tests'}/*.yaml"
        raise UsageError("OBS-SLO-053", f"there is nothing to test: no {missing}", todo="run obs slo render, or name SLO files")
    found = []
    for file, judge in [*((one, _check) for one in rules), *((one, promtool.run_rule_tests) for one in tests)]:
        passed, said = judge(file)
        cases = file.read_text(encoding="utf-8").count("\n  - name: ") if judge is not _check else 0
        found.append({"file": file.name, "passed": passed, "cases": cases, "output": "" if passed else said})
        if tell:
            typer.echo(f"{'pass' if passed else 'FAIL'}  {file.name}" + (f"  {cases} cases" if cases else ""))
            if not passed:
                typer.echo("\n".join(f"      {line}" for line in said.splitlines()))
    return found


def _check(file: Path) -> tuple[bool, str]:
    from mlops_obs.adapters import promtool

    return promtool.check_rules([file])
