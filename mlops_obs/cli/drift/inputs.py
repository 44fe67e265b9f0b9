"""What the drift commands are given: a reference (profile, model package or table) and current tables, read once and with a progress bar.

A reference is known by its first bytes, not by its name. Tables are read with the reference's schema, so that "100" in a column of
categories stays a name; columns that it does not know are read too, because a renamed column is one gone and one new.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops_obs.errors import SpecError, UsageError

if TYPE_CHECKING:
    from mlops_obs.adapters.drift_scan import Over, Part
    from mlops_obs.collectors.drift.reference import ReferenceProfile

DRIFT_EXIT = 3
_PROFILE = b"mlops-obs reference "
_PACKAGED = "reference.bin"
_SUFFIXES = (".bin", ".profile")

ReferenceOption = Annotated[str, typer.Option("--reference", "-r", help="A profile (`obs drift profile`), a model package, or a table.")]
CurrentOption = Annotated[
    list[str], typer.Option("--current", "-c", help="Table to compare: .parquet or .csv file, folder, glob or URL; may be repeated.")
]
OutputOption = Annotated[str, typer.Option("--output", "-o", help="table or json.")]
SchemaOption = Annotated[Path | None, typer.Option("--schema", help="YAML or JSON file that says what columns are, where inference errs.")]
WorkersOption = Annotated[int, typer.Option("--workers", min=0, help="Processes that read; 0: as many as there are cores.")]
RayOption = Annotated[bool | None, typer.Option("--ray/--no-ray", help="Read on Ray; by default if RAY_ADDRESS is set.")]
ResumeOption = Annotated[Path | None, typer.Option("--resume", help="Folder of the sketch of each file, to go on from after a stop.")]


def load_reference(reference: str, *, over: Over | None = None, resume: Path | None = None, schema: Path | None = None) -> ReferenceProfile:
    """Return the reference: a profile as it is, a table profiled now.

    Raises:
        UsageError: OBS-DRF-007 if a profile cannot be read; of reading a table.
        SpecError: OBS-DRF-001 if it is damaged, OBS-DRF-002 if a table has no rows.
    """
    from mlops_obs.collectors.drift.reference import ReferenceProfile

    path = _packaged(reference)
    if is_profile(reference):
        try:
            return ReferenceProfile.from_bytes(path.read_bytes())
        except OSError as error:
            raise UsageError(
                "OBS-DRF-007", f"cannot read the profile: {error.strerror}", where=str(path), todo="write one with `obs drift profile`"
            ) from error
        except SpecError as error:
            raise SpecError(error.code, error.what, where=str(path), todo=error.todo) from error
    found, _ = load_tables([reference], over=over, resume=resume, schema=schema)
    if not found.rows:
        raise SpecError("OBS-DRF-002", "the reference has no rows", where=reference, todo="give the table that the model was trained on")
    return found


def is_profile(reference: str) -> bool:
    """Whether this is a profile rather than a table: by its first bytes, or by its name if they are damaged."""
    path = _packaged(reference)
    try:
        with path.open("rb") as file:
            return file.read(len(_PROFILE)) == _PROFILE or path.suffix in _SUFFIXES
    except OSError:
        return False  # a folder, a pattern, a URL, or nothing: the reader of tables says which


def _packaged(reference: str) -> Path:
    path = Path(reference)
    return path / _PACKAGED if (path / _PACKAGED).is_file() else path


def load_tables(
    tables: Sequence[str],
    known: ReferenceProfile | None = None,
    *,
    over: Over | None = None,
    resume: Path | None = None,
    schema: Path | None = None,
    each: Callable[[Part], None] | None = None,
) -> tuple[ReferenceProfile, list[str]]:
    """Return the profile of all `tables` together, and their files.

    Args:
        tables: files, folders, patterns and URLs.
        known: whose schema its columns are read with; if it has a section `joint`, rows are summed as a whole too.
        over: engine, see `drift_scan`; by default chosen by the number of files.
        resume: folder of the sketches of files that were read before.
        schema: file that says what columns are; the reference's word counts more.
        each: told of every file.

    Raises:
        SpecError, UsageError: of reading a table.
    """
    from mlops_obs.adapters.drift_scan import scan
    from mlops_obs.adapters.tables import Overrides, expand, infer_table, read_overrides
    from mlops_obs.collectors.drift.building import left_out_of
    from mlops_obs.collectors.drift.joint import joint_of

    sources = expand(tables)
    overrides = read_overrides(schema) if schema else Overrides()
    found = infer_table(sources, overrides, known=known.schema if known else None, ignore=left_out_of(known) if known else ())
    with _progress(sources) as step:

        def tell(part: Part) -> None:
            step(part)
            if each:
                each(part)

        joint = joint_of(known) if known else None
        return scan(sources, found.schema, joint=joint, over=over, resume=resume, each=tell), sources


def choose_engine(workers: int, ray: bool | None) -> Over:
    """Return the engine that the options ask for.

    Raises:
        UsageError: OBS-DRF-033 if Ray is asked for and not installed.
    """
    from mlops_obs.adapters.drift_scan import local

    if ray if ray is not None else bool(os.environ.get("RAY_ADDRESS")):
        from mlops_obs.adapters.ray_drift import on_ray

        return on_ray()
    return local(workers or os.cpu_count() or 1)


def check_output(output: str) -> None:
    """Refuse an output format that is not there.

    Raises:
        UsageError: OBS-DRF-008.
    """
    if output not in ("table", "json"):
        raise UsageError("OBS-DRF-008", f"{output!r} is no output format", todo="use -o table or -o json")


@contextmanager
def _progress(sources: Sequence[str]) -> Iterator[Callable[[Part], None]]:
    """Show files, rows per second and the time left on standard error, if a person looks at it and there is more than one file."""
    if len(sources) < 2 or not os.isatty(2):
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("files"), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(sources), said="")
        rows, fresh = 0, 0

        def step(part: Part) -> None:
            nonlocal rows, fresh
            rows += part.rows
            fresh += 0 if part.resumed else part.rows
            rate = fresh / max(progress.tasks[0].elapsed or 0.0, 1e-3)
            progress.update(task, advance=1, said=f"{rows:,} rows, {rate:,.0f} rows/s")

        yield step


def _nothing(part: Part) -> None:
    del part
