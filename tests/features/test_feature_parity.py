"""The parity check passes on equal paths and fails on each way they could differ. A check that cannot fail is worth nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from feature_train_serve.features.batch import evaluate, snapshots
from feature_train_serve.features.events import events_of
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.features.parity import check_parity
from feature_train_serve.simulator.lender import Simulation


@pytest.fixture
def offline(lender: Simulation) -> pa.Table:
    times = lender.events["event_time"]
    return evaluate(lender.events, snapshots(times[0].as_py(), times[-1].as_py()))


@pytest.fixture
def store(lender: Simulation, tmp_path: Path) -> OnlineStore:
    filled = OnlineStore(tmp_path / "online.db", create=True)
    filled.apply(events_of(lender.events))
    return filled


def nudged(table: pa.Table, name: str, row: int) -> pa.Table:
    values = table[name].to_numpy().copy()
    values[row] = np.nextafter(values[row], np.inf)
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_batch_and_stream_agree_bit_for_bit_on_a_whole_lender(lender: Simulation, offline: pa.Table, store: OnlineStore) -> None:
    report = check_parity(lender.events, offline, store)

    assert report.mismatches == ()
    assert report.equal
    assert report.rows == offline.num_rows  # a sample larger than the portfolio replays everybody


def test_one_unit_in_the_last_place_of_one_value_is_found(lender: Simulation, offline: pa.Table, store: OnlineStore) -> None:
    wrong = nudged(nudged(offline, "loan_amount", 0), "spend_90d", offline.num_rows - 1)

    report = check_parity(lender.events, wrong, store)

    assert not report.equal
    assert sorted(mismatch.name for mismatch in report.mismatches) == ["loan_amount", "spend_90d"]


def test_an_event_that_never_reached_the_store_is_found(lender: Simulation, offline: pa.Table, tmp_path: Path) -> None:
    lossy = OnlineStore(tmp_path / "lossy.db", create=True)
    lossy.apply(events_of(lender.events.slice(0, lender.events.num_rows - 1)))

    assert not check_parity(lender.events, offline, lossy).equal


def test_nothing_compared_is_not_parity(lender: Simulation, offline: pa.Table, store: OnlineStore) -> None:
    assert not check_parity(lender.events, offline.slice(0, 0), store).equal
