"""The operator's HTTP server: `/healthz` for the kubelet's restarts, `/readyz` for its traffic, `/metrics` for Prometheus.

Health must not depend on the API server: an operator that is restarted because *the cluster* is down forgets what it knew
and comes back no better. It depends only on our own threads moving.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlops_obs.errors import PlatformError

Check = Callable[[], str]  # what is wrong; empty: nothing


class HealthServer:
    """Serves on daemon threads from the moment it is made.

    Args:
        healthy: what is wrong with this process, for /healthz.
        ready: why it cannot work now, for /readyz.
        metrics: the exposition and its content type for an `Accept` header.
        port: 0 takes a free one.

    Raises:
        PlatformError: OBS-KUBE-014 if the address is taken.
    """

    def __init__(self, healthy: Check, ready: Check, metrics: Callable[[str], tuple[bytes, str]], host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10.0
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "mlops-obs", ""

            def do_GET(self) -> None:
                path = self.path.split("?", 1)[0]
                try:
                    if path == "/metrics":
                        body, kind = metrics(self.headers.get("Accept", ""))
                        self._answer(200, body, kind)
                    elif path in ("/healthz", "/readyz"):
                        wrong = healthy() if path == "/healthz" else ready()
                        self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())
                    else:
                        self._answer(404, b"/healthz, /readyz and /metrics are here\n")
                except Exception as error:  # noqa: BLE001 - a probe that fails must say so, not hang up
                    self._answer(500, f"unexpected {type(error).__name__}\n".encode())

            def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Stay silent: a line per probe helps nobody."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except (OSError, OverflowError) as error:
            where, todo = f"{host}:{port}", "choose another --health-port; 0 takes a free one"
            raise PlatformError("OBS-KUBE-014", f"cannot serve health and metrics: {error}", where=where, todo=todo) from error
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="operator-health", daemon=True).start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()
