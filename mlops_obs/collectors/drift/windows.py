"""Windows of rows, judged one after the other; and what the cells of a block of rows are, found once for all who count.

A window is looked at when an eighth, a quarter and a half of its rows are in, and closes early if it has drifted by then: a unit
change should not have to wait for 500 rows at canary traffic. The looks share the chance of a false alarm.

The trap: a window of requests is not a sample of customers. `repeats` counts a customer who asks often as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Block, Categories, Column, rows_of
from mlops_obs.collectors.drift.compare import combine, score_windows
from mlops_obs.collectors.drift.evidence import Tolerances
from mlops_obs.collectors.drift.matched import SEASONS, hour_of_week
from mlops_obs.collectors.drift.partition import CategoryPartition, Partition, cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.repeats import Repeats, Weight
from mlops_obs.collectors.drift.results import FeatureResult, Verdict
from mlops_obs.collectors.drift.sketches.numbers import codes_of
from mlops_obs.collectors.drift.sketches.vectors import lengths_of

LOOKS = (8, 4, 2, 1)  # a window is scored at these fractions of its rows

Cells = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Celled:
    """Rows as cells: (rows, columns), and for the witnesses of repeats (rows, witnesses) numbers that tie where their values do."""

    cells: Cells
    ties: Cells

    def __len__(self) -> int:
        return len(self.cells)

    def split(self, rows: int) -> tuple[Celled, Celled]:
        """Return the first `rows` and the rest."""
        return Celled(self.cells[:rows], self.ties[:rows]), Celled(self.cells[rows:], self.ties[rows:])


class CellCounter:
    """Finds the cells of blocks of rows, for the columns that the reference can compare.

    Args:
        reference: the model's reference.
        columns: the columns to watch; the cells of embeddings are those of their lengths.
    """

    def __init__(self, reference: ReferenceProfile, columns: Sequence[Column]) -> None:
        self.columns = tuple(one for one in columns if one.name in reference.sketches)
        self.partitions: tuple[Partition, ...] = tuple(reference.partition(one.name) for one in self.columns)
        self.repeats = Repeats([reference.sketches[one.name] for one in self.columns])
        self._reference = reference
        self._by_hour: dict[int, tuple[Partition, ...]] | None = {} if SEASONS in reference.sections else None
        self._of_code: dict[str, Cells] = {}  # the cell of each name seen so far: they only grow

    def of(self, block: Block) -> Celled:
        """Return the cells of a block."""
        rows = rows_of(block)
        cells = np.empty((rows, len(self.columns)), dtype=np.int64)
        for place, (column, partition) in enumerate(zip(self.columns, self.partitions, strict=True)):
            data = block[column.name]
            if isinstance(data, Categories) and isinstance(partition, CategoryPartition):
                cells[:, place] = self._named(column.name, data, partition)
            else:
                cells[:, place] = cells_of(partition, data)
        ties = np.empty((rows, len(self.repeats.witnesses)), dtype=np.int64)
        for number, place in enumerate(self.repeats.witnesses):
            data = block[self.columns[place].name]
            if isinstance(data, Categories):
                ties[:, number] = data.codes
            else:
                values = lengths_of(data) if data.ndim == 2 else np.asarray(data, dtype=np.float64)
                ties[:, number] = codes_of(values - self.columns[place].origin)
        return Celled(cells, ties)

    def matched(self, hours: Mapping[int, int]) -> tuple[Partition, ...]:
        """Return the cells with what is normal for rows of these hours of the week ({hour: rows}), where the data is seasonal.

        Several hours: the mixture of their shares, worth 1 / sum(share^2 / rows) reference rows, which has the mixture's variance.
        """
        if self._by_hour is None or not hours:
            return self.partitions
        for hour in set(hours) - set(self._by_hour):
            profile = self._reference.for_hour_of_week(hour)
            self._by_hour[hour] = tuple(profile.partition(one.name) for one in self.columns)
        rows = sum(hours.values())
        parts = [(count / rows, self._by_hour[hour]) for hour, count in hours.items()]
        return tuple(_mixture(whole, [(share, one[place]) for share, one in parts]) for place, whole in enumerate(self.partitions))

    def counts(self, cells: NDArray[np.integer[Any]]) -> list[Cells]:
        """Return the rows in each cell, a list of one array for each column."""
        return [np.bincount(cells[:, place], minlength=one.expected.size) for place, one in enumerate(self.partitions)]

    def _named(self, name: str, data: Categories, partition: CategoryPartition) -> Cells:
        known = self._of_code.get(name)
        size = 0 if known is None else len(known) - 2
        if known is None or size < len(data.names):
            fresh = partition.cells(Categories(np.arange(len(data.names) - size), data.names[size:]))
            ends = np.empty(2, dtype=np.int64)
            ends[INVALID_CODE], ends[MISSING_CODE] = partition.expected.size - 1, partition.expected.size - 2
            known = np.concatenate([fresh if known is None else np.concatenate([known[:-2], fresh]), ends])
            self._of_code[name] = known
        return known[data.codes]


def _mixture(whole: Partition, parts: Sequence[tuple[float, Partition]]) -> Partition:
    seasonal = [(share, one.expected) for share, one in parts if one is not whole and one.expected.sum()]
    if len(seasonal) < len(parts) or all(np.array_equal(expected, whole.expected) for _, expected in seasonal):
        return whole  # a column without a season
    worth = min(1 / sum(share**2 / float(expected.sum()) for share, expected in seasonal), float(whole.expected.sum()))
    mixed = sum(share * expected / expected.sum() for share, expected in seasonal)
    return replace(whole, expected=np.round(worth * mixed).astype(np.int64))


class Windows:
    """Judges windows of `rows` rows.

    Args:
        counter: whose cells are given to `add`.
        rows: rows in a window.
        alpha: chance that a window without drift is called drifted, over all features and looks.
        psi_limit: what is too small to matter.
        importance: of features, where it is known; 0 never alarms.
    """

    def __init__(
        self, counter: CellCounter, rows: int, alpha: float, psi_limit: float, importance: Mapping[str, float] | None = None
    ) -> None:
        self._counter = counter
        self._importance = importance or {}
        self._looks = [rows // part for part in LOOKS]
        self._alpha = alpha / max(1, len(counter.columns) * len(LOOKS))
        usual = Tolerances()
        self._tolerances = Tolerances(psi_limit, usual.share * psi_limit / usual.psi)
        self._cells = np.empty((rows, len(counter.columns)), dtype=np.int16)  # a column has a few dozen cells
        self._ties = np.empty((rows, len(counter.repeats.witnesses)), dtype=np.int64)
        self._filled = 0
        self._hours: dict[int, int] = {}  # rows of the window by hour of the week
        self.weights = [Weight()] * len(counter.columns)  # of the last look: what one independent row was counted as, by column
        self.verdicts = dict.fromkeys(Verdict, 0)
        self.scores: dict[str, FeatureResult] = {}

    def add(self, rows: Celled, now: float = 0.0) -> None:
        """Take rows in that were seen at `now` (Unix seconds; 0: nobody knows), and judge what is due."""
        hour = int(hour_of_week(np.array([now]))[0]) if now else None
        while len(rows):
            due = next(look for look in self._looks if look > self._filled)
            batch, rows = rows.split(due - self._filled)
            place = slice(self._filled, self._filled + len(batch))
            self._cells[place], self._ties[place] = batch.cells, batch.ties
            self._filled += len(batch)
            if hour is not None:
                self._hours[hour] = self._hours.get(hour, 0) + len(batch)
            if self._filled == due:
                self._look()

    def _look(self) -> None:
        counts = self._counter.counts(self._cells[: self._filled])
        weights = self.weights = self._counter.repeats.weigh(self._ties[: self._filled])
        scores = score_windows(
            self._counter.columns,
            self._counter.matched(self._hours),
            counts,
            alpha=self._alpha,
            tolerances=self._tolerances,
            weights=weights,
            importance=self._importance,
        )
        verdict = combine(scores)
        whole = self._filled == self._looks[-1]
        if verdict is not Verdict.DRIFTED and not whole:
            return
        # A window cut short by one feature says nothing about the others: their PSI would be noise near the limit.
        self.scores |= {one.name: one for one in scores if whole or one.alarm}
        self.verdicts[verdict] += 1
        self._filled = 0
        self._hours = {}
