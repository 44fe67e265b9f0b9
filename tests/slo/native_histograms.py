"""A web server that exposes one native histogram, in the protobuf format that Prometheus asks for when the feature is on.

No client library for Python writes it, so the few messages needed are written by hand
(https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto).
"""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
QUARTER, ONE = -2, 0  # buckets of schema 0 that end at 0.25 and at 1


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def number(field: int, encoded: bytes) -> bytes:
    return varint(field << 3) + encoded


def double(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


def message(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def span(offset: int, length: int) -> bytes:
    return message(12, number(1, zigzag(offset)) + number(2, varint(length)))


def family(name: str, labels: dict[str, str], fast: int, slow: int) -> bytes:
    """Return a histogram with `fast` observations in (0.125, 0.25] and `slow` ones in (0.5, 1]."""
    histogram = number(1, varint(fast + slow)) + double(2, fast * 0.2 + slow * 0.7)
    histogram += number(5, zigzag(0)) + double(6, 1e-9) + number(7, varint(0))
    histogram += span(QUARTER, 1) + span(ONE - QUARTER - 1, 1)
    histogram += number(13, zigzag(fast)) + number(13, zigzag(slow - fast))
    pairs = b"".join(message(1, message(1, key.encode()) + message(2, value.encode())) for key, value in labels.items())
    body = message(1, name.encode()) + message(2, b"help") + number(3, varint(4)) + message(4, pairs + message(7, histogram))
    return varint(len(body)) + body


@contextmanager
def exposing(name: str, groups: dict[str, tuple[int, int]], label: str) -> Iterator[int]:
    """Serve `name` on a port of the loopback: per value of `label` so many fast and slow observations more at every scrape."""
    scrapes = dict.fromkeys(groups, 0)

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b""
            for value, (fast, slow) in groups.items():
                scrapes[value] += 1
                body += family(name, {label: value}, fast * scrapes[value], slow * scrapes[value])
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
