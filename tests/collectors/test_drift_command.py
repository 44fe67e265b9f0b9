import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mlops_obs.adapters.tables import read_table
from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift import ReferenceProfile
from mlops_obs.errors import SpecError, UsageError

RUN = CliRunner()


def write_csv(path, rows, scale=1.0, seed=0):
    random = np.random.default_rng(seed)
    lines = ["income,age,city"]
    lines += [
        f"{income * scale},{age if age > 20 else ''},a"
        for income, age in zip(random.lognormal(8, 1, rows), random.integers(18, 90, rows), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def reference(tmp_path):
    out = str(tmp_path / "reference.bin")
    result = RUN.invoke(app, ["profile", write_csv(tmp_path / "train.csv", 4_000), "--out", out])
    assert (result.exit_code, result.stdout.split(": ")[1][:22]) == (0, "2 features, 4000 rows,")
    assert "not numeric: city" in result.stderr
    return out


def test_a_table_of_the_same_population_is_stable(reference, tmp_path):
    result = RUN.invoke(app, ["compare", reference, write_csv(tmp_path / "today.csv", 1_000, seed=1)])

    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "stable")


def test_a_table_in_another_unit_exits_3_and_names_the_feature_first(reference, tmp_path):
    result = RUN.invoke(app, ["compare", reference, write_csv(tmp_path / "today.csv", 1_000, scale=100, seed=1), "-o", "json"])

    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["verdict"]) == (3, "drifted")
    assert [(one["feature"], one["verdict"]) for one in answer["features"]] == [("income", "drifted"), ("age", "stable")]


def test_a_table_may_be_compared_with_a_table(tmp_path):
    train, today = write_csv(tmp_path / "train.csv", 4_000), write_csv(tmp_path / "today.csv", 1_000, seed=1)

    assert RUN.invoke(app, ["compare", train, today]).exit_code == 0


def test_parquet_and_csv_give_the_same_profile(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    csv = read_table(tmp_path / write_csv(tmp_path / "train.csv", 500))
    missing_as_null = {name: pa.array(values, from_pandas=True) for name, values in csv.columns.items()}
    pq.write_table(pa.table({**missing_as_null, "city": ["a"] * 500}), tmp_path / "train.parquet")

    parquet = read_table(tmp_path / "train.parquet")

    assert (csv.skipped, parquet.skipped) == (("city",), ("city",))
    assert ReferenceProfile.from_columns(parquet.columns).to_bytes() == ReferenceProfile.from_columns(csv.columns).to_bytes()


def test_a_profile_that_cannot_be_written_leaves_no_half_file(tmp_path):
    train = write_csv(tmp_path / "train.csv", 10)
    (tmp_path / "taken").mkdir()

    result = RUN.invoke(app, ["profile", train, "--out", str(tmp_path / "taken")])

    assert "OBS-DRF-006" in str(result.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken", "train.csv"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "code"),
    [
        ("none.csv", None, UsageError, "OBS-TAB-001"),
        ("table.xlsx", b"x", UsageError, "OBS-TAB-001"),
        ("text.csv", b"a,b\nx,y\n", SpecError, "OBS-TAB-002"),
        ("empty.csv", b"", SpecError, "OBS-TAB-002"),
        ("ragged.csv", b"a,b\n1,2\n3\n", SpecError, "ragged.csv:3: .*OBS-TAB-002"),
        ("latin.csv", b"a\n\xff\n", SpecError, "OBS-TAB-002"),
        ("broken.parquet", b"PAR1", SpecError, "OBS-TAB-002"),
    ],
)
def test_a_bad_table_is_said_with_its_place(tmp_path, name, content, kind, code):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(kind, match=code):
        read_table(tmp_path / name)


def test_a_file_that_is_no_profile_is_named(tmp_path, reference):
    (tmp_path / "notes.bin").write_bytes(b"hello")

    result = RUN.invoke(app, ["compare", str(tmp_path / "notes.bin"), str(tmp_path / "train.csv")])

    assert "notes.bin: not an intact reference profile" in str(result.exception)


@pytest.mark.stack
def test_evidently_draws_its_report(tmp_path):
    pytest.importorskip("evidently")
    html = tmp_path / "drift.html"
    train, today = write_csv(tmp_path / "train.csv", 500), write_csv(tmp_path / "today.csv", 300, scale=100, seed=1)

    result = RUN.invoke(app, ["report", train, today, "--html", str(html)])

    assert result.exit_code == 0, result.exception
    assert html.stat().st_size > 100_000
    assert "income" in html.read_text()
