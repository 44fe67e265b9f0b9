"""How old the facts are that each feature was made from: finer than a view, whose newest event may belong to another feature.

The trap: a customer who does nothing has an old last event and no stale feature. The limit is the feature's own, in seconds since its
event, and only features for which such a limit makes sense are given one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any

from mlops_obs.collectors.freshness.meter import FRESH, LATE, MISSING
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import FEATURE, FEATURE_VALUE_AGE, FEATURE_VALUE_READS, FRESHNESS, SERVICE, Reading

_RECENT = 256


class ValueMeter:
    """Counts feature values by freshness.

    Args:
        service: label value.
        limits: {feature: age in seconds of its event up to which it is fresh}; no other feature becomes a label.
        lock: pass a `threading.RLock()` where several threads serve.

    Raises:
        SpecError: OBS-FRS-005 if a limit is not a positive number of seconds.
    """

    def __init__(self, service: str, limits: Mapping[str, float], *, lock: AbstractContextManager[Any] | None = None) -> None:
        for feature, limit in limits.items():
            if not limit > 0:
                todo = "give the age in seconds up to which it is fresh"
                raise SpecError("OBS-FRS-005", f"the limit of {feature} is {limit} s", todo=todo)
        self._service = service
        self._limits = dict(limits)
        self._lock = lock or nullcontext()
        self._counts = {(feature, freshness): 0 for feature in limits for freshness in (FRESH, LATE, MISSING)}
        self._ages: dict[str, deque[float]] = {feature: deque(maxlen=_RECENT) for feature in limits}

    def given(self, ages: Mapping[str, float | None]) -> None:
        """Count the values of one request: {feature: seconds since its event; None or NaN without a value}. Others are ignored."""
        with self._lock:
            for feature, age in ages.items():
                limit = self._limits.get(feature)
                if limit is None:
                    continue
                if age is None or age != age:
                    self._counts[feature, MISSING] += 1
                    continue
                self._counts[feature, FRESH if age <= limit else LATE] += 1
                self._ages[feature].append(max(0.0, float(age)))

    def read(self) -> list[Reading]:
        """Return the counts (0 before the first value) and the median age of each feature's recent values."""
        with self._lock:
            counts = dict(self._counts)
            middle = {feature: median(ages) for feature, ages in self._ages.items() if ages}
        labels = {SERVICE: self._service}
        readings = [Reading(FEATURE_VALUE_READS, {**labels, FEATURE: name, FRESHNESS: kind}, n) for (name, kind), n in counts.items()]
        return readings + [Reading(FEATURE_VALUE_AGE, {**labels, FEATURE: name}, age) for name, age in middle.items()]
