"""Counts of what came and what was lost: KServe's own logger says neither (kserve#6181), so the sink has to.

The trap: a sink that loses events looks like a quiet service. Every event that came is in exactly one of: pairs (twice), waiting,
requests alone, or lost with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from mlops_obs.metric_names import (
    KIND,
    PAYLOAD_EVENTS,
    PAYLOAD_LOST,
    PAYLOAD_QUEUE,
    PAYLOAD_ROWS,
    PAYLOAD_WAITING,
    REASON,
    REVISION,
    SERVICE,
    Reading,
)

REASONS = (
    "queue_full",
    "too_large",
    "not_an_event",
    "another_type",
    "unparsable",
    "unpaired",
    "evicted",
    "duplicate",
    "another_service",
    "too_many_revisions",
    "no_rows",
)


class PayloadMeter:
    """Thread-safe counters. `lock` guards them; it is never held over I/O."""

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._events: Counter[str] = Counter({"request": 0, "response": 0})
        self._lost: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._rows: Counter[tuple[str, str]] = Counter()
        self.sizes: Callable[[], tuple[int, int]] = lambda: (0, 0)  # events that wait to be read, and for their other half

    def came(self, kind: str) -> None:
        """Count an event that was taken in."""
        with self._lock:
            self._events[kind] += 1

    def lost(self, reason: str, count: int = 1) -> None:
        """Count events that were given up; `reason` is one of REASONS."""
        with self._lock:
            self._lost[reason] += count

    def rows(self, service: str, revision: str, count: int) -> None:
        """Count rows that were handed on."""
        with self._lock:
            self._rows[service, revision] += count

    def read(self) -> list[Reading]:
        """Return the readings."""
        with self._lock:
            readings = [Reading(PAYLOAD_EVENTS, {KIND: kind}, count) for kind, count in self._events.items()]
            readings += [Reading(PAYLOAD_LOST, {REASON: reason}, count) for reason, count in self._lost.items()]
            readings += [Reading(PAYLOAD_ROWS, {SERVICE: one[0], REVISION: one[1]}, count) for one, count in self._rows.items()]
        queued, waiting = self.sizes()
        return [*readings, Reading(PAYLOAD_QUEUE, {}, queued), Reading(PAYLOAD_WAITING, {}, waiting)]
