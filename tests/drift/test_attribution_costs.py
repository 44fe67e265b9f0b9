"""Drift in money: what is predicted from counts alone, against what really happens to a lender whose truth is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mlops_obs.collectors.drift.attribution.build import section_from_block
from mlops_obs.collectors.drift.attribution.costs import auc, cost_of, importances, rank
from mlops_obs.collectors.drift.columns import ColumnKind
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Cost, FeatureResult, Verdict
from mlops_obs.testing.lender import SCHEMA, WEIGHTS, applicants, missing, predict, shifted, times

THRESHOLD = 0.4
NUMBERS = [name for name in WEIGHTS if name != "channel"]
UNUSED = [name for name, weight in WEIGHTS.items() if not weight]


@pytest.fixture(scope="module")
def training():
    return applicants(20_000, np.random.default_rng(1))


@pytest.fixture(scope="module")
def profile(training):
    return ReferenceProfile.from_block(training.block, SCHEMA)


def with_impact(profile, training, **options):
    section = section_from_block(
        profile,
        training.block,
        prediction=training.prediction,
        label=training.label,
        money=training.exposure,
        threshold=THRESHOLD,
        **options,
    )
    return profile.with_section("impact", section)


@pytest.fixture(scope="module")
def asked(profile, training):
    return with_impact(profile, training, predict=predict)


@pytest.fixture(scope="module")
def unasked(profile, training):
    return with_impact(profile, training)


def truth(people):
    """AUC, and money lost per 1,000 predictions."""
    odds = THRESHOLD / (1 - THRESHOLD)
    missed = (people.label == 1) & (people.prediction < THRESHOLD)
    refused = (people.label == 0) & (people.prediction >= THRESHOLD)
    lost = np.where(missed, people.exposure, 0) + np.where(refused, people.exposure * odds, 0)
    return roc_auc_score(people.label, people.prediction), lost.mean() * 1000


def counts_of(profile, people, name):
    partition = profile.partition(name)
    return np.bincount(cells_of(partition, people.block[name]), minlength=partition.expected.size)


def predicted_and_true(reference, where, change, kind, names):
    before = np.array(truth(applicants(60_000, np.random.default_rng(5))))
    costs, real = [], []
    for name in names:
        real.append(np.array(truth(applicants(60_000, np.random.default_rng(5), **{where: {name: change}}))) - before)
        window = applicants(5_000, np.random.default_rng(6), **{where: {name: change}})
        costs.append(cost_of(reference, name, counts_of(reference, window, name), kind))
    return costs, np.array(real)


def test_the_predicted_costs_of_unit_changes_rank_as_the_true_ones_in_auc_and_in_money(asked):
    costs, real = predicted_and_true(asked, "data", times(100), Change.UNIT, NUMBERS)

    assert spearmanr([one.auc for one in costs], real[:, 0]).statistic >= 0.9
    assert spearmanr([one.money for one in costs], real[:, 1]).statistic >= 0.9


def test_the_predicted_auc_lost_to_missing_values_ranks_as_the_true_one_with_and_without_asking_the_model(asked, unasked):
    for reference in (asked, unasked):
        costs, real = predicted_and_true(reference, "data", missing(0.4, np.random.default_rng(9)), Change.MISSING, list(WEIGHTS))

        assert spearmanr([one.auc for one in costs], real[:, 0]).statistic >= 0.9


def test_the_predicted_money_lost_to_another_population_ranks_as_the_true_one(unasked):
    costs, real = predicted_and_true(unasked, "world", shifted(1.0), Change.LOCATION, NUMBERS)

    assert spearmanr([one.money for one in costs], real[:, 1]).statistic >= 0.9


def test_missing_values_of_the_top_feature_cost_what_they_really_cost(asked):
    (cost,), real = predicted_and_true(asked, "data", missing(0.4, np.random.default_rng(9)), Change.MISSING, ["utilisation"])

    assert cost.auc == pytest.approx(real[0, 0], abs=0.006)
    assert cost.auc_low <= cost.auc <= cost.auc_high < 0
    assert cost.money_low <= cost.money <= cost.money_high


def test_a_huge_shift_of_an_unused_feature_is_free_and_a_small_one_of_the_top_feature_is_not(asked):
    huge = applicants(2_000, np.random.default_rng(3), data={name: times(1000) for name in UNUSED})
    small = applicants(2_000, np.random.default_rng(3), world={"utilisation": shifted(0.3)})

    for name in UNUSED:
        assert cost_of(asked, name, counts_of(asked, huge, name), Change.UNIT) == Cost(0, 0, 0, 0, 0, 0)
    cost = cost_of(asked, "utilisation", counts_of(asked, small, "utilisation"), Change.LOCATION)
    assert cost.money_low > 0


def test_even_without_importances_an_unused_feature_costs_next_to_nothing(unasked):
    huge = applicants(2_000, np.random.default_rng(3), data={"shoe_size": times(1000)})

    cost = cost_of(unasked, "shoe_size", counts_of(unasked, huge, "shoe_size"), Change.UNIT)

    assert abs(cost.auc) < 0.003


def test_no_change_costs_nothing_within_its_interval(asked):
    calm = applicants(5_000, np.random.default_rng(8))

    for name in WEIGHTS:
        cost = cost_of(asked, name, counts_of(asked, calm, name))
        assert cost.auc_low - 0.003 <= 0 <= cost.auc_high + 0.003
        assert abs(cost.auc) < 0.01


def test_a_column_that_is_gone_costs_what_shuffling_it_costs_or_more(asked):
    for name in ("utilisation", "late_payments"):
        lost = np.zeros_like(asked.partition(name).expected)
        lost[-2] = 1_000
        cost = cost_of(asked, name, lost, Change.GONE)

        assert -2 * importances(asked)[name] < cost.auc < -0.5 * importances(asked)[name]


def test_an_unseen_category_is_broken_data_and_the_model_was_asked_about_it(asked):
    counts = asked.partition("channel").expected.copy()
    counts[-3] = counts.sum()

    cost = cost_of(asked, "channel", counts, Change.NEW_CATEGORY)

    assert -0.02 < cost.auc < 0


def test_importances_are_measured_when_the_model_is_at_hand(asked, unasked):
    found = importances(asked)

    assert max(found, key=found.get) == "utilisation"
    assert [found[name] for name in UNUSED] == [0.0, 0.0]
    assert importances(unasked) == {}


def test_the_same_counts_give_the_same_cost(asked):
    counts = counts_of(asked, applicants(500, np.random.default_rng(3), data={"income": times(100)}), "income")

    assert cost_of(asked, "income", counts, Change.UNIT) == cost_of(asked, "income", counts, Change.UNIT)


def test_without_rows_or_without_an_impact_there_is_no_cost(asked, profile):
    counts = counts_of(profile, applicants(100, np.random.default_rng(3)), "age")

    assert cost_of(profile, "age", counts) is None
    assert cost_of(asked, "age", np.zeros_like(counts)) is None
    assert cost_of(asked, "age", np.append(counts, 1)) is None, "counted in other cells"


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    rng = np.random.default_rng(4)
    bins, label = rng.integers(0, 20, 5_000), rng.integers(0, 2, 5_000)
    joint = np.zeros((20, 2))
    np.add.at(joint, (bins, label), 1)

    assert auc(joint) == pytest.approx(roc_auc_score(label, bins), abs=1e-12)


def test_features_are_ranked_by_money_then_auc_then_importance():
    def result(name, cost=None, importance=None):
        return FeatureResult(name, ColumnKind.NUMBER, Verdict.DRIFTED, None, {}, importance=importance, cost=cost)

    ordered = rank(
        [
            result("unknown", importance=0.1),
            result("unknown_but_important", importance=0.3),
            result("some_money", Cost(-0.01, -0.02, 0, 10.0, 0, 20.0)),
            result("most_money", Cost(-0.001, -0.02, 0, 90.0, 0, 99.0)),
        ]
    )

    assert [one.name for one in ordered] == ["most_money", "some_money", "unknown_but_important", "unknown"]


def test_another_population_costs_about_the_money_that_it_really_costs(unasked):
    costs, real = predicted_and_true(unasked, "world", shifted(0.5), Change.LOCATION, ["utilisation", "debt_ratio", "income"])

    for cost, true in zip(costs, real[:, 1], strict=True):
        assert cost.money == pytest.approx(true, rel=0.35)
