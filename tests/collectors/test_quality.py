import math
import random
import sqlite3
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.label_store import LabelsUnavailable, SqliteLabels, load_config
from mlops_obs.collectors.quality import QualityMeter
from mlops_obs.collectors.quality.cohorts import OTHER, Cohorts
from mlops_obs.collectors.quality.labels import LabelsConfig, cohorts_from
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.metric_names import QUALITY_BAD, QUALITY_EVENTS, QUALITY_START

CONFIG = Path(__file__).parents[2] / "collectors" / "quality" / "collector.yaml"
HOUR, DAY = 3_600, 86_400


def values(readings, metric):
    return {(one.labels["revision"], int(one.labels["cohort"])): one.value for one in readings if one.metric is metric}


def test_a_late_label_raises_the_cohort_in_which_the_prediction_was_made():
    clock = [10 * HOUR + 60.0]
    meter = QualityMeter(Cohorts("shop"), lambda: clock[0])
    meter.labelled("v1", 10 * HOUR + 5, wrong=False)
    clock[0] = 40 * HOUR

    meter.labelled("v1", 10 * HOUR + 59, wrong=True)

    assert values(meter.read(), QUALITY_EVENTS) == {("v1", 10 * HOUR): 2}
    assert values(meter.read(), QUALITY_BAD) == {("v1", 10 * HOUR): 1}
    assert values(meter.read(), QUALITY_START) == {("v1", 10 * HOUR): 10 * HOUR}
    assert all(tuple(one.labels) == one.metric.labels for one in meter.read())


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_once_every_label_has_come_the_cohorts_equal_an_oracle_that_knew_from_the_start(seed):
    chance = random.Random(seed)
    made = [(chance.uniform(0, 30 * HOUR), chance.random() < 0.1) for _ in range(300)]
    arrivals = sorted((at + chance.expovariate(1 / (6 * HOUR)), at, wrong) for at, wrong in made)
    table = Cohorts("shop")

    for _, at, wrong in arrivals:
        table.add("v1", at, 1, wrong)

    oracle: dict[tuple[str, int], list[int]] = {}
    for at, wrong in made:
        counts = oracle.setdefault(("v1", int(at // HOUR) * HOUR), [0, 0])
        counts[0] += 1
        counts[1] += wrong
    readings = table.readings(31 * HOUR)
    assert values(readings, QUALITY_EVENTS) == {key: counts[0] for key, counts in oracle.items()}
    assert values(readings, QUALITY_BAD) == {key: counts[1] for key, counts in oracle.items()}


def test_cohorts_are_forgotten_once_they_are_too_old_and_predictions_from_the_future_wait():
    table = Cohorts("shop", keep_seconds=DAY)
    for at in (0, 5 * HOUR, 30 * HOUR):
        table.add("v1", at, 1, 0)

    assert sorted(values(table.readings(29 * HOUR), QUALITY_EVENTS)) == [("v1", 5 * HOUR)]
    assert sorted(values(table.readings(30 * HOUR), QUALITY_EVENTS)) == [("v1", 30 * HOUR)], "a cohort is gone a day after its end"


def test_only_the_newest_models_become_labels_and_no_prediction_is_lost():
    table = Cohorts("shop", revisions=2)
    for number in range(5):
        table.add(f"v{number}", number * HOUR, 10, 1)
        table.add(f"v{number}", 0, 1, 1)

    found = values(table.readings(6 * HOUR), QUALITY_EVENTS)

    assert {revision for revision, _ in found} == {"v3", "v4", OTHER}
    assert sum(found.values()) == 55
    assert found[OTHER, 0] == 13


@pytest.mark.parametrize("counts", [(math.nan, 1, 0), (0, -1, 0), (0, 1, 2), (0, math.inf, 0), (math.inf, 1, 0), (0, math.nan, 0)])
def test_what_is_no_count_is_refused(counts):
    with pytest.raises(ValueError, match="are no counts"):
        Cohorts("shop").add("v1", *counts)


@pytest.mark.parametrize("lengths", [(0, DAY), (HOUR, 60), (1, 33 * DAY)])
def test_cohorts_that_nobody_could_keep_are_refused(lengths):
    with pytest.raises(SpecError, match="OBS-QLT-001"):
        Cohorts("shop", *lengths)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "labels.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE labelled_predictions (revision TEXT, made_at INTEGER, wrong INTEGER)")
        rows = [("v1", 100 * DAY + 10, 0), ("v1", 100 * DAY + 20, 1), ("v2", 100 * DAY + HOUR, 0), ("v1", 10 * DAY, 1)]
        connection.executemany("INSERT INTO labelled_predictions VALUES (?, ?, ?)", rows)
    connection.close()
    return path


def test_a_table_is_asked_with_the_query_that_ships_and_not_for_what_is_no_longer_kept(store):
    readings = SqliteLabels(load_config(CONFIG), store, clock=lambda: 101.0 * DAY).read()

    assert values(readings, QUALITY_EVENTS) == {("v1", 100 * DAY): 2, ("v2", 100 * DAY + HOUR): 1}
    assert values(readings, QUALITY_BAD) == {("v1", 100 * DAY): 1, ("v2", 100 * DAY + HOUR): 0}


def test_a_corrected_label_corrects_its_cohort(store):
    collector = SqliteLabels(load_config(CONFIG), store, clock=lambda: 101.0 * DAY)
    before = values(collector.read(), QUALITY_BAD)

    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE labelled_predictions SET wrong = 0")
    connection.close()

    assert before["v1", 100 * DAY] == 1
    assert values(collector.read(), QUALITY_BAD)["v1", 100 * DAY] == 0


def test_the_oldest_cohort_is_asked_for_as_a_whole():
    config = LabelsConfig(service="shop", store="", query="", keep="1d")
    now = 10 * DAY + 1800.0

    readings = cohorts_from(config, [("v1", config.since(now), 1, 0)], now)

    assert config.since(now) == 9 * DAY
    assert values(readings, QUALITY_EVENTS) == {("v1", 9 * DAY): 1}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nonsense",
        "SELECT 1",
        "SELECT 'v1', 'a', 1, 0",
        "SELECT 'v1', 1, 1, 2",
        "DELETE FROM labelled_predictions",
        "SELECT 'v1', NULL, 1, 0",
    ],
)
def test_a_table_that_cannot_be_asked_gives_its_reason_and_is_never_written(store, query):
    config = LabelsConfig(service="s", store="", query=query)

    with pytest.raises(LabelsUnavailable, match="OBS-QLT-004") as caught:
        SqliteLabels(config, store).read()

    assert caught.value.reason == "labels_unavailable"
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM labelled_predictions").fetchone() == (4,)
    connection.close()


def test_a_wrong_configuration_is_named_by_file_and_key(tmp_path):
    wrong = tmp_path / "collector.yaml"
    wrong.write_text(yaml.safe_dump({**yaml.safe_load(CONFIG.read_text()), "cohort": "an hour"}))

    with pytest.raises(SpecError, match=r"collector\.yaml: cohort: .*OBS-QLT-003"):
        load_config(wrong)
    with pytest.raises(UsageError, match="OBS-QLT-002"):
        load_config(tmp_path / "none.yaml")
