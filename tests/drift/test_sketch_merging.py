"""Shards of one table, merged in any order, are the table: the same counts and the same bytes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift.columns import INVALID, INVALID_CODE, MISSING_CODE, Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, categories
from mlops_obs.collectors.drift.sketches.categories import hash_of
from mlops_obs.collectors.drift.sketches.codec import join, pack, split, unpack
from mlops_obs.collectors.drift.sketches.numbers import codes_of, lower_bound

SCHEMA = Schema((Column("n", origin=10.0), Column("c", ColumnKind.CATEGORY)))
values = st.floats(allow_nan=True, allow_infinity=True) | st.just(INVALID)
rows = st.lists(st.tuples(values, st.sampled_from(["a", "b", "\x00", "\ud800", "é" * 200, None, 7])), max_size=40)


def profile(table):
    names = sorted({name for _, name in table if isinstance(name, str)})
    codes = [MISSING_CODE if name is None else names.index(name) if isinstance(name, str) else INVALID_CODE for _, name in table]
    return ReferenceProfile.from_block(
        {"n": np.array([value for value, _ in table], dtype=np.float64), "c": Categories(np.array(codes, dtype=np.int64), names)}, SCHEMA
    )


@given(st.lists(rows, min_size=1, max_size=6), st.randoms())
def test_any_merge_tree_of_any_shards_gives_the_bytes_of_the_whole_table(shards, random):
    whole = profile([row for shard in shards for row in shard])
    parts = [profile(shard) for shard in shards]

    while len(parts) > 1:
        random.shuffle(parts)
        parts.append(parts.pop().merge(parts.pop()))

    assert parts[0].to_bytes() == whole.to_bytes()


@given(rows)
def test_no_row_is_lost_and_none_is_counted_twice(table):
    sketched = profile(table)

    assert [sketch.rows for sketch in sketched.sketches.values()] == [len(table)] * 2
    numbers = sketched.sketches["n"]
    nan = sum(value != value for value, _ in table)
    assert numbers.missing + numbers.invalid == nan
    assert sketched.sketches["c"].invalid == sum(name == 7 for _, name in table)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_buckets_are_ordered_as_the_values_are_and_hold_their_lower_bound(a, b):
    low, high = codes_of(np.array(sorted([a, b])))

    assert low <= high
    assert lower_bound(np.array([low]))[0] <= min(a, b)


def test_a_bucket_is_never_wider_than_two_percent_and_zero_has_no_sign():
    numbers = np.geomspace(1e-6, 1e6, 10_001)

    assert (codes_of(numbers * 1.02) > codes_of(numbers)).all()
    assert codes_of(np.array([-0.0])) == codes_of(np.array([0.0]))


@given(st.lists(st.floats(width=32) | st.sampled_from([5e-324, -5e-324, 1.7e308, -1.7e308, INVALID]), max_size=200))
def test_the_fast_count_is_the_count_of_sorted_bucket_numbers(numbers):
    data = np.array(numbers, dtype=np.float64)

    sketch = NumberSketch.of(data)

    codes, counts = np.unique(codes_of(data[~np.isnan(data)]), return_counts=True)
    assert (sketch.codes.tolist(), sketch.counts.tolist()) == (codes.tolist(), counts.tolist())


@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_a_long_column_is_counted_as_its_parts(scale):
    random = np.random.default_rng(3)
    odd = [0.0, -0.0, 1e-300] if scale > 0 else [0.0, -0.0]
    numbers = scale * np.concatenate([random.lognormal(8, 1, 50_000), odd, np.full(40_000, 7.0), random.normal(0, 1, 9_999)])
    names = Categories(random.integers(-2, 3, 100_000), ["a", "b", "c"])

    whole, named = NumberSketch.of(numbers), CategorySketch.of(names)

    codes, counts = np.unique(codes_of(numbers), return_counts=True)
    assert (whole.codes.tolist(), whole.counts.tolist()) == (codes.tolist(), counts.tolist())
    assert (named.invalid, named.missing, *named.names.values()) == tuple(np.unique(names.codes, return_counts=True)[1].tolist())


def test_one_sentinel_among_many_rows_moves_no_other_count():
    numbers = np.random.default_rng(1).lognormal(8, 1, 10_000)

    plain, spoilt = NumberSketch.of(numbers), NumberSketch.of(np.append(numbers, 999_999_999.0))

    assert spoilt.counts[:-1].tolist() == plain.counts.tolist()


def test_an_origin_keeps_apart_what_would_share_a_bucket():
    years = np.arange(1990.0, 2024.0).repeat(3)

    assert NumberSketch.of(years).codes.size < 5
    assert NumberSketch.of(years, 2007.0).codes.size == 34


@pytest.mark.parametrize("order", [1, -1])
def test_a_million_names_stay_in_bounded_memory_and_in_the_same_bytes(monkeypatch, order):
    monkeypatch.setattr(categories, "NAMES", 50)
    names = [f"name-{number}" for number in range(1_000)]
    borders = [0, 5, 620, 630, 1_000]
    shards = [CategorySketch.of(Categories(np.arange(end - start), names[start:end])) for start, end in pairwise(borders)][::order]
    merged = shards[0]
    for shard in shards[1:]:
        merged = merged.merge(shard)

    whole = CategorySketch.of(Categories(np.arange(1_000), names))

    assert dict(merged.names) == dict(whole.names)
    assert (merged.rows, len(merged.names) <= 50, merged.level) == (1_000, True, whole.level)
    assert merged.unnamed().sum() == 1_000 - len(merged.names)


def test_the_hash_of_a_name_is_the_same_in_every_year():
    assert hash_of("channel=web") == 0x0FA59E0C0000C7EC


@given(st.lists(st.integers(0, (1 << 62) - 1)))
def test_packed_numbers_come_back(numbers):
    assert unpack(pack(np.array(numbers, dtype=np.int64))).tolist() == numbers


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_joined_blobs_come_back(blobs):
    assert list(split(join(blobs))) == blobs


@given(st.binary(max_size=40))
@settings(max_examples=300)
def test_bytes_that_nobody_packed_are_a_value_error_or_numbers(content):
    for read in (unpack, lambda data: list(split(data))):
        try:
            read(content)
        except ValueError:
            continue
