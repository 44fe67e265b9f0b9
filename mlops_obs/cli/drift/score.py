"""`obs drift score`: a table against its reference. The exit code says drift, the JSON says everything.

Exit codes: 0 no drift (too few rows to say is not drift, and is said), 3 drift, 2 input that cannot be read or compared.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.drift.comparing import Asked, compare_tables
from mlops_obs.cli.drift.inputs import (
    DRIFT_EXIT,
    CurrentOption,
    OutputOption,
    RayOption,
    ReferenceOption,
    ResumeOption,
    SchemaOption,
    WorkersOption,
    check_output,
    choose_engine,
)
from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.compare import Settings


AlphaOption = Annotated[float, typer.Option("--alpha", min=0, max=1, help="Chance that a comparison without drift alarms at all.")]
FeaturesOption = Annotated[str, typer.Option("--features", help="Only these columns, separated by commas.")]
SegmentOption = Annotated[str, typer.Option("--segment", help="Compare each value of this column with itself, too.")]
TimeOption = Annotated[str, typer.Option("--time", help="Column of the time of a row, to say since when.")]
JointOption = Annotated[bool | None, typer.Option("--joint/--no-joint", help="Compare how columns move together, too.")]
DomainOption = Annotated[bool, typer.Option("--domain-classifier", help="Train a classifier to tell current rows from the reference's.")]
ImportanceOption = Annotated[Path | None, typer.Option("--importance", help='JSON file {"column": importance}; 0: never alarms.')]


def score(
    reference: ReferenceOption,
    current: CurrentOption,
    output: OutputOption = "table",
    alpha: AlphaOption = 0.01,
    features: FeaturesOption = "",
    importance: ImportanceOption = None,
    segment: SegmentOption = "",
    time: TimeOption = "",
    joint: JointOption = None,
    domain_classifier: DomainOption = False,
    schema: SchemaOption = None,
    workers: WorkersOption = 1,
    ray: RayOption = None,
    resume: ResumeOption = None,
) -> None:
    """Compare tables with a reference. Exits 3 if anything has drifted."""
    from mlops_obs.collectors.drift.report import headline

    check_output(output)
    settings = settings_of(alpha, features, importance)
    asked = Asked(reference, current, segment, time, joint, domain_classifier, schema, resume)
    found = compare_tables(asked, settings, choose_engine(workers, ray))
    document = found.document()
    print_document(document, headline(document), output)
    if document["alarm"]:
        raise typer.Exit(DRIFT_EXIT)


def print_document(document: dict[str, Any], sentence: str, output: str) -> None:
    """Print the document as JSON or as a table."""
    from mlops_obs.cli.drift.view import show
    from mlops_obs.collectors.drift.report import finite

    if output == "json":
        typer.echo(json.dumps(finite(document), indent=2, allow_nan=False))
    else:
        show(document, sentence)


def settings_of(alpha: float, features: str, importance: Path | None) -> Settings:
    """Return how to judge.

    Raises:
        UsageError: OBS-DRF-034 if the importance file cannot be read.
        SpecError: OBS-DRF-035 if it is something else than numbers by column.
    """
    from mlops_obs.collectors.drift.compare import Settings

    chosen = tuple(name.strip() for name in features.split(",") if name.strip()) or None
    return Settings(alpha=alpha, features=chosen, importance=_importance(importance) if importance else {})


def _importance(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("OBS-DRF-034", f"cannot be read: {error.strerror}", where=str(path), todo="give a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise SpecError("OBS-DRF-035", f"not JSON: {error}", where=str(path), todo='write {"column": importance}') from error
    values = found if isinstance(found, dict) else {}
    wrong = [
        name for name, value in values.items() if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300
    ]
    if not values or wrong:
        what = f"no importance: {', '.join(wrong[:5])}" if wrong else "not numbers by column"
        raise SpecError("OBS-DRF-035", what, where=str(path), todo='write {"column": importance}, importances from 0 up')
    return {str(name): float(value) for name, value in values.items()}
