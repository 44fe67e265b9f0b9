"""Count, time and add up what ends, exactly: the arithmetic behind request and stage metrics.

One critical section per event, so that a snapshot is never torn: the latency SLI is `count - bucket{le=threshold}`, and a
scrape between the two increments of a general-purpose metrics library would read a slow request that never was. The lock is
given from outside; this module owns no thread and no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mlops_obs.metric_names import OUTCOME_CLIENT_ERROR, OUTCOME_ERROR, OUTCOME_OK

OUTCOMES = (OUTCOME_OK, OUTCOME_CLIENT_ERROR, OUTCOME_ERROR)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A traced event that fell into a bucket: `seconds` it took, `at` Unix seconds."""

    trace_id: str
    seconds: float
    at: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a meter had counted at one instant; the parts agree with each other.

    `cumulative` has one more entry than the bounds: the last is the count of all events, the sum of `outcomes`.
    """

    outcomes: dict[str, int]
    cumulative: tuple[int, ...]
    seconds: float
    inflight: int
    rows: int
    exemplars: tuple[Exemplar | None, ...]


class OutcomeMeter:
    """Events by outcome with an exact duration histogram. Every outcome is there from the start, at 0.

    Args:
        bounds: upper bounds of the buckets in seconds, rising; a duration equal to a bound belongs to it.
        lock: held for well under a microsecond per event; must be re-entrant if signal handlers may observe too.
    """

    __slots__ = ("_bounds", "_counts", "_exemplars", "_inflight", "_lock", "_outcomes", "_rows", "_seconds")

    def __init__(self, bounds: Sequence[float], lock: AbstractContextManager[Any]) -> None:
        self._bounds = tuple(bounds)
        self._lock = lock
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._counts = [0] * (len(self._bounds) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(self._bounds) + 1)
        self._seconds = 0.0
        self._inflight = 0
        self._rows = 0

    def begin(self) -> None:
        """Count one event as running."""
        with self._lock:
            self._inflight += 1

    def finish(self, outcome: str, seconds: float, exemplar: Exemplar | None = None) -> None:
        """Count one event as ended after `seconds`. A clock that went backwards counts as 0; an unknown outcome is an error."""
        if seconds < 0.0:
            seconds = 0.0
        bucket = bisect_left(self._bounds, seconds)
        if outcome not in self._outcomes:
            outcome = OUTCOME_ERROR
        with self._lock:
            self._inflight -= 1
            self._outcomes[outcome] += 1
            self._counts[bucket] += 1
            self._seconds += seconds
            if exemplar is not None:
                self._exemplars[bucket] = exemplar

    def add_rows(self, count: int) -> None:
        """Add `count` rows; a negative count is ignored, because a counter never falls."""
        if count > 0:
            with self._lock:
                self._rows += count

    def snapshot(self) -> Snapshot:
        """Return all counts as of one instant."""
        with self._lock:
            return Snapshot(
                outcomes=dict(self._outcomes),
                cumulative=tuple(accumulate(self._counts)),
                seconds=self._seconds,
                inflight=self._inflight,
                rows=self._rows,
                exemplars=tuple(self._exemplars),
            )

    @property
    def bounds(self) -> tuple[float, ...]:
        """Upper bounds of the buckets in seconds."""
        return self._bounds
