"""Joins requests and responses by their id, in bounded memory and time.

The trap: a response may come first, because the agent sends with five workers that do not wait for each other; and a failed request
has no response at all, so what waits must be given up after a while.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mlops_obs.collectors.payloads.events import REQUEST, Event

Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """A request and its response."""

    request: Event
    response: Event


class Pairing:
    """Holds events until their other half comes.

    Args:
        lost: told of every event that is given up, with the reason: unpaired (too old), evicted (too many) or duplicate.
        events: how many may wait.
        size: how many bytes they may have together.
        seconds: how long one may wait.
    """

    def __init__(
        self, lost: Callable[[Event, str], None], *, events: int = 20_000, size: int = 64 * 1024 * 1024, seconds: float = 60.0
    ) -> None:
        self._lost = lost
        self._events, self._size, self._seconds = events, size, seconds
        self._waiting: OrderedDict[Key, tuple[float, Event]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes of the bodies that wait."""
        return self._bytes

    def add(self, event: Event, now: float) -> Pair | None:
        """Take an event in; returns the pair if it completes one. `now` is any clock in seconds that does not jump."""
        self.expire(now)
        key = (event.namespace, event.service, event.component, event.id)
        found = self._waiting.get(key)
        if found is not None:
            self._remove(key)
            other = found[1]
            if other.kind != event.kind:
                request, response = (event, other) if event.kind == REQUEST else (other, event)
                return Pair(request, response)
            self._lost(other, "duplicate")  # a client that uses one id twice; the newer one counts
        self._waiting[key] = (now, event)
        self._bytes += len(event.body)
        while len(self._waiting) > self._events or self._bytes > self._size:
            oldest = next(iter(self._waiting))
            self._lost(self._remove(oldest), "evicted")
        return None

    def expire(self, now: float) -> None:
        """Give up what has waited too long."""
        while self._waiting:
            key, (since, _) = next(iter(self._waiting.items()))
            if now - since < self._seconds:
                return
            self._lost(self._remove(key), "unpaired")

    def _remove(self, key: Key) -> Event:
        _, event = self._waiting.pop(key)
        self._bytes -= len(event.body)
        return event
