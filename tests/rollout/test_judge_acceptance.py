"""Acceptance: bounds that hold at all times, a margin, and likeness that the traffic can show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.rollout.judging.acceptance import StepEvidence, lower_bound, upper_bound
from mlops_obs.rollout.judging.engine import Row


def confidence_bounds(bad, total, alpha):
    return lower_bound(bad, total, alpha), upper_bound(bad, total, alpha)


@given(bad=st.integers(0, 50), good=st.integers(0, 500))
@settings(max_examples=100, deadline=None)
def test_the_interval_holds_the_observed_ratio_and_narrows_with_more_alpha(bad, good):
    total = bad + good
    wide, narrow = confidence_bounds(bad, total, 0.01), confidence_bounds(bad, total, 0.1)

    assert 0.0 <= wide[0] <= narrow[0] <= narrow[1] <= wide[1] <= 1.0
    if total:
        assert narrow[0] <= bad / total <= narrow[1]


@pytest.mark.parametrize("ratio", [0.0, 0.02, 0.3])
def test_the_interval_misses_the_truth_at_any_time_in_at_most_alpha_of_the_runs(ratio):
    random = np.random.default_rng(5)
    missed = 0
    for _ in range(200):
        bad = np.cumsum(random.random(400) < ratio)
        bounds = [confidence_bounds(int(bad[n - 1]), n, 0.05) for n in range(10, 400, 30)]
        missed += any(not low <= ratio <= high for low, high in bounds)

    assert missed <= 200 * 0.05 + 9


def test_without_requests_nothing_is_known():
    assert confidence_bounds(0, 0, 0.05) == (0.0, 1.0)


def step(rows, seconds=60.0, lap=60.0):
    found = StepEvidence(0.0, 60.0, 0.8, 2.0, lap)
    for index, row in enumerate(rows):
        found.push(Row(index * seconds, (index + 1) * seconds, *row))
    return found.look(0.05, 0.05, (0.0, 0.0), 1800.0)


def test_much_traffic_must_show_likeness_and_little_need_not():
    busy, quiet = step([(60, 12_000, 540, 108_000)] * 10), step([(0, 12, 1, 108)] * 10)

    assert busy.alike > busy.required > 2
    assert quiet.required < 0


def test_a_canary_twice_as_bad_is_not_alike():
    found = step([(120, 12_000, 540, 108_000)] * 15)

    assert found.upper < 0.05
    assert found.alike < found.required


def test_a_stall_at_the_beginning_of_a_step_is_forgotten_with_the_laps():
    whole = step([(20, 20, 1, 80)] * 4 + [(0, 20, 1, 80)] * 60, seconds=2.0, lap=1e9)
    laps = step([(20, 20, 1, 80)] * 4 + [(0, 20, 1, 80)] * 60, seconds=2.0, lap=8.0)

    assert laps.upper < 0.05 < whole.upper


def test_the_last_step_is_compared_with_what_stable_did_before():
    found = StepEvidence(0.0, 60.0, 0.8, 2.0, 60.0)
    found.push(Row(0.0, 60.0, 5, 1000, 0, 0))

    assert found.look(0.05, 0.05, (50.0, 10_000.0), 600.0).upper < 0.05
