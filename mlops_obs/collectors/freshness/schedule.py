"""Whether each expected materialisation of a table came, came late, or never came.

A table that is filled every hour has a slot for every hour: the slot of 14:00 is met once the table is complete up to 14:00, and it is
due ten minutes later. Each slot is judged once: on time, late, or missing when it is given up; a table that is then filled for the whole
night at once does not make the night good.

The trap: an age alone says nothing about a table that is filled once a day, and everything is late at 03:00 to a limit made for noon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.errors import SpecError, StateError

ON_TIME, LATE, MISSING = "on_time", "late", "missing"


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a table is filled, in seconds.

    Args:
        every: length of a slot.
        by: how long after its end a slot is due.
        offset: shifts the slots, which otherwise end at multiples of `every` since 1970 UTC.
        slack: how far before its end a slot counts as complete; for tables whose completeness is their newest event.
        give_up: how long after it was due a slot is missing; by default another slot.

    Raises:
        SpecError: OBS-FRS-006 if a length is not positive.
    """

    every: float
    by: float
    offset: float = 0.0
    slack: float = 0.0
    give_up: float | None = None

    def __post_init__(self) -> None:
        if not (self.every > 0 and self.by >= 0 and 0 <= self.slack < self.every and (self.give_up is None or self.give_up > 0)):
            what = f"every {self.every:g} s by {self.by:g} s with a slack of {self.slack:g} s"
            raise SpecError("OBS-FRS-006", what, todo="give a positive length, and a slack shorter than it")

    def end(self, slot: int) -> float:
        """Return when slot number `slot` ends (Unix seconds)."""
        return self.offset + slot * self.every

    def current(self, now: float) -> int:
        """Return the number of the last slot that has ended by `now`."""
        return math.floor((now - self.offset) / self.every)

    def missing_after(self, slot: int) -> float:
        """Return when `slot` is given up."""
        return self.end(slot) + self.by + (self.every if self.give_up is None else self.give_up)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a table says of itself: complete up to when, and when that was done, if known (Unix seconds)."""

    complete_up_to: float | None
    completed_at: float | None = None


@dataclass(slots=True)
class Materialisations:
    """Judges the slots of one table. It begins with the first slot that ends after the first look: nobody saw the earlier ones.

    Args:
        schedule: of the table.
        next_slot: number of the next slot to judge; None before the first look.
        counts: slots by outcome.
    """

    schedule: Schedule
    next_slot: int | None = None
    counts: dict[str, int] = field(default_factory=lambda: {ON_TIME: 0, LATE: 0, MISSING: 0})

    def observe(self, now: float, seen: Observation) -> list[tuple[int, str]]:
        """Take one look at `now`; returns the slots that are judged by it, with their outcome."""
        if self.next_slot is None:
            self.next_slot = self.schedule.current(now) + 1
        judged: list[tuple[int, str]] = []
        while self.next_slot <= self.schedule.current(now):
            outcome = self._outcome(self.next_slot, now, seen)
            if outcome is None:
                break
            self.counts[outcome] += 1
            judged.append((self.next_slot, outcome))
            self.next_slot += 1
        return judged

    def _outcome(self, slot: int, now: float, seen: Observation) -> str | None:
        end = self.schedule.end(slot)
        if seen.complete_up_to is not None and seen.complete_up_to >= end - self.schedule.slack:
            # When it was done is known of the newest write only. That one bounds the others: they were done no later.
            done = now if seen.completed_at is None else min(now, max(seen.completed_at, end - self.schedule.slack))
            given_up = done > self.schedule.missing_after(slot)
            return ON_TIME if done <= end + self.schedule.by else MISSING if given_up else LATE
        return MISSING if now > self.schedule.missing_after(slot) else None

    def to_json(self) -> dict[str, Any]:
        """Return what must survive a restart."""
        return {"next_slot": self.next_slot, "counts": dict(self.counts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `to_json` returned.

        Raises:
            StateError: OBS-FRS-007 if it is something else.
        """
        try:
            slot = state["next_slot"]
            counts = {outcome: int(state["counts"][outcome]) for outcome in (ON_TIME, LATE, MISSING)}
            self.next_slot, self.counts = None if slot is None else int(slot), counts
        except (KeyError, TypeError, ValueError) as error:
            raise StateError("OBS-FRS-007", f"not a state of materialisations: {error}", todo="delete it; counting begins anew") from error
