"""The running demo under faults: what dies comes back to the same end, and what cannot be seen changes nothing."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.cli import wiring
from mlops_obs.cli.demo.story import watch
from mlops_obs.metric_names import REQUESTS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def store(told):
    return wiring.rollout_store(wiring.load_environment(told.loop.env_file))


def until(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def exposed(store, revision):
    """The newest rollout's state once its canary gets traffic."""

    def look():
        state = store.load("credit-risk").state
        return state if state.spec.canary == revision and state.weight and state.step_started_at else None

    return until(look)


def test_a_killed_controller_is_continued_by_the_next_one_to_the_same_end(told, store):
    told.loop.ship("v3")
    exposed(store, "v3")

    told.loop.children.kill("controller")
    time.sleep(3)
    assert not store.load("credit-risk").state.over
    told.loop.start_controller()
    status = watch(told.loop, "v3", lambda _: None)

    assert status["phase"] == "RolledBack"
    assert store.broken_record() is None


def test_a_minute_without_prometheus_moves_no_traffic_says_why_and_ends_as_if_nothing_had_been(told, store):
    told.loop.ship("v1")
    began = exposed(store, "v1")

    told.loop.monitoring.prometheus.stop()
    stopped = time.monotonic()
    until(lambda: store.load("credit-risk").state.phase == "Holding")
    held = []
    while time.monotonic() - stopped < 60:
        held.append(store.load("credit-risk").state)
        time.sleep(1)
    told.loop.monitoring.prometheus.start()
    status = watch(told.loop, "v1", lambda _: None)

    assert {state.phase for state in held} == {"Holding"}
    assert {state.weight for state in held} == {began.weight}
    assert all("metrics cannot be read" in state.reason for state in held)
    assert status["phase"] == "Promoted"


def test_a_killed_replica_gives_no_wrong_verdict_and_loses_no_series(told, store):
    loop = told.loop
    before = len(loop.requests())
    loop.ship("v2")
    exposed(store, "v2")

    pids = [
        int(re.fullmatch(r".*-serve-v2-(\d+)\.json", path.name)[1]) for path in (loop.settings.out / "discovery").glob("*-serve-v2-*.json")
    ]
    victim = next(pid for pid in pids if Path(f"/proc/{pid}").exists())
    killed = time.time()
    os.kill(victim, signal.SIGKILL)
    status = watch(loop, "v2", lambda _: None)

    assert status["phase"] == "Promoted"
    failed = [request for request in loop.requests()[before:] if request.failed]
    assert all(request.status == 503 for request in failed)
    assert len(failed) <= 10
    prometheus = PrometheusCounters(loop.monitoring.prometheus_url)
    query = f'sum({REQUESTS.name}{{service="credit-risk", stage="ingress", revision="v2"}})'
    (line,) = prometheus.query_range(query, killed - 5, time.time() - 2, 1.0)
    values = [value for _, value in line.samples]
    assert values == sorted(values)
    assert len(values) >= time.time() - killed - 5


def test_the_ingress_counted_exactly_what_the_callers_saw(told):
    """v3 gets no traffic now, so its counters stand still and can be compared to the event."""
    prometheus = PrometheusCounters(told.loop.monitoring.prometheus_url)
    seen = [request for request in told.loop.requests() if request.revision == "v3"]

    counted = {
        one.labels["outcome"]: one.samples[-1][1]
        for one in prometheus.query(f'sum by (outcome) ({REQUESTS.name}{{service="credit-risk", stage="ingress", revision="v3"}})')
    }

    assert counted["error"] == sum(request.failed for request in seen)
    assert sum(counted.values()) == len(seen)
