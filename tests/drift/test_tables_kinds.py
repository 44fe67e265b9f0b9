"""What a table's columns are taken for, and that Parquet, CSV, Arrow in memory and several files of one table say the same."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from mlops_obs.adapters.tables import block_of_arrow, blocks, expand, infer_table, profile_of_arrow, read_overrides, schema_of_arrow
from mlops_obs.collectors.drift.columns import ColumnKind, Role, Schema
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError, UsageError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pc = pytest.importorskip("pyarrow.csv")

ROWS = 3_000


def lender(rows=ROWS, seed=0):
    random = np.random.default_rng(seed)
    day = dt.date(2020, 1, 1)
    return pa.table(
        {
            "row": np.arange(rows),
            "at": pa.array(np.arange(rows) * 10**6, pa.timestamp("us")),
            "income": pa.array(np.where(random.random(rows) < 0.1, np.nan, random.lognormal(8, 1, rows)), from_pandas=True),
            "age": pa.array(random.integers(18, 90, rows), pa.int16()),
            "channel": pa.array(random.choice(["web", "shop", ""], rows)),
            "product": pa.array(random.choice(["loan", "card"], rows)).dictionary_encode(),
            "customer": [f"customer-{number:05}" for number in random.permutation(rows)],
            "owner": pa.array(random.random(rows) < 0.3, mask=random.random(rows) < 0.1),
            "opened": pa.array([day + dt.timedelta(days=int(days)) for days in random.integers(0, 400, rows)]),
            "limit": pa.array([Decimal("1500.50"), Decimal("99999999999999.99")] * (rows // 2)),
            "nothing": pa.nulls(rows),
        }
    )


def profile_of(sources, schema):
    whole = None
    for source in sources:
        for block in blocks(source, schema):
            part = ReferenceProfile.from_block(block, schema)
            whole = part if whole is None else whole.merge(part)
    return whole


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    table = lender()
    pq.write_table(table, folder / "one.parquet", row_group_size=700)
    pc.write_csv(table, folder / "one.csv")
    with pa.ipc.new_file(str(folder / "one.arrow"), table.schema) as file:
        file.write_table(table, max_chunksize=999)
    (folder / "many").mkdir()
    for part in range(3):
        pq.write_table(table.slice(part * 1000, 1000), folder / "many" / f"part-{part}.parquet")
    (folder / "many" / "_SUCCESS").touch()
    return folder


def test_kinds_are_inferred_and_what_grows_with_the_rows_is_left_out(files):
    found = infer_table([str(files / "one.parquet")])

    assert {one.name: one.kind.value for one in found.schema} == {
        "income": "number",
        "age": "number",
        "channel": "category",
        "product": "category",
        "customer": "text",
        "owner": "boolean",
        "opened": "timestamp",
        "limit": "number",
        "nothing": "number",
    }
    assert {name: why.split(":")[0] for name, why in found.left_out.items()} == {
        "row": "grows by one with each row",
        "at": "grows from row to row",
    }
    assert found.schema["opened"].origin > 1.5e9


@pytest.mark.parametrize("name", ["one.parquet", "one.csv", "one.arrow", "many", "many/*.parquet"])
def test_every_form_of_a_table_gives_the_same_bytes(files, name):
    schema = infer_table([str(files / "one.parquet")]).schema
    table = lender()

    sources = expand([str(files / name)])

    assert infer_table(sources).schema == schema
    assert profile_of(sources, schema).to_bytes() == ReferenceProfile.from_block(block_of_arrow(table, schema), schema).to_bytes()


def test_a_table_in_memory_is_read_without_a_file():
    schema = schema_of_arrow(lender())

    assert {"row", "at"} < set(schema.names)  # nothing says here what a person leaves out
    assert profile_of_arrow(lender()).to_bytes() == ReferenceProfile.from_block(block_of_arrow(lender(), schema), schema).to_bytes()


def test_dictionaries_that_differ_from_chunk_to_chunk_are_one_column():
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", "c", None]).dictionary_encode()]
    table = pa.table({"c": pa.chunked_array(chunks)})
    schema = schema_of_arrow(table)

    sketch = ReferenceProfile.from_block(block_of_arrow(table, schema), schema).sketches["c"]

    assert (dict(sketch.names), sketch.missing) == ({"a": 1, "b": 2, "c": 1}, 1)


def test_embeddings_are_read_as_vectors_and_nested_columns_are_left_out_by_name(tmp_path):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 4)
    ragged = pa.array([[1.0], [1.0, 2.0]])
    table = pa.table(
        {"v": vectors, "l": pa.array([[1.0, 2.0], None]), "ragged": ragged, "s": pa.array([{"a": 1}] * 2), "b": pa.array([b"x"] * 2)}
    )
    pq.write_table(table, tmp_path / "t.parquet")

    found = infer_table([str(tmp_path / "t.parquet")])
    (block,) = blocks(str(tmp_path / "t.parquet"), found.schema)

    assert [(one.name, one.kind, one.size) for one in found.schema] == [("v", ColumnKind.EMBEDDING, 4), ("l", ColumnKind.EMBEDDING, 2)]
    assert set(found.left_out) == {"ragged", "s", "b"}
    assert block["v"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert np.isnan(block["l"][1]).all()


def test_a_schema_of_a_person_overrides_kinds_and_roles(files, tmp_path):
    (tmp_path / "schema.yaml").write_text(
        "columns:\n  age: category\n  customer: id\n  row: {kind: number, role: feature}\n  owner: label\n  channel: segment\n  at: time\n"
    )

    found = infer_table([str(files / "one.parquet")], read_overrides(tmp_path / "schema.yaml"))
    block = next(iter(blocks(str(files / "one.parquet"), found.readable)))

    assert found.schema["age"].kind is ColumnKind.CATEGORY
    assert "44" in block["age"].names
    assert found.schema["owner"].role is Role.LABEL
    assert "row" in found.schema.names
    assert found.left_out == {"customer": "id, by the schema", "at": "the time of the row"}
    assert (found.segment.name, found.time.name) == ("channel", "at")
    assert "at" in block


def test_everything_that_is_wrong_in_a_schema_is_said_at_once(files, tmp_path):
    (tmp_path / "schema.yaml").write_text("columns:\n  age: colour\n  income: {kin: number}\n  a: time\n  b: time\n")

    with pytest.raises(SpecError, match="age: role 'colour' is unknown; income: kin 'number' is unknown; more than one time.*OBS-TAB-008"):
        read_overrides(tmp_path / "schema.yaml")

    (tmp_path / "schema.yaml").write_text("columns: {agee: number}")
    with pytest.raises(SpecError, match="no column agee.*OBS-TAB-008"):
        infer_table([str(files / "one.parquet")], read_overrides(tmp_path / "schema.yaml"))


def test_what_the_reference_knows_is_read_as_the_reference_knows_it(files, tmp_path):
    known = infer_table([str(files / "one.parquet")]).schema
    changed = lender().drop(["channel"]).append_column("extra", pa.array(["x"] * ROWS)).set_column(3, "age", pa.array(["forty"] * ROWS))
    pq.write_table(changed, tmp_path / "now.parquet")

    found = infer_table([str(tmp_path / "now.parquet")], known=known, ignore=["extra"])
    current = profile_of([str(tmp_path / "now.parquet")], found.schema)

    assert found.schema == known
    assert "channel" not in current.sketches
    assert current.sketches["age"].invalid == ROWS


def test_every_table_that_is_not_there_is_named_at_once(tmp_path):
    (tmp_path / "empty").mkdir()

    with pytest.raises(UsageError, match="gone.csv: there is no such table; .*empty: the folder holds no table.*OBS-TAB-001"):
        expand([str(tmp_path / "gone.csv"), str(tmp_path / "empty")])


def test_a_folder_is_read_in_the_order_of_its_names(files):
    assert [source[-14:] for source in expand([str(files / "many")])] == [f"part-{part}.parquet"[-14:] for part in range(3)]
    assert Schema(()).names == ()
