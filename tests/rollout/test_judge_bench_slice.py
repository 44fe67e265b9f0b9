"""A fixed slice of the benchmark: a judge that got worse fails here, before anybody reads the tables."""

import math

import pytest

from benchmarks.rollout.judge import hear
from mlops_obs.testing.labelled_traces import labelled_bank, said_right
from mlops_obs.testing.traces import FAMILIES, trace


def rolled_back_after(family, rps, seed, **knobs):
    """Minutes from the start of the fault to the rollback; infinite if there is none."""
    drawn = trace(family, rps, seed, **{"interval": 60, **knobs})
    at = [t + drawn.interval for t, verdict, _ in hear(drawn) if verdict == "rollback"]
    return (at[0] - drawn.bad_since) / 60 if at else math.inf


@pytest.mark.parametrize("rps", [2, 20, 200, 2000])
@pytest.mark.parametrize("family", [name for name, story in FAMILIES.items() if story.healthy])
def test_no_healthy_canary_is_rolled_back(family, rps):
    assert [rolled_back_after(family, rps, seed) for seed in range(4)] == [math.inf] * 4


@pytest.mark.parametrize(("rps", "minutes"), [(20, 5), (200, 3), (2000, 3)])
@pytest.mark.parametrize("family", ["errors-10x", "slow-10x"])
def test_ten_times_as_many_bad_requests_are_found_within_minutes(family, rps, minutes):
    found = sorted(rolled_back_after(family, rps, seed) for seed in range(5))

    assert found[2] <= minutes
    assert found[-1] < math.inf


def test_at_two_requests_a_second_ten_times_the_failures_are_found_within_the_deadline():
    assert sum(rolled_back_after("errors-10x", 2, seed) < math.inf for seed in range(20)) >= 18


@pytest.mark.parametrize(
    ("family", "rps"), [("total-failure", 20), ("slow-ramp", 20), ("bad-pod", 200), ("errors-4x", 200), ("errors-2x", 2000)]
)
def test_every_regression_that_the_traffic_shows_is_found(family, rps):
    assert max(rolled_back_after(family, rps, seed) for seed in range(3)) < math.inf


def test_noise_of_the_canary_does_not_hide_a_real_regression():
    assert max(rolled_back_after("noise-and-10x", 200, seed) for seed in range(5)) < math.inf


@pytest.mark.parametrize("family", ["null", "shared-noise", "canary-noise-0.3", "shared-incident", "warm-up", "stable-worse"])
def test_a_good_canary_is_accepted_well_before_the_deadline(family):
    accepted = [any(verdict == "promote" for _, verdict, _ in hear(trace(family, 200, seed, interval=60))) for seed in range(4)]

    assert all(accepted)


def test_the_labelled_bank_is_answered_rightly():
    bank = labelled_bank(11, 60)
    right = sum(said_right(drawn, hear(drawn)) for drawn in bank)

    assert right >= 0.95 * len(bank)


@pytest.mark.parametrize("knobs", [{"start": 1_700_000_000.0}, {"interval": 15}, {"interval": 30}, {"pods": (1, 1)}, {"weight": 50}])
def test_the_shape_of_the_table_does_not_change_the_answer(knobs):
    assert rolled_back_after("errors-10x", 200, 1, **knobs) <= 4
    assert rolled_back_after("null", 200, 1, **knobs) == math.inf
