"""Reads counters and queries from Prometheus' HTTP API.

A rollout must never mistake an outage of Prometheus for an absence of errors. So every answer that is not complete
(unreachable, 503, HTTP 200 with status "error", *partial with warnings*, cut off, not JSON) is raised as
TelemetryUnavailable; an empty list means only that Prometheus answered in full and has no such series.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from mlops_obs.adapters.http_client import Answer, Unreachable, fetch
from mlops_obs.errors import TelemetryUnavailable, UsageError
from mlops_obs.slo.counters import Series

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def selector(metric: str, matchers: Mapping[str, str]) -> str:
    """Write `metric{a="b"}`, escaped, labels sorted.

    Raises:
        UsageError: OBS-PROM-001 if a name cannot be one in PromQL.
    """
    wrong = [name for name in matchers if not _LABEL.fullmatch(name)] + ([] if _METRIC.fullmatch(metric) else [metric])
    if wrong:
        raise UsageError("OBS-PROM-001", f"{wrong[0]!r} is not a metric or label name", todo="use the names in metric_names.py")
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(matchers.items()))
    return f"{metric}{{{pairs}}}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class PrometheusCounters:
    """A `CounterSource` on a Prometheus server (or Thanos, Mimir, VictoriaMetrics: the same API).

    Args:
        url: base address such as `http://prometheus:9090`.
        timeout: seconds for the server to answer; it is told to give up then, too.
        headers: sent with every request, e.g. `{"Authorization": "Bearer ..."}`.
    """

    def __init__(self, url: str, timeout: float = 5.0, headers: Mapping[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout
        self._headers = dict(headers or {})

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        """Return raw samples with start < t <= end (Unix seconds); see `CounterSource`.

        Raises:
            TelemetryUnavailable: OBS-PROM-002 to 004; Prometheus did not answer in full.
        """
        if end <= start:
            return []
        # Prometheus keeps milliseconds. Ask for whole ones around the interval, then cut exactly: the left edge of a range
        # is closed before version 3 and open since.
        at = math.ceil(end * 1000)
        width = max(1, at - math.floor(start * 1000))
        found = self._vector(f"{selector(metric, matchers)}[{width}ms]", at / 1000, "matrix")
        cut = (Series(one.labels, samples) for one in found if (samples := [(t, v) for t, v in one.samples if start < t <= end]))
        return sorted(cut, key=lambda one: sorted(one.labels.items()))

    def query(self, promql: str, at: float | None = None) -> list[Series]:
        """Evaluate `promql` at Unix time `at` (now if None); each series has one sample. A scalar is a series without labels.

        Raises:
            TelemetryUnavailable: as `series`; also if the expression does not parse.
        """
        return self._vector(promql, at, "vector")

    def query_range(self, promql: str, start: float, end: float, step: float) -> list[Series]:
        """Evaluate `promql` every `step` seconds from `start` to `end` (Unix seconds).

        Raises:
            TelemetryUnavailable: as `query`.
        """
        data = self._get("query_range", {"query": promql, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"})
        return self._all(data["result"])

    def ready(self) -> bool:
        """Say whether the server answers and is ready for queries."""
        try:
            return fetch(f"{self.url}/-/ready", timeout=self._timeout, headers=self._headers).status == 200
        except Unreachable:
            return False

    def _vector(self, promql: str, at: float | None, expected: str) -> list[Series]:
        data = self._get("query", {"query": promql} | ({} if at is None else {"time": f"{at:.3f}"}))
        if data["resultType"] == "scalar":
            return self._all([{"metric": {}, "value": data["result"]}])
        if data["resultType"] not in {expected, "matrix"}:
            raise self._unavailable("OBS-PROM-004", f"answered a {data['resultType']} where a {expected} was asked")
        return self._all(data["result"])

    def _all(self, result: Any) -> list[Series]:
        try:
            return [_series(one) for one in result]
        except (KeyError, TypeError, ValueError, IndexError):
            raise self._unavailable("OBS-PROM-002", "answered a result of an unknown shape") from None

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        # A POST, as Grafana does: long queries do not fit into an address.
        form = urlencode({**parameters, "timeout": f"{max(1, round(self._timeout * 1000))}ms"}).encode()
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = fetch(f"{self.url}/api/v1/{path}", timeout=self._timeout, body=form, headers=headers)
        except Unreachable as error:
            raise self._unavailable("OBS-PROM-002", str(error)) from error
        return self._checked(answer)

    def _checked(self, answer: Answer) -> Any:
        try:
            document = answer.json()
            status = document["status"]
        except (ValueError, KeyError, TypeError):
            raise self._unavailable("OBS-PROM-002", f"HTTP {answer.status} whose body is not a Prometheus answer") from None
        if answer.status != 200 or status != "success":
            kind, said = document.get("errorType", "error"), str(document.get("error", "no reason given"))[:300]
            raise self._unavailable("OBS-PROM-003", f"HTTP {answer.status}, {kind}: {said}")
        # "PromQL info/warning: ..." is advice about the expression; anything else means that a store was left out.
        partial = [str(text) for text in document.get("warnings") or [] if not str(text).startswith("PromQL")]
        if partial:
            raise self._unavailable("OBS-PROM-004", f"the answer is partial: {partial[0][:300]}")
        data = document.get("data")
        if not isinstance(data, dict) or "result" not in data or "resultType" not in data:
            raise self._unavailable("OBS-PROM-002", "answered success without a result")
        return data

    def _unavailable(self, code: str, what: str) -> TelemetryUnavailable:
        return TelemetryUnavailable(
            code, f"metrics cannot be read: {what}", where=self.url, todo="check that Prometheus is up and reachable"
        )


def _series(one: Any) -> Series:
    labels = {name: value for name, value in one["metric"].items() if name != "__name__"}
    return Series(labels, [_sample(pair) for pair in (one["values"] if "values" in one else [one["value"]])])


def _sample(pair: Any) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
