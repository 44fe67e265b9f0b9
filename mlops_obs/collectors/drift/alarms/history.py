"""What was counted lately, coarser the longer ago it is: enough to say since when a change has been there.

Blocks of rows, at most `_SAME` of one size; when there are more, the two oldest of that size become one (as exponential histograms do:
Datar, Gionis, Indyk, Motwani 2002). So the blocks grow with their age, and a start can be told to about a tenth of its age.

The trap: an alarm is not raised at the moment at which the change began; the rows that brought the evidence lie between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.alarm import RowSpan
from mlops_obs.collectors.drift.attribution.changepoint import Blocks, since
from mlops_obs.collectors.drift.results import Since

Counts = NDArray[np.float64]
_SAME = 16  # blocks of one size
_STATE = 24  # blocks kept when the state is written


@dataclass(slots=True)
class _Block:
    start: float
    end: float
    first: int
    rows: int
    counts: Counts
    level: int = 0

    def join(self, later: _Block, level: int) -> _Block:
        return _Block(self.start, later.end, self.first, self.rows + later.rows, self.counts + later.counts, level)


@dataclass(slots=True)
class History:
    """Counts (features, cells) of the rows seen, in blocks; the newest last."""

    blocks: list[_Block] = field(default_factory=list)

    def add(self, start: float, end: float, first: int, rows: int, counts: Counts) -> None:
        """Add the newest rows: `first` is the number of their first row, `counts` (features, cells) is kept."""
        self.blocks.append(_Block(start, end, first, rows, counts))
        level, newest = 0, len(self.blocks)
        while True:
            oldest = newest
            while oldest and self.blocks[oldest - 1].level == level:
                oldest -= 1
            if newest - oldest <= _SAME:
                return
            self.blocks[oldest : oldest + 2] = [self.blocks[oldest].join(self.blocks[oldest + 1], level + 1)]
            newest, level = oldest + 1, level + 1

    def since(self, feature: int, expected: NDArray[np.int64], clock: bool, effect: float = 1.0) -> tuple[RowSpan, Since | None, Counts]:
        """Return when a change of a feature began, in rows and in time, and its counts (cells,) since then.

        Args:
            feature: its place in the counts.
            expected: (cells,) the reference's rows.
            clock: whether the times of the blocks are Unix seconds.
            effect: how many rows one independent row was counted as.
        """
        if not self.blocks:
            return RowSpan(0, 0, 0), None, np.zeros(expected.size)
        counts = np.array([one.counts[feature, : expected.size] for one in self.blocks])
        first = np.array([one.first for one in self.blocks], dtype=np.float64)
        last = first + [one.rows for one in self.blocks]
        found = began(first, last, counts, expected, effect)
        after = counts[last > found.row].sum(axis=0)
        if not clock:
            return found, None, after
        rows, times = np.append(first, last[-1]), np.append([one.start for one in self.blocks], self.blocks[-1].end)
        at, earliest, latest = np.interp([found.row, found.earliest, found.latest], rows, times).tolist()
        return found, Since(at, earliest, latest), after

    def to_json(self) -> list[dict[str, Any]]:
        """Return plain data; only the newest blocks are kept apart."""
        kept = self.blocks[-_STATE:]
        return [
            {"start": one.start, "end": one.end, "first": one.first, "rows": one.rows, "level": one.level, "counts": one.counts.tolist()}
            for one in kept
        ]

    @classmethod
    def from_json(cls, data: Any, shape: tuple[int, int]) -> History:
        """Read what `to_json` wrote; blocks of another shape are dropped."""
        blocks = [
            _Block(float(one["start"]), float(one["end"]), int(one["first"]), int(one["rows"]), np.array(one["counts"]), int(one["level"]))
            for one in data
        ]
        return cls([one for one in blocks if one.counts.shape == shape])


def began(first: Counts, last: Counts, counts: Counts, expected: NDArray[np.int64], effect: float = 1.0) -> RowSpan:
    """Return when a change began, in rows, from blocks of rows `first` to `last` with `counts` (blocks, cells); see `changepoint.since`."""
    found = since(Blocks.of(first, last, counts), expected, effect)
    if found is None:
        return RowSpan(int(last[-1]), int(first[0]), int(last[-1]))
    return RowSpan(int(found.at), int(found.earliest), ceil(found.latest))
