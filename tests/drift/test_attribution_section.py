from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift.attribution.build import section_from_block, section_from_blocks
from mlops_obs.collectors.drift.attribution.costs import cost_of
from mlops_obs.collectors.drift.attribution.impact import Impact, impact_of
from mlops_obs.collectors.drift.columns import Categories, Column, ColumnKind, Role, Schema
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError
from mlops_obs.testing.lender import EXPOSURE, LABEL, PREDICTION, SCHEMA, applicants, predict


@pytest.fixture(scope="module")
def training():
    return applicants(3_000, np.random.default_rng(1))


@pytest.fixture(scope="module")
def profile(training):
    return ReferenceProfile.from_block(training.block, SCHEMA)


@pytest.fixture(scope="module")
def section(profile, training):
    return section_from_block(
        profile, training.block, prediction=training.prediction, label=training.label, money=training.exposure, predict=predict, sample=300
    )


def part(people, rows):
    block = {}
    for name, data in {**people.block, EXPOSURE: people.exposure}.items():
        block[name] = Categories(data.codes[rows], data.names) if isinstance(data, Categories) else data[rows]
    return block


def test_every_row_is_counted_once_in_every_feature_and_money_to_the_cent(section, training):
    impact = Impact.from_bytes(section)

    for name, one in impact.features.items():
        assert one.rows.sum() == 3_000, name
        bad = int(np.rint(training.exposure[training.label == 1] * 100).sum())
        assert one.money[..., 1].sum() == bad
        assert one.pairs.shape == (8, len(one.rows) + 1, len(one.rows) + 1)
    assert PREDICTION not in impact.features
    assert LABEL not in impact.features


def test_the_calibration_table_has_the_labels_by_score(section, training):
    impact = Impact.from_bytes(section)

    bins = impact.bin_of(training.prediction)

    assert [int((bins == place).sum()) for place in range(len(impact.edges) + 1)] == impact.calibration.sum(axis=1).tolist()
    assert impact.calibration[:, 1].sum() == training.label.sum()


def test_a_section_is_read_as_it_was_written_and_travels_in_the_profile(section, profile):
    stored = ReferenceProfile.from_bytes(profile.with_section("impact", section).to_bytes())

    impact = impact_of(stored)

    assert impact is not None
    assert impact.to_bytes() == section
    assert impact.currency == "EUR"
    assert cost_of(stored, "income", stored.partition("income").expected) is not None


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 2_999), max_size=4, unique=True), order=st.randoms(use_true_random=False))
def test_blocks_give_the_same_bytes_however_they_are_cut_and_in_whatever_order(profile, training, cuts, order):
    blocks = [part(training, rows) for rows in np.split(np.arange(3_000), sorted(cuts))]
    order.shuffle(blocks)

    one = section_from_blocks(profile, [part(training, np.arange(3_000))], prediction=PREDICTION, label=LABEL, money=EXPOSURE)
    many = section_from_blocks(profile, blocks, prediction=PREDICTION, label=LABEL, money=EXPOSURE)

    assert one == many


def test_a_column_of_true_and_false_is_a_label(training):
    block = {**training.block, LABEL: Categories(training.label.astype(np.int64), ("false", "true"))}
    schema = Schema((*(one for one in SCHEMA if one.name != LABEL), Column(LABEL, ColumnKind.BOOLEAN, Role.LABEL)))

    section = section_from_blocks(ReferenceProfile.from_block(block, schema), [block], prediction=PREDICTION, label=LABEL)

    assert Impact.from_bytes(section).calibration[:, 1].sum() == training.label.sum()


def test_blocks_without_both_labels_in_all_of_them_give_no_section(profile, training):
    good = part(training, np.flatnonzero(training.label == 0))

    assert section_from_blocks(ReferenceProfile.from_block(good, SCHEMA), [good], prediction=PREDICTION, label=LABEL) is None
    assert section_from_blocks(profile, [], prediction="nothing", label=LABEL) is None


def test_rows_without_score_or_label_are_left_out(profile, training):
    label = training.label.copy()
    label[:100] = np.nan
    prediction = training.prediction.copy()
    prediction[100:150] = np.nan

    impact = Impact.from_bytes(section_from_block(profile, training.block, prediction=prediction, label=label))

    assert impact.calibration.sum() == 2_850
    assert not impact.features["age"].money.size


def test_scores_all_alike_are_one_bin_and_cost_nothing(profile, training):
    found = section_from_block(profile, training.block, prediction=np.full(3_000, 0.2), label=training.label, money=1.0)

    cost = cost_of(profile.with_section("impact", found), "age", profile.partition("age").expected)

    assert (cost.auc, cost.money) == (0, 0)


def test_what_does_not_fit_the_rows_is_named_all_at_once(profile, training):
    with pytest.raises(SpecError, match=r"prediction has 5 values for 3000 rows; money has amounts.*OBS-ATT-001"):
        section_from_block(profile, training.block, prediction=np.zeros(5), label=training.label, money=-1.0)
    with pytest.raises(SpecError, match="0 of 3000 labels are bad.*OBS-ATT-001"):
        section_from_block(profile, training.block, prediction=training.prediction, label=np.zeros(3_000))
    with pytest.raises(SpecError, match="predict answered 1 scores.*OBS-ATT-001"):
        section_from_block(profile, training.block, prediction=training.prediction, label=training.label, predict=lambda _: [0.5])
    with pytest.raises(SpecError, match="none of the profile's features.*OBS-ATT-001"):
        section_from_block(profile, {"other": training.label}, prediction=training.prediction, label=training.label)


def test_shards_that_were_counted_differently_do_not_merge(profile, training):
    one, other = (
        Impact.from_bytes(section_from_block(profile, training.block, prediction=training.prediction * scale, label=training.label))
        for scale in (1, 0.5)
    )

    with pytest.raises(SpecError, match="OBS-ATT-002"):
        one.merge(other)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_section_is_an_error_with_a_code_and_never_a_crash(section, data):
    place = data.draw(st.integers(0, len(section) - 1))
    damaged = section[:place] + data.draw(st.binary(max_size=8)) + section[place + data.draw(st.integers(0, 8)) :]

    with suppress(SpecError):
        Impact.from_bytes(damaged)


def test_something_else_is_named_as_no_section():
    with pytest.raises(SpecError, match="OBS-ATT-003"):
        Impact.from_bytes(b"{}")
