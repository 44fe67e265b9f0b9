"""The online store: atomic, shared, honest about its age."""

from __future__ import annotations

import math
import pickle
import threading
from pathlib import Path

import pytest
from feature_train_serve.features.events import CODES, Event
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.simulator.feed import LiveFeed

from mlops_obs.errors import StateError

CASH = CODES["transaction", "cash"]
PULL = CODES["bureau", "pull"]


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> OnlineStore:
    return OnlineStore(tmp_path / "online.db", create=True, wall_ms=clock)


def spend(customer: str, time: int, cents: int = -100) -> Event:
    return Event(customer, time, CASH, cents, math.nan)


def test_an_unknown_customer_has_no_state(store: OnlineStore) -> None:
    store.apply([spend("a", 1)])

    known, unknown = store.states(["a", "b"])

    assert known is not None
    assert unknown is None


def test_a_store_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is no online store here.*OBS-ONLINE-001"):
        OnlineStore(tmp_path / "typo.db")

    assert not (tmp_path / "typo.db").exists()


def test_a_file_that_is_no_store_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, whatever its name says\n" * 50)

    with pytest.raises(StateError, match="OBS-ONLINE-002"):
        OnlineStore(tmp_path / "notes.txt")


def test_a_failed_write_applies_nothing(store: OnlineStore) -> None:
    store.apply([spend("a", 1)])

    with pytest.raises(StateError, match="OBS-ONLINE-002"):
        store.apply([spend("a", 2), spend(None, 3)])  # type: ignore[arg-type]

    (state,) = store.states(["a"])
    assert state is not None
    assert [entry[0] for entry in state.recent] == [1]


def test_a_full_disk_is_a_state_error_and_leaves_the_store_readable(store: OnlineStore) -> None:
    store.apply([spend("a", 1)])
    connection = store._connection()
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")

    with pytest.raises(StateError, match="full.*check free space"):
        store.apply([spend(f"customer-{number}", number) for number in range(5_000)])

    assert store.customers() == ["a"]


def test_age_is_the_lag_behind_the_stream_and_not_the_silence_of_a_customer(store: OnlineStore, clock: Clock) -> None:
    store.apply([spend("a", 400_000)])
    store.advance(clock.ms - 2_000)

    assert store.ages()["transactions"] == 2.0

    store.advance(clock.ms - 9_000)

    assert store.ages()["transactions"] == 2.0  # a watermark never goes back


def test_a_view_that_was_never_read_has_no_age(store: OnlineStore) -> None:
    store.apply([spend("a", 1)])

    assert math.isnan(store.ages()["bureau"])


def test_recorded_events_are_replayed_as_though_they_ended_now(store: OnlineStore, clock: Clock) -> None:
    store.set_now(5_000)

    clock.ms += 1_500
    reopened = OnlineStore(store.path, wall_ms=clock)

    assert reopened.now_ms() == 6_500


def test_a_store_travels_to_another_process_by_its_path(store: OnlineStore) -> None:
    store.apply([spend("a", 1)])

    assert pickle.loads(pickle.dumps(store)).customers() == ["a"]


def test_readers_in_other_threads_see_whole_batches_only(store: OnlineStore) -> None:
    store.apply([spend("a", 0), spend("b", 0)])
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            states = store.states(["b", "a"])  # the writer writes a first: b ahead of a would be a torn read
            seen.append(tuple(len(state.recent) for state in states if state))  # type: ignore[arg-type]

    reader = threading.Thread(target=read)
    reader.start()
    for time in range(1, 60):
        store.apply([spend("a", time), spend("b", time)])
    done.set()
    reader.join()

    assert seen
    assert all(b <= a for b, a in seen)


def test_a_lookup_table_is_replaced_as_a_whole(store: OnlineStore) -> None:
    store.put_lookup("rates", {"x": 0.1, "y": 0.2})
    store.put_lookup("rates", {"y": 0.3})

    assert (store.lookup("rates", "x"), store.lookup("rates", "y")) == (None, 0.3)


def test_the_live_feed_keeps_an_idle_stream_fresh(store: OnlineStore, clock: Clock) -> None:
    store.apply([spend("a", 1), Event("a", 2, PULL, 0, 700.0)])
    feed = LiveFeed(store, seed=1, rate=0.0001)

    clock.ms += 60_000
    written = feed.tick()

    assert written == 0
    assert store.ages()["transactions"] == 0.0


def test_the_live_feed_repeats_what_customers_do(store: OnlineStore, clock: Clock) -> None:
    store.apply([spend("a", 1, -250), spend("b", 2, -250)])
    feed = LiveFeed(store, seed=1, rate=5.0)

    clock.ms += 10_000
    written = feed.tick()

    states = [state for state in store.states(["a", "b"]) if state]
    assert written > 10
    assert sum(len(state.recent) for state in states) == 2 + written
    assert {cents for state in states for _, _, cents in state.recent} == {-250}
    assert max(time for state in states for time, _, _ in state.recent) <= clock.ms
