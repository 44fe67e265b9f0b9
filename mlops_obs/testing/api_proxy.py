"""A proxy in front of a Kubernetes API server that fails as networks and servers do.

The trap it is built for: a change that was applied although nobody was told so, and a watch that is silent instead of
broken. Neither can be made by a fake that answers at once.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import yaml

Fault = Literal["409", "422", "429", "500", "timeout-before", "timeout-after", "slow"]
_WORDS = {"409": "Conflict", "422": "Invalid", "429": "TooManyRequests", "500": "InternalError"}


@dataclass(slots=True)
class _Rule:
    method: str
    path: str
    fault: Fault
    left: int


class ApiProxy:
    """Serves plain HTTP on a free port of this machine and asks the real server with the kubeconfig's credentials.

    `fail` queues faults for calls by method and part of the path; `down` and `up` take the whole server away and bring it
    back; `cut_watches` breaks the connections of all watches, `silence` keeps their events back. `calls` has every call.
    """

    def __init__(self, kubeconfig: Path | str, *, slow: float = 0.5) -> None:
        import urllib3

        config = yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        self._upstream = urllib3.PoolManager(maxsize=32, ssl_context=context, retries=False)
        self._server_url, self._slow = cluster["server"], slow
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._up, self._silent = threading.Event(), threading.Event()
        self._up.set()
        self._watches: set[Any] = set()
        self.calls: list[tuple[str, str]] = []
        self.twice = False  # every event of a watch is sent two times
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 120.0
            disable_nagle_algorithm = True  # head and body are two writes; the second would wait 40 ms for an acknowledgement

            def _serve(self) -> None:
                proxy.serve(self)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        for method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._serve)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), name="api-proxy", daemon=True).start()

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads through this proxy; return `path`."""
        cluster = {"name": "proxy", "cluster": {"server": self.url}}
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
        users = [{"name": "nobody", "user": {}}]
        document = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "users": users}
        path.write_text(yaml.safe_dump({**document, "current-context": "proxy"}), encoding="utf-8")
        return path

    def fail(self, method: str, path: str, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls of `method` whose path contains `path` fail; an empty method stands for every one that writes."""
        with self._lock:
            self._rules.append(_Rule(method, path, fault, times))

    def down(self) -> None:
        """Take the server away: connections break, new ones are closed at once."""
        self._up.clear()
        self.cut_watches()

    def up(self) -> None:
        """Bring it back."""
        self._up.set()

    def silence(self, silent: bool) -> None:
        """Keep the events of all watches back, or let them through again."""
        (self._silent.set if silent else self._silent.clear)()

    def cut_watches(self) -> None:
        """Break the connection of every watch in the middle."""
        with self._lock:
            watches = list(self._watches)
        for connection in watches:  # the client's side: who reads from the server holds that one
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop serving."""
        self.cut_watches()
        self._http.shutdown()
        self._http.server_close()

    def serve(self, request: Any) -> None:
        """Answer one request of a client: forward it, unless a fault is due."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0)) or None
        self.calls.append((request.command, request.path))
        fault = self._due(request.command, request.path)
        if not self._up.is_set() or fault == "timeout-before":
            request.close_connection = True
            return
        if fault == "slow":
            time.sleep(self._slow)
        elif fault in _WORDS:
            # Without `details`: for a 422 that is how the failed `test` of a patch looks; a denial has a reason of its own.
            said = {"kind": "Status", "reason": _WORDS[fault], "message": f"{_WORDS[fault]}: made by the proxy", "code": int(fault)}
            self._answer(request, int(fault), json.dumps({**said, "details": {}} if fault != "422" else said).encode())
            return
        headers = {key: value for key, value in request.headers.items() if key.lower() in ("accept", "content-type")}
        watch = "watch=1" in request.path
        try:
            response = self._upstream.request(
                request.command, self._server_url + request.path, body=body, headers=headers, preload_content=not watch, redirect=False
            )
            if fault == "timeout-after":
                request.close_connection = True
            elif watch and response.status == 200:
                self._stream(request, response)
            else:
                self._answer(request, response.status, response.data)
        except Exception:  # noqa: BLE001 - whatever breaks behind the proxy breaks the connection in front of it
            request.close_connection = True

    def _due(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                writes = method in ("POST", "PUT", "PATCH", "DELETE")
                if rule.path in path and rule.method in (method, "" if writes else method):
                    rule.left -= 1
                    if rule.left <= 0:
                        self._rules.remove(rule)
                    return rule.fault
        return None

    def _answer(self, request: Any, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def _stream(self, request: Any, response: Any) -> None:
        with self._lock:
            self._watches.add(request.connection)
        request.close_connection = True
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        try:
            for chunk in response.stream(None):
                while self._silent.is_set() and self._up.is_set():
                    time.sleep(0.02)
                if not self._up.is_set():
                    return
                for _ in range(2 if self.twice and chunk.endswith(b"\n") else 1):
                    request.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            request.wfile.write(b"0\r\n\r\n")
        finally:
            with self._lock:
                self._watches.discard(request.connection)
            response.close()
