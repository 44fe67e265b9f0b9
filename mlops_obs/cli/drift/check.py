"""`obs drift check`: `score` for every night and every build, under one budget of false alarms for all looks together.

What earlier looks said is kept in a state file. Exit codes: 0 no drift (or, with --only-new, none that was not known), 3 drift, 2 input
that cannot be read.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_obs.cli.drift.comparing import explained, importances_of
from mlops_obs.cli.drift.inputs import (
    DRIFT_EXIT,
    CurrentOption,
    OutputOption,
    RayOption,
    ResumeOption,
    SchemaOption,
    WorkersOption,
    check_output,
    choose_engine,
    load_reference,
    load_tables,
)
from mlops_obs.cli.drift.score import FeaturesOption, ImportanceOption, print_document, settings_of
from mlops_obs.errors import StateError, UsageError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.looks import Seen, State


def check(
    current: CurrentOption,
    state: Annotated[Path, typer.Option("--state", help="File that remembers the looks; made at the first one.")],
    reference: Annotated[str, typer.Option("--reference", "-r", help="As of `score`; by default the drift document's.")] = "",
    spec: Annotated[Path | None, typer.Option("--spec", help="Drift document (YAML): budget, reference, importance.")] = None,
    budget: Annotated[str, typer.Option("--budget", help='False alarms of all looks together, by default "1 per 90d".')] = "",
    every: Annotated[str, typer.Option("--every", help="How often this runs: what the first look is worth.")] = "1d",
    only_new: Annotated[bool, typer.Option("--only-new", help="Exit 3 for a drift that no earlier look has reported only.")] = False,
    output: OutputOption = "table",
    features: FeaturesOption = "",
    importance: ImportanceOption = None,
    schema: SchemaOption = None,
    workers: WorkersOption = 1,
    ray: RayOption = None,
    resume: ResumeOption = None,
) -> None:
    """Compare tables with a reference again and again, within a budget of false alarms. Exits 3 if anything has drifted."""
    from mlops_obs.adapters.files import write_atomically
    from mlops_obs.cli.drift.stream import load_document
    from mlops_obs.collectors.drift.alarms import Budget
    from mlops_obs.collectors.drift.alarms.document import DriftDocument
    from mlops_obs.collectors.drift.looks import look
    from mlops_obs.collectors.drift.report import finite
    from mlops_obs.durations import parse_duration

    check_output(output)
    document = load_document(spec) if spec else DriftDocument()
    reference = reference or _beside(spec, document.reference)
    allowed = Budget.parse(budget or document.budget, where="--budget")
    seconds = float(parse_duration(every))
    settings = settings_of(0.01, features, importance)
    over = choose_engine(workers, ray)
    profile = load_reference(reference, over=over, resume=resume, schema=schema)
    found, _ = load_tables(current, profile, over=over, resume=resume, schema=schema)
    settings = replace(settings, importance=settings.importance or document.importance or importances_of(profile))
    with _locked(state):
        before = _read(state)
        seen, after = look(before, profile, found, budget=allowed, now=time.time(), every=seconds, settings=settings)
        if after is not before:
            write_atomically(state, json.dumps(finite(after.to_json()), separators=(",", ":"), allow_nan=False) + "\n")
    seen = replace(seen, comparison=explained(seen.comparison, profile, found))
    told, sentence = _document(seen, str(allowed))
    print_document(told, sentence, output)
    if output == "table":
        typer.echo(f"\nbudget {allowed}: {seen.used:.0%} used; this look's level {seen.alpha:.2g}; look {len(after.looks)}")
        for note in seen.notes:
            typer.echo(f"obs: {note}", err=True)
    if seen.alarm and (seen.new or not only_new):
        raise typer.Exit(DRIFT_EXIT)


def _beside(spec: Path | None, reference: str) -> str:
    """The reference that a drift document names: its paths begin where it is."""
    if not reference or spec is None:
        raise UsageError("OBS-DRF-041", "no reference is given", todo="give --reference, or --spec with a reference in it")
    return reference if "://" in reference else str(spec.parent / reference)


def _document(seen: Seen, budget: str) -> tuple[dict[str, Any], str]:
    from mlops_obs.collectors.drift.report import headline, printable, to_plain

    document = to_plain(seen.comparison)
    document |= {
        "alarm": seen.alarm,
        "new": list(seen.new),
        "still": list(seen.still),
        "repeated": seen.repeated,
        "budget": {"stated": budget, "used": seen.used, "alpha": seen.alpha},
        "alarms": [one.to_json() for one in seen.alarms],
        "problems": [*document["problems"], *seen.notes],
    }
    for one in document["features"]:
        one["alarm"] = one["name"] in seen.new or one["name"] in seen.still
    slow = [one for one in seen.alarms if one.feature not in {found.name for found in seen.comparison.features if found.alarm}]
    for alarm in slow:  # what the nights have added up, and this one alone does not show
        for one in document["features"]:
            if one["name"] == alarm.feature:
                words = alarm.words.removeprefix(f"{alarm.feature}: ")
                one |= {"kind": alarm.change.value, "verdict": "drifted", "words": f"{words} (added up over the looks)"}
    if seen.repeated:
        return document, "the same table as at the last look: " + headline(document)
    if seen.still and not seen.new:
        return document, "nothing new; still drifted: " + ", ".join(printable(one, 40) for one in seen.still[:5])
    return document, headline(document)


def _read(path: Path) -> State:
    from mlops_obs.collectors.drift.looks import State

    try:
        return State.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise StateError("OBS-DRF-038", f"cannot be read: {error.strerror}", where=str(path), todo="give another --state") from error
    except (ValueError, RecursionError, StateError) as error:
        aside = path.with_name(path.name + ".broken")
        path.replace(aside)
        typer.echo(f"obs: {path} is damaged and was put aside as {aside.name}; evidence is added up anew ({error})", err=True)
        return State()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one look at a time read and write the state."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise StateError("OBS-DRF-038", f"cannot be written: {error.strerror}", where=str(path), todo="give another --state") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
