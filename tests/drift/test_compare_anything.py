"""Whatever two tables hold, a comparison is an answer: never an exception, never a warning, never words that a terminal obeys."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift.columns import INVALID, Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.compare import Settings, compare, score_windows
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Verdict

numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, INVALID, 5e-324, 1e308, -1e308, 999_999_999.0, 1.7e9]),
    st.integers(-3, 3).map(float),
)
names = st.text(max_size=6)


@st.composite
def columns(draw):
    many = draw(st.sampled_from([1, 1, 40]))
    if draw(st.booleans()):
        return np.array(draw(st.lists(numbers, max_size=30)) * many, dtype=float)
    labels = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    codes = draw(st.lists(st.integers(-2, len(labels) - 1), max_size=30))
    return Categories(np.array(codes * many, dtype=np.int64), labels)


@given(columns(), columns(), st.sampled_from([0.0, 1.0, -7.5, 1.7e9]), st.sampled_from([ColumnKind.NUMBER, ColumnKind.TIMESTAMP]))
def test_any_two_columns_can_be_compared(before, now, origin, kind):
    schema = None if isinstance(before, Categories) else Schema((Column("x", kind, origin=origin),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reference = ReferenceProfile.from_block({"x": before}, schema)
        for current in (ReferenceProfile.from_block({"x": now}), ReferenceProfile.from_block({"x": now}, reference.schema)):
            found = compare(reference, current).features[0]

    assert found.words.isprintable()
    assert 0 <= found.statistics["p_value"] <= 1
    assert (found.kind is not None) == found.alarm


@given(columns())
def test_a_column_never_drifts_from_itself(data):
    reference = ReferenceProfile.from_block({"x": data})

    assert compare(reference, reference).verdict in (Verdict.STABLE, Verdict.INCONCLUSIVE)


def test_a_table_of_a_thousand_columns_is_one_computation_and_finds_the_one_that_drifted():
    random = np.random.default_rng(0)
    before = {f"x{place}": random.normal(size=300) for place in range(1_000)}
    now = {name: random.normal(size=300) for name in before} | {"x77": random.normal(3, 1, size=300)}

    found = compare(ReferenceProfile.from_block(before), ReferenceProfile.from_block(now))

    assert [one.name for one in found.features if one.alarm] == ["x77"]


def test_no_columns_are_inconclusive():
    nothing = ReferenceProfile(Schema(()), {})

    assert compare(nothing, nothing, Settings(features=())).verdict is Verdict.INCONCLUSIVE
    assert score_windows([], [], [], alpha=0.01) == []


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_a_handful_of_rows_on_either_side_is_inconclusive(rows):
    some = ReferenceProfile.from_block({"x": np.arange(float(rows))}, Schema((Column("x"),)))
    many = ReferenceProfile.from_block({"x": np.arange(1000.0) * 7 + 3}, Schema((Column("x"),)))

    assert compare(some, some).verdict is Verdict.INCONCLUSIVE
    assert compare(many, ReferenceProfile.from_block({"x": np.linspace(3, 6_990, rows)}, many.schema)).verdict is Verdict.INCONCLUSIVE
