"""Stand-ins for what a Kubernetes API server without core types lacks: Events, with the rules by which a real one takes them.

The rules are those of `legacyValidateEvent` in Kubernetes (pkg/apis/core/validation/events.go) and of object names; a test
holds our events against them, since the API server of the tests has no core types.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_KNOWN = {
    *("apiVersion", "kind", "metadata", "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp"),
    *("count", "type", "eventTime", "series", "action", "related", "reportingComponent", "reportingInstance"),
}


def event_mistakes(namespace: str, event: Any) -> list[str]:
    """Return what a real API server has against an event that is created in `namespace`."""
    meta, about = event.get("metadata") or {}, event.get("involvedObject") or {}
    wrong = [f"unknown field {key}" for key in event if key not in _KNOWN]
    if (event.get("apiVersion"), event.get("kind")) != ("v1", "Event"):
        wrong.append("it is no v1 Event")
    name = str(meta.get("name") or "")
    if len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        wrong.append(f"metadata.name {name!r} is no DNS subdomain")
    if meta.get("namespace") not in (None, namespace):
        wrong.append("the namespace of the object does not match that of the request")
    if about.get("namespace", "") != namespace:
        wrong.append("involvedObject.namespace does not match event.namespace")
    wrong += [f"involvedObject.{key} is missing" for key in ("apiVersion", "kind", "name", "uid") if not about.get(key)]
    if event.get("type") not in ("Normal", "Warning"):
        wrong.append("type is neither Normal nor Warning")
    if not re.fullmatch(r"[A-Z][A-Za-z]*", str(event.get("reason") or "")) or len(event["reason"]) > 128:
        wrong.append("reason is no word in CamelCase")
    if not event.get("message") or len(event["message"].encode()) > 1024:
        wrong.append("message is empty or longer than 1024 bytes")
    wrong += [f"{key} is no time" for key in ("firstTimestamp", "lastTimestamp") if not _TIME.fullmatch(str(event.get(key) or ""))]
    if not isinstance(event.get("count"), int) or event["count"] < 1:
        wrong.append("count is no number")
    if not event.get("reportingComponent") or not 0 < len(event.get("reportingInstance") or "") <= 128:
        wrong.append("who reports is missing")
    return wrong


class FakeCore:
    """An HTTP server that takes events as a real API server does; `events` has those it took, by namespace and name."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], Any] = {}
        self.answer = 0  # if set, the status of every answer
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                status, said = fake.create(self.path, body)
                text = json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), name="fake-core", daemon=True).start()

    def create(self, path: str, body: Any) -> tuple[int, Any]:
        """Take one POST; return the status and the answer."""
        found = re.fullmatch(r"/api/v1/namespaces/([^/]+)/events", path)
        if self.answer or not found:
            return self.answer or 404, {"kind": "Status", "reason": "NotFound", "message": "not here"}
        wrong = event_mistakes(found[1], body)
        if wrong:
            return 422, {"kind": "Status", "reason": "Invalid", "message": "; ".join(wrong), "details": {"causes": wrong}}
        key = found[1], body["metadata"]["name"]
        if key in self.events:
            return 409, {"kind": "Status", "reason": "AlreadyExists", "message": f"events {key[1]!r} already exists"}
        self.events[key] = body
        return 201, body

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
