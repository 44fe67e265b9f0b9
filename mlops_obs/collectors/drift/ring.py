"""The place where a request leaves its row and goes on: preallocated, bounded, without a lock.

A writer takes a ticket (atomic), copies its row into the ticket's slot and stamps it. One reader drains what is stamped. If the reader
falls behind, the oldest rows are overwritten and counted by their tickets, never waited for.

The trap: a writer may be suspended in the middle of its row for longer than a whole lap. Its late stamp is then older than what
was drained from the slot; it is ignored, and the lap has already counted it as lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import Numbers, Vectors

_WRITING = -1
_BLOCK = 1024  # rows of a table that are written at once


@dataclass(frozen=True, slots=True, eq=False)
class Drained:
    """Rows in the order of their tickets: (rows, columns), beside them a (rows, size) array for each embedding, and how many were lost."""

    rows: Numbers
    vectors: tuple[Vectors, ...]
    lost: int


class Ring:
    """Holds the last `capacity` rows of `columns` float64 values and, beside them, one float32 vector for each size in `sizes`."""

    def __init__(self, columns: int, capacity: int, sizes: Sequence[int] = ()) -> None:
        self._values = np.empty((capacity, columns), dtype=np.float64)
        self._vectors = tuple(np.empty((capacity, size), dtype=np.float32) for size in sizes)
        self._stamp = np.zeros(capacity, dtype=np.int64)  # which row a slot holds, counted from 1; _WRITING while it changes
        self._drained = np.zeros(capacity, dtype=np.int64)  # the stamp a slot had when it was drained
        self._ticket = count()  # next() is atomic: each row gets a slot of its own
        self._capacity = capacity
        self._row_bytes = 8 * columns
        self._bytes = memoryview(self._values.data).cast("B") if columns else memoryview(bytearray())
        self._pack = Struct(f"={columns}d").pack

    def put(self, row: Sequence[float], vectors: Sequence[Vectors] = ()) -> None:
        """Keep one row. Safe from any thread.

        Raises:
            struct.error: `row` has another number of values, or one that is no float. Nothing is kept then.
        """
        packed = self._pack(*row)  # before the ticket: a row that cannot be packed must not leave a slot half written
        ticket = next(self._ticket)
        slot = ticket % self._capacity
        self._stamp[slot] = _WRITING
        start = slot * self._row_bytes
        self._bytes[start : start + self._row_bytes] = packed
        for place, vector in enumerate(vectors):
            self._vectors[place][slot] = vector
        self._stamp[slot] = ticket + 1

    def put_array(self, row: Numbers) -> None:
        """Keep one row that is an array of shape (columns,) already. Safe from any thread."""
        ticket = next(self._ticket)
        slot = ticket % self._capacity
        self._stamp[slot] = _WRITING
        self._values[slot] = row
        self._stamp[slot] = ticket + 1

    def put_block(self, rows: Numbers, vectors: Sequence[Vectors] = ()) -> None:
        """Keep an array of shape (rows, columns). Safe from any thread; other threads' rows may come in between."""
        step = min(_BLOCK, self._capacity)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            size = len(rows[part])
            tickets = np.fromiter(islice(self._ticket, size), dtype=np.int64, count=size)
            slots = tickets % self._capacity
            self._stamp[slots] = _WRITING
            self._values[slots] = rows[part]
            for kept, vector in zip(self._vectors, vectors, strict=False):
                kept[slots] = vector[part]
            self._stamp[slots] = tickets + 1

    def drain(self) -> Drained:
        """Return what was put since the last drain. Call from one thread only."""
        stamps = self._stamp.copy()
        slots = np.flatnonzero(stamps > self._drained)  # _WRITING is below all of them
        slots = slots[np.argsort(stamps[slots])]
        rows = self._values[slots]
        vectors = tuple(kept[slots] for kept in self._vectors)
        intact = self._stamp[slots] == stamps[slots]  # a row that was overwritten meanwhile comes with the next drain
        if not intact.all():
            slots, rows = slots[intact], rows[intact]
            vectors = tuple(vector[intact] for vector in vectors)
        laps: NDArray[np.int64] = (stamps[slots] - 1) // self._capacity - (self._drained[slots] - 1) // self._capacity
        self._drained[slots] = stamps[slots]
        return Drained(rows, vectors, int((laps - 1).sum()))
