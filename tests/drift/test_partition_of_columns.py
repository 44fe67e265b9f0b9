"""The cells of a column: rows and sketches must be counted alike, and what the reference never had has cells of its own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift.columns import INVALID, Categories, Column, ColumnKind
from mlops_obs.collectors.drift.partition import cells_of, partition_of
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, categories, sketch_of

numbers = st.lists(st.floats() | st.just(INVALID), max_size=60).map(lambda values: np.array(values, dtype=np.float64))
names = st.lists(st.integers(-2, 4), max_size=60).map(lambda codes: Categories(np.array(codes, dtype=np.int64), list("abcde")))


@given(numbers, numbers, st.sampled_from([0.0, 3.5]))
def test_rows_and_their_sketch_fall_into_the_same_cells_of_numbers(reference, current, origin):
    column = Column("x", origin=origin)
    partition = partition_of(sketch_of(reference, column), column)

    by_row = np.bincount(cells_of(partition, current), minlength=len(partition.labels))

    assert partition.count(sketch_of(current, column)).tolist() == by_row.tolist()
    assert partition.expected.sum() == len(reference)


@pytest.mark.parametrize("least", [1, 3])
@given(names, names)
def test_rows_and_their_sketch_fall_into_the_same_cells_of_names(least, reference, current):
    partition = partition_of(CategorySketch.of(reference).without_rare(least), Column("c", ColumnKind.CATEGORY))

    by_row = np.bincount(cells_of(partition, current), minlength=len(partition.labels))

    assert partition.count(CategorySketch.of(current)).tolist() == by_row.tolist()
    assert partition.expected.sum() == len(reference.codes)


def test_missing_invalid_below_above_and_unseen_are_cells():
    numbers, column = NumberSketch.of(np.arange(1.0, 101.0)), Column("x")
    seen = partition_of(numbers, column)
    cells = dict(zip(seen.labels, seen.count(NumberSketch.of(np.array([0.0, 500.0, np.nan, INVALID]))).tolist(), strict=True))
    assert (cells["missing"], cells["invalid"], cells[seen.labels[0]], cells[seen.labels[-3]]) == (1, 1, 1, 1)

    words = partition_of(CategorySketch.of(Categories(np.array([0, 1] * 9), ["a", "b"])), Column("c", ColumnKind.CATEGORY))
    cells = dict(zip(words.labels, words.count(CategorySketch.of(Categories(np.array([0, 1, 2, -1]), list("abz")))).tolist(), strict=True))
    assert cells == {"a": 1, "b": 1, "other": 0, "unseen": 1, "missing": 1, "invalid": 0}


@pytest.mark.parametrize(("values", "shown"), [([0.0, 1.0], ["0", "1"]), ([-7.0, 7.0], ["-7", "7"]), ([2020.0, 2021.0], ["2020", "2021"])])
def test_a_cell_of_one_value_is_called_by_that_value(values, shown):
    column = Column("x", origin=2000.0 if values[0] > 1000 else 0.0)

    labels = partition_of(sketch_of(np.array(values * 50), column), column).labels

    assert set(shown) < set(labels)
    assert not any("e-3" in one for one in labels)


def test_a_name_that_the_reference_keeps_for_privacy_in_a_bucket_only_is_not_unseen_but_a_new_one_mostly_is():
    reference = CategorySketch.of(Categories(np.array([0] * 10 + [1]), ["common", "ann"])).without_rare(5)
    partition = partition_of(reference, Column("c", ColumnKind.CATEGORY))

    known = partition.cells(Categories(np.array([0]), ["ann"]))
    new = partition.cells(Categories(np.arange(100), [f"new-{number}" for number in range(100)]))

    assert partition.labels[known[0]] == "other"
    assert sum(partition.labels[cell] == "unseen" for cell in new) > 95
    assert partition.count(reference)[-4:-2].tolist() == [1, 0]


def test_more_names_than_fit_are_compared_by_hash_bucket_exactly(monkeypatch):
    monkeypatch.setattr(categories, "NAMES", 50)
    random = np.random.default_rng(0)
    many = [f"name-{number}" for number in range(1_000)]
    reference, current = (Categories(random.zipf(1.3, 5_000) % 1_000, many) for _ in range(2))
    partition = partition_of(CategorySketch.of(reference), Column("c", ColumnKind.CATEGORY))

    by_row = np.bincount(cells_of(partition, current), minlength=len(partition.labels))

    assert partition.labels[0].startswith("names by hash ")
    assert partition.count(CategorySketch.of(current)).tolist() == by_row.tolist()


def test_a_column_of_another_type_is_invalid_where_it_is_not_missing():
    partition = partition_of(NumberSketch.of(np.arange(9.0)), Column("x"))

    cells = cells_of(partition, Categories(np.array([0, -1]), ["text"]))

    assert [partition.labels[cell] for cell in cells] == ["invalid", "missing"]
