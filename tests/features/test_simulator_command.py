"""`python -m feature_train_serve.simulator` writes tables that say they are synthetic; labels ripen as real ones do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from feature_train_serve.config import DAY_MS
from feature_train_serve.features.ingest import read_events
from feature_train_serve.simulator.__main__ import main

SMALL = ["--customers", "60", "--seed", "3"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_users_table_with_a_fault_can_be_read_as_one(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / f"events{suffix}"

    assert main([*SMALL, "--fault", "unit_change:start=300", "--out", str(out)]) == 0

    assert read_events(out).num_rows > 5_000
    about = json.loads((tmp_path / f"events{suffix}.json").read_text())
    assert about["synthetic"] is True
    assert about["faults"] == [{"name": "unit_change", "start": 300.0, "end": 360, "strength": 100.0, "how": "transaction"}]
    assert "synthetic rows" in capsys.readouterr().out


def test_parquet_says_in_its_own_metadata_that_it_is_synthetic(tmp_path: Path) -> None:
    main([*SMALL, "--table", "requests", "--rows", "50", "--out", str(tmp_path / "r.parquet")])

    assert pq.read_schema(tmp_path / "r.parquet").metadata[b"synthetic"] == b"true"


def test_requests_are_rows_as_a_model_is_given_them(tmp_path: Path) -> None:
    main([*SMALL, "--table", "requests", "--rows", "400", "--out", str(tmp_path / "r.csv")])

    table = pyarrow.csv.read_csv(tmp_path / "r.csv")
    assert set(table["channel"].to_pylist()) <= {"branch", "web", "partner"}
    assert table["as_of"].to_pylist() == sorted(table["as_of"].to_pylist())
    assert table.num_rows == 400


def test_a_bad_label_is_known_after_30_to_180_days_and_a_good_one_after_90_to_180(tmp_path: Path) -> None:
    main([*SMALL, "--table", "labels", "--rows", "3000", "--out", str(tmp_path / "l.parquet")])

    table = pq.read_table(tmp_path / "l.parquet")
    days = (table["known_at"].to_numpy() - table["predicted_at"].to_numpy()) / DAY_MS
    bad = table["label"].to_numpy() == 1
    assert 0.02 < bad.mean() < 0.4
    assert (days[bad].min() >= 30, days[bad].max() <= 180) == (True, True)
    assert (days[~bad].min() >= 90, days[~bad].max() <= 180) == (True, True)
    assert bad[days < 90].all()  # the trap: early labels are the bad ones


def test_a_label_does_not_depend_on_which_other_rows_were_asked_for(tmp_path: Path) -> None:
    from feature_train_serve.simulator.labels import labels
    from feature_train_serve.simulator.lender import simulate

    events = simulate(3, 20, 360, 1_731_104_000_000).events
    moment = np.full(20, 1_731_104_000_000 - 120 * DAY_MS)
    names = np.array([f"c{number:05d}" for number in range(20)], dtype=object)

    alone, together = (labels(events, names[:n], moment[:n], np.zeros(n, dtype=np.int64), seed=1) for n in (1, 20))

    assert together.slice(0, 1).equals(alone)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "x.xlsx"], "OBS-SIM-003"),
        (["--out", "nowhere/at/all.csv"], "OBS-SIM-004"),
        (["--fault", "earthquake", "--out", "x.csv"], "OBS-SIM-001"),
        (["--table", "requests", "--from-day", "400", "--out", "x.csv"], "OBS-SIM-005"),
    ],
)
def test_a_mistake_is_one_line_with_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main([*SMALL, *options]) != 0

    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert said in error
    assert list(tmp_path.iterdir()) == []
