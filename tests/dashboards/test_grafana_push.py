"""Pushing talks to a Grafana as Grafana answers: with an id, a version and defaults of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mlops_obs.adapters.grafana import Grafana
from mlops_obs.dashboards.catalogue import DASHBOARDS
from mlops_obs.dashboards.grafana_json import to_grafana
from mlops_obs.errors import PlatformError, UsageError

TOKEN = "secret-token"


class FakeGrafana(ThreadingHTTPServer):
    """Keeps dashboards and folders, as Grafana's HTTP API does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.folders: set[str] = set()
        self.writes = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FakeGrafana

    def do_GET(self) -> None:
        uid = self.path.rsplit("/", 1)[1]
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401, {"message": "invalid API key"})
        elif "/dashboards/uid/" in self.path and uid in self.server.dashboards:
            self._answer(200, {"dashboard": self.server.dashboards[uid], "meta": {}})
        elif "/folders/" in self.path and uid in self.server.folders:
            self._answer(200, {"uid": uid})
        else:
            self._answer(404, {"message": "not found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.writes += 1
        if self.path.endswith("/folders"):
            self.server.folders.add(body["uid"])
            self._answer(200, body)
            return
        assert body["folderUid"] in self.server.folders
        board = body["dashboard"]
        version = self.server.dashboards.get(board["uid"], {}).get("version", 0) + 1
        self.server.dashboards[board["uid"]] = {**board, "id": 7, "version": version, "weekStart": ""}
        self._answer(200, {"uid": board["uid"], "version": version})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeGrafana]:
    fake = FakeGrafana()
    thread = threading.Thread(target=fake.serve_forever, daemon=True)
    thread.start()
    yield fake
    fake.shutdown()
    fake.server_close()


def test_a_push_creates_what_is_missing_and_repeating_it_changes_nothing(server: FakeGrafana) -> None:
    grafana, board = Grafana(server.url, TOKEN), to_grafana(DASHBOARDS[0])

    first = grafana.push(board)
    writes = server.writes
    second = grafana.push(board)

    assert (first, second) == ("created", "unchanged")
    assert server.writes == writes
    assert server.dashboards["mlops-obs-service"]["version"] == 1


def test_a_change_is_pushed_as_a_new_version(server: FakeGrafana) -> None:
    grafana, board = Grafana(server.url, TOKEN), to_grafana(DASHBOARDS[0])
    grafana.push(board)

    outcome = grafana.push({**board, "title": "New name"})

    assert outcome == "updated"
    assert server.dashboards["mlops-obs-service"]["version"] == 2


def test_a_dry_run_says_what_would_change_and_writes_nothing(server: FakeGrafana) -> None:
    outcome = Grafana(server.url, TOKEN).push(to_grafana(DASHBOARDS[0]), dry_run=True)

    assert outcome == "created"
    assert server.writes == 0


def test_a_wrong_token_is_refused_with_advice_and_the_token_is_not_shown(server: FakeGrafana) -> None:
    with pytest.raises(PlatformError, match="service account") as caught:
        Grafana(server.url, "wrong-token").push(to_grafana(DASHBOARDS[0]))

    assert "wrong-token" not in str(caught.value)


def test_a_grafana_that_is_away_is_an_error_with_its_address(server: FakeGrafana) -> None:
    server.shutdown()
    server.server_close()

    with pytest.raises(PlatformError, match=rf"{server.url}.*OBS-GRAF-003"):
        Grafana(server.url, TOKEN).push(to_grafana(DASHBOARDS[0]))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="OBS-GRAF-001"):
        Grafana("grafana.example", TOKEN)
