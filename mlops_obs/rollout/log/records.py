"""The evidence log: every request, intent, result and decision, each chained to the one before by its hash.

The trap: a log that can be edited proves nothing. The hash of a record covers its content and the hash before it, so
that changing, dropping or reordering any record shows. And a log that holds only conclusions must be believed: a decision
carries its whole `input`, so that `replay` computes it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from mlops_obs.errors import ObsError
from mlops_obs.rollout.machine.inputs import Look, write_error
from mlops_obs.rollout.machine.state import Decision, Request, RolloutState, Seen, SetWeights

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
    given: Mapping[str, Any] | None = None,
) -> Record:
    """Return one record; `at` in Unix seconds, weights in percent by revision, `ok` False for a result that failed.

    `given` is its `input`: a look for a decision, an error for a result. The request that starts a rollout has the first state.
    """
    if given is None and action == "start":
        given = {"state": state.model_dump(mode="json")}
    record = {
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
    return record if given is None else {**record, "input": dict(given)}


def decided(before: RolloutState, decision: Decision, seen: Seen, look: Look) -> list[Record]:
    """Return the records of a decision: the requests that it answers, the decision with its input, and the intent if it acts."""
    state, now, action = decision.state, look.now, decision.action
    out = [_asked(state, one, seen) for one in seen.requests]
    after = dict(action.weights) if isinstance(action, SetWeights) else seen.weights
    # The target confirms a retreat that was decided, and recorded as a decision, before.
    confirmed = action is None and not before.over and state.phase in ("RolledBack", "Aborted") and before.goal != "forward"
    evidence, given = seen.numbers(), look.as_json()
    for kind in ("decision", "intent") if action is not None else ("result",) if confirmed else ("decision",):
        out.append(
            make_record(
                kind,
                state,
                at=now,
                action=decision.verb,
                reason=decision.reason,
                before=seen.weights,
                after=after,
                evidence=evidence,
                given=given,
            )
        )
        given = None  # type: ignore[assignment]  # the intent repeats the decision; its input stands there
    return out


def done(decision: Decision, state: RolloutState, seen: Seen, error: ObsError | None, at: float) -> Record:
    """Return the record of what became of the decision's action at `at`; `state` is the settled one."""
    action = decision.action
    after = dict(action.weights) if isinstance(action, SetWeights) else seen.weights
    return make_record(
        "result",
        state,
        at=at,
        action=decision.verb,
        reason=decision.reason if error is None else state.reason,
        before=seen.weights,
        after=after if error is None else None,
        evidence=seen.numbers(),
        ok=error is None,
        given={"error": write_error(error), "at": at},
    )


def _asked(state: RolloutState, request: Request, seen: Seen) -> Record:
    return make_record(
        "request", state, at=request.at, action=request.kind, reason=request.reason, before=seen.weights, after=None, actor=request.actor
    )


def news(before: RolloutState, after: RolloutState) -> bool:
    """Tell whether a decision must be recorded at once: anything is new but words and the time."""
    return _substance(before) != _substance(after)


def _substance(state: RolloutState) -> dict[str, Any]:
    fields = dict(state)
    for name in ("reason", "updated_at", "budget", "outbox"):
        del fields[name]
    return {**fields, "way_back": bool(state.way_back)}


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
