"""A queue of keys to look at: each at most once, never by two workers, and later after failures.

It is level-triggered: adding a key says "look at it", not "this happened". A key added while it is being looked at is
looked at again. A failure waits for an exponentially growing, jittered time, and failures of all keys together pass a
token bucket, so that an API server that comes back is not trampled.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """A thread-safe queue.

    Args:
        clock: seconds of a clock that does not jump.
        jitter: 0 to 1; a pause is between half of its length and the whole.
        first, longest: seconds of the pause after the first failure, and of the longest one.
        rate, burst: failures per second that may be tried again, all keys together, and how many at once.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: 1.0,
        first: float = 0.2,
        longest: float = 10.0,
        rate: float = 50.0,
        burst: int = 100,
    ) -> None:
        self._clock, self._jitter, self._first, self._longest = clock, jitter, first, longest
        self._rate, self._burst, self._next_free = rate, burst, -math.inf
        self._ready: deque[K] = deque()
        self._since: dict[K, float] = {}  # when a key became ready
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()

    def add(self, key: K) -> None:
        """Have `key` looked at now."""
        with self._changed:
            self._due.pop(key, None)
            self._add(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Have `key` looked at in `seconds`, unless it is due earlier."""
        with self._changed:
            at = self._clock() + seconds
            if key in self._since or self._due.get(key, at + 1) <= at:
                return
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._later, (at, self._count, key))
            self._changed.notify()

    def failed(self, key: K) -> float:
        """Have `key` looked at again after its pause; return the pause in seconds."""
        with self._changed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            now = self._clock()
            pause = min(self._longest, self._first * 2.0 ** min(failures - 1, 30)) * (0.5 + 0.5 * self._jitter())
            # The bucket: each retry takes 1/rate seconds of it, and `burst` of them may be taken in advance.
            self._next_free = max(self._next_free, now - self._burst / self._rate) + 1 / self._rate
            pause = max(pause, self._next_free - now)
        self.add_after(key, pause)
        return pause

    def succeeded(self, key: K) -> None:
        """Forget the failures of `key`."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self, timeout: float | None = None) -> K | None:
        """Wait for a key that nobody is looking at; None after `timeout` seconds or once the queue is closed. Call `done` after it."""
        deadline = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._closed:
                now = self._clock()
                while self._later and self._later[0][0] <= now:
                    at, _, key = heapq.heappop(self._later)
                    if self._due.get(key) == at:
                        del self._due[key]
                        self._add(key)
                if self._ready:
                    key = self._ready.popleft()
                    del self._since[key]
                    self._active.add(key)
                    return key
                waits = [self._later[0][0] - now] if self._later else []
                if deadline is not None:
                    if now >= deadline:
                        return None
                    waits.append(deadline - now)
                self._changed.wait(min(waits) if waits else None)
            return None

    def done(self, key: K) -> None:
        """Say that nobody is looking at `key` any more."""
        with self._changed:
            self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def forget(self, key: K) -> None:
        """Drop a key that is gone."""
        with self._changed:
            self._failures.pop(key, None)
            self._due.pop(key, None)

    def close(self) -> None:
        """Let every waiting worker go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def depth(self) -> int:
        """Return how many keys wait for a worker."""
        with self._changed:
            return len(self._ready)

    def age(self) -> float:
        """Return for how many seconds the oldest of them has waited."""
        with self._changed:
            return self._clock() - self._since[self._ready[0]] if self._ready else 0.0

    def _add(self, key: K) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self._clock()
            self._ready.append(key)
            self._changed.notify()
