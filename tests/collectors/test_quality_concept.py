"""Features still, errors up: found at the first mature cohort, and never blamed for a population that moved."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.quality.concept import MatureCohort, log_evidence, watch
from mlops_obs.collectors.quality.performance import ERROR, PerformanceSettings, Predictions, measure

DAY = 86_400.0
WEEK = 7 * DAY
SETTINGS = PerformanceSettings(cohort_seconds=WEEK, deadline_seconds=180 * DAY)


def loans(seed, weeks, a_week=300, concept_from=None, by=0.8, population_from=None):
    """Weeks of loans; labels come after 30 to 180 days. `concept`: the world's risk rises and the model does not know."""
    rng = np.random.default_rng(seed)
    rows = weeks * a_week
    made = np.sort(rng.random(rows) * weeks * WEEK)
    odds = rng.normal(-1.2, 1.2, rows)
    odds += 0.8 * (made >= population_from) if population_from is not None else 0
    real = odds + (by * (made >= concept_from) if concept_from is not None else 0)
    bad = (rng.random(rows) < 1 / (1 + np.exp(-real))).astype(float)
    delay = np.where(bad == 1, 30 + rng.gamma(2, 25, rows), 60 + rng.beta(3, 1.5, rows) * 120) * DAY
    return Predictions(made, 1 / (1 + np.exp(-odds)), bad, made + np.minimum(delay, 180 * DAY))


def known_at(loans, now):
    made = loans.at(loans.made_at <= now)
    known = made.labelled_at <= now
    return Predictions(made.made_at, made.score, np.where(known, made.label, np.nan), np.where(known, made.labelled_at, np.nan))


def test_concept_drift_is_found_at_the_first_mature_cohort_while_the_estimate_sees_nothing():
    history = loans(1, 80, a_week=500, concept_from=50 * WEEK, by=1.5)
    for week in range(52, 90):
        now = week * WEEK + 1
        found = measure(known_at(history, now), now, SETTINGS)
        if found.concept.findings:
            break

    first_after = 51 * WEEK + found.ripe_age
    assert found.concept.findings[0].cohort == 50 * WEEK
    assert found.concept.findings[0].since == 50 * WEEK
    assert first_after - DAY <= now <= first_after + 8 * DAY
    drifted = next(one for one in found.cohorts if one.start == 50 * WEEK)
    before = next(one for one in found.cohorts if one.start == 49 * WEEK)
    assert drifted.expected[ERROR] == pytest.approx(before.expected[ERROR], abs=0.03), "the scores are as they were"
    assert drifted.realised[ERROR].low > drifted.expected[ERROR]


def test_a_population_that_moved_is_no_concept_drift():
    history = loans(2, 80, population_from=40 * WEEK)
    now = 110 * WEEK

    found = measure(known_at(history, now), now, SETTINGS)

    assert found.concept.findings == ()
    assert all(one.ripe for one in found.cohorts)


def test_the_mean_number_of_false_alarms_is_within_its_budget():
    alarms = cohorts = 0
    for seed in range(25):
        history = loans(seed, 60, a_week=200)
        found = measure(known_at(history, 90 * WEEK), 90 * WEEK, SETTINGS)
        alarms += len(found.concept.findings)
        cohorts += len(found.cohorts)

    assert alarms <= cohorts * SETTINGS.share


def test_early_labels_that_are_mostly_bad_are_what_the_null_expects():
    rng = np.random.default_rng(4)
    chance = rng.uniform(0.1, 0.4, 5_000)
    bad = (rng.random(5_000) < chance).astype(float)
    in_bad, in_good = np.full(5_000, 0.9), np.full(5_000, 0.2)
    known = rng.random(5_000) < np.where(bad == 1, in_bad, in_good)

    fair = MatureCohort(0.0, chance[known], bad[known], in_good[known], in_bad[known])
    blind = MatureCohort(0.0, chance[known], bad[known], in_bad[known], in_bad[known])

    assert log_evidence(fair).max() < 3
    assert log_evidence(blind).max() > 50


@settings(max_examples=100, deadline=None)
@given(chances=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4), off=st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4))
def test_no_bet_wins_in_the_mean_whatever_the_law_within_the_tolerance(chances, off):
    chance, ones = np.array(chances), np.ones(len(chances))
    real = 1 / (1 + np.exp(-np.log(chance / (1 - chance)) - np.array(off[: len(chances)])))

    mean = np.zeros(len(log_evidence(MatureCohort(0.0, chance, ones, ones, ones))))
    for labels in product((0.0, 1.0), repeat=len(chances)):
        label = np.array(labels)
        mean += np.prod(np.where(label == 1, real, 1 - real)) * np.exp(log_evidence(MatureCohort(0.0, chance, label, ones, ones)))

    assert (mean <= 1 + 1e-9).all()


def test_scores_that_no_longer_separate_are_named_so():
    rng = np.random.default_rng(6)
    chance = rng.uniform(0.05, 0.6, 4_000)
    bad = (rng.random(4_000) < chance.mean()).astype(float)
    ones = np.ones(4_000)

    (finding,) = watch([MatureCohort(WEEK, chance, bad, ones, ones)], 1 / 52).findings

    assert finding.slope
    assert "no longer separate good from bad" in finding.words


def test_risk_that_rose_is_told_with_both_shares():
    rng = np.random.default_rng(7)
    chance, ones = np.full(2_000, 0.1), np.ones(2_000)
    calm = MatureCohort(0.0, chance, (rng.random(2_000) < 0.1).astype(float), ones, ones)
    risen = MatureCohort(WEEK, chance, (rng.random(2_000) < 0.2).astype(float), ones, ones)

    (finding,) = watch([risen, calm], 1 / 52).findings

    assert (finding.cohort, finding.since) == (WEEK, WEEK)
    assert finding.words.endswith("times as many (2000 labels)")
    assert "where the scores say 10.0%" in finding.words


def test_dependent_labels_count_as_fewer():
    rng = np.random.default_rng(8)
    ones = np.ones(300)
    risen = MatureCohort(0.0, np.full(300, 0.1), (rng.random(300) < 0.2).astype(float), ones, ones)

    assert watch([risen], 1 / 52, design_effect=20).evidence < 1
    assert watch([risen], 1 / 52).findings


def test_no_labels_are_no_evidence():
    nothing = np.zeros(0)

    assert watch([], 0.1) == watch([], 0.1)
    assert watch([MatureCohort(0.0, nothing, nothing, nothing, nothing)], 0.1).evidence == pytest.approx(0.1)
