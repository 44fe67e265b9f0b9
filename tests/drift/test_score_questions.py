"""What score says beyond which columns: since when, in which segments, together, at what cost; and what no input may do to it."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.collectors.drift.closer import CloserLook
from mlops_obs.collectors.drift.columns import Categories
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.thinning import thinned

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
RUN = CliRunner()
T0 = 1_700_000_000


def bank(rows, seed, correlation=0.6):
    """Times in order, two correlated numbers, an amount, a channel; a score, and a label that it predicts."""
    random = np.random.default_rng(seed)
    a, b = random.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], rows).T
    score = 1 / (1 + np.exp(-(a - 1)))
    return {
        "at": np.sort(random.random(rows)) * 10 * 86_400 + T0,
        "a": a,
        "b": b,
        "amount": random.lognormal(5, 0.5, rows),
        "channel": random.choice(["web", "branch", "phone"], rows, p=[0.5, 0.3, 0.2]).astype(object),
        "score": score,
        "bad": (random.random(rows) < score).astype(float),
    }


def write(path, table):
    columns = {name: pa.array(values, from_pandas=True) for name, values in table.items() if name != "at"}
    if "at" in table:
        columns["at"] = pa.array((table["at"] * 1e6).astype(np.int64), pa.timestamp("us"))
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bank")
    train = write(folder / "train.parquet", bank(8_000, 0))
    asked = ["--segment", "channel", "--time", "at", "--prediction", "score", "--label", "bad"]
    made = RUN.invoke(app, ["profile", train, "--out", str(folder / "reference.bin"), *asked])
    assert made.exit_code == 0, made.exception
    return str(folder / "reference.bin")


def score(reference, *tables):
    done = RUN.invoke(app, ["score", "-r", reference, *(word for one in tables for word in ("-c", one)), "-o", "json"])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    answer = json.loads(done.stdout)
    return done.exit_code, answer, {one["name"]: one for one in answer["features"]}


def test_a_change_of_one_segment_from_one_day_on_is_said_with_segment_and_time(reference, tmp_path):
    today = bank(6_000, 1)
    changed = (today["channel"] == "web") & (today["at"] > T0 + 6 * 86_400)
    today["amount"][changed] *= 100

    code, answer, features = score(reference, write(tmp_path / "today.parquet", today))

    amount = features["amount"]
    assert code == 3
    assert amount["since"]["earliest"] - 7_200 <= T0 + 6 * 86_400 <= amount["since"]["latest"] + 7_200
    assert "only web" in amount["words"]
    assert "since 2023-11-20" in amount["words"]
    assert [one["segment"] for one in answer["segments"] if one["alarm"]] == ["channel=web"]


def test_without_drift_no_segment_alarms(reference, tmp_path):
    code, answer, _ = score(reference, write(tmp_path / "today.parquet", bank(4_000, 2)))

    assert (code, answer["alarm"]) == (0, False)
    assert sorted(one["segment"] for one in answer["segments"]) == ["channel=branch", "channel=phone", "channel=web"]


def test_segments_that_the_reference_does_not_keep_are_refused(reference, tmp_path):
    today = write(tmp_path / "today.parquet", bank(500, 2))

    assert "OBS-DRF-039" in str(RUN.invoke(app, ["score", "-r", reference, "-c", today, "--segment", "region"]).exception)


def test_columns_that_move_together_in_another_way_are_named_with_unchanged_margins(reference, tmp_path):
    code, answer, features = score(reference, write(tmp_path / "today.parquet", bank(4_000, 3, correlation=-0.6)))

    assert code == 3
    assert "correlation" in {features["a"]["kind"], features["b"]["kind"]}
    assert answer["joint"]["correlation_p_value"] < 1e-6


def test_a_column_that_is_not_asked_for_alarms_by_no_way_round(reference, tmp_path):
    today = bank(4_000, 3)
    today["amount"] *= 100
    path = write(tmp_path / "today.parquet", today)

    done = RUN.invoke(app, ["score", "-r", reference, "-c", path, "-o", "json", "--features", "a,b"])

    assert (done.exit_code, json.loads(done.stdout)["alarm"]) == (0, False)


def test_a_long_block_is_thinned_evenly_and_a_short_one_is_kept():
    block = {"x": np.arange(20_000.0), "k": Categories(np.arange(20_000) % 2, ["even", "odd"])}

    found = thinned(block, 5_000)

    assert found["x"].tolist() == list(range(0, 20_000, 4))
    assert found["k"].codes.sum() == 0
    assert thinned(block, 20_000) is block


def test_joint_questions_can_be_left_out(reference, tmp_path):
    today = write(tmp_path / "today.parquet", bank(4_000, 3, correlation=-0.6))

    done = RUN.invoke(app, ["score", "-r", reference, "-c", today, "-o", "json", "--no-joint"])

    assert json.loads(done.stdout)["joint"] == {}


def test_errors_that_rise_while_features_stay_are_concept_drift(reference, tmp_path):
    today = bank(6_000, 4)
    today["bad"] = (np.random.default_rng(5).random(6_000) < np.clip(today["score"] * 1.8, 0, 1)).astype(float)

    code, _, features = score(reference, write(tmp_path / "today.parquet", today))

    assert (code, features["bad"]["kind"]) == (3, "concept")
    assert [name for name, one in features.items() if one["alarm"]] == ["bad"]


def test_files_in_their_order_say_in_which_one_it_began(tmp_path):
    train = write(tmp_path / "train.parquet", {"x": np.random.default_rng(0).normal(size=5_000), "k": np.arange(5_000) % 7.0})
    days = []
    for day in range(8):
        shift = 2.0 if day >= 5 else 0.0
        table = {"x": np.random.default_rng(day + 1).normal(size=400) + shift, "k": np.arange(400) % 7.0}
        days.append(write(tmp_path / f"day-{day}.parquet", table))

    _, _, features = score(train, *days)

    assert "since day-5.parquet" in features["x"]["words"]


def test_time_bins_double_until_few_are_left_and_lose_no_row():
    reference = ReferenceProfile.from_columns({"x": np.arange(1_000.0)})
    look = CloserLook(reference, ["x"], time="at")
    for year in range(5):
        at = T0 + year * 365 * 86_400 + np.arange(20_000) * 1_576.8
        look.add({"x": np.where(year >= 3, 5_000.0, np.arange(20_000) % 1_000.0), "at": np.append(at[:-1], np.nan)})

    began = look.since()["x"]

    assert abs(began.at - (T0 + 3 * 365 * 86_400)) < 5 * 86_400
    assert began.earliest <= began.at <= began.latest


def test_rows_without_a_segment_belong_to_the_others():
    names = Categories(np.array([0, 0, 1, -1, -2]), ["web", "branch"])
    reference = ReferenceProfile.from_block({"x": np.arange(5.0), "channel": names})
    look = CloserLook(reference, ["x"], segment="channel", segments=["web"])

    look.add({"x": np.arange(5.0), "channel": names})

    assert look.carriers({}) == {}
    assert look._by_segment["x"].sum(axis=1).tolist() == [2, 3]


HOSTILE = {
    "infinities": lambda table: table | {"a": np.where(np.arange(2_000) % 2, np.inf, -np.inf)},
    "nothing but nulls": lambda table: table | {"a": np.full(2_000, np.nan), "channel": np.full(2_000, None)},
    "a name of a megabyte": lambda table: table | {"channel": np.array(["x" * 1_000_000, *(["web"] * 1_999)], dtype=object)},
    "markup and escapes": lambda table: table | {"channel": np.array(["\x1b]0;owned\x07<script>\u202e\x00"] * 2_000, dtype=object)},
    "as many names as rows": lambda table: table | {"channel": np.array([f"c{place}" for place in range(2_000)], dtype=object)},
    "other types": lambda table: table | {"a": np.array(["x"] * 2_000, dtype=object), "channel": np.arange(2_000.0)},
    "one row": lambda table: {name: values[:1] for name, values in table.items()},
    "no row": lambda table: {name: values[:0] for name, values in table.items()},
    "no known column": lambda table: {"z": table["a"]},
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("output", ["json", "table"])
def test_no_input_makes_a_traceback_an_escape_or_json_that_is_none(reference, tmp_path, case, output):
    today = write(tmp_path / "today.parquet", HOSTILE[case](bank(2_000, 6)))

    done = RUN.invoke(app, ["score", "-r", reference, "-c", today, "-o", output])

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (0, 3)
    assert not any(ord(one) < 32 and one != "\n" for one in done.stdout)
    assert len(done.stdout) < 60_000
    if output == "json":
        json.loads(done.stdout, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_hundreds_of_thousands_of_names_are_judged_with_bounded_output(tmp_path):
    names = [f"customer-{place}" for place in range(200_000)]
    train = write(tmp_path / "train.parquet", {"x": np.array(names[:60_000], dtype=object), "k": np.arange(60_000) % 5.0})
    today = write(tmp_path / "today.parquet", {"x": np.array(names[60_000:], dtype=object), "k": np.arange(140_000) % 5.0})
    schema = tmp_path / "schema.yaml"
    schema.write_text("columns: {x: category}\n")

    done = RUN.invoke(app, ["score", "-r", train, "-c", today, "-o", "json", "--schema", str(schema), "--no-joint"])

    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert {one["name"] for one in json.loads(done.stdout)["features"]} == {"x", "k"}
    assert len(done.stdout) < 10_000
