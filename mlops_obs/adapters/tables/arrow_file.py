"""Parquet and Arrow files as blocks of bounded memory, whatever a row weighs.

The trap: rows of a block times columns times 1 MB of text is more than any machine has. How many rows are read at once follows
from what the file says that its rows weigh, and text stays dictionary-encoded as it was written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlops_obs.adapters.tables.arrow import Unreadable, kind_of_arrow, read_column
from mlops_obs.collectors.drift.columns import INVALID, Block, Column, ColumnData, ColumnKind
from mlops_obs.collectors.drift.inference import SAMPLE_ROWS
from mlops_obs.errors import SpecError, UsageError

_BATCH_ROWS, _BATCH_BYTES = 1 << 16, 64 << 20


class ArrowFile:
    """A Parquet or Arrow IPC file.

    Args:
        path: the file.
        where: how to name it in errors.
        parquet: which of both.

    Raises:
        UsageError: OBS-TAB-003 if pyarrow is not installed.
    """

    def __init__(self, path: Path, where: str, *, parquet: bool) -> None:
        self._path, self._where, self._parquet = path, where, parquet
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "OBS-TAB-003", "pyarrow is not installed", where=where, todo="pip install 'mlops-obs[drift]' or use .csv"
            ) from error

    def kinds(self) -> tuple[dict[str, tuple[ColumnKind, int]], dict[str, str]]:
        """Return what each column is taken for (and the length of an embedding), and why others are left out.

        Raises:
            SpecError: OBS-TAB-002 if the file is not readable, OBS-TAB-005 if two columns have one name.
        """
        found: dict[str, tuple[ColumnKind, int]] = {}
        left_out: dict[str, str] = {}
        for batch in self._batches(None, SAMPLE_ROWS):
            for name, data in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    with self._readable(name):
                        found[name] = kind_of_arrow(data)
                except Unreadable as error:
                    left_out[name] = str(error)
            break
        return found, left_out

    def blocks(self, columns: Sequence[Column]) -> Iterator[Block]:
        """Yield blocks of those of the columns that the file has.

        Raises:
            SpecError: as `kinds`.
        """
        for batch in self._batches([one.name for one in columns], _BATCH_ROWS):
            found: dict[str, ColumnData] = {}
            for one in columns:
                with self._readable(one.name):
                    found |= block_of(batch, [one])
            yield found

    def _batches(self, names: Sequence[str] | None, most: int) -> Iterator[Any]:
        with self._readable():
            yield from self._parquet_batches(names, most) if self._parquet else self._ipc_batches(names)

    @contextmanager
    def _readable(self, column: str = "") -> Iterator[None]:
        """Say what Arrow and Python make of a damaged file; damage is often noticed only when the values of a column are looked at."""
        import pyarrow as pa

        try:
            yield
        except (OSError, pa.ArrowException, ValueError, KeyError, OverflowError) as error:
            kind, why = "Parquet" if self._parquet else "Arrow", (str(error).splitlines() or ["?"])[0][:300]
            where = f"{self._where}: {column}" if column else self._where
            raise SpecError("OBS-TAB-002", f"not readable as {kind}: {why}", where=where, todo="write it again") from error

    def _parquet_batches(self, names: Sequence[str] | None, most: int) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        # memory_map=False: a file that is overwritten while we read must be an error, not a crash
        with pq.ParquetFile(self._path, memory_map=False) as plain:
            schema, about = plain.schema_arrow, plain.metadata
            texts = [one.name for one in schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
        self._no_name_twice(schema.names)
        asked = set(schema.names if names is None else names)
        wanted = [name for name in schema.names if name in asked]
        weight = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups)) / max(about.num_rows, 1)
        rows = int(min(most, max(16, _BATCH_BYTES / max(weight, 8 * len(wanted), 1))))
        with pq.ParquetFile(self._path, read_dictionary=texts, pre_buffer=False) as file:
            yielded = False
            for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
                yielded = True
                yield batch
            if not yielded:
                yield schema.empty_table().select(wanted)

    def _ipc_batches(self, names: Sequence[str] | None) -> Iterator[Any]:
        import pyarrow as pa

        with pa.memory_map(str(self._path)) as source:
            try:
                reader: Any = pa.ipc.open_file(source)
                batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
            except pa.ArrowInvalid:
                source.seek(0)
                reader = pa.ipc.open_stream(source)
                batches = iter(reader)
            self._no_name_twice(reader.schema.names)
            asked = set(reader.schema.names if names is None else names)
            wanted = [name for name in reader.schema.names if name in asked]
            yielded = False
            for batch in batches:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yielded = True
                    yield batch.select(wanted).slice(start, _BATCH_ROWS)
            if not yielded:
                yield reader.schema.empty_table().select(wanted)

    def _no_name_twice(self, names: Sequence[str]) -> None:
        if len(set(names)) < len(names):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)
            raise SpecError(
                "OBS-TAB-005", f"more than one column is called {', '.join(twice)[:200]}", where=self._where, todo="rename them"
            )


def block_of(data: Any, columns: Sequence[Column]) -> Block:
    """Return the block of an Arrow table or record batch: those of the columns that it has."""
    names = set(data.schema.names)
    found: dict[str, Any] = {}
    for one in columns:
        if one.name in names:
            try:
                found[one.name] = read_column(data.column(one.name), one)
            except Unreadable:  # of a readable type in the reference: another type now
                found[one.name] = np.full(data.num_rows, INVALID)
    return found
