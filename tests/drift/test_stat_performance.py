import numpy as np
import pytest

from mlops_obs.collectors.drift.estimated import rows_by_bin
from mlops_obs.collectors.drift.sketches import NumberSketch
from mlops_obs.collectors.drift.statistics.performance import auc, auc_interval, calibrate, estimate

metrics = pytest.importorskip("sklearn.metrics")

BINS = 20


def applicants(random, rows, shift=0.0):
    """Scores of a model that sees one of two causes, and what became of the applicants."""
    seen, unseen = random.normal(size=rows) + shift, random.normal(size=rows)
    chance = 1 / (1 + np.exp(-(1.2 * seen - 0.5 + 0.8 * unseen)))
    return 1 / (1 + np.exp(-(1.1 * seen - 0.4))), (random.random(rows) < chance).astype(int)


@pytest.fixture(scope="module")
def trained():
    scores, labels = applicants(np.random.default_rng(0), 20_000)
    edges = np.quantile(scores, np.arange(1, BINS) / BINS)
    table = np.stack([np.bincount(np.searchsorted(edges, scores[labels == one]), minlength=BINS) for one in (0, 1)], axis=1)
    return edges, table


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.7])
def test_with_other_customers_of_the_same_behaviour_the_estimate_is_close_and_its_interval_honest(trained, shift):
    edges, table = trained
    random = np.random.default_rng(1)
    covered, errors = 0, []
    for _ in range(80):
        scores, labels = applicants(random, 2_000, shift)
        bins = np.searchsorted(edges, scores)
        found = estimate(np.bincount(bins, minlength=BINS), table)
        truth = metrics.roc_auc_score(labels, bins)
        covered += found.auc.low <= truth <= found.auc.high
        errors.append(abs(found.auc.value - truth))

    assert covered >= 60  # 72 expected of 90 %
    assert np.mean(errors) < 0.012


def test_the_figures_are_sklearns_when_the_labels_are_as_expected():
    random = np.random.default_rng(2)
    rows = random.integers(50, 200, BINS)
    positives = random.binomial(rows, np.linspace(0.05, 0.95, BINS))
    bins = np.repeat(np.arange(BINS), rows)
    labels = np.concatenate([np.repeat([1, 0], [one, n - one]) for one, n in zip(positives, rows, strict=True)])

    assert auc(positives.astype(float), (rows - positives).astype(float)) == pytest.approx(metrics.roc_auc_score(labels, bins))


def test_accuracy_and_brier_score_follow_from_the_calibrated_rates():
    table = np.array([[900, 100], [500, 500], [100, 900]]) * 100

    found = estimate(np.array([1_000, 0, 1_000]), table)

    assert found.accuracy.value == pytest.approx(0.9, abs=1e-3)
    assert found.brier.value == pytest.approx(0.1 * 0.9, abs=1e-3)
    assert found.positives.value == pytest.approx(0.5, abs=1e-3)


def test_a_higher_score_is_never_a_lower_probability():
    rates, variances = calibrate(np.array([[90, 10], [70, 30], [75, 25], [20, 80]]))

    assert np.all(np.diff(rates) >= 0)
    assert rates[1] == rates[2] == pytest.approx(0.275, abs=0.01)
    assert np.all(variances > 0)


def test_the_interval_of_an_auc_is_hanley_and_mcneils():
    found = auc_interval(0.8, 50, 200)  # SE 0.0387 by their formula (1982)

    assert (found.high - found.low) / 2 / 1.6449 == pytest.approx(0.0391, abs=0.001)


def test_without_rows_or_labels_there_is_no_estimate(trained):
    _, table = trained

    assert np.isnan(estimate(np.zeros(BINS, dtype=int), table).auc.value)
    assert np.isnan(estimate(np.ones(BINS, dtype=int), np.zeros((BINS, 2), dtype=int)).accuracy.low)


def test_rows_by_bin_from_a_sketch_are_those_of_the_rows_up_to_the_buckets(trained):
    edges, _ = trained
    scores, _ = applicants(np.random.default_rng(3), 5_000)

    found = rows_by_bin(NumberSketch.of(scores), edges)

    exact = np.bincount(np.searchsorted(edges, scores), minlength=BINS)
    assert found.sum() == 5_000
    assert np.abs(np.cumsum(found) - np.cumsum(exact)).max() < 25
