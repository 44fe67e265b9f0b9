"""The verdict: condemned, accepted, undecided or unknown; whose fault it is; and the words that are read at 3 am."""

import json
from dataclasses import replace

import numpy as np
import pytest
from judged import BEGAN, counts, slices, spec, verdict

from mlops_obs.rollout.evidence.slices import Counts, Evidence, Slice, Unknown
from mlops_obs.rollout.judging import judge as front
from mlops_obs.rollout.judging.hearing import Hearing
from mlops_obs.rollout.judging.judge import at_most_worse, conclude, judge

HEALTHY, BAD = (0.005, 0.005), (0.08, 0.005)


def test_a_healthy_canary_is_accepted_on_evidence():
    found = verdict(slices(10))

    assert (found.kind, found.attribution) == ("accepted", "none")
    assert "v2 is at most" in found.reason


def test_a_canary_that_fails_is_condemned_with_the_counts_and_the_odds_in_words():
    found = verdict(slices(5, BAD))

    assert (found.kind, found.attribution) == ("condemned", "canary")
    assert "of v2's requests failed against" in found.reason
    assert ">= 200:1" in found.reason


def test_a_condemnation_is_not_forgotten_when_the_canary_recovers():
    bad = slices(5, BAD)
    later = slices(30, began=bad[-1].end, seed=2)

    assert verdict([*bad, *later]).kind == "condemned"


def test_a_condemned_canary_stays_condemned_while_the_metrics_are_away():
    bad = slices(5, BAD)
    gap = Slice(bad[-1].end, bad[-1].end + 60, Counts(), Counts(), 10, missing="no samples")

    assert verdict([*bad, gap]).kind == "condemned"


def test_a_slice_that_is_missing_is_no_evidence_and_holds_while_it_is_the_newest():
    known = slices(10)
    gap = replace(known[-1], canary=Counts(1200, 1200), missing="no samples of v2")

    held, after = verdict([*known[:-1], gap]), verdict([*known[:-2], replace(gap, start=known[-2].start, end=known[-2].end), known[-1]])

    assert (held.kind, held.attribution, held.reason) == ("unknown", "telemetry", "no samples of v2")
    assert after.kind == "accepted"
    assert after.findings[0].canary_total == sum(one.canary.total for one in known) - known[-2].canary.total


def test_evidence_that_cannot_be_read_is_nobody_s_success_and_nobody_s_failure():
    found = judge(Unknown("503"), spec(), "v1", BEGAN, BEGAN)

    assert (found.kind, found.attribution) == ("unknown", "telemetry")


def test_no_traffic_is_neither_accepted_nor_condemned():
    found = verdict([Slice(BEGAN, BEGAN + 60, Counts(), Counts(), 10)])

    assert found.kind == "undecided"
    assert found.reason == "errors: nothing was counted of v2 at this step yet"


def test_before_a_step_has_begun_nothing_that_was_counted_accepts_it():
    found = verdict(slices(10), step_started_at=None)

    assert found.kind == "undecided"
    assert [(one.accepted, one.difference_upper) for one in found.findings] == [(False, 1.0)] * 2


def test_an_incident_of_both_arms_is_shared_and_holds():
    quiet = slices(8)
    found = verdict([*quiet, *slices(2, (0.05, 0.05), (0.05, 0.05), began=quiet[-1].end, seed=2)])

    assert (found.kind, found.attribution) == ("undecided", "shared")
    assert "a shared incident" in found.reason


def test_a_canary_that_is_worse_than_stable_in_an_incident_is_condemned_all_the_same():
    quiet = slices(8)
    found = verdict([*quiet, *slices(8, (0.5, 0.05), (0.05, 0.05), began=quiet[-1].end, seed=2)])

    assert found.kind == "condemned"


def test_a_canary_twice_as_bad_does_not_slip_through_under_a_margin_of_five_per_cent():
    kinds = {verdict(slices(20, (0.01, 0.005), seed=seed)).kind for seed in range(8)}

    assert "accepted" not in kinds


def test_at_little_traffic_the_margin_decides_alone_and_the_power_says_that_nothing_else_could():
    found = verdict(slices(25, requests=120, seed=4))

    assert found.kind == "accepted"
    assert all(one.seconds is None or one.seconds > 1800 for one in found.power)


def test_stable_that_is_worse_than_the_canary_condemns_nobody():
    assert verdict(slices(15, HEALTHY, (0.03, 0.02))).kind == "accepted"


def test_the_last_step_is_accepted_against_what_stable_did_before():
    before = slices(10)
    alone = [replace(one, stable=Counts(), weight=100) for one in slices(6, share=1.0, began=before[-1].end, seed=3)]

    found = verdict([*before, *alone], step_started_at=before[-1].end)

    assert found.kind == "accepted"


def test_in_the_watch_without_stable_s_traffic_only_gross_harm_condemns():
    before = slices(15)
    kinds = []
    for errors in (0.01, 0.3):
        alone = [replace(one, stable=Counts(), weight=100) for one in slices(6, (errors, 0.005), share=1.0, began=before[-1].end, seed=3)]
        kinds.append(verdict([*before, *alone], spec(watch="30m"), before[-1].end).kind)

    assert kinds == ["accepted", "condemned"]


def test_the_pod_that_does_the_harm_is_named():
    random = np.random.default_rng(1)
    found = []
    for index in range(8):
        canary = counts(random, 1200, 0.1, pods=4)
        canary = replace(canary, pods={"a": (300, canary.errors - 3, 0), "b": (300, 1, 0), "c": (300, 1, 0), "d": (300, 1, 0)})
        start = BEGAN + index * 60
        found.append(Slice(start, start + 60, canary, counts(random, 10_800, 0.005, pods=4), 10))

    assert "most of them in pod a" in verdict(found).reason


@pytest.mark.parametrize("seconds", [2.0, 10.0])
def test_the_same_slices_give_the_same_bytes_told_one_by_one_or_all_at_once(seconds):
    whole = slices(3, (0.02, 0.01), seconds=seconds, requests=3000)
    rollout = spec(slice="2s")
    step = BEGAN + 60

    looks = [verdict(whole[:count], rollout, step if count * seconds >= 60 else BEGAN) for count in range(1, len(whole) + 1)]
    hearing = Hearing(rollout, BEGAN)
    hearing.hear(whole, step)
    afresh = conclude(hearing, "v1", whole[-1].end)

    assert json.dumps(looks[-1].numbers()) == json.dumps(afresh.numbers())
    assert looks[-1] == afresh


def test_slices_that_contradict_what_was_heard_are_judged_afresh():
    front._hearing.cache_clear()
    first = verdict(slices(5, BAD))
    second = verdict(slices(5, seed=9))

    assert (first.kind, second.findings[0].canary_bad < 60) == ("condemned", True)
    assert second.kind != "condemned"


GATES = [
    {"type": "counters", "name": "fraud", "bad": "fraud_bad_total", "total": "fraud_total", "margin": 0.02},
    {"type": "latency", "name": "whole-latency"},
]


def with_gates(of, canary_bad, stable_bad, slower=((100, 20), (900, 180))):
    return [
        replace(
            one,
            canary=replace(one.canary, gates={"fraud": (canary_bad, 600)}, slower=slower[0]),
            stable=replace(one.stable, gates={"fraud": (stable_bad, 5400)}, slower=slower[1]),
        )
        for one in of
    ]


def test_a_gate_that_counts_condemns_and_shares_the_error_rate():
    found = verdict(with_gates(slices(8), 120, 100), spec(gates=GATES))

    assert found.kind == "condemned"
    assert "were bad (fraud)" in found.reason
    assert ">= 400:1" in found.reason  # four tests


def test_a_gate_in_dry_run_is_measured_and_decides_nothing():
    gates = [{**GATES[0], "dry_run": True}]

    found = verdict(with_gates(slices(8), 120, 100), spec(gates=gates))
    fraud = found.findings[2]

    assert found.kind == "accepted"
    assert fraud.log10_e_peak > fraud.log10_bound > 0
    assert not fraud.condemned


def test_a_gate_without_data_keeps_acceptance_away():
    found = verdict(slices(10), spec(gates=GATES[:1]))

    assert found.kind == "undecided"
    assert found.reason == "fraud: nothing was counted of v2 at this step yet"


def test_a_latency_gate_that_is_not_answered_any_more_keeps_acceptance_away():
    gates = [{"type": "latency", "name": "whole-latency"}]
    of = slices(20)
    of[:10] = [replace(one, canary=replace(one.canary, slower=(5,)), stable=replace(one.stable, slower=(45,))) for one in of[:10]]

    there = verdict(of[:10], spec(gates=gates))
    gone = verdict(of, spec(gates=gates), step_started_at=of[10].start)  # a pod without the histogram's bounds came at this step

    assert there.kind == "accepted"
    assert gone.kind == "undecided"
    assert gone.reason == "whole-latency: nothing was counted of v2 at this step yet"


def test_a_latency_distribution_that_is_worse_at_one_bound_is_condemned():
    found = verdict(with_gates(slices(8), 6, 54, slower=((100, 300), (900, 180))), spec(gates=GATES))

    assert found.kind == "condemned"
    assert "were slower at some bound" in found.reason


def test_labels_that_come_by_cohort_count_as_whole_blocks():
    gates = [{"type": "quality", "name": "accuracy", "cohort": "5m", "margin": 0.02}]
    of = slices(30)
    for index in range(4, 30, 5):
        one = of[index]
        of[index] = replace(
            one, canary=replace(one.canary, gates={"accuracy": (300, 1000)}), stable=replace(one.stable, gates={"accuracy": (400, 9000)})
        )

    found = verdict(of, spec(gates=gates))

    assert found.kind == "condemned"
    assert "were predicted wrongly" in found.reason


def test_the_numbers_of_a_verdict_are_plain_data():
    numbers = verdict(slices(5)).numbers()

    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert set(numbers) == {"verdict", "attribution", "until", "slices", "tests", "power", "traffic"}
    assert {"ratio", "ratio_low", "ratio_high", "log10_e_peak", "log10_bound"} <= set(numbers["tests"]["errors"])


def test_evidence_before_any_traffic_decides_nothing():
    assert judge(Evidence((), BEGAN), spec(), "v1", None, None).kind == "undecided"


@pytest.mark.parametrize(("upper", "words"), [(0.024, "at most 2.4% worse"), (0.0, "at most 0.0% worse"), (-0.036, "at least 3.6% better")])
def test_a_bound_below_zero_is_told_as_better(upper, words):
    assert at_most_worse(upper) == words
