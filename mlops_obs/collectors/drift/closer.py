"""A closer look at what has drifted: since when, and in which segments. A second pass that reads a few columns only.

A comparison knows two distributions and no order. Here the rows of the drifted columns are counted by cell and by time (or by file, where
rows carry no time), so that a change point can be found, and by cell and segment, so that it is known whom to call.

The trap: the span of a table is not known before its last row. Bins begin at a minute and double whenever there are too many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution import Blocks, Carriers, carriers, since
from mlops_obs.collectors.drift.columns import Block, Categories, ColumnKind, Schema
from mlops_obs.collectors.drift.matched import OTHER
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Since
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch

MOST_COLUMNS = 50
_FIRST_WIDTH = 60.0  # seconds
_MOST_BINS = 1_000

Counts = NDArray[np.int64]


class CloserLook:
    """Counts rows of the columns `names` by cell and time, and by cell and segment.

    Args:
        reference: whose cells they are.
        names: drifted columns; the first MOST_COLUMNS that have cells are looked at.
        time: column of the time of a row (Unix seconds); empty: blocks are told apart by the number that `add` is given.
        segment: column of names; empty: none.
        segments: its values; all others are one segment together.
    """

    def __init__(
        self, reference: ReferenceProfile, names: Sequence[str], *, time: str = "", segment: str = "", segments: Sequence[str] = ()
    ):
        kinds = {one.name: one.kind for one in reference.schema}
        self.names = [name for name in names if kinds.get(name, ColumnKind.EMBEDDING) is not ColumnKind.EMBEDDING][:MOST_COLUMNS]
        self._reference, self._time, self._segment = reference, time, segment
        self._segments = tuple(segments)
        self._width = _FIRST_WIDTH if time else 1.0
        self._bins: dict[str, dict[int, Counts]] = {name: {} for name in self.names}
        self._by_segment: dict[str, Counts] = {
            name: np.zeros((len(self._segments) + 1, reference.partition(name).expected.size), dtype=np.int64) for name in self.names
        }

    def schema(self, read: Schema) -> Schema:
        """Return the columns of `read` that this needs."""
        wanted = {*self.names, self._time, self._segment}
        return Schema(tuple(one for one in read if one.name in wanted))

    def add(self, block: Block, number: int = 0) -> None:
        """Count a block of rows; `number` is its file's place where rows carry no time."""
        place = self._places(block, number)
        group = self._groups(block)
        for name in self.names:
            if name not in block:
                continue
            cell = cells_of(self._reference.partition(name), block[name])
            size = self._reference.partition(name).expected.size
            if place is not None:
                known = place >= 0
                bins, inverse = np.unique(place[known], return_inverse=True)
                counted = np.bincount(inverse * size + cell[known], minlength=bins.size * size).reshape(-1, size)
                for one, counts in zip(bins.tolist(), counted, strict=True):
                    self._bins[name][one] = self._bins[name].get(one, np.zeros_like(counts)) + counts
            if group is not None:
                self._by_segment[name] += np.bincount(group * size + cell, minlength=self._by_segment[name].size).reshape(-1, size)
        if self._time:
            self._coarsen()

    def since(self) -> dict[str, Since]:
        """Return when each change began: Unix seconds, or numbers of files from 0; a change that cannot be placed is left out."""
        found = {}
        for name, bins in self._bins.items():
            if len(bins) > 1:
                start = np.array(sorted(bins), dtype=np.float64)
                counts = np.stack([bins[int(one)] for one in start])
                began = since(Blocks.of(start * self._width, (start + 1) * self._width, counts), self._reference.partition(name).expected)
                if began is not None:
                    found[name] = began
        return found

    def carriers(self, references: Mapping[str, ReferenceProfile]) -> dict[str, Carriers]:
        """Return which segments carry each change, given the segments' references by value."""
        if not self._segment or not references:
            return {}
        found = {}
        for name in self.names:
            partition = self._reference.partition(name)
            before = {}
            for value, one in references.items():
                sketch = one.sketches.get(name)
                if isinstance(sketch, NumberSketch | CategorySketch):
                    before[value] = partition.count(sketch)  # type: ignore[arg-type]
            now = dict(zip((*self._segments, OTHER), self._by_segment[name], strict=True))
            found[name] = carriers(before, {value: counts for value, counts in now.items() if counts.any()})
        return found

    def _places(self, block: Block, number: int) -> NDArray[np.int64] | None:
        """Return the bin of each row; -1 for a row without a time."""
        rows = max((len(data.codes) if isinstance(data, Categories) else len(data) for data in block.values()), default=0)
        if not self._time:
            return np.full(rows, number, dtype=np.int64)
        moments = block.get(self._time)
        if moments is None or isinstance(moments, Categories) or moments.ndim != 1:
            return None
        known = np.isfinite(moments) & (np.abs(np.nan_to_num(moments)) < 1e12)
        return np.where(known, np.floor(np.where(known, moments, 0.0) / self._width), -1).astype(np.int64)

    def _groups(self, block: Block) -> NDArray[np.int64] | None:
        if not self._segment:
            return None
        data = block.get(self._segment)
        if not isinstance(data, Categories):
            return None
        numbers = {name: place for place, name in enumerate(self._segments)}
        table = np.array([*(numbers.get(name, len(numbers)) for name in data.names), len(numbers), len(numbers)], dtype=np.int64)
        return table[data.codes]

    def _coarsen(self) -> None:
        while any(len(bins) > _MOST_BINS for bins in self._bins.values()):
            self._width *= 2
            for name, bins in self._bins.items():
                merged: dict[int, Counts] = {}
                for place, counts in bins.items():
                    merged[place // 2] = merged.get(place // 2, np.zeros_like(counts)) + counts
                self._bins[name] = merged
