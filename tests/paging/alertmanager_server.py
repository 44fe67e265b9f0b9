"""A real Alertmanager with a configuration of ours, and a server that stands for everybody whom it tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.adapters.processes import Daemon


class Vendors(ThreadingHTTPServer):
    """Stands for PagerDuty, Slack, Opsgenie and a webhook: keeps (path, headers, document)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Vendor)
        self.bodies: list[tuple[str, dict[str, str], dict]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Vendor(BaseHTTPRequestHandler):
    server: Vendors

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, dict(self.headers), body))
        self.send_response(202)
        self.end_headers()
        self.wfile.write(b'{"status": "success"}')

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def vendors() -> Iterator[Vendors]:
    server = Vendors()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def alertmanager(config: str, directory: Path) -> Iterator[str]:
    path = directory / "alertmanager.yaml"
    path.write_text(config)
    flags = [f"--config.file={path}", f"--storage.path={directory / 'data'}", "--cluster.listen-address="]
    daemon = Daemon(
        "Alertmanager", lambda listen: [alertmanager_program(), *flags, f"--web.listen-address={listen}"], "/-/ready", directory / "log"
    )
    daemon.start()
    try:
        yield daemon.url
    finally:
        daemon.stop()


def until(true: Callable[[], object], patience: float = 40.0) -> bool:
    deadline = time.monotonic() + patience
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(true())
