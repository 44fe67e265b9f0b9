"""`obs drift performance`: how good the model was, by cohort, from late labels, and whether its scores mean what they did.

The question with which a person comes is "can I believe it yet?": each cohort says how many of its labels are in, whether it is ripe,
and how wide its interval is. Exit codes: 0, 3 if concept drift was found, 2 input that cannot be read.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.drift.inputs import DRIFT_EXIT, OutputOption, check_output
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.quality.estimates import Estimate
    from mlops_obs.collectors.quality.performance import CohortPerformance, Performance

_SHOWN = 20  # cohorts of a model in the table
_CALLED = {"auc": "AUC", "error": "the error rate"}
_DAY = 86_400


def performance(
    tables: Annotated[
        list[str] | None, typer.Argument(help="Predictions, with labels where they are in: .parquet or .csv; or --config.")
    ] = None,
    made_at: Annotated[str, typer.Option("--made-at", help="Column: when the prediction was made.")] = "made_at",
    score: Annotated[str, typer.Option("--score", help="Column: probability of a bad label.")] = "score",
    label: Annotated[str, typer.Option("--label", help="Column: 1 for bad, 0 for good, empty while it is out.")] = "label",
    labelled_at: Annotated[str, typer.Option("--labelled-at", help="Column: when the label came.")] = "labelled_at",
    revision: Annotated[str, typer.Option("--revision", help="Column: which model; empty: all rows are one model's.")] = "",
    deadline: Annotated[str, typer.Option("--deadline", help="No label comes later than this after its prediction.")] = "180d",
    cohort: Annotated[str, typer.Option("--cohort", help="Length of a cohort.")] = "7d",
    threshold: Annotated[float, typer.Option("--threshold", help="Scores from here on are decisions for bad.")] = 0.5,
    ripe: Annotated[float, typer.Option("--ripe", min=0.5, max=1.0, help="Share of all labels, good and bad, that must be in.")] = 0.9,
    at: Annotated[str, typer.Option("--at", help="Look at what was known at this moment (2026-03-01T12:00); by default now.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", help="collector.yaml of the quality collector: asks its store instead.")
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="SQLite file; overrides the one in --config.")] = None,
    output: OutputOption = "table",
) -> None:
    """Measure a model on labels that come late: by cohort, with intervals, ripe or not, and whether its scores keep their meaning."""
    check_output(output)
    now = _moment(at)
    if config is not None:
        found = _asked(config, store, now)
    elif tables:
        from mlops_obs.adapters.label_tables import LabelColumns, read_predictions
        from mlops_obs.collectors.quality.scored import PerformanceConfig, by_revision

        for value, name in ((deadline, "--deadline"), (cohort, "--cohort")):
            _duration(value, name)
        asked = PerformanceConfig(query="", deadline=deadline, cohort=cohort, threshold=threshold, ripe=ripe)
        scored = read_predictions(tables, LabelColumns(made_at, score, label, labelled_at, revision))
        found = by_revision(scored, now, asked.settings())
    else:
        raise UsageError("OBS-QLT-007", "nothing to measure", todo="give a table of predictions, or --config FILE")
    documents = {name or "all predictions": document(one) for name, one in found.items()}
    if output == "json":
        from mlops_obs.collectors.drift.report import finite

        typer.echo(json.dumps(finite({"models": documents}), indent=2, allow_nan=False))
    else:
        _show(found)
    if any(one.concept.findings for one in found.values()):
        raise typer.Exit(DRIFT_EXIT)


def document(one: Performance) -> dict[str, Any]:
    """Return the performance of a model as plain data; infinity where its clock is not known."""
    return {
        "ripe_age_days": one.ripe_age / _DAY,
        "concept": {
            "evidence": one.concept.evidence,
            "findings": [{**asdict(finding), "words": finding.words} for finding in one.concept.findings],
        },
        "estimate_errors": one.estimate_errors(),
        "cohorts": [
            {
                "start": cohort.start,
                "predictions": cohort.predictions,
                "labelled": cohort.labelled,
                "ripe": cohort.ripe,
                "realised": {name: asdict(estimate) for name, estimate in cohort.realised.items()},
                "expected": dict(cohort.expected),
            }
            for cohort in one.cohorts
        ],
    }


def _show(found: dict[str, Performance]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlops_obs.collectors.drift.report import printable

    console = Console(highlight=False, soft_wrap=False)
    if not found:
        console.print("no predictions")
    for name, one in found.items():
        sentence, tone = headline(one)
        console.print(Text.assemble((f"{printable(name)}: " if name else ""), (sentence, tone)))
        told = [cohort for cohort in one.cohorts if cohort.realised]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for title in ("cohort", "rows", "in", "error", "AUC", "promised", "ripe"):
            table.add_column(title, justify="left" if title == "cohort" else "right", no_wrap=True)
        for cohort in told[-_SHOWN:]:
            table.add_row(*_row(cohort), style="" if cohort.ripe else "dim")
        if told:
            console.print(table)
        if len(told) > _SHOWN:
            console.print(Text(f"and {len(told) - _SHOWN} older cohorts, in -o json", style="dim"))
        young = [cohort.expected["auc"] for cohort in one.cohorts if not cohort.realised and "auc" in cohort.expected]
        if young:
            console.print(Text(f"{len(young)} cohorts have too few labels; their scores promise AUC {min(young):.3f} to {max(young):.3f}"))
        errors = one.estimate_errors()
        if errors:
            said = " and ".join(f"{value:.3f} of {_CALLED[measure]}" for measure, value in errors.items())
            console.print(Text(f"in ripe cohorts the promise was off by {said} in the mean", style="dim"))
        console.print()


def headline(one: Performance) -> tuple[str, str]:
    """Return one sentence about a model, and its colour."""
    if one.concept.findings:
        finding = one.concept.findings[-1]
        return f"CONCEPT DRIFT since the cohort of {_date(finding.since)}: {finding.words}", "bold red"
    ripe, age = one.newest_ripe, f"cohorts are ripe after {one.ripe_age / _DAY:.0f} days"
    if ripe is None:
        known = one.ripe_age < float("inf")
        return f"nothing is ripe yet: {age if known else 'labels are too young or too few to tell when'}", "yellow"
    return f"scores mean what they did, up to the cohort of {_date(ripe.start)}; {age}", "green"


def _row(cohort: CohortPerformance) -> tuple[str, ...]:
    realised = cohort.realised
    expected = cohort.expected.get("auc")
    return (
        _date(cohort.start),
        f"{cohort.predictions:,}",
        f"{cohort.maturity:.0%}",
        _interval(realised.get("error")),
        _interval(realised.get("auc")),
        "" if expected is None else f"{expected:.3f}",
        "yes" if cohort.ripe else "",
    )


def _interval(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})".replace("0.", ".")


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")


def _asked(config: Path, store: Path | None, now: float) -> dict[str, Performance]:
    from mlops_obs.adapters.label_store import SqliteLabels, load_config

    settings = load_config(config)
    if settings.performance is None:
        raise UsageError("OBS-QLT-007", "nothing to measure", where=str(config), todo="add a section `performance`, see collectors/quality")
    return SqliteLabels(settings, store or config.parent / settings.store, clock=lambda: now).performance()


def _moment(text: str) -> float:
    if not text:
        return time.time()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError("OBS-QLT-008", f"--at {text!r} is no moment", todo="write 2026-03-01 or 2026-03-01T12:00") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(value: str, name: str) -> None:
    from mlops_obs.durations import parse_duration
    from mlops_obs.errors import SpecError

    try:
        parse_duration(value)
    except SpecError as error:
        raise UsageError(error.code, error.what, where=name, todo=error.todo) from None
