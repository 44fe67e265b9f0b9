"""What the model says when one feature is not what it was: asked at training time, so that no model is needed when an alarm comes.

For each cell of a feature, a sample of rows is scored as if their feature were in that cell (partial dependence, Friedman 2001, but
whole rows are kept apart): the model's answer to "all missing", "all above", "all of an unseen category".

The trap: the values must come from where broken data comes from. Cells that the table has rows in give theirs; beyond the range of an
amount, a factor of ten is taken, since the likeliest reason is another unit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_obs.collectors.drift.attribution.impact import GROUPS, Counts
from mlops_obs.collectors.drift.columns import INVALID, INVALID_CODE, MISSING, MISSING_CODE, Block, Categories, ColumnData
from mlops_obs.collectors.drift.partition import NumberPartition, Partition, cells_of
from mlops_obs.errors import SpecError

Predict = Callable[[Block], ArrayLike]
Numbers = NDArray[np.float64]

_UNSEEN = "\x00unseen"


class Asked:
    """The model, asked about a sample of rows."""

    def __init__(self, predict: Predict, block: Block, rows: Counts, truth: Counts, stake: Counts, threshold: float) -> None:
        self._predict, self._stake, self._threshold, self._whole = predict, stake, threshold, block
        self._bad = truth == 1
        self._block = {name: take(data, rows) for name, data in block.items()}
        self._groups = [np.arange(rows.size) % GROUPS == group for group in range(GROUPS)]
        self._base = self._scores(self._block)
        self.sample = np.array([[(group & ~self._bad).sum(), (group & self._bad).sum()] for group in self._groups], dtype=np.int64)

    def about(self, name: str, partition: Partition) -> tuple[Counts, Counts]:
        """Return `pairs` and `lost` of a feature."""
        cells = cells_of(partition, self._whole[name])
        scores = [self._base]
        for cell in range(partition.expected.size):
            values = values_in(partition, self._whole[name], np.flatnonzero(cells == cell), cell, self._bad.size)
            scores.append(self._scores({**self._block, name: values}))
        pairs = np.stack([_outranked(scores, group & self._bad, group & ~self._bad) for group in self._groups])
        if not self._stake.size:
            return pairs, self._stake
        wrong = [(one < self._threshold) == self._bad for one in scores]
        labels = (~self._bad, self._bad)
        lost = [[[self._stake[group & one & label].sum() for label in labels] for one in wrong] for group in self._groups]
        return pairs, np.array(lost, dtype=np.int64)

    def importance(self, name: str, seed: int) -> float:
        """Return the AUC that is lost when the values are shuffled among the rows; never negative."""
        order = np.random.default_rng(seed).permutation(self._bad.size)
        shuffled = self._scores({**self._block, name: take(self._block[name], order)})
        before, after = (int(_outranked([one], self._bad, ~self._bad)[0, 0]) for one in (self._base, shuffled))
        return max(0.0, (before - after) / max(1, 2 * int(self._bad.sum()) * int((~self._bad).sum())))

    def _scores(self, block: Block) -> Numbers:
        scores = np.asarray(self._predict(block), dtype=np.float64).reshape(-1)
        if scores.shape != self._bad.shape:
            raise SpecError("OBS-ATT-001", f"predict answered {scores.size} scores for {self._bad.size} rows", todo="one score a row")
        return np.nan_to_num(scores, nan=np.inf)  # no answer is no approval


def _outranked(scores: list[Numbers], bad: NDArray[np.bool_], good: NDArray[np.bool_]) -> Counts:
    """Return (k, k): twice the pairs in which a bad row's score i is above a good row's score j, plus the ties."""
    table = np.empty((len(scores), len(scores)), dtype=np.int64)
    for column, one in enumerate(scores):
        ordered = np.sort(one[good])
        for row, other in enumerate(scores):
            table[row, column] = np.searchsorted(ordered, other[bad]).sum() + np.searchsorted(ordered, other[bad], side="right").sum()
    return table


def take(data: ColumnData, rows: Counts) -> ColumnData:
    """Return these rows of a column."""
    return Categories(data.codes[rows], data.names) if isinstance(data, Categories) else data[rows]


def values_in(partition: Partition, data: ColumnData, rows: Counts, cell: int, wanted: int) -> ColumnData:
    """Return `wanted` values that lie in a cell: those that the table has there, else ones made up beyond all it has."""
    if rows.size:
        return take(data, rows[np.linspace(0, rows.size - 1, wanted).astype(np.int64)])
    from_end = partition.expected.size - cell
    if isinstance(data, Categories):
        code = {1: INVALID_CODE, 2: MISSING_CODE}.get(from_end, len(data.names))
        return Categories(np.full(wanted, code, dtype=np.int64), (*data.names, _UNSEEN))
    if from_end <= 2 or not isinstance(partition, NumberPartition):
        return np.full(wanted, INVALID if from_end == 1 else MISSING)
    finite = np.asarray(data, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low > 0:  # amounts: the likeliest reason for values beyond the range is another unit
        return np.full(wanted, low / 10 if cell == 0 else high * 10)
    beyond = 9 * max(high - low, 1.0)
    return np.full(wanted, low - beyond if cell == 0 else high + beyond)
