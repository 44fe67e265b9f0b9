"""Metrics fail in every way they can; each is Unknown or a missing slice with its reason, never a success and never a failure."""

from __future__ import annotations

import json

import pytest

from mlops_obs.adapters import prometheus
from mlops_obs.adapters.http_client import Answer, Unreachable
from mlops_obs.metric_names import REQUEST_DURATION, REQUESTS
from mlops_obs.rollout.evidence import trust
from mlops_obs.rollout.evidence.counted import OTHERS
from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence, Unknown
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.counters import ScriptedCounters

SERVICE, BEGAN = "credit-risk", 1_000_000.0
SPEC = Rollout(service=SERVICE, canary="v2", package="/p", slice=2.0, stale_after=10.0)
ARMS = Arms("v1", "v2", stable_live=True, canary_since=BEGAN)
PODS = [("v1", "10.0.0.1:9"), ("v1", "10.0.0.2:9"), ("v2", "10.0.0.3:9"), ("v2", "10.0.0.4:9")]


def serve(counters, start, end, pods=PODS, **more):
    """Answer ten requests a second on every pod, one of them failed; scrape each second. Returns the time."""
    for second in range(round(start), round(end)):
        for revision, instance in pods:
            counters.add_requests(SERVICE, revision, total=10, errors=1, labels={"instance": instance, "job": "serve"}, **more)
        counters.scrape(BEGAN + second + 1)
    return BEGAN + end


def read(counters, now, known=(), spec=SPEC, arms=ARMS):
    return EvidenceReader(counters, spec).read(arms, BEGAN, known, [(BEGAN, 50)], now)


def told(found) -> list[tuple[float, str, int]]:
    return [(one.end - BEGAN, one.missing, one.canary.total) for one in found.slices]


PLAIN = {"status": "success", "data": {"resultType": "matrix", "result": []}}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            Answer(200, "", json.dumps({"status": "error", "errorType": "execution", "error": "too many samples"}).encode()),
            "too many samples",
        ),
        (Answer(200, "", json.dumps({**PLAIN, "warnings": ["store 10.0.0.7 did not answer"]}).encode()), "partial: store 10.0.0.7"),
        (Answer(503, "", b'{"status":"error","error":"shutting down"}'), "HTTP 503"),
        (Answer(502, "text/html", b"<html>bad gateway</html>"), "not a Prometheus answer"),
        (
            Answer(200, "", json.dumps({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}).encode()),
            "a string where",
        ),
        (Unreachable("no answer in 5 s"), "no answer in 5 s"),
        (Unreachable("connection refused"), "connection refused"),
    ],
)
def test_an_answer_of_prometheus_that_is_not_whole_is_no_evidence(monkeypatch, answer, words):
    def fetch(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(prometheus, "fetch", fetch)

    found = read(prometheus.PrometheusCounters("http://prometheus:9090"), BEGAN + 60)

    assert isinstance(found, Unknown)
    assert words in found.reason


def test_one_missed_scrape_of_everything_makes_one_wider_slice_and_loses_nothing():
    counters = ScriptedCounters()
    serve(counters, -5, 4)
    for second in (5, 6, 7):  # counted, not scraped
        for revision, instance in PODS:
            counters.add_requests(SERVICE, revision, total=10, errors=1, labels={"instance": instance, "job": "serve"})
        del second
    now = serve(counters, 7, 12)

    found = read(counters, now)

    assert told(found) == [(2, "", 40), (4, "", 40), (8, "", 80), (10, "", 40), (12, "", 40)]


def test_a_window_without_scrapes_is_missing_and_what_was_counted_in_it_is_nobodys_fault():
    counters = ScriptedCounters()
    serve(counters, -5, 4)
    for revision, instance in PODS:  # fifteen seconds in which the canary failed and stable did not; nobody scraped
        errors = 150 if revision == "v2" else 0
        counters.add_requests(SERVICE, revision, total=150, errors=errors, labels={"instance": instance, "job": "serve"})
    now = serve(counters, 19, 24)

    found = read(counters, now)

    assert told(found)[2:] == [(20, "10.0.0.1:9 was not scraped; 10.0.0.2:9 was not scraped; 10.0.0.3:9 was not scraped and 1 more", 0),
                               (22, "", 40), (24, "", 40)]  # fmt: skip
    assert sum(one.canary.errors for one in found.slices) == 16


def test_prometheus_that_stays_down_stays_unknown():
    counters = ScriptedCounters()
    now = serve(counters, -5, 10)
    counters.start_outage("connection refused")

    found = [read(counters, now + later) for later in (1, 60, 86_400)]

    assert all(isinstance(one, Unknown) and "connection refused" in one.reason for one in found)


def test_a_sample_that_is_not_a_number_is_unknown_now_and_a_missing_slice_later():
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)
    key = next(key for key in counters._samples if key[0] == REQUESTS.name and ("revision", "v2") in key[1])
    counters._samples[key][-1] = (now, float("nan"))

    at_once = read(counters, now)
    now = serve(counters, 6, 12)
    later = read(counters, now)

    assert isinstance(at_once, Unknown)
    assert told(later) == [(2, "", 40), (4, "", 40), (8, "a counter was not a number", 0), (10, "", 40), (12, "", 40)]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), -5.0])
def test_what_no_counter_can_be_is_not_a_number_either(value):
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)
    key = next(key for key in counters._samples if key[0].endswith("_count"))
    counters._samples[key][-1] = (now, value)

    assert "is not a number" in read(counters, now).reason


def test_a_pod_that_is_away_is_missing_and_not_idle_while_the_others_go_on():
    counters = ScriptedCounters()
    serve(counters, -5, 6)
    counters.silence({"instance": "10.0.0.4:9"})
    waiting = read(counters, serve(counters, 6, 10))
    missing = read(counters, serve(counters, 10, 30))
    counters.speak()
    back = read(counters, serve(counters, 30, 34))

    assert told(waiting) == [(2, "", 40), (4, "", 40), (6, "", 40)]
    assert told(missing)[3:] == [(30, "10.0.0.4:9 was not scraped", 0)]
    assert told(back)[3:] == [(32, "10.0.0.4:9 was not scraped", 0), (34, "", 40)]


def test_a_pod_that_does_not_come_back_is_given_up_after_a_minute():
    counters = ScriptedCounters()
    serve(counters, -5, 6)
    counters.silence({"instance": "10.0.0.4:9"})
    now = serve(counters, 6, 80)

    found = told(read(counters, now))

    assert found[3] == (66, "10.0.0.4:9 was not scraped", 0)
    assert found[4] == (68, "", 20)


def test_a_pod_that_its_scraper_no_longer_lists_is_gone_at_once():
    counters = ScriptedCounters()
    for instance in {instance for _, instance in PODS}:
        counters.add("up", {"instance": instance, "job": "serve"}, 1.0)
    serve(counters, -5, 6)
    counters.silence({"instance": "10.0.0.4:9"})
    now = serve(counters, 6, 30)

    assert not any(missing for _, missing, _ in told(read(counters, now)))


def test_a_pod_that_is_listed_and_does_not_answer_is_missing():
    counters = ScriptedCounters()
    for _, instance in PODS:
        counters.add("up", {"instance": instance, "job": "serve", "of": "scraper"}, 1.0)
    serve(counters, -5, 6)
    counters.silence({"instance": "10.0.0.4:9", "service": SERVICE})
    counters.add("up", {"instance": "10.0.0.4:9", "job": "serve", "of": "scraper"}, -1.0)
    now = serve(counters, 6, 30)

    assert told(read(counters, now))[-1] == (30, "10.0.0.4:9 was not scraped", 0)


def test_a_pod_that_died_and_was_then_taken_off_the_list_is_missed_only_while_it_was_on_it():
    counters = ScriptedCounters()
    for _, instance in PODS:
        counters.add("up", {"instance": instance, "job": "serve", "of": "scraper"}, 1.0)
    serve(counters, -5, 6)
    counters.silence({"instance": "10.0.0.4:9", "service": SERVICE})
    serve(counters, 6, 30)
    counters.silence({"instance": "10.0.0.4:9"})
    now = serve(counters, 30, 50)

    assert told(read(counters, now))[3:5] == [(40, "10.0.0.4:9 was not scraped", 0), (42, "", 20)]


def test_a_pod_that_comes_back_after_it_was_given_up_does_not_bring_its_past():
    counters = ScriptedCounters()
    serve(counters, -5, 6)
    reader = EvidenceReader(counters, SPEC)
    known = reader.read(ARMS, BEGAN, (), [(BEGAN, 50)], BEGAN + 6).slices
    counters.silence({"instance": "10.0.0.4:9"})
    for end in range(10, 200, 10):
        now = serve(counters, end - 10 if end > 10 else 6, end)
        known = reader.read(ARMS, BEGAN, known, [(BEGAN, 50)], now).slices
    counters.add_requests(SERVICE, "v2", total=9_000, errors=9_000, labels={"instance": "10.0.0.4:9", "job": "serve"})
    counters.speak()
    now = serve(counters, 190, 200)

    known = reader.read(ARMS, BEGAN, known, [(BEGAN, 50)], now).slices

    assert max(one.canary.errors for one in known) <= 4
    assert known[-1].canary.total == 40
    fresh = read(counters, now).slices
    assert [one for one in fresh if not one.missing] == [one for one in known if not one.missing], "a fresh controller reads the same"


def test_a_prometheus_that_starts_late_does_not_take_the_past_for_new():
    counters = ScriptedCounters()
    for revision, instance in PODS:
        counters.add_requests(SERVICE, revision, total=9_000, errors=9_000, labels={"instance": instance, "job": "serve"})
    now = serve(counters, 3, 10)

    assert max(one.canary.errors for one in read(counters, now).slices) <= 4


def test_a_counter_reset_and_a_restarted_pod_count_on():
    counters = ScriptedCounters()
    serve(counters, -5, 6)
    counters.reset({"instance": "10.0.0.3:9"})
    now = serve(counters, 6, 12)

    assert told(read(counters, now)) == [(end, "", 40) for end in range(2, 13, 2)]


def test_a_renamed_metric_is_unknown():
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)
    for key in [key for key in counters._samples if ("revision", "v2") in key[1] and key[0] == REQUESTS.name]:
        counters._samples["requests_total", key[1]] = counters._samples.pop(key)

    assert "no request counters of v2" in read(counters, now + 20, arms=Arms("v1", "v2", stable_live=False, canary_since=BEGAN)).reason


def test_a_pod_without_the_bucket_is_unknown_and_not_slow():
    counters = ScriptedCounters()
    serve(counters, -5, 6, pods=PODS[:3])
    now = serve(counters, -5, 6, pods=[("v2", "10.0.0.4:9")], threshold=0.5)

    assert read(counters, now).reason == "the latency histogram of v2 at 10.0.0.4:9 has no bound 0.25 s"


def test_a_histogram_that_contradicts_itself_is_a_missing_slice():
    counters = ScriptedCounters()
    serve(counters, -5, 4)
    counters.add(
        f"{REQUEST_DURATION.name}_bucket",
        {"instance": "10.0.0.3:9", "job": "serve", "service": SERVICE, "revision": "v2", "stage": "ingress", "le": "0.25"},
        500,
    )
    now = serve(counters, 4, 8)

    assert told(read(counters, now)) == [
        (2, "", 40), (4, "", 40), (6, "the histogram of 10.0.0.3:9 counts more requests below 0.25 s than in all", 0), (8, "", 40),
    ]  # fmt: skip


def test_a_process_that_two_jobs_scrape_is_counted_once_and_that_is_said():
    counters = ScriptedCounters()
    twice = [(revision, instance, job) for revision, instance in PODS for job in ("pods", "services")]
    for second in range(-5, 6):
        for revision, instance, job in twice:
            counters.add_requests(SERVICE, revision, total=10, errors=1, labels={"instance": instance, "job": job})
        counters.scrape(BEGAN + second + 1)

    found = read(counters, BEGAN + 6)

    assert told(found) == [(2, "", 40), (4, "", 40), (6, "", 40)]
    assert "10.0.0.3:9 is counted once: job services scrapes it as well as job pods" in found.notes


def test_two_prometheis_that_read_the_same_process_at_other_times_count_it_once():
    counters = ScriptedCounters()
    for second in range(-5, 6):
        for revision, instance in PODS:
            for replica in ("a", "b"):
                counters.add_requests(SERVICE, revision, total=10, errors=1, labels={"instance": instance, "replica": replica})
            counters.add_requests(SERVICE, revision, total=0, labels={"instance": instance, "replica": "b"})
        counters.scrape(BEGAN + second + 1)
    for key, samples in counters._samples.items():  # the second one is half a second behind, and lost a sample
        if ("replica", "b") in key[1]:
            counters._samples[key] = [(at + 0.5, value) for at, value in samples[:4] + samples[5:]]

    assert told(read(counters, BEGAN + 6)) == [(2, "", 40), (4, "", 40), (6, "", 40)]


def test_two_jobs_with_different_processes_behind_one_address_are_counted_both():
    counters = ScriptedCounters()
    for second in range(-5, 6):
        for revision in ("v1", "v2"):
            counters.add_requests(SERVICE, revision, total=10, errors=1, labels={"instance": "node-1", "job": "a"})
            counters.add_requests(SERVICE, revision, total=3, errors=1, labels={"instance": "node-1", "job": "b"})
        counters.scrape(BEGAN + second + 1)

    assert told(read(counters, BEGAN + 6)) == [(2, "", 26), (4, "", 26), (6, "", 26)]


def test_two_processes_behind_one_address_are_not_taken_for_one():
    counters = ScriptedCounters()
    for second in range(-5, 6):
        for process in ("1", "2"):
            for revision in ("v1", "v2"):
                counters.add_requests(SERVICE, revision, total=10, labels={"instance": "10.0.0.1:9", "job": "serve", "process": process})
        counters.scrape(BEGAN + second + 1)

    assert told(read(counters, BEGAN + 6)) == [(2, "", 40), (4, "", 40), (6, "", 40)]


def test_too_many_series_are_unknown_and_the_metric_is_named(monkeypatch):
    monkeypatch.setattr(trust, "MOST_SERIES", 10)
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)

    assert read(counters, now).reason.startswith("mlops_obs_requests_total has 12 series, more than 10; drop the label")


@pytest.mark.parametrize(("skew", "words"), [(300.0, "5 min in the future: check the clocks"), (-300.0, "is 5 min old")])
def test_a_prometheus_whose_clock_is_wrong_is_unknown(skew, words):
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)

    found = read(counters, now - skew)

    assert isinstance(found, Unknown)
    assert words in found.reason


def test_a_sample_that_arrives_late_is_waited_for():
    counters = ScriptedCounters()
    now = serve(counters, -5, 6)
    late = {key: samples.pop() for key, samples in counters._samples.items() if ("instance", "10.0.0.4:9") in key[1]}

    before = read(counters, now)
    for key, sample in late.items():
        counters._samples[key].append(sample)

    assert told(before) == [(2, "", 40), (4, "", 40)]
    assert told(read(counters, now)) == [(2, "", 40), (4, "", 40), (6, "", 40)]


def test_without_traffic_slices_are_empty_and_not_missing():
    counters = ScriptedCounters()
    serve(counters, -5, 2)
    for second in range(3, 7):
        counters.scrape(BEGAN + second)

    assert told(read(counters, BEGAN + 6)) == [(2, "", 40), (4, "", 0), (6, "", 0)]


def test_traffic_that_reaches_only_stable_is_told_as_it_is():
    counters = ScriptedCounters()
    counters.add_requests(SERVICE, "v2", labels={"instance": "10.0.0.3:9", "job": "serve"})
    now = serve(counters, -5, 6, pods=PODS[:2])

    found = read(counters, now)

    assert isinstance(found, Evidence)
    assert [(one.canary.total, one.stable.total, one.weight) for one in found.slices] == [(0, 40, 50)] * 3


def test_a_canary_that_was_scaled_to_zero_is_unknown():
    counters = ScriptedCounters()
    serve(counters, -5, 6)
    counters.silence({"revision": "v2"})
    now = serve(counters, 6, 20)

    assert read(counters, now).reason == "the newest sample of v2 is 14 s old"


def test_pods_are_told_apart_up_to_fifty_and_the_rest_together():
    counters = ScriptedCounters()
    many = [("v1", "10.0.0.1:9"), *(("v2", f"10.0.1.{number}:9") for number in range(60))]
    now = serve(counters, -5, 4, pods=many)

    first = read(counters, now)
    second = read(counters, serve(counters, 4, 8, pods=[*many, ("v2", "10.0.0.9:9")]), known=first.slices)

    assert dict(first.slices[0].stable.pods) == {"10.0.0.1:9": (20, 2, 0)}
    assert len(first.slices[0].canary.pods) == 50
    assert first.slices[0].canary.pods[OTHERS] == (220, 22, 0)
    assert set(second.slices[-1].canary.pods) == set(first.slices[0].canary.pods), "who is named stays named"
    assert second.slices[-1].canary.total == 1220
