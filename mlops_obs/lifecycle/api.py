"""What an instrumented program may call, and nothing about how it is measured.

The split is OpenTelemetry's: model code depends on this API, only the installation decides what is behind it. The trap is
that every method here runs inside somebody's request: none may raise, block, or grow without bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from mlops_obs.metric_names import Reading

Wrapped = TypeVar("Wrapped")
Headers = Mapping[str, str]


class Request(Protocol):
    """One request being answered: a context manager. Leaving it counts the outcome, times it and ends its span.

    An exception that leaves the block is an error unless it is the caller's fault (see `lifecycle.outcome`); it is never swallowed.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def client_error(self) -> None:
        """Say that the caller sent a bad request. It is counted and timed, and never burns the error budget."""
        ...

    def error(self) -> None:
        """Say that this request failed although no exception leaves the block."""
        ...

    def status(self, code: int) -> None:
        """Take the outcome from an HTTP status: 4xx is a client error, 5xx an error."""
        ...

    def features(self, rows: Any) -> None:
        """Hand the model's input to the drift profile; see `Telemetry.features`."""
        ...

    def attribute(self, key: str, value: str | float | bool) -> None:
        """Put a value on the span. Costs nothing when the request is not sampled."""
        ...

    @property
    def trace_id(self) -> str:
        """The trace this request belongs to, 32 hex digits; empty when it is not sampled."""
        ...

    @property
    def traceparent(self) -> str:
        """The W3C `traceparent` value to send to whatever is called next; it carries the sampling decision."""
        ...


class StageRun(Protocol):
    """One run of a life-cycle stage (a job): a context manager that counts, times and traces it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def rows(self, count: int) -> None:
        """Add `count` produced rows."""
        ...

    def attribute(self, key: str, value: str | float | bool) -> None:
        """Put a value on the span."""
        ...

    @property
    def trace_id(self) -> str:
        """The trace of this run, 32 hex digits. Never empty: a model package records it even where tracing is off."""
        ...

    @property
    def traceparent(self) -> str:
        """The W3C `traceparent` value to hand to workers, so that their spans join this run."""
        ...


class TrainingMeter(Protocol):
    """Where the wall time of a training run goes. Phases exclude each other; their sum is the wall time."""

    def phase(self, name: str) -> AbstractContextManager[Any]:
        """Count the time inside the block to phase `name`: data_wait, compute, optimizer, checkpoint, evaluate or restart."""
        ...

    def step(self, loss: float, samples: int) -> None:
        """Count one optimiser step over `samples` samples."""
        ...

    def checkpoint(self) -> None:
        """Note that a checkpoint was written now."""
        ...

    def restart(self) -> None:
        """Count a restart after a lost worker."""
        ...

    def read(self) -> list[Reading]:
        """Return the current readings."""
        ...


class Telemetry(Protocol):
    """A handle for one (service, revision, stage). Cheap to share between threads and tasks; pickles by its arguments."""

    service: str
    revision: str
    stage_name: str

    def request(self, *, headers: Headers | None = None, traceparent: str | None = None) -> Request:
        """Start a request. The trace continues from `traceparent`, else from the header of that name in `headers`."""
        ...

    def stage(self, *, traceparent: str | None = None) -> StageRun:
        """Start a run of this handle's stage."""
        ...

    def features(self, rows: Any) -> None:
        """Hand model input to the drift profile where no `Request` is at hand, e.g. inside a wrapped model.

        Takes a row or a few: an array, a list, a dict, a list of dicts, a pandas, Arrow or torch table, a KServe payload. Never waits.
        """
        ...

    def feature_table(self, rows: Any) -> None:
        """Hand a table of any size to the drift profile, in a job: it takes its time, and no row is left out."""
        ...

    def wrap(self, obj: Wrapped) -> Wrapped:
        """Instrument a function, a callable class (Ray Serve) or a callable instance (KServe `Model`); returns the same kind of thing."""
        ...

    def training(self) -> TrainingMeter:
        """Return the training meter of this revision, exported until the process ends."""
        ...

    def register_collector(self, name: str, read: Callable[[], Iterable[Reading]]) -> None:
        """Export what `read` returns at every scrape, under `mlops_obs_collector_up{collector=name}`.

        If it raises, that collector reads 0 with the exception's `.reason` (else its class name); the scrape goes on.
        Registering the same name on the same handle again replaces the old one.
        """
        ...


class Connect(Protocol):
    """What the entry point `mlops_obs.telemetry` must be: it builds the handle that `instrument` returns."""

    def __call__(
        self,
        *,
        service: str,
        revision: str,
        stage: str,
        reference: bytes | None,
        feature_names: Sequence[str],
        client_errors: Sequence[type[BaseException]],
    ) -> Telemetry:
        """Return a handle. May raise: `instrument` then falls back to the no-op and says so once."""
        ...
