"""A `CounterSource` that tests feed by hand, with the ways in which real ones fail.

The trap it is built for: code that takes an outage, a stale exporter or a reset for evidence. Each is one call here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.metric_names import (
    OUTCOME,
    OUTCOME_CLIENT_ERROR,
    OUTCOME_ERROR,
    OUTCOME_OK,
    REQUEST_DURATION,
    REQUESTS,
    REVISION,
    SERVICE,
    STAGE,
    STAGE_INGRESS,
)
from mlops_obs.slo.counters import Series

_Key = tuple[str, tuple[tuple[str, str], ...]]


class ScriptedCounters:
    """Counters in memory: `add` counts, `scrape` takes samples, `series` answers as Prometheus would."""

    def __init__(self) -> None:
        self._values: dict[_Key, float] = {}
        self._samples: dict[_Key, list[tuple[float, float]]] = {}
        self._silent: list[Mapping[str, str]] = []
        self._outage = ""
        self.queries = 0

    def add(self, metric: str, labels: Mapping[str, str], amount: float = 0.0) -> None:
        """Count `amount` on a series; an amount of 0 makes the series known, as our exporters do."""
        key = (metric, tuple(sorted(labels.items())))
        self._values[key] = self._values.get(key, 0.0) + amount

    def add_requests(
        self,
        service: str,
        revision: str,
        *,
        total: int = 0,
        errors: int = 0,
        slow: int = 0,
        threshold: float = 0.25,
        stage: str = STAGE_INGRESS,
        labels: Mapping[str, str] | None = None,
        slower: Mapping[float, int] | None = None,
    ) -> None:
        """Count requests of a revision as the instrumentation does: by outcome, and in the histogram at `threshold` seconds.

        `labels` are those that a scraper adds, such as `instance`; `slower` counts the requests above further bounds in seconds.
        """
        base = {**(labels or {}), SERVICE: service, REVISION: revision, STAGE: stage}
        for outcome, amount in ((OUTCOME_OK, total - errors), (OUTCOME_ERROR, errors), (OUTCOME_CLIENT_ERROR, 0)):
            self.add(REQUESTS.name, {**base, OUTCOME: outcome}, amount)
        self.add(f"{REQUEST_DURATION.name}_count", base, total)
        for bound, above in {**(slower or {}), threshold: slow}.items():
            self.add(f"{REQUEST_DURATION.name}_bucket", {**base, "le": repr(float(bound))}, total - above)

    def scrape(self, at: float) -> None:
        """Take a sample of every counter at `at` (Unix seconds), except the silent ones."""
        for key, value in self._values.items():
            labels = dict(key[1])
            if not any(all(labels.get(name) == wanted for name, wanted in one.items()) for one in self._silent):
                self._samples.setdefault(key, []).append((at, value))

    def reset(self, labels: Mapping[str, str]) -> None:
        """Start every counter with `labels` again from zero, as a restarted process does."""
        for key in self._values:
            if dict(labels).items() <= dict(key[1]).items():
                self._values[key] = 0.0

    def silence(self, labels: Mapping[str, str]) -> None:
        """Stop scraping the series with `labels`: their exporter is gone and they go stale."""
        self._silent.append(dict(labels))

    def speak(self) -> None:
        """Scrape every series again."""
        self._silent.clear()

    def start_outage(self, reason: str = "connection refused") -> None:
        """Answer every query with TelemetryUnavailable until `end_outage`."""
        self._outage = reason

    def end_outage(self) -> None:
        """Answer again."""
        self._outage = ""

    @contextmanager
    def outage(self, reason: str = "connection refused") -> Iterator[None]:
        """Be unreachable inside a `with` block."""
        self.start_outage(reason)
        try:
            yield
        finally:
            self.end_outage()

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        """Return samples with start < t <= end; raise TelemetryUnavailable during an outage."""
        self.queries += 1
        if self._outage:
            raise TelemetryUnavailable("OBS-TEST-001", self._outage, todo="end the outage")
        out = []
        for (name, labels), samples in sorted(self._samples.items()):
            chosen = tuple(sample for sample in samples if start < sample[0] <= end)
            if name == metric and chosen and dict(matchers).items() <= dict(labels).items():
                out.append(Series(dict(labels), chosen))
        return out
