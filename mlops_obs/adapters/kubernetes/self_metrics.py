"""The operator's metrics about itself, beside those of the rollouts that it carries out.

A reconcile loop that is stuck looks just like one with nothing to do: so there are the depth of the queue, the age of the
oldest key in it, who leads, errors by code, and the time from the newest sample of a decision to the change being accepted.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from mlops_obs.metric_names import CONTROLLER_API_CALLS, Metric, Reading

Gauges = Callable[[], Iterable[Reading]]


class SelfMetrics:
    """Counts and times; thread-safe. `read` adds readings made at each scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._times: dict[Metric, dict[tuple[str, ...], list[float]]] = {}
        self._sums: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._read: list[Gauges] = []

    def count(self, metric: Metric, *labels: str, by: float = 1.0) -> None:
        """Add to a counter; `labels` in the order of `metric.labels`."""
        with self._lock:
            rows = self._counts.setdefault(metric, {})
            rows[labels] = rows.get(labels, 0.0) + by

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add a time to a histogram."""
        with self._lock:
            rows = self._times.setdefault(metric, {}).setdefault(labels, [0.0] * (len(metric.buckets) + 1))
            rows[bisect_left(metric.buckets, seconds)] += 1
            self._sums[metric, labels] = self._sums.get((metric, labels), 0.0) + seconds

    def api_call(self, verb: str, resource: str, status: int, _: float) -> None:
        """Count a call to the API server: the `observe` of a KubernetesApi."""
        self.count(CONTROLLER_API_CALLS, verb, resource, str(status or "none"))

    def register(self, read: Gauges) -> None:
        """Ask `read` at each scrape."""
        self._read.append(read)

    def value(self, metric: Metric, *labels: str) -> float:
        """Return a counter's value, or how many times a histogram has seen."""
        with self._lock:
            if metric.kind == "histogram":
                return sum(self._times.get(metric, {}).get(labels, []))
            return self._counts.get(metric, {}).get(labels, 0.0)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition and its content type."""
        encode, content_type = choose_encoder(accept)
        return encode(_Once(list(self.families()))), content_type

    def families(self) -> Iterator[Family]:
        """Return everything as Prometheus families."""
        readings: dict[Metric, dict[tuple[str, ...], float]] = {}
        for read in self._read:
            for one in read():
                readings.setdefault(one.metric, {})[tuple(one.labels[name] for name in one.metric.labels)] = one.value
        with self._lock:
            counts = {metric: dict(rows) for metric, rows in self._counts.items()}
            times = {metric: {labels: list(row) for labels, row in rows.items()} for metric, rows in self._times.items()}
            sums = dict(self._sums)
        for metric, rows in [*counts.items(), *readings.items()]:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in rows.items():
                family.add_metric(labels, value)
            yield family
        for metric, buckets in times.items():
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, row in buckets.items():
                total, cumulated = 0.0, []
                for bound, number in zip([*map(str, metric.buckets), "+Inf"], row, strict=True):
                    total += number
                    cumulated.append((bound, total))
                histogram.add_metric(labels, cumulated, sums[metric, labels])
            yield histogram


class _Once(Collector):
    """What prometheus_client's encoders take for a registry."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families
