"""Where the wall time of a training run goes.

"GPU utilisation 100 %" is also what a run shows that waits for its neighbours. Goodput needs the time itself, split
into phases that never overlap: entering a phase ends the one around it until it returns, whichever thread it is in,
so the phases sum to the wall time. Time between phases is `other`; it is booked when the next phase begins, so that a
finished run stops counting although its process lives on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from math import isfinite
from typing import Any

from mlops_obs.metric_names import (
    PHASE,
    REVISION,
    SERVICE,
    TRAINING_CHECKPOINT_TIME,
    TRAINING_LOSS,
    TRAINING_NONFINITE,
    TRAINING_RESTARTS,
    TRAINING_SAMPLES,
    TRAINING_STEPS,
    TRAINING_TIME,
    Metric,
    Reading,
)

OTHER = "other"
PHASES = ("data_wait", "compute", "optimizer", "checkpoint", "evaluate", "restart", OTHER)


class TrainingMeter:
    """Counts steps and samples and books wall time by phase.

    Args:
        service: label value.
        revision: label value of the model being trained.
        clock: returns Unix seconds; a step backwards counts as no time.
        lock: pass a `threading.RLock()` where several threads report.
    """

    def __init__(self, service: str, revision: str, clock: Callable[[], float], *, lock: AbstractContextManager[Any] | None = None) -> None:
        self._labels = {SERVICE: service, REVISION: revision}
        self._clock = clock
        self._lock = lock or nullcontext()
        self._seconds = dict.fromkeys(PHASES, 0.0)
        self._open: list[tuple[str, object]] = []  # phases entered and not left, innermost last
        self._since: float | None = None
        self._steps = self._samples = self._restarts = self._nonfinite = 0
        self._loss: float | None = None
        self._checkpoint_at: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the time of the `with` block to `name`, one of PHASES.

        Raises:
            ValueError: there is no such phase.
        """
        if name not in PHASES:
            raise ValueError(f"no phase {name!r}; the phases are {', '.join(PHASES)}")
        token = (name, object())
        with self._lock:
            self._book()
            self._open.append(token)
        try:
            yield
        finally:
            with self._lock:
                self._book()
                self._open.remove(token)  # not pop: threads may leave in another order

    def step(self, loss: float, samples: int) -> None:
        """Count an optimiser step that consumed `samples` samples and had `loss`."""
        value = float(loss)
        with self._lock:
            self._steps += 1
            self._samples += int(samples)
            self._loss = value
            self._nonfinite += not isfinite(value)

    def checkpoint(self) -> None:
        """Note that a checkpoint is safely written, now."""
        with self._lock:
            self._checkpoint_at = self._clock()

    def restart(self) -> None:
        """Count a restart after a lost worker."""
        with self._lock:
            self._restarts += 1

    def read(self) -> list[Reading]:
        """Return all readings; a phase that is still open is counted up to now."""
        with self._lock:
            if self._open:
                self._book()
            seconds = dict(self._seconds)
            values: list[tuple[Metric, float | None]] = [
                (TRAINING_STEPS, self._steps),
                (TRAINING_SAMPLES, self._samples),
                (TRAINING_RESTARTS, self._restarts),
                (TRAINING_NONFINITE, self._nonfinite),
                (TRAINING_LOSS, self._loss),
                (TRAINING_CHECKPOINT_TIME, self._checkpoint_at),
            ]
        readings = [Reading(TRAINING_TIME, {**self._labels, PHASE: phase}, spent) for phase, spent in seconds.items()]
        return readings + [Reading(metric, dict(self._labels), value) for metric, value in values if value is not None]

    def _book(self) -> None:
        now = self._clock()
        if self._since is not None:
            phase = self._open[-1][0] if self._open else OTHER
            self._seconds[phase] += max(0.0, now - self._since)
        self._since = now
