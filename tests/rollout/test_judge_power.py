"""Power as told before a rollout agrees with what the test of harm needs on drawn traffic."""

import math

import numpy as np
import pytest

from mlops_obs.rollout.judging.engine import Row
from mlops_obs.rollout.judging.harm import HarmTest, Null
from mlops_obs.rollout.judging.power import least_useful_weight, time_to_see


def median_minutes(ratio, rps, tau, runs=30, longest=90):
    random = np.random.default_rng(11)
    found = []
    for _ in range(runs):
        test, minute = HarmTest(Null(math.sqrt(2)), 0.0), 0
        while test.peak < math.log(200) and minute < longest:
            own = math.exp(random.normal(0, tau))
            x, y = random.poisson(rps * 6 * 0.005 * ratio * own), random.poisson(rps * 54 * 0.005)
            test.push(Row(minute * 60.0, minute * 60.0 + 60.0, int(x), rps * 6, int(y), rps * 54))
            minute += 1
        found.append(minute)
    return float(np.median(found))


@pytest.mark.parametrize(("ratio", "rps", "tau"), [(10, 20, 0.0), (4, 20, 0.3), (4, 200, 0.3), (2, 200, 0.3), (2, 2000, 0.3)])
def test_the_predicted_time_is_about_the_time_it_takes(ratio, rps, tau):
    predicted = time_to_see(ratio, 0.005, rps * 0.1, rps * 0.9, tau=tau, tolerated=math.sqrt(2))

    assert predicted is not None
    assert 0.5 <= predicted / 60 / median_minutes(ratio, rps, tau) <= 2.0


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"ratio": 4.0}, {"ratio": 2.0}),
        ({"canary_rps": 20.0}, {"canary_rps": 1.0}),
        ({"base_ratio": 0.05}, {"base_ratio": 0.005}),
        ({"alpha": 0.1}, {"alpha": 0.001}),
        ({"tau": 0.1}, {"tau": 0.6}),
    ],
)
def test_what_helps_shortens_the_time(more, less):
    usual = {"ratio": 3.0, "base_ratio": 0.01, "canary_rps": 5.0, "stable_rps": 50.0, "tolerated": 1.4}

    quick, slow = (time_to_see(**{**usual, **change}) for change in (more, less))

    assert quick is not None
    assert slow is None or quick < slow


def test_without_traffic_or_errors_nothing_is_ever_seen():
    assert time_to_see(2.0, 0.0, 1.0, 9.0) is None
    assert time_to_see(2.0, 0.01, 0.0, 9.0) is None
    assert time_to_see(1.0, 0.01, 1.0, 9.0, tolerated=1.4) is None


def test_the_least_useful_weight_decides_in_time_and_one_less_does_not():
    weight = least_useful_weight(4.0, 0.005, 50.0, 600.0)

    assert weight is not None
    assert weight > 1
    assert time_to_see(4.0, 0.005, 50 * weight / 100, 50 * (100 - weight) / 100) <= 600
    assert (time_to_see(4.0, 0.005, 50 * (weight - 1) / 100, 50 * (101 - weight) / 100) or math.inf) > 600
    assert least_useful_weight(1.1, 0.0001, 0.1, 60.0) is None
