"""Looks at rollouts when there is something new to see: one query for all tells whose samples have moved on.

Looking at each rollout every second asks Prometheus thousands of questions to learn nothing, and is still a second late.
A slice can be judged once every process has been scraped after its end; so a rollout is looked at when the oldest of its
fresh series passes the end of a slice. The trap: this is a hint, never the only reason to look. When the query fails, or a
pod that died keeps a slice open, rollouts are looked at after their pause as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from mlops_obs.adapters.kubernetes.informer import Key
from mlops_obs.errors import ObsError
from mlops_obs.metric_names import REQUESTS, SERVICE

FRESH = 30.0  # seconds; a series that is older belongs to a process that is gone
QUERY = f"min by ({SERVICE}) (timestamp({REQUESTS.name}) > (time() - {FRESH:.0f}))"

Newest = Callable[[], Mapping[str, float]]  # by service: the time up to which all its processes have been scraped


class SampleWatch:
    """Asks `newest` every `poll` seconds and calls `poke` for each rollout with a slice that has become complete."""

    def __init__(self, newest: Newest, poke: Callable[[Key], None], *, poll: float = 0.25) -> None:
        self._newest, self._poke, self._poll = newest, poke, poll
        self._followed: dict[Key, tuple[str, float, float, int]] = {}
        self._lock = threading.Lock()
        self.works = False  # the last question was answered

    def follow(self, key: Key, service: str, began_at: float, width: float) -> None:
        """Watch the slices of `width` seconds since `began_at` (Unix seconds)."""
        with self._lock:
            held = self._followed.get(key)
            if held is None or held[:3] != (service, began_at, width):
                self._followed[key] = (service, began_at, width, -1)

    def forget(self, key: Key) -> None:
        """Watch it no longer."""
        with self._lock:
            self._followed.pop(key, None)

    def step(self) -> None:
        """Ask once."""
        if not self._followed:
            return
        try:
            newest = self._newest()
        except ObsError:
            self.works = False
            return
        self.works = True
        with self._lock:
            due = []
            for key, (service, began_at, width, last) in self._followed.items():
                index = int((newest[service] - began_at) / width) if service in newest else last
                if index > last:
                    self._followed[key] = (service, began_at, width, index)
                    due.append(key)
        for key in due:
            self._poke(key)

    def run(self, stop: threading.Event) -> None:
        """Ask until `stop` is set; less often while nobody answers."""
        while not stop.is_set():
            self.step()
            stop.wait(self._poll if self.works or not self._followed else max(self._poll, 5.0))
