"""Each fault of the synthetic lender does what it says from its start on, and nothing before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from feature_train_serve.config import DAY_MS
from feature_train_serve.features.batch import History
from feature_train_serve.simulator.faults import MEANINGS, FaultName, fault, parse
from feature_train_serve.simulator.lender import Simulation, simulate
from feature_train_serve.simulator.season import ACTIVITY, hour_of_week

from mlops_obs.errors import SpecError

END, DAYS, START = 1_731_104_000_000, 360, 300.0
START_MS = END - DAYS * DAY_MS + int(START * DAY_MS)

Broken = Callable[..., Simulation]


@pytest.fixture(scope="module")
def clean() -> Simulation:
    return simulate(3, 300, DAYS, END)


@pytest.fixture(scope="module")
def broken() -> Broken:
    return lambda name, **how: simulate(3, 300, DAYS, END, [fault(name, START, **how)])


def after(simulation: Simulation, event_type: str) -> pa.Table:
    events = simulation.events
    return events.filter(pc.and_(pc.greater_equal(events["event_time"], START_MS), pc.equal(events["event_type"], event_type)))


@pytest.mark.parametrize("name", list(FaultName))
def test_a_fault_changes_what_follows_and_nothing_before(clean: Simulation, broken: Broken, name: FaultName) -> None:
    found = broken(name)

    before = [one.events.filter(pc.less(one.events["event_time"], START_MS)) for one in (clean, found)]
    assert before[0].num_rows > 10_000
    assert before[0].equals(before[1])
    assert not found.events.equals(clean.events)


@pytest.mark.parametrize("name", list(FaultName))
def test_a_fault_repeats_with_its_seed(broken: Broken, name: FaultName) -> None:
    assert broken(name).events.equals(broken(name).events)


def test_a_unit_change_multiplies_the_amounts_of_one_event_type(clean: Simulation, broken: Broken) -> None:
    found = broken("unit_change", strength=100.0, how="transaction")

    spent, before = (after(one, "transaction")["amount_cents"].to_numpy() for one in (found, clean))
    assert np.array_equal(spent, before * 100)
    assert after(found, "repayment").drop_columns("event_id").equals(after(clean, "repayment").drop_columns("event_id"))


def test_a_bureau_outage_leaves_no_scores_or_no_pulls(clean: Simulation, broken: Broken) -> None:
    nulls, stale = after(broken("bureau_outage"), "bureau"), after(broken("bureau_outage", how="stale"), "bureau")

    assert nulls.num_rows == after(clean, "bureau").num_rows > 0
    assert nulls["score"].null_count == nulls.num_rows
    assert stale.num_rows == 0


def test_a_late_table_loses_its_rows_until_it_is_mended(clean: Simulation, broken: Broken) -> None:
    found = after(broken("late_table", end=330.0), "transaction")["event_time"].to_numpy()

    mended = START_MS + 30 * DAY_MS
    assert found.min() >= mended
    assert (after(clean, "transaction")["event_time"].to_numpy() >= mended).sum() == found.size


def test_a_new_channel_is_one_that_nobody_has_seen(clean: Simulation, broken: Broken) -> None:
    channel = after(broken("new_channel", strength=0.5), "application")["category"].to_pylist()

    assert "mobile" not in clean.events["category"].to_pylist()
    assert 0.2 < channel.count("mobile") / len(channel) < 0.8


def test_a_macro_shock_moves_behaviour_and_repayment_together(clean: Simulation, broken: Broken) -> None:
    found = broken("macro_shock", strength=1.5)

    for event_type, categories in (("transaction", ["cash", "gambling"]), ("repayment", ["missed"])):
        shares = [pc.mean(pc.is_in(after(one, event_type)["category"], pa.array(categories))).as_py() for one in (clean, found)]
        assert shares[1] > 1.3 * shares[0]
    assert pc.mean(found.truth["stress"]).as_py() > pc.mean(clean.truth["stress"]).as_py()


def test_a_concept_change_moves_repayment_and_leaves_behaviour(clean: Simulation, broken: Broken) -> None:
    found = broken("concept_change", strength=1.0)

    missed = [pc.mean(pc.equal(after(one, "repayment")["category"], "missed")).as_py() for one in (clean, found)]
    assert missed[1] > 1.5 * missed[0]
    assert after(found, "transaction").drop_columns("event_id").equals(after(clean, "transaction").drop_columns("event_id"))
    assert found.truth["stress"].equals(clean.truth["stress"])


def test_a_correlation_flip_turns_the_correlation_and_leaves_the_margins(clean: Simulation, broken: Broken) -> None:
    def spend_and_salary(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
        history = History(simulation.events)
        values = history.features(np.arange(history.names.size), np.full(history.names.size, END))
        there = (values["spend_30d"] < 0) & (values["salary_30d"] > 0)
        return np.log(-values["spend_30d"][there]), np.log(values["salary_30d"][there])

    (spend, salary), (spend_flipped, salary_flipped) = spend_and_salary(clean), spend_and_salary(broken("correlation_flip"))

    assert np.corrcoef(spend, salary)[0, 1] > 0.15
    assert np.corrcoef(spend_flipped, salary_flipped)[0, 1] < -0.15
    assert abs(spend.mean() - spend_flipped.mean()) < 3 * spend.std() * (2 / spend.size) ** 0.5
    assert abs(spend.std() / spend_flipped.std() - 1) < 0.15
    assert np.array_equal(salary, salary_flipped)


def test_spending_follows_the_hour_of_the_week(clean: Simulation) -> None:
    events = clean.events.filter(
        pc.and_(pc.equal(clean.events["event_type"], "transaction"), pc.not_equal(clean.events["category"], "salary"))
    )

    seen = np.bincount(hour_of_week(events["event_time"].to_numpy()), minlength=ACTIVITY.size)

    assert np.corrcoef(seen, ACTIVITY)[0, 1] > 0.95


def test_the_first_hour_of_the_week_is_mondays() -> None:
    monday = np.datetime64("2026-01-05T00:00", "ms").astype(np.int64)

    assert hour_of_week(np.array([monday, monday - 1])).tolist() == [0, 167]


def test_faults_are_read_from_text_with_the_defaults_of_their_name() -> None:
    found = parse("bureau_outage:start=12,strength=0.4,how=stale", start=300.0)

    assert (found.name, found.start, found.strength, found.how) == (FaultName.BUREAU_OUTAGE, 12.0, 0.4, "stale")
    assert parse("unit_change", start=300.0) == fault("unit_change", 300.0, strength=MEANINGS[FaultName.UNIT_CHANGE].strength)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("earthquake", "no fault is called 'earthquake'.*OBS-SIM-001"),
        ("unit_change:start=soon", "OBS-SIM-002"),
        ("unit_change:factor=3", "cannot read 'factor=3'.*OBS-SIM-002"),
        ("unit_change:strength=-1", "OBS-SIM-002"),
        ("bureau_outage:strength=2", "share of pulls.*OBS-SIM-002"),
        ("bureau_outage:how=loudly", "use nulls, stale.*OBS-SIM-002"),
        ("late_table:start=20,end=10", "OBS-SIM-002"),
        ("macro_shock:strength=nan", "OBS-SIM-002"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_would(text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parse(text, start=0.0)
