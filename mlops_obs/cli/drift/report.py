"""`obs drift report`: a comparison as a page to look at, and on request Evidently's pictures of what has drifted."""

from __future__ import annotations

import shlex
import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.drift.comparing import Asked, compare_tables
from mlops_obs.cli.drift.inputs import (
    DRIFT_EXIT,
    CurrentOption,
    RayOption,
    ReferenceOption,
    ResumeOption,
    SchemaOption,
    WorkersOption,
    choose_engine,
)
from mlops_obs.cli.drift.score import (
    AlphaOption,
    DomainOption,
    FeaturesOption,
    ImportanceOption,
    JointOption,
    SegmentOption,
    TimeOption,
    settings_of,
)
from mlops_obs.errors import UsageError

if TYPE_CHECKING:
    from mlops_obs.adapters.drift_scan import Part
    from mlops_obs.collectors.drift.reference import ReferenceProfile

_STRIPS, _STRIP_COLUMNS = 200, 500  # files (or groups of them) and columns of which PSI is kept: memory stays bounded


def report(
    reference: ReferenceOption,
    current: CurrentOption,
    html: Annotated[Path | None, typer.Option("--html", help="Where to write our page.")] = None,
    evidently: Annotated[Path | None, typer.Option("--evidently", help="Where to write Evidently's page of what has drifted.")] = None,
    sample: Annotated[int, typer.Option("--sample", min=100, help="Rows of each side that Evidently gets.")] = 10_000,
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
    """Draw a comparison as a page that opens offline. Exits 3 if anything has drifted."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.collectors.drift.report import headline
    from mlops_obs.dashboards.drift_report import render_drift_report

    if not html and not evidently:
        raise UsageError("OBS-DRF-036", "no page to write", todo="give --html FILE, --evidently FILE or both")
    settings = settings_of(alpha, features, importance)
    asked = Asked(reference, current, segment, time, joint, domain_classifier, schema, resume)
    strips = _Strips()
    result = compare_tables(asked, settings, choose_engine(workers, ray), strips.add)
    profile, found, sources = result.reference, result.current, result.sources
    document = result.document()
    sentence = headline(document)
    if html:
        _add_cells(document, profile, found)
        document |= {
            "headline": sentence,
            "at": clock.time(),
            "reference": {"name": _short([reference]), "rows": profile.rows, "digest": profile.digest},
            "current": {"name": _short(current), "rows": found.rows},
            "commands": _commands(reference, current),
            "files": strips.files(sources),
        }
        write_atomically(html, render_drift_report(_printable(document)))
        typer.echo(f"{html}: {sentence}")
    if evidently:
        drifted = [one["name"] for one in document["features"] if one["alarm"]]
        _deep_dive(drifted, reference, profile, sources, evidently, sample)
    if document["alarm"]:
        raise typer.Exit(DRIFT_EXIT)


def _deep_dive(drifted: Sequence[str], reference: str, profile: ReferenceProfile, sources: Sequence[str], html: Path, rows: int) -> None:
    from mlops_obs.adapters.drift_samples import common_names, drawn, sampled
    from mlops_obs.adapters.evidently import MOST_COLUMNS, write_report
    from mlops_obs.adapters.tables import blocks, expand
    from mlops_obs.cli.drift.inputs import is_profile
    from mlops_obs.collectors.drift.columns import ColumnKind, Schema

    kinds = {one.name: one.kind for one in profile.schema}
    names = [name for name in drifted if kinds[name] is not ColumnKind.EMBEDDING][:MOST_COLUMNS]
    if not names:
        typer.echo(f"{html}: not written, no column has drifted", err=True)
        return
    columns = Schema(tuple(one for one in profile.schema if one.name in names))
    now = sampled((block for source in sources for block in blocks(source, columns)), columns, rows)
    if is_profile(reference):
        before = drawn(profile, names, rows)
    else:
        before = sampled((block for source in expand([reference]) for block in blocks(source, columns)), columns, rows)
    common_names(before, now)
    shown = write_report(before, now, html)
    rest = len(drifted) - len(shown)
    typer.echo(f"{html}: {len(shown)} columns" + (f"; {rest} more have drifted or hold no value" if rest else ""))


class _Strips:
    """Rows by cell of each file, or of groups of files where there are many, for the strips of the page."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, dict[str, float]]] = {}

    def add(self, reference: ReferenceProfile, part: Part) -> None:
        """Take in a file."""
        from mlops_obs.collectors.drift.sketches.categories import CategorySketch
        from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
        from mlops_obs.collectors.drift.statistics.divergences import psi

        found = {}
        for name in reference.feature_names[:_STRIP_COLUMNS]:
            sketch = part.profile.sketches.get(name)
            if isinstance(sketch, NumberSketch | CategorySketch) and isinstance(reference.sketches[name], type(sketch)) and sketch.rows:
                partition = reference.partition(name)
                found[name] = float(psi(partition.expected, partition.count(sketch)))  # type: ignore[arg-type]
        self._parts[part.source] = part.rows, found

    def files(self, sources: Sequence[str]) -> list[dict[str, Any]]:
        """Return name, rows and PSI by column of each file, in their order; of many files those that stand for them."""
        step = max(1, -(-len(sources) // _STRIPS))
        return [
            {"name": Path(source).name, "rows": rows, "psi": found}
            for source in sources[::step]
            for rows, found in (self._parts.get(source, (0, {})),)
        ]


def _add_cells(document: dict[str, Any], reference: ReferenceProfile, current: ReferenceProfile) -> None:
    from mlops_obs.collectors.drift.report import cells_by_name

    for one in document["features"]:
        one["cells"] = cells_by_name(reference, current, one["name"])
    for segment in document.get("segments", ()):
        segment["features"] = [one for one in segment["features"] if one["alarm"]]


def _printable(value: Any) -> Any:
    """Every string of the document with its invisible characters escaped: names come from the data."""
    from mlops_obs.collectors.drift.report import printable

    if isinstance(value, str):
        return printable(value, 1000)
    if isinstance(value, dict):
        return {key: [_commands_line(one) for one in part] if key == "commands" else _printable(part) for key, part in value.items()}
    return [_printable(one) for one in value] if isinstance(value, list | tuple) else value


def _commands_line(line: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in line)


def _short(tables: Sequence[str]) -> str:
    first = Path(tables[0]).name or tables[0]
    return first if len(tables) == 1 else f"{first} and {len(tables) - 1} more"


def _commands(reference: str, current: Sequence[str]) -> list[str]:
    given = ["--reference", reference, *(word for one in current for word in ("--current", one))]
    ends = {"score": ["-o", "json"], "report": ["--html", "drift.html"]}
    return [shlex.join(["obs", "drift", command, *given, *end]) for command, end in ends.items()]
