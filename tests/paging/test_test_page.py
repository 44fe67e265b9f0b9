"""A test page takes the real route, and says in one line why it did not get through."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_obs.adapters import alertmanager as adapter
from mlops_obs.adapters.alertmanager import alertmanager_of
from mlops_obs.cli.page import app
from mlops_obs.errors import PlatformError, TelemetryUnavailable
from mlops_obs.paging.page import is_page, render_page

ENVIRONMENT = """
service: credit-risk
state: state.db
metrics: {{embedded: metrics.db}}
target: {{kserve: {{namespace: models, name: credit-risk}}}}
inbox: "{inbox}"
"""


class Receiver(HTTPServer):
    """Keeps what is posted to it and answers `status`."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, object]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"no\nspace" if self.server.status != 200 else b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def send(tmp_path: Path, inbox: str):
    path = tmp_path / "obs.yaml"
    path.write_text(ENVIRONMENT.format(inbox=inbox))
    return CliRunner().invoke(app, ["test", "--team", "risk-ml", "--env", str(path)])


def test_a_test_page_arrives_marked_as_one_also_where_a_proxy_is_set(tmp_path: Path, receiver: Receiver, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert send(tmp_path, receiver.url).exit_code == 0
    (payload,) = receiver.bodies
    assert "test, no action needed" in render_page(payload)
    assert not is_page(payload)


def test_a_refused_test_page_is_one_line(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 503

    error = send(tmp_path, receiver.url).exception

    assert isinstance(error, TelemetryUnavailable)
    assert str(error) == f"{receiver.url}/alerts: refused: HTTP 503 no space; read its log [OBS-PAGE-002]"


def test_nobody_at_the_address_is_one_line(tmp_path: Path) -> None:
    error = send(tmp_path, "http://127.0.0.1:1").exception

    assert str(error) == "http://127.0.0.1:1/alerts: does not answer: connection refused; check that it runs [OBS-PAGE-002]"


def test_a_broken_address_and_a_server_that_is_no_prometheus_are_one_line_each(monkeypatch) -> None:
    with pytest.raises(TelemetryUnavailable, match="is not an address"):
        alertmanager_of("http://[::1")
    for said in ({"data": []}, {"data": {"activeAlertmanagers": ["x"]}}, [1], {"data": {"activeAlertmanagers": None}}):
        monkeypatch.setattr(adapter, "_call", lambda *_, said=said: said)
        with pytest.raises(PlatformError, match="OBS-PAGE-003"):
            alertmanager_of("http://127.0.0.1:1")
