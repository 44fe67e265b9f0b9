"""Alarms on live traffic, which repeats itself: a few hot customers are not many rows, however long one looks.

Two corrections, both from the ties of the last HORIZON rows (see `repeats`). A row counts as the part of an independent row that it is
(Kish's design effect). And the customers who ask are themselves a sample of the population: if only N of them effectively do (N is 1 by
the chance that two rows are of one customer), their shares may differ from the reference's for good by what a sample of N does, so the
reference is taken as one of 1 / (1 / rows + 1 / N) rows.

The trap: the design effect alone is not enough. Forty windows of the same fifty customers look like two thousand independent rows, and
prove with certainty that these fifty are not the population.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.alarms import Alarm, Detector, Normal, Watched
from mlops_obs.collectors.drift.alarms.live import LiveRows
from mlops_obs.collectors.drift.columns import Block
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.repeats import Weight
from mlops_obs.collectors.drift.windows import CellCounter, Celled, Cells

HORIZON = 4096  # rows whose ties are looked at
_EVERY = 512  # rows between two looks at them; sooner while there are few
_FEW = 64
_CHANGED = 2.0  # factor by which the customers who ask must be fewer or more to be counted anew
_FEWEST, _UNBOUNDED = 30.0, 1e6


class LiveAlarms:
    """Feeds a detector with blocks of rows.

    Args:
        reference: what the detector watches.
        counter: finds the cells of the rows.
        detector: made for the whole reference.
        normal: the settings it was made with; they are needed to make it anew for fewer customers.
    """

    def __init__(self, reference: ReferenceProfile, counter: CellCounter, detector: Detector, normal: Normal) -> None:
        self._reference, self._counter, self._normal = reference, counter, normal
        self._features = detector.features
        self._live = LiveRows(reference, detector)
        self._recent: deque[Cells] = deque()
        self._rows = 0  # in `_recent`
        self._due = _FEW
        self._weights = [Weight()] * len(counter.columns)
        self.customers = _UNBOUNDED

    @property
    def detector(self) -> Detector:
        """The detector as it is now."""
        return self._live.detector

    def look(self, now: float, block: Block, rows: Celled, counts: Sequence[Cells]) -> list[Alarm]:
        """Look at rows whose cells were counted."""
        self._count_ties(rows.ties)
        here = self._counter.repeats.weigh(rows.ties)
        names = [one.name for one in self._counter.columns]
        weights = {name: max(a.mean, b.mean) for name, a, b in zip(names, here, self._weights, strict=True)}
        return self._live.look(now, block, dict(zip(names, counts, strict=True)), len(rows), weights)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {"customers": self.customers, "detector": self.detector.to_json()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `to_json` stopped.

        Raises:
            StateError: OBS-ALM-003 if the state is of another reference or damaged.
        """
        customers = float(state["customers"])
        if customers < _UNBOUNDED:
            self._remake(customers)
        self.detector.restore(state["detector"])

    def _count_ties(self, ties: Cells) -> None:
        self._recent.append(ties)
        self._rows += len(ties)
        while self._rows - len(self._recent[0]) >= HORIZON:
            self._rows -= len(self._recent.popleft())
        self._due -= len(ties)
        if self._due > 0:
            return
        self._due = min(_EVERY, self._rows)
        self._weights = self._counter.repeats.weigh(np.concatenate(self._recent)[-HORIZON:])
        rows = min(self._rows, HORIZON)
        effect = float(np.median([one.mean for one in self._weights])) if self._weights else 1.0
        customers = max(_FEWEST, (rows - 1) / (effect - 1)) if effect > 1 + rows / _UNBOUNDED else _UNBOUNDED
        if not self.customers / _CHANGED < customers < self.customers * _CHANGED:
            self._remake(customers)

    def _remake(self, customers: float) -> None:
        """Make the detector anew for traffic of so many customers; what it has spent, raised and seen is kept, its evidence is not."""
        self.customers = customers
        old = self.detector
        new = Detector([_as_sample(one, customers) for one in self._features], old.budget, self._normal, segment=old.segment)
        kept = old.to_json()
        new.restore(new.to_json() | {key: kept[key] for key in ("rows", "at", "ledger", "active", "history")})
        self._live.detector = new


def _as_sample(one: Watched, customers: float) -> Watched:
    expected = one.partition.expected
    rows = float(expected.sum())
    if customers >= _UNBOUNDED or not rows:
        return one
    share = (1 / (1 / rows + 1 / customers)) / rows
    fewer = np.maximum(np.round(expected * share), expected > 0).astype(np.int64)  # a cell that had rows stays known
    return replace(one, partition=replace(one.partition, expected=fewer))
