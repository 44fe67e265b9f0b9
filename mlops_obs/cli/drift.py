"""`obs drift`: reference profiles, and tables compared with them, with the same arithmetic that watches live traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift import ReferenceProfile

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Make reference profiles and compare tables with them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DRIFTED_EXIT = 3


@app.command()
def profile(
    table: Annotated[Path, typer.Argument(help="The table the model was trained on: .parquet or .csv")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the profile")],
) -> None:
    """Write the reference profile of TABLE: a few kilobytes that say how each feature is distributed, no rows."""
    from mlops_obs.adapters.tables import read_table
    from mlops_obs.collectors.drift import ReferenceProfile

    data = read_table(table)
    reference = ReferenceProfile.from_columns(data.columns)
    content = reference.to_bytes()
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
    rows = max(sketch.rows for sketch in reference.sketches.values())
    typer.echo(f"{out}: {len(reference.sketches)} features, {rows} rows, {len(content)} bytes")
    if data.skipped:
        typer.echo(f"obs: left out, not numeric: {', '.join(data.skipped)}", err=True)
    for name in reference.blind():
        typer.echo(f"obs: {name} varies too little for its size to be seen; subtract a constant before the model and here", err=True)


@app.command()
def compare(
    reference: Annotated[Path, typer.Argument(help="A profile (from `obs drift profile`) or a table")],
    table: Annotated[Path, typer.Argument(help="The table to compare: .parquet or .csv")],
    output: Annotated[str, typer.Option("--output", "-o", help="table or json")] = "table",
) -> None:
    """Compare TABLE with REFERENCE. Exits 3 if a feature has drifted."""
    from mlops_obs.adapters.tables import read_table
    from mlops_obs.collectors.drift import DriftVerdict, ReferenceProfile
    from mlops_obs.collectors.drift.scores import combine, compare_profiles

    if output not in ("table", "json"):
        raise UsageError("OBS-DRF-008", f"{output!r} is no output format", todo="use -o table or -o json")
    scores = compare_profiles(_reference(reference), ReferenceProfile.from_columns(read_table(table).columns))
    verdict = combine(scores)
    ordered = sorted(scores, key=lambda one: -one.psi)
    if output == "json":
        features = [
            {"feature": one.feature, "psi": one.psi, "p_value": one.p_value, "missing": one.missing, "verdict": one.verdict}
            for one in ordered
        ]
        typer.echo(json.dumps({"verdict": verdict, "features": features}, indent=2))
    else:
        width = max(len("feature"), *(len(one.feature) for one in ordered))
        typer.echo(f"{'feature':<{width}}  {'PSI':>8}  {'p-value':>9}  {'missing':>8}  verdict")
        for one in ordered:
            typer.echo(f"{one.feature:<{width}}  {one.psi:>8.4f}  {one.p_value:>9.2g}  {one.missing:>8.2%}  {one.verdict}")
        typer.echo(f"\n{verdict}")
    if verdict is DriftVerdict.DRIFTED:
        raise typer.Exit(DRIFTED_EXIT)


@app.command()
def report(
    reference: Annotated[Path, typer.Argument(help="The reference table")],
    current: Annotated[Path, typer.Argument(help="The table to compare with it")],
    html: Annotated[Path, typer.Option("--html", help="Where to write the report")],
) -> None:
    """Write Evidently's HTML report of two tables: pictures to look at; for a verdict use `compare`."""
    from mlops_obs.adapters.evidently import write_report
    from mlops_obs.adapters.tables import read_table

    names = write_report(read_table(reference), read_table(current), html)
    typer.echo(f"{html}: {len(names)} features")


def _reference(path: Path) -> ReferenceProfile:
    from mlops_obs.adapters.tables import read_table
    from mlops_obs.collectors.drift import ReferenceProfile

    if path.suffix in (".parquet", ".csv"):
        return ReferenceProfile.from_columns(read_table(path).columns)
    try:
        return ReferenceProfile.from_bytes(path.read_bytes())
    except OSError as error:
        raise UsageError(
            "OBS-DRF-007", f"cannot read the profile: {error.strerror}", where=str(path), todo="write one with `obs drift profile`"
        ) from error
    except SpecError as error:
        raise SpecError(error.code, error.what, where=str(path), todo=error.todo) from error
