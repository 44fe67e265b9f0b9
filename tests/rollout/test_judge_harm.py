"""The test of harm: an e-value where a sum can be enumerated, an error rate where it cannot, and speed where there is harm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.rollout.judging.engine import Row
from mlops_obs.rollout.judging.harm import HarmTest, Null

BOUND = math.log(200)  # two tests share one per cent


def peak_of(rows, tolerated=1.0):
    """Return ln of the largest e-value that `rows` ever show."""
    test = HarmTest(Null(tolerated, 0.8, 60.0), 0.0)
    for row in rows:
        test.push(row)
    return test.peak


def binomial(bad: int, share: float) -> list[float]:
    return [math.comb(bad, x) * share**x * (1 - share) ** (bad - x) for x in range(bad + 1)]


@given(
    bad=st.integers(1, 25),
    canary=st.integers(1, 500),
    stable=st.integers(1, 500),
    ratio=st.sampled_from([0.2, 1.0, 2.0]),
    wide=st.sampled_from([1.0, 1.5]),
)
@settings(max_examples=60, deadline=None)
def test_the_expected_evidence_against_a_tolerated_canary_is_at_most_one(bad, canary, stable, ratio, wide):
    share = ratio * canary / (ratio * canary + stable)

    expected = sum(
        chance * math.exp(HarmTest(Null(4.0), 0.0).push(Row(0.0, 60.0, x, canary, bad - x, stable), wide))
        for x, chance in enumerate(binomial(bad, share))
    )

    assert expected <= 1 + 1e-6


@given(bad=st.integers(1, 40), canary=st.integers(20, 200), stable=st.integers(20, 2000))
@settings(max_examples=50, deadline=None)
def test_more_bad_requests_in_the_canary_never_lower_the_evidence_of_a_whole_minute(bad, canary, stable):
    values = [HarmTest(Null(1.4), 0.0).push(Row(0.0, 60.0, x, canary, bad - x, stable)) for x in range(bad + 1)]

    telling = [value for value in values if value > 0]

    assert telling == pytest.approx(sorted(telling), abs=1e-6)


@given(rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_slices_that_say_nothing_change_nothing_whole_minutes_later(rows):
    told, silent = HarmTest(Null(1.4), 0.0), HarmTest(Null(1.4), 0.0)
    for index, (x, y) in enumerate(rows):
        row = Row(index * 60.0, index * 60.0 + 60.0, x, 100, y, 900)
        told.push(row)
        silent.push(row)
    for index in range(len(rows), len(rows) + 3):
        silent.push(Row(index * 60.0, index * 60.0 + 60.0, 0, 0, 5, 900))

    assert told.value == silent.value


def minutes(random, count, canary, stable, noise=0.0, canary_requests=1200, stable_requests=10_800):
    for index in range(count):
        own = math.exp(random.normal(0, noise))
        x = random.binomial(canary_requests, min(0.9, canary * own))
        yield Row(
            index * 60.0, index * 60.0 + 60.0, int(x), canary_requests, int(random.binomial(stable_requests, stable)), stable_requests
        )


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.6])
def test_a_healthy_canary_is_not_condemned_although_whole_minutes_of_it_are_noisy(noise):
    random = np.random.default_rng(3)

    condemned = sum(peak_of(minutes(random, 30, 0.005, 0.005, noise, 12_000, 108_000), tolerated=math.sqrt(2)) >= BOUND for _ in range(60))

    assert condemned <= 1


@pytest.mark.parametrize(("ratio", "within"), [(10, 5), (4, 8)])
def test_a_regression_is_found_within_minutes(ratio, within):
    random = np.random.default_rng(5)

    found = sum(peak_of(minutes(random, within, 0.005 * ratio, 0.005, 0.2), tolerated=math.sqrt(2)) >= BOUND for _ in range(50))

    assert found >= 47


def test_a_late_regression_is_found_after_hours_of_health():
    random = np.random.default_rng(7)
    test = HarmTest(Null(math.sqrt(2)), 0.0)
    for row in minutes(random, 180, 0.005, 0.005):
        test.push(row)
    before = test.peak
    for index in range(180, 186):
        test.push(Row(index * 60.0, index * 60.0 + 60.0, 60, 1200, 54, 10_800))

    assert before < BOUND <= test.peak


def test_a_stall_of_a_few_seconds_is_one_event_however_many_requests_it_hits():
    test = HarmTest(Null(math.sqrt(2)), 0.0)
    for index in range(60):
        stalled = 10 <= index < 12
        test.push(Row(index * 2.0, index * 2.0 + 2.0, 400 if stalled else 2, 400, 8, 1600))

    assert test.peak < BOUND


def test_a_total_failure_is_found_within_half_a_minute_even_in_the_warm_up():
    test = HarmTest(Null(math.sqrt(2), warm_up=120.0, gross=5.0, stall=0.25), 0.0)
    seconds = 0.0
    while test.peak < BOUND:
        test.push(Row(seconds, seconds + 2.0, 12, 12, 0, 48))
        seconds += 2.0

    assert seconds <= 30


def test_a_cold_cache_is_tolerated_in_the_warm_up_and_not_after_it():
    cold, late = HarmTest(Null(math.sqrt(2), warm_up=180.0, gross=5.0), 0.0), HarmTest(Null(math.sqrt(2), warm_up=0.0), 0.0)
    for index, share in enumerate([0.03, 0.02, 0.01, 0.005, 0.005, 0.005]):
        for test in (cold, late):
            test.push(Row(index * 60.0, index * 60.0 + 60.0, round(12_000 * share), 12_000, 540, 108_000))

    assert cold.peak < BOUND / 2
    assert late.peak > cold.peak + 1


def test_what_stable_s_own_pods_differ_by_is_not_held_against_the_canary():
    rows = [Row(index * 60.0, index * 60.0 + 60.0, 108, 12_000, 540, 108_000) for index in range(30)]  # 1.8 times as bad
    strict, fair = HarmTest(Null(math.sqrt(2)), 0.0), HarmTest(Null(math.sqrt(2)), 0.0)
    for row in rows:
        strict.push(row)
        fair.push(row, spare=0.4)

    assert strict.peak >= BOUND
    assert fair.peak < 1


def test_without_rows_there_is_no_evidence():
    assert peak_of([]) == 0.0
