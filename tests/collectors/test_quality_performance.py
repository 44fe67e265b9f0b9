import sqlite3
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlops_obs.adapters.label_store import LabelsUnavailable, SqliteLabels, load_config
from mlops_obs.collectors.quality.labels import LabelsConfig
from mlops_obs.collectors.quality.performance import AUC, PerformanceSettings, Predictions, measure
from mlops_obs.collectors.quality.scored import PerformanceConfig, measured, readings_of
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import (
    QUALITY_BOUND,
    QUALITY_CONCEPT,
    QUALITY_CONCEPT_DRIFTS,
    QUALITY_ESTIMATE_ERROR,
    QUALITY_MATURITY,
    QUALITY_PERFORMANCE,
    QUALITY_RIPE_AGE,
    QUALITY_RIPE_START,
)

CONFIG = Path(__file__).parents[2] / "collectors" / "quality" / "collector.yaml"
DAY = 86_400.0
NOW = 200 * DAY
QUERY = "SELECT revision, made_at, score, label, labelled_at FROM scored_predictions WHERE made_at >= :since"
ASKED = PerformanceConfig(query=QUERY, deadline="30d", keep="300d", cohort="7d")


def rows_of(revision, first_day, last_day, rows, seed=0):
    """Scored predictions whose labels come after 10 to 30 days, as known at NOW."""
    rng = np.random.default_rng(seed)
    made = np.sort(rng.uniform(first_day * DAY, last_day * DAY, rows))
    score = rng.beta(2, 5, rows)
    label = (rng.random(rows) < score).astype(int)
    came = made + rng.uniform(10, 30, rows) * DAY
    return [
        (revision, float(at), float(p), int(y) if then <= NOW else None, float(then) if then <= NOW else None)
        for at, p, y, then in zip(made, score, label, came, strict=True)
    ]


def values(readings, metric):
    return {tuple(value for key, value in one.labels.items() if key != "service"): one.value for one in readings if one.metric is metric}


@pytest.fixture(scope="module")
def found():
    return measured(ASKED, rows_of("v1", 20, 190, 8_000) + rows_of("v2", 180, 200, 1_000, seed=1), NOW)


def test_a_ripe_cohort_has_realised_performance_with_its_interval_and_every_model_an_estimate(found):
    readings = readings_of("credit-risk", found)

    performance = values(readings, QUALITY_PERFORMANCE)
    assert set(performance) == {
        ("v1", "auc", "estimated"),
        ("v1", "error", "estimated"),
        ("v1", "auc", "realised"),
        ("v1", "error", "realised"),
        ("v1", "brier", "realised"),
        ("v2", "auc", "estimated"),
        ("v2", "error", "estimated"),
    }
    bounds = values(readings, QUALITY_BOUND)
    for measure_name in ("auc", "error", "brier"):
        assert bounds["v1", measure_name, "low"] < performance["v1", measure_name, "realised"] < bounds["v1", measure_name, "high"]
    assert all(tuple(one.labels) == one.metric.labels for one in readings)


def test_a_model_without_a_ripe_cohort_has_no_series_that_could_page(found):
    readings = readings_of("credit-risk", found)

    for metric in (QUALITY_RIPE_START, QUALITY_CONCEPT, QUALITY_CONCEPT_DRIFTS):
        assert set(values(readings, metric)) == {("v1",)}
    assert 0 < values(readings, QUALITY_MATURITY)["v2",] < 0.2
    assert values(readings, QUALITY_CONCEPT_DRIFTS)["v1",] == 0


def test_the_label_clock_says_when_a_cohort_is_ripe(found):
    readings = readings_of("credit-risk", found)

    age = values(readings, QUALITY_RIPE_AGE)[()]
    assert 27 * DAY < age < 30 * DAY
    (start,) = values(readings, QUALITY_RIPE_START).values()
    assert start + 7 * DAY + age <= NOW < start + 14 * DAY + age


def test_estimates_are_held_against_the_labels_of_ripe_cohorts(found):
    errors = values(readings_of("credit-risk", found), QUALITY_ESTIMATE_ERROR)

    assert set(errors) == {("v1", "auc"), ("v1", "error")}
    assert 0 < errors["v1", "auc"] < 0.08


def test_a_young_service_knows_only_short_delays_and_so_has_no_clock():
    young = measured(ASKED, rows_of("v1", 180, 200, 2_000), NOW)

    assert young["v1"].ripe_age == float("inf")
    assert young["v1"].newest_ripe is None
    assert not any(one.realised for one in young["v1"].cohorts)


def test_predictions_without_any_label_value_seen_are_not_called_good():
    made = np.linspace(0, 100 * DAY, 2_000)
    nothing = np.full(2_000, np.nan)

    found = measure(Predictions(made, np.full(2_000, 0.1), nothing, nothing), 100 * DAY, PerformanceSettings(7 * DAY, 30 * DAY))

    assert found.newest_ripe is None
    assert all(one.maturity == 0 and not one.realised for one in found.cohorts)
    assert found.cohorts[0].expected[AUC] == pytest.approx(0.5)


def test_only_the_newest_models_are_told_apart():
    rows = [row for number in range(4) for row in rows_of(f"v{number}", 10 + 20 * number, 100 + 20 * number, 300, seed=number)]

    assert set(measured(ASKED, rows, NOW, revisions=2)) == {"v2", "v3"}
    assert measured(ASKED, [], NOW) == {}
    assert readings_of("credit-risk", {}) == []


@pytest.mark.parametrize("row", [("v1", float("nan"), 0.5, 0, 1.0), ("v1", 1.0, 0.5, 2, 1.0), ("v1", 1.0, "high", 0, 1.0)])
def test_a_row_that_is_no_prediction_is_refused(row):
    with pytest.raises(ValueError):
        measured(ASKED, [row], NOW)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "labels.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE labelled_predictions (revision TEXT, made_at INTEGER, wrong INTEGER)")
        connection.execute("CREATE TABLE scored_predictions (revision TEXT, made_at REAL, score REAL, label INTEGER, labelled_at REAL)")
        connection.executemany("INSERT INTO scored_predictions VALUES (?, ?, ?, ?, ?)", rows_of("v1", 20, 190, 3_000))
        connection.execute("INSERT INTO scored_predictions VALUES ('v1', 1728000, NULL, NULL, NULL)")
    connection.close()
    return path


def config(**changes):
    return LabelsConfig(**{**yaml.safe_load(CONFIG.read_text()), "performance": {**ASKED.model_dump(), **changes}})


def test_the_table_is_asked_for_performance_only_as_often_as_it_is_due(store):
    now = [NOW]
    collector = SqliteLabels(config(), store, clock=lambda: now[0])
    first = values(collector.read(), QUALITY_MATURITY)

    with sqlite3.connect(store) as connection:
        connection.execute("DELETE FROM scored_predictions WHERE label IS NULL")
    connection.close()
    now[0] += 60
    soon = values(collector.read(), QUALITY_MATURITY)
    now[0] += 3_600
    later = values(collector.read(), QUALITY_MATURITY)

    assert first == soon
    assert first["v1",] < later["v1",] == 1


def test_a_table_larger_than_agreed_is_not_read_into_memory(store):
    with pytest.raises(LabelsUnavailable, match="more than 2000 predictions are kept.*OBS-QLT-005"):
        SqliteLabels(config(most_rows=2_000), store, clock=lambda: NOW).read()


@pytest.mark.parametrize("query", ["SELECT nonsense", "SELECT 1", "SELECT 'v1', 1, 'high', 0, 1", "SELECT 'v1', NULL, 0.5, 0, 1"])
def test_a_query_that_gives_no_predictions_gives_its_reason(store, query):
    with pytest.raises(LabelsUnavailable, match="OBS-QLT-004"):
        SqliteLabels(config(query=query), store, clock=lambda: NOW).read()


def test_a_person_can_ask_for_the_cohorts_themselves(store):
    (found,) = SqliteLabels(config(), store, clock=lambda: NOW).performance().values()

    assert sum(one.predictions for one in found.cohorts) == 3_000
    assert SqliteLabels(load_config(CONFIG), store, clock=lambda: NOW).performance() == {}


def test_a_configuration_of_before_stays_valid_and_the_example_of_performance_is_one(tmp_path):
    assert load_config(CONFIG).performance is None
    example = CONFIG.read_text().split("# performance:", 1)[1].replace("\n# ", "\n")
    path = tmp_path / "collector.yaml"
    path.write_text(CONFIG.read_text().split("# performance:", 1)[0] + "performance:" + example)

    assert load_config(path).performance.deadline == "180d"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"deadline": "a while"}, "performance.deadline"),
        ({"calibration": [[0.5, 0.1], [0.2, 0.3]]}, "must rise"),
        ({"ripe": 0.1}, "performance.ripe"),
        ({"unknown": 1}, "performance.unknown"),
    ],
)
def test_a_wrong_performance_section_is_named_by_its_key(tmp_path, change, problem):
    path = tmp_path / "collector.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(CONFIG.read_text()), "performance": {"query": QUERY, "deadline": "180d", **change}}))

    with pytest.raises(SpecError, match=rf"{problem}.*OBS-QLT-003"):
        load_config(path)
