"""`obs drift profile`: the reference of a model, from the table it was trained on; shows what each column was taken for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.cli.drift.inputs import RayOption, ResumeOption, SchemaOption, WorkersOption, choose_engine
from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.adapters.tables import Overrides, TableSchema
    from mlops_obs.collectors.drift.columns import Schema
    from mlops_obs.collectors.drift.reference import ReferenceProfile

_HOW = "another kind or role: --schema FILE with `columns: {NAME: KIND}` or `{NAME: id}` to leave a column out"


def profile(
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="The table of the training: files, folders, globs or URLs.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the profile.")],
    schema: SchemaOption = None,
    segment: Annotated[str, typer.Option("--segment", help="Column whose values get a reference each.")] = "",
    time: Annotated[str, typer.Option("--time", help="Column of the time of a row; it is no feature then.")] = "",
    prediction: Annotated[str, typer.Option("--prediction", help="Column of the model's score.")] = "",
    label: Annotated[str, typer.Option("--label", help="Column of what came true: 0 and 1.")] = "",
    money: Annotated[str, typer.Option("--money", help="Column of what a bad row costs that is not flagged.")] = "",
    currency: Annotated[str, typer.Option("--currency", help="Of --money.")] = "EUR",
    importance: Annotated[Path | None, typer.Option("--importance", help='JSON file {"column": importance}; 0: unused.')] = None,
    min_rows: Annotated[int, typer.Option("--min-rows", min=1, help="Names of fewer rows are not kept by name.")] = 5,
    workers: WorkersOption = 1,
    ray: RayOption = None,
    resume: ResumeOption = None,
) -> None:
    """Write the reference profile of TABLE...: how each column is distributed, in a few kilobytes without any row."""
    from mlops_obs.adapters.drift_scan import scan
    from mlops_obs.adapters.tables import Overrides, blocks, expand, infer_table, read_overrides
    from mlops_obs.collectors.drift.building import Plan, with_sections, without_rare_names

    asked = _asked(read_overrides(schema) if schema else Overrides(), segment, time, prediction, label, money)
    weights = _importance(importance) if importance else {}
    sources = expand(tables)
    found = infer_table(sources, asked)
    reference = scan(sources, found.schema, over=choose_engine(workers, ray), resume=resume)
    if not reference.rows:
        raise SpecError(
            "OBS-DRF-002", "the reference has no rows", where=sources[0], todo="profile the table that the model was trained on"
        )
    reference = without_rare_names(reference, min_rows)  # before the sections: they count in the cells of what is kept
    plan = Plan(asked.segment, asked.time, prediction, label, money, currency, weights, found.left_out, min_rows)
    read_as = replace(found, schema=reference.schema).readable if not money else _with_money(found, money, reference)
    reference, notes = with_sections(reference, lambda: (block for source in sources for block in blocks(source, read_as)), plan)
    content = reference.to_bytes()
    _write(out, content)
    for line in _shown(reference, found):
        typer.echo(line)
    typer.echo(f"\n{out}: {len(reference.sketches)} columns, {reference.rows} rows, {len(content)} bytes, sha256 {reference.digest[:12]}")
    typer.echo(_HOW)
    for note in notes:
        typer.echo(f"obs: {note}", err=True)


def _asked(given: Overrides, segment: str, time: str, prediction: str, label: str, money: str) -> Overrides:
    from mlops_obs.collectors.drift.columns import Role

    roles = dict(given.roles)
    for name, role in ((prediction, Role.PREDICTION), (label, Role.LABEL)):
        if name:
            roles[name] = role
    left_out = dict(given.left_out) | ({money: "the money at stake"} if money else {})
    return replace(given, roles=roles, left_out=left_out, segment=segment or given.segment, time=time or given.time)


def _with_money(found: TableSchema, money: str, reference: ReferenceProfile) -> Schema:
    from mlops_obs.collectors.drift.columns import Column, Schema

    return Schema((*replace(found, schema=reference.schema).readable, Column(money)))


def _importance(path: Path) -> dict[str, float]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(value) for name, value in given.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SpecError(
            "OBS-DRF-010", f"no importances: {error}"[:200], where=str(path), todo='write JSON such as {"income": 0.03, "age": 0}'
        ) from error


def _write(out: Path, content: bytes) -> None:
    draft = out.with_name(out.name + ".part")
    try:
        draft.write_bytes(content)
        draft.replace(out)
    except OSError as error:
        raise UsageError(
            "OBS-DRF-006", f"cannot write the profile: {error.strerror}", where=str(out), todo="choose another place"
        ) from error
    finally:
        if draft.is_file():
            draft.unlink()


def _shown(reference: ReferenceProfile, found: TableSchema) -> list[str]:
    from mlops_obs.collectors.drift.report import printable
    from mlops_obs.collectors.drift.summary import summary_of

    lines = []
    for column in reference.schema:
        sketch = reference.sketches[column.name]
        role = "" if column.role == "feature" else f" ({column.role.value})"
        lacking = sketch.missing / sketch.rows if sketch.rows else 0.0
        broken = f", {sketch.invalid} invalid" if sketch.invalid else ""
        lines.append(
            (printable(column.name, 28), f"{column.kind.value}{role}", f"{lacking:.1%}", printable(summary_of(sketch, column), 60) + broken)
        )
    width, kind = (max(len(line[place]) for line in lines) for place in (0, 1))
    shown = [f"{'column':<{max(width, 6)}}  {'kind':<{max(kind, 4)}}  {'missing':>7}  values"]
    shown += [f"{name:<{max(width, 6)}}  {what:<{max(kind, 4)}}  {missing:>7}  {values}" for name, what, missing, values in lines]
    return shown + [f"left out: {printable(name)}: {printable(why)}" for name, why in found.left_out.items()]
