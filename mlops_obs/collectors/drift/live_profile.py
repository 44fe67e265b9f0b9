"""What a replica keeps of the rows it has seen: one profile for each day (UTC), made like a reference and merged like one.

Rows wait until there are a few thousand, because sketching is cheap by the block. A finished day is handed out once, for whoever
keeps it; the running day can be written at any moment and taken up again after a crash.

The trap: replicas' profiles can be added only if their columns and origins are the same. They are the reference's, never
inferred here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np

from mlops_obs.collectors.drift.columns import Block, Column, Schema
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.ring import Drained
from mlops_obs.errors import SpecError

_BLOCK = 4096  # rows that wait to be sketched


class LiveProfile:
    """Sketches of the day's rows.

    Args:
        columns: as the reference has them.
        decode: makes columns of drained rows, see `Encoder.block`.
    """

    def __init__(self, columns: Sequence[Column], decode: Callable[[Drained], Block]) -> None:
        self._schema = Schema(tuple(columns))
        self._decode = decode
        self._waiting: list[Drained] = []
        self._rows_waiting = 0
        self._profile: ReferenceProfile | None = None
        self._day = ""
        self._finished: list[tuple[str, ReferenceProfile]] = []

    @property
    def day(self) -> str:
        """The day of the rows so far, e.g. 2026-11-23; empty before there is one."""
        return self._day

    def add(self, drained: Drained, now: float) -> None:
        """Take in rows that were seen at `now` (Unix seconds)."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        if day != self._day:
            self._close_day()
            self._day = day
        if len(drained.rows):
            self._waiting.append(drained)
            self._rows_waiting += len(drained.rows)
            if self._rows_waiting >= _BLOCK:
                self._sketch()

    def profile(self) -> ReferenceProfile | None:
        """Return the profile of the day so far; None if it has no rows."""
        self._sketch()
        return self._profile

    def resume(self, day: str, profile: ReferenceProfile) -> None:
        """Add what was kept of a day before. Another day than today's is finished.

        Raises:
            SpecError: OBS-DRF-003 if its columns are others.
        """
        if set(profile.schema) != set(self._schema):
            raise SpecError("OBS-DRF-003", "the profile has other columns than this model", todo="merge profiles of one model only")
        if self._day in ("", day):
            self._day = day
            self._profile = profile if self.profile() is None else profile.merge(self._profile)  # type: ignore[arg-type]
        else:
            self._finished.append((day, profile))

    def take_finished(self) -> list[tuple[str, ReferenceProfile]]:
        """Return the days that ended since the last call, with their profiles."""
        finished, self._finished = self._finished, []
        return finished

    def _close_day(self) -> None:
        profile = self.profile()
        if profile is not None:
            self._finished.append((self._day, profile))
        self._profile = None

    def _sketch(self) -> None:
        if not self._waiting:
            return
        rows = np.concatenate([one.rows for one in self._waiting])
        vectors = tuple(np.concatenate(parts) for parts in zip(*(one.vectors for one in self._waiting), strict=True))
        self._waiting, self._rows_waiting = [], 0
        fresh = ReferenceProfile.from_block(self._decode(Drained(rows, vectors, 0)), self._schema)
        self._profile = fresh if self._profile is None else self._profile.merge(fresh)
