"""An outage of Prometheus must never look like an absence of errors."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs

import pytest
from web import serving

from mlops_obs.adapters.prometheus import PrometheusCounters, selector
from mlops_obs.errors import TelemetryUnavailable, UsageError
from mlops_obs.slo.counters import Series

EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}


def _json(document: object, status: int = 200) -> Callable[[str, bytes], tuple[int, str, bytes]]:
    return lambda path, body: (status, "application/json", json.dumps(document).encode())


NOT_ANSWERS = {
    "HTTP 503 while it starts": lambda path, body: (503, "text/plain", b"Service Unavailable"),
    "HTTP 503 with its own words": _json({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503),
    "HTTP 200 with status error": _json({"status": "error", "errorType": "execution", "error": "too many samples"}),
    "a partial answer with warnings": _json({**EMPTY, "warnings": ["receive series from store 10.0.0.7: unavailable"]}),
    "a login page": lambda path, body: (200, "text/html", b"<html>please log in</html>"),
    "JSON that is no Prometheus answer": _json([1, 2, 3]),
    "success without data": _json({"status": "success"}),
    "a result of an unknown shape": _json({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}}]}}),
    "a connection closed without a word": lambda path, body: None,
    "a vector where samples were asked": _json({"status": "success", "data": {"resultType": "string", "result": [0, "x"]}}),
}


@pytest.mark.parametrize("case", NOT_ANSWERS)
def test_whatever_is_not_a_full_answer_is_unavailable(case: str) -> None:
    with serving(NOT_ANSWERS[case]) as url, pytest.raises(TelemetryUnavailable, match="OBS-PROM-00"):
        PrometheusCounters(url).series("requests_total", {}, 0, 60)


def test_an_empty_full_answer_means_that_there_are_no_series() -> None:
    with serving(_json(EMPTY)) as url:
        assert PrometheusCounters(url).series("requests_total", {}, 0, 60) == []


def test_advice_about_the_expression_is_no_partial_answer() -> None:
    with serving(_json({**EMPTY, "warnings": ["PromQL warning: metric might not be a counter"]})) as url:
        assert PrometheusCounters(url).query_range("rate(x[1m])", 0, 60, 10) == []


def test_a_refused_connection_is_unavailable_and_not_ready() -> None:
    counters = PrometheusCounters("http://127.0.0.1:1")

    assert not counters.ready()
    with pytest.raises(TelemetryUnavailable, match="connection refused"):
        counters.series("requests_total", {}, 0, 60)


def test_a_server_that_hangs_is_unavailable() -> None:
    import threading

    release = threading.Event()

    def hang(path: str, body: bytes) -> None:
        release.wait(10)

    with serving(hang) as url:
        with pytest.raises(TelemetryUnavailable, match=r"no answer in 0\.2 s"):
            PrometheusCounters(url, timeout=0.2).series("requests_total", {}, 0, 60)
        release.set()


def test_a_proxy_in_the_environment_is_not_asked_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with serving(_json(EMPTY)) as url:
        assert PrometheusCounters(url).series("requests_total", {}, 0, 60) == []


def test_samples_are_cut_to_the_asked_interval_open_at_its_start() -> None:
    result = [{"metric": {"__name__": "requests_total", "revision": "v1"}, "values": [[10, "1"], [10.5, "2"], [20, "3"], [20.001, "4"]]}]
    asked: list[dict[str, list[str]]] = []

    def answer(path: str, body: bytes) -> tuple[int, str, bytes]:
        asked.append(parse_qs(body.decode()))
        return 200, "application/json", json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()

    with serving(answer) as url:
        found = PrometheusCounters(url).series("requests_total", {"revision": "v1"}, 10, 20)

    assert [Series({"revision": "v1"}, [(10.5, 2.0), (20.0, 3.0)])] == found
    assert asked[0]["query"] == ['requests_total{revision="v1"}[10000ms]']


def test_label_values_cannot_break_out_of_the_selector() -> None:
    assert selector("m", {"b": 'x"} or vector(1) #', "a": "back\\slash\n"}) == 'm{a="back\\\\slash\\n",b="x\\"} or vector(1) #"}'


@pytest.mark.parametrize(("metric", "label"), [("m or vector(1)", "a"), ("m", 'a="",b')])
def test_names_that_are_not_names_are_refused(metric: str, label: str) -> None:
    with pytest.raises(UsageError, match="OBS-PROM-001"):
        selector(metric, {label: "x"})
