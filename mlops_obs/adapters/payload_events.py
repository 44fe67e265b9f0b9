"""A sink for KServe's payload logger that no model ever waits for.

KServe's agent puts every event into a queue of 100 *before* it answers the caller (kserve `pkg/logger/worker.go`: `WorkQueue <- req`),
with five workers that wait for the sink. A sink that is slow therefore slows the model down, or fills the agent's memory
(kserve#6167). So this one answers at once, whatever becomes of the event: it goes into a bounded queue, or it is counted as lost.

The trap: it answers 200, not 202. The agent logs "error" for any other status, although it takes 202 as delivered.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mlops_obs.collectors.drift.payload_rows import columns_of_payload, predictions_of_payload
from mlops_obs.collectors.payloads import Event, EventError, Pair, Pairing, PayloadMeter, events_of
from mlops_obs.collectors.payloads.events import REQUEST, rows_of_body
from mlops_obs.errors import PlatformError

BODY_LIMIT = 8 * 1024 * 1024
QUEUE_EVENTS = 10_000
QUEUE_BYTES = 128 * 1024 * 1024
IDLE_SECONDS = 60.0  # a connection that says nothing
MOST_REVISIONS = 20

Rows = list[Any] | dict[str, Any]
Capture = Callable[[Any], object]
Raw = tuple[Mapping[str, str], bytes, str]


class PayloadSink:
    """Takes payload events over HTTP and hands their rows on, in a thread of its own.

    Args:
        capture: returns what takes the rows of a (service, revision); raises for one that is not wanted.
        features: names of the model's inputs, in order: bodies may be lists without names.
        predictions: names of the columns that the response fills; if there are none, requests are not joined with responses.
        meter: counts.
        service: the only InferenceService to take events of; empty: any.
        revision: of events that do not say theirs.
        host, port: where to listen; port 0 takes a free one.

    Raises:
        PlatformError: OBS-PAY-001 if the address is taken.
    """

    def __init__(
        self,
        capture: Callable[[str, str], Capture],
        features: Sequence[str],
        predictions: Sequence[str],
        meter: PayloadMeter,
        *,
        service: str = "",
        revision: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        events: int = QUEUE_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capture = capture
        self._features, self._predictions = tuple(features), tuple(predictions)
        self._meter, self._clock = meter, clock
        self._service, self._revision = service, revision or "unknown"
        self._captures: dict[tuple[str, str], Capture] = {}
        self._queue: queue.Queue[Raw | None] = queue.Queue(events)
        self._queued_bytes = 0
        self._bytes_lock = threading.Lock()
        self.pairing = Pairing(lambda _, reason: meter.lost(reason))
        meter.sizes = lambda: (self._queue.qsize(), len(self.pairing))
        try:
            self._server = _Server((host, port), _handler(self))
        except OSError as error:
            todo = "choose another --port, or 0 for a free one"
            raise PlatformError("OBS-PAY-001", f"cannot take payload events: {error}", where=f"{host}:{port}", todo=todo) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._worker = threading.Thread(target=self._work, name="mlops-obs-payloads", daemon=True)

    def start(self) -> None:
        """Take events until `close`."""
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="mlops-obs-payload-sink", daemon=True).start()
        self._worker.start()

    def close(self) -> None:
        """Stop listening and read what is queued."""
        self._server.shutdown()
        self._server.server_close()
        self._queue.put(None)
        self._worker.join(30)

    def offer(self, raw: Raw) -> None:
        """Queue the headers, body and path of a request; if there is no room they are lost and counted. Never waits."""
        size = len(raw[1])
        with self._bytes_lock:
            fits = self._queued_bytes + size <= QUEUE_BYTES
            if fits:
                self._queued_bytes += size
        if fits:
            try:
                self._queue.put_nowait(raw)
                return
            except queue.Full:
                with self._bytes_lock:
                    self._queued_bytes -= size
        self._meter.lost("queue_full")

    def refuse(self, reason: str) -> None:
        """Count a request that was not read."""
        self._meter.lost(reason)

    def _work(self) -> None:
        while True:
            try:
                raw = self._queue.get(timeout=1.0)
            except queue.Empty:
                self.pairing.expire(self._clock())
                continue
            if raw is None:
                return
            with self._bytes_lock:
                self._queued_bytes -= len(raw[1])
            try:
                self._read(raw)
            except EventError as error:
                self._meter.lost(error.reason)
            except Exception:  # noqa: BLE001 - whatever a caller sent, the next event must be read
                self._meter.lost("unparsable")

    def _read(self, raw: Raw) -> None:
        for event in events_of(*raw):
            if self._service and event.service != self._service:
                self._meter.lost("another_service")
                continue
            self._meter.came(event.kind)
            if not self._predictions:
                if event.kind == REQUEST:
                    self._hand_on(event, self._rows(event))
                continue
            pair = self.pairing.add(event, self._clock())
            if pair is not None:
                self._hand_on(pair.request, self._joined(pair))

    def _rows(self, event: Event) -> Rows:
        try:
            rows = columns_of_payload(rows_of_body(event), self._features)
        except ValueError as error:
            raise EventError("unparsable", str(error)) from error
        if rows is None:
            raise EventError("no_rows", "neither instances nor inputs")
        return rows

    def _joined(self, pair: Pair) -> Rows:
        """Return the rows with the predictions as further columns."""
        rows, answers = _by_row(self._rows(pair.request), self._features), predictions_of_payload(rows_of_body(pair.response))
        if answers is None or len(answers) != len(rows):
            raise EventError("no_rows", "the response has not one prediction for each row")
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer, Mapping):
                row.update({name: answer.get(name) for name in self._predictions})
            elif isinstance(answer, list) and len(answer) == len(self._predictions):
                row.update(zip(self._predictions, answer, strict=True))
            else:
                row[self._predictions[0]] = answer
        return rows

    def _hand_on(self, event: Event, rows: Rows) -> None:
        key = (event.service, event.revision or self._revision)
        if key not in self._captures:
            if len(self._captures) >= MOST_REVISIONS:
                raise EventError("too_many_revisions", "somebody invents revisions")
            self._captures[key] = self._capture(*key)
        count = len(rows) if isinstance(rows, list) else max((len(data) for data in rows.values()), default=0)
        try:
            self._captures[key](rows)
        except ValueError as error:
            raise EventError("no_rows", str(error)) from error
        self._meter.rows(*key, count)


def _by_row(rows: Rows, features: Sequence[str]) -> list[dict[str, Any]]:
    if isinstance(rows, dict):
        count = max((len(data) for data in rows.values()), default=0)
        if any(len(data) != count for data in rows.values()):
            raise EventError("unparsable", "tensors of different lengths")
        return [{name: data[place] for name, data in rows.items()} for place in range(count)]
    found = []
    for row in rows:
        if isinstance(row, dict):
            found.append(dict(row))
        elif hasattr(row, "__len__") and len(row) == len(features):
            found.append(dict(zip(features, row, strict=True)))
        else:
            raise EventError("no_rows", f"a row that has not {len(features)} values")
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a sender that hangs up is its own affair."""


def _handler(sink: PayloadSink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = IDLE_SECONDS
        protocol_version = "HTTP/1.1"
        server_version = "mlops-obs"
        sys_version = ""
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
                body = self._chunks()
            elif length.isdigit() and len(length) < 12 and int(length) <= BODY_LIMIT:
                body = self.rfile.read(int(length))
            else:
                body = None
            if body is None:
                sink.refuse("too_large" if length.isdigit() else "not_an_event")
                self.close_connection = True  # what follows is the body that was not read
            else:
                sink.offer(({name.lower(): value for name, value in self.headers.items()}, body, self.path))
            self._answer(200)

        def do_GET(self) -> None:
            self._answer(200 if self.path in ("/healthz", "/readyz") else 404)

        def _chunks(self) -> bytes | None:
            """Return a chunked body, or None if it is too large or broken."""
            body = bytearray()
            while True:
                line = self.rfile.readline(100)
                try:
                    size = int(line.split(b";")[0], 16)
                except ValueError:
                    return None
                if size < 0 or len(body) + size > BODY_LIMIT:
                    return None
                body += self.rfile.read(size)
                self.rfile.readline(3)
                if not size:
                    return bytes(body)

        def _answer(self, status: int) -> None:
            try:
                self.wfile.write(f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}\r\nContent-Length: 0\r\n".encode())
                self.wfile.write(b"Connection: close\r\n\r\n" if self.close_connection else b"\r\n")
            except OSError:
                self.close_connection = True

        def setup(self) -> None:
            super().setup()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

        def log_message(self, *_: object) -> None:
            """Stay silent: a line per event helps nobody."""

    return Handler
