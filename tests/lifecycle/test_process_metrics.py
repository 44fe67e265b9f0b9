from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from mlops_obs.adapters import process_metrics
from mlops_obs.adapters.process_metrics import ProcessMetrics
from mlops_obs.collectors.latency import Exemplar
from mlops_obs.metric_names import METRICS, REQUESTS_INFLIGHT, ROLLOUT_WEIGHT, Reading

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def _samples(metrics: ProcessMetrics, name: str, seconds: float = 60.0) -> dict[tuple[str, ...], float]:
    text = metrics.text(seconds=seconds)[0].decode()
    return {tuple(s.labels.values()): s.value for family in parse_text(text) for s in family.samples if s.name == name}


def _weight(revision: str, value: float) -> Reading:
    return Reading(ROLLOUT_WEIGHT, {"service": "credit-risk", "revision": revision}, value)


def test_counters_are_exported_at_zero_as_soon_as_the_labels_are_known() -> None:
    metrics = ProcessMetrics()
    metrics.request_meter("credit-risk", "v3", "ingress")

    assert set(_samples(metrics, "mlops_obs_requests_total").values()) == {0.0}
    assert len(_samples(metrics, "mlops_obs_requests_total")) == 3
    assert list(_samples(metrics, "mlops_obs_request_duration_seconds_count").values()) == [0.0]


def test_every_exported_family_is_a_known_metric_with_its_labels_and_kind() -> None:
    metrics = ProcessMetrics()
    metrics.request_meter("credit-risk", "v1", "serve").finish("ok", 0.01)
    metrics.stage_meter("credit-risk", "v1", "features").finish("ok", 12.0)
    metrics.register("rollout", "", lambda: [_weight("v1", 1.0)])
    metrics.drop("credit-risk", "v1", "instrumentation_error", 2)

    for family in parse_openmetrics(metrics.text(OPENMETRICS)[0].decode()):
        for sample in family.samples:
            known = METRICS.get(sample.name) or METRICS[family.name]
            assert known.kind == family.type
            assert set(known.labels) == set(sample.labels) - {"le"}


def test_exemplars_lead_from_a_bucket_to_a_trace_in_openmetrics_only() -> None:
    metrics = ProcessMetrics()
    metrics.request_meter("credit-risk", "v1", "serve").finish("error", 0.3, Exemplar(TRACE, 0.3, 1700000000.0))

    body, content_type = metrics.text(OPENMETRICS)
    plain, plain_type = metrics.text("text/plain")

    found = [
        (s.labels["le"], s.exemplar.labels, s.exemplar.value) for f in parse_openmetrics(body.decode()) for s in f.samples if s.exemplar
    ]
    assert found == [("0.3", {"trace_id": TRACE}, 0.3)]
    assert content_type.startswith("application/openmetrics-text")
    assert plain_type.startswith("text/plain")
    assert TRACE not in plain.decode()


class _NoDriver(Exception):
    reason = "no_driver"


def _raise(error: Exception) -> list[Reading]:
    raise error


def _halfway() -> Iterator[Reading]:
    yield _weight("v1", 0.5)
    raise OSError("gone")


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda: _raise(_NoDriver()), "no_driver"),
        (lambda: _raise(ZeroDivisionError("customer 4711")), "zero_division_error"),
        (_halfway, "oserror"),
        (lambda: [Reading(ROLLOUT_WEIGHT, {"service": "x"}, 1.0)], "bad_reading"),
        (lambda: [Reading(ROLLOUT_WEIGHT, {"service": "x", "revision": "y"}, None)], "type_error"),  # type: ignore[arg-type]
        (lambda: 5, "type_error"),
    ],
    ids=["its own reason", "its class", "fails halfway", "wrong labels", "no number", "not a list"],
)
def test_a_failing_collector_says_why_and_loses_nobody_elses_metrics(read: object, reason: str) -> None:
    metrics = ProcessMetrics()
    metrics.request_meter("credit-risk", "v1", "serve").finish("ok", 0.01)
    metrics.register("bad", "", read)  # type: ignore[arg-type]
    metrics.register("rollout", "", lambda: [_weight("v2", 0.2)])

    up = _samples(metrics, "mlops_obs_collector_up")

    assert up == {("latency", ""): 1.0, ("bad", reason): 0.0, ("rollout", ""): 1.0}
    assert _samples(metrics, "mlops_obs_rollout_weight_ratio") == {("v2", "credit-risk"): 0.2}
    assert 1.0 in _samples(metrics, "mlops_obs_requests_total").values()


def test_a_hanging_collector_delays_a_scrape_but_never_stops_it_and_hangs_in_one_thread_only() -> None:
    metrics = ProcessMetrics()
    release = threading.Event()
    calls = []

    def hang() -> list[Reading]:
        calls.append(1)
        release.wait(30)
        return [_weight("v1", 1.0)]

    metrics.register("gpu", "", hang)
    metrics.register("rollout", "", lambda: [_weight("v2", 1.0)])

    for _ in range(3):
        up = _samples(metrics, "mlops_obs_collector_up", seconds=0.5)
    assert (up["gpu", "timeout"], up["rollout", ""]) == (0.0, 1.0)
    assert len(calls) == 1

    release.set()
    while ("gpu", "") not in _samples(metrics, "mlops_obs_collector_up"):
        pass
    assert len(_samples(metrics, "mlops_obs_rollout_weight_ratio")) == 2


def test_two_collectors_that_read_the_same_series_do_not_spoil_the_scrape() -> None:
    metrics = ProcessMetrics()
    metrics.register("rollout", "one", lambda: [_weight("v1", 0.1)])
    metrics.register("rollout", "two", lambda: [_weight("v1", 0.9)])

    assert list(_samples(metrics, "mlops_obs_rollout_weight_ratio").values()) == [0.9]


def test_one_sick_collector_of_two_with_one_name_is_seen() -> None:
    metrics = ProcessMetrics()
    metrics.register("drift", "v1", lambda: _raise(_NoDriver()))
    metrics.register("drift", "v2", list)

    assert _samples(metrics, "mlops_obs_collector_up")["drift", "no_driver"] == 0.0


def test_a_collector_registered_again_replaces_the_old_one_and_registering_reads_nothing() -> None:
    metrics = ProcessMetrics()
    metrics.register("rollout", "", lambda: pytest.fail("the old collector was read"))
    metrics.register("rollout", "", lambda: [_weight("v1", 1.0)])

    assert list(_samples(metrics, "mlops_obs_rollout_weight_ratio").values()) == [1.0]


def test_revisions_without_end_are_counted_together_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_metrics, "MAX_METERS", 3)
    metrics = ProcessMetrics()
    for number in range(10):
        metrics.request_meter("credit-risk", f"request-{number}", "serve").finish("ok", 0.01)

    counted = _samples(metrics, "mlops_obs_request_duration_seconds_count")
    dropped = _samples(metrics, "mlops_obs_observations_dropped_total")

    assert sorted(counted.values()) == [1.0, 1.0, 1.0, 7.0]
    assert list(dropped.values()) == [7.0]


def test_requests_running_now_are_a_gauge_that_comes_back_to_zero() -> None:
    metrics = ProcessMetrics()
    meter = metrics.request_meter("credit-risk", "v1", "serve")
    meter.begin()
    running = list(_samples(metrics, REQUESTS_INFLIGHT.name).values())
    meter.finish("ok", 0.1)

    assert (running, list(_samples(metrics, REQUESTS_INFLIGHT.name).values())) == ([1.0], [0.0])
