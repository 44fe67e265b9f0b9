"""Counters become counts per slice and arm, and whatever cannot be trusted becomes Unknown with its reason."""

import pytest

from mlops_obs.metric_names import REQUEST_DURATION, REQUESTS
from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence, Slice, Unknown
from mlops_obs.rollout.spec.rollout import Rollout
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
    return EvidenceReader(counters, SPEC).read(Arms("v1", "v2", stable_live, since), BEGAN, (), [(BEGAN, 20)], now)


def test_requests_are_counted_per_slice_and_arm():
    counters = ScriptedCounters()
    fill(counters, BEGAN - 5, BEGAN, v1={"total": 40, "errors": 1})
    now = fill(counters, BEGAN, BEGAN + 6, v1={"total": 40}, v2={"total": 10, "errors": 4, "slow": 3})

    evidence = read(counters, now)

    assert [one.stable.total for one in evidence.slices] == [80, 80, 80]
    assert [one.stable.errors for one in evidence.slices] == [0, 0, 0]
    assert [(one.canary.total, one.canary.errors, one.canary.slow) for one in evidence.slices] == [(20, 8, 6)] * 3
    assert [one.weight for one in evidence.slices] == [20, 20, 20]


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
    assert [one.missing for one in evidence.slices if one.end <= BEGAN + 32] == [
        "the process of v1 was not scraped",
        "the process of v1 was not scraped; the process of v2 was not scraped",
    ]
    assert sum(one.canary.total for one in evidence.slices) == 20


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

    idle = read(counters, now, stable_live=False)

    assert isinstance(idle, Evidence)
    assert not any(one.missing for one in idle.slices)
    assert isinstance(read(counters, now, stable_live=True), Unknown)


def test_samples_further_apart_than_a_slice_are_unknown_before_the_canary_gets_traffic():
    counters = ScriptedCounters()
    for at in range(0, 60, 10):
        counters.add_requests(SERVICE, "v1", total=400)
        counters.scrape(BEGAN - 60 + at)
    before = Arms("v1", "v2", stable_live=True, canary_since=None)

    found = EvidenceReader(counters, SPEC).read(before, None, (), (), BEGAN - 5)
    wider = EvidenceReader(counters, SPEC.model_copy(update={"slice": 20.0})).read(before, None, (), (), BEGAN - 5)

    assert isinstance(found, Unknown)
    assert "samples are 10 s apart" in found.reason
    assert "slice: 20s and stale_after: 30s" in found.reason
    assert isinstance(wider, Evidence)


def looks(counters: ScriptedCounters, ends: list[float], step: float = 0.7) -> tuple[Slice, ...]:
    """Read again and again while the counters fill; each look continues from the slices of the one before."""
    reader, known, at = EvidenceReader(counters, SPEC), (), BEGAN
    for end in ends:
        while at < end:
            at += step
            found = reader.read(Arms("v1", "v2", True, BEGAN), BEGAN, known, [(BEGAN, 20)], at)
            if isinstance(found, Evidence):
                assert found.slices[: len(known)] == known, "a finished slice never changes"
                known = found.slices
    return known


class Unfolding(ScriptedCounters):
    """Counters that were scripted in full and show only what had been scraped when they are asked."""

    def series(self, metric, matchers, start, end):
        now = end - 300.0 if metric == REQUESTS.name else end
        return super().series(metric, matchers, start, min(end, now - 0.4 if metric == REQUESTS.name else now))


def test_many_looks_cut_the_same_slices_as_one_at_the_end():
    counters = Unfolding()
    fill(counters, BEGAN - 5, BEGAN + 20, v1={"total": 40, "errors": 1}, v2={"total": 10, "slow": 1})
    counters.silence({"revision": "v2"})
    fill(counters, BEGAN + 20, BEGAN + 24, v1={"total": 40}, v2={"total": 10})
    counters.speak()
    fill(counters, BEGAN + 24, BEGAN + 60, v1={"total": 40}, v2={"total": 10, "errors": 2})
    fill(counters, BEGAN + 75, BEGAN + 121, v1={"total": 40}, v2={"total": 10})

    often, once = looks(counters, [BEGAN + 120]), read(counters, BEGAN + 121).slices

    assert often == once[: len(often)]
    assert len(often) == len(once)
    assert sum(one.canary.total for one in often if not one.missing) == pytest.approx(10 * 60 + 10 * 45, abs=60)


def test_a_restarted_controller_goes_on_from_recorded_slices_and_asks_only_for_what_is_new():
    counters = ScriptedCounters()
    now = fill(counters, BEGAN - 5, BEGAN + 300, v1={"total": 40}, v2={"total": 10, "errors": 1})
    whole = read(counters, now)
    asked: list[float] = []
    original = counters.series

    def spy(metric, matchers, start, end):
        asked.append(start)
        return original(metric, matchers, start, end)

    counters.series = spy
    reader, arms = EvidenceReader(counters, SPEC), Arms("v1", "v2", True, BEGAN)
    first = reader.read(arms, BEGAN, whole.slices[:100], [(BEGAN, 20)], now)
    asked.clear()
    counters.series = original
    now = fill(counters, now, now + 4, v1={"total": 40}, v2={"total": 10, "errors": 1})
    counters.series = spy
    second = reader.read(arms, BEGAN, first.slices, [(BEGAN, 20)], now)

    assert first.slices == whole.slices
    assert len(second.slices) == len(whole.slices) + 2
    assert min(asked) == pytest.approx(first.slices[-1].end - 60.0)


def test_a_look_before_the_next_slice_can_be_finished_asks_nothing():
    counters = ScriptedCounters()
    now = fill(counters, BEGAN - 5, BEGAN + 6, v1={"total": 40}, v2={"total": 10})
    reader, arms = EvidenceReader(counters, SPEC), Arms("v1", "v2", True, BEGAN)
    known = reader.read(arms, BEGAN, (), (), now).slices
    before = counters.queries

    again = reader.read(arms, BEGAN, known, (), now + 1.0)

    assert (again.slices, counters.queries) == (known, before)


def test_a_slice_over_a_change_of_weight_has_none():
    counters = ScriptedCounters()
    now = fill(counters, BEGAN - 5, BEGAN + 8, v1={"total": 40}, v2={"total": 10})
    history = [(BEGAN - 1, 20), (BEGAN + 3, 50), (BEGAN + 6, 100)]

    found = EvidenceReader(counters, SPEC).read(Arms("v1", "v2", True, BEGAN), BEGAN, (), history, now)

    assert [one.weight for one in found.slices] == [20, None, 50, 100]
