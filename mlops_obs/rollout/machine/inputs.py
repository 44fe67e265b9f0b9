"""A look as plain data: all that a decision rests on, so that a record of it decides again alike.

The trap of replay is the number that is *nearly* the same. Live decisions are made from this form and from nothing else,
so there is no second path that could differ: the controller fills a `Look`, writes it down, and decides from it; a replay
reads it back. JSON keeps Python's floats bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mlops_obs.errors import Conflict, ObsError, TargetError
from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.gates import GateReading
from mlops_obs.rollout.log.phrases import RecordedBudget
from mlops_obs.rollout.machine.state import Request
from mlops_obs.rollout.ports import WayBack


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that was seen at `now` (Unix seconds).

    `slices` are those since the record before; `unknown` says why the evidence cannot be trusted (empty: it can), and
    `looked` is False while there is no stable revision to compare with.
    """

    now: float
    weights: Mapping[str, int] | None
    problem: str = ""
    requests: tuple[Request, ...] = ()
    looked: bool = False
    slices: tuple[Slice, ...] = ()
    until: float = 0.0
    bounds: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str = ""
    budget: RecordedBudget = field(default_factory=RecordedBudget)
    way_back: WayBack | None = None
    gates: tuple[GateReading, ...] = ()
    finishes: bool = False
    known_bad: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the look as the `input` of a record."""
        return {
            "now": self.now,
            "weights": None if self.weights is None else dict(self.weights),
            "problem": self.problem,
            "requests": [asdict(one) for one in self.requests],
            "looked": self.looked,
            "slices": [write_slice(one) for one in self.slices],
            "until": self.until,
            "bounds": list(self.bounds),
            "notes": list(self.notes),
            "unknown": self.unknown,
            "budget": self.budget.as_json(),
            "way_back": None if self.way_back is None else asdict(self.way_back),
            "gates": [_finite(asdict(one)) for one in self.gates],
            "finishes": self.finishes,
            "known_bad": self.known_bad,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Look:
        """Read back what `as_json` wrote."""
        return cls(
            now=data["now"],
            weights=data["weights"],
            problem=data["problem"],
            requests=tuple(Request(**one) for one in data["requests"]),
            looked=data["looked"],
            slices=tuple(read_slice(one) for one in data["slices"]),
            until=data["until"],
            bounds=tuple(data["bounds"]),
            notes=tuple(data["notes"]),
            unknown=data["unknown"],
            budget=RecordedBudget.from_json(data["budget"]),
            way_back=None if data["way_back"] is None else WayBack(**data["way_back"]),
            gates=tuple(GateReading(**one) for one in data["gates"]),
            finishes=data["finishes"],
            known_bad=data["known_bad"],
        )


def write_slice(one: Slice) -> list[Any]:
    """Return a slice as [start, end, weight, missing, canary, stable]."""
    return [one.start, one.end, one.weight, one.missing, _write(one.canary), _write(one.stable)]


def read_slice(data: Sequence[Any]) -> Slice:
    """Read back what `write_slice` wrote."""
    start, end, weight, missing, canary, stable = data
    return Slice(start, end, _read(canary), _read(stable), weight, missing)


def slices_of(records: Sequence[Mapping[str, Any]]) -> list[Slice]:
    """Return all slices that `records` of one rollout carry, oldest first."""
    return [read_slice(one) for record in records for one in record.get("input", {}).get("slices", ())]


def write_error(error: ObsError | None) -> dict[str, Any] | None:
    """Return what a target raised, for the input of a result."""
    if error is None:
        return None
    return {"conflict": isinstance(error, Conflict), "code": error.code, "what": error.what, "todo": error.todo, "where": error.where}


def read_error(data: Mapping[str, Any] | None) -> TargetError | None:
    """Read back what `write_error` wrote."""
    if data is None:
        return None
    return (Conflict if data["conflict"] else TargetError)(data["code"], data["what"], todo=data["todo"], where=data["where"])


def _write(counts: Counts) -> list[Any]:
    # In the order of their names, as JSON will have them: a sum of floats must not depend on who came first.
    gates = {name: list(pair) for name, pair in sorted(counts.gates.items())}
    pods = {name: list(three) for name, three in sorted(counts.pods.items())}
    return [counts.total, counts.errors, counts.timed, counts.slow, list(counts.slower), gates, pods]


def _read(data: Sequence[Any]) -> Counts:
    total, errors, timed, slow, slower, gates, pods = data
    pairs = {name: (bad, whole) for name, (bad, whole) in gates.items()}
    threes = {name: (requests, failed, late) for name, (requests, failed, late) in pods.items()}
    return Counts(total, errors, timed, slow, tuple(slower), pairs, threes)


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN and no infinity; a gate decides by `ok` and `words`, never by its value."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in fields.items()}
