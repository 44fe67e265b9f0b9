"""The offline side of a skew check: the batch code, as of each request's own moment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_train_serve.features.definitions import FEATURE_NAMES
from feature_train_serve.features.events import events_of
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.features.recompute import EARLIER_SECONDS, main, read_all, recompute
from feature_train_serve.simulator.feed import LiveFeed
from feature_train_serve.simulator.lender import Simulation

from mlops_obs.adapters.skew_log import SkewLog

END = 1_731_104_000_000


@pytest.fixture
def store(lender: Simulation, tmp_path: Path) -> OnlineStore:
    store = OnlineStore(tmp_path / "online.db", create=True)
    store.apply(events_of(lender.events))
    store.set_now(END)
    store.advance(END)
    return store


def test_a_recomputed_request_equals_what_the_store_served_while_events_went_on(
    lender: Simulation, store: OnlineStore, tmp_path: Path
) -> None:
    pq.write_table(lender.events, tmp_path / "history.parquet")
    feed = LiveFeed(store, seed=1, rate=1e5, log=tmp_path / "live.jsonl")
    while feed.tick() == 0:
        pass
    names, as_of = store.customers()[:50], store.now_ms() + 1000
    served = [state.features(as_of) for state in store.states(names) if state]

    table = recompute(
        read_all([tmp_path / "history.parquet", tmp_path / "live.jsonl"]), [f"r{n}" for n in range(50)], names, np.full(50, as_of)
    )

    now = table.filter(pa.compute.equal(table["basis"], "event")).slice(0, 50)
    for feature in FEATURE_NAMES:
        if feature != "channel":
            offline = [value if value is not None else float("nan") for value in now[feature].to_pylist()]
            assert np.array_equal(offline, [one[feature] for one in served], equal_nan=True)
    assert (tmp_path / "live.jsonl").stat().st_size > 0


def test_older_values_come_along_so_that_a_stale_feature_can_be_told(lender: Simulation) -> None:
    table = recompute(lender.events, ["r"], ["c00007"], np.array([END]))

    assert table["as_of"].to_pylist() == [END / 1000, *(END / 1000 - back for back in EARLIER_SECONDS)]
    ages = table["last_transaction_days"].to_pylist()
    assert ages[1] == pytest.approx(ages[0] - 3600 / 86_400)


def test_what_had_not_arrived_is_left_out_on_the_basis_of_arrival(lender: Simulation, tmp_path: Path) -> None:
    event = {"customer_id": "c00007", "event_time": END, "event_type": "transaction", "category": "cash", "amount_cents": -12_345}
    (tmp_path / "late.jsonl").write_text(json.dumps({**event, "score": None, "arrived_ms": END + 60_000}) + "\n")
    pq.write_table(lender.events, tmp_path / "history.parquet")

    table = recompute(read_all([tmp_path / "history.parquet", tmp_path / "late.jsonl"]), ["r"], ["c00007"], np.array([END + 1_000]))

    happened, arrived = (table.filter(pa.compute.equal(table["basis"], basis))["cash_30d"].to_pylist()[0] for basis in ("event", "arrival"))
    assert happened == pytest.approx(arrived - 123.45)


def test_the_command_recomputes_what_the_skew_log_holds(lender: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(lender.events, tmp_path / "history.parquet")
    log = SkewLog(tmp_path / "skew", service="credit-risk", revision="v1", rate=1.0)
    log.offer("r1", "c00003", END / 1000, {"loan_amount": 1.0}, {"loan_amount": 1.0}, {})
    log.offer("r2", "nobody", END / 1000, {"loan_amount": 1.0}, {"loan_amount": 1.0}, {})
    log.close()

    code = main(
        ["--events", str(tmp_path / "history.parquet"), "--online", str(tmp_path / "skew"), "--out", str(tmp_path / "offline.parquet")]
    )

    assert code == 0
    assert "2 requests" in capsys.readouterr().out
    assert set(pq.read_table(tmp_path / "offline.parquet")["request_id"].to_pylist()) == {"r1"}  # nothing is known of nobody


def test_an_empty_log_is_one_line_with_a_code(tmp_path: Path, capsys: pytest.CaptureFixture[str], lender: Simulation) -> None:
    pq.write_table(lender.events, tmp_path / "history.parquet")
    (tmp_path / "skew").mkdir()

    code = main(["--events", str(tmp_path / "history.parquet"), "--online", str(tmp_path / "skew"), "--out", str(tmp_path / "o.parquet")])

    assert code != 0
    assert "OBS-SKW-002" in capsys.readouterr().err
