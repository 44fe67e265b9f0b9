"""Blocks of rows in, alarms out: the detector on the columns of a stream, with the last rows at hand to say what kind of change it is.

The cells tell that a feature moved, the values tell how: "every value is 100 times the reference's". The last rows are therefore kept, in
memory only and a bounded number of them.

The trap: a column of the reference that the stream never had (a label, an id) is not missing in every row; it is said once and not watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.alarms.alarm import Alarm
from mlops_obs.collectors.drift.alarms.detector import Detector
from mlops_obs.collectors.drift.alarms.history import began
from mlops_obs.collectors.drift.columns import Block, Categories, ColumnData, Numbers
from mlops_obs.collectors.drift.kinds import describe
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change
from mlops_obs.collectors.drift.sketches import sketch_of

_KEPT = 8_192  # rows
_LEAST = 4  # rows from which their values say what kind of change it is
_BEFORE = 64  # rows before the interval of the start that are looked at again
_EXACT = 30  # rows from which the factor of a unit change can be trusted
_SAYS_NOTHING = -1
_SURE = {Change.LOCATION, Change.SCALE}
_VAGUE = {Change.SHAPE, Change.TAIL, Change.LOCATION, Change.SCALE}


class LiveRows:
    """Feeds the columns of a stream to a detector.

    Args:
        reference: what the rows are compared with.
        detector: watches features of that reference.
        step: rows of a batch, see `Detector.update_cells`.
    """

    def __init__(self, reference: ReferenceProfile, detector: Detector, *, step: int = 4) -> None:
        self.reference, self.detector, self._step = reference, detector, step
        self._seen: set[str] = set()
        self._kept: deque[tuple[int, int, Block]] = deque()
        self._rows = 0

    @property
    def never_seen(self) -> tuple[str, ...]:
        """Features of the reference that no row had."""
        return tuple(name for name in self.detector.names if name not in self._seen)

    def add(self, block: Block, rows: int, times: Numbers | None = None) -> list[Alarm]:
        """Look at the rows of a block; a watched column that it lacks is missing in all of them, if it was ever there."""
        names = self.detector.names
        cells = np.full((rows, len(names)), _SAYS_NOTHING, dtype=np.int64)
        for place, name in enumerate(names):
            if name in block:
                self._seen.add(name)
                cells[:, place] = cells_of(self.reference.partition(name), block[name])
            elif name in self._seen:
                cells[:, place] = self.reference.partition(name).expected.size - 2
        self._keep(block, rows)
        return [self._told(one) for one in self.detector.update_cells(cells, times, self._step)]

    def look(
        self, now: float, block: Block, counts: Mapping[str, Any], rows: int, weights: Mapping[str, float] | None = None
    ) -> list[Alarm]:
        """Look at rows whose cells are counted already, see `Detector.update`; `block` are their values."""
        self._keep(block, rows)
        return [self._told(one) for one in self.detector.update(now, counts, rows, weights)]

    def _keep(self, block: Block, rows: int) -> None:
        self._kept.append((self.detector.rows, rows, block))
        self._rows += rows
        while self._rows - self._kept[0][1] > _KEPT:
            self._rows -= self._kept.popleft()[1]

    def _to_the_row(self, alarm: Alarm) -> Alarm:
        """Look for the start among the kept rows, where the detector knows only blocks of them."""
        first = max(0, alarm.rows.earliest - (alarm.rows.latest - alarm.rows.earliest) - _BEFORE)
        values = self._values(alarm.feature, first, alarm.row)
        if not values or first < self._kept[0][0]:
            return alarm
        partition = self.reference.partition(alarm.feature)
        cells = np.concatenate([cells_of(partition, one) for one in values])
        if len(cells) != alarm.row - first:
            return alarm
        rows = np.arange(first, alarm.row, dtype=np.float64)
        return replace(alarm, rows=began(rows, rows + 1, np.eye(partition.expected.size)[cells], partition.expected))

    def _values(self, feature: str, first: int, last: int) -> list[ColumnData]:
        return [
            _part(block[feature], max(0, first - start), last - start)
            for start, size, block in self._kept
            if feature in block and start < last and start + size > first
        ]

    def _told(self, alarm: Alarm) -> Alarm:
        """Say more about an alarm from the values since the change, and tell its start to the row."""
        if alarm.feature not in self.reference.sketches:
            return alarm
        alarm = self._to_the_row(alarm)
        parts = self._values(alarm.feature, alarm.rows.row, alarm.row)
        if sum(len(one.codes) if isinstance(one, Categories) else len(one) for one in parts) < _LEAST:
            return alarm
        column = self.reference.schema[alarm.feature]
        sketch = sketch_of(parts[0], column)
        for one in parts[1:]:
            sketch = sketch.merge(sketch_of(one, column))  # type: ignore[arg-type]
        partition, before = self.reference.partition(alarm.feature), self.reference.sketches[alarm.feature]
        change, words = describe(before, sketch, partition, partition.count(sketch), origin=column.origin)  # type: ignore[arg-type]
        if change is not Change.UNIT and (change is alarm.change or (alarm.change in _SURE and change in _VAGUE)):
            return alarm  # the detector's words name what is normal; few rows say "shape" to whoever does not know the question
        if change is Change.UNIT and sketch.rows < _EXACT:
            words = f"a unit change, as far as {sketch.rows} rows say: {words.removesuffix(': a unit change')}"
        return replace(alarm, change=change, words=f"{alarm.feature}: {words}")


def _part(data: ColumnData, first: int, last: int) -> ColumnData:
    return Categories(data.codes[first:last], data.names) if isinstance(data, Categories) else data[first:last]
