"""Whose fault: shared incidents seen in stable alone, traffic that is not as declared, and the null as stable's pods measure it."""

import math

import numpy as np
import pytest

from mlops_obs.rollout.judging.attribution import SharedIncident
from mlops_obs.rollout.judging.calibration import SelfTest, pod_spread, spare
from mlops_obs.rollout.judging.engine import Row
from mlops_obs.rollout.judging.harm import Null
from mlops_obs.rollout.judging.traffic_check import TrafficTest


def told(shares, requests=1200, seed=1, noise=0.0, canary=1.0):
    """Return what is said after each minute in which stable has these shares of bad requests, and the canary `canary` times as many."""
    random, test = np.random.default_rng(seed), SharedIncident(0.0)
    said = []
    for index, share in enumerate(shares):
        level = share * math.exp(random.normal(0, noise))
        mine = requests // 10
        bad = [int(random.binomial(n, min(0.9, level * times))) for n, times in ((mine, canary), (requests - mine, 1.0))]
        said.append(test.push(Row(index * 60.0, index * 60.0 + 60.0, bad[0], mine, bad[1], requests - mine)))
    return said


def test_an_incident_of_both_arms_is_said_while_it_lasts():
    said = told([0.005] * 8 + [0.06] * 4 + [0.005] * 8)

    assert said[:8] == [False] * 8
    assert all(said[9:12])
    assert not any(said[13:])


@pytest.mark.parametrize(("share", "words"), [(0.06, "6.0 times"), (0.6, "60 times"), (1.0, "over 100 times")])
def test_an_incident_is_told_with_no_more_digits_than_are_known(share, words):
    test = SharedIncident(0.0)
    for index in range(8):
        test.push(Row(index * 60.0, index * 60.0 + 60.0, 0, 100, 10 if share < 0.9 else 0, 1000))
    bad = int(1000 * share)
    test.push(Row(480.0, 540.0, bad // 10, 100, bad, 1000))

    assert f"{words} as many as before" in test.words


def test_the_noise_of_a_healthy_service_s_minutes_is_no_incident():
    false = sum(any(told([0.005] * 30, seed=seed, noise=0.35)) for seed in range(60))

    assert false <= 3


def test_a_handful_of_errors_is_no_incident():
    assert not any(told([0.0] * 10 + [0.02], requests=120))


def test_trouble_of_stable_alone_is_not_shared():
    assert not any(told([0.005] * 8 + [0.1] * 4, requests=12_000, canary=0.02))


def test_an_incident_that_never_ends_becomes_how_the_service_is():
    said = told([0.005] * 8 + [0.06] * 60)

    assert said[20]
    assert not said[-1]


def split(shares, declared, requests=1200, seed=1, seconds=60.0):
    random, test = np.random.default_rng(seed), TrafficTest(0.0)
    said = []
    for index, share in enumerate(shares):
        total = int(random.poisson(requests * seconds / 60))
        canary = int(random.binomial(total, share))
        test.push(index * seconds, (index + 1) * seconds, canary, total - canary, declared)
        said.append(test.look().problem)
    return said


def test_a_split_as_declared_is_hardly_ever_doubted():
    doubted = sum(any(split([0.1] * 30, 10, requests, seed)) for seed in range(40) for requests in (120, 12_000))

    assert doubted <= 2


@pytest.mark.parametrize(("declared", "share"), [(10, 0.0), (10, 0.3), (20, 0.1), (50, 0.8)])
def test_another_split_is_found_within_five_minutes(declared, share):
    said = split([share] * 5, declared)

    assert said[-1]


def test_a_split_that_drifts_is_found_and_the_shares_are_told():
    said = split(np.linspace(0.1, 0.3, 30), 10)

    assert not said[2]
    assert "instead of 10%" in said[-1]


def test_a_canary_without_any_traffic_is_found_although_no_share_was_declared():
    said = split([0.1] * 5 + [0.0] * 5, None)

    assert not any(said[:5])
    assert "the canary got none of the last" in said[-1]


def test_a_gap_that_chance_leaves_in_little_traffic_is_no_canary_without_any():
    said = [split([0.1] * 120, None, requests=120, seed=seed, seconds=15.0) for seed in range(60)]

    assert not any(map(any, said))


def test_the_share_is_told_of_the_split_that_is_declared_now():
    test = TrafficTest(0.0)
    test.push(0.0, 60.0, 200, 800, 20)
    test.push(60.0, 70.0, 100, 100, 50)

    assert (test.look().declared, test.look().observed) == (0.5, 0.5)


def test_the_seconds_in_which_a_split_takes_effect_are_not_held_against_it():
    said = split([0.0] * 5 + [0.2] * 25, 20, requests=60_000, seconds=2.0)

    assert not any(said)


def test_a_split_that_was_repaired_is_believed_again():
    said = split([0.0] * 3 + [0.1] * 5, 10)

    assert said[2]
    assert not said[-1]


def test_the_first_look_at_all_traffic_on_one_arm_is_no_mismatch_of_a_full_promotion():
    assert not any(split([1.0] * 5, 100))


def pods(spread, seed, each=100):
    random = np.random.default_rng(seed)
    return {f"p{index}": (int(random.poisson(each * math.exp(random.normal(0, spread)))), 10_000) for index in range(5)}


def test_pods_that_differ_by_chance_only_have_no_spread():
    assert np.mean([pod_spread(pods(0.0, seed)) > 0 for seed in range(200)]) < 0.05


def test_the_spread_of_pods_is_measured():
    found = np.median([pod_spread(pods(0.5, seed, each=1000)) for seed in range(100)])

    assert 0.3 < found < 0.7


def test_a_canary_of_many_pods_may_differ_less():
    assert spare(0.3, 20, 20) < spare(0.3, 5, 5) < spare(0.3, 1, 5)
    assert spare(9.0, 1, 1) == pytest.approx(math.log(3))


def test_the_false_alarms_among_stable_s_own_pods_are_counted():
    random = np.random.default_rng(2)
    level = {f"p{index}": math.exp(random.normal(0, 0.3)) for index in range(6)}
    test = SelfTest(Null(math.sqrt(2)), 0.0, math.log(200))
    sums = dict.fromkeys(level, (0.0, 0.0))
    for index in range(21):
        pods = {name: (int(random.poisson(10 * one)), 2000) for name, one in level.items()}
        sums = {name: (sums[name][0] + pods[name][0], sums[name][1] + 2000) for name in level}
        test.push(index * 60.0 + 60.0, pods, pod_spread(sums))
    found = test.look(pod_spread(sums))

    assert (found.splits, found.false_alarms, found.rate) == (3, 0, 0.0)
    assert found.spread > 0.1
    assert SelfTest(Null(1.4), 0.0, 5.0).look(0.0).rate is None
