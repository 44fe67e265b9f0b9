"""All metrics of one process, as Prometheus families: exact meters, and whatever collectors return as readings.

Own registry, nothing at import. The trap is prometheus_client's all-or-nothing scrape: one collector that raises or hangs, or two
that export the same series, lose every metric of the process. Here each collector is read alone, in its own thread until a
deadline, its readings are checked, and a bad one turns into `mlops_obs_collector_up 0` with its reason.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mlops_obs.collectors.latency.meter import OutcomeMeter, Snapshot
from mlops_obs.metric_names import (
    COLLECTOR_SECONDS,
    COLLECTOR_UP,
    JOB_BUCKETS,
    LATENCY_BUCKETS,
    OBSERVATIONS_DROPPED,
    REQUEST_DURATION,
    REQUESTS,
    REQUESTS_INFLIGHT,
    STAGE_DURATION,
    STAGE_ROWS,
    STAGE_RUNS,
    Metric,
    Reading,
)

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.native import NativeHistogram

# A process that makes more series than this has put an id into a label; the rest is counted under one revision.
MAX_METERS = 200
OVERFLOW_REVISION = "overflow"
DROPPED_ERROR = "instrumentation_error"
# How long all collectors together may take where the scraper does not say how long it waits itself.
READ_SECONDS = 2.0

Read = Callable[[], Iterable[Reading]]
ReadNative = Callable[[], "Iterable[tuple[Metric, Mapping[str, str], NativeHistogram]]"]
Key = tuple[str, str, str]  # service, revision, stage
Values = dict[Metric, dict[tuple[str, ...], float]]


@dataclass(slots=True)
class _Registered:
    read: Read
    seconds: float = 0.0  # CPU time used so far
    running: _Reader | None = None


class ProcessMetrics:
    """The metrics of this process. Thread-safe; a scrape never holds a lock that a request needs for longer than one copy."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._requests: dict[Key, OutcomeMeter] = {}
        self._stages: dict[Key, OutcomeMeter] = {}
        self._dropped: dict[Key, int] = {}
        self._collectors: dict[tuple[str, object], _Registered] = {}
        self._natives: dict[object, ReadNative] = {}
        self._own_seconds = 0.0

    def request_meter(self, service: str, revision: str, stage: str) -> OutcomeMeter:
        """Return the meter of requests with these labels; the same one each time."""
        return self._meter(self._requests, (service, revision, stage), LATENCY_BUCKETS)

    def stage_meter(self, service: str, revision: str, stage: str) -> OutcomeMeter:
        """Return the meter of stage runs with these labels; the same one each time."""
        return self._meter(self._stages, (service, revision, stage), JOB_BUCKETS)

    def drop(self, service: str, revision: str, reason: str, count: int = 1) -> None:
        """Count observations lost inside the instrumentation. `count` 0 makes the series known."""
        with self._lock:
            key = (service, revision, reason)
            self._dropped[key] = self._dropped.get(key, 0) + count

    def register(self, name: str, owner: object, read: Read) -> None:
        """Read `read` at every scrape as collector `name`. The same (name, owner) again replaces the old one."""
        with self._lock:
            self._collectors[(name, owner)] = _Registered(read)

    def register_native(self, owner: object, read: ReadNative) -> None:
        """Expose the native histograms that `read` returns; only a scraper that asks for protobuf gets them. `read` must not raise."""
        with self._lock:
            self._natives[owner] = read

    def spent(self, name: str, owner: object, seconds: float) -> None:
        """Add CPU seconds that a collector used outside its `read`."""
        with self._lock:
            if registered := self._collectors.get((name, owner)):
                registered.seconds += seconds

    def text(self, accept: str = "", seconds: float = READ_SECONDS) -> tuple[bytes, str]:
        """Return the exposition and its content type. OpenMetrics, which alone carries exemplars, where `accept` asks for it.

        `seconds` is what all collectors may take together; the answer goes on without those that have not answered by then.
        """
        with self._lock:
            natives = list(self._natives.values())
        if natives:
            from mlops_obs.adapters import protobuf_exposition as protobuf

            if protobuf.asks_for_protobuf(accept):
                found: dict[Metric, list[tuple[Mapping[str, str], NativeHistogram]]] = {}
                for read in natives:
                    for metric, labels, histogram in read():
                        found.setdefault(metric, []).append((labels, histogram))
                return protobuf.encode(self.read(seconds), found), protobuf.CONTENT_TYPE
        encode, content_type = choose_encoder(accept)
        return encode(_Scrape(self, seconds)), content_type

    def read(self, seconds: float = READ_SECONDS) -> Iterator[Family]:
        """Read everything once."""
        started = time.thread_time()
        with self._lock:
            requests = [(key, meter.bounds, meter.snapshot()) for key, meter in self._requests.items()]
            stages = [(key, meter.bounds, meter.snapshot()) for key, meter in self._stages.items()]
            collectors = list(self._collectors.items())
        values: Values = {}
        yield from _meter_families(requests, values, REQUESTS, REQUEST_DURATION, inflight=REQUESTS_INFLIGHT)
        yield from _meter_families(stages, values, STAGE_RUNS, STAGE_DURATION, rows=STAGE_ROWS)
        self._own_seconds += time.thread_time() - started
        values.setdefault(COLLECTOR_UP, {})[("latency", "")] = 1.0
        values.setdefault(COLLECTOR_SECONDS, {})[("latency",)] = self._own_seconds
        self._read_all(collectors, values, time.monotonic() + seconds)
        with self._lock:
            for key, count in self._dropped.items():
                values.setdefault(OBSERVATIONS_DROPPED, {})[key] = float(count)
        for metric, samples in values.items():
            yield _family(metric, samples)

    def _read_all(self, collectors: list[tuple[tuple[str, object], _Registered]], values: Values, deadline: float) -> None:
        readers = [(name, registered, self._reader(registered)) for (name, _), registered in collectors]
        reasons: dict[str, str] = {}
        for name, registered, reader in readers:
            reader.join(max(deadline - time.monotonic(), 0.0))
            if reader.is_alive():
                reason = "timeout"
            else:
                reason = reader.reason
                registered.running = None
                registered.seconds += reader.seconds
                for metric, key, value in reader.readings:
                    values.setdefault(metric, {})[key] = value
            reasons[name] = reasons.get(name) or reason
            used = values.setdefault(COLLECTOR_SECONDS, {})
            used[(name,)] = used.get((name,), 0.0) + registered.seconds
        for name, reason in reasons.items():
            values.setdefault(COLLECTOR_UP, {})[(name, reason)] = 0.0 if reason else 1.0

    def _reader(self, registered: _Registered) -> _Reader:
        """Start reading, unless the last reading still hangs: then there is one thread to wait for, not one more per scrape."""
        with self._lock:
            if registered.running is None:
                registered.running = _Reader(registered.read)
                registered.running.start()
            return registered.running

    def _meter(self, meters: dict[Key, OutcomeMeter], key: Key, bounds: tuple[float, ...]) -> OutcomeMeter:
        with self._lock:
            if key not in meters and len(meters) >= MAX_METERS:
                self.drop(key[0], OVERFLOW_REVISION, "too_many_revisions")
                key = (key[0], OVERFLOW_REVISION, key[2])
            meter = meters.get(key)
            if meter is None:
                # Re-entrant: a signal handler may be running inside the critical section of the thread it interrupted.
                meter = meters[key] = OutcomeMeter(bounds, threading.RLock())
            return meter


class _Scrape(Collector):
    """One scrape, in the shape that prometheus_client encodes."""

    def __init__(self, metrics: ProcessMetrics, seconds: float) -> None:
        self._metrics = metrics
        self._seconds = seconds

    def collect(self) -> Iterator[Family]:
        return self._metrics.read(self._seconds)


def _meter_families(
    snapshots: list[tuple[Key, tuple[float, ...], Snapshot]],
    values: Values,
    counter: Metric,
    histogram: Metric,
    *,
    inflight: Metric | None = None,
    rows: Metric | None = None,
) -> Iterator[Family]:
    if not snapshots:
        return
    durations = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    for key, bounds, shot in snapshots:
        for outcome, count in shot.outcomes.items():
            values.setdefault(counter, {})[(*key, outcome)] = float(count)
        if inflight is not None:
            values.setdefault(inflight, {})[key] = float(shot.inflight)
        if rows is not None:
            values.setdefault(rows, {})[key] = float(shot.rows)
        names = [*map(str, map(float, bounds)), "+Inf"]
        exemplars = [Exemplar({"trace_id": one.trace_id}, one.seconds, one.at) if one else None for one in shot.exemplars]
        buckets = list(zip(names, map(float, shot.cumulative), exemplars, strict=True))
        durations.add_metric(key, buckets, shot.seconds)  # type: ignore[arg-type]  # None is a legal exemplar there, only not in the hint
    yield durations


class _Reader(threading.Thread):
    """Reads one collector once. All of its readings count, or none."""

    def __init__(self, read: Read) -> None:
        super().__init__(name="mlops-obs-read", daemon=True)
        self._read = read
        self.readings: list[tuple[Metric, tuple[str, ...], float]] = []
        self.reason = ""
        self.seconds = 0.0

    def run(self) -> None:
        started = time.thread_time()
        try:
            self.readings = [_checked(reading) for reading in self._read()]
        except Exception as error:  # noqa: BLE001 - whatever a source does, the other metrics must be scraped
            self.reason = _reason(error)
        self.seconds = time.thread_time() - started


class _BadReading(Exception):
    reason = "bad_reading"


def _checked(reading: Reading) -> tuple[Metric, tuple[str, ...], float]:
    metric, labels = reading.metric, reading.labels
    if metric.kind == "histogram" or set(labels) != set(metric.labels):
        raise _BadReading
    return metric, tuple(str(labels[name]) for name in metric.labels), float(reading.value)


def _reason(error: Exception) -> str:
    """Return a bounded label value: the exception's own `.reason` word, else its class in snake case. Never its message."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", reason):
        return reason
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()[:40]


def _family(metric: Metric, samples: dict[tuple[str, ...], float]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name, metric.help, labels=metric.labels)
    for key, value in samples.items():
        family.add_metric(key, value)
    return family
