"""Spans through OpenTelemetry, with the sampling decision in front of it.

Where spans go is OpenTelemetry's own environment: `OTEL_EXPORTER_OTLP_ENDPOINT` sends them by OTLP over HTTP, `MLOPS_OBS_TRACE_FILE`
appends them to a file as JSON lines. A program that has set a tracer provider itself keeps it, and its sampler then decides.
`OTEL_TRACES_SAMPLER_ARG` is the share of requests that start a trace (default 0.01); stage runs always do, they are few.

The trap: a span that OpenTelemetry decides not to record still costs 6 us. The gate here costs a fraction of one.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import Token
from pathlib import Path

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes, AttributeValue

from mlops_obs.lifecycle.trace_context import format_traceparent, parse_traceparent

DEFAULT_RATIO = 0.01
EXPORT_MILLISECONDS = 1000
GATED = "mlops_obs.stage"  # every span of ours has this attribute: it has passed the gate

_log = logging.getLogger("mlops_obs")
_random = random.Random()  # noqa: S311 - ids of traces, not secrets


class Tracing:
    """Starts spans, if and only if somebody receives them and this request is sampled."""

    def __init__(self, tracer: trace.Tracer | None, ratio: float) -> None:
        self._tracer = tracer
        self._ratio = ratio

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere."""
        return self._tracer is not None

    def start(
        self, name: str, traceparent: str | None, attributes: Mapping[str, AttributeValue], *, always: bool = False
    ) -> ActiveSpan | None:
        """Start the span of a request or run and make it current; None if it is not sampled.

        A valid `traceparent` decides; else the span that is current; else the ratio, or yes with `always`.
        """
        if self._tracer is None:
            return None
        parent = parse_traceparent(traceparent) if traceparent is not None else None
        context: Context | None = None
        if parent is not None:
            if not parent.sampled:
                return None
            remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, TraceFlags(TraceFlags.SAMPLED), TraceState())
            context = trace.set_span_in_context(NonRecordingSpan(remote))
        else:
            current = trace.get_current_span().get_span_context()
            if current.is_valid:
                if not current.trace_flags.sampled:
                    return None
            elif not always and _random.random() >= self._ratio:
                return None
        span = self._tracer.start_span(name, context=context, kind=SpanKind.INTERNAL if always else SpanKind.SERVER, attributes=attributes)
        # The program's own provider may have refused it.
        return ActiveSpan(span) if span.get_span_context().trace_flags.sampled else None


class ActiveSpan:
    """A recording span that is the current one of its task until `end`."""

    __slots__ = ("_span", "_token", "span_id", "trace_id")

    def __init__(self, span: Span) -> None:
        self._span = span
        ids = span.get_span_context()
        self.trace_id = format(ids.trace_id, "032x")
        self.span_id = format(ids.span_id, "016x")
        self._token: Token[Context] = otel_context.attach(trace.set_span_in_context(span))

    def attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute."""
        self._span.set_attribute(key, value)

    def end(self, outcome: str, error: BaseException | None) -> None:
        """End the span with its outcome; an error carries the exception."""
        # Not otel_context.detach: it logs an error when a stream is closed in another task than it began in, which is no error.
        with suppress(ValueError):
            otel_context._RUNTIME_CONTEXT.detach(self._token)
        self._span.set_attribute("mlops_obs.outcome", outcome)
        if outcome == "error":
            self._span.set_status(Status(StatusCode.ERROR, type(error).__name__ if error else ""))
            if error is not None:
                self._span.record_exception(error)
        self._span.end()


def new_traceparent(trace_id: str = "", *, sampled: bool = False) -> str:
    """Return a `traceparent` for what is called next, with a fresh span id, and a fresh trace id unless one is given."""
    return format_traceparent(trace_id or new_trace_id(), f"{_random.getrandbits(64) | 1:016x}", sampled)


def new_trace_id() -> str:
    """Return a random trace id, 32 hex digits, never zero."""
    return f"{_random.getrandbits(128) | 1:032x}"


def reseed() -> None:
    """Give a forked child other random numbers than its parent, else both make the same trace ids."""
    _random.seed()


def configure(service: str, environment: Mapping[str, str] | None = None) -> Tracing:
    """Set tracing up from the environment. Once per process: OpenTelemetry refuses a second provider."""
    env = os.environ if environment is None else environment
    ratio = _ratio(env)
    provider = trace.get_tracer_provider()
    if not isinstance(provider, trace.ProxyTracerProvider):
        return Tracing(provider.get_tracer("mlops_obs"), ratio if "OTEL_TRACES_SAMPLER_ARG" in env else 1.0)
    exporters = _exporters(env)
    if not exporters or env.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing(None, ratio)
    name = env.get("OTEL_SERVICE_NAME", service)
    ours = TracerProvider(resource=Resource.create({"service.name": name}), sampler=_Gated(ratio))
    for exporter in exporters:
        ours.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EXPORT_MILLISECONDS))
    trace.set_tracer_provider(ours)
    return Tracing(ours.get_tracer("mlops_obs"), ratio)


def _ratio(env: Mapping[str, str]) -> float:
    text = env.get("OTEL_TRACES_SAMPLER_ARG", "")
    try:
        return min(max(float(text), 0.0), 1.0) if text else DEFAULT_RATIO
    except ValueError:
        _log.warning("mlops_obs: OTEL_TRACES_SAMPLER_ARG=%r is not a number between 0 and 1; using %s", text, DEFAULT_RATIO)
        return DEFAULT_RATIO


def _exporters(env: Mapping[str, str]) -> list[SpanExporter]:
    found: list[SpanExporter] = []
    if env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError:
            _log.warning("mlops_obs: an OTLP endpoint is set but the exporter is missing: pip install 'mlops-obs[otlp]'")
        else:
            found.append(OTLPSpanExporter())
    if path := env.get("MLOPS_OBS_TRACE_FILE"):
        found.append(JsonLinesExporter(Path(path)))
    return found


class _Gated(Sampler):
    """Record what has passed our gate; sample the program's own root spans at the same ratio."""

    def __init__(self, ratio: float) -> None:
        self._others = ParentBased(TraceIdRatioBased(ratio))

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if attributes and GATED in attributes:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._others.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return "mlops_obs gate"


class JsonLinesExporter(SpanExporter):
    """Appends spans to a file, one JSON object per line. Several processes may share the file: a batch is one append."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write `spans`. A full disk loses them and says so through OpenTelemetry; it never reaches the model."""
        lines = "".join(json.dumps(_as_dict(span), separators=(",", ":"), default=str) + "\n" for span in spans)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            target = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(target, lines.encode())
            finally:
                os.close(target)
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS


def _as_dict(span: ReadableSpan) -> dict[str, object]:
    ids = span.get_span_context()
    return {
        "name": span.name,
        "trace_id": format(ids.trace_id, "032x") if ids else "",
        "span_id": format(ids.span_id, "016x") if ids else "",
        "parent_id": format(span.parent.span_id, "016x") if span.parent else "",
        "start": (span.start_time or 0) / 1e9,
        "end": (span.end_time or 0) / 1e9,
        "status": span.status.status_code.name.lower(),
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, "attributes": dict(event.attributes or {})} for event in span.events],
    }


__all__ = ["ActiveSpan", "JsonLinesExporter", "Tracing", "configure", "new_trace_id", "new_traceparent", "reseed"]
