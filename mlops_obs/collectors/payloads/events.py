"""What KServe's payload logger sends: CloudEvents over HTTP, read as the agent's source writes them.

kserve `pkg/logger/worker.go` (binary mode, one event for each request and each response; `ce-id` is the request's `Ce-Id` header or
a new UUID, the same for both; extensions `inferenceservicename`, `namespace`, `component`, `endpoint`, `metadata`, `annotations`), and
`pkg/logger/handler.go`: a response is logged only if its status is 200, and its event carries the content type of the *request*.
Structured and batched mode (CloudEvents HTTP binding 1.0.2) are read too, because brokers between agent and sink may change the mode.

The trap: which revision answered is not in the event. `source` is the agent's own address, because at admission the pod has no name yet
(`agent_injector.go` passes `pod.ObjectMeta.Name`). So the revision is, in this order: the last part of the sink's path, as the URL
of the logger is written per revision; the pod annotation `mlops-obs/revision` if the logger is told to pass it on; a Knative revision
in the source; the endpoint if it is not "default".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

REQUEST, RESPONSE = "request", "response"
_TYPES = {"org.kubeflow.serving.inference.request": REQUEST, "org.kubeflow.serving.inference.response": RESPONSE}
_ANNOTATION = "mlops-obs/revision"
_KNATIVE = re.compile(r"(?P<revision>[a-z0-9.-]+-\d{5})-deployment-")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MOST_EVENTS = 10_000  # in a batch


class EventError(Exception):
    """These bytes are no payload event; `reason` is one of a few words, for a metric."""

    def __init__(self, reason: str, what: str) -> None:
        super().__init__(what)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Event:
    """One logged body.

    Args:
        id: joins a request with its response.
        kind: "request" or "response".
        service, namespace, component: of the InferenceService; empty if the event does not say.
        revision: which variant answered; empty if nothing says so.
        body: the logged bytes.
    """

    id: str
    kind: str
    service: str
    namespace: str
    component: str
    revision: str
    body: bytes


def events_of(headers: Mapping[str, str], body: bytes, path: str = "/") -> list[Event]:
    """Return the events of one HTTP request. Header names are in lower case.

    Raises:
        EventError: not_an_event, another_type or unparsable.
    """
    content_type = headers.get("content-type", "").lower()
    if content_type.startswith("application/cloudevents-batch+json"):
        found = _json(body)
        if not isinstance(found, list) or len(found) > _MOST_EVENTS:
            raise EventError("unparsable", f"a batch is a list of at most {_MOST_EVENTS} events")
        return [_structured(one, path) for one in found]
    if content_type.startswith("application/cloudevents+json"):
        return [_structured(_json(body), path)]
    attributes = {name[3:]: _header(value) for name, value in headers.items() if name.startswith("ce-")}
    return [_event(attributes, body, path)]


def rows_of_body(event: Event) -> Mapping[str, Any]:
    """Return the body as JSON.

    Raises:
        EventError: unparsable.
    """
    found = _json(event.body)
    if not isinstance(found, dict):
        raise EventError("unparsable", "the body is no JSON object")
    return found


def label(text: str, fallback: str = "unknown") -> str:
    """Return `text` if it may be a label value."""
    return text if _LABEL.fullmatch(text) else fallback


def _event(attributes: Mapping[str, Any], body: bytes, path: str) -> Event:
    kind = _TYPES.get(str(attributes.get("type", "")))
    if kind is None:
        raise EventError("another_type" if "type" in attributes else "not_an_event", "no payload event of KServe")
    identity = attributes.get("id")
    if not isinstance(identity, str) or not 0 < len(identity) <= 1024:
        raise EventError("not_an_event", "the event has no id")
    service, namespace, component = (str(attributes.get(name, "")) for name in ("inferenceservicename", "namespace", "component"))
    return Event(identity, kind, label(service), namespace[:63], component[:63], _revision(attributes, path), body)


def _structured(event: Any, path: str) -> Event:
    if not isinstance(event, dict):
        raise EventError("unparsable", "an event is a JSON object")
    if "data_base64" in event:
        try:
            body = base64.b64decode(event["data_base64"], validate=True)
        except (TypeError, ValueError, binascii.Error) as error:
            raise EventError("unparsable", "data_base64 is not Base64") from error
    else:
        data = event.get("data", "")
        body = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else json.dumps(data).encode()
    return _event(event, body, path)


def _revision(attributes: Mapping[str, Any], path: str) -> str:
    last = unquote(path.split("?", 1)[0].rstrip("/").rpartition("/")[2])
    candidates: Sequence[str] = (
        last,
        _annotation(attributes.get("annotations")),
        found["revision"] if (found := _KNATIVE.search(str(attributes.get("source", ""))[:500])) else "",
        endpoint if (endpoint := str(attributes.get("endpoint", ""))) != "default" else "",
    )
    return next((one for one in candidates if _LABEL.fullmatch(one)), "")


def _annotation(value: Any) -> str:
    try:
        found = json.loads(value) if isinstance(value, str) and len(value) < 10_000 else value
    except ValueError:
        return ""
    return str(found.get(_ANNOTATION, "")) if isinstance(found, dict) else ""


def _header(value: str) -> str:
    """Undo the percent encoding of the CloudEvents HTTP binding (section 3.1.3.2)."""
    return unquote(value) if "%" in value else value


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise EventError("unparsable", "the body is no JSON") from error
