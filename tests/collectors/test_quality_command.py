import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli.drift import app
from mlops_obs.errors import UsageError

RUN = CliRunner()
DAY = 86_400.0
NOW = 1_767_225_600.0  # 2026-01-01
AT = ["--at", "2026-01-01", "--deadline", "30d", "--threshold", "0.3"]
CONFIG = Path(__file__).parents[2] / "collectors" / "quality" / "collector.yaml"


def predictions(concept_from=None, rows=6_000):
    """Half a year of predictions before NOW; labels come after 10 to 30 days."""
    rng = np.random.default_rng(1)
    made = np.sort(NOW - rng.uniform(0, 180, rows) * DAY)
    score = rng.beta(2, 5, rows)
    odds = np.log(score / (1 - score)) + (1.2 * (made >= concept_from) if concept_from else 0)
    label = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    came = made + rng.uniform(10, 30, rows) * DAY
    known = came <= NOW
    return {"made_at": made, "score": score, "label": np.where(known, label, np.nan), "labelled_at": np.where(known, came, np.nan)}


def parquet(path, table, moments=True):
    columns = dict(table)
    if moments:
        for name in ("made_at", "labelled_at"):
            seconds = columns[name]
            micro = np.nan_to_num(seconds * 1e6).astype(np.int64)
            columns[name] = pa.array(micro, pa.timestamp("us"), mask=np.isnan(seconds))
    pq.write_table(pa.table(columns), path)
    return str(path)


def run(*arguments):
    return RUN.invoke(app, ["performance", *arguments])


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    return parquet(tmp_path_factory.mktemp("labels") / "calm.parquet", predictions())


def test_each_cohort_says_how_much_of_it_is_in_and_whether_it_can_be_believed(calm):
    result = run(calm, *AT)

    assert result.exit_code == 0
    assert "scores mean what they did" in result.output
    assert "cohorts have too few labels; their scores promise AUC" in result.output
    assert max(len(line) for line in result.output.splitlines()) <= 80


def test_concept_drift_ends_with_three_and_says_since_when(tmp_path):
    began = NOW - 100 * DAY
    result = run(parquet(tmp_path / "labels.parquet", predictions(concept_from=began)), *AT, "-o", "json")

    assert result.exit_code == 3
    (model,) = json.loads(result.output)["models"].values()
    last = model["concept"]["findings"][-1]
    assert abs(last["since"] - began) < 8 * DAY, "found again and again, it is one drift"
    assert "bad labels where the scores say" in last["words"]


@pytest.mark.parametrize("factor", [1, 1_000])
def test_moments_may_be_seconds_or_milliseconds_and_labels_words(tmp_path, calm, factor):
    table = predictions()
    for name in ("made_at", "labelled_at"):
        table[name] = table[name] * factor
    table["label"] = [None if one != one else "true" if one else "false" for one in table["label"]]
    table["model"] = ["v7"] * len(table["score"])

    result = run(parquet(tmp_path / "labels.parquet", table, moments=False), *AT, "--revision", "model", "-o", "json")
    expected = run(calm, *AT, "-o", "json")

    assert result.exit_code == 0
    (one,), (other,) = (json.loads(answer.output)["models"].values() for answer in (result, expected))
    assert [cohort["labelled"] for cohort in one["cohorts"]] == [cohort["labelled"] for cohort in other["cohorts"]]


def test_a_service_that_is_too_young_is_told_so(calm):
    result = run(calm, "--at", "2026-01-01", "--deadline", "365d")

    assert result.exit_code == 0
    assert "nothing is ripe yet: labels are too young or too few" in result.output
    assert (
        json.loads(run(calm, "--at", "2026-01-01", "--deadline", "365d", "-o", "json").output)["models"]["all predictions"]["ripe_age_days"]
        is None
    )


def test_the_store_of_the_collector_is_asked_with_its_configuration(tmp_path):
    table = predictions()
    with sqlite3.connect(tmp_path / "labels.db") as connection:
        connection.execute("CREATE TABLE scored_predictions (revision TEXT, made_at REAL, score REAL, label INTEGER, labelled_at REAL)")
        rows = zip(*(column.tolist() for column in table.values()), strict=True)
        clean = [("v1", *(None if value != value else value for value in row)) for row in rows]
        connection.executemany("INSERT INTO scored_predictions VALUES (?, ?, ?, ?, ?)", clean)
    connection.close()
    config = tmp_path / "collector.yaml"
    query = "SELECT revision, made_at, score, label, labelled_at FROM scored_predictions WHERE made_at >= :since"
    config.write_text(yaml.safe_dump({**yaml.safe_load(CONFIG.read_text()), "performance": {"query": query, "deadline": "30d"}}))

    result = run("--config", str(config), "--at", "2026-01-01")

    assert result.exit_code == 0
    assert result.output.startswith("v1: scores mean what they did")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "OBS-QLT-007"),
        (["--config", str(CONFIG)], "section `performance`.*OBS-QLT-007"),
        (["TABLE", "--score", "points"], "no column points.*OBS-QLT-006"),
        (["TABLE", "--at", "soon"], "OBS-QLT-008"),
        (["TABLE", "--deadline", "soon"], "--deadline.*OBS-DUR-001"),
        (["none.parquet"], "OBS-TAB-001"),
    ],
)
def test_what_cannot_be_measured_is_said(calm, arguments, problem):
    result = run(*(calm if one == "TABLE" else one for one in arguments))

    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match=problem):
        raise result.exception
