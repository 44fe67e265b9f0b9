"""A reference is kept with its model for years: its bytes, its sections, its address, and what it refuses."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift.columns import INVALID, Categories, Column, ColumnKind, Role, Schema
from mlops_obs.collectors.drift.inference import infer_schema, origin_of
from mlops_obs.collectors.drift.reference import MAGIC, ReferenceProfile, empty_profile
from mlops_obs.errors import SpecError

DATA = Path(__file__).parent / "data"


def table(rows=500, seed=0):
    random = np.random.default_rng(seed)
    return {
        "income": np.where(random.random(rows) < 0.1, np.nan, random.lognormal(8, 1, rows)),
        "year": random.integers(1990, 2024, rows).astype(float),
        "channel": Categories(random.integers(-2, 3, rows), ["web", "shop\x00", "télé"]),
    }


def test_a_profile_survives_its_bytes_with_its_schema_and_sections():
    profile = ReferenceProfile.from_block(table()).with_section("made-by-a-later-version", b"\x00\xff")

    again = ReferenceProfile.from_bytes(profile.to_bytes())

    assert again.schema == profile.schema
    assert again.sections == {"made-by-a-later-version": b"\x00\xff"}
    assert again.to_bytes() == profile.to_bytes()
    assert again.digest == hashlib.sha256(profile.to_bytes()).hexdigest()


def test_a_profile_holds_no_row():
    secret = 123_456.789
    profile = ReferenceProfile.from_columns({"income": [1.0, secret, 1e9]})

    assert secret not in (profile.sketches["income"].minimum, profile.sketches["income"].maximum)
    assert secret.hex().encode() not in profile.to_bytes()


def test_a_profile_of_the_first_format_is_read_and_written_in_the_second():
    old = ReferenceProfile.from_bytes((DATA / "reference_format_1.bin").read_bytes())

    assert old.feature_names == ("income", "age", "empty")
    assert (old.rows, old.sketches["empty"].missing, old.sketches["age"].missing) == (2_000, 2_000, 112)
    assert old.sketches["age"].maximum == 89
    again = ReferenceProfile.from_bytes(old.to_bytes())
    assert old.to_bytes().startswith(MAGIC)
    assert [one.rows for one in again.sketches.values()] == [2_000] * 3


def test_a_profile_of_the_second_format_stays_readable_and_keeps_its_address():
    content = (DATA / "reference_format_2.bin").read_bytes()

    kept = ReferenceProfile.from_bytes(content)

    assert kept.to_bytes() == content
    assert [(one.name, one.kind.value, one.role.value) for one in kept.schema if one.name in ("opened", "remark", "score")] == [
        ("opened", "timestamp", "feature"),
        ("remark", "text", "feature"),
        ("score", "number", "prediction"),
    ]
    assert (kept.sketches["income"].missing, kept.sketches["income"].invalid, kept.schema["year"].origin) == (80, 3, 2007.0)
    assert sum(kept.sketches["channel"].names.values()) + kept.sketches["channel"].missing + kept.sketches["channel"].invalid == 1_000


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b[:30], lambda b: b"PAR1" + b, lambda b: b[:-9] + b"x" + b[-8:], lambda _: b"", lambda b: b + b"\n"],
)
def test_a_damaged_profile_is_refused_with_its_code(damage, number):
    content = (DATA / "reference_format_1.bin").read_bytes() if number == 1 else ReferenceProfile.from_block(table()).to_bytes()

    with pytest.raises(SpecError, match="OBS-DRF-001"):
        ReferenceProfile.from_bytes(damage(content))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_content_that_was_forged_with_a_right_digest_is_refused_or_read_and_nothing_else(data):
    body = bytearray(ReferenceProfile.from_block(table(50)).to_bytes()[:-32])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(len(MAGIC), len(body) - 1))] = data.draw(st.integers(0, 255))

    try:
        profile = ReferenceProfile.from_bytes(bytes(body) + hashlib.sha256(body).digest())
        for column in profile.schema:
            profile.partition(column.name)
    except SpecError as error:
        if error.code != "OBS-DRF-001":
            raise


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": ["red", "blue"]}])
def test_a_reference_without_numbers_is_refused(columns):
    with pytest.raises(SpecError, match="OBS-DRF-002"):
        ReferenceProfile.from_columns(columns)


@pytest.mark.parametrize("other", [Column("y"), Column("x", origin=5.0), Column("x", ColumnKind.CATEGORY)])
def test_profiles_of_different_schemas_do_not_merge(other):
    one, two = (empty_profile(Schema((column,))) for column in (Column("x"), other))

    with pytest.raises(SpecError, match="differ in x.*OBS-DRF-003"):
        one.merge(two)


def test_profiles_that_share_only_some_columns_do_not_merge():
    one, two = (empty_profile(Schema((Column("a"), other))) for other in (Column("b"), Column("c")))

    with pytest.raises(SpecError, match="differ in b, c.*OBS-DRF-003"):
        one.merge(two)


def test_merging_drops_sections_because_they_speak_of_all_rows():
    one = ReferenceProfile.from_columns({"x": [1.0]}).with_section("natural", b"1")

    assert one.merge(one).sections == {}


def test_feature_names_are_all_columns_but_labels_in_the_models_order():
    schema = Schema((Column("b"), Column("score", role=Role.PREDICTION), Column("bad", role=Role.LABEL), Column("a")))

    assert empty_profile(schema).feature_names == ("b", "score", "a")


def test_data_of_another_type_is_invalid_in_every_row_that_is_not_missing():
    schema = Schema((Column("n"), Column("c", ColumnKind.CATEGORY)))
    swapped = {"n": Categories(np.array([0, -1, 0]), ["x"]), "c": np.array([1.0, np.nan, INVALID])}

    sketches = ReferenceProfile.from_block(swapped, schema).sketches

    assert [(one.missing, one.invalid, one.rows) for one in sketches.values()] == [(1, 2, 3), (1, 2, 3)]


def test_rows_of_a_file_that_lacks_a_column_are_missing_there():
    schema = Schema((Column("a"), Column("c", ColumnKind.CATEGORY)))

    padded = ReferenceProfile.from_block({"a": np.arange(3.0)}, schema).padded(schema)

    assert padded.sketches["c"].missing == 3
    assert padded.schema == schema


@pytest.mark.parametrize(
    ("values", "chosen"),
    [
        (np.arange(1990.0, 2024.0), True),
        (1.7e9 + np.arange(1000.0), True),
        (np.random.default_rng(0).normal(50, 3, 999), True),
        (-1e6 - np.arange(100.0), True),
        (np.random.default_rng(0).lognormal(8, 1, 999), False),
        (np.arange(100.0), False),
        (np.full(50, 7.0), False),
        (np.full(50, np.nan), False),
        (np.array([np.inf, -np.inf]), False),
        (np.zeros(0), False),
    ],
)
def test_an_origin_is_chosen_where_values_vary_little_for_their_size(values, chosen):
    origin = origin_of(values)

    assert (origin != 0) == chosen
    assert not chosen or values.min() <= origin <= values.max()


@given(st.lists(st.floats(), max_size=50))
def test_an_origin_is_finite_whatever_the_values(values):
    assert np.isfinite(origin_of(np.array(values, dtype=np.float64)))


def test_the_schema_of_a_block_keeps_what_is_known_and_infers_the_rest():
    known = Schema((Column("year"), Column("gone")))

    schema = infer_schema({**table(), "vector": np.zeros((500, 8), dtype=np.float32)}, known)

    assert schema.names == ("year", "gone", "income", "channel", "vector")
    assert (schema["year"].origin, schema["channel"].kind, schema["vector"].size) == (0.0, ColumnKind.CATEGORY, 8)
    assert Schema.from_json(schema.to_json()) == schema
