"""`obs drift expectations` writes what a reference suggests, to be edited; `obs drift expect` checks tables against it.

Exit codes of `expect`: 0 met, or too few rows to say; 3 an expectation is not met; 2 input that cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.expectations import Check, Expectation, Observed

FAILED_EXIT = 3
_HEADING = """What is agreed about the columns: edit it. Shares are of all rows, 0.02 is 2 %; a key that is left out is not checked.
missing, invalid: values that are not there, or of another type. range and outside: the share of rows beyond it.
median: between which numbers the middle value lies. values and others: known names, and the share of rows with another one."""


def expectations(
    reference: Annotated[str, typer.Option("--reference", "-r", help="A profile (`obs drift profile`), a model package, or a table.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write the YAML; standard output if left out.")] = None,
) -> None:
    """Write the expectations that a reference suggests, as YAML to edit."""
    from mlops_obs.cli.drift.inputs import load_reference
    from mlops_obs.collectors.drift.expectations import expectations_of, render_expectations

    text = render_expectations(expectations_of(load_reference(reference)), _HEADING)
    if out is None:
        typer.echo(text, nl=False)
        return
    draft = out.with_name(out.name + ".part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(out)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise UsageError("OBS-EXP-003", f"cannot be written: {error.strerror}", where=str(out), todo="choose another place") from error
    typer.echo(f"{out}: {text.count(chr(10)) - _HEADING.count(chr(10)) - 2} columns")


def expect(
    agreed: Annotated[Path, typer.Option("--expectations", "-e", help="The YAML file.")],
    current: Annotated[
        list[str], typer.Option("--current", "-c", help="Table: .parquet or .csv file, folder, glob or URL; may be repeated.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="table or json.")] = "table",
) -> None:
    """Check tables against expectations. Exits 3 if one is not met."""
    from mlops_obs.cli.drift.inputs import check_output
    from mlops_obs.collectors.drift.expectations import Outcome, check
    from mlops_obs.collectors.drift.report import printable

    check_output(output)
    wanted = _read(agreed)
    observed = _count(wanted, current)
    checks = check(wanted, observed)
    failed = [one for one in checks if one.outcome is Outcome.FAILED]
    unsure = [one for one in checks if one.outcome is Outcome.INCONCLUSIVE]
    if output == "json":
        rows = max((one.rows for one in observed.values()), default=0)
        typer.echo(json.dumps(_document(checks, bool(failed), rows), indent=2, allow_nan=False))
    else:
        for one in failed:
            typer.echo(printable(one.words, 300))
        for one in unsure:
            typer.echo(printable(f"{one.words} (too few rows to say)", 300))
        typer.echo(f"{len(checks)} checks: {len(checks) - len(failed) - len(unsure)} met, {len(failed)} failed, {len(unsure)} inconclusive")
    if failed:
        raise typer.Exit(FAILED_EXIT)


def _document(checks: Sequence[Check], failed: bool, rows: int) -> dict[str, Any]:
    verdict = "failed" if failed else "inconclusive" if not rows else "met"
    return {"failed": failed, "verdict": verdict, "rows": rows, "checks": [one.to_json() for one in checks]}


def _read(path: Path) -> dict[str, Expectation]:
    from mlops_obs.adapters.yaml_documents import read_document
    from mlops_obs.collectors.drift.expectations import parse_expectations

    document, locate = read_document(path)
    return parse_expectations(document, locate)


def _count(wanted: dict[str, Expectation], tables: Sequence[str]) -> dict[str, Observed]:
    from mlops_obs.adapters.tables import blocks, expand, infer_table
    from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema
    from mlops_obs.collectors.drift.expectations import observe_block
    from mlops_obs.collectors.drift.expectations.observe import add

    schema = Schema(tuple(Column(name, ColumnKind(one.type)) for name, one in wanted.items()))
    if not schema.columns:
        raise SpecError("OBS-EXP-004", "nothing is expected", todo="write expectations with `obs drift expectations`")
    sources = expand(tables)
    found = infer_table(sources, known=schema)
    total: dict[str, Observed] = {}
    for source in sources:
        for block in blocks(source, found.schema):
            total = add(total, observe_block(wanted, block))
    return total
