"""The evidence log of one Rollout: a chain of records whose newest part rides in the status, the rest in RolloutRecord objects.

The status of the Rollout is the commit point: state and new records are one write, so neither can be without the other.
From there records move on, many to an object, named after the first of them: a name is made only once, so an object
written twice is the same object. What is *sealed*, i.e. decided to go into the next object, is part of that same status:
a restart cuts the log at the same places. A record too large for an object is written in pieces before the commit that
names it; the pieces carry its hash, so those of a commit that failed are in nobody's way.

The trap: the API server turns 1.0 into 1, and a hash covers bytes. So records are kept as texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_obs.adapters.kubernetes.api import ApiConflict, KubernetesApi, Object
from mlops_obs.adapters.kubernetes.resources import OF_ROLLOUT, RECORDS, metadata
from mlops_obs.errors import StateError
from mlops_obs.rollout.log.records import GENESIS, Record, chain

PIECE = 100_000  # bytes of one record, or of one piece of it, in an object
SEAL_BYTES, SEAL_RECORDS = 24_000, 8  # so much waits in the status before it moves on
FULL, FULL_FOR_A_RETREAT = 300_000, 600_000  # bytes that may wait while objects cannot be written; the way back keeps a reserve
_SEGMENTS = 2_000  # names of objects that the status remembers; a longer log is found by its label


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it stands in the log; `parts` says in how many pieces its text is kept elsewhere (0: it is here)."""

    seq: int
    hash: str
    text: str
    parts: int = 0

    @classmethod
    def of(cls, text: str) -> Entry:
        """Read an entry from its text."""
        said = json.loads(text)
        return cls(int(said["seq"]), str(said["hash"]), text, int(said.get("parts_elsewhere") or 0))

    @property
    def record(self) -> Record:
        """The record with its `seq` and `hash`."""
        return dict(json.loads(self.text))


def follow(head: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Chain `records` to the log that ends in `head` ({seq, hash}, empty at the beginning)."""
    seq, digest = int(head.get("seq") or 0), str(head.get("hash") or GENESIS)
    out = []
    for record in records:
        seq, digest = seq + 1, chain(digest, record)
        out.append(Entry(seq, digest, _text({**record, "seq": seq, "hash": digest})))
    return out


def first_wrong(entries: Iterable[Record], before: str = GENESIS, seq: int = 0) -> int | None:
    """Return the number of the first record that does not follow from those before it, None if the log is whole."""
    for record in entries:
        body = {key: value for key, value in record.items() if key not in ("seq", "hash")}
        seq, before = seq + 1, chain(before, body)
        if record["seq"] != seq or record["hash"] != before:
            return seq
    return None


class RecordLog:
    """Writes and reads the RolloutRecord objects of the Rollouts of a namespace."""

    def __init__(self, api: KubernetesApi, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    def append(self, name: str, status: Object, records: list[Record], *, retreating: bool, seal: bool, flushed: int) -> list[Entry]:
        """Put `records` into `status`, dropping what is `flushed` (the number of the last record that is in an object for good).

        Returns them with number and hash.

        Raises StateError if too much waits already: OBS-KUBE-010. Pieces of large records are written at once.
        """
        waiting = [entry for entry in map(Entry.of, status.get("pending") or []) if entry.seq > flushed]
        new = follow(status.get("recordsHead") or {}, records)
        sealed = int(status.get("sealed") or 0)
        outstanding = any(entry.seq <= sealed for entry in waiting)
        if new and outstanding and sum(len(entry.text) for entry in waiting) > (FULL_FOR_A_RETREAT if retreating else FULL):
            what = f"{len(waiting)} records wait and cannot be written to {RECORDS.plural}"
            raise StateError("OBS-KUBE-010", what, where=f"{self._namespace}/{name}", todo="give the account the right to create them")
        waiting += [self._cut(name, entry) for entry in new]
        status["pending"] = [entry.text for entry in waiting]
        if new:
            status["recordsHead"] = {"seq": new[-1].seq, "hash": new[-1].hash}
        enough = len(waiting) >= SEAL_RECORDS or sum(len(entry.text) for entry in waiting) >= SEAL_BYTES or seal
        if waiting and not outstanding and enough:
            status["sealed"] = waiting[-1].seq
            segments = status.get("segments")
            status["segments"] = [*segments, waiting[0].seq] if isinstance(segments, list) and len(segments) < _SEGMENTS else None
        return new

    def flush(self, name: str, status: Mapping[str, Any]) -> int:
        """Write what is sealed into its object, exactly once; return the number of the last record that is safe there.

        Raises ApiError if it cannot be written, StateError OBS-KUBE-011 if an object of that name has other records.
        """
        sealed = int(status.get("sealed") or 0)
        batch = [entry for entry in map(Entry.of, status.get("pending") or []) if entry.seq <= sealed]
        if batch:
            spec = {"first": batch[0].seq, "last": batch[-1].seq, "head": batch[-1].hash, "records": [entry.text for entry in batch]}
            self._create(name, _name(name, batch[0].seq), spec)
        return sealed

    def newest(self, name: str) -> Object:
        """Return {seq, hash} of the last record in objects: the log of a Rollout outlives it, and a new one of its name goes on."""
        specs = [item["spec"] for item in self._objects(name) if not item["spec"].get("of")]
        last = max(specs, key=lambda spec: int(spec["last"]), default=None)
        return {"seq": int(last["last"]), "hash": last["head"]} if last else {}

    def read(self, name: str, status: Mapping[str, Any], *, whole: bool = False) -> list[Record]:
        """Return the records of the newest rollout (or, with `whole`, of all that the object ever ran), oldest first."""
        segments = status.get("segments")
        if whole or not isinstance(segments, list):
            items = self._objects(name)
        else:
            sealed = int(status.get("sealed") or 0)
            waiting = {Entry.of(text).seq for text in status.get("pending") or []}
            names = [_name(name, first) for first in segments if not (first <= sealed and first in waiting)]
            items = [self._api.get(RECORDS, self._namespace, one) for one in names]
        texts = [text for item in items if not item["spec"].get("of") for text in item["spec"]["records"]]
        entries = {entry.seq: entry for entry in map(Entry.of, [*texts, *(status.get("pending") or [])])}
        return [self._join(name, entries[seq]) for seq in sorted(entries)]

    # --- inside -----------------------------------------------------------------------------------------------

    def _objects(self, name: str) -> list[Object]:
        return self._api.list_all(RECORDS, self._namespace, selector=f"{OF_ROLLOUT}={name}")[0]

    def _cut(self, name: str, entry: Entry) -> Entry:
        if len(entry.text) <= PIECE:
            return entry
        pieces = [entry.text[at : at + PIECE] for at in range(0, len(entry.text), PIECE)]
        for number, piece in enumerate(pieces):
            spec = {"first": entry.seq, "last": entry.seq, "head": entry.hash, "part": number, "of": len(pieces), "records": [piece]}
            self._create(name, _piece(name, entry, number), spec)
        rollout = entry.record.get("rollout", "")
        text = _text({"seq": entry.seq, "hash": entry.hash, "rollout": rollout, "parts_elsewhere": len(pieces)})
        return Entry(entry.seq, entry.hash, text, len(pieces))

    def _join(self, name: str, entry: Entry) -> Record:
        if not entry.parts:
            return entry.record
        objects = (self._api.get(RECORDS, self._namespace, _piece(name, entry, number)) for number in range(entry.parts))
        return dict(json.loads("".join(one["spec"]["records"][0] for one in objects)))

    def _create(self, rollout: str, name: str, spec: Object) -> None:
        body = {
            "apiVersion": RECORDS.api_version,
            "kind": RECORDS.kind,
            # No owner reference: an audit log must outlive what it is about.
            "metadata": metadata(name, self._namespace, labels={OF_ROLLOUT: rollout}),
            "spec": {"rollout": rollout, **spec},
        }
        try:
            self._api.create(RECORDS, self._namespace, body)
        except ApiConflict as error:
            found = self._api.get(RECORDS, self._namespace, name)["spec"]
            if {**found, "rollout": rollout} != body["spec"]:
                what, todo = "has other records than the log", "keep it for the inquiry, and give the Rollout another name"
                raise StateError("OBS-KUBE-011", what, where=f"rolloutrecord {self._namespace}/{name}", todo=todo) from error


def _name(rollout: str, first: int) -> str:
    return f"{rollout}-{first:08d}"


def _piece(rollout: str, entry: Entry, number: int) -> str:
    return f"{_name(rollout, entry.seq)}-{entry.hash[:10]}-{number}"


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
