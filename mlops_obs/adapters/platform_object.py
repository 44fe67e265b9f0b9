"""One custom resource of a serving platform, and the notes that a rollout keeps on it.

What we must remember between two looks (which platform revision is ours, which package it runs, how long it took to start)
stands in annotations of the resource itself: it cannot be lost apart from what it describes, and a second controller reads the
same. The trap is the blind write: every patch here tests the resourceVersion that was read, so that nobody's edit is lost.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec

from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError, KubernetesApi, Object, Resource
from mlops_obs.errors import TargetError
from mlops_obs.rollout.ports import compact

P = ParamSpec("P")
_RACES = 4
_GATEWAY_SECONDS = 2.0
_BEHIND = "the gateway is behind"

FIRST = "mlops-obs.dev/revision"  # annotation that a person writes: how what runs before the first rollout is called
REVISIONS = "mlops-obs.dev/revisions"  # annotations that we write: our revision -> the platform's name for it
PACKAGES = "mlops-obs.dev/packages"  # our revision -> its package
STARTS = "mlops-obs.dev/starts"  # our revision -> [Unix seconds when its start was asked for, seconds that it took]

HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")


class PlatformObject:
    """One object on the API server; reads it anew each time and patches it only as it was read."""

    def __init__(self, api: KubernetesApi, resource: Resource, namespace: str, name: str) -> None:
        self._api, self._resource = api, resource
        self.namespace, self.name = namespace, name
        self.where = f"{resource.kind.lower()} {namespace}/{name}"

    def read(self) -> Object:
        """Return the object as it is now. Raises TargetError if it is not there or the server does not answer."""
        return self._api.get(self._resource, self.namespace, self.name)

    def neighbour(self, resource: Resource, name: str) -> tuple[Object | None, bool]:
        """Return another object of the namespace, and whether we would know: a kind that is not served or not ours to read is neither.

        Raises TargetError if the server does not answer.
        """
        try:
            return self._api.get(resource, self.namespace, name), True
        except ApiError as error:
            if error.not_found:  # a kind that is not served is a 404 too, but it names no object
                return None, error.reason == "NotFound" and f'"{name}"' in error.what
            if error.status == 403:
                return None, False
            raise

    def route(self, name: str) -> tuple[Object | None, str]:
        """Return an HTTPRoute of the namespace (None if it is not there) and why no gateway routes by it, empty if one does.

        A gateway takes a change a moment after it was written; that moment is waited for, or every step would look like a fault.
        """
        deadline = time.monotonic() + _GATEWAY_SECONDS
        while True:
            found, _ = self.neighbour(HTTP_ROUTES, name)
            why = taken_by_a_gateway(found) if found else ""
            if why != _BEHIND or time.monotonic() > deadline:
                return found, why
            time.sleep(0.05)

    def patch(self, seen: Object, operations: Sequence[Mapping[str, Any]]) -> None:
        """Apply `operations` if the object still is as `seen`. Raises Conflict if it changed."""
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": seen["metadata"]["resourceVersion"]}
        self._api.patch(self._resource, self.namespace, self.name, [test, *operations])


def annotation(seen: Object, key: str) -> dict[str, Any]:
    """Return a mapping that stands in an annotation as JSON, empty if there is none. Raises TargetError OBS-KSERVE-013."""
    try:
        return dict(json.loads(text(seen, key) or "{}"))
    except ValueError as error:
        where = f"{seen.get('kind', 'object').lower()} {seen['metadata']['name']}"
        raise TargetError("OBS-KSERVE-013", f"annotation {key} is not JSON", where=where, todo="mend it") from error


def text(seen: Object, key: str) -> str:
    """Return an annotation as it stands, empty if there is none."""
    return str((seen["metadata"].get("annotations") or {}).get(key, ""))


def annotate(seen: Object, values: Mapping[str, Mapping[str, Any] | str]) -> list[dict[str, Any]]:
    """Return the operations that set annotations; mappings become JSON."""
    start = [] if seen["metadata"].get("annotations") else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    return [*start, *(add(f"/metadata/annotations/{escape(key)}", _json(value)) for key, value in values.items())]


def drop(key: str) -> dict[str, Any]:
    """Return the operation that removes an annotation."""
    return {"op": "remove", "path": f"/metadata/annotations/{escape(key)}"}


def add(path: str, value: Any) -> dict[str, Any]:
    """Return the operation that sets what stands at `path`, whether it is there or not."""
    return {"op": "add", "path": path, "value": value}


def escape(key: str) -> str:
    """Return `key` as one step of a JSON Pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def condition(seen: Object, kind: str) -> tuple[str, str]:
    """Return a condition's status ("True", "False", "Unknown"; empty if there is none) and its reason or message."""
    for one in seen.get("status", {}).get("conditions") or []:
        if one.get("type") == kind:
            return str(one.get("status", "")), str(one.get("message") or one.get("reason") or "")
    return "", ""


def started(seen: Object, revision: str) -> float | None:
    """Return the seconds that `revision` took to start when it was last deployed, None if that was not measured."""
    notes = annotation(seen, STARTS).get(revision) or []
    return float(notes[1]) if len(notes) == 2 else None


def start_of(seen: Object, revision: str) -> dict[str, Any]:
    """Return the value of STARTS with `revision` begun now."""
    return {**annotation(seen, STARTS), revision: [round(time.time(), 1)]}


def start_done(seen: Object, revision: str) -> dict[str, Any]:
    """Return the value of STARTS with `revision` ready now."""
    notes = annotation(seen, STARTS)
    begun = notes.get(revision) or [time.time()]
    return {**notes, revision: [begun[0], round(max(0.0, time.time() - float(begun[0])), 1)]}


class Settling:
    """Measures how long the platform takes from an accepted change of weights until it shows it.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._asked: tuple[dict[str, int], float] | None = None
        self.seconds: float | None = None  # of the last change that was seen to land

    def asked(self, weights: Mapping[str, int]) -> None:
        """Note that a change was accepted."""
        if self._asked is None or self._asked[0] != weights:
            self._asked = (dict(weights), self._clock())

    def shown(self, weights: Mapping[str, int]) -> None:
        """Note what the platform shows now."""
        if self._asked is not None and self._asked[0] == weights:
            self.seconds = round(self._clock() - self._asked[1], 2)
            self._asked = None


def wait_until(look: Callable[[], bool], timeout: float, poll: float) -> bool:
    """Look until it is so or `timeout` seconds have passed; return whether it is so."""
    deadline = time.monotonic() + timeout
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll)
    return True


def agreed(look: Callable[[], list[dict[str, int]]]) -> tuple[dict[str, int] | None, list[dict[str, int]]]:
    """Return the split on which all routes agree (None if they do not, or there is none), and what each says.

    A platform writes one route after the other: the moment in between is waited for.
    """
    deadline = time.monotonic() + _GATEWAY_SECONDS
    while True:
        splits = [compact(one) for one in look()]
        if splits and all(one == splits[0] for one in splits) and sum(splits[0].values()) == 100:
            return splits[0], splits
        if not splits or time.monotonic() > deadline:
            return None, splits
        time.sleep(0.1)


def shares(refs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the percent that each backend of an HTTPRoute's rule gets; a weight that is not given is 1 (Gateway API)."""
    weights: dict[str, float] = {}
    for ref in refs:
        weights[ref["name"]] = weights.get(ref["name"], 0.0) + float(ref.get("weight", 1))
    total = sum(weights.values())
    return {name: 100 * weight / total for name, weight in weights.items()} if total else {}


def taken_by_a_gateway(route: Object) -> str:
    """Return why no gateway routes by this version of an HTTPRoute, empty if one does."""
    parents = (route.get("status") or {}).get("parents") or []
    generation = route["metadata"].get("generation", 0)
    why = "no gateway has taken it"
    for parent in parents:
        for one in parent.get("conditions") or []:
            if one.get("type") != "Accepted":
                continue
            if one.get("status") == "True" and int(one.get("observedGeneration") or 0) >= generation:
                return ""
            why = f"a gateway refuses it: {one.get('message') or one.get('reason')}" if one.get("status") != "True" else _BEHIND
    return why


def decided_anew(act: Callable[P, None]) -> Callable[P, None]:
    """Let an act that lost a race read and decide again, a few times.

    The platform's own writes of the status make an object another one too, and say nothing against what was decided. Whoever is
    in the way for good is found by the act itself, which raises a Conflict of its own.
    """

    @functools.wraps(act)
    def again(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in range(_RACES):
            try:
                return act(*args, **kwargs)
            except ApiConflict:
                continue
        return act(*args, **kwargs)

    return again


def _json(value: Mapping[str, Any] | str) -> str:
    return value if isinstance(value, str) else json.dumps(dict(value), sort_keys=True)
