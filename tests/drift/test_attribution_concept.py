"""Labels against scores in tables: concept drift is named, and a population that moves is not."""

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.contingency_tables import StratifiedTable

from mlops_obs.collectors.drift.attribution.build import section_from_block
from mlops_obs.collectors.drift.attribution.concept import LabelLook, cochran, mantel_haenszel
from mlops_obs.collectors.drift.columns import Categories
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Verdict
from mlops_obs.testing.lender import LABEL, PREDICTION, SCHEMA, applicants, shifted


@pytest.fixture(scope="module")
def reference():
    people = applicants(10_000, np.random.default_rng(1))
    profile = ReferenceProfile.from_block(people.block, SCHEMA)
    return profile.with_section("impact", section_from_block(profile, people.block, prediction=people.prediction, label=people.label))


def result_of(reference, people):
    look = LabelLook(reference)
    look.add(people.block)
    return look.result()


def test_a_changed_law_behind_unchanged_features_is_named_concept(reference):
    found = [result_of(reference, applicants(2_000, np.random.default_rng(seed), concept=1.0)) for seed in range(20)]

    assert {one.kind for one in found} == {Change.CONCEPT}
    assert all(one.name == LABEL for one in found)
    assert "bad labels where the scores say" in found[0].words


def test_a_population_that_moved_is_no_concept_drift(reference):
    for seed in range(20):
        one = result_of(reference, applicants(2_000, np.random.default_rng(seed), world={"utilisation": shifted(1.0)}))
        assert one.verdict is not Verdict.DRIFTED, seed


def test_without_any_change_there_is_an_alarm_at_most_at_the_level(reference):
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(400):
        look = LabelLook(reference)
        look.add(applicants(500, rng).block)
        alarms += look.result(alpha=0.05).statistics["p_value"] < 0.05

    assert alarms <= 35  # 20 at the nominal level, and three standard errors


def test_scores_that_no_longer_separate_are_concept_drift_too(reference):
    people = applicants(5_000, np.random.default_rng(4))
    people.block[LABEL] = np.random.default_rng(5).permutation(people.label)

    one = result_of(reference, people)

    assert one.kind is Change.CONCEPT
    assert one.statistics["auc"] == pytest.approx(0.5, abs=0.03)


def test_a_few_labels_are_inconclusive_and_none_say_nothing(reference):
    assert result_of(reference, applicants(60, np.random.default_rng(6))).verdict is Verdict.INCONCLUSIVE
    nobody = applicants(100, np.random.default_rng(6))
    nobody.block[LABEL] = np.full(100, np.nan)
    assert result_of(reference, nobody) is None
    assert LabelLook(ReferenceProfile.from_block(nobody.block, SCHEMA)).possible is False


def test_blocks_are_counted_in_any_form_and_those_without_the_columns_are_left_out(reference):
    people = applicants(1_000, np.random.default_rng(7))
    whole, parts = LabelLook(reference), LabelLook(reference)
    whole.add(people.block)
    for rows in (slice(0, 300), slice(300, None)):
        words = Categories(people.label[rows].astype(np.int64), ("false", "true"))
        parts.add({PREDICTION: people.prediction[rows], LABEL: words})
    parts.add({PREDICTION: people.prediction})
    parts.add({PREDICTION: Categories(np.zeros(3, dtype=np.int64), ("a",)), LABEL: np.zeros(3)})

    assert whole.counts.tolist() == parts.counts.tolist()


def test_the_tests_agree_with_independent_ones():
    rng = np.random.default_rng(8)
    before, now = rng.integers(20, 200, (6, 2)), rng.integers(20, 200, (6, 2))

    odds, p_value = mantel_haenszel(before, now)
    statistic, degrees = cochran(before, now)

    other = StratifiedTable([np.array([now[place][::-1], before[place][::-1]]) for place in range(6)])
    assert odds == pytest.approx(other.logodds_pooled)
    assert p_value == pytest.approx(other.test_null_odds(correction=False).pvalue)
    by_hand = sum(chi2_contingency([before[place], now[place]], correction=False).statistic for place in range(6))
    assert (statistic, degrees) == (pytest.approx(by_hand), 6)
