"""Rollouts, requests, the controller's lease and the evidence log in one SQLite file.

Each method is one transaction: it happens whole or not at all, also on a full disk or a kill. The trap is two writers
that both read before either writes: every save names the version it read and the fencing token of the lease it holds.
The log is append-only: the file itself refuses updates and deletes, and each row carries the hash of the one before.
A file of an older version is brought up to date when it is opened; one of a newer version is left alone.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlops_obs.adapters.process_table import started
from mlops_obs.errors import StateError, UsageError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.log.records import GENESIS, Record, chain, first_broken
from mlops_obs.rollout.machine.known_bad import refuse_known_bad, rolled_back
from mlops_obs.rollout.machine.state import Kind, Request, RolloutState
from mlops_obs.rollout.readings import ActionSummary

_VERSION = 2  # of the schema and of the states in it; PRAGMA user_version of the file
_SCHEMA = """
CREATE TABLE IF NOT EXISTS rollouts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, service TEXT NOT NULL, version INTEGER NOT NULL,
    over INTEGER NOT NULL, state TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_active ON rollouts (service) WHERE over = 0;
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, kind TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
    at REAL NOT NULL, answered INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS lease (
    one INTEGER PRIMARY KEY CHECK (one = 1), owner TEXT NOT NULL, expires_at REAL NOT NULL, token INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, service TEXT NOT NULL, revision TEXT NOT NULL, kind TEXT NOT NULL,
    action TEXT NOT NULL, ok INTEGER NOT NULL, at REAL NOT NULL, body TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_rollout ON records (rollout, seq);
CREATE TRIGGER IF NOT EXISTS records_stay BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'the evidence log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS records_remain BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'the evidence log is append-only'); END;
"""


class RolloutStore:
    """The SQLite store; safe to use from several processes and threads (each thread has its own connection).

    Args:
        path: the database file; made with its schema on first use, its folder must exist.
        timeout: seconds to wait for a lock that another process holds.
    """

    def __init__(self, path: Path | str, *, timeout: float = 5.0) -> None:
        self._path = Path(path)
        self._timeout = timeout
        self._own = threading.local()

    # --- the controller's side ------------------------------------------------------------------------------

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        """Take or renew the lease; a holder on this machine whose process is gone loses it at once."""
        with self._read() as db:  # half of the time left: no need to write
            row = db.execute("SELECT token FROM lease WHERE owner = ? AND expires_at > ?", (owner, now + ttl / 2)).fetchone()
            if row:
                return int(row[0])
        with self._write() as db:
            row = db.execute("SELECT owner, expires_at, token FROM lease").fetchone()
            if row is None:
                db.execute("INSERT INTO lease VALUES (1, ?, ?, 1)", (owner, now + ttl))
                return 1
            holder, expires_at, token = str(row[0]), float(row[1]), int(row[2])
            if holder != owner:
                # An end in the far future was written before the clock was set back; it must not shut everybody out for so long.
                current = now < expires_at and (expires_at <= now + 4 * ttl or _is_running(holder))
                if current and not _is_gone(holder):
                    return None
                token += 1
            db.execute("UPDATE lease SET owner = ?, expires_at = ?, token = ?", (owner, now + ttl, token))
            return token

    def release(self, owner: str) -> None:
        """Give the lease back at a clean stop, so that the next controller need not wait."""
        with self._write() as db:
            db.execute("UPDATE lease SET expires_at = 0 WHERE owner = ?", (owner,))

    def load(self, service: str) -> Stored | None:
        """Return the newest rollout of `service` with its open requests."""
        with self._read() as db:
            row = db.execute(
                "SELECT id, version, state FROM rollouts WHERE service = ? ORDER BY number DESC LIMIT 1", (service,)
            ).fetchone()
            return self._stored(db, row) if row else None

    def save(self, stored: Stored, state: RolloutState, records: list[Record], token: int, *, answered: bool = False) -> Stored:
        """Replace the state and append `records`, all or nothing."""
        with self._write() as db:
            lease = db.execute("SELECT token FROM lease").fetchone()
            if lease is None or lease[0] != token:
                raise StateError("OBS-ROLL-013", "another controller has taken over", where=str(self._path), todo="stop this one")
            changed = db.execute(
                "UPDATE rollouts SET state = ?, over = ?, version = version + 1 WHERE id = ? AND version = ?",
                (state.model_dump_json(), int(state.over), state.id, stored.version),
            ).rowcount
            if changed != 1:
                raise StateError("OBS-ROLL-012", f"rollout {state.id} was changed meanwhile", where=str(self._path), todo="read it again")
            if answered:
                db.executemany("UPDATE requests SET answered = 1 WHERE id = ?", [(one.id,) for one in stored.requests])
            self._append(db, records)
            return Stored(state, stored.version + 1, () if answered else stored.requests)

    # --- the user's side ------------------------------------------------------------------------------------

    def create(self, state: RolloutState, record: Record) -> RolloutState:
        """Add a rollout; its id gets a number that makes it unique.

        Raises:
            UsageError: OBS-ROLL-010 if a rollout of the service is still running, or has a request that nobody has answered yet;
                OBS-ROLL-022 if its digest was rolled back before and `state.override` does not say why it may go again.
        """
        with self._write() as db:
            running = db.execute("SELECT id FROM rollouts WHERE service = ? AND over = 0", (state.spec.service,)).fetchone()
            if running:
                todo = f"wait for it, or: obs rollout abort --reason ... ({running[0]})"
                raise UsageError("OBS-ROLL-010", f"rollout {running[0]} of {state.spec.service} is still running", todo=todo)
            query = """SELECT kind, rollout FROM requests WHERE answered = 0
                AND rollout = (SELECT id FROM rollouts WHERE service = ? ORDER BY number DESC LIMIT 1)"""
            waiting = db.execute(query, (state.spec.service,)).fetchone()
            if waiting:  # the controller looks at the newest rollout only: a rollback asked of the one before would be lost
                what = f"the {waiting[0]} asked of rollout {waiting[1]} is not done yet"
                raise UsageError("OBS-ROLL-010", what, todo="wait for it; it needs a running `obs rollout controller`")
            refuse_known_bad(state.spec, self._bad_digests(db, state.spec.service), state.override)
            number = db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM rollouts").fetchone()[0]
            query = "SELECT state FROM rollouts WHERE service = ? ORDER BY number DESC LIMIT 1"
            before = db.execute(query, (state.spec.service,)).fetchone()
            # What nobody has taken yet goes on with the newest rollout, for the controller looks at no other.
            waiting = RolloutState.model_validate_json(before[0]).outbox if before else ()
            state = state.model_copy(update={"id": f"{state.id}-{number}", "outbox": (*waiting, *state.outbox)})
            db.execute(
                "INSERT INTO rollouts (id, service, version, over, state) VALUES (?, ?, 1, 0, ?)",
                (state.id, state.spec.service, state.model_dump_json()),
            )
            if "state" in record.get("input", {}):
                record = {**record, "input": {**record["input"], "state": state.model_dump(mode="json")}}
            self._append(db, [{**record, "rollout": state.id}])
            return state

    def bad_digests(self, service: str) -> dict[str, str]:
        """Return the digests that were rolled back, each with the newest rollout that did it."""
        with self._read() as db:
            return self._bad_digests(db, service)

    def request(self, rollout: str, kind: Kind, actor: str, reason: str, at: float) -> int:
        """Ask the controller for something; return the request's number."""
        with self._write() as db:
            cursor = db.execute(
                "INSERT INTO requests (rollout, kind, actor, reason, at) VALUES (?, ?, ?, ?, ?)", (rollout, kind, actor, reason, at)
            )
            return int(cursor.lastrowid or 0)

    def find(self, rollout: str) -> Stored | None:
        """Return a rollout by its id."""
        with self._read() as db:
            row = db.execute("SELECT id, version, state FROM rollouts WHERE id = ?", (rollout,)).fetchone()
            return self._stored(db, row) if row else None

    def rollouts(self, service: str) -> list[RolloutState]:
        """Return all rollouts of `service`, oldest first."""
        with self._read() as db:
            rows = db.execute("SELECT state FROM rollouts WHERE service = ? ORDER BY number", (service,)).fetchall()
            return [RolloutState.model_validate_json(row[0]) for row in rows]

    def records(self, service: str, rollout: str | None = None) -> list[Record]:
        """Return the evidence log in order, of one rollout or of all, each with its `seq` and `hash`."""
        query, values = "SELECT seq, body, hash FROM records WHERE service = ?", [service]
        if rollout is not None:
            query, values = query + " AND rollout = ?", [service, rollout]
        with self._read() as db:
            rows = db.execute(query + " ORDER BY seq", values).fetchall()
        return [{**json.loads(body), "seq": seq, "hash": digest} for seq, body, digest in rows]

    def history(self, rollout: str) -> list[Record]:
        """Return all records of one rollout, oldest first, each with its `seq` and `hash`."""
        with self._read() as db:
            rows = db.execute("SELECT seq, body, hash FROM records WHERE rollout = ? ORDER BY seq", (rollout,)).fetchall()
        return [{**json.loads(body), "seq": seq, "hash": digest} for seq, body, digest in rows]

    def newest_evidence(self, rollout: str) -> Record | None:
        """Return the newest record of `rollout` that carries test results."""
        query = "SELECT body FROM records WHERE rollout = ? AND kind != 'request' ORDER BY seq DESC LIMIT 20"
        with self._read() as db:
            rows = db.execute(query, (rollout,)).fetchall()
        bodies: list[Record] = [json.loads(row[0]) for row in rows]
        return next((body for body in bodies if body["evidence"].get("tests")), None)

    def summary(self, service: str) -> list[ActionSummary]:
        """Return, per revision and action, how often it was decided and when it was last carried out.

        What touches the target is done when its result says so; its decision alone may be followed by a failure.
        """
        query = """SELECT revision, action, SUM(kind = 'decision'),
            MAX(CASE WHEN ok AND action != 'wait' AND (kind = 'result' OR (kind = 'decision' AND (
                action NOT IN ('deploy', 'advance', 'rollback', 'abort') OR json_extract(body, '$.phase') IN ('RolledBack', 'Aborted'))))
                THEN at END)
            FROM records WHERE service = ? AND kind != 'request' GROUP BY revision, action"""
        with self._read() as db:
            return [ActionSummary(*row) for row in db.execute(query, (service,)).fetchall()]

    def controller(self, now: float) -> str | None:
        """Return the owner of the lease if a controller is alive.

        One on this machine is alive while its process is: during a long deploy it cannot renew its lease.
        """
        with self._read() as db:
            row = db.execute("SELECT owner, expires_at FROM lease").fetchone()
        if row is None or row[1] == 0 or _is_gone(str(row[0])):
            return None
        return str(row[0]) if row[1] > now or _is_running(str(row[0])) else None

    def broken_record(self) -> int | None:
        """Return the number of the first record whose hash does not follow from those before it; None if the log is whole."""
        with self._read() as db:
            rows = db.execute("SELECT seq, body, hash FROM records ORDER BY seq").fetchall()
        index = first_broken((json.loads(body), digest) for _, body, digest in rows)
        return None if index is None else int(rows[index][0])

    # --- inside ---------------------------------------------------------------------------------------------

    def _stored(self, db: sqlite3.Connection, row: tuple[str, int, str]) -> Stored:
        query = "SELECT id, kind, actor, reason, at FROM requests WHERE rollout = ? AND answered = 0 ORDER BY id"
        requests = tuple(Request(*values) for values in db.execute(query, (row[0],)).fetchall())
        state = RolloutState.model_validate_json(row[2])
        bad = self._bad_digests(db, state.spec.service) if state.spec.digest and not state.deployed else {}
        return Stored(state, int(row[1]), requests, bad.get(state.spec.digest, ""))

    def _bad_digests(self, db: sqlite3.Connection, service: str) -> dict[str, str]:
        query = """SELECT state FROM rollouts WHERE service = ? AND over = 1
            AND json_extract(state, '$.phase') = 'RolledBack' AND json_extract(state, '$.spec.digest') != '' ORDER BY number"""
        states = [RolloutState.model_validate_json(row[0]) for row in db.execute(query, (service,)).fetchall()]
        return {one.spec.digest: one.id for one in states if rolled_back(one)}

    def _append(self, db: sqlite3.Connection, records: list[Record]) -> None:
        last = db.execute("SELECT hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        digest = str(last[0]) if last else GENESIS
        for record in records:
            digest = chain(digest, record)
            db.execute(
                "INSERT INTO records (rollout, service, revision, kind, action, ok, at, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(record[key] for key in ("rollout", "service", "canary", "kind", "action")),
                    int(record["ok"]),
                    record["at"],
                    json.dumps(record, sort_keys=True),
                    digest,
                ),
            )

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            yield db

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection. It stays open, for closing the last one writes the whole file back each time."""
        try:
            yield self._open()
        except sqlite3.Error as error:
            self._own.db = None
            todo = "see that the folder exists and is yours to write, the disk is not full and no other program locks the file"
            raise StateError("OBS-ROLL-011", f"the rollout store failed: {error}", where=str(self._path), todo=todo) from error
        except ValidationError as error:
            what = f"a rollout in it cannot be read: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})"
            raise StateError("OBS-ROLL-020", what, where=str(self._path), todo="use the version of obs that wrote it") from error

    def _open(self) -> sqlite3.Connection:
        held: tuple[int, sqlite3.Connection] | None = getattr(self._own, "db", None)
        if held and held[0] == os.getpid():  # a connection must not cross a fork
            return held[1]
        db = sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # an intent must be on disk before we act on it
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > _VERSION:
            db.close()
            what = f"the file has version {version} of the rollout store, and this obs knows {_VERSION}"
            raise StateError("OBS-ROLL-023", what, where=str(self._path), todo="use the newer obs that wrote it")
        if version < _VERSION:
            self._bring_up_to_date(db)
        self._own.db = (os.getpid(), db)
        return db

    def _bring_up_to_date(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in _statements(_SCHEMA):
                db.execute(statement)
            if int(db.execute("PRAGMA user_version").fetchone()[0]) < _VERSION:  # nobody else was quicker
                for number, body in db.execute("SELECT number, state FROM rollouts").fetchall():
                    db.execute("UPDATE rollouts SET state = ? WHERE number = ?", (json.dumps(_modern(json.loads(body))), number))
                db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.close()
            raise


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements: `executescript` would commit the transaction that it runs in."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _modern(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state of version 1 (odds instead of ratios, no plan of weights) as one of version 2."""
    spec = dict(state["spec"])
    odds = spec.pop("least_detectable_odds", None)
    if odds is not None:
        spec.setdefault("least_detectable_ratio", max(float(odds), 1.01))
    plan = spec.get("steps", []) if state.get("stable") else []
    return {"plan": plan, "updated_at": state.get("created_at", 0.0), **state, "spec": spec}


def process_owner() -> str:
    """Return this process's name for the lease: machine, process id and the moment the process started."""
    return f"{socket.gethostname()}/{os.getpid()}/{started(os.getpid())}"


def _is_gone(owner: str) -> bool:
    """Tell whether `owner` is a process of this machine that has ended; in doubt it has not."""
    return _here(owner) and not _is_running(owner) and Path("/proc/self/stat").exists()


def _is_running(owner: str) -> bool:
    """Tell whether `owner` is a process of this machine that runs; in doubt it does not."""
    return _here(owner) and started(int(owner.split("/")[1])) == owner.split("/")[2]


def _here(owner: str) -> bool:
    parts = owner.split("/")
    return len(parts) == 3 and parts[0] == socket.gethostname() and parts[1].isdigit() and parts[2] != ""
