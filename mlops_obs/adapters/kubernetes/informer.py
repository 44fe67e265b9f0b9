"""A local copy of all objects of one kind, kept by list and watch; and a call for each that changed.

The traps of watches, each handled here: the server forgets (410 Gone: list again), connections die in silence (a read
limit, and a list now and then whatever the watch says), events come twice, late or out of order (the greatest
resourceVersion wins), deletions are missed (what a list no longer has is gone). So it tells only *that* something may
have changed; whoever is told looks at the copy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object, Resource
from mlops_obs.adapters.kubernetes.resources import version_of

Key = tuple[str, str]  # namespace, name


class Informer:
    """Watches `resource` in `namespace` (empty: everywhere) on the thread that calls `run`.

    Args:
        tell: called with the key of each object that is new, changed in something other than its status, or gone.
        resync: seconds after which everything is listed again, whatever the watch says.
        jitter: 0 to 1; spreads the pauses after a failure.
    """

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        namespace: str,
        tell: Callable[[Key], None],
        *,
        resync: float = 300.0,
        jitter: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._resource, self._namespace, self._tell = api, resource, namespace, tell
        self._resync, self._jitter, self._clock = resync, jitter, clock
        self._objects: dict[Key, Object] = {}
        self._lock = threading.Lock()
        self.synced = threading.Event()
        self.problem = ""
        self.relists = 0

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object as the watch last showed it."""
        with self._lock:
            return self._objects.get((namespace, name))

    def known(self) -> list[Key]:
        """Return the keys of all objects."""
        with self._lock:
            return sorted(self._objects)

    def run(self, stop: threading.Event) -> None:
        """List and watch until `stop` is set."""
        failures, version = 0, ""
        while not stop.is_set():
            try:
                version = self.relist()
                failures, self.problem = 0, ""
                until = self._clock() + self._resync * (1 + 0.1 * self._jitter())
                while not stop.is_set() and (left := until - self._clock()) > 0:
                    version = self.follow(version, min(left, 60.0))
            except ApiError as error:
                if error.gone:
                    continue
                self.problem = str(error)
                stop.wait(min(10.0, 0.2 * 2.0 ** min(failures, 8)) * (1 + self._jitter()))
                failures += 1
            except Exception as error:  # noqa: BLE001 - an object that nobody foresaw must not end the watch for all
                self.problem = f"unexpected {type(error).__name__}: {error}"
                stop.wait(1.0)

    def relist(self) -> str:
        """Replace the copy by what the server has; return the version to watch from."""
        items, version = self._api.list_all(self._resource, self._namespace)
        self.relists += 1
        found = {_key(item): item for item in items}
        with self._lock:
            gone = [key for key in self._objects if key not in found]
            for key in gone:
                del self._objects[key]
        for item in items:
            self.take(item)
        for key in gone:
            self._tell(key)
        self.synced.set()
        return version

    def follow(self, version: str, seconds: float) -> str:
        """Watch for `seconds` from `version` on; return the version reached."""
        for kind, item in self._api.watch(self._resource, self._namespace, version=version, seconds=seconds):
            version = str(item["metadata"].get("resourceVersion") or version)
            if kind == "DELETED":
                with self._lock:
                    held = self._objects.get(_key(item))
                    if held is not None and version_of(held) <= version_of(item):
                        del self._objects[_key(item)]
                self._tell(_key(item))
            elif kind != "BOOKMARK":
                self.take(item)
        return version

    def take(self, item: Object) -> None:
        """Put an object into the copy unless a newer one is there; tell of it if more than its status is new."""
        with self._lock:
            held = self._objects.get(_key(item))
            if held is not None and version_of(held) >= version_of(item):
                return
            self._objects[_key(item)] = item
        if held is None or _asked(held) != _asked(item):
            self._tell(_key(item))


def _key(item: Object) -> Key:
    return str(item["metadata"].get("namespace") or ""), str(item["metadata"]["name"])


def _asked(item: Object) -> tuple[Any, ...]:
    """Return what people write; the status is what we write ourselves."""
    meta = item["metadata"]
    return meta.get("uid"), meta.get("generation"), meta.get("annotations"), meta.get("deletionTimestamp"), meta.get("finalizers")
