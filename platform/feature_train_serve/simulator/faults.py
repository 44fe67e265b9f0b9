"""Faults of the synthetic lender, on demand and as data: what breaks, from which day on, how much.

Two sorts. Some change the world (a shock, a new channel, another relation between behaviour and default): truth and records move
together. Others change only what is recorded (an outage, a unit, a table that is not written): the truth stays and the records lie.
Telling these apart is what a monitor is for, so the simulator keeps them apart.

The trap: a fault may not disturb anything before its start, or a detector is rewarded for seeing the future. Every random draw is
therefore made whether or not a fault uses it, and tests compare the history before the start byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from mlops_obs.errors import SpecError


class FaultName(StrEnum):
    """What can be broken."""

    MACRO_SHOCK = "macro_shock"
    BUREAU_OUTAGE = "bureau_outage"
    UNIT_CHANGE = "unit_change"
    NEW_CHANNEL = "new_channel"
    LATE_TABLE = "late_table"
    CORRELATION_FLIP = "correlation_flip"
    CONCEPT_CHANGE = "concept_change"


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a fault is read: the strength it has if none is given, what the strength means, and the values of `how`, the first by default."""

    strength: float
    unit: str
    how: tuple[str, ...]
    words: str


_TABLES = ("transaction", "repayment", "bureau", "application")
MEANINGS: dict[FaultName, Meaning] = {
    FaultName.MACRO_SHOCK: Meaning(
        1.0,
        "standard deviations of stress",
        (),
        "everybody's hidden stress rises: more cash and bets, fewer salaries, more missed instalments",
    ),
    FaultName.BUREAU_OUTAGE: Meaning(
        1.0, "share of pulls", ("nulls", "stale"), "the bureau answers without a score (nulls) or not at all (stale: the old score ages)"
    ),
    FaultName.UNIT_CHANGE: Meaning(100.0, "factor", _TABLES, "amounts of one event type are multiplied by the factor"),
    FaultName.NEW_CHANNEL: Meaning(0.5, "share of new applications", ("mobile",), "applications come through a channel nobody has seen"),
    FaultName.LATE_TABLE: Meaning(1.0, "share of rows", _TABLES, "events of one type happen and are not written any more"),
    FaultName.CORRELATION_FLIP: Meaning(
        1.0, "1 is the whole way", (), "who earns more spends less instead of more; each margin keeps its distribution"
    ),
    FaultName.CONCEPT_CHANGE: Meaning(1.0, "log-odds", (), "the same behaviour leads to more missed instalments"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks at `start` (days after the first simulated day) and is mended at `end`.

    `strength` and `how` mean what `MEANINGS` says.
    """

    name: FaultName
    start: float
    strength: float
    end: float = math.inf
    how: str = ""

    def active(self, day: np.ndarray) -> np.ndarray:
        """Return which of the days lie within the fault."""
        return (day >= self.start) & (day < self.end)


@dataclass(frozen=True, slots=True)
class Faults:
    """All faults of one simulation, asked by what they do."""

    faults: Sequence[Fault] = field(default=())

    def total(self, name: FaultName, day: np.ndarray) -> np.ndarray:
        """Return the sum of the strengths of the faults called `name` on each day."""
        return np.sum([one.strength * one.active(day) for one in self._named(name)], axis=0) if self._named(name) else np.zeros(day.shape)

    def hit(self, name: FaultName, day: np.ndarray, chance: np.ndarray, how: str = "") -> np.ndarray:
        """Return which rows a fault called `name` (and of this `how`) hits: `chance` is each row's own uniform draw."""
        found = np.zeros(day.shape, dtype=bool)
        for one in self._named(name):
            if not how or one.how == how:
                found |= one.active(day) & (chance < one.strength)
        return found

    def factor(self, day: np.ndarray, event_type: str) -> np.ndarray:
        """Return what unit changes multiply the amounts of `event_type` with."""
        factor = np.ones(day.shape)
        for one in self._named(FaultName.UNIT_CHANGE):
            if one.how == event_type:
                factor = np.where(one.active(day), factor * one.strength, factor)
        return factor

    def _named(self, name: FaultName) -> list[Fault]:
        return [one for one in self.faults if one.name is name]


def fault(name: str, start: float, *, strength: float | None = None, end: float = math.inf, how: str = "") -> Fault:
    """Build a fault with the defaults of its name.

    Raises:
        SpecError: OBS-SIM-001 if there is no such fault, OBS-SIM-002 if a value makes no sense.
    """
    if name not in MEANINGS:
        raise SpecError("OBS-SIM-001", f"no fault is called {name!r}", todo=f"use {', '.join(FaultName)}", where="--fault")
    meaning = MEANINGS[FaultName(name)]
    strength = meaning.strength if strength is None else strength
    how = how or (meaning.how[0] if meaning.how else "")
    share = meaning.unit.startswith("share")
    if not (math.isfinite(start) and start >= 0 and end > start):
        what, todo = f"{name} from day {start:g} to day {end:g}", "start at day 0 or later and end after the start"
    elif not math.isfinite(strength) or (share and not 0 <= strength <= 1) or (name == FaultName.UNIT_CHANGE and strength <= 0):
        what, todo = f"{name} of strength {strength:g}", f"its strength is in {meaning.unit}, {meaning.strength:g} by default"
    elif how and how not in meaning.how and name != FaultName.NEW_CHANNEL:
        what, todo = f"{name} how={how}", f"use {', '.join(meaning.how)}" if meaning.how else "leave `how` out"
    else:
        return Fault(FaultName(name), start, strength, end, how)
    raise SpecError("OBS-SIM-002", what, todo=todo, where="--fault")


def parse(text: str, start: float) -> Fault:
    """Read `name` or `name:start=300,strength=2,end=330,how=stale`; a fault without a start begins on day `start`.

    Raises:
        SpecError: OBS-SIM-001 or OBS-SIM-002.
    """
    name, _, rest = text.partition(":")
    values: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in ("start", "strength", "end", "how"):
            raise SpecError("OBS-SIM-002", f"cannot read {part!r}", todo="write start=, end=, strength= or how=", where=f"--fault {text}")
        values[key] = value
    try:
        numbers = {key: float(values[key]) for key in ("strength", "end") if key in values}
        return fault(name.strip(), float(values.get("start", start)), how=values.get("how", ""), **numbers)
    except ValueError as error:
        raise SpecError("OBS-SIM-002", str(error), todo="start, end and strength are numbers", where=f"--fault {text}") from error
