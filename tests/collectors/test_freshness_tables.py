"""Upstream tables: their age, their schedule, and features that are stale because of them."""

import json
import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.feature_store import load_config
from mlops_obs.adapters.table_freshness import TableFreshness, TableUnavailable, limits_of
from mlops_obs.collectors.drift.causes import Cause, cause_of
from mlops_obs.collectors.drift.results import Change
from mlops_obs.collectors.freshness import Materialisations, Observation, Schedule, ValueMeter, stale_features
from mlops_obs.collectors.freshness.tables import TableConfig
from mlops_obs.errors import SpecError, StateError
from mlops_obs.metric_names import FEATURE_VALUE_AGE, FEATURE_VALUE_READS, MATERIALISATIONS, TABLE_AGE

HOUR = 3600.0
HOURLY = Schedule(every=HOUR, by=600.0)


def judged(looks, schedule=HOURLY):
    """The outcomes of looks at (now, complete up to, completed at), all in minutes."""
    state = Materialisations(schedule)
    found = []
    for now, complete, done in looks:
        seen = Observation(None if complete is None else complete * 60.0, None if done is None else done * 60.0)
        found += [(slot, outcome) for slot, outcome in state.observe(now * 60.0, seen)]
    return found


def test_a_slot_is_on_time_up_to_its_due_time_and_late_after_it():
    assert judged([(5, 0, None), (70, 60, 69)]) == [(1, "on_time")]
    assert judged([(5, 0, None), (70, 60, 70)]) == [(1, "on_time")]
    assert judged([(5, 0, None), (75, 60, 71)]) == [(1, "late")]


def test_a_slot_is_judged_once_and_waits_until_there_is_something_to_judge():
    assert judged([(5, 0, None), (61, 0, None), (65, 0, None)]) == []
    assert judged([(5, 0, None), (65, 60, 64), (66, 60, 64), (90, 60, 64)]) == [(1, "on_time")]


def test_a_slot_that_never_comes_is_missing_when_it_is_given_up_and_stays_missing():
    looks = [(5, 0, None), (71, 0, None), (130, 0, None), (131, 0, None), (140, 120, 139)]

    assert judged(looks) == [(1, "missing"), (2, "late")]


def test_a_night_that_is_filled_in_the_morning_was_not_a_good_night():
    hourly = [(5, 0, None)] + [(60 * at + 12, 0, None) for at in range(1, 8)] + [(490, 480, 489)]

    outcomes = [outcome for _, outcome in judged(hourly)]

    assert outcomes.count("missing") == 6
    assert "on_time" not in outcomes[:7]


def test_without_a_completion_time_the_look_that_sees_it_decides():
    assert judged([(5, 0, None), (65, 60, None)]) == [(1, "on_time")]
    assert judged([(5, 0, None), (75, 60, None)]) == [(1, "late")]


def test_nobody_is_blamed_for_slots_before_the_first_look():
    assert judged([(1000, 0, None)]) == []
    assert judged([(1000, 0, None), (1030, 1020, 1025)]) == [(17, "on_time")]


def test_slack_is_for_tables_whose_newest_event_is_a_little_older_than_the_slot():
    assert judged([(5, 0, None), (65, 58, 64)]) == []
    assert judged([(5, 0, None), (65, 58, 64)], Schedule(HOUR, 600.0, slack=180.0)) == [(1, "on_time")]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-90, 5)), min_size=1, max_size=40))
def test_every_slot_is_judged_exactly_once_whatever_is_seen(steps):
    state, now, slots = Materialisations(HOURLY), 0.0, []
    for forward, behind in steps:
        now += forward * 60.0
        slots += [slot for slot, _ in state.observe(now, Observation(now + behind * 60.0))]
    state.observe(now + 10 * HOUR, Observation(None))

    assert slots == list(range(1, len(slots) + 1))
    assert sum(state.counts.values()) >= (now + 10 * HOUR) // HOUR - 2


def test_counts_survive_a_restart_and_nonsense_is_refused():
    state = Materialisations(HOURLY)
    state.observe(300.0, Observation(0.0))
    state.observe(3900.0, Observation(3600.0, 3800.0))
    again = Materialisations(HOURLY)

    again.restore(json.loads(json.dumps(state.to_json())))

    assert (again.counts, again.next_slot) == ({"on_time": 1, "late": 0, "missing": 0}, 2)
    with pytest.raises(StateError, match="OBS-FRS-007"):
        again.restore({"next_slot": "x"})


@pytest.mark.parametrize("wrong", [{"every": 0.0}, {"by": -1.0}, {"slack": HOUR}, {"give_up": 0.0}, {"every": math.nan}])
def test_a_schedule_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(SpecError, match="OBS-FRS-006"):
        Schedule(**{"every": HOUR, "by": 60.0, **wrong})


def table(name, **more):
    return TableConfig.model_validate({"name": name, "path": name, "every": "1h", "by": "10m", **more})


def readings(source, metric):
    return {one.labels["table"]: one.value for one in source.read() if one.metric is metric}


def test_the_newest_event_comes_from_parquet_statistics_of_all_files_and_no_row_is_read(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    (tmp_path / "events" / "day=1").mkdir(parents=True)
    for at, name in enumerate(("day=1/a.parquet", "b.parquet")):
        pq.write_table(pa.table({"event_time": [1_000 + at, 900_000 * (at + 1)], "x": ["a", None]}), tmp_path / "events" / name)
    (tmp_path / "events" / "_SUCCESS").write_text("")
    monkeypatch.setattr(pq, "read_table", pytest.fail)
    config = table("events", complete_by="events", column="event_time", unit="ms")

    source = TableFreshness("shop", [config], tmp_path, clock=lambda: 2_000.0)

    assert readings(source, TABLE_AGE) == {"events": 200.0}


def test_timestamps_of_parquet_are_read_in_their_own_unit(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"at": pa.array([1_000_000], pa.timestamp("us", "UTC"))}), tmp_path / "events.parquet")
    config = table("events", path="*.parquet", complete_by="events", column="at")

    assert readings(TableFreshness("shop", [config], tmp_path, clock=lambda: 11.0), TABLE_AGE) == {"events": 10.0}


def test_a_table_may_be_dated_by_its_newest_file(tmp_path):
    (tmp_path / "training").mkdir()
    for name, written in (("a", 100.0), ("b", 300.0)):
        (tmp_path / "training" / name).write_text("")
        os.utime(tmp_path / "training" / name, (written, written))

    assert readings(TableFreshness("shop", [table("training")], tmp_path, clock=lambda: 350.0), TABLE_AGE) == {"training": 50.0}


def test_a_manifest_says_up_to_when_and_when(tmp_path):
    now = [600.0]
    source = TableFreshness("shop", [table("t", path="m.json", complete_by="manifest")], tmp_path, clock=lambda: now[0])
    (tmp_path / "m.json").write_text(json.dumps({"t": {"complete_up_to": 0}}))
    source.read()
    now[0] = 4_700.0
    (tmp_path / "m.json").write_text(
        json.dumps({"t": {"complete_up_to": "1970-01-01T01:00:00Z", "completed_at": "1970-01-01T01:09:59+00:00"}})
    )

    found = {one.labels["outcome"]: one.value for one in source.read() if one.metric is MATERIALISATIONS}

    assert found == {"on_time": 1, "late": 0, "missing": 0}


def test_a_table_that_is_gone_goes_missing_while_the_others_are_read(tmp_path):
    now = [600.0]
    (tmp_path / "a").write_text("")
    os.utime(tmp_path / "a", (500.0, 500.0))
    source = TableFreshness("shop", [table("a"), table("gone")], tmp_path, clock=lambda: now[0])
    source.read()
    now[0] = 3_600.0 + 4_300.0

    found = {(one.labels["table"], one.labels["outcome"]): one.value for one in source.read() if one.metric is MATERIALISATIONS}

    assert found["gone", "missing"] == 1
    assert ("a", "missing") in found


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (b"", {}),
        (b"PAR1", {}),
        (None, {"column": "nonsense"}),
        (b"[]", {"complete_by": "manifest", "column": None}),
        (b'{"t": {"complete_up_to": "soon"}}', {"complete_by": "manifest", "column": None}),
        (b'{"other": {}}', {"complete_by": "manifest", "column": None}),
        (b'{"t": {"complete_up_to": 1e999}}', {"complete_by": "manifest", "column": None}),
    ],
)
def test_a_table_that_cannot_be_asked_gives_its_reason(tmp_path, content, more):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    if content is None:
        pq.write_table(pa.table({"event_time": [1]}), tmp_path / "t")
    else:
        (tmp_path / "t").write_bytes(content)

    with pytest.raises(TableUnavailable, match="OBS-FRS-008") as caught:
        TableFreshness("shop", [table("t", **{"complete_by": "events", "column": "event_time", **more})], tmp_path).read()

    assert caught.value.reason == "table_unavailable"


@pytest.mark.parametrize(
    "wrong", [{"every": "1x"}, {"complete_by": "events"}, {"column": "x"}, {"complete_by": "magic"}, {"name": ""}, {"evry": "1h"}]
)
def test_a_wrong_table_in_the_configuration_is_refused(tmp_path, wrong):
    path = tmp_path / "collector.yaml"
    path.write_text(yaml.safe_dump({"service": "s", "tables": [{"name": "t", "path": "t", "every": "1h", **wrong}]}))

    with pytest.raises(SpecError, match=r"collector\.yaml: tables\.0.*OBS-FRS-003"):
        load_config(path)


@pytest.mark.parametrize("wrong", [{}, {"views": ["a"]}, {"query": "SELECT 1"}])
def test_a_configuration_that_asks_nothing_is_refused(tmp_path, wrong):
    path = tmp_path / "collector.yaml"
    path.write_text(yaml.safe_dump({"service": "s", **wrong}))

    with pytest.raises(SpecError, match="OBS-FRS-003"):
        load_config(path)


def test_the_tables_that_are_shown_in_the_shipped_configuration_can_be_used_as_they_stand(tmp_path):
    shipped = (Path(__file__).parents[2] / "collectors" / "freshness" / "collector.yaml").read_text()
    shown = "\n".join(line.removeprefix("# ") for line in shipped.splitlines() if line.startswith(("# tables:", "#   -")))
    (tmp_path / "collector.yaml").write_text("service: s\n" + shown)

    assert limits_of(load_config(tmp_path / "collector.yaml").tables) == {"events": 4_200.0, "training": 93_600.0}


def test_values_are_counted_by_the_age_of_their_event():
    meter = ValueMeter("shop", {"bureau_score": 100.0, "salary": 10.0})
    for age in (5.0, 100.0, 101.0, None, math.nan):
        meter.given({"bureau_score": age, "nobody asked": 1.0})

    found = meter.read()

    counts = {(one.labels["feature"], one.labels["freshness"]): one.value for one in found if one.metric is FEATURE_VALUE_READS}
    assert counts["bureau_score", "fresh"] == counts["bureau_score", "missing"] == 2
    assert counts["bureau_score", "late"] == 1
    assert sum(counts.values()) == 5
    assert {one.labels["feature"]: one.value for one in found if one.metric is FEATURE_VALUE_AGE} == {"bureau_score": 100.0}
    with pytest.raises(SpecError, match="OBS-FRS-005"):
        ValueMeter("shop", {"a": 0.0})


def test_a_feature_is_stale_since_its_source_stood_still_and_of_several_sources_the_worst_is_told():
    lineage = {"salary_30d": ["transactions"], "ratio": ["transactions", "bureau"], "channel": ["profile"], "odd": ["unknown", "unlimited"]}
    ages = {"transactions": 7_200.0, "bureau": 90_000.0, "profile": 10.0, "unknown": None, "unlimited": 1e9}

    found = stale_features(lineage, ages, {"transactions": 3_600.0, "bureau": 3_600.0, "profile": 60.0, "unknown": 1.0}, now=100_000.0)

    assert set(found) == {"salary_30d", "ratio"}
    assert (found["salary_30d"].since, found["salary_30d"].late_since) == (92_800.0, 96_400.0)
    assert found["ratio"].source == "bureau"
    assert found["salary_30d"].words.startswith("salary_30d is stale: transactions is 2 h old and may be 1 h old")


def test_an_alarm_is_called_drift_only_if_nothing_else_explains_it():
    known = {"stale": {"a": "a is stale", "b": "b is stale"}, "skewed": {"b": "b: online = offline x 100"}, "failed": {"c": "c: 40 %"}}

    causes = {name: cause_of(name, Change.LOCATION, **known) for name in "abcd"}

    assert causes == {
        "a": (Cause.STALE, "a is stale"),
        "b": (Cause.SKEW, "b: online = offline x 100"),
        "c": (Cause.BROKEN, "c: 40 %"),
        "d": (Cause.DRIFT, ""),
    }
    assert cause_of("d", Change.MISSING)[0] is Cause.BROKEN
    assert cause_of("d", None)[0] is Cause.DRIFT
