"""A user's own event table is read like the simulator's, and refused with the column, the reason and the remedy."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from event_tables import table
from feature_train_serve.features.events import CODES, events_of
from feature_train_serve.features.ingest import partition, read_events
from feature_train_serve.simulator.lender import Simulation

from mlops_obs.errors import ObsError

CASH = CODES["transaction", "cash"]
GOOD = [("b", 5, CASH, -100, None), ("a", 3, CODES["bureau", "pull"], 0, 640.0)]


def write(path: Path, events: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(events, path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(events, path)
    else:
        path.write_text("".join(f"{row}\n" for row in map(__import__("json").dumps, events.to_pylist())))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_three_file_formats_give_the_same_events_in_time_order(tmp_path: Path, suffix: str) -> None:
    events = table(GOOD)

    read = read_events(write(tmp_path / f"events{suffix}", events.take([1, 0])))

    assert [event.customer_id for event in events_of(read)] == ["a", "b"]
    assert str(events_of(read)) == str(events_of(events))


def test_id_category_and_score_may_be_missing(tmp_path: Path) -> None:
    slim = table(GOOD).drop_columns(["event_id", "category", "score"])

    kinds = [event.kind for event in events_of(read_events(write(tmp_path / "slim.parquet", slim)))]

    assert kinds == [CODES["bureau", "other"], CODES["transaction", "other"]]


def test_customer_ids_of_a_csv_file_keep_their_zeros(tmp_path: Path) -> None:
    events = table(GOOD).set_column(1, "customer_id", pa.array(["00123", "00007"]))

    read = read_events(write(tmp_path / "events.csv", events))

    assert sorted(read["customer_id"].to_pylist()) == ["00007", "00123"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_a_column_of_timestamps_counts_in_milliseconds_whatever_its_own_unit(tmp_path: Path, unit: str, zone: str | None) -> None:
    moments = pa.array([1_700_000_001, 1_700_000_000]).cast(pa.timestamp("s", zone)).cast(pa.timestamp(unit, zone))
    events = table(GOOD).set_column(2, "event_time", moments)

    read = read_events(write(tmp_path / "events.parquet", events))

    assert read["event_time"].to_pylist() == [1_700_000_000_000, 1_700_000_001_000]


def test_dates_as_people_write_them_are_read_from_csv(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_text("customer_id,event_time,event_type,amount_cents\na,2023-11-14 22:13:20,bureau,0\n")

    assert read_events(path)["event_time"].to_pylist() == [1_700_000_000_000]


def test_no_category_however_strange_breaks_the_features(tmp_path: Path) -> None:
    odd = table(GOOD).set_column(4, "category", pa.array(["a\x1fb", "\x1f"]))

    kinds = [event.kind for event in events_of(read_events(write(tmp_path / "odd.parquet", odd)))]

    assert kinds == [CODES["bureau", "other"], CODES["transaction", "other"]]


def test_an_unknown_category_becomes_other_and_creates_nothing(tmp_path: Path) -> None:
    events = table(GOOD)
    odd = events.set_column(4, "category", pa.array(["pull", "space travel"]))

    kinds = [event.kind for event in events_of(read_events(write(tmp_path / "odd.parquet", odd)))]

    assert kinds == [CODES["bureau", "pull"], CODES["transaction", "other"]]


WRONG = {
    "a missing column is named, with the columns that exist": (
        lambda t: t.drop_columns(["amount_cents"]),
        "no column amount_cents; the columns are",
    ),
    "an empty table": (lambda t: t.slice(0, 0), "the event table is empty"),
    "a time that is no number": (lambda t: t.set_column(2, "event_time", pa.array(["yesterday", "today"])), "column event_time"),
    "amounts in fractions of a cent": (lambda t: t.set_column(5, "amount_cents", pa.array([0.5, 1.0])), "column amount_cents"),
    "a customer without an id": (lambda t: t.set_column(1, "customer_id", pa.array(["a", None])), "column customer_id has 1 nulls"),
    "a customer whose id is empty": (lambda t: t.set_column(1, "customer_id", pa.array(["a", ""])), "column customer_id has empty values"),
    "an event type nobody knows": (
        lambda t: t.set_column(3, "event_type", pa.array(["bureau", "lottery"])),
        "unknown event types: lottery",
    ),
    "an id used twice": (lambda t: t.set_column(0, "event_id", pa.array([4, 4])), "event_id repeats"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, case: str) -> None:
    damage, said = WRONG[case]

    with pytest.raises(ObsError, match=said) as caught:
        read_events(write(tmp_path / "events.parquet", damage(table(GOOD))))

    assert caught.value.exit_code == 2
    assert str(tmp_path / "events.parquet") in str(caught.value)


@pytest.mark.parametrize(("name", "code"), [("events.xlsx", "OBS-DATA-002"), ("nowhere.parquet", "OBS-DATA-001")])
def test_a_file_that_cannot_be_read_is_said_in_one_line(tmp_path: Path, name: str, code: str) -> None:
    with pytest.raises(ObsError, match=code) as caught:
        read_events(tmp_path / name)

    assert len(str(caught.value).splitlines()) == 1


def test_partitions_hold_every_event_once_and_keep_customers_whole(lender: Simulation, tmp_path: Path) -> None:
    paths = partition(lender.events, tmp_path / "parts", 5)

    parts = [pq.read_table(path) for path in paths]
    owners = [set(part["customer_id"].to_pylist()) for part in parts]
    assert sorted(pa.concat_tables(parts)["event_id"].to_pylist()) == list(range(lender.events.num_rows))
    assert sum(map(len, owners)) == len(set.union(*owners)) == 300
