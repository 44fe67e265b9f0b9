"""Kubernetes Events of a rollout: what `kubectl describe rollout` and `kubectl get events` show.

Events are a convenience that the cluster forgets within the hour; the evidence log is what stays. So they are written by
a thread of their own from a short queue: a server that does not take them delays nothing, and what does not fit is
counted and dropped. An event's name is made from the record that it tells of, so writing it twice makes one event.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object
from mlops_obs.adapters.kubernetes.resources import EVENTS, ROLLOUTS, rfc3339
from mlops_obs.rollout.log.records import Record

COMPONENT = "mlops-obs-operator"
_LONGEST = 1024  # bytes of an event's message that the API accepts
_ACTIONS: dict[str, tuple[Literal["Normal", "Warning"], str]] = {
    "deploy": ("Normal", "Deploying"),
    "advance": ("Normal", "Advancing"),
    "promote": ("Normal", "Promoting"),
    "finish": ("Normal", "Finishing"),
    "pause": ("Normal", "Paused"),
    "resume": ("Normal", "Resumed"),
    "hold": ("Warning", "Holding"),
    "rollback": ("Warning", "RollingBack"),
    "abort": ("Warning", "Aborting"),
}
_ENDS: dict[str, tuple[Literal["Normal", "Warning"], str]] = {
    "Promoted": ("Normal", "Promoted"),
    "RolledBack": ("Warning", "RolledBack"),
    "Aborted": ("Warning", "Aborted"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event about a Rollout object; `key` makes its name unique."""

    about: Object
    key: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    at: float


class EventSink(Protocol):
    """Whoever takes events."""

    def emit(self, event: Event) -> None:
        """Take an event; never blocks and never fails."""
        ...

    def run(self, stop: threading.Event) -> None:
        """Hand over what was taken, on a thread of its own, until `stop` is set."""
        ...


def event_of(about: Object, record: Record) -> Event | None:
    """Return the event that tells of `record`, None if nobody needs to be told."""
    kind, reason = record["kind"], str(record["reason"])
    if kind == "request":
        words = f"{record['action']} asked by {record['actor']}" + (f": {reason}" if reason else "")
        type_: Literal["Normal", "Warning"] = "Normal"
        name = "Requested"
    elif kind == "result" and not record["ok"]:
        type_, name, words = "Warning", "ActionFailed", f"{record['action']}: {reason}"
    elif kind in ("result", "decision") and record["phase"] in _ENDS:
        (type_, name), words = _ENDS[record["phase"]], reason
    elif kind == "decision" and record["action"] in _ACTIONS:
        (type_, name), words = _ACTIONS[record["action"]], reason
    else:
        return None
    return Event(about, f"{int(record['seq']):x}", type_, name, words, float(record["at"]))


def body_of(event: Event, instance: str) -> Object:
    """Return the core/v1 Event, as the API conventions want it."""
    meta = event.about["metadata"]
    namespace, at = str(meta["namespace"]), rfc3339(event.at)
    message = event.message.encode()[:_LONGEST].decode("utf-8", "ignore")
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{meta['name'][:200]}.{meta['uid'][:8]}.{event.key}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": ROLLOUTS.api_version,
            "kind": ROLLOUTS.kind,
            "namespace": namespace,
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": message,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
        "source": {"component": COMPONENT, "host": instance},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
    }


class KubernetesEvents:
    """Writes events to the API server from a thread of its own.

    Args:
        instance: name of this process.
        dropped: called for each event that could not be written.
    """

    def __init__(self, api: KubernetesApi, instance: str, *, room: int = 1000, dropped: Callable[[str], None] = lambda _: None) -> None:
        self._api, self._instance, self._dropped = api, instance, dropped
        self._waiting: deque[Event] = deque()
        self._room = room
        self._changed = threading.Condition()

    def emit(self, event: Event) -> None:
        """See `EventSink`."""
        with self._changed:
            if len(self._waiting) >= self._room:
                self._dropped("full")
                return
            self._waiting.append(event)
            self._changed.notify()

    def run(self, stop: threading.Event) -> None:
        """Write what comes until `stop` is set; what is left then is written once, or dropped."""
        while True:
            with self._changed:
                while not self._waiting and not stop.is_set():
                    self._changed.wait(0.5)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
            try:
                self._api.create(EVENTS, str(event.about["metadata"]["namespace"]), body_of(event, self._instance))
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    self._dropped(str(error.status))
            except Exception:  # noqa: BLE001 - an event that cannot be made must not end all later ones
                self._dropped("unexpected")
