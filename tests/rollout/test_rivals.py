"""The other tools' rules, as their sources have them, and at the error rates that they are known for."""

import numpy as np
import pytest

from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.judging.rivals import RIVALS, Minutes, argo, flagger, fold, kayenta, mann_whitney_high, minutes_of, shift
from mlops_obs.testing.traces import trace


def minutes(canary_errors, requests=120, stable_errors=None):
    count = len(canary_errors)
    stable = np.zeros(count) if stable_errors is None else np.array(stable_errors, float)
    whole = np.where(np.isnan(canary_errors), np.nan, requests)
    slow = np.where(np.isnan(canary_errors), np.nan, 0.0)
    return Minutes(np.array([whole, canary_errors, slow]), np.array([np.full(count, 1080.0), stable, np.zeros(count)]))


def drawn(family, rps, seed, **knobs):
    one = trace(family, rps, seed, interval=60, base_slow=0.0, **knobs)
    return Minutes(fold(one.arm("canary"), 1), fold(one.arm("stable"), 1))


def share_of_rollbacks(rule, family, runs=100):
    return sum(RIVALS[rule](drawn(family, 20, seed)).verdict == "rollback" for seed in range(runs)) / runs


@pytest.mark.parametrize(("limit", "minute"), [(0, 2), (1, 4), (2, 5)])
def test_argo_fails_with_the_failure_after_its_limit_however_long_ago_the_others_were(limit, minute):
    ruling = argo(minutes([0.0, 2.0, 1.0, 2.0, 9.0, 0.0]), failure_limit=limit)

    assert ("rollback", minute * 60.0) == (ruling.verdict, ruling.seconds)


def test_argo_counts_each_metric_by_itself_and_flagger_each_minute():
    both = minutes([2.0, 0.0, 2.0])
    both.canary[2] = [0.0, 2.0, 0.0]

    assert argo(both, failure_limit=2).verdict == "promote"
    assert flagger(both, threshold=3).verdict == "rollback"


@pytest.mark.parametrize(("gone", "verdict"), [(4, "promote"), (5, "rollback")])
def test_argo_bears_four_measurements_without_an_answer_and_aborts_at_the_fifth(gone, verdict):
    assert argo(minutes([0.0] + [np.nan] * gone + [0.0]), failure_limit=0).verdict == verdict


def test_without_requests_argos_and_flaggers_ratio_is_nan_and_nan_is_a_failure():
    idle = minutes([0.0, 0.0], requests=0)

    assert argo(idle, failure_limit=0).verdict == "rollback"
    assert flagger(idle, threshold=2).verdict == "rollback"


def test_an_outage_of_metrics_makes_flagger_roll_back():
    assert flagger(minutes([0.0] + [np.nan] * 5), threshold=5).verdict == "rollback"


def test_kayenta_needs_every_value_above_the_baseline_when_there_are_five():
    stable = [5.0, 6.0, 4.0, 5.0, 7.0]

    assert kayenta(minutes([5.0, 6.0, 5.5, 7.0, 6.5], stable_errors=stable)).verdict == "rollback"
    assert kayenta(minutes([5.0, 6.0, 5.5, 7.0, 0.5], stable_errors=stable)).verdict == "promote"


@pytest.mark.parametrize("seed", range(6))
def test_the_interval_of_the_shift_is_where_scipys_test_turns_significant(seed):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    canary = rng.poisson(6, 30).astype(float) if seed % 2 else rng.lognormal(1, 0.5, 12)
    baseline = rng.poisson(4, 30).astype(float) if seed % 2 else rng.lognormal(0, 0.5, 15)

    lower, _ = shift(canary, baseline)

    def p_value(by):
        return stats.mannwhitneyu(canary - by, baseline, alternative="greater", method="asymptotic", use_continuity=True).pvalue

    assert p_value(lower - 1e-6) <= 0.01 < p_value(lower + 1e-6)


def test_kayenta_asks_for_a_shift_of_a_quarter_of_its_estimate_and_for_the_allowed_increase():
    canary, baseline = np.array([2.1, 2.2, 2.35, 2.5, 2.8, 3.0]), np.array([1.1, 1.2, 1.35, 1.5, 1.8, 2.0])

    assert not mann_whitney_high(canary, baseline + 0.9)
    assert mann_whitney_high(canary + 3, baseline)
    assert not mann_whitney_high(canary + 3, baseline, allowed_increase=10.0)


def test_slices_add_up_to_whole_minutes_and_a_missing_minute_is_no_zero():
    slices = [
        Slice(1000.0 + at, 1010.0 + at, Counts(10, 1, 10, 2), Counts(90, 0, 90, 0), missing="all" if 60 <= at < 120 else "")
        for at in range(0, 190, 10)
    ]
    found = minutes_of(slices)

    assert found.canary.shape == (3, 3)
    assert list(found.canary[:, 0]) == [60, 6, 12]
    assert np.isnan(found.canary[:, 1]).all()
    assert list(found.stable[:, 2]) == [540, 0, 0]
    assert minutes_of([]).canary.shape == (3, 0)


@pytest.mark.parametrize(
    ("rule", "family", "least", "most"),
    [
        ("Argo failureLimit 0", "shared-noise", 0.95, 1.0),
        ("Argo failureLimit 3", "shared-noise", 0.4, 0.9),
        ("Flagger threshold 10", "shared-noise", 0.0, 0.08),
        ("Kayenta every 5 min", "shared-noise", 0.0, 0.05),
        ("Argo failureLimit 3", "shared-incident", 0.97, 1.0),
        ("Flagger threshold 5", "shared-incident", 0.9, 1.0),
        ("Kayenta at 30 min", "shared-incident", 0.0, 0.02),
        ("Argo failureLimit 3", "errors-10x", 0.99, 1.0),
        ("Kayenta every 5 min", "errors-10x", 0.95, 1.0),
    ],
)
def test_the_rules_err_as_often_as_they_are_known_to(rule, family, least, most):
    assert least <= share_of_rollbacks(rule, family) <= most
