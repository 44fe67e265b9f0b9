"""Serve this process's own `/metrics` from a daemon thread.

Each instrumented process answers for itself: Ray's shared agent invents histogram sums and forgets gauges. The server must never
keep a process alive nor block one: daemon threads, a time limit per connection, and nothing a client sends is ever waited for
longer than that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlops_obs.errors import PlatformError

CONNECTION_SECONDS = 10.0
POLL_SECONDS = 0.2  # how long closing may take

SCRAPE_SHARE = 0.7  # of the time the scraper waits; the rest is for rendering and the network
DEFAULT_SECONDS = 2.0

Render = Callable[[str, float], tuple[bytes, str]]


class MetricsServer:
    """An HTTP server for `GET /metrics`, bound when constructed.

    Args:
        render: returns body and content type for the value of the `Accept` header, in about the given seconds.
        host: address to bind; loopback unless a cluster must reach it.
        port: 0 takes a free port.

    Raises:
        PlatformError: OBS-TEL-001 if the address is taken or not allowed.
    """

    def __init__(self, render: Render, host: str = "127.0.0.1", port: int = 0) -> None:
        self._last = _LastScrape()
        try:
            self._server = _Server((host, port), _handler(render, self._last))
        except (OSError, OverflowError) as error:
            raise PlatformError(
                "OBS-TEL-001",
                f"cannot serve metrics: {error}",
                where=f"{host}:{port}",
                todo="set MLOPS_OBS_METRICS_PORT=0 to take a free port",
            ) from error
        self.host = host
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), name="mlops-obs-metrics", daemon=True).start()

    def await_scrape(self, seconds: float) -> bool:
        """Wait until a scrape that began after this call has been answered, at most `seconds`; say whether one was."""
        self._last.wanted.set()
        return self._last.done.wait(seconds)

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def abandon(self) -> None:
        """Drop the socket in a forked child, where the serving thread does not exist; the parent goes on serving."""
        self._server.socket.close()


class _LastScrape:
    def __init__(self) -> None:
        self.wanted = threading.Event()
        self.done = threading.Event()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


def _handler(render: Render, last: _LastScrape) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CONNECTION_SECONDS
        protocol_version = "HTTP/1.1"
        server_version = "mlops-obs"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path.split("?", 1)[0] != "/metrics":
                self._answer(404, b"metrics are at /metrics\n", "text/plain; charset=utf-8")
                return
            final = last.wanted.is_set()  # looked at before rendering: a scrape that began earlier does not have the last counts
            try:
                body, content_type = render(
                    self.headers.get("Accept", ""), _seconds(self.headers.get("X-Prometheus-Scrape-Timeout-Seconds", ""))
                )
            except Exception as error:  # noqa: BLE001 - a scrape that fails must say so, not hang up
                self._answer(500, f"cannot render metrics: {type(error).__name__}\n".encode(), "text/plain; charset=utf-8")
                return
            self._answer(200, body, content_type)
            if final:
                last.done.set()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the scraper went away; it will come again

        def log_message(self, *_: object) -> None:
            """Stay silent: a line per scrape helps nobody."""

    return Handler


def _seconds(timeout: str) -> float:
    """Return how long collectors may take, from the time limit that Prometheus sends along."""
    try:
        return min(max(float(timeout), 0.1), 60.0) * SCRAPE_SHARE
    except ValueError:
        return DEFAULT_SECONDS
