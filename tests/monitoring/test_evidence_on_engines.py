"""A rollout's evidence on real scrapes, by Prometheus and by the embedded engine: a process that dies is missed, one that leaves is not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from web import serving

from mlops_obs.adapters.embedded import EmbeddedCounters, EmbeddedEngine
from mlops_obs.adapters.local_prometheus import LocalMonitoring, available
from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence, Slice, Unknown
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource

SILENT = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
SPEC = Rollout(service="shop", canary="v2", package="/p", slice=2.0, stale_after=5.0)


class Process:
    """Exports ten requests for each second that it has lived, one of them failed; stops to answer when it is told to hang."""

    def __init__(self, revision: str) -> None:
        self.revision, self.began, self.hangs, self.scrapes = revision, time.time(), False, 0

    def __call__(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        if self.hangs:
            return 500, "text/plain", b"out of order"
        self.scrapes += 1
        count = round(10 * (time.time() - self.began))
        at = f'service="shop",revision="{self.revision}",stage="ingress"'
        lines = [
            "# TYPE mlops_obs_requests_total counter",
            f'mlops_obs_requests_total{{{at},outcome="ok"}} {count - count // 10}',
            f'mlops_obs_requests_total{{{at},outcome="error"}} {count // 10}',
            "# TYPE mlops_obs_request_duration_seconds histogram",
            *(f'mlops_obs_request_duration_seconds_bucket{{{at},le="{bound}"}} {count}' for bound in ("0.25", "+Inf")),
            f"mlops_obs_request_duration_seconds_sum{{{at}}} 1",
            f"mlops_obs_request_duration_seconds_count{{{at}}} {count}",
        ]
        return 200, "text/plain; version=0.0.4", ("\n".join(lines) + "\n").encode()


@contextmanager
def _prometheus(folder: Path, discovery: Path) -> Iterator[CounterSource]:
    if not available():
        pytest.skip("prometheus is missing: apt-get install prometheus prometheus-alertmanager")
    with LocalMonitoring(folder / "monitoring", [], discovery, SILENT) as local:
        yield PrometheusCounters(local.prometheus_url)


@contextmanager
def _embedded(folder: Path, discovery: Path) -> Iterator[CounterSource]:
    path = folder / "metrics.db"
    with EmbeddedEngine(path, discovery, [], None, "http://127.0.0.1:1/alerts", 0.5, evaluate=lambda source, now: []):
        yield EmbeddedCounters(path)


@pytest.mark.stack
@pytest.mark.parametrize("engine", [_prometheus, _embedded])
def test_a_process_that_dies_is_missed_and_one_that_leaves_the_list_is_not(engine: Callable, tmp_path: Path) -> None:
    discovery = tmp_path / "discovery"
    discovery.mkdir()
    processes = [Process("v1"), Process("v2"), Process("v2")]
    with ExitStack() as stack:
        addresses = [stack.enter_context(serving(one)).removeprefix("http://") for one in processes]
        for number, address in enumerate(addresses):
            (discovery / f"{number}.json").write_text(json.dumps([{"targets": [address]}]))
        source = stack.enter_context(engine(tmp_path, discovery))
        _until(lambda: all(one.scrapes >= 2 for one in processes))
        began = time.time()
        reader, arms = EvidenceReader(source, SPEC), Arms("v1", "v2", stable_live=True, canary_since=began)
        known: tuple[Slice, ...] = ()
        said: list[str] = []

        def look() -> tuple[Slice, ...]:
            nonlocal known
            found = reader.read(arms, began, known, [(began, 50)], time.time())
            if isinstance(found, Evidence):
                assert found.slices[: len(known)] == known
                known = found.slices
            elif isinstance(found, Unknown):
                said.append(found.reason)
            return known

        _until(lambda: len(look()) >= 2)
        healthy = known
        processes[2].hangs = True
        _until(lambda: bool(look()[-1].missing))
        dead = known[-1]
        (discovery / "2.json").unlink()
        _until(lambda: not look()[-1].missing)

    assert not any(one.missing for one in healthy)
    assert all(sum(one.canary.pods[address][0] for one in healthy) > 0 for address in addresses[1:])
    assert dead.missing == f"{addresses[2]} was not scraped"
    assert set(known[-1].canary.pods) == {addresses[1]}
    assert said == []


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "it did not happen within a minute"
        time.sleep(0.2)
