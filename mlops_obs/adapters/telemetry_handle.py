"""One telemetry handle: requests, stage runs, drift rows of one (service, revision, stage).

Everything here runs inside somebody's request, so all of ours is inside `try`: the model's exception passes through, ours is
counted in `mlops_obs_observations_dropped_total` and swallowed. The trap: a handle is captured by model code that Ray ships
with cloudpickle, so it pickles as the arguments of `instrument` and is built again where it lands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mlops_obs.adapters.process_metrics import DROPPED_ERROR
from mlops_obs.adapters.telemetry_process import Process, current, remember
from mlops_obs.adapters.tracing import GATED, ActiveSpan, new_trace_id, new_traceparent
from mlops_obs.collectors.latency.meter import Exemplar, OutcomeMeter
from mlops_obs.lifecycle import instrument
from mlops_obs.lifecycle.api import Headers, Request, StageRun, TrainingMeter, Wrapped
from mlops_obs.lifecycle.noop import NoopTraining
from mlops_obs.lifecycle.outcome import outcome_of_exception, outcome_of_status
from mlops_obs.lifecycle.trace_context import format_traceparent, parse_traceparent
from mlops_obs.lifecycle.wrap import wrap
from mlops_obs.metric_names import OUTCOME_CLIENT_ERROR, OUTCOME_ERROR, OUTCOME_OK, REVISION, SERVICE, STAGE_INGRESS, STAGE_SERVE, Reading

if TYPE_CHECKING:
    from mlops_obs.adapters.drift_capture import DriftCapture

_log = logging.getLogger("mlops_obs")
_perf_counter = time.perf_counter


class PrometheusTelemetry:
    """See `lifecycle.api.Telemetry`."""

    def __init__(
        self,
        service: str,
        revision: str,
        stage: str,
        reference: bytes | None = None,
        feature_names: tuple[str, ...] = (),
        client_errors: tuple[type[BaseException], ...] = (),
    ) -> None:
        self.service, self.revision, self.stage_name = service, revision, stage
        self._reference = reference
        self._feature_names = feature_names
        self._client_errors = client_errors
        self._training: TrainingMeter | None = None
        self._attributes = {f"mlops_obs.{SERVICE}": service, f"mlops_obs.{REVISION}": revision, GATED: stage}
        self._span_name = f"{service} {stage}"
        self.attach(current())
        self._process.start(f"{service}-{stage}-{revision}")
        remember(self)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (self.service, self.revision, self.stage_name, self._reference, self._feature_names, self._client_errors)
        return instrument, arguments

    def request(self, *, headers: Headers | None = None, traceparent: str | None = None) -> Request:
        """See `lifecycle.api.Telemetry.request`."""
        return _Request(self, traceparent, headers)

    def stage(self, *, traceparent: str | None = None) -> StageRun:
        """See `lifecycle.api.Telemetry.stage`."""
        return _StageRun(self, traceparent)

    def features(self, rows: Any) -> None:
        """See `lifecycle.api.Telemetry.features`."""
        try:
            if self._capture is not None:
                self._capture(rows)
                if self._process.asleep:
                    self._wake()
        except Exception:  # noqa: BLE001 - rule 9: instrumentation never breaks the model
            self._drop()

    def feature_table(self, rows: Any) -> None:
        """See `lifecycle.api.Telemetry.feature_table`."""
        try:
            if self._drift is not None:
                if self._process.asleep:
                    self._wake()
                self._drift.table(rows)
        except Exception:  # noqa: BLE001 - rule 9
            self._drop()

    def wrap(self, obj: Wrapped) -> Wrapped:
        """See `lifecycle.api.Telemetry.wrap`."""
        try:
            return wrap(self, obj)
        except Exception:  # noqa: BLE001 - rule 9
            _log.warning("mlops_obs: cannot instrument %r; it runs uninstrumented", obj, exc_info=True)
            self._drop()
            return obj

    def training(self) -> TrainingMeter:
        """See `lifecycle.api.Telemetry.training`."""
        if self._training is None:
            try:
                from mlops_obs.collectors.training import TrainingMeter as Meter

                meter: TrainingMeter = Meter(self.service, self.revision, time.time, lock=threading.Lock())
                self.register_collector("training", meter.read)
                self._training = meter
            except Exception:  # noqa: BLE001 - rule 9
                _log.warning("mlops_obs: the training meter could not start; training goes on without it", exc_info=True)
                self._drop()
                self._training = NoopTraining()
        return self._training

    def register_collector(self, name: str, read: Callable[[], Iterable[Reading]]) -> None:
        """See `lifecycle.api.Telemetry.register_collector`."""
        self._process.metrics.register(name, self._owner, read)

    @property
    def _owner(self) -> tuple[str, str, str]:
        return (self.service, self.revision, self.stage_name)

    def attach(self, process: Process) -> None:
        """Bind to `process`: at birth, and again in a forked child."""
        self._process = process
        self._tracing = process.tracing(self.service)
        metrics = process.metrics
        metrics.drop(self.service, self.revision, DROPPED_ERROR, 0)
        # Only one of the two is exported: a job answers no requests, a server runs no stages, until it is asked to.
        self._requests: OutcomeMeter | None = None
        self._stages: OutcomeMeter | None = None
        # In a forked child neither is, until the first observation wakes it.
        if self.stage_name in (STAGE_SERVE, STAGE_INGRESS):
            self._requests = None if process.asleep else metrics.request_meter(*self._owner)
        else:
            self._stages = None if process.asleep else metrics.stage_meter(*self._owner)
        self._capture: Callable[[Any], object] | None = None
        self._drift: DriftCapture | None = None
        if self._reference is not None:
            self._start_drift(process, self._reference)

    def _start_drift(self, process: Process, reference: bytes) -> None:
        try:
            from mlops_obs.adapters.drift_capture import capture_of

            self._drift = capture_of(process, self._owner, reference, self._feature_names, self._drop)
            self._capture = self._drift.rows
        except Exception as error:  # noqa: BLE001 - rule 9
            _log.warning("mlops_obs: drift of %s %s is not watched: unusable reference", self.service, self.revision, exc_info=True)
            failure = error

            def fail() -> list[Reading]:
                raise failure

            process.metrics.register("drift", self._owner, fail)

    def _drop(self) -> None:
        self._process.metrics.drop(self.service, self.revision, DROPPED_ERROR)

    def _wake(self) -> None:
        """Let a forked child that observes something serve its metrics and fold its rows."""
        self._process.start(f"{self.service}-{self.stage_name}-{self.revision}")

    def _request_meter(self) -> OutcomeMeter:
        """Return the meter of requests; wakes a forked child and makes the series of a job that answers requests after all."""
        if self._process.asleep:
            self._wake()
        self._requests = self._process.metrics.request_meter(*self._owner)
        return self._requests

    def _stage_meter(self) -> OutcomeMeter:
        """Return the meter of stage runs; see `_request_meter`."""
        if self._process.asleep:
            self._wake()
        self._stages = self._process.metrics.stage_meter(*self._owner)
        return self._stages


class _Timed:
    """One event from `with` to its end. Everything of ours is inside try: the model's exception passes, ours does not."""

    __slots__ = ("_headers", "_meter", "_outcome", "_span", "_started", "_telemetry", "_trace_id", "_traceparent")
    _always_traced = False

    def __init__(self, telemetry: PrometheusTelemetry, traceparent: str | None, headers: Headers | None = None) -> None:
        self._telemetry = telemetry
        self._traceparent = traceparent
        self._headers = headers
        self._outcome = ""
        self._span: ActiveSpan | None = None
        self._meter: OutcomeMeter | None = None
        self._trace_id = ""
        self._started = 0.0

    def _find_meter(self) -> OutcomeMeter:
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            telemetry = self._telemetry
            meter = self._find_meter()
            meter.begin()
            self._meter = meter
            if self._headers is not None and self._traceparent is None:
                self._traceparent = self._headers.get("traceparent")
            if telemetry._tracing.enabled:
                self._span = telemetry._tracing.start(
                    telemetry._span_name, self._traceparent, telemetry._attributes, always=self._always_traced
                )
        except Exception:  # noqa: BLE001 - rule 9
            self._telemetry._drop()
        self._started = _perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds = _perf_counter() - self._started
        telemetry, span, outcome = self._telemetry, self._span, self._outcome
        try:
            if not outcome:
                outcome = OUTCOME_OK if error is None else outcome_of_exception(error, telemetry._client_errors)
        except Exception:  # noqa: BLE001 - an exception whose attributes raise is still an error of the model
            outcome = OUTCOME_ERROR
        try:
            if self._meter is not None:
                self._meter.finish(outcome, seconds, Exemplar(span.trace_id, seconds, time.time()) if span is not None else None)
            if span is not None:
                span.end(outcome, error)
        except Exception:  # noqa: BLE001 - rule 9
            telemetry._drop()

    def attribute(self, key: str, value: str | float | bool) -> None:
        if self._span is not None:
            try:
                self._span.attribute(key, value)
            except Exception:  # noqa: BLE001 - rule 9
                self._telemetry._drop()

    @property
    def traceparent(self) -> str:
        if self._span is not None:
            return format_traceparent(self._span.trace_id, self._span.span_id, True)
        if parse_traceparent(self._traceparent) is None:
            self._traceparent = new_traceparent(self._trace_id)
        return self._traceparent or ""


class _Request(_Timed):
    __slots__ = ()

    def _find_meter(self) -> OutcomeMeter:
        return self._telemetry._requests or self._telemetry._request_meter()

    def client_error(self) -> None:
        self._outcome = OUTCOME_CLIENT_ERROR

    def error(self) -> None:
        self._outcome = OUTCOME_ERROR

    def status(self, code: int) -> None:
        self._outcome = outcome_of_status(code)

    def features(self, rows: Any) -> None:
        self._telemetry.features(rows)

    @property
    def trace_id(self) -> str:
        return self._span.trace_id if self._span is not None else ""


class _StageRun(_Timed):
    __slots__ = ()
    _always_traced = True

    def _find_meter(self) -> OutcomeMeter:
        return self._telemetry._stages or self._telemetry._stage_meter()

    def rows(self, count: int) -> None:
        try:
            self._find_meter().add_rows(int(count))
        except Exception:  # noqa: BLE001 - rule 9
            self._telemetry._drop()

    @property
    def trace_id(self) -> str:
        if self._span is not None:
            return self._span.trace_id
        if not self._trace_id:
            parent = parse_traceparent(self._traceparent)
            self._trace_id = parent.trace_id if parent else new_trace_id()
        return self._trace_id
