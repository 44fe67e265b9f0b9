"""The profile of a table: what is kept of the rows that a model was trained on, and the form in which every window is compared.

One sketch for each column, and named sections that other modules write and read with codecs of their own (segments, seasons,
joint moments, impact, expectations); a reader keeps and passes on the sections that it does not know. A profile holds no rows.
The same rows give the same bytes, on every machine and in whatever order their shards were merged; their SHA-256 is the
profile's address.

The trap: a section says something about *all* rows of its profile. `merge` therefore drops the sections of both sides; whoever
merges shards adds them afterwards.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mlops_obs.collectors.drift.columns import Block, Column, ColumnData, ColumnKind, Numbers, Role, Schema
from mlops_obs.collectors.drift.inference import infer_schema
from mlops_obs.collectors.drift.partition import Partition, partition_of
from mlops_obs.collectors.drift.sketches import Sketch, read_sketch, sketch_bytes, sketch_of
from mlops_obs.collectors.drift.sketches.codec import join, split
from mlops_obs.collectors.drift.sketches.format_1 import MAGIC as MAGIC_1
from mlops_obs.collectors.drift.sketches.format_1 import read_format_1
from mlops_obs.errors import SpecError

MAGIC = b"mlops-obs reference 2\n"
_DIGEST = 32  # bytes of the SHA-256 at the end
_SKETCHES = "sketches"
_AGAIN = "write it again with `obs drift profile`"


@dataclass(frozen=True, eq=False)
class ReferenceProfile:
    """The sketches of a table's columns, in the model's order.

    Args:
        schema: the columns.
        sketches: one for each column of the schema.
        sections: named parts of other modules: bytes that are kept as they are.
        whole: whose cells this profile is compared in, if it is a segment's or an hour's; not part of the bytes.
    """

    schema: Schema
    sketches: Mapping[str, Sketch]
    sections: Mapping[str, bytes] = field(default_factory=dict)
    whole: ReferenceProfile | None = field(default=None, repr=False)

    @classmethod
    def from_block(cls, block: Block, schema: Schema | None = None) -> ReferenceProfile:
        """Profile a block of rows; without a schema it is inferred. Columns of the schema that the block lacks are left out.

        Data of another type than its column is counted as invalid in every row that is not missing.
        """
        schema = schema or infer_schema(block)
        present = Schema(tuple(one for one in schema if one.name in block))
        return cls(present, {one.name: sketch_of(block[one.name], one) for one in present})

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike], schema: Schema | None = None) -> ReferenceProfile:
        """Profile a table given as {feature: numbers}; NaN and None are missing. Shards that are to be merged need one schema.

        Raises:
            SpecError: OBS-DRF-002 if there is no column or no row, or a column is not numeric.
        """
        block: dict[str, Numbers] = {}
        for name, values in columns.items():
            try:
                block[str(name)] = np.ascontiguousarray(np.asarray(values, dtype=np.float64)).reshape(-1)
            except (TypeError, ValueError) as error:
                raise SpecError("OBS-DRF-002", f"column {name!r} is not numeric: {error}", todo="encode it as the model does") from error
        if not any(len(data) for data in block.values()):
            raise SpecError("OBS-DRF-002", "the reference has no rows", todo="profile the table that the model was trained on")
        return cls.from_block(block, schema)

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return max((sketch.rows for sketch in self.sketches.values()), default=0)

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that the model sees or says: all but the labels, in the model's order."""
        return tuple(one.name for one in self.schema if one.role is not Role.LABEL)

    def partition(self, name: str) -> Partition:
        """Return the cells in which a column is compared. Embeddings have none.

        Raises:
            SpecError: OBS-DRF-004 if the profile has no such column.
        """
        if name not in self._partitions:
            if name not in self.sketches:
                raise SpecError("OBS-DRF-004", f"the reference lacks {name}", todo="profile the table that the model was trained on")
            if self.whole is None:
                self._partitions[name] = partition_of(self.sketches[name], self.schema[name])
            else:
                cells = self.whole.partition(name)
                self._partitions[name] = replace(cells, expected=cells.count(self.sketches[name]))  # type: ignore[arg-type]
        return self._partitions[name]

    def for_segment(self, value: str) -> ReferenceProfile:
        """Return the reference of one segment, in the cells of the whole; the whole if it keeps none of that name."""
        from mlops_obs.collectors.drift.matched import of_segment

        return of_segment(self, value)

    def for_hour_of_week(self, hour: int) -> ReferenceProfile:
        """Return the reference of an hour of the week (0 is Monday 00:00 UTC), in the cells of the whole; the whole without a season."""
        from mlops_obs.collectors.drift.matched import of_hour

        return of_hour(self, hour)

    @cached_property
    def _partitions(self) -> dict[str, Partition]:
        return {}

    @cached_property
    def digest(self) -> str:
        """The content address: SHA-256 of the bytes, in hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def merge(self, other: ReferenceProfile) -> ReferenceProfile:
        """Return the profile of both tables, without sections.

        Raises:
            SpecError: OBS-DRF-003 if the columns or their kinds or origins differ.
        """
        mine, theirs = set(self.schema), set(other.schema)
        if mine != theirs:
            different = sorted({one.name for one in mine ^ theirs})
            raise SpecError(
                "OBS-DRF-003", f"the profiles differ in {', '.join(different)}", todo="merge profiles made with one schema only"
            )
        merged = {name: sketch.merge(other.sketches[name]) for name, sketch in self.sketches.items()}  # type: ignore[arg-type]
        return ReferenceProfile(self.schema, merged)

    def padded(self, schema: Schema) -> ReferenceProfile:
        """Return the profile with every column of `schema`; in those that it lacks, every row is missing. For files of one table."""
        lacking = {one.name: sketch_of(np.full(self.rows, np.nan), one) for one in schema if one.name not in self.sketches}
        sketches = {**self.sketches, **lacking}
        return ReferenceProfile(schema, {one.name: sketches[one.name] for one in schema}, self.sections)

    def with_section(self, name: str, content: bytes) -> ReferenceProfile:
        """Return this profile with a named part added or replaced."""
        return ReferenceProfile(self.schema, self.sketches, {**self.sections, name: content})

    def to_bytes(self) -> bytes:
        """Serialise as format 2: magic line, JSON line, sections in the order of their names, SHA-256 of all that."""
        parts = {**self.sections, _SKETCHES: join(sketch_bytes(self.sketches[one.name]) for one in self.schema)}
        header = {"columns": self.schema.to_json(), "sections": {name: len(parts[name]) for name in sorted(parts)}}
        body = MAGIC + json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        body += b"".join(parts[name] for name in sorted(parts))
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReferenceProfile:
        """Read what `to_bytes` wrote, of this format or of the first.

        Raises:
            SpecError: OBS-DRF-001 if `data` is something else, cut short or damaged.
        """
        try:
            if data.startswith(MAGIC_1):
                sketches = read_format_1(data)
                return cls(Schema(tuple(Column(name) for name in sketches)), sketches)
            return cls._from_format_2(data)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OverflowError, zlib.error, SpecError) as error:
            raise SpecError("OBS-DRF-001", "not an intact reference profile", todo=_AGAIN) from error

    @classmethod
    def _from_format_2(cls, data: bytes) -> ReferenceProfile:
        body, digest = data[:-_DIGEST], data[-_DIGEST:]
        if not body.startswith(MAGIC) or hashlib.sha256(body).digest() != digest:
            raise ValueError("magic line or digest")
        line, _, packed = body[len(MAGIC) :].partition(b"\n")
        header = json.loads(line)
        schema, parts, place = Schema.from_json(header["columns"]), {}, 0
        for name, length in header["sections"].items():
            parts[str(name)] = packed[place : place + length]
            place += length
        if place != len(packed):
            raise ValueError("sections")
        blobs = split(parts.pop(_SKETCHES))
        return cls(schema, {one.name: read_sketch(blob, one.kind) for one, blob in zip(schema, blobs, strict=True)}, parts)


def empty_profile(schema: Schema) -> ReferenceProfile:
    """Return the profile of no rows: what merging starts from, and what a window without rows is."""
    return ReferenceProfile(schema, {one.name: sketch_of(_nothing(one), one) for one in schema})


def _nothing(column: Column) -> ColumnData:
    return np.zeros((0, column.size), dtype=np.float32) if column.kind is ColumnKind.EMBEDDING else np.zeros(0)
