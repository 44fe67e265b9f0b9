"""A telemetry implementation that only remembers, for tests of instrumented code.

    recorder = Recorder()
    with use(recorder.connect):          # from mlops_obs.lifecycle import use
        answer(bad_request)
    assert recorder.outcomes() == ["client_error"]

It keeps the same promises as the real one: outcomes are classified by the same rules, nothing is swallowed, `wrap` returns the
same kind of thing. It has no clock: durations are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from mlops_obs.lifecycle.api import Headers, Request, StageRun, Telemetry, TrainingMeter, Wrapped
from mlops_obs.lifecycle.outcome import outcome_of_exception, outcome_of_status
from mlops_obs.lifecycle.trace_context import format_traceparent, parse_traceparent
from mlops_obs.lifecycle.wrap import wrap
from mlops_obs.metric_names import OUTCOME_CLIENT_ERROR, OUTCOME_ERROR, OUTCOME_OK, Reading

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Recorded:
    """One request or stage run, as it ended; `outcome` is empty while it runs. A context manager, like the real ones."""

    service: str
    revision: str
    stage: str
    kind: str  # request or stage
    trace_id: str = TRACE_ID
    outcome: str = ""
    row_count: int = 0
    attributes: dict[str, str | float | bool] = field(default_factory=dict)
    error_type: type[BaseException] | None = None
    _client_errors: tuple[type[BaseException], ...] = ()
    _said: str = ""
    _features: list[Any] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.error_type = kind
        self.outcome = self._said or (outcome_of_exception(error, self._client_errors) if error else OUTCOME_OK)

    def client_error(self) -> None:
        """Remember a client error."""
        self._said = OUTCOME_CLIENT_ERROR

    def error(self) -> None:
        """Remember an error."""
        self._said = OUTCOME_ERROR

    def status(self, code: int) -> None:
        """Remember the outcome of an HTTP status."""
        self._said = outcome_of_status(code)

    def features(self, rows: Any) -> None:
        """Remember model input."""
        self._features.append(rows)

    def attribute(self, key: str, value: str | float | bool) -> None:
        """Remember a span attribute."""
        self.attributes[key] = value

    def rows(self, count: int) -> None:
        """Remember produced rows."""
        self.row_count += count

    @property
    def traceparent(self) -> str:
        """The header to pass on."""
        return format_traceparent(self.trace_id, "b7ad6b7169203331", True)


@dataclass
class RecordedTraining:
    """A training meter that remembers what was called."""

    phases: list[str] = field(default_factory=list)
    steps: list[tuple[float, int]] = field(default_factory=list)
    checkpoints: int = 0
    restarts: int = 0

    def phase(self, name: str) -> AbstractContextManager[Any]:
        """Remember a phase."""
        self.phases.append(name)
        return nullcontext()

    def step(self, loss: float, samples: int) -> None:
        """Remember a step."""
        self.steps.append((float(loss), int(samples)))

    def checkpoint(self) -> None:
        """Count a checkpoint."""
        self.checkpoints += 1

    def restart(self) -> None:
        """Count a restart."""
        self.restarts += 1

    def read(self) -> list[Reading]:
        """Return no readings; look at the attributes."""
        return []


class Recorder:
    """Everything that instrumented code said, in order."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []
        self.feature_rows: list[Any] = []
        self.trainings: list[RecordedTraining] = []
        self.collectors: dict[str, Callable[[], Iterable[Reading]]] = {}

    def connect(self, *, service: str, revision: str, stage: str, client_errors: Sequence[type[BaseException]] = (), **_: Any) -> Telemetry:
        """Return a handle that records here: pass this method to `lifecycle.use`."""
        return _RecordingTelemetry(self, service, revision, stage, tuple(client_errors))

    def outcomes(self, kind: str = "request") -> list[str]:
        """Return the outcomes of all requests (or `stage` runs) that ended, in the order they began."""
        return [event.outcome for event in self.events if event.kind == kind and event.outcome]


class _RecordingTelemetry:
    def __init__(self, recorder: Recorder, service: str, revision: str, stage: str, client_errors: tuple[type[BaseException], ...]) -> None:
        self.service, self.revision, self.stage_name = service, revision, stage
        self._recorder = recorder
        self._client_errors = client_errors

    def _record(self, kind: str, traceparent: str | None) -> Recorded:
        parent = parse_traceparent(traceparent)
        event = Recorded(self.service, self.revision, self.stage_name, kind, parent.trace_id if parent else TRACE_ID)
        event._client_errors = self._client_errors
        event._features = self._recorder.feature_rows
        self._recorder.events.append(event)
        return event

    def request(self, *, headers: Headers | None = None, traceparent: str | None = None) -> Request:
        return self._record("request", traceparent or (headers.get("traceparent") if headers else None))

    def stage(self, *, traceparent: str | None = None) -> StageRun:
        return self._record("stage", traceparent)

    def features(self, rows: Any) -> None:
        self._recorder.feature_rows.append(rows)

    def feature_table(self, rows: Any) -> None:
        self._recorder.feature_rows.append(rows)

    def wrap(self, obj: Wrapped) -> Wrapped:
        return wrap(self, obj)

    def training(self) -> TrainingMeter:
        self._recorder.trainings.append(RecordedTraining())
        return self._recorder.trainings[-1]

    def register_collector(self, name: str, read: Callable[[], Iterable[Reading]]) -> None:
        self._recorder.collectors[name] = read
