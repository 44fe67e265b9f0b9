"""GPU time by model revision, as the process that serves it measures it: what a request costs.

A GPU's utilisation says how busy the chip was, not for whom; two revisions on one GPU cannot be told apart from outside.
So the process counts the seconds of its own work (CUDA events around the forward pass, a batch's wall time on a GPU of its
own) and exports them. The trap is the asynchronous launch: wall time around a call that only queues kernels is close to
nothing, so synchronise first, or use events.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from mlops_obs.metric_names import GPU_SECONDS, REVISION, SERVICE, Reading

OTHER = "other"  # revisions beyond the bound


class GpuMeter:
    """Counts GPU-seconds: `register_collector("gpu_time", meter.read)`.

    Args:
        service: label value.
        clock: seconds that only go up, e.g. `time.perf_counter`; for `busy`.
        lock: pass a `threading.Lock()` where several threads serve.
        revisions: how many are told apart; more are counted as `other`.
    """

    def __init__(
        self, service: str, clock: Callable[[], float], *, lock: AbstractContextManager[Any] | None = None, revisions: int = 8
    ) -> None:
        self._service, self._clock, self._revisions = service, clock, revisions
        self._lock = lock or nullcontext()
        self._seconds: dict[str, float] = {}

    def add(self, revision: str, seconds: float) -> None:
        """Count `seconds` of GPU time for `revision`. What is no duration (negative, NaN) is left out: it must not break a request."""
        if not (math.isfinite(seconds) and seconds >= 0):
            return
        with self._lock:
            known = revision in self._seconds or len(self._seconds) < self._revisions
            name = revision if known else OTHER
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @contextmanager
    def busy(self, revision: str) -> Iterator[None]:
        """Count the time inside as GPU time, also if it raises; the work must be finished, not queued, when the block ends."""
        began = self._clock()
        try:
            yield
        finally:
            self.add(revision, self._clock() - began)

    def read(self) -> list[Reading]:
        """Return the counter of every revision."""
        with self._lock:
            return [Reading(GPU_SECONDS, {SERVICE: self._service, REVISION: name}, value) for name, value in sorted(self._seconds.items())]
