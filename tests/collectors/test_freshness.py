import math
import sqlite3
from pathlib import Path

import pytest
import yaml

from mlops_obs.adapters.feature_store import SqliteFreshness, StoreUnavailable, load_config
from mlops_obs.collectors.freshness import FreshnessMeter
from mlops_obs.collectors.freshness.store import StoreConfig
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.metric_names import FEATURE_AGE, FEATURE_READS

CONFIG = Path(__file__).parents[2] / "collectors" / "freshness" / "collector.yaml"


def reads(meter):
    return {tuple(one.labels.values())[1:]: one.value for one in meter.read() if one.metric is FEATURE_READS}


def ages(readings):
    return {one.labels["feature_view"]: one.value for one in readings if one.metric is FEATURE_AGE}


def test_a_read_is_fresh_up_to_and_with_the_limit_late_beyond_and_missing_without_a_value():
    meter = FreshnessMeter("credit-risk", {"transactions": 60.0})

    for age in (0.0, 60.0, 60.001, None, math.nan, math.inf):
        meter.served("transactions", age)

    assert reads(meter) == {("transactions", "fresh"): 2, ("transactions", "late"): 2, ("transactions", "missing"): 2}


def test_counts_start_at_zero_and_no_age_is_invented():
    meter = FreshnessMeter("credit-risk", {"transactions": 60.0, "bureau": 86_400.0})

    assert sorted(reads(meter).values()) == [0] * 6
    assert ages(meter.read()) == {}
    assert all(tuple(one.labels) == one.metric.labels for one in meter.read())


def test_a_view_without_a_limit_becomes_no_label():
    meter = FreshnessMeter("credit-risk", {"transactions": 60.0})

    meter.served("customer-4711", 1.0)

    assert {view for view, _ in reads(meter)} == {"transactions"}


def test_the_age_of_a_view_is_that_of_its_youngest_recent_read_and_grows_when_the_store_stalls():
    meter = FreshnessMeter("credit-risk", {"transactions": 60.0})
    for age in (5.0, 2.0, 9.0, -3.0):
        meter.served("transactions", age)

    before = ages(meter.read())
    for _ in range(300):
        meter.served("transactions", 500.0)

    assert before == {"transactions": 0.0}
    assert ages(meter.read()) == {"transactions": 500.0}


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_limit_that_is_no_duration_is_refused(limit):
    with pytest.raises(SpecError, match="OBS-FRS-001"):
        FreshnessMeter("credit-risk", {"transactions": limit})


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "online.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE watermarks (feature_view TEXT PRIMARY KEY, read_up_to INTEGER NOT NULL)")
        connection.execute("CREATE TABLE clock (id INTEGER PRIMARY KEY, behind_ms INTEGER NOT NULL)")
        connection.executemany("INSERT INTO watermarks VALUES (?, ?)", [("transactions", 990_000), ("bureau", 400_000), ("secret", 1)])
    connection.close()
    return path


def test_a_store_is_asked_with_the_query_that_ships_and_unlisted_views_become_no_label(store):
    readings = SqliteFreshness(load_config(CONFIG), store, clock=lambda: 1_000.0).read()

    assert ages(readings) == {"transactions": 10.0, "bureau": 600.0}


def test_a_store_that_replays_old_events_is_not_old(store):
    with sqlite3.connect(store) as connection:
        connection.execute("INSERT INTO clock VALUES (0, 5000)")
    connection.close()

    readings = SqliteFreshness(load_config(CONFIG), store, clock=lambda: 1_000.0).read()

    assert ages(readings) == {"transactions": 5.0, "bureau": 595.0}


def test_the_shipped_query_reads_the_online_store_of_the_reference_stack(tmp_path):
    online = pytest.importorskip("feature_train_serve.features.online")
    path = tmp_path / "online.db"
    store = online.OnlineStore(path, create=True, wall_ms=lambda: 1_000_000)
    store.advance(990_000)
    store.close()

    readings = SqliteFreshness(load_config(CONFIG), path, clock=lambda: 1_000.0).read()

    assert ages(readings) == dict.fromkeys(load_config(CONFIG).views, 10.0)


@pytest.mark.parametrize("query", ["SELECT nonsense", "SELECT 1", "SELECT 'a', 'b'", "DELETE FROM watermarks"])
def test_a_store_that_cannot_be_asked_gives_its_reason_and_is_never_written(store, query):
    config = StoreConfig(service="s", store="", views=("transactions",), query=query)

    with pytest.raises(StoreUnavailable, match="OBS-FRS-004") as caught:
        SqliteFreshness(config, store).read()

    assert caught.value.reason == "store_unavailable"
    with sqlite3.connect(store) as connection:
        assert connection.execute("SELECT count(*) FROM watermarks").fetchone() == (3,)
    connection.close()


def test_a_missing_store_is_said_and_not_created(tmp_path):
    with pytest.raises(StoreUnavailable, match="OBS-FRS-004"):
        SqliteFreshness(load_config(CONFIG), tmp_path / "online.db").read()

    assert not (tmp_path / "online.db").exists()


def test_a_wrong_configuration_is_named_by_file_and_key(tmp_path):
    wrong = tmp_path / "collector.yaml"
    wrong.write_text(yaml.safe_dump({**yaml.safe_load(CONFIG.read_text()), "vews": ["a"]}))

    with pytest.raises(SpecError, match=r"collector\.yaml: vews: .*OBS-FRS-003"):
        load_config(wrong)
    with pytest.raises(UsageError, match="OBS-FRS-002"):
        load_config(tmp_path / "none.yaml")
