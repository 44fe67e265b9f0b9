"""Watches the rows that a model is really given, at the cost of one copy per request.

The request thread copies its row into a preallocated ring and goes on: no lock, no JSON, no metric object per
feature. A background thread folds the ring into cell counts and scores windows. If it falls behind, the oldest rows
are overwritten and counted, never waited for.

A window is looked at when an eighth, a quarter and a half of its rows are in, and closes early if it has drifted by
then: a unit change should not have to wait for 500 rows at canary traffic. The looks share the false-alarm budget.
The trap: a window of requests is not a sample of customers. `repeats` counts a customer who asks often as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_obs.collectors.drift.repeats import Repeats
from mlops_obs.collectors.drift.scores import ALPHA, PSI_LIMIT, Cells, DriftVerdict, FeatureScore, combine, score
from mlops_obs.collectors.drift.sketch import ReferenceProfile, codes_of
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import (
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFT_ROWS_DROPPED,
    DRIFT_WINDOWS,
    FEATURE,
    MISSING_RATIO,
    REVISION,
    SERVICE,
    VERDICT,
    Reading,
)

_LOOKS = (8, 4, 2, 1)  # a window is scored at these fractions of its rows
_MIN_CAPACITY = 4096
_WRITING = -1


class DriftMonitor:
    """Scores windows of `window_rows` rows against the model's reference.

    Args:
        reference: profile of the training table; may have columns that are not watched.
        service: label value.
        revision: label value.
        feature_names: the order of the values in a row; by default (None or empty) the reference's order.
        window_rows: rows in a window.
        capacity: rows the ring holds between two folds; default is enough for 4096 rows or four windows.
        alpha: chance that a window without drift is called drifted, over all features and looks.

    Raises:
        SpecError: OBS-DRF-004 if a feature is not in the reference, OBS-DRF-005 if `window_rows` is below 8.
    """

    def __init__(
        self,
        reference: ReferenceProfile,
        *,
        service: str,
        revision: str,
        feature_names: Sequence[str] | None = None,
        window_rows: int = 500,
        capacity: int | None = None,
        alpha: float = ALPHA,
        psi_limit: float = PSI_LIMIT,
    ) -> None:
        names = tuple(feature_names or reference.feature_names)
        unknown = [name for name in names if name not in reference.sketches]
        if unknown:
            raise SpecError(
                "OBS-DRF-004",
                f"the reference lacks {', '.join(unknown)}",
                todo="profile the table with exactly the features that the model is given",
            )
        if window_rows < _LOOKS[0]:
            raise SpecError("OBS-DRF-005", f"window_rows is {window_rows}", todo=f"use at least {_LOOKS[0]}, for example 500")
        self.feature_names = names
        self._labels = {SERVICE: service, REVISION: revision}
        self._cells = [Cells.of(reference.sketches[name]) for name in names]
        self._looks = [window_rows // part for part in _LOOKS]
        self._alpha = alpha / (len(names) * len(_LOOKS))
        self._psi_limit = psi_limit

        size = capacity or max(_MIN_CAPACITY, 4 * window_rows)
        self._ring = np.empty((size, len(names)), dtype=np.float64)
        self._stamp = np.zeros(size, dtype=np.int64)  # which row a slot holds, counted from 1; _WRITING while it changes
        self._folded = np.zeros(size, dtype=np.int64)  # the stamp a slot had when it was folded
        self._ticket = count()  # next() is atomic: each row gets a slot of its own

        self._repeats = Repeats([reference.sketches[name] for name in names])
        self._window = np.empty((window_rows, len(names)), dtype=np.int64)  # the bucket numbers of the rows so far
        self._window_rows = 0
        self._rows = 0
        self._dropped = 0
        self._windows = dict.fromkeys(DriftVerdict, 0)
        self._scores: dict[str, FeatureScore] = {}
        self._readings = self._read()

    def capture(self, row: ArrayLike) -> None:
        """Copy one row (or a table of rows) of feature values into the ring. Safe from any thread; never waits.

        Raises:
            ValueError: the row is not numeric or has another number of features.
        """
        values = np.asarray(row, dtype=np.float64)
        if values.ndim == 2:
            for one in values:
                self.capture(one)
            return
        if values.shape != (len(self.feature_names),):
            raise ValueError(f"a row of shape {values.shape} for {len(self.feature_names)} features")
        ticket = next(self._ticket)
        slot = ticket % len(self._stamp)
        self._stamp[slot] = _WRITING
        self._ring[slot] = values
        self._stamp[slot] = ticket + 1

    def fold(self) -> int:
        """Move captured rows into the window and score what is due; returns how many. Call from one thread only."""
        stamps = self._stamp.copy()
        slots = np.flatnonzero((stamps != self._folded) & (stamps != _WRITING))
        slots = slots[np.argsort(stamps[slots])]
        rows = self._ring[slots]
        intact = self._stamp[slots] == stamps[slots]  # a row that was overwritten meanwhile comes with the next fold
        slots, rows = slots[intact], rows[intact]
        laps = (stamps[slots] - 1) // len(stamps) - (self._folded[slots] - 1) // len(stamps)
        self._dropped += int((laps - 1).sum())
        self._folded[slots] = stamps[slots]
        self._add(rows)
        self._readings = self._read()
        return len(rows)

    def read(self) -> list[Reading]:
        """Return the readings as of the last fold. Safe from any thread."""
        return list(self._readings)

    @property
    def scores(self) -> tuple[FeatureScore, ...]:
        """The features as last scored, in finished windows; empty before there is one."""
        return tuple(self._scores.values())

    @property
    def windows(self) -> Mapping[DriftVerdict, int]:
        """Windows finished, by verdict."""
        return dict(self._windows)

    def _add(self, rows: NDArray[np.float64]) -> None:
        codes = codes_of(rows)
        while len(codes):
            due = next(look for look in self._looks if look > self._window_rows)
            batch, codes = np.split(codes, [due - self._window_rows])
            self._window[self._window_rows : self._window_rows + len(batch)] = batch
            self._window_rows += len(batch)
            self._rows += len(batch)
            if self._window_rows == due:
                self._look()

    def _look(self) -> None:
        window = self._window[: self._window_rows]
        weights = self._repeats.weigh(window)
        scores = [
            score(
                name,
                cells.expected,
                cells.count(window[:, column]),
                alpha=self._alpha,
                psi_limit=self._psi_limit,
                weight=weights[column],
            )
            for column, (name, cells) in enumerate(zip(self.feature_names, self._cells, strict=True))
        ]
        verdict = combine(scores)
        whole = self._window_rows == self._looks[-1]
        if verdict is not DriftVerdict.DRIFTED and not whole:
            return
        # A window cut short by one feature says nothing about the others: their PSI would be noise near the limit.
        self._scores |= {one.feature: one for one in scores if whole or one.verdict is DriftVerdict.DRIFTED}
        self._windows[verdict] += 1
        self._window_rows = 0

    def _read(self) -> tuple[Reading, ...]:
        readings = [Reading(DRIFT_WINDOWS, {**self._labels, VERDICT: verdict.value}, n) for verdict, n in self._windows.items()]
        readings.append(Reading(DRIFT_ROWS, dict(self._labels), self._rows))
        readings.append(Reading(DRIFT_ROWS_DROPPED, dict(self._labels), self._dropped))
        for one in self._scores.values():
            labels = {**self._labels, FEATURE: one.feature}
            readings.append(Reading(DRIFT_PSI, labels, one.psi))
            readings.append(Reading(MISSING_RATIO, dict(labels), one.missing))
        return tuple(readings)
