"""Counters become counts per slice and arm, and whatever cannot be trusted becomes Unknown with its reason."""

import pytest

from mlops_obs.metric_names import REQUEST_DURATION, REQUESTS
from mlops_obs.rollout.evidence import Arms, Evidence, Unknown, read_evidence
from mlops_obs.rollout.spec import Rollout
from mlops_obs.testing.counters import ScriptedCounters

SERVICE, BEGAN = "credit-risk", 1_000.0
SPEC = Rollout(service=SERVICE, canary="v2", package="/packages/v2", slice=2.0, stale_after=10.0)
BASE = {"service": SERVICE, "stage": "ingress"}


def fill(counters: ScriptedCounters, start: float, end: float, **per_second: dict[str, int]) -> float:
    at = start
    while at < end:
        at += 1.0
        for revision, counts in per_second.items():
            counters.add_requests(SERVICE, revision, **counts)
        counters.scrape(at)
    return at


def read(counters: ScriptedCounters, now: float, *, since: float | None = BEGAN, stable_live: bool = True) -> Evidence | Unknown:
    return read_evidence(counters, SPEC, Arms("v1", "v2", stable_live, since), BEGAN, now)


def test_requests_are_counted_per_slice_and_arm():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN, v1={"total": 40, "errors": 1})
    now = fill(counters, BEGAN, BEGAN + 6, v1={"total": 40}, v2={"total": 10, "errors": 4, "slow": 3})

    evidence = read(counters, now)

    assert [one.stable.total for one in evidence.slices] == [80, 80, 80]
    assert [one.stable.errors for one in evidence.slices] == [0, 0, 0]
    assert [(one.canary.total, one.canary.errors, one.canary.slow) for one in evidence.slices] == [(20, 8, 6)] * 3


def test_a_series_born_while_others_were_scraped_counts_from_zero():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN + 2, v1={"total": 40})
    now = fill(counters, BEGAN + 2, BEGAN + 4, v1={"total": 40}, v2={"total": 10})

    assert [one.canary.total for one in read(counters, now).slices] == [0, 20]


def test_a_series_first_seen_after_a_gap_does_not_bring_its_past():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN, v1={"total": 40})
    counters.add_requests(SERVICE, "v2", total=5_000, errors=5_000)
    now = fill(counters, BEGAN + 30, BEGAN + 34, v1={"total": 40}, v2={"total": 10})

    evidence = read(counters, now)

    assert sum(one.canary.errors for one in evidence.slices) == 0
    assert sum(one.canary.total for one in evidence.slices) == 30


def test_a_restarted_process_counts_on_from_zero():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN + 4, v1={"total": 40}, v2={"total": 10})
    counters.reset({"revision": "v2"})
    now = fill(counters, BEGAN + 4, BEGAN + 8, v1={"total": 40}, v2={"total": 10})

    assert [one.canary.total for one in read(counters, now).slices] == [20, 20, 20, 20]


def test_slices_do_not_change_when_more_samples_arrive():
    counters = ScriptedCounters()
    now = fill(counters, BEGAN - 5, BEGAN + 6, v1={"total": 40}, v2={"total": 10, "errors": 1})
    before = read(counters, now).slices
    now = fill(counters, BEGAN + 6, BEGAN + 9, v1={"total": 40}, v2={"total": 10, "errors": 1})

    assert read(counters, now).slices[: len(before)] == before


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: c.start_outage("503 from Prometheus"), "503 from Prometheus"),
        (lambda c: c._samples.clear(), "no request counters of credit-risk"),
        (
            lambda c: c.add(REQUESTS.name, {**BASE, "revision": "v2", "outcome": "ok"}, float("nan")) or c.scrape(BEGAN + 7),
            "is not a number",
        ),
        (lambda c: [c._samples.pop(k) for k in list(c._samples) if k[0].endswith("_bucket")], "has no bound 0.25 s"),
        (lambda c: [c._samples.pop(k) for k in list(c._samples) if k[0].startswith(REQUEST_DURATION.name)], "no latency histogram of v1"),
        (lambda c: [c._samples.pop(k) for k in list(c._samples) if ("revision", "v1") in k[1]], "no request counters of v1"),
        (lambda c: c.add_requests(SERVICE, "v1") or c.scrape(BEGAN + 200), "in the future: check the clocks"),
        (lambda c: c.add_requests(SERVICE, "v1") or c.scrape(BEGAN + 8), ""),
    ],
)
def test_what_cannot_be_trusted_is_unknown_and_says_why(spoil, words):
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN + 6, v1={"total": 40}, v2={"total": 10})
    spoil(counters)

    found = read(counters, BEGAN + 7)

    assert isinstance(found, Unknown) == bool(words)
    assert words in getattr(found, "reason", "")


def test_a_canary_without_samples_is_unknown_only_after_it_has_had_time_to_send_them():
    counters = ScriptedCounters()
    now = fill(counters, BEGAN - 5, BEGAN + 30, v1={"total": 40})

    assert isinstance(read(counters, now, since=now - 5), Evidence)
    assert isinstance(read(counters, now, since=now - 20), Unknown)
    assert isinstance(read(counters, now, since=None), Evidence)


def test_a_stable_arm_without_traffic_owes_no_samples():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN, v1={"total": 40})
    now = fill(counters, BEGAN, BEGAN + 1, v2={"total": 40})
    counters.silence({"revision": "v1"})
    now = fill(counters, now, BEGAN + 40, v2={"total": 40})

    assert isinstance(read(counters, now, stable_live=False), Evidence)
    assert isinstance(read(counters, now, stable_live=True), Unknown)


def test_samples_further_apart_than_a_slice_are_unknown_before_the_canary_gets_traffic():
    counters = ScriptedCounters()
    for at in range(0, 60, 10):
        counters.add_requests(SERVICE, "v1", total=400)
        counters.scrape(BEGAN - 60 + at)
    before = Arms("v1", "v2", stable_live=True, canary_since=None)

    found = read_evidence(counters, SPEC, before, None, BEGAN - 5)
    wider = read_evidence(counters, SPEC.model_copy(update={"slice": 20.0}), before, None, BEGAN - 5)

    assert isinstance(found, Unknown)
    assert "samples are 10 s apart" in found.reason
    assert "slice: 20s and stale_after: 30s" in found.reason
    assert isinstance(wider, Evidence)
