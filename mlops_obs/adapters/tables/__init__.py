"""Tables that people have, as blocks: Parquet, Arrow and CSV files, folders and addresses of them, and Arrow tables in memory.

`infer_table` says once what the columns are, from the first rows of the first file; `blocks` reads any file as that, a bounded
number of rows at a time. What cannot be read as its column's kind is invalid in its row: data, not an error.

The trap: a row's own time and its number grow for ever; as features they would drift in every window. They are left out, by
name and with the reason, unless a schema says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.adapters.tables.arrow import Unreadable, kind_of_arrow
from mlops_obs.adapters.tables.arrow_file import ArrowFile, block_of
from mlops_obs.adapters.tables.csv_file import CsvFile
from mlops_obs.adapters.tables.overrides import Overrides, read_overrides
from mlops_obs.adapters.tables.sources import FORMATS, expand, is_address, local
from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnKind, Role, Schema, rows_of
from mlops_obs.collectors.drift.inference import SAMPLE_ROWS, origin_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import sketch_of
from mlops_obs.errors import SpecError

_NONE = Overrides()
_COUNTED = 100  # rows from which a column that grows by one with each row is the row's number
_ORIGINS = (ColumnKind.NUMBER, ColumnKind.TIMESTAMP)


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What a table's columns are: the `schema` of those that are compared, the others with the reason, the segment and time columns."""

    schema: Schema
    left_out: Mapping[str, str] = field(default_factory=dict)
    segment: Column | None = None
    time: Column | None = None

    @property
    def readable(self) -> Schema:
        """All columns to read: those that are compared, and the segment and time columns where they are not among them."""
        beside = [one for one in (self.segment, self.time) if one and one.name not in self.schema.names]
        return Schema((*self.schema.columns, *beside))


def infer_table(
    sources: Sequence[str], overrides: Overrides = _NONE, *, known: Schema | None = None, ignore: Collection[str] = ()
) -> TableSchema:
    """Say what the columns are, from the first rows of the first file that has rows.

    Args:
        sources: what `expand` returned.
        overrides: what a person says.
        known: the reference's schema: its columns come first and as they are, whether the table has them or not.
        ignore: columns beyond the known ones that are no news: those that the reference left out.

    Raises:
        SpecError: OBS-TAB-002 if there is no column to compare, OBS-TAB-008 if the overrides name a column that is not there;
            and what the readers raise.
    """
    columns, left_out = _look_at(sources, overrides)
    told = {one.name: one for one in known or ()}
    left_out = {name: why for name, why in left_out.items() if name not in told}
    left_out |= {one.name: "left out of the reference" for one in columns if one.name in ignore and one.name not in told}
    columns = [*told.values(), *(one for one in columns if one.name not in told)]
    names = {*(one.name for one in columns), *left_out}
    asked = {*overrides.kinds, *overrides.roles, *overrides.left_out, overrides.segment, overrides.time} - {""}
    if asked - names:
        has = ", ".join(sorted(names))[:300]
        raise SpecError("OBS-TAB-008", f"no column {', '.join(sorted(asked - names))}", where=sources[0], todo=f"the table has {has}")
    by_name = {one.name: one for one in columns}
    kept = [one for one in columns if one.name not in left_out]
    if not kept:
        raise SpecError("OBS-TAB-002", "no column can be compared", where=sources[0], todo="give a table with the model's features")
    return TableSchema(Schema(tuple(kept)), left_out, by_name.get(overrides.segment), by_name.get(overrides.time))


def blocks(source: str, schema: Schema, *, extra: bool = False) -> Iterator[Block]:
    """Yield the rows of a file or address in blocks of bounded size: the columns of the schema that it has.

    Args:
        source: one of `expand`.
        schema: which columns, and as what.
        extra: read columns beyond the schema too, as what they look like here.

    Raises:
        UsageError, SpecError: OBS-TAB-001 to OBS-TAB-007.
    """
    with _open(source) as reader:
        columns = list(schema)
        if extra:
            told = set(schema.names)
            columns += [one for one in _columns(reader, _NONE)[0] if one.name not in told]
        yield from reader.blocks(columns)


def schema_of_arrow(table: Any) -> Schema:
    """Return what the columns of an Arrow table in memory are taken for; those of no type of ours are left out."""
    columns = []
    for name in table.schema.names:
        try:
            kind, size = kind_of_arrow(table.column(name).slice(0, SAMPLE_ROWS))
        except Unreadable:
            continue
        columns.append(Column(name, kind, size=size))
    return Schema(tuple(_with_origins(columns, block_of(table.slice(0, SAMPLE_ROWS), columns))))


def profile_of_arrow(table: Any, schema: Schema | None = None) -> ReferenceProfile:
    """Return the profile of an Arrow table in memory, column by column: beside the table one column is held, not all of them."""
    schema = schema or schema_of_arrow(table)
    names = set(table.schema.names)
    present = [one for one in schema if one.name in names]
    return ReferenceProfile(Schema(tuple(present)), {one.name: sketch_of(block_of(table, [one])[one.name], one) for one in present})


def block_of_arrow(table: Any, schema: Schema) -> Block:
    """Return the block of an Arrow table or record batch in memory; numbers without nulls are not copied."""
    return block_of(table, schema.columns)


def _look_at(sources: Sequence[str], overrides: Overrides) -> tuple[list[Column], dict[str, str]]:
    """Return the columns of the first file that has rows, and why some are left out; the first SAMPLE_ROWS rows of all files decide."""
    columns: list[Column] = []
    left_out: dict[str, str] = {}
    sample: dict[str, list[NDArray[np.float64]]] = {}
    rows = 0
    for source in sources:
        with _open(source) as reader:
            if not rows:
                columns, left_out = _columns(reader, overrides)
            for block in reader.blocks([one for one in columns if one.kind in _ORIGINS] or columns):
                for name, data in block.items():
                    if not isinstance(data, Categories) and data.ndim == 1:
                        sample.setdefault(name, []).append(np.asarray(data[: SAMPLE_ROWS - rows], dtype=np.float64))
                rows += rows_of(block)
                if rows >= SAMPLE_ROWS:
                    break
        if rows >= SAMPLE_ROWS:
            break
    first = {name: np.concatenate(parts) for name, parts in sample.items()}
    left_out |= {name: why for name, why in overrides.left_out.items() if name in {one.name for one in columns}}
    told = {*overrides.kinds, *overrides.roles}
    for one in columns:
        if one.name == overrides.time and one.name not in overrides.roles:
            left_out[one.name] = "the time of the row"
        elif one.name not in told and one.name not in left_out:
            why = _grows(one, first)
            if why:
                left_out[one.name] = why
    return _with_origins(columns, first), left_out


@contextmanager
def _open(source: str) -> Iterator[ArrowFile | CsvFile]:
    with local(source) as (path, kind):
        yield CsvFile(path, source) if kind == "csv" else ArrowFile(path, source, parquet=kind == "parquet")


def _columns(reader: ArrowFile | CsvFile, overrides: Overrides) -> tuple[list[Column], dict[str, str]]:
    left_out: dict[str, str] = {}
    if isinstance(reader, CsvFile):
        kinds = {name: (kind, 0) for name, kind in reader.kinds().items()}
    else:
        kinds, left_out = reader.kinds()
    columns = []
    for name, (kind, size) in kinds.items():
        asked = overrides.kinds.get(name, kind)
        numbers = kind in (ColumnKind.NUMBER, ColumnKind.TIMESTAMP)
        coded = asked is ColumnKind.CATEGORY and numbers and not isinstance(reader, CsvFile)
        columns.append(Column(name, asked, overrides.roles.get(name, Role.FEATURE), size=size, coded=coded))
    return columns, left_out


def _with_origins(columns: Sequence[Column], first: Block) -> list[Column]:
    found = []
    for one in columns:
        data = first.get(one.name)
        plain = data is not None and one.kind in _ORIGINS and not isinstance(data, Categories)
        found.append(replace(one, origin=origin_of(np.asarray(data, dtype=np.float64))) if plain else one)
    return found


def _grows(column: Column, first: Block) -> str:
    data = first.get(column.name)
    if data is None or isinstance(data, Categories) or column.kind not in _ORIGINS or len(data) < _COUNTED:
        return ""
    steps = np.diff(np.asarray(data, dtype=np.float64))
    if column.kind is ColumnKind.TIMESTAMP and (steps >= 0).all() and (steps > 0).any():
        return "grows from row to row: the time of the row"
    return "grows by one with each row: the row's number" if (steps == 1).all() else ""


__all__ = [
    "FORMATS",
    "Overrides",
    "TableSchema",
    "block_of_arrow",
    "blocks",
    "expand",
    "infer_table",
    "is_address",
    "profile_of_arrow",
    "read_overrides",
    "schema_of_arrow",
]
