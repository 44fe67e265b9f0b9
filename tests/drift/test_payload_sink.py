"""A sink that no model waits for: real HTTP, stalled readers, 10,000 events, hostile bodies, the whole command."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

from mlops_obs.adapters import payload_events
from mlops_obs.adapters.payload_events import PayloadSink
from mlops_obs.collectors.drift.columns import Categories, Column, ColumnKind, Role, Schema
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.payloads import PayloadMeter
from mlops_obs.errors import PlatformError

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"


def headers(identity, kind, service="credit-risk"):
    return {
        "ce-specversion": "1.0",
        "ce-id": str(identity),
        "ce-type": kind,
        "ce-source": "http://localhost:9081/",
        "ce-inferenceservicename": service,
        "ce-namespace": "lending",
        "ce-component": "predictor",
        "content-type": "application/json",
    }


class Sink:
    """A sink on a free port that keeps the rows it was given."""

    def __init__(self, predictions=("risk",), capture=None, **options):
        self.rows = {}
        self.meter = PayloadMeter(threading.Lock())
        keep = capture or (lambda service, revision: self.rows.setdefault((service, revision), []).append)
        self.sink = PayloadSink(keep, ("income", "age"), predictions, self.meter, **options)

    def __enter__(self):
        self.sink.start()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.sink.port, timeout=30)
        return self

    def __exit__(self, *_):
        self.connection.close()
        self.sink.close()

    def post(self, identity, kind, body, path="/v2", **more):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request("POST", path, content, headers(identity, kind, **more))
        answer = self.connection.getresponse()
        answer.read()
        return answer.status

    def counts(self):
        self.sink._queue.put(None)  # the worker ends when it has read what came before
        self.sink._worker.join(60)
        self.sink._worker = threading.Thread(target=self.sink._work, daemon=True)
        self.sink._worker.start()
        readings = [one for one in self.meter.read() if one.value]
        return {(one.metric.name.removeprefix("mlops_obs_payload_"), *one.labels.values()): one.value for one in readings}


def test_requests_and_responses_of_both_protocols_become_rows_with_their_predictions():
    with Sink() as one:
        one.post(1, REQUEST, {"instances": [[1_000.0, 30], [2_000.0, 40]]})
        one.post(1, RESPONSE, {"predictions": [0.1, 0.2]})
        one.post(2, RESPONSE, {"outputs": [{"name": "risk", "shape": [1], "datatype": "FP64", "data": [0.3]}]})
        tensors = [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in (("age", 50), ("income", 3_000.0))]
        one.post(2, REQUEST, {"inputs": tensors})
        one.post(3, REQUEST, {"instances": [{"income": 4_000.0, "age": 60}]}, path="/v3")
        one.post(3, RESPONSE, {"predictions": [{"risk": 0.4, "reason": "age"}]}, path="/v3")
        counts = one.counts()

    assert one.rows == {
        ("credit-risk", "v2"): [
            [{"income": 1_000.0, "age": 30, "risk": 0.1}, {"income": 2_000.0, "age": 40, "risk": 0.2}],
            [{"income": 3_000.0, "age": 50, "risk": 0.3}],
        ],
        ("credit-risk", "v3"): [[{"income": 4_000.0, "age": 60, "risk": 0.4}]],
    }
    assert counts == {
        ("events_total", "request"): 3,
        ("events_total", "response"): 3,
        ("rows_total", "credit-risk", "v2"): 3,
        ("rows_total", "credit-risk", "v3"): 1,
    }


def test_without_predictions_in_the_reference_nothing_waits_for_a_response():
    with Sink(predictions=()) as one:
        one.post(1, REQUEST, {"instances": [[1_000.0, 30]]})
        one.post(1, RESPONSE, {"predictions": [0.1]})
        counts = one.counts()

    assert one.rows == {("credit-risk", "v2"): [[[1_000.0, 30]]]}
    assert ("waiting",) not in counts


def test_a_stalled_reader_never_makes_a_sender_wait_and_memory_stays_bounded():
    stalled, go_on = threading.Event(), threading.Event()

    def capture(service, revision):
        stalled.set()
        go_on.wait(60)
        return lambda rows: None

    with Sink(predictions=(), capture=capture, events=50) as one:
        one.post(0, REQUEST, {"instances": [[1.0, 2]]})
        assert stalled.wait(60)
        answers = {one.post(number, REQUEST, {"instances": [[1.0, 2]]}) for number in range(1, 201)}
        queued = one.sink._queue.qsize()
        go_on.set()
        counts = one.counts()

    assert answers == {200}
    assert queued == 50
    assert counts["events_lost_total", "queue_full"] == 150
    assert counts["rows_total", "credit-risk", "v2"] == 51


def test_the_bytes_that_wait_are_bounded_too(monkeypatch):
    monkeypatch.setattr(payload_events, "QUEUE_BYTES", 100_000)
    go_on = threading.Event()

    def capture(service, revision):
        go_on.wait(60)
        return lambda rows: None

    with Sink(predictions=(), capture=capture) as one:
        for number in range(30):
            one.post(number, REQUEST, {"instances": [[1.0, 2]], "padding": "x" * 10_000})
        go_on.set()
        counts = one.counts()

    assert counts["events_lost_total", "queue_full"] >= 20
    assert counts["events_lost_total", "queue_full"] + counts["rows_total", "credit-risk", "v2"] == 30


def pipelined(port, events):
    """Send many events over one connection without waiting for answers, then read them all."""
    parts = []
    for identity, kind, body in events:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers(identity, kind).items())
        parts.append(f"POST /v2 HTTP/1.1\r\nHost: sink\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        sender = threading.Thread(target=connection.sendall, args=(b"".join(parts),))
        sender.start()
        answers = b""
        while answers.count(b"HTTP/1.1 200 OK") < len(parts):
            received = connection.recv(1 << 16)
            assert received
            answers = answers + received
        sender.join()


def test_ten_thousand_events_are_all_paired_or_counted():
    request, response = b'{"instances": [[1000.0, 30]]}', b'{"predictions": [0.1]}'
    with Sink(events=20_000) as one:
        halves = [(n, REQUEST, request) for n in range(5_000)], [(n, RESPONSE, response) for n in range(5_000)]
        senders = [threading.Thread(target=pipelined, args=(one.sink.port, half)) for half in halves]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        counts = one.counts()

    assert counts == {("events_total", "request"): 5_000, ("events_total", "response"): 5_000, ("rows_total", "credit-risk", "v2"): 5_000}
    assert len(one.sink.pairing) == 0


HOSTILE = {
    "no JSON": b"\x00\xff{",
    "deep": b"[" * 200_000,
    "empty": b"",
    "a list": b"[1, 2]",
    "a number": b"7",
    "no rows": b'{"hello": 1}',
    "rows of another width": b'{"instances": [[1.0]]}',
    "rows of rows": b'{"instances": [[[[1.0, 2.0]]]]}',
    "a tensor without data": b'{"inputs": [{"name": "income", "shape": [1]}]}',
    "tensors of other shapes": b'{"inputs": [{"name": "income", "shape": [1000000000, 2], "data": [1.0]}]}',
    "a huge number": b'{"instances": [[' + b"9" * 5_000 + b", 1]]}",
}


@pytest.mark.parametrize("predictions", [(), ("risk",)], ids=["requests only", "joined"])
def test_hostile_bodies_are_counted_and_the_next_event_is_read(predictions):
    with Sink(predictions=predictions) as one:
        for number, body in enumerate(HOSTILE.values()):
            assert one.post(number, REQUEST, body) == 200
            one.post(number, RESPONSE, {"predictions": [0.5]})
        one.post("good", REQUEST, {"instances": [[1.0, 2.0]]})
        one.post("good", RESPONSE, {"predictions": [0.5]})
        counts = one.counts()

    lost = {key[1]: count for key, count in counts.items() if key[0] == "events_lost_total"}
    handed = sum(map(len, one.rows["credit-risk", "v2"]))
    assert set(lost) <= {"unparsable", "no_rows"}
    assert sum(lost.values()) + handed >= len(HOSTILE)
    assert one.rows["credit-risk", "v2"][-1][0] in ([1.0, 2.0], {"income": 1.0, "age": 2.0, "risk": 0.5})


def test_too_much_and_too_many_is_refused_and_counted(monkeypatch):
    monkeypatch.setattr(payload_events, "BODY_LIMIT", 1_000)
    with Sink(predictions=(), service="credit-risk") as one:
        one.post(1, REQUEST, {"instances": [[1.0, 2.0]] * 1_000})
        one.post(2, REQUEST, {"instances": [[1.0, 2.0]]}, service="fraud")
        for number in range(25):
            one.post(number, REQUEST, {"instances": [[1.0, 2.0]]}, path=f"/invented-{number}")
        counts = one.counts()

    assert counts["events_lost_total", "too_large"] == 1
    assert counts["events_lost_total", "another_service"] == 1
    assert counts["events_lost_total", "too_many_revisions"] == 5
    assert len(one.rows) == 20


def test_a_chunked_body_is_read_as_the_go_client_may_send_it():
    with Sink(predictions=()) as one:
        body = json.dumps({"instances": [[1.0, 2.0]]}).encode()
        chunks = (body[start : start + 7] for start in range(0, len(body), 7))
        one.connection.request("POST", "/v2", chunks, headers(1, REQUEST), encode_chunked=True)
        answer = one.connection.getresponse()
        answer.read()
        one.counts()

    assert answer.status == 200
    assert one.rows == {("credit-risk", "v2"): [[[1.0, 2.0]]]}


def test_a_taken_port_is_said():
    with Sink() as one, pytest.raises(PlatformError, match="OBS-PAY-001"):
        Sink(port=one.sink.port)


def test_the_command_finds_drift_in_the_payloads_of_one_revision_and_not_of_the_other(tmp_path):
    random = np.random.default_rng(2)
    columns = Schema((Column("income"), Column("channel", ColumnKind.CATEGORY), Column("risk", role=Role.PREDICTION)))
    block = {
        "income": random.lognormal(8, 1, 4_000),
        "channel": Categories(random.integers(0, 2, 4_000), ["web", "branch"]),
        "risk": random.random(4_000),
    }
    path = tmp_path / "credit.profile"
    path.write_bytes(ReferenceProfile.from_block(block, columns).to_bytes())
    command = [sys.executable, "-m", "mlops_obs.cli.main", "drift", "payloads", "--reference", str(path), "--port", "0"]
    sink = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "MLOPS_OBS_METRICS_PORT": "0"})
    try:
        line = sink.stderr.readline()
        port, metrics = (int(one) for one in re.findall(r"127\.0\.0\.1:(\d+)", line))
        for revision, factor in (("v2", 1.0), ("v3", 100.0)):
            incomes = (random.lognormal(8, 1, 1_500) * factor).tolist()
            rows = [list(row) for row in zip(incomes, random.choice(["web", "branch"], 1_500).tolist(), strict=True)]
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            for start in range(0, 1_500, 50):
                for kind, body in (
                    (REQUEST, {"instances": rows[start : start + 50]}),
                    (RESPONSE, {"predictions": random.random(50).tolist()}),
                ):
                    connection.request("POST", f"/{revision}", json.dumps(body), headers(f"{revision}-{start}", kind))
                    connection.getresponse().read()
            connection.close()

        deadline = time.monotonic() + 60
        drifted = text = ""
        folded = [f'mlops_obs_drift_rows_total{{revision="{one}",service="credit-risk"}} 1500.0' for one in ("v2", "v3")]
        while not all(one in text for one in ('feature="income",kind="unit"', *folded)) and time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=10) as response:
                text = response.read().decode()
            drifted = "\n".join(one for one in text.splitlines() if one.startswith("mlops_obs_drift_alarms_total"))
            time.sleep(0.1)
    finally:
        sink.send_signal(signal.SIGTERM)
        sink.communicate(timeout=30)

    assert [one for one in folded if one not in text] == []
    assert 'mlops_obs_payload_rows_total{revision="v2",service="credit-risk"} 1500.0' in text
    assert 'revision="v3"' in drifted
    assert 'revision="v2"' not in drifted
    assert sink.returncode == 0
