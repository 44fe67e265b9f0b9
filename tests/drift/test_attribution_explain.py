import numpy as np
import pytest

from mlops_obs.collectors.drift.attribution import carriers, explain, section_from_block, with_concept
from mlops_obs.collectors.drift.attribution.explain import cost_words, since_words
from mlops_obs.collectors.drift.columns import ColumnKind, Role
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Comparison, Cost, FeatureResult, Since, Verdict
from mlops_obs.testing.lender import SCHEMA, applicants, predict, shifted, times

NOON = 1_772_366_400.0  # 2026-03-01 12:00 UTC


def drifted(name, kind, words=""):
    return FeatureResult(name, ColumnKind.NUMBER, Verdict.DRIFTED, kind, {}, words)


@pytest.fixture(scope="module")
def reference():
    people = applicants(5_000, np.random.default_rng(1))
    profile = ReferenceProfile.from_block(people.block, SCHEMA)
    section = section_from_block(
        profile, people.block, prediction=people.prediction, label=people.label, money=people.exposure, predict=predict, sample=1_000
    )
    return profile.with_section("impact", section)


def test_the_line_says_what_since_when_to_whom_and_what_it_costs(reference):
    people = applicants(1_000, np.random.default_rng(2), data={"income": times(100)})
    current = ReferenceProfile.from_block(people.block, SCHEMA)
    comparison = Comparison(Verdict.DRIFTED, (drifted("income", Change.UNIT, "every value 100 times the reference's"),), 5_000, 1_000)

    (one,) = explain(
        comparison,
        reference,
        current,
        since={"income": Since(NOON, NOON - 120, NOON + 60)},
        segments={"income": carriers({"web": np.array([50, 50])}, {"web": np.array([0, 100])})},
    ).features

    assert one.words.startswith(
        "every value 100 times the reference's, since 2026-03-01 12:00 (11:58 to 12:01) UTC, all segments; predicted AUC -0.0"
    )
    assert one.words.endswith(" per 1,000 predictions " + one.words[one.words.rindex("(") :])
    assert " EUR per 1,000 predictions" in one.words
    assert one.cost.auc < 0 < one.cost.money
    assert one.importance > 0
    assert one.since.at == NOON


def test_stable_features_get_their_importance_and_nothing_else(reference):
    stable = FeatureResult("utilisation", ColumnKind.NUMBER, Verdict.STABLE, None, {})

    (one,) = explain(Comparison(Verdict.STABLE, (stable,), 1, 1), reference, None).features

    assert (one.cost, one.since, one.words) == (None, None, "")
    assert one.importance > 0.1


def test_columns_that_are_gone_or_of_another_type_have_a_cost(reference):
    block = dict(applicants(1_000, np.random.default_rng(2)).block)
    del block["utilisation"]
    current = ReferenceProfile.from_block(block)
    found = explain(
        Comparison(Verdict.DRIFTED, (drifted("utilisation", Change.GONE), drifted("channel", Change.TYPE)), 1, 1), reference, current
    ).features

    assert found[0].cost.auc < -0.05
    assert found[1].cost is not None


def test_a_feature_the_model_does_not_use_is_said_to_cost_nothing(reference):
    counts = reference.partition("shoe_size").expected[::-1].copy()

    (one,) = explain(
        Comparison(Verdict.DRIFTED, (drifted("shoe_size", Change.LOCATION, "higher"),), 1, 1), reference, counts={"shoe_size": counts}
    ).features

    assert one.words == "higher; the model does not use it: no cost"


def test_a_reference_without_impact_still_gives_a_line():
    people = applicants(500, np.random.default_rng(2))
    profile = ReferenceProfile.from_block(people.block, SCHEMA)

    (one,) = explain(Comparison(Verdict.DRIFTED, (drifted("age", Change.LOCATION, "higher"),), 1, 1), profile, profile).features

    assert (one.words, one.cost, one.importance) == ("higher", None, None)


def concept(words="twice as many defaults as predicted", since=None):
    return FeatureResult("defaulted", ColumnKind.BOOLEAN, Verdict.DRIFTED, Change.CONCEPT, {}, words, Role.LABEL, since=since)


def test_errors_up_with_features_still_is_a_result_of_its_own_named_concept():
    calm = Comparison(Verdict.STABLE, (), 1_000, 1_000)

    found = with_concept(calm, concept(since=Since(NOON, NOON, NOON)))

    assert found.alarm
    (one,) = found.features
    assert (one.name, one.kind) == ("defaulted", Change.CONCEPT)
    assert one.words.startswith("features as before, errors up: twice as many defaults as predicted, since 2026-03-01")
    assert with_concept(found, concept("again")).features[0].words.endswith("again")


def test_where_a_feature_drifted_too_the_concept_is_not_blamed_alone():
    comparison = Comparison(Verdict.DRIFTED, (drifted("income", Change.UNIT),), 1, 1)

    one = with_concept(comparison, concept()).features[-1]

    assert one.words == "twice as many defaults as predicted; income drifted too: look there first"


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (Since(NOON, NOON - 120, NOON + 60), "since 2026-03-01 12:00 (11:58 to 12:01) UTC"),
        (Since(NOON, NOON - 86_400, NOON + 60), "since 2026-03-01 12:00 (2026-02-28 12:00 to 2026-03-01 12:01) UTC"),
        (Since(NOON, NOON - 3, NOON + 4), "since 2026-03-01 12:00:00 (11:59:57 to 12:00:04) UTC"),
        (Since(1200.4, 1100.0, 1300.0), "since row 1,200 (1,100 to 1,300)"),
    ],
)
def test_moments_are_told_in_utc_and_row_numbers_as_rows(since, words):
    assert since_words(since) == words


def test_costs_are_told_with_their_intervals():
    assert cost_words(Cost(-0.041, -0.05, -0.03), "EUR") == "predicted AUC -0.041 (-0.050 to -0.030)"
    assert cost_words(Cost(-0.041, -0.05, -0.03, 310.2, 250, 380), "EUR") == (
        "predicted AUC -0.041 (-0.050 to -0.030), +310 EUR per 1,000 predictions (+250 to +380)"
    )


def by_segment(people, profile, name):
    cells = cells_of(profile.partition(name), people.block[name])
    channel = people.block["channel"]
    size = profile.partition(name).expected.size
    return {segment: np.bincount(cells[channel.codes == code], minlength=size) for code, segment in enumerate(channel.names)}


def test_the_segment_that_carries_a_change_is_named(reference):
    before = by_segment(applicants(20_000, np.random.default_rng(1)), reference, "utilisation")
    people, moved = (applicants(4_000, np.random.default_rng(2), world=change) for change in (None, {"utilisation": shifted(1.0)}))
    now = by_segment(people, reference, "utilisation")
    everywhere = by_segment(moved, reference, "utilisation")

    assert carriers(before, everywhere).words == "all segments"
    assert carriers(before, {**now, "web": everywhere["web"]}).words == "only web"
    assert set(carriers(before, {**everywhere, "web": now["web"]}).carrying) == {"branch", "partner", "phone"}


def test_a_change_of_the_mix_alone_is_no_change_of_any_segment():
    before = {"web": np.array([900, 100]), "branch": np.array([100, 900])}
    now = {"web": np.array([90, 10]), "branch": np.array([100, 900])}

    found = carriers(before, now)

    assert found.carrying == ()
    assert found.words == "only the mix of segments: more branch"


def test_segments_with_few_rows_are_unclear_and_not_silent():
    before = {"web": np.array([500, 500]), "fax": np.array([500, 500])}
    now = {"web": np.array([100, 900]), "fax": np.array([2, 2]), "new": np.array([5, 5])}

    found = carriers(before, now)

    assert (found.carrying, found.silent, found.unclear) == (("web",), (), ("fax", "new"))
    assert found.words == "web, others too small to say"


def test_segments_without_any_change_carry_nothing():
    same = {"web": np.array([500, 500]), "branch": np.array([400, 600])}

    assert carriers(same, same).words == "no segment in particular"
