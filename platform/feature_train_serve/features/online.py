"""The online store: one SQLite file that the event stream writes and every predictor reads.

It keeps states, not values: a window slides while nothing happens, so values are evaluated when they are asked for.
The trap is freshness. A customer who does nothing is not stale; a store that no longer follows the stream is. Age is therefore measured
against the stream's watermark per feature view ("read up to here"), never against a customer's newest event.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from feature_train_serve.features.definitions import VIEWS
from feature_train_serve.features.events import KINDS, VIEW_OF_TYPE, Event
from feature_train_serve.features.state import CustomerState
from mlops_obs.errors import StateError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS customers (customer_id TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS watermarks (feature_view TEXT PRIMARY KEY, read_up_to INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lookups (name TEXT, key TEXT, value REAL NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), behind_ms INTEGER NOT NULL);
"""


class OnlineStore:
    """Per-customer state, watermarks and small lookup tables. Safe to share between threads and processes.

    Args:
        path: the SQLite file.
        create: make it if it is missing; a predictor leaves this off, so that a wrong path is said and not served.
        wall_ms: the wall clock in milliseconds, for tests.
    """

    def __init__(self, path: Path | str, *, create: bool = False, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.path = Path(path)
        self._wall_ms = wall_ms
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        if not create and not self.path.is_file():
            raise StateError(
                "OBS-ONLINE-001", "there is no online store here", todo="run the feature step first, or correct the path", where=str(path)
            )
        with self._translated():
            if create:
                self._connection().executescript(_SCHEMA)
            row = self._connection().execute("SELECT behind_ms FROM clock").fetchone()
        self._behind_ms = int(row[0]) if row else 0

    def now_ms(self) -> int:
        """The stream's clock in milliseconds: the wall clock, or behind it where recorded events are replayed as though they ended now."""
        return self._wall_ms() - self._behind_ms

    def set_now(self, stream_ms: int) -> None:
        """Declare that it is `stream_ms` on the stream's clock now; later stores opened on this file follow it."""
        self._behind_ms = self._wall_ms() - stream_ms
        with self._translated(), self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO clock VALUES (0, ?)", (self._behind_ms,))

    def apply(self, events: Iterable[Event]) -> int:
        """Fold events into their customers' states in one transaction and return how many. Raises StateError; then nothing was applied."""
        by_customer: dict[str, list[Event]] = {}
        marks: dict[str, int] = {}
        for event in events:
            by_customer.setdefault(event.customer_id, []).append(event)
            view = VIEW_OF_TYPE[KINDS[event.kind][0]]
            marks[view] = max(event.time, marks.get(view, event.time))
        with self._translated(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for customer_id, batch in by_customer.items():
                state = self._read(connection, customer_id) or CustomerState()
                for event in batch:
                    state.observe(event)
                connection.execute("INSERT OR REPLACE INTO customers VALUES (?, ?)", (customer_id, state.to_text()))
            _advance(connection, marks)
        return sum(map(len, by_customer.values()))

    def advance(self, read_up_to: int, views: Sequence[str] = VIEWS) -> None:
        """Say that the stream of each view was read up to `read_up_to` (ms), whether or not anything happened. Never goes back."""
        with self._translated(), self._connection() as connection:
            _advance(connection, dict.fromkeys(views, read_up_to))

    def states(self, customer_ids: Sequence[str]) -> list[CustomerState | None]:
        """Return the state of each customer, None for the unknown."""
        with self._translated():
            connection = self._connection()
            return [self._read(connection, customer_id) for customer_id in customer_ids]

    def ages(self) -> dict[str, float]:
        """Return by view how many seconds the store lags behind the stream's clock; NaN where nothing was ever read."""
        now = self.now_ms()
        with self._translated():
            marks = dict(self._connection().execute("SELECT feature_view, read_up_to FROM watermarks").fetchall())
        return {view: max(0.0, (now - marks[view]) / 1000) if view in marks else float("nan") for view in VIEWS}

    def customers(self) -> list[str]:
        """Return all customer ids, sorted."""
        with self._translated():
            return [row[0] for row in self._connection().execute("SELECT customer_id FROM customers ORDER BY customer_id")]

    def put_lookup(self, name: str, values: Mapping[str, float]) -> None:
        """Replace the lookup table `name`."""
        with self._translated(), self._connection() as connection:
            connection.execute("DELETE FROM lookups WHERE name = ?", (name,))
            connection.executemany("INSERT INTO lookups VALUES (?, ?, ?)", [(name, key, value) for key, value in values.items()])

    def lookup(self, name: str, key: str) -> float | None:
        """Return one value of the lookup table `name`, None if it is not there (yet)."""
        with self._translated():
            row = self._connection().execute("SELECT value FROM lookups WHERE name = ? AND key = ?", (name, key)).fetchone()
        return float(row[0]) if row else None

    def close(self) -> None:
        """Close every connection, whichever thread opened it."""
        while self._connections:
            self._connections.pop().close()
        self._local = threading.local()

    def __reduce__(self) -> tuple[type[OnlineStore], tuple[Path]]:
        return OnlineStore, (self.path,)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    @staticmethod
    def _read(connection: sqlite3.Connection, customer_id: str) -> CustomerState | None:
        row = connection.execute("SELECT state FROM customers WHERE customer_id = ?", (customer_id,)).fetchone()
        return CustomerState.from_text(row[0]) if row else None

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(
                "OBS-ONLINE-002",
                f"the online store failed: {error}",
                todo="check free space and that the file is a store",
                where=str(self.path),
            ) from error


def _advance(connection: sqlite3.Connection, marks: Mapping[str, int]) -> None:
    connection.executemany(
        "INSERT INTO watermarks VALUES (?, ?) ON CONFLICT DO UPDATE SET read_up_to = max(read_up_to, excluded.read_up_to)",
        list(marks.items()),
    )
