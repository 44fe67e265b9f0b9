"""Rows of any shape arrive in the ring as the same values; what is wrong with them is data."""

import math
import threading
from collections import OrderedDict
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Categories, Column, ColumnKind, is_invalid
from mlops_obs.collectors.drift.encode import Encoder
from mlops_obs.collectors.drift.ring import Ring
from mlops_obs.collectors.drift.sketches.categories import NAMES, CategorySketch

NUMBERS = (Column("income"), Column("age"), Column("debt"))
MIXED = (
    Column("income"),
    Column("channel", ColumnKind.CATEGORY),
    Column("member", ColumnKind.BOOLEAN),
    Column("opened", ColumnKind.TIMESTAMP),
    Column("purpose", ColumnKind.TEXT),
)
ROW = {"income": 1_000.5, "channel": "web", "member": True, "opened": "2026-11-23T10:00:00+00:00", "purpose": "a new car"}
EMBEDDED = (Column("amount"), Column("history", ColumnKind.EMBEDDING, size=3))


class Capture:
    def __init__(self, columns, capacity=1_000):
        self.ring = Encoder.ring(columns, capacity)
        self.encoder = Encoder(columns, {"channel": ["branch", "web"]}, self.ring)

    def __call__(self, *rows):
        for one in rows:
            self.encoder.put(one)
        return self.drain()

    def drain(self):
        return {name: plain(data) for name, data in self.encoder.block(self.ring.drain()).items()}


def plain(data):
    """A column as a list that can be compared: names, "missing", "invalid", numbers."""
    if isinstance(data, Categories):
        words = {MISSING_CODE: "missing", INVALID_CODE: "invalid"}
        return [words.get(code) or data.names[code] for code in data.codes.tolist()]
    if data.ndim == 2:
        return data.tolist()
    return [
        "invalid" if bad else "missing" if math.isnan(value) else value for value, bad in zip(data.tolist(), is_invalid(data), strict=True)
    ]


def tables():
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    torch = pytest.importorskip("torch")
    rows = [[1.5, 30.0, 2.0], [2.5, 40.0, 3.0]]
    dicts = [dict(zip(("income", "age", "debt"), row, strict=True)) for row in rows]
    by_one = [{"name": name, "shape": [2, 1], "datatype": "FP64", "data": [[one[name]] for one in dicts]} for name in dicts[0]]
    columns = {name: [row[name] for row in dicts] for name in ("income", "age", "debt")}
    return {
        "array": np.array(rows),
        "float32": np.array(rows, dtype=np.float32),
        "objects": np.array(rows, dtype=object),
        "fortran order": np.asfortranarray(rows),
        "structured": np.array([tuple(row) for row in rows], dtype=[("income", "f8"), ("age", "f4"), ("debt", "f8")]),
        "lists": rows,
        "tuples": tuple(map(tuple, rows)),
        "arrays": [np.array(row) for row in rows],
        "dicts": dicts,
        "other mappings": [OrderedDict(reversed(one.items())) for one in dicts],
        "columns": columns,
        "columns of arrays": {name: np.array(data) for name, data in columns.items()},
        "a generator": (row for row in rows),
        "pandas": pandas.DataFrame(columns),
        "pandas in another order": pandas.DataFrame(columns)[["debt", "income", "age"]],
        "arrow": arrow.table(columns),
        "arrow batch": arrow.record_batch(columns),
        "torch": torch.tensor(rows),
        "torch with a gradient": torch.tensor(rows, requires_grad=True),
        "bfloat16": torch.tensor(rows, dtype=torch.bfloat16),
        "v1 lists": {"instances": rows},
        "v1 dicts": {"instances": dicts},
        "v2 columns": {"inputs": [{"name": n, "shape": [2], "datatype": "FP64", "data": data} for n, data in columns.items()]},
        "v2 columns of one": {"inputs": by_one},
        "v2 matrix": {"inputs": [{"name": "input-0", "shape": [2, 3], "datatype": "FP64", "data": rows}]},
        "v2 flat matrix": {"inputs": [{"name": "input-0", "shape": [2, 3], "datatype": "FP64", "data": [*rows[0], *rows[1]]}]},
    }


@pytest.mark.parametrize("form", tables())
def test_a_table_of_any_form_becomes_the_same_rows(form):
    assert Capture(NUMBERS)(tables()[form]) == {"income": [1.5, 2.5], "age": [30.0, 40.0], "debt": [2.0, 3.0]}


def test_one_row_of_any_form_is_one_row():
    pandas, torch = pytest.importorskip("pandas"), pytest.importorskip("torch")
    row = {"income": 1.5, "age": 30.0, "debt": 2.0}

    found = Capture(NUMBERS)(
        row, list(row.values()), tuple(row.values()), np.array([*row.values()]), pandas.Series(row), torch.tensor([1.5, 30, 2])
    )

    assert found == {"income": [1.5] * 6, "age": [30.0] * 6, "debt": [2.0] * 6}


def test_every_kind_of_column_is_kept_from_one_row():
    opened = datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()

    assert Capture(MIXED)(ROW) == {"income": [1_000.5], "channel": ["web"], "member": ["true"], "opened": [opened], "purpose": [9.0]}


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("income", None, "missing"),
        ("income", math.nan, "missing"),
        ("income", math.inf, math.inf),
        ("income", "1000", "invalid"),
        ("income", [1.0], "invalid"),
        ("income", 10**400, math.inf),
        ("income", True, 1.0),
        ("income", np.float32(2), 2.0),
        ("channel", None, "missing"),
        ("channel", math.nan, "missing"),
        ("channel", "partner", "partner"),
        ("channel", 5, "5"),
        ("channel", 5.0, "5"),
        ("channel", b"web", "web"),
        ("channel", np.str_("web"), "web"),
        ("channel", ["web"], "invalid"),
        ("channel", {"a": 1}, "invalid"),
        ("channel", object(), "invalid"),
        ("member", np.bool_(False), "false"),
        ("member", 1, "true"),
        ("member", "false", "false"),
        ("member", "perhaps", "perhaps"),
        ("opened", date(1970, 1, 2), 86_400.0),
        ("opened", datetime(1970, 1, 2), 86_400.0),
        ("opened", np.datetime64("1970-01-02"), 86_400.0),
        ("opened", "1970-01-02", 86_400.0),
        ("opened", 86_400, 86_400.0),
        ("opened", np.datetime64("NaT"), "missing"),
        ("opened", "yesterday", "invalid"),
        ("purpose", "", 0.0),
        ("purpose", None, "missing"),
        ("purpose", 7, "invalid"),
    ],
)
def test_a_value_is_data_whatever_it_is(column, value, kept):
    assert Capture(MIXED)({**ROW, column: value})[column] == [kept]


def test_pandas_and_arrow_nulls_are_missing_and_their_dictionaries_are_names():
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    data = {
        "income": [1.0, None],
        "channel": ["web", None],
        "member": [True, None],
        "opened": [datetime(1970, 1, 2), None],
        "purpose": ["abc", None],
    }
    expected = {"income": [1.0], "channel": ["web"], "member": ["true"], "opened": [86_400.0], "purpose": [3.0]}
    frame = pandas.DataFrame(data).astype({"channel": "category", "income": "Float64", "member": "boolean"})
    table = arrow.table({**data, "channel": arrow.array(data["channel"]).dictionary_encode()})

    for form in (frame, pandas.concat([frame] * 40), table, arrow.concat_tables([table, table])):
        found = Capture(MIXED)(form)
        assert {name: values[:1] for name, values in found.items()} == expected
        assert {values[1] for values in found.values()} == {"missing"}
        assert {len(values) for values in found.values()} == {len(form)}


def test_a_missing_key_is_a_missing_value_and_a_key_too_many_is_named_once():
    capture = Capture(NUMBERS)

    found = capture(
        {"income": 1.0, "age": 2.0},
        {"income": 1.0, "age": 2.0, "debt": 3.0, "shoe size": 44},
        {"income": 1.0, "age": 2.0, "debt": 3.0, "shoe size": 44},
    )

    assert found["debt"] == ["missing", 3.0, 3.0]
    assert capture.encoder.ignored == {"shoe size"}


def test_embeddings_are_kept_beside_the_numbers():
    capture = Capture(EMBEDDED)

    found = capture(
        {"amount": 1.0, "history": [1, 2, 3]},
        {"amount": 2.0, "history": np.array([4.0, 5.0, 6.0])},
        {"amount": 3.0, "history": None},
        {"amount": 4.0, "history": [1, 2]},
        [5.0, [7, 8, 9]],
    )

    assert found["amount"] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert np.array_equal(found["history"], [[1, 2, 3], [4, 5, 6], [math.nan] * 3, [math.nan] * 3, [7, 8, 9]], equal_nan=True)


def test_a_block_with_categories_and_embeddings_is_a_table():
    capture = Capture((Column("channel", ColumnKind.CATEGORY), Column("amount"), Column("history", ColumnKind.EMBEDDING, size=2)))
    block = {
        "channel": Categories(np.array([1, 0, MISSING_CODE, INVALID_CODE]), ["shop", "web"]),
        "amount": np.array([1.0, 2.0, 3.0, math.nan]),
        "history": np.array([[1, 2], [3, 4], [5, 6], [math.nan, 8]], dtype=np.float32),
    }

    found = capture(block)

    assert found["channel"] == ["web", "shop", "missing", "invalid"]
    assert found["amount"] == [1.0, 2.0, 3.0, "missing"]
    assert np.array_equal(found["history"], [[1, 2], [3, 4], [5, 6], [math.nan] * 2], equal_nan=True)


def test_a_model_that_takes_embeddings_only_may_give_them_as_an_array():
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert Capture([Column("history", ColumnKind.EMBEDDING, size=3)])(vectors, vectors[0])["history"] == [
        *vectors.tolist(),
        vectors[0].tolist(),
    ]


def test_a_caller_who_invents_names_costs_no_memory_and_no_row():
    capture = Capture([Column("channel", ColumnKind.CATEGORY), Column("income")], capacity=3 * NAMES)

    for number in range(NAMES + 5_000):
        capture.encoder.put({"channel": f"invented {number}", "income": 1.0})
    block = capture.encoder.block(capture.ring.drain())

    assert len(block["channel"].names) <= NAMES + 256
    assert CategorySketch.of(block["channel"]).rows == NAMES + 5_000


@pytest.mark.parametrize(
    "name", ["\x00\x1b[2J\n", "x" * 1_000_000, "\ud800", ""], ids=["control characters", "a megabyte", "half a surrogate", "empty"]
)
def test_a_hostile_name_is_a_name(name):
    (found,) = Capture(MIXED)({**ROW, "channel": name})["channel"]

    assert found[:50] == name[:50]
    assert len(found) <= 120


@pytest.mark.parametrize("rows", [5, None, "text", np.zeros((2, 2)), np.zeros((1, 2, 3)), [1.0, 2.0], [[1.0, 2.0, 3.0], [1.0]]], ids=repr)
def test_what_is_no_row_is_refused_whole_or_from_there_on(rows):
    with pytest.raises(ValueError):
        Capture(NUMBERS)(rows)


def test_nothing_given_is_nothing_kept():
    assert Capture(NUMBERS)([], np.zeros((0, 3)), {"instances": []}) == {"income": [], "age": [], "debt": []}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@example({"channel": [], "member": 2.0})
@given(st.fixed_dictionaries({}, optional={one.name: json_values for one in (*MIXED, EMBEDDED[1])}))
def test_no_json_object_breaks_the_capture(row):
    capture = Capture((*MIXED, EMBEDDED[1]))

    try:
        found = capture(row)
    except ValueError:  # columns of different lengths
        return

    assert len({len(values) for values in found.values()}) == 1


def test_a_ring_keeps_the_newest_rows_in_order_and_counts_the_others():
    ring = Ring(2, 8)
    for number in range(20):
        ring.put([float(number), 0.0])
    first = ring.drain()
    ring.put_block(np.arange(40, dtype=np.float64).reshape(20, 2))
    second = ring.drain()

    assert first.rows[:, 0].tolist() == list(range(12, 20))
    assert first.lost == 12
    assert second.rows[:, 0].tolist() == list(range(24, 40, 2))
    assert second.lost == 12
    assert len(ring.drain().rows) == 0


def test_rows_and_vectors_of_many_threads_stay_together():
    ring = Encoder.ring(EMBEDDED, 50_000)
    encoder = Encoder(EMBEDDED, {}, ring)

    def write(offset):
        for number in range(2_000):
            value = float(offset * 10_000 + number)
            encoder.put({"amount": value, "history": [value, value, value]})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    drained = ring.drain()

    assert drained.lost == 0
    assert len(set(drained.rows[:, 0].tolist())) == 8_000
    assert np.array_equal(drained.vectors[0], np.repeat(drained.rows[:, :1], 3, axis=1).astype(np.float32))


def test_a_writer_that_was_suspended_for_a_whole_lap_is_ignored_and_counted_once():
    ring = Ring(1, 4)
    for number in range(8):
        ring.put([float(number)])
    first = ring.drain()
    ring._stamp[0] = 1  # the writer of the first row comes back and finishes
    second = ring.drain()
    ring.put([8.0])
    third = ring.drain()

    assert (first.rows[:, 0].tolist(), first.lost) == ([4.0, 5.0, 6.0, 7.0], 4)
    assert (len(second.rows), second.lost) == (0, 0)
    assert (third.rows[:, 0].tolist(), third.lost) == ([8.0], 0)
