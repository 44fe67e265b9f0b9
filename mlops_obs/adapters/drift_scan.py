"""One pass over many table files: each becomes a sketch, the sketches merge to one profile. On one machine here, on Ray in `ray_drift`.

Only sketches are held, so the tables may be larger than memory; merging is exact, so the profile has the same bytes whatever did the
work and in whatever order files came back. With a folder to resume from, the sketch of each file is kept in it under a name that is
made of the file's path, size and time and the schema: a scan that was killed goes on where it was, and tomorrow's scan of the same
folder reads the new files only.

The trap: files of one table need not have the same columns. Rows of a file that lacks a column are rows where it is missing; a column
that no file has is not in the profile at all, which is how `compare` knows that it is gone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema, rows_of
from mlops_obs.collectors.drift.joint import SECTION, Joint, without_rows
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import Sketch, VectorSketch, sketch_of
from mlops_obs.collectors.drift.thinning import thinned
from mlops_obs.errors import PlatformError, SpecError, StateError

_FORMAT = "1"  # part of a kept sketch's name: raise it when sketches of the same file change
_AHEAD = 2  # files in flight for each worker: results wait for no slow file, and do not pile up


@dataclass(frozen=True, slots=True)
class Part:
    """The sketch of one file."""

    source: str
    profile: ReferenceProfile
    rows: int
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What to do with each file: the columns to sketch; and, to sum rows as a whole, a reference's section `joint` without rows."""

    schema: Schema
    joint: bytes = b""


Over = Callable[[Sequence[str], Work], Iterable[tuple[str, bytes]]]  # an engine: yields (source, `pack`ed sketch) in any order


def scan(
    sources: Sequence[str],
    schema: Schema,
    *,
    joint: Joint | None = None,
    over: Over | None = None,
    resume: Path | None = None,
    each: Callable[[Part], None] | None = None,
) -> ReferenceProfile:
    """Return the profile of all `sources` together; of sections it has `joint`, if that is given.

    Args:
        sources: files or URLs, as `expand` lists them.
        schema: what to read; columns of it that no file has are left out.
        joint: of the reference, to sum the rows as a whole by its scores (30 us for each of at most 8,192 rows of a block).
        over: what does the work: `plain` (default), `processes(n)` or `ray_drift.on_ray()`.
        resume: folder with the sketches of files that were read before; made if it is not there.
        each: told of every file when it is done, in the order in which they come.

    Raises:
        SpecError, UsageError: of reading a table.
        StateError: OBS-DRF-031 if the folder cannot be written.
    """
    work = Work(schema, without_rows(joint).to_bytes() if joint else b"")
    summed = Joint.from_bytes(work.joint) if joint else None
    kept = _Kept(resume, work) if resume else None
    groups: dict[Schema, tuple[ReferenceProfile, int]] = {}
    waiting: list[str] = []

    def add(part: Part) -> None:
        nonlocal summed
        columns = part.profile.schema
        before = groups.get(columns)
        groups[columns] = (before[0].merge(part.profile), before[1] + part.rows) if before else (part.profile, part.rows)
        if summed:
            summed = summed.merge(Joint.from_bytes(part.profile.sections[SECTION]))
        if each:
            each(part)

    for source in sources:
        found = kept.read(source) if kept else None
        if found is None:
            waiting.append(source)
        else:
            add(Part(source, *found, resumed=True))
    for source, content in (over or plain)(waiting, work):
        if kept:
            kept.write(source, content)
        add(Part(source, *unpack(content)))
    whole = _whole(groups, schema)
    return whole.with_section(SECTION, summed.to_bytes()) if summed else whole


def plain(sources: Sequence[str], work: Work) -> Iterator[tuple[str, bytes]]:
    """Read file after file in this process."""
    for source in sources:
        yield source, sketch_file(source, work)


def processes(workers: int) -> Over:
    """Return an engine of `workers` processes."""

    def over(sources: Sequence[str], work: Work) -> Iterator[tuple[str, bytes]]:
        # spawned, not forked: the parent may have threads (Arrow's, a telemetry handle's) that a fork would leave in the middle of a lock
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            queue = list(reversed(sources))
            flying: list[tuple[str, Any]] = []
            try:
                while queue or flying:
                    while queue and len(flying) < _AHEAD * workers:
                        source = queue.pop()
                        flying.append((source, pool.submit(sketch_file, source, work)))
                    source, future = flying.pop(0)
                    yield source, future.result()
            except BrokenProcessPool as error:
                raise PlatformError(
                    "OBS-DRF-032", "a reading process died", todo="give --workers 1, or more memory; --resume keeps what is done"
                ) from error
            finally:
                for _, future in flying:
                    future.cancel()

    return over


def sketch_file(source: str, work: Work) -> bytes:
    """Return the packed sketch of one file; runs in whatever process the engine has."""
    from mlops_obs.adapters.tables import blocks

    merged: dict[Schema, ReferenceProfile] = {}
    summed = Joint.from_bytes(work.joint) if work.joint else None
    rows = 0
    for block in blocks(source, work.schema):
        one = ReferenceProfile.from_block(block, work.schema)
        summed = summed.add(thinned(block)) if summed and block else summed
        merged[one.schema] = merged[one.schema].merge(one) if one.schema in merged else one
        rows += rows_of(block)
    groups = {columns: (one, one.rows) for columns, one in merged.items()}
    profile = next(iter(merged.values())) if len(merged) == 1 else _whole(groups, work.schema)
    if summed:
        profile = profile.with_section(SECTION, summed.to_bytes())
    return pack(profile, rows)


def pack(profile: ReferenceProfile, rows: int) -> bytes:
    """Write the sketch of a file with its number of rows, which a file without any known column has too."""
    return rows.to_bytes(8, "big") + profile.to_bytes()


def unpack(content: bytes) -> tuple[ReferenceProfile, int]:
    """Read what `pack` wrote.

    Raises:
        SpecError: OBS-DRF-001 if it is something else or damaged.
    """
    return ReferenceProfile.from_bytes(content[8:]), int.from_bytes(content[:8], "big")


def _whole(groups: dict[Schema, tuple[ReferenceProfile, int]], schema: Schema) -> ReferenceProfile:
    """Merge the files of one set of columns with those of another: what a file lacks is missing in each of its rows."""
    known = {one.name for columns in groups for one in columns}
    present = Schema(tuple(one for one in schema if one.name in known))
    whole: ReferenceProfile | None = None
    for profile, rows in (groups[key] for key in sorted(groups, key=lambda one: one.names)):
        sketches = {one.name: profile.sketches[one.name] if one.name in profile.sketches else _all_missing(one, rows) for one in present}
        full = ReferenceProfile(present, sketches)
        whole = whole.merge(full) if whole else full
    return whole or ReferenceProfile(present, {})


def _all_missing(column: Column, rows: int) -> Sketch:
    if column.kind is ColumnKind.EMBEDDING:
        nothing = VectorSketch.empty(column.size)
        return replace(nothing, lengths=replace(nothing.lengths, missing=rows))
    empty = sketch_of(np.zeros(0), column)
    return empty if isinstance(empty, VectorSketch) else replace(empty, missing=rows)


class _Kept:
    """The folder with the sketches of files that were read before."""

    def __init__(self, folder: Path, work: Work) -> None:
        self._folder = folder
        self._work = json.dumps(work.schema.to_json(), sort_keys=True) + hashlib.sha256(work.joint).hexdigest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def read(self, source: str) -> tuple[ReferenceProfile, int] | None:
        """Return what was kept of a file as it is now; a damaged sketch is made again."""
        path = self._path(source)
        if path is None:
            return None
        try:
            return unpack(path.read_bytes())
        except (OSError, SpecError):
            return None

    def write(self, source: str, content: bytes) -> None:
        """Keep the sketch of a file: whole or not at all, on the disk before its name appears."""
        path = self._path(source)
        if path is None:
            return
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise self._refused(error) from error
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _path(self, source: str) -> Path | None:
        try:
            seen = Path(source).stat()
        except OSError:  # a URL: whether it still says the same is not known
            return None
        said = f"{_FORMAT}\n{Path(source).resolve()}\n{seen.st_size}\n{seen.st_mtime_ns}\n{self._work}"
        return self._folder / f"{hashlib.sha256(said.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}.sketch"

    def _refused(self, error: OSError) -> StateError:
        return StateError(
            "OBS-DRF-031", f"sketches cannot be kept: {error.strerror}", where=str(self._folder), todo="give another --resume folder"
        )


def local(workers: int) -> Over:
    """Return what reads on this machine: one process, unless there are several files and more workers."""

    def over(sources: Sequence[str], work: Work) -> Iterable[tuple[str, bytes]]:
        count = min(workers, len(sources))
        return (processes(count) if count > 1 else plain)(sources, work)

    return over
