"""What every CounterSource promises, run against the real Prometheus, the embedded engine and the fake."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from web import serving

from mlops_obs.adapters.embedded import EmbeddedCounters, EmbeddedEngine
from mlops_obs.adapters.exposition import parse
from mlops_obs.adapters.local_prometheus import LocalMonitoring, available
from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.slo.counters import CounterSource, increase
from mlops_obs.testing.counters import ScriptedCounters

SILENT = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
METRIC = "mlops_obs_requests_total"


class Exporter:
    """Counts one request per scrape and revision, so that sources with a scraper of their own have something exact to say."""

    def __init__(self) -> None:
        self.scrapes = 0

    def __call__(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        self.scrapes += 1
        lines = [
            f'{METRIC}{{revision="{revision}",stage="ingress"}} {self.scrapes * factor}\n' for revision, factor in (("v1", 10), ("v2", 1))
        ]
        return 200, "text/plain; version=0.0.4", (f"# TYPE {METRIC} counter\n" + "".join(lines)).encode()


@contextmanager
def _prometheus(tmp_path: Path, discovery: Path, exporter: Exporter) -> Iterator[tuple[CounterSource, Callable[[], None]]]:
    if not available():
        pytest.skip("prometheus is missing: apt-get install prometheus prometheus-alertmanager")
    with LocalMonitoring(tmp_path / "monitoring", [], discovery, SILENT) as local:
        yield PrometheusCounters(local.prometheus_url), local.prometheus.stop


@contextmanager
def _embedded(tmp_path: Path, discovery: Path, exporter: Exporter) -> Iterator[tuple[CounterSource, Callable[[], None]]]:
    path = tmp_path / "metrics.db"
    with EmbeddedEngine(path, discovery, [], None, "http://127.0.0.1:1/alerts", 0.5, evaluate=lambda source, now: []):
        yield EmbeddedCounters(path), lambda: path.rename(tmp_path / "gone.db") and None


@contextmanager
def _scripted(tmp_path: Path, discovery: Path, exporter: Exporter) -> Iterator[tuple[CounterSource, Callable[[], None]]]:
    source, begin = ScriptedCounters(), time.time() - 60
    for round_number in range(1, 6):
        values = {(one.name, *one.labels.items()): one.value for one in parse(exporter("/metrics", b"")[2].decode())}
        for (name, *labels), value in values.items():
            source.add(name, dict(labels), value / round_number)  # the exporter counts a constant amount per round
        source.add("up", {}, 1.0 if round_number == 1 else 0.0)
        source.scrape(begin + round_number)
    yield source, source.start_outage


SOURCES = {"prometheus": _prometheus, "embedded": _embedded, "scripted": _scripted}


@pytest.mark.stack
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_answers_exactly_what_was_exported_and_raises_when_it_is_gone(name: str, tmp_path: Path) -> None:
    exporter, discovery = Exporter(), tmp_path / "discovery"
    discovery.mkdir()
    with serving(exporter) as url, SOURCES[name](tmp_path, discovery, exporter) as (source, break_it):
        (discovery / "toy-1.json").write_text(json.dumps([{"targets": [url.removeprefix("http://")]}]))
        deadline = time.monotonic() + 30
        while exporter.scrapes < 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        end = time.time()
        # The last scrape may still be on its way into the database.
        while len((source.series(METRIC, {"revision": "v2"}, 0, end) or [_nothing])[0].samples) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
            end = time.time()

        both = source.series(METRIC, {"stage": "ingress"}, 0, end)
        [v2] = source.series(METRIC, {"revision": "v2", "stage": "ingress"}, 0, end)
        times = [at for at, _ in v2.samples]

        assert sorted(one.labels["revision"] for one in both) == ["v1", "v2"]
        assert all("__name__" not in one.labels for one in both)
        # Every value the exporter ever said, in order, none twice.
        assert list(range(1, len(v2.samples) + 1)) == [value for _, value in v2.samples]
        assert times == sorted(times)
        assert increase(v2.samples, 0, end) == len(times) - 1
        # Open at the start, closed at the end.
        assert times[1:3] == [at for at, _ in source.series(METRIC, {"revision": "v2"}, times[0], times[2])[0].samples]
        assert source.series(METRIC, {"revision": "v2"}, times[0], (times[0] + times[1]) / 2) == []
        assert source.series(METRIC, {"revision": "v9"}, 0, end) == []
        assert source.series("mlops_obs_nothing_total", {}, 0, end) == []
        assert sorted({value for one in source.series("up", {}, 0, end) for _, value in one.samples}) == [1.0]

        break_it()
        with pytest.raises(TelemetryUnavailable):
            source.series(METRIC, {}, 0, end)


class _Nothing:
    samples: tuple[()] = ()


_nothing = _Nothing()
