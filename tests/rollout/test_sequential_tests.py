"""The error rates of the sequential tests, exactly where a sum can be enumerated and by simulation where it cannot."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.rollout.sequential import Table, confidence_bounds, log_e_path

small = st.integers(1, 30)


def weights_of_table(bad: int, canary: int, stable: int, odds: float) -> dict[int, float]:
    """Probability of each count of bad canary requests, given the margins and the odds ratio."""
    support = range(max(0, bad - stable), min(bad, canary) + 1)
    raw = {x: math.comb(canary, x) * math.comb(stable, bad - x) * odds**x for x in support}
    return {x: value / sum(raw.values()) for x, value in raw.items()}


@given(canary=small, stable=small, share=st.floats(0, 1), odds=st.sampled_from([0.3, 1.0, 2.0]), cap=st.sampled_from([3.0, 20.0, 1e9]))
@settings(max_examples=150, deadline=None)
def test_the_expected_evidence_against_a_tolerated_canary_is_at_most_one(canary, stable, share, odds, cap):
    bad = round(share * (canary + stable))

    chances = weights_of_table(bad, canary, stable, odds)
    expected = sum(p * math.exp(next(log_e_path([Table(x, canary, bad - x, stable)], 2.0, cap))) for x, p in chances.items())

    assert expected <= 1 + 1e-9


@given(canary=small, stable=small, share=st.floats(0.05, 0.95))
@settings(max_examples=100, deadline=None)
def test_more_bad_requests_in_the_canary_never_lower_the_evidence(canary, stable, share):
    bad = round(share * (canary + stable))
    support = sorted(weights_of_table(bad, canary, stable, 1.0))

    evidence = [next(log_e_path([Table(x, canary, bad - x, stable)], 2.0, 20.0)) for x in support]

    assert evidence == pytest.approx(sorted(evidence))


def draw(random, slices, canary_ratio, stable_ratio, *, share=0.2, per_slice=60, noise=0.0):
    out = []
    for _ in range(slices):
        common = math.exp(random.normal(0, noise)) if noise else 1.0
        total = int(random.poisson(per_slice))
        canary = int(random.binomial(total, share))
        bad = [int(random.binomial(n, min(0.95, p * common))) for n, p in ((canary, canary_ratio), (total - canary, stable_ratio))]
        out.append(Table(bad[0], canary, bad[1], total - canary))
    return out


@pytest.mark.parametrize(("ratio", "noise"), [(0.005, 0.0), (0.05, 0.0), (0.05, 1.0), (0.5, 0.3)])
def test_a_canary_like_stable_is_hardly_ever_condemned_although_one_looks_after_every_slice(ratio, noise):
    random = np.random.default_rng(7)
    alpha = 0.01

    condemned = sum(
        max(log_e_path(draw(random, 60, ratio, ratio, noise=noise), 1.0, 20.0)) >= math.log(1 / alpha)  # the tightest tolerance
        for _ in range(300)
    )

    assert condemned <= 9  # 300 * alpha, and three standard deviations


@pytest.mark.parametrize(("cap", "ratio", "slices"), [(20.0, 0.4, 4), (3.0, 0.6, 10)])
def test_a_bad_canary_is_found_within_a_few_slices(cap, ratio, slices):
    random = np.random.default_rng(11)

    found = sum(max(log_e_path(draw(random, slices, ratio, 0.01), 2.0, cap)) >= math.log(200) for _ in range(200))

    assert found >= 190


def test_no_single_slice_can_condemn():
    worst = Table(canary_bad=500, canary_total=500, stable_bad=0, stable_total=2_000)

    assert next(log_e_path([worst], 2.0, 20.0)) < math.log(200)


def test_slices_that_say_nothing_change_nothing():
    silent = [Table(0, 10, 0, 40), Table(0, 0, 3, 40), Table(3, 10, 0, 0), Table(10, 10, 40, 40)]
    telling = Table(5, 10, 0, 40)

    assert list(log_e_path([*silent, telling], 2.0, 20.0))[-1] == next(log_e_path([telling], 2.0, 20.0))


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
        missed += any(
            not confidence_bounds(int(bad[n - 1]), n, 0.05)[0] <= ratio <= confidence_bounds(int(bad[n - 1]), n, 0.05)[1]
            for n in range(10, 400, 30)
        )

    assert missed <= 200 * 0.05 + 9


def test_without_requests_nothing_is_known():
    assert confidence_bounds(0, 0, 0.05) == (0.0, 1.0)
