"""The label clock: what a young cohort will say when all its labels are in, with intervals that keep their word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlops_obs.collectors.quality.estimates import Weighted, auc, calibrated, expected_auc, expected_error, mean, wilson
from mlops_obs.collectors.quality.maturation import DelayCurve, Maturation

DAY = 86_400.0


def loans(rng, rows, start, span):
    """Made, probability, defaulted, label arrives: defaults from day 30 on, repayments later, all by day 180."""
    made = start + rng.random(rows) * span
    probability = 1 / (1 + np.exp(-rng.normal(-1.2, 1.2, rows)))
    bad = (rng.random(rows) < probability).astype(float)
    delay = np.where(bad == 1, 30 + rng.gamma(2, 25, rows), 60 + rng.beta(3, 1.5, rows) * 120) * DAY
    return made, probability, bad, made + np.minimum(delay, 180 * DAY)


@pytest.fixture(scope="module")
def truth():
    _, probability, bad, _ = loans(np.random.default_rng(0), 1_000_000, 0, 1)
    wrong = (probability >= 0.3) != (bad == 1)
    return {
        "error": wrong.mean(),
        "brier": ((probability - bad) ** 2).mean(),
        "auc": roc_auc_score(bad[:200_000], probability[:200_000]),
        "bad": bad.mean(),
    }


def cohort_at(rng, age, rows=1_500):
    """A month of loans, `age` days old in the middle, with a history of 400 days before it, as they are known then."""
    history, cohort = loans(rng, 6_000, 0, 400 * DAY), loans(rng, rows, 400 * DAY, 30 * DAY)
    now = (415 + age) * DAY
    made, _, bad, came = (np.concatenate(parts) for parts in zip(history, cohort, strict=True))
    clock = Maturation.of(made, np.where(came <= now, came, np.nan), bad, now)
    made, probability, bad, came = cohort
    known = came <= now
    ages = (now - made)[known]
    seen = clock.at(bad[known], ages) > 0
    return clock, probability[known][seen], bad[known][seen], Weighted.of(bad[known], ages, clock)


@pytest.mark.parametrize("age", [115, 150])
def test_intervals_of_unripe_cohorts_hold_the_final_value_nine_times_of_ten(age, truth):
    rng = np.random.default_rng(age)
    held = dict.fromkeys(truth, 0)
    trials = 300
    for _ in range(trials):
        _, probability, bad, weighted = cohort_at(rng, age)
        wrong = ((probability >= 0.3) != (bad == 1)).astype(float)
        found = {
            "error": mean(wrong, weighted),
            "brier": mean((probability - bad) ** 2, weighted),
            "auc": auc(probability, weighted),
            "bad": mean(bad, weighted),
        }
        for name, one in found.items():
            held[name] += one.low <= truth[name] <= one.high

    # 88 to 92 %, give or take what 300 trials leave open
    assert {name: 0.85 <= count / trials <= 0.95 for name, count in held.items()} == dict.fromkeys(truth, True), held


def test_the_labels_that_are_in_would_lie_without_the_clock(truth):
    _, _, bad, weighted = cohort_at(np.random.default_rng(5), 115, rows=20_000)

    assert bad.mean() > truth["bad"] + 0.1
    assert mean(bad, weighted).value == pytest.approx(truth["bad"], abs=0.02)


def test_a_cohort_of_which_one_label_value_cannot_be_in_yet_has_no_estimate():
    _, _, bad, weighted = cohort_at(np.random.default_rng(5), 70)

    assert bad.size > 0
    assert weighted is None


def test_the_clock_agrees_with_the_delays_of_a_history_that_is_complete():
    made, _, bad, came = loans(np.random.default_rng(1), 50_000, 0, 100 * DAY)
    clock = Maturation.of(made, came, bad, 300 * DAY)

    for label in (0, 1):
        delays = (came - made)[bad == label]
        for day in (40, 90, 150, 180):
            assert clock.at(label, day * DAY) == pytest.approx((delays <= day * DAY).mean(), abs=1e-9)


def test_delays_of_labels_that_are_in_are_too_short_and_the_clock_puts_them_right():
    made, _, bad, came = loans(np.random.default_rng(2), 50_000, 0, 200 * DAY)
    now, good = 200 * DAY, bad == 0
    known = good & (came <= now)

    naive = ((came - made)[known] <= 120 * DAY).mean()
    clock = Maturation.of(made, np.where(came <= now, came, np.nan), bad, now)
    final = ((came - made)[good] <= 120 * DAY).mean()

    assert naive > final + 0.1
    assert float(clock.at(0, 120 * DAY)) == pytest.approx(final, abs=0.03)


def test_where_every_prediction_gets_a_label_censored_ones_count_too():
    rng = np.random.default_rng(3)
    delay, window = rng.exponential(10, 50_000), rng.uniform(0, 40, 50_000)

    curve = DelayCurve.of_censored(np.minimum(delay, window), delay <= window)

    for age in (5, 10, 30):
        assert float(curve.at(age)) == pytest.approx(1 - np.exp(-age / 10), abs=0.01)


def test_the_age_at_which_a_share_is_in_is_that_of_the_slowest_label():
    clock = Maturation({0: DelayCurve(np.array([5.0, 9.0]), np.array([0.5, 1.0]), 10), 1: DelayCurve(np.array([2.0]), np.array([1.0]), 10)})

    assert clock.age_of(0.9) == 9
    assert clock.least(6) == 0.5
    assert Maturation().age_of(0.9) == float("inf")


@settings(max_examples=60, deadline=None)
@given(
    delays=st.lists(st.floats(0, 100), max_size=60),
    windows=st.lists(st.floats(0, 100), min_size=60, max_size=60),
)
def test_every_clock_rises_from_nothing_to_all(delays, windows):
    curve = DelayCurve.of_truncated(delays, windows[: len(delays)])

    assert (np.diff(curve.arrived) >= -1e-12).all()
    assert ((curve.arrived >= 0) & (curve.arrived <= 1)).all()
    if curve.labels:
        assert curve.arrived[-1] == 1
    assert float(curve.at(-1.0)) == 0


def test_equal_weights_give_the_plain_mean_wilsons_interval_and_scikit_learns_auc():
    rng = np.random.default_rng(6)
    label = (rng.random(500) < 0.3).astype(float)
    score = np.round(label * 0.3 + rng.random(500), 1)
    weighted = Weighted.of(label, np.zeros(500), None)

    one = mean(label, weighted)

    assert one.value == label.mean()
    assert (one.low, one.high) == pytest.approx(wilson(label.mean(), 500), abs=1e-3)
    assert auc(score, weighted).value == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_weights_count_as_rows_do():
    label, score = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.6, 0.5, 0.9])
    weight = np.array([1.0, 3.0, 2.0, 1.0])
    rows = np.repeat(np.arange(4), weight.astype(int))

    assert auc(score, Weighted(label, weight, np.zeros(4))).value == pytest.approx(roc_auc_score(label[rows], score[rows]))


def test_an_auc_needs_both_labels_and_a_loss_may_be_money():
    only = Weighted.of(np.ones(5), np.zeros(5), None)

    assert auc(np.arange(5.0), only) is None
    money = mean(np.array([0.0, 0.0, 500.0, 900.0, 100.0]), only, proportion=False)
    assert money.low < money.value == 300 < money.high


def test_what_scores_promise_is_what_calibrated_labels_keep():
    _, probability, bad, _ = loans(np.random.default_rng(7), 200_000, 0, 1)

    assert expected_auc(probability, probability) == pytest.approx(roc_auc_score(bad, probability), abs=0.005)
    flagged = probability >= 0.3
    assert expected_error(flagged, probability) == pytest.approx((flagged != (bad == 1)).mean(), abs=0.005)
    assert np.isnan(expected_auc(np.zeros(0), np.zeros(0)))


def test_scores_that_are_no_probabilities_are_read_from_a_table():
    assert calibrated(np.array([300.0, 500.0, 900.0]), [(400, 0.1), (600, 0.5)]) == pytest.approx([0.1, 0.3, 0.5])
    assert calibrated(np.array([-1.0, 0.3, 2.0]), None).tolist() == [0.0, 0.3, 1.0]
