"""Scraped samples in one SQLite file: what Prometheus' database is to the embedded engine.

Raw samples are kept for two hours; older ones are thinned to five minutes without losing one count. The trap is in the
thinning: dropping the peak before a counter reset, or the first value after it, loses events for good. So each five-minute
slot keeps its first and last sample, and both sides of every reset.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mlops_obs.adapters.exposition import Sample
from mlops_obs.errors import StateError, TelemetryUnavailable
from mlops_obs.slo.counters import Series

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS series (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, kind TEXT NOT NULL, UNIQUE (name, labels));
CREATE TABLE IF NOT EXISTS sample (
  series INTEGER NOT NULL, at REAL NOT NULL, value REAL NOT NULL, PRIMARY KEY (series, at)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS document (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
RAW_SECONDS, SLOT_SECONDS, RETENTION_SECONDS = 2 * 3600, 300, 35 * 86_400
_BUSY_SECONDS = 5.0
_BATCH = 50  # series thinned at once; scrapes wait for no more than that
Key = tuple[str, frozenset[tuple[str, str]]]


class SampleStore:
    """The writing side, owned by the engine; one connection, safe to call from several threads.

    Raises:
        StateError: OBS-STORE-001 from every method, if the file cannot be opened or written (full disk, damaged, locked).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._ids: dict[Key, int] = {}
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
            self._database.executescript(_SCHEMA)

    def append(self, samples: Iterable[tuple[Sample, float]]) -> None:
        """Store (sample, Unix seconds) pairs, all or none."""
        with self._lock, self._translated():
            try:
                with self._database:
                    rows = [(self._id(sample), at, sample.value) for sample, at in samples]
                    self._database.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?)", rows)
            except sqlite3.Error:
                # The ids handed out in the transaction were rolled back with it.
                self._ids.clear()
                raise

    def thin(self, now: float) -> None:
        """Drop what is older than 35 days; thin what is older than 2 hours. Counts stay exact. Cheap to call often."""
        until = (now - RAW_SECONDS) // SLOT_SECONDS * SLOT_SECONDS
        since = float(self.document("thinned_until") or 0)
        if until <= since:
            return
        with self._lock, self._translated():
            known = self._database.execute("SELECT id, kind FROM series").fetchall()
        for first in range(0, len(known), _BATCH):
            with self._lock, self._translated(), self._database:
                for number, kind in known[first : first + _BATCH]:
                    read = "SELECT at, value FROM sample WHERE series = ? AND at >= ? AND at < ? ORDER BY at"
                    samples = self._database.execute(read, (number, since, until)).fetchall()
                    dropped = ((number, at) for at in redundant(samples, is_counter=kind == "counter"))
                    self._database.executemany("DELETE FROM sample WHERE series = ? AND at = ?", dropped)
                    self._database.execute("DELETE FROM sample WHERE series = ? AND at < ?", (number, now - RETENTION_SECONDS))
        # Thinning twice changes nothing, so a stop before this line costs only the work.
        self.keep("thinned_until", str(until))
        with self._lock, self._translated(), self._database:
            self._database.execute("DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM sample WHERE sample.series = series.id)")
            self._ids.clear()

    def document(self, key: str) -> str | None:
        """Return the document stored under `key`, or None."""
        with self._lock, self._translated():
            row = self._database.execute("SELECT value FROM document WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def keep(self, key: str, value: str) -> None:
        """Store a small document, e.g. the open incidents."""
        with self._lock, self._translated(), self._database:
            self._database.execute("INSERT OR REPLACE INTO document VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def _id(self, sample: Sample) -> int:
        key = (sample.name, frozenset(sample.labels.items()))
        found = self._ids.get(key)
        if found is None:
            row = (sample.name, json.dumps(dict(sample.labels), sort_keys=True))
            self._database.execute("INSERT OR IGNORE INTO series (name, labels, kind) VALUES (?, ?, ?)", (*row, sample.kind))
            found = int(self._database.execute("SELECT id FROM series WHERE name = ? AND labels = ?", row).fetchone()[0])
            self._ids[key] = found
        return found

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            what = f"the sample store cannot be used ({error})"
            raise StateError("OBS-STORE-001", what, where=str(self.path), todo="check free space and who owns the file") from error


def redundant(samples: Sequence[tuple[float, float]], *, is_counter: bool) -> list[float]:
    """Return the times of samples (in time order) whose loss changes no count between the edges of five-minute slots."""
    out = []
    for (before, earlier), (at, value), (after, later) in zip(samples, samples[1:], samples[2:], strict=False):
        inside = before // SLOT_SECONDS == at // SLOT_SECONDS == after // SLOT_SECONDS
        if inside and not (is_counter and (value < earlier or later < value)):
            out.append(at)
    return out


class EmbeddedCounters:
    """A `CounterSource` on the engine's file; readers in other processes do not disturb the engine."""

    def __init__(self, db: Path) -> None:
        self._path = db

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        """Return samples with start < t <= end (Unix seconds); see `CounterSource`.

        A stopped engine is no error here: its samples just grow old, and readers judge their age.

        Raises:
            TelemetryUnavailable: OBS-STORE-002 if the file is missing, damaged or locked.
        """
        uri = f"{self._path.resolve().as_uri()}?mode=rw"
        try:
            with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as database:
                known = database.execute("SELECT id, labels FROM series WHERE name = ? ORDER BY labels", (metric,)).fetchall()
                wanted = [(number, labels) for number, text in known if _matches(labels := json.loads(text), matchers)]
                read = "SELECT at, value FROM sample WHERE series = ? AND at > ? AND at <= ? ORDER BY at"
                found = [Series(labels, database.execute(read, (number, start, end)).fetchall()) for number, labels in wanted]
        except (sqlite3.Error, ValueError) as error:
            what = f"the embedded engine's samples cannot be read ({error})"
            todo = "check that `obs monitor` runs and writes this file"
            raise TelemetryUnavailable("OBS-STORE-002", what, where=str(self._path), todo=todo) from error
        return [one for one in found if one.samples]


def _matches(labels: Mapping[str, str], matchers: Mapping[str, str]) -> bool:
    # As in PromQL, a label that is absent equals the empty string.
    return all(labels.get(name, "") == value for name, value in matchers.items())
