"""How old the features are that a model was really given.

A feature store that stops being fed keeps answering, with values that grow stale: nothing fails, the model only gets
worse. Age is therefore measured where the value is used. A read counts as late when it is older than the view's
limit, and as missing when there was nothing to read; the two have different causes and different runbooks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mlops_obs.errors import SpecError
from mlops_obs.metric_names import FEATURE_AGE, FEATURE_READS, FEATURE_VIEW, FRESHNESS, SERVICE, Reading

FRESH, LATE, MISSING = "fresh", "late", "missing"
_RECENT = 256  # reads whose youngest age stands for the age of the newest event


class FreshnessMeter:
    """Counts feature reads by freshness.

    Args:
        service: label value.
        limits: {feature view: age in seconds up to which it is fresh}; no other view becomes a label.
        lock: pass a `threading.RLock()` where several threads serve.

    Raises:
        SpecError: OBS-FRS-001 if a limit is not a positive number of seconds.
    """

    def __init__(self, service: str, limits: Mapping[str, float], *, lock: AbstractContextManager[Any] | None = None) -> None:
        for view, limit in limits.items():
            if not limit > 0:
                raise SpecError("OBS-FRS-001", f"the limit of {view} is {limit} s", todo="give the age in seconds up to which it is fresh")
        self._service = service
        self._limits = dict(limits)
        self._lock = lock or nullcontext()
        self._reads = {(view, freshness): 0 for view in limits for freshness in (FRESH, LATE, MISSING)}
        self._ages: dict[str, deque[float]] = {view: deque(maxlen=_RECENT) for view in limits}

    def served(self, view: str, age_seconds: float | None) -> None:
        """Count one read of `view`; `age_seconds` is None (or NaN) when there was no value.

        An age below zero (clocks differ) counts as zero. A view without a limit is not counted.
        """
        if view not in self._limits:
            return
        if age_seconds is None or age_seconds != age_seconds:
            with self._lock:
                self._reads[view, MISSING] += 1
            return
        age = max(0.0, float(age_seconds))
        with self._lock:
            self._reads[view, FRESH if age <= self._limits[view] else LATE] += 1
            self._ages[view].append(age)

    def read(self) -> list[Reading]:
        """Return the counts (0 before the first read) and, once known, the age of each view's newest event."""
        with self._lock:
            reads = dict(self._reads)
            youngest = {view: min(ages) for view, ages in self._ages.items() if ages}
        labels = {SERVICE: self._service}
        readings = [
            Reading(FEATURE_READS, {**labels, FEATURE_VIEW: view, FRESHNESS: freshness}, n) for (view, freshness), n in reads.items()
        ]
        return readings + [Reading(FEATURE_AGE, {**labels, FEATURE_VIEW: view}, age) for view, age in youngest.items()]
