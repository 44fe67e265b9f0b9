import threading

import numpy as np
import pytest

from mlops_obs.collectors.drift import DriftMonitor, ReferenceProfile, Verdict
from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.columns import Column, ColumnKind, Schema
from mlops_obs.collectors.drift.expectations.derive import SECTION, section_from_profile
from mlops_obs.collectors.drift.matched import SEASONS, seasons_of
from mlops_obs.collectors.drift.results import Change
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import (
    DRIFT_FEATURES,
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFT_ROWS_DROPPED,
    DRIFT_WINDOWS,
    EXPECTATION_CHECKS,
    MISSING_RATIO,
)

NAMES = ("income", "age", "products", "overdraft", "score", "balance")


def population(random, rows):
    """A credit book: heavy tails, small integers, mostly zero, partly missing, both signs."""
    return np.column_stack(
        [
            random.lognormal(8, 1, rows),
            random.integers(18, 90, rows),
            random.poisson(2, rows),
            np.where(random.random(rows) < 0.9, 0.0, random.lognormal(5, 1, rows)),
            np.where(random.random(rows) < 0.2, np.nan, random.normal(600, 80, rows)),
            random.normal(500, 2_000, rows),
        ]
    )


def monitor_of(reference, **options):
    columns = {name: reference[:, place] for place, name in enumerate(NAMES)}
    return DriftMonitor(ReferenceProfile.from_columns(columns), service="credit-risk", revision="v2", **options)


def feed(monitor, rows):
    for start in range(0, len(rows), 1_000):
        monitor.capture(rows[start : start + 1_000])
        monitor.fold()


def values(monitor, metric):
    return {tuple(one.labels.values())[2:]: one.value for one in monitor.read() if one.metric is metric}


def test_a_healthy_revision_is_stable_and_false_alarms_stay_within_their_budget():
    random = np.random.default_rng(11)
    windows = dict.fromkeys(Verdict, 0)
    for _ in range(40):
        monitor = monitor_of(population(random, 4_000))
        feed(monitor, population(random, 5_000))
        for verdict, count in monitor.windows.items():
            windows[verdict] += count

    # 400 windows at 0.1 % each: 4 or more alarms have a chance of 0.08 %
    assert sum(windows.values()) >= 400
    assert windows[Verdict.DRIFTED] < 4
    assert windows[Verdict.STABLE] > 390


@pytest.mark.parametrize("column", range(len(NAMES)), ids=NAMES)
def test_a_unit_change_is_drift_in_the_first_scored_window_and_does_not_wait_for_500_rows(column):
    random = np.random.default_rng(7)
    monitor = monitor_of(population(random, 4_000))
    rows = population(random, 500)
    rows[:, column] *= 100

    feed(monitor, rows)

    first = {verdict: count for verdict, count in monitor.windows.items() if count}
    assert list(first) == [Verdict.DRIFTED]
    assert sum(first.values()) >= 1
    assert {one.name for one in monitor.scores if one.verdict is Verdict.DRIFTED} == {NAMES[column]}


def test_sixty_requests_show_that_amounts_come_in_cents():
    random = np.random.default_rng(7)
    monitor = monitor_of(population(random, 4_000))
    rows = population(random, 62)
    rows[:, 0] *= 100

    feed(monitor, rows)

    assert monitor.windows[Verdict.DRIFTED] == 1
    assert values(monitor, DRIFT_PSI).keys() == {("income",)}  # 62 rows say nothing about the other features


def hot_traffic(random, rows, skew, customers=4_000):
    """Requests of customers whose share falls with their rank to the power of `skew`: 0.67 is the 80/50 rule, 1 is Zipf's."""
    share = 1 / np.arange(1, customers + 1) ** skew
    return population(random, customers)[random.choice(customers, rows, p=share / share.sum())]


@pytest.mark.parametrize("skew", [0.0, 0.67, 1.0])
def test_hot_customers_are_not_drift(skew):
    random = np.random.default_rng(17)
    windows = dict.fromkeys(Verdict, 0)
    for _ in range(8):
        monitor = monitor_of(population(random, 4_000))
        feed(monitor, hot_traffic(random, 4_000, skew))
        for verdict, count in monitor.windows.items():
            windows[verdict] += count

    assert windows[Verdict.DRIFTED] <= 1
    assert skew > 0.67 or windows[Verdict.STABLE] >= 40


@pytest.mark.parametrize("skew", [0.0, 0.67, 1.0])
def test_a_unit_change_shows_through_hot_customers(skew):
    random = np.random.default_rng(17)
    monitor = monitor_of(population(random, 4_000))
    rows = hot_traffic(random, 500, skew)
    rows[:, 0] *= 100

    feed(monitor, rows)

    assert {verdict for verdict, count in monitor.windows.items() if count} == {Verdict.DRIFTED}


@pytest.mark.parametrize("features", [1, len(NAMES)])
def test_a_feature_filled_with_a_constant_cannot_excuse_itself_as_a_hot_customer(features):
    random = np.random.default_rng(17)
    monitor = monitor_of(population(random, 4_000), feature_names=NAMES[:features])
    rows = population(random, 500)[:, :features]
    rows[:, 0] = 3_000.0

    feed(monitor, rows)

    assert monitor.windows[Verdict.DRIFTED] >= 1


def test_one_unusual_customer_who_asks_all_the_time_is_one_customer():
    random = np.random.default_rng(17)
    monitor = monitor_of(population(random, 4_000))
    rows = population(random, 500)
    unusual = [5e6, 101, 60, 1e6, 2_000, 1e7]
    often, seldom = rows.copy(), rows.copy()
    often[::10] = unusual  # the same values ten times over
    seldom[::10] = np.array(unusual) * random.uniform(1, 9, (50, 1))  # fifty customers of a kind never seen

    feed(monitor, often)
    of_one = dict(monitor.windows)
    feed(monitor, seldom)

    assert of_one[Verdict.DRIFTED] == 0
    assert monitor.windows[Verdict.DRIFTED] >= 1


def test_a_window_too_small_to_judge_is_inconclusive():
    random = np.random.default_rng(7)
    monitor = monitor_of(population(random, 4_000), window_rows=40)

    feed(monitor, population(random, 400))

    assert monitor.windows == {Verdict.STABLE: 0, Verdict.DRIFTED: 0, Verdict.INCONCLUSIVE: 10}


def test_the_result_does_not_depend_on_how_often_rows_are_folded():
    random = np.random.default_rng(3)
    reference, rows = population(random, 4_000), population(random, 1_700)
    often, seldom = monitor_of(reference), monitor_of(reference)

    for row in rows:
        often.capture(row.tolist())
        often.fold()
    seldom.capture(rows)
    seldom.fold()

    assert often.read() == seldom.read()
    assert often.scores == seldom.scores


def test_every_reading_is_there_from_the_start_and_has_the_labels_of_its_metric():
    random = np.random.default_rng(3)
    monitor = monitor_of(population(random, 4_000))

    assert values(monitor, DRIFT_WINDOWS) == {("stable",): 0, ("drifted",): 0, ("inconclusive",): 0}
    assert values(monitor, DRIFT_ROWS) == {(): 0}

    feed(monitor, population(random, 1_000))

    assert all(tuple(one.labels) == one.metric.labels for one in monitor.read())
    assert values(monitor, DRIFT_ROWS) == {(): 1_000}
    assert values(monitor, MISSING_RATIO)[("score",)] == pytest.approx(0.2, abs=0.06)
    assert values(monitor, DRIFT_PSI).keys() == {(name,) for name in NAMES}


def test_a_folder_that_falls_behind_loses_the_oldest_rows_and_counts_them():
    random = np.random.default_rng(3)
    monitor = monitor_of(population(random, 500), capacity=64)
    rows = population(random, 200)

    monitor.capture(rows)

    assert monitor.fold() == 64
    assert values(monitor, DRIFT_ROWS_DROPPED) == {(): 136}
    monitor.capture(rows[:10])
    assert monitor.fold() == 10
    assert monitor.fold() == 0
    assert values(monitor, DRIFT_ROWS_DROPPED) == {(): 136}


def test_rows_from_many_threads_are_each_folded_once_while_they_arrive():
    random = np.random.default_rng(3)
    monitor = monitor_of(population(random, 500), capacity=20_000)
    rows = population(random, 5_000)
    done = threading.Event()

    def fold():
        while not done.is_set():
            monitor.fold()

    folder = threading.Thread(target=fold)
    writers = [threading.Thread(target=lambda: [monitor.capture(row) for row in rows]) for _ in range(4)]
    for thread in (folder, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    folder.join()
    monitor.fold()

    assert values(monitor, DRIFT_ROWS) == {(): 20_000}
    assert values(monitor, DRIFT_ROWS_DROPPED) == {(): 0}


@pytest.mark.parametrize("row", [[1.0], 1.0, [1.0] * 7, "abcdef"], ids=["too short", "a scalar", "too long", "text"])
def test_a_row_of_another_shape_is_refused_and_takes_no_slot(row):
    monitor = monitor_of(population(np.random.default_rng(3), 500))

    with pytest.raises(ValueError):
        monitor.capture(row)

    assert monitor.fold() == 0


@pytest.mark.parametrize(("every", "kind"), [(1, Change.TYPE), (3, Change.INVALID)], ids=["all of them", "some"])
def test_values_of_a_wrong_type_are_drift_not_an_error(every, kind):
    random = np.random.default_rng(3)
    monitor = monitor_of(population(random, 4_000))

    for place, row in enumerate(population(random, 250).tolist()):
        monitor.capture(["none", *row[1:]] if place % every == 0 else row)
    monitor.fold()

    assert monitor.windows[Verdict.DRIFTED] >= 1
    assert {(one.name, one.kind) for one in monitor.scores} == {("income", kind)}
    assert monitor.scores[0].statistics["invalid"] == pytest.approx(1 / every, abs=0.02)


def test_a_model_of_many_features_has_few_series():
    random = np.random.default_rng(3)
    reference = random.normal(size=(2_000, 120))
    monitor = DriftMonitor(
        ReferenceProfile.from_columns({f"f{place}": reference[:, place] for place in range(120)}),
        service="credit-risk",
        revision="v2",
        importance={"f77": 0.5, "f3": 0.1},
    )
    rows = random.normal(size=(500, 120))
    rows[:, 99] += 5

    feed(monitor, rows)
    feed(monitor, random.normal(size=(500, 120)))

    psi = values(monitor, DRIFT_PSI)
    assert len(psi) == 50
    assert {("f77",), ("f3",)} <= psi.keys()
    assert sum(values(monitor, DRIFT_FEATURES).values()) == 120
    assert len(monitor.read()) < 120


def test_a_feature_that_the_model_does_not_use_never_makes_a_window_drift():
    random = np.random.default_rng(3)
    monitor = monitor_of(population(random, 4_000), importance={"income": 0.0, "age": 1.0})
    rows = population(random, 500)
    rows[:, 0] *= 100

    feed(monitor, rows)

    assert monitor.windows[Verdict.DRIFTED] == 0
    assert {one.name: one.statistics["psi"] > 1 for one in monitor.scores}["income"]


def test_the_order_of_the_row_may_differ_from_the_reference_and_columns_may_be_left_out():
    random = np.random.default_rng(3)
    reference = population(random, 4_000)
    monitor = monitor_of(reference, feature_names=("age", "income"))

    feed(monitor, population(random, 1_000)[:, [1, 0]])

    assert monitor.windows[Verdict.STABLE] == 2


def test_a_feature_that_the_reference_lacks_is_said_at_once():
    with pytest.raises(SpecError, match=r"the reference lacks wage.*OBS-DRF-004"):
        monitor_of(population(np.random.default_rng(3), 100), feature_names=("age", "wage"))
    with pytest.raises(SpecError, match="OBS-DRF-005"):
        monitor_of(population(np.random.default_rng(3), 100), window_rows=4)


def test_a_window_is_compared_with_what_is_normal_at_its_hours_of_the_week():
    random = np.random.default_rng(3)
    hours = np.repeat(np.arange(0, 5 * 168), 40)
    night = hours % 24 < 8
    block = {"time": (hours * 3_600 + 4 * 86_400).astype(float), "amount": random.normal(np.where(night, 10.0, 0.0))}
    profile = ReferenceProfile.from_block({"amount": block["amount"]})
    section, seasonal = seasons_of(profile, [block], "time")
    assert seasonal == ["amount"]

    verdicts = {}
    for name, reference in (("seasonal", profile.with_section(SEASONS, section)), ("plain", profile)):
        monitor = DriftMonitor(reference, service="credit-risk", revision="v2")
        for hour in range(6, 10):  # from the night into the day, a window over both
            for minute in range(4):
                monitor.capture(random.normal(10.0 if hour < 8 else 0.0, 1, (60, 1)))
                monitor.fold(4 * 86_400 + hour * 3_600 + minute * 600.0)
        verdicts[name] = monitor.windows

    assert verdicts["seasonal"][Verdict.DRIFTED] == 0
    assert verdicts["plain"][Verdict.DRIFTED] > 0


def test_live_rows_are_checked_against_the_expectations_of_the_reference():
    random = np.random.default_rng(3)
    table = population(random, 4_000)
    profile = ReferenceProfile.from_columns({name: table[:, place] for place, name in enumerate(NAMES)})
    monitor = DriftMonitor(profile.with_section(SECTION, section_from_profile(profile)), service="credit-risk", revision="v2")
    rows = population(random, 1_000)
    rows[:400, 1] = np.nan

    feed(monitor, rows)

    checks = [one for one in monitor.read() if one.metric is EXPECTATION_CHECKS]
    assert list(monitor.failed_expectations) == ["age"]
    assert {one.labels["feature"] for one in checks if one.labels["outcome"] == "failed"} == {"age"}
    assert {one.labels["feature"] for one in checks} == set(NAMES)


def test_embeddings_that_point_elsewhere_are_drift_though_no_coordinate_is_named():
    random = np.random.default_rng(3)
    schema = Schema((Column("amount"), Column("history", ColumnKind.EMBEDDING, size=16)))
    towards = random.normal(size=(1, 16))

    def rows(count, turned):
        history = random.normal(size=(count, 16)) + turned * towards
        return {"amount": random.normal(size=count), "history": history.astype(np.float32)}

    profile = ReferenceProfile.from_block(rows(4_000, 0.0), schema)
    found = {}
    for name, turned in (("healthy", 0.0), ("turned", 1.0)):
        monitor = DriftMonitor(profile, service="credit-risk", revision="v2")
        for _ in range(8):
            monitor.capture(rows(250, turned))
            monitor.fold()
        found[name] = {one.name: one.kind for one in monitor.scores if one.alarm}, monitor.windows[Verdict.DRIFTED] > 0

    assert found == {"healthy": ({}, False), "turned": ({"history": Change.EMBEDDING}, True)}


@pytest.mark.parametrize(("skew", "by"), [(0.0, 200), (0.67, 400), (1.0, 2_000)])
def test_alarms_on_hot_customers_keep_their_budget_and_still_see_a_unit_change(skew, by):
    random = np.random.default_rng(0)
    table = population(random, 4_000)
    profile = ReferenceProfile.from_columns({name: table[:, place] for place, name in enumerate(NAMES)})
    detector = Detector.of(profile, Budget.parse("1 per 90d"), started=1e9)
    monitor = DriftMonitor(profile, service="credit-risk", revision="v2", detector=detector, keep_profile=False)
    rows = hot_traffic(random, 10_000, skew)
    rows[6_000:, 0] *= 100

    alarms = []
    for start in range(0, 10_000, 50):
        monitor.capture(rows[start : start + 50])
        monitor.fold(1e9 + 3 * start)
        alarms += monitor.take_alarms()

    assert {one.feature for one in alarms} == {"income"}
    assert 6_000 < alarms[0].row <= 6_000 + by
