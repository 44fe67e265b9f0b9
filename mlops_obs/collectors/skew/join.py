"""Joins the sides of a request by its id, whichever comes first, in bounded memory.

The trap: the offline side comes hours later or never, and after a restart the online side never comes. What waits is bounded in number
and in age, and what is given up is counted by side: a join that silently loses most of its rows looks like a clean day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlops_obs.collectors.skew.records import Recomputed, Served, Values
from mlops_obs.errors import SpecError

SERVED, OFFLINE = "served", "offline"


@dataclass(frozen=True, slots=True)
class Joined:
    """One request with all its sides."""

    served: Served
    offline: Recomputed


class Joiner:
    """Args:
        capacity: requests of each side that may wait for the other.
        max_age: seconds that a served request may wait, by the time of the newest one.
        history: older values kept per entity, from earlier requests of the same one; so many entities as `capacity`.

    Raises:
        SpecError: OBS-SKW-003 if one of them is not positive.
    """

    def __init__(self, capacity: int = 10_000, max_age: float = 86_400.0, history: int = 3) -> None:
        if capacity < 1 or not max_age > 0 or history < 0:
            raise SpecError("OBS-SKW-003", "the joiner has no room", todo="give a capacity of 1 or more and an age above 0 seconds")
        self._capacity, self._max_age, self._history = capacity, max_age, history
        self._served: OrderedDict[str, Served] = OrderedDict()
        self._offline: OrderedDict[str, Recomputed] = OrderedDict()
        self._earlier: OrderedDict[str, list[tuple[float, Values]]] = OrderedDict()
        self._newest = float("-inf")
        self.given_up = {SERVED: 0, OFFLINE: 0}

    @property
    def waiting(self) -> dict[str, int]:
        """How many requests of each side wait for the other."""
        return {SERVED: len(self._served), OFFLINE: len(self._offline)}

    def served(self, record: Served) -> Joined | None:
        """Take the served side; returns the request if its offline side was here. A repeated id replaces the earlier one."""
        self._newest = max(self._newest, record.time)
        offline = self._offline.pop(record.request_id, None)
        if offline is not None:
            return self._join(record, offline)
        self._served[record.request_id] = record
        self._served.move_to_end(record.request_id)
        self._give_up()
        return None

    def recomputed(self, offline: Recomputed) -> Joined | None:
        """Take the offline side; returns the request if its served side was here."""
        record = self._served.pop(offline.request_id, None)
        if record is not None:
            return self._join(record, offline)
        self._offline[offline.request_id] = offline
        self._offline.move_to_end(offline.request_id)
        while len(self._offline) > self._capacity:
            self._offline.popitem(last=False)
            self.given_up[OFFLINE] += 1
        return None

    def close(self) -> None:
        """Give up all that still waits; at the end of a table."""
        self.given_up[SERVED] += len(self._served)
        self.given_up[OFFLINE] += len(self._offline)
        self._served.clear()
        self._offline.clear()

    def _give_up(self) -> None:
        while self._served:
            first = next(iter(self._served.values()))
            if len(self._served) <= self._capacity and first.time >= self._newest - self._max_age:
                return
            self._served.popitem(last=False)
            self.given_up[SERVED] += 1

    def _join(self, record: Served, offline: Recomputed) -> Joined:
        older = tuple(values for _, values in self._older(record))
        if self._history and record.entity:
            seen = self._earlier.setdefault(record.entity, [])
            seen.append((record.time, offline.values))
            seen.sort(key=lambda one: -one[0])
            del seen[self._history :]
            self._earlier.move_to_end(record.entity)
            while len(self._earlier) > self._capacity:
                self._earlier.popitem(last=False)
        return Joined(record, replace(offline, earlier=offline.earlier + older) if older else offline)

    def _older(self, record: Served) -> Iterator[tuple[float, Values]]:
        return (one for one in self._earlier.get(record.entity, ()) if one[0] < record.time)
