"""Tables that nobody would write on purpose: a clear answer or a coded error, bounded memory, and no row lost."""

import gzip
import http.server
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.tables import blocks, infer_table, sources
from mlops_obs.adapters.tables.csv_file import CsvFile
from mlops_obs.adapters.tables.words import INVALID, is_missing, moment, number, read_words
from mlops_obs.collectors.drift.columns import MISSING, Column, ColumnKind, Schema, is_invalid, rows_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import ObsError, SpecError, UsageError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def sketches(path, schema=None):
    schema = schema or infer_table([str(path)]).schema
    whole = None
    for block in blocks(str(path), schema):
        part = ReferenceProfile.from_block(block, schema)
        whole = part if whole is None else whole.merge(part)
    return whole.sketches if whole else {}


def test_a_few_bad_cells_leave_a_column_of_numbers_one_of_numbers(tmp_path):
    (tmp_path / "t.csv").write_text(
        "x,d\n" + "".join(f"{value},2026-01-{1 + value % 28:02}\n" for value in range(95)) + "abc,soon\nNA,\n1_000,null\n"
    )

    found = sketches(tmp_path / "t.csv")

    assert [(one.missing, one.invalid, one.rows) for one in found.values()] == [(1, 2, 98), (2, 1, 98)]


def test_codes_with_leading_zeros_are_names_and_not_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("zip,share\n" + "".join(f"{place % 7:05},0.{place}\n" for place in range(60)))

    schema = infer_table([str(tmp_path / "t.csv")]).schema

    assert [one.kind.value for one in schema] == ["category", "number"]
    assert set(sketches(tmp_path / "t.csv")["zip"].names) == {f"0000{digit}" for digit in range(7)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_of_any_delimiter_and_with_a_byte_order_mark_is_read(tmp_path, delimiter):
    text = f'\ufeffa{delimiter}b\r\n1{delimiter}"x\ny"\r\n\r\n2{delimiter}z\r\n'
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8", newline="") as file:
        file.write(text)

    found = sketches(tmp_path / "t.csv.gz")

    assert (found["a"].rows, dict(found["b"].names)) == (2, {"x\ny": 1, "z": 1})


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("empty.csv", b"", SpecError, "empty.*OBS-TAB-002"),
        ("ragged.csv", b"a,b\n1,2\n3\n", SpecError, "ragged.csv:3: 1 values under 2 column names.*OBS-TAB-002"),
        ("latin.csv", b"a\n\xff\n", SpecError, "OBS-TAB-002"),
        ("twice.csv", b"a,b,a\n1,2,3\n", SpecError, "called a;.*OBS-TAB-005"),
        ("open.csv", b'a\n"' + b"x\n" * 9_000_000, SpecError, "OBS-TAB-00[24]"),
        ("line.csv", b"a" * 17_000_000, SpecError, "OBS-TAB-004"),
        ("broken.csv.gz", b"\x1f\x8b rubbish", SpecError, "OBS-TAB-002"),
        ("broken.parquet", b"PAR1", SpecError, "not readable as Parquet.*OBS-TAB-002"),
        ("empty.parquet", b"", SpecError, "OBS-TAB-002"),
        ("broken.arrow", b"ARROW1 rubbish", SpecError, "not readable as Arrow.*OBS-TAB-002"),
        ("table.xlsx", b"x", UsageError, "OBS-TAB-001"),
    ],
)
def test_a_bad_file_is_said_with_its_place(tmp_path, name, content, error, said):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=said):
        sketches(tmp_path / name)


def test_a_table_without_rows_has_columns_and_no_rows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n")
    pq.write_table(pa.table({"a": pa.array([], pa.float64()), "c": pa.array([], pa.string())}), tmp_path / "t.parquet")

    assert infer_table([str(tmp_path / "t.csv")]).schema.names == ("a", "b")
    assert [(one.rows, name) for name, one in sketches(tmp_path / "t.parquet").items()] == [(0, "a"), (0, "c")]


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "t.parquet")

    with pytest.raises(SpecError, match="called a;.*OBS-TAB-005"):
        sketches(tmp_path / "t.parquet")


def test_ten_thousand_columns_are_read_in_bounded_blocks(tmp_path):
    pq.write_table(pa.table({f"c{place}": np.arange(50.0) * place for place in range(10_000)}), tmp_path / "t.parquet")

    found = infer_table([str(tmp_path / "t.parquet")])
    rows = [rows_of(block) for block in blocks(str(tmp_path / "t.parquet"), found.schema)]

    assert len(found.schema.names) == 10_000
    assert sum(rows) == 50


def test_texts_of_a_megabyte_are_read_a_few_at_a_time(tmp_path):
    texts = pa.array([f"{place}" + "\x1b[2J" + "x" * 1_000_000 for place in range(12)])
    pq.write_table(pa.table({"t": texts, "x": np.arange(12.0) ** 2}), tmp_path / "t.parquet")
    schema = Schema((Column("t", ColumnKind.CATEGORY), Column("x")))

    found = sketches(tmp_path / "t.parquet", schema)

    assert infer_table([str(tmp_path / "t.parquet")]).schema["t"].kind is ColumnKind.TEXT
    assert (found["t"].rows, len(found["t"].names), max(map(len, found["t"].names)) <= 120) == (12, 12, True)


def test_a_column_of_a_million_names_takes_the_memory_of_twenty_thousand(tmp_path):
    names = pa.array([f"name {number}" for number in range(200_000)])
    pq.write_table(pa.table({"c": names}), tmp_path / "t.parquet")

    sketch = sketches(tmp_path / "t.parquet", Schema((Column("c", ColumnKind.CATEGORY),)))["c"]

    assert (sketch.rows, len(sketch.names) <= 20_000, sketch.level > 0) == (200_000, True, True)


def test_names_that_are_no_utf_8_are_names_with_their_bytes_escaped(tmp_path):
    broken = pa.array([b"caf\xe9", b"tea"] * 20).view(pa.string())
    pq.write_table(pa.table({"c": broken, "x": np.arange(40.0) ** 2}), tmp_path / "t.parquet")
    as_text = Schema((Column("c", ColumnKind.TEXT),))

    assert dict(sketches(tmp_path / "t.parquet")["c"].names) == {"caf\\xe9": 20, "tea": 20}
    assert sketches(tmp_path / "t.parquet", as_text)["c"].rows == 40


def test_huge_integers_half_floats_and_wide_decimals_are_numbers(tmp_path):
    table = pa.table(
        {
            "u": pa.array([2**64 - 1, 3], pa.uint64()),
            "h": pa.array(np.array([1.5, np.nan], dtype=np.float16)),
            "d": pa.array([10**60, None], pa.decimal256(70, 2)),
            "t": pa.array([1, 2], pa.time32("s")),
            "e": pa.array([10**15, 2], pa.duration("us")),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")

    found = sketches(tmp_path / "t.parquet")

    assert [one.maximum for one in found.values()] == [2.0**64, 1.5, 1e60, 2.0, 1e9]


@given(st.text(max_size=30))
def test_a_word_is_a_number_only_if_it_looks_like_one(word):
    value = number(word)

    assert is_invalid(np.array([value]))[0] or float(word) == value or word.strip().lower().endswith("inf")


@given(
    st.lists(st.text(alphabet="01.+-eEnaNA _", max_size=6) | st.floats().map(str) | st.sampled_from(["", "NA", "-nan", "NaN"]), max_size=8)
)
@settings(max_examples=300)
def test_a_column_is_read_as_its_words_are_one_by_one(words):
    together = read_words(words, ColumnKind.NUMBER)

    alone = [MISSING if is_missing(word) else number(word) for word in words]
    assert together.view(np.uint64).tolist() == np.array(alone, dtype=np.float64).view(np.uint64).tolist()


@pytest.mark.parametrize("word", ["1_000", "0x10", "\uff11\uff12", "1e", "", "--1", "nan", "1,5", "9" * 500])
def test_what_python_would_take_for_a_number_and_a_table_does_not_mean_is_invalid(word):
    assert is_invalid(np.array([number(word)]))[0]


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("1970-01-02", 86_400.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01 00:00:01.5Z", 1.5),
        ("2026-13-01", INVALID),
        ("soon", INVALID),
    ],
)
def test_moments_are_seconds_in_utc(word, seconds):
    assert moment(word) == seconds or (np.isnan(seconds) and np.isnan(moment(word)))


@given(st.binary(max_size=400) | st.text(alphabet='a1,;"\n\r\t|NA.\x00é', max_size=200).map(lambda text: text.encode()))
@settings(max_examples=300, deadline=None)
def test_any_bytes_as_csv_are_a_table_or_a_coded_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)

    try:
        kinds = CsvFile(path, "fuzz.csv").kinds()
        for block in CsvFile(path, "fuzz.csv").blocks([Column(name, kind) for name, kind in kinds.items()]):
            assert ReferenceProfile.from_block(block).rows == rows_of(block)
    except ObsError as error:
        if not error.code.startswith("OBS-TAB-"):
            raise


@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_parquet_file_with_bytes_changed_is_a_table_or_a_coded_error(tmp_path_factory, place, noise):
    path = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    pq.write_table(pa.table({"x": np.arange(40.0), "c": ["a", "b"] * 20}), path)
    content = bytearray(path.read_bytes())
    at = place % len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(content)

    try:
        sketches(path)
    except ObsError as error:
        if not error.code.startswith("OBS-TAB-"):
            raise


@pytest.fixture
def server(tmp_path):
    handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def test_a_table_is_read_from_an_address_and_a_wrong_one_is_said_without_its_secret(server, tmp_path, capfd):
    pq.write_table(pa.table({"x": np.arange(40.0) ** 2}), tmp_path / "t.parquet")
    (tmp_path / "plain").write_text("x\n1\n3\n")

    assert sketches(f"{server}/t.parquet?token=secret")["x"].rows == 40
    assert sketches(f"{server}/plain")["x"].rows == 2
    assert sketches((tmp_path / "t.parquet").as_uri())["x"].rows == 40
    with pytest.raises(UsageError, match="HTTP 404.*OBS-TAB-006") as caught:
        sketches(f"{server}/gone.csv?token=secret")
    assert "secret" not in str(caught.value)


def test_an_address_that_returns_too_much_is_cut_off(server, tmp_path):
    (tmp_path / "t.csv").write_bytes(b"x\n" + b"1\n" * 100_000)

    with pytest.raises(SpecError, match="OBS-TAB-007"), sources.local(f"{server}/t.csv", limit=1_000):
        pass
