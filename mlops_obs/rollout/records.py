"""The evidence log: every request, intent, result and decision, each chained to the one before by its hash.

The trap: a log that can be edited proves nothing. The hash of a record covers its content and the hash before it, so
that changing, dropping or reordering any record shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mlops_obs.rollout.state import RolloutState

Record = dict[str, Any]
GENESIS = "0" * 64


def make_record(
    kind: Literal["intent", "result", "decision", "request"],
    state: RolloutState,
    *,
    at: float,
    action: str,
    reason: str,
    before: Mapping[str, int] | None,
    after: Mapping[str, int] | None,
    evidence: Mapping[str, Any] | None = None,
    actor: str = "controller",
    ok: bool = True,
) -> Record:
    """Return one record; `at` in Unix seconds, weights in percent by revision, `ok` False for a result that failed."""
    return {
        "at": at,
        "rollout": state.id,
        "service": state.spec.service,
        "canary": state.spec.canary,
        "stable": state.stable,
        "kind": kind,
        "phase": state.phase,
        "action": action,
        "ok": ok,
        "weights_before": None if before is None else dict(before),
        "weights_after": None if after is None else dict(after),
        "reason": reason,
        "evidence": dict(evidence or {}),
        "actor": actor,
    }


def chain(previous: str, record: Mapping[str, Any]) -> str:
    """Return the hash of `record` after the record whose hash is `previous` (SHA-256 over canonical JSON)."""
    body = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{body}".encode()).hexdigest()


def first_broken(rows: Iterable[tuple[Mapping[str, Any], str]]) -> int | None:
    """Return the index of the first (record, hash) that does not follow from those before it; None if the log is whole."""
    previous = GENESIS
    for index, (record, digest) in enumerate(rows):
        if chain(previous, record) != digest:
            return index
        previous = digest
    return None
