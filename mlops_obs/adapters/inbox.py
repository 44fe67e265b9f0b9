"""A small on-call inbox: receives pages as PagerDuty would, and serves the runbooks and dashboards that they link to.

For demos, laptops and tests; loopback only. A notification is acknowledged only once it is on disk, else the sender gets a
5xx and tries again: a pager that loses a page while saying 200 is the one failure nobody notices.

    python -m mlops_obs.adapters.inbox --port 0 --dir DIR [--prometheus URL] [--runbooks DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mlops_obs.adapters import inbox_pages
from mlops_obs.adapters.inbox_store import InboxStore
from mlops_obs.adapters.markdown_html import to_html
from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.durations import parse_duration
from mlops_obs.errors import ObsError, PlatformError, UsageError

_BODY_LIMIT = 1_048_576
_RUNBOOKS = Path(__file__).resolve().parents[2] / "runbooks"
_ALL = "$__all"  # how Grafana writes into an address that a variable is not restricted
Reply = tuple[int, str, str]


class Inbox:
    """The inbox server on 127.0.0.1.

    Args:
        directory: keeps one JSON file per page.
        port: 0 finds a free one.
        prometheus: base address of the Prometheus that dashboard previews read, if there is one.
        runbooks: folder of `<Alert>.md`.

    Raises:
        PlatformError: OBS-PLAT-002 if the port is taken.
        StateError: OBS-INBOX-002 if `directory` cannot be used.
    """

    def __init__(self, directory: Path, port: int = 0, prometheus: str | None = None, runbooks: Path = _RUNBOOKS) -> None:
        self.store = InboxStore(directory)
        self._prometheus = PrometheusCounters(prometheus) if prometheus else None
        self._runbooks = runbooks
        self._thread: threading.Thread | None = None
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        except OSError as error:
            raise PlatformError(
                "OBS-PLAT-002", f"the inbox cannot listen on port {port} ({error.strerror})", todo="free it or use port 0"
            ) from error
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Serve from a daemon thread."""
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="inbox", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        # shutdown() waits for a loop that must have begun.
        if self._thread is not None:
            self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Inbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def receive(self, body: bytes) -> Reply:
        """Answer POST /alerts."""
        try:
            payload = json.loads(body)
        except ValueError:
            raise UsageError("OBS-INBOX-001", "not JSON", where="POST /alerts", todo="send Alertmanager's webhook document") from None
        page = self.store.receive(payload, time.time())
        return _json({"page": page.number if page else None, "status": page.status if page else "unknown incident"})

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Reply:
        """Answer GET `path`."""
        head, _, rest = path.strip("/").partition("/")
        if not head:
            return _html(inbox_pages.overview(self.store.pages()))
        if path == "/pages.json":
            return _json([asdict(page) for page in self.store.pages()])
        if path == "/-/ready":
            return _json({"status": "ready"})
        if head == "runbooks":
            return self._runbook(rest)
        if head == "d":
            return self._dashboard(rest, query)
        return _not_found("There is nothing at this address.")

    def _runbook(self, name: str) -> Reply:
        names = sorted(path.stem for path in self._runbooks.glob("*.md"))
        if not name:
            links = "".join(f'<li><a href="/runbooks/{one}">{one}</a></li>' for one in names)
            return _html(inbox_pages.document("Runbooks", f"<h1>Runbooks</h1><ul>{links}</ul>"))
        if name not in names:
            return _not_found(f"No runbook is called {name}.")
        text = (self._runbooks / f"{name}.md").read_text(encoding="utf-8")
        return _html(inbox_pages.document(name, to_html(text)))

    def _dashboard(self, uid: str, query: Mapping[str, list[str]]) -> Reply:
        # Grafana's addresses are /d/<uid>/<slug>; the slug is decoration.
        uid = uid.partition("/")[0]
        if self._prometheus is None:
            text = (
                "Dashboards need Prometheus, and this environment runs on the embedded engine. <code>obs slo status</code> has the numbers."
            )
            return 404, "text/html; charset=utf-8", inbox_pages.document("No dashboard", f"<h1>No dashboard here</h1><p>{text}</p>")
        from mlops_obs.dashboards.catalogue import DASHBOARDS, dashboard
        from mlops_obs.dashboards.preview import render_preview

        if not uid:
            links = "".join(f'<li><a href="/d/{one.uid}">{escape(one.title)}</a></li>' for one in DASHBOARDS)
            return _html(inbox_pages.document("Dashboards", f"<h1>Dashboards</h1><ul>{links}</ul>"))
        now = time.time()
        start = moment(query.get("from", ["now-15m"])[-1], now)
        end = moment(query.get("to", ["now"])[-1], now)
        if end <= start:
            raise UsageError("OBS-INBOX-003", "the time range is empty", where="from, to", todo="choose from before to")
        given = {name.removeprefix("var-"): values[-1] for name, values in query.items() if name.startswith("var-")}
        variables = {name: value for name, value in given.items() if value != _ALL}
        return _html(render_preview(dashboard(uid), self._prometheus.query_range, variables, start, end))


def moment(text: str, now: float) -> float:
    """Return Unix seconds for what Grafana writes into an address: `now`, `now-15m`, or milliseconds since 1970.

    Raises:
        UsageError: OBS-INBOX-003 for anything else.
    """
    try:
        if text == "now":
            return now
        at = now - float(parse_duration(text.removeprefix("now-"))) if text.startswith("now-") else int(text) / 1000
        datetime.fromtimestamp(at, UTC)  # refuses what no calendar has
        return at
    except (ObsError, ValueError, OverflowError, OSError):
        raise UsageError(
            "OBS-INBOX-003", f"{text[:40]!r} is not a time", where="from, to", todo="write now, now-15m or milliseconds"
        ) from None


def _json(value: Any) -> Reply:
    return 200, "application/json", json.dumps(value, indent=1)


def _html(text: str) -> Reply:
    return 200, "text/html; charset=utf-8", text


def _not_found(text: str) -> Reply:
    return 404, "text/html; charset=utf-8", inbox_pages.document("Not found", f"<h1>Not found</h1><p>{escape(text)}</p>")


def _handler(inbox: Inbox) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30  # a client that sends nothing must not hold a thread for ever

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            self._reply(lambda: inbox.answer(unquote(address.path), parse_qs(address.query)))

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            # Read first, also what will be refused: a sender whose body nobody takes sees a broken pipe instead of the answer.
            body = self.rfile.read(min(int(length), 4 * _BODY_LIMIT)) if length.isdecimal() else b""
            if self.path != "/alerts":
                return self._send(_not_found("Post notifications to /alerts."))
            if not length.isdecimal() or int(length) > _BODY_LIMIT:
                return self._send((413, "text/plain", f"a notification has a Content-Length of at most {_BODY_LIMIT} bytes\n"))
            # A form on some web page can post to loopback, but never with this type.
            if self.headers.get_content_type() != "application/json":
                return self._send((415, "text/plain", "a notification is application/json\n"))
            return self._reply(lambda: inbox.receive(body))

        def _reply(self, work: Callable[[], Reply]) -> None:
            try:
                reply = work()
            except UsageError as error:
                reply = 400, "text/plain; charset=utf-8", f"{error}\n"
            except ObsError as error:
                reply = 503, "text/plain; charset=utf-8", f"{error}\n"
            except Exception as error:  # noqa: BLE001 - one bad request must not end the inbox, nor show a traceback
                sys.stderr.write(f"inbox: {self.path}: {error!r}\n")
                reply = 500, "text/plain; charset=utf-8", "the inbox failed; its log says why\n"
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            status, kind, text = reply
            body = text.encode()
            # Whoever asked may have left; then the answer concerns nobody.
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Content-Type-Options", "nosniff")
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Stay silent: the list of pages is the log."""

    return Handler


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; print one JSON line with the address when ready."""
    parser = argparse.ArgumentParser(prog="python -m mlops_obs.adapters.inbox", description="A small on-call inbox on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 finds a free one")
    parser.add_argument("--dir", type=Path, required=True, help="where pages are kept")
    parser.add_argument("--prometheus", help="base address, for dashboard previews")
    parser.add_argument("--runbooks", type=Path, default=_RUNBOOKS, help="folder of <Alert>.md")
    options = parser.parse_args(arguments)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        inbox = Inbox(options.dir, options.port, options.prometheus, options.runbooks)
    except ObsError as error:
        sys.stderr.write(f"inbox: {error}\n")
        return error.exit_code
    with inbox:
        sys.stdout.write(json.dumps({"status": "ready", "url": inbox.url}) + "\n")
        sys.stdout.flush()
        over.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
