"""The synthetic lender: repeatable, stationary, and its hidden truth shows in behaviour before it shows at the bureau."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
from feature_train_serve.config import DAY_MS
from feature_train_serve.features.batch import evaluate, snapshots
from feature_train_serve.simulator.lender import EVENT_COLUMNS, Simulation, simulate

END = 1_731_104_000_000


def test_the_same_seed_gives_the_same_events_and_another_seed_does_not(lender: Simulation) -> None:
    again = simulate(3, 300, 360, END)

    assert again.events.equals(lender.events)
    assert again.truth.equals(lender.truth)
    assert not simulate(4, 300, 360, END).events.equals(lender.events)


def test_every_column_is_documented() -> None:
    assert all(field.metadata and field.metadata[b"help"] for field in EVENT_COLUMNS)


def test_no_event_lies_outside_the_simulated_days(lender: Simulation) -> None:
    times = lender.events["event_time"].to_numpy()

    assert times.min() >= END - 360 * DAY_MS
    assert times.max() <= END
    assert (np.diff(times) >= 0).all()


def test_money_is_in_whole_cents_and_only_salary_and_loans_and_instalments_come_in(lender: Simulation) -> None:
    spent = lender.events.filter(
        pc.and_(pc.equal(lender.events["event_type"], "transaction"), pc.not_equal(lender.events["category"], "salary"))
    )

    assert pc.max(spent["amount_cents"]).as_py() <= 0


def test_stress_in_the_truth_shows_as_cash_and_bets_and_missed_instalments(lender: Simulation) -> None:
    times = lender.events["event_time"]
    rows = (
        evaluate(lender.events, snapshots(times[0].as_py(), times[-1].as_py())).filter(pc.field("split") == "test").sort_by("customer_id")
    )
    truth = lender.truth.filter(pc.equal(lender.truth["month"], 8)).sort_by("customer_id")
    stress, share, label = truth["stress"].to_numpy(), rows["risky_share_30d"].to_numpy(), rows["label"].to_numpy()

    assert rows["customer_id"].to_pylist() == truth["customer_id"].to_pylist()
    assert np.corrcoef(stress, share)[0, 1] > 0.3
    assert label[stress > 1].mean() > 2 * label[stress < 0].mean()


def test_default_rates_do_not_trend(lender: Simulation) -> None:
    truth = simulate(5, 2_000, 360, END).truth
    rate = [truth.filter(pc.equal(truth["month"], month))["p_missed"].to_numpy().mean() for month in (3, 11)]

    assert abs(rate[0] - rate[1]) < 0.01
