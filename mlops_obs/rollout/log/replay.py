"""Every decision again, offline, from the log alone; and what another spec would have decided at the same looks.

The trap is a replay that is kind: one that fills in what a record does not say, or compares rounded numbers. Here each
record of a decision is made anew from its recorded input and compared as bytes of canonical JSON, statistics included.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops_obs.errors import StateError
from mlops_obs.rollout.evidence.slices import Slice
from mlops_obs.rollout.log.records import Record, decided, done
from mlops_obs.rollout.machine.decide import decide, settle
from mlops_obs.rollout.machine.inputs import Look, read_error
from mlops_obs.rollout.machine.look import see
from mlops_obs.rollout.machine.state import Decision, RolloutState, Seen
from mlops_obs.rollout.spec.rollout import Rollout

_OUTSIDE = ("seq", "hash")  # of the store, not of the record


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of record `seq` (`at` in Unix seconds) that the replay has otherwise; `field` is a path such as `evidence.tests`."""

    seq: int
    at: float
    field: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of a rollout: what was known, and what follows from it. `slices` are all so far."""

    record: Record
    before: RolloutState
    look: Look
    slices: tuple[Slice, ...]
    seen: Seen
    decision: Decision


def replay(records: Sequence[Record]) -> list[Difference]:
    """Decide again at every recorded look of one rollout; an empty list means: all the same, byte for byte.

    Raises:
        StateError: OBS-ROLL-025 if the records do not start with the request that started the rollout, or carry no inputs.
    """
    out: list[Difference] = []
    for made, recorded in _made_again(records):
        out += _differences(recorded, made)
    return out


def decisions(records: Sequence[Record]) -> int:
    """Return how many decisions `records` hold, those that `replay` makes again."""
    return sum("now" in one.get("input", {}) for one in records)


def steps(records: Sequence[Record]) -> Iterator[Step]:
    """Yield every decision with what was known then, e.g. to explain it.

    Raises:
        StateError: OBS-ROLL-025, as `replay`.
    """
    state = _first(records)
    slices: list[Slice] = []
    pending: Decision | None = None
    for record in records:
        given = record.get("input", {})
        if "now" in given:
            look = Look.from_json(given)
            slices += look.slices
            seen = see(state, look, slices)
            decision = decide(state, seen, look.now)
            yield Step(record, state, look, tuple(slices), seen, decision)
            state = decision.state.model_copy(update={"updated_at": look.now})
            pending = decision
        elif "error" in given and pending is not None and pending.action is not None:
            state = settle(state, pending.action, read_error(given["error"]), given["at"]).model_copy(update={"updated_at": given["at"]})


def what_if(records: Sequence[Record], **changes: Any) -> list[Difference]:
    """Return where another spec (e.g. `alpha=0.05`) would have decided otherwise, at the looks that were recorded.

    The traffic is what it was, so only the first difference in the verb is certain: what follows it would have had other evidence.
    """
    out: list[Difference] = []
    for one in steps(records):
        spec = Rollout.model_validate({**one.before.spec.model_dump(), **changes})
        before = one.before.model_copy(update={"spec": spec})
        seen = see(before, one.look, one.slices)
        other = decide(before, seen, one.look.now)
        pairs = (
            ("action", one.decision.verb, other.verb),
            ("verdict", one.seen.verdict.kind, seen.verdict.kind),
            ("phase", one.decision.state.phase, other.state.phase),
            ("reason", one.decision.reason, other.reason),
        )
        changed = [pair for pair in pairs if pair[1] != pair[2]]
        if any(name != "reason" for name, _, _ in changed):
            out += [Difference(int(one.record.get("seq", 0)), one.look.now, *pair) for pair in changed]
    return out


def _first(records: Sequence[Record]) -> RolloutState:
    given = records[0].get("input", {}) if records else {}
    if "state" not in given:
        what = "the log does not begin with the request that started the rollout, with its input"
        raise StateError("OBS-ROLL-025", what, todo="give all its records; those of obs 0.1 carry no inputs and cannot be replayed")
    return RolloutState.model_validate(given["state"])


def _made_again(records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield (made again, recorded) for every record that follows from others: decisions, intents, results and answered requests."""
    state = _first(records)
    slices: list[Slice] = []
    waiting: list[Record] = []  # made again, their turn has not come yet
    pending: tuple[Decision, Seen] | None = None
    bodies = [{key: value for key, value in one.items() if key not in _OUTSIDE} for one in records]
    for index, record in enumerate(bodies[1:], 1):
        if not waiting and ("now" in record.get("input", {}) or record["kind"] == "request"):
            # Answers to requests stand before the decision that gives them, and follow from its input.
            turn = next((one for one in bodies[index:] if "now" in one.get("input", {})), None)
            if turn is None:
                break
            look = Look.from_json(turn["input"])
            slices += look.slices
            seen = see(state, look, slices)
            decision = decide(state, seen, look.now)
            decision = Decision(decision.state.model_copy(update={"updated_at": look.now}), decision.verb, decision.reason, decision.action)
            waiting = decided(state, decision, seen, look)
            state, pending = decision.state, (decision, seen)
        if waiting:
            made = waiting.pop(0)
        elif "error" in record.get("input", {}) and pending is not None and pending[0].action is not None:
            at = record["input"]["at"]
            error = read_error(record["input"]["error"])
            state = settle(state, pending[0].action, error, at).model_copy(update={"updated_at": at})
            made = done(pending[0], state, pending[1], error, at)
        else:
            made = {}
        yield made, {**record, "seq": records[index].get("seq", index)}


def _differences(recorded: Record, made: Record) -> list[Difference]:
    seq, body = int(recorded["seq"]), {key: value for key, value in recorded.items() if key != "seq"}
    if _bytes(body) == _bytes(made):
        return []
    return [Difference(seq, body["at"], *one) for one in _unlike("", body, made)]


def _unlike(path: str, recorded: Any, made: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(recorded, Mapping) and isinstance(made, Mapping):
        for key in sorted({*recorded, *made}, key=str):
            yield from _unlike(f"{path}.{key}" if path else str(key), recorded.get(key), made.get(key))
    elif _bytes(recorded) != _bytes(made):
        yield path, recorded, made


def _bytes(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True)
