"""Whoever is told of a rollout is told once: also after an outage, after a crash between delivery and receipt, and in company."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from mlops_obs.adapters.alertmanager import post_alerts
from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.grafana import Grafana
from mlops_obs.adapters.inbox import Inbox
from mlops_obs.adapters.inbox_store import InboxStore
from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.adapters.notify import AlertmanagerNotifier, AllOf, GrafanaAnnotations, PagerNotifier, Patient, Sender, WebhookNotifier
from mlops_obs.adapters.processes import Daemon
from mlops_obs.cli import wiring
from mlops_obs.errors import ObsError, PlatformError, TelemetryUnavailable, UsageError
from mlops_obs.paging.alertmanager import render_config
from mlops_obs.paging.page import is_page, render_page
from mlops_obs.paging.rollout_notices import NOTICE_ALERTS, alert_of, notice_labels
from mlops_obs.rollout.ports import Notice
from tests.paging.alertmanager_server import alertmanager, until, vendors

NOW = 1_700_000_000.0
LABELS = {"revision": "v3", "rollout": "credit-risk-v3"}
ROLLED_BACK = Notice(
    "credit-risk-v3/17", "rollback", "credit-risk", NOW, "credit-risk: v3 was rolled back", "58.3% failed against 0.0%", LABELS
)


class Somebody(ThreadingHTTPServer):
    """A webhook, or a Grafana that keeps annotations and finds them by tag; `status` is what it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.said: list[tuple[dict[str, str], dict]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Somebody

    def do_GET(self) -> None:
        wanted = set(parse_qs(urlsplit(self.path).query).get("tags", ()))
        self._answer([body for _, body in self.server.said if wanted <= set(body["tags"])])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.said.append((dict(self.headers), body))
        self._answer({"id": 1})

    def _answer(self, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    server = Somebody()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Ear:
    """Keeps what it hears; `deaf` makes it refuse."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf, self.heard, self.asked = deaf, [], 0

    def deliver(self, notice: Notice) -> None:
        self.asked += 1
        if self.deaf:
            raise PlatformError("OBS-NTFY-002", "away")
        self.heard.append(notice.key)


@pytest.mark.stack
@pytest.mark.skipif(alertmanager_program() is None, reason="alertmanager is missing: apt-get install prometheus-alertmanager")
def test_a_pager_that_was_down_tells_of_the_rollback_once_however_often_it_is_delivered(tmp_path):
    at = time.time() - 7200  # the pager was away for two hours
    late = Notice(ROLLED_BACK.key, "rollback", "credit-risk", at, ROLLED_BACK.title, ROLLED_BACK.text, LABELS)
    with vendors() as pager:
        config = tmp_path / "alertmanager.yaml"
        config.write_text(render_config([], f"{pager.url}/alerts", group_wait="1s", ticket_group_wait="1s", group_interval="1s"))
        flags = [f"--config.file={config}", f"--storage.path={tmp_path / 'data'}", "--cluster.listen-address="]
        program = str(alertmanager_program())
        daemon = Daemon("Alertmanager", lambda listen: [program, *flags, f"--web.listen-address={listen}"], "/-/ready", tmp_path / "log")
        daemon.start()
        try:
            daemon.stop()
            notifier = AlertmanagerNotifier(daemon.url, Sender("platform", "http://d", "http://r"), time.time)
            with pytest.raises(TelemetryUnavailable, match="OBS-PAGE-002"):
                notifier.deliver(late)

            daemon.start()
            notifier.deliver(late)
            notifier.deliver(late)  # the controller was killed before it wrote down that it was taken

            assert until(lambda: pager.bodies)
            notifier.deliver(late)
            assert not until(lambda: len(pager.bodies) > 1, patience=3)
        finally:
            daemon.stop()

    (_, _, payload) = pager.bodies[0]
    (alert,) = payload["alerts"]
    assert payload["status"] == "firing"
    assert alert["labels"]["alertname"] == "RolloutRolledBack"
    assert alert["labels"]["revision"] == "v3"
    assert "58.3% failed" in render_page(payload)
    assert "Runbook    http://r/RolloutRolledBack" in render_page(payload)


@pytest.mark.stack
@pytest.mark.skipif(alertmanager_program() is None, reason="alertmanager is missing: apt-get install prometheus-alertmanager")
def test_the_page_of_the_slo_that_a_canary_burned_stays_the_only_page_when_its_rollback_is_told(tmp_path):
    slos = load_slos(Path(__file__).parents[2] / "slo")
    burn = {
        "alertname": "AvailabilityBudgetBurn",
        "service": "credit-risk",
        "slo": "availability",
        "severity": "page",
        "tier": "page-quick",
    }
    inbox = InboxStore(tmp_path / "inbox")
    with vendors() as pager:
        config = render_config(slos, f"{pager.url}/alerts", group_wait="1s", ticket_group_wait="1s", group_interval="1s")
        with alertmanager(config, tmp_path) as url:
            post_alerts(url, [{"labels": {**burn, "team": "risk-ml", "revision": "v3"}, "annotations": {"summary": "burns"}}])
            AlertmanagerNotifier(url, Sender("risk-ml"), time.time).deliver(replace(ROLLED_BACK, at=time.time()))
            assert until(lambda: len(pager.bodies) >= 2)

    for _, _, payload in pager.bodies:
        inbox.receive(payload, NOW)
    assert sorted(page.severity for page in inbox.pages()) == ["page", "ticket"]
    assert "AvailabilityBudgetBurn" in str(next(page.payload for page in inbox.pages() if page.severity == "page"))


def test_a_rollback_is_a_ticket_a_canary_that_cannot_be_taken_back_is_a_page_and_a_step_is_neither():
    severities = {one.kind: one.severity for one in NOTICE_ALERTS}

    assert severities == {"rollback": "ticket", "telemetry": "ticket", "stuck": "page"}
    assert alert_of("step") is None
    assert alert_of("promoted") is None
    assert alert_of("something new").name == "RolloutStuck"  # it is told rather than lost


def test_a_way_back_that_is_lost_can_wait_and_a_canary_that_cannot_be_taken_back_is_other_news():
    stuck = alert_of("stuck")

    lost, due = (notice_labels(stuck, "s", "t", {"revision": "v2", "cause": cause, "value": "3.1"}) for cause in ("way-back", "stuck"))

    assert (lost["severity"], due["severity"]) == ("ticket", "page")
    assert lost["cause"] != due["cause"]
    assert "value" not in due  # it changes, and an alert with another value would be another alert


def test_the_alert_of_the_same_notice_has_the_same_labels_and_start_and_ends_after_its_delivery(somebody):
    clock = SimpleNamespace(now=NOW + 10)
    notifier = AlertmanagerNotifier(somebody.url, Sender("risk-ml"), lambda: clock.now)

    notifier.deliver(ROLLED_BACK)
    clock.now += 7200
    notifier.deliver(ROLLED_BACK)
    notifier.deliver(Notice("k", "step", "credit-risk", NOW, "50 %", "", {}))

    (first,), (second,) = (body for _, body in somebody.said)
    assert (first["labels"], first["startsAt"]) == (second["labels"], second["startsAt"])
    assert second["endsAt"] > second["startsAt"]
    assert second["endsAt"].startswith("2023-11-15T01:")  # an hour after the second delivery, not after the event
    assert not is_page({"alerts": [first]})


def test_the_on_call_inbox_is_told_without_an_alertmanager_and_a_second_delivery_is_the_same_incident(tmp_path):
    with Inbox(tmp_path / "inbox") as inbox:
        pager = PagerNotifier(f"{inbox.url}/alerts", Sender("risk-ml", runbooks="http://r"))
        pager.deliver(ROLLED_BACK)
        pager.deliver(ROLLED_BACK)
        pager.deliver(replace(ROLLED_BACK, key="credit-risk-v3/18", kind="stuck"))
        pager.deliver(replace(ROLLED_BACK, key="credit-risk-v3/19", kind="step"))
        pages = inbox.store.pages()

    assert [(page.severity, page.notifications) for page in pages] == [("ticket", 2), ("page", 1)]
    assert "v3 was rolled back" in pages[0].text


def test_an_annotation_is_written_once_and_found_again_by_its_key(somebody):
    notes = GrafanaAnnotations(Grafana(somebody.url, "token"))

    notes.deliver(ROLLED_BACK)
    notes.deliver(ROLLED_BACK)
    notes.deliver(Notice("credit-risk-v3/18", "step", "credit-risk", NOW + 5, "50 %", "", {}))

    first, second = (body for _, body in somebody.said)
    assert first["time"] == NOW * 1000
    assert {"rollout", "rollback", "service:credit-risk", "revision:v3"} <= set(first["tags"])
    assert "58.3% failed" in first["text"]
    assert second["text"] == "50 %"


def test_the_dashboards_show_what_is_written_into_grafana(somebody):
    GrafanaAnnotations(Grafana(somebody.url, "token")).deliver(ROLLED_BACK)

    for path in sorted((Path(__file__).parents[2] / "dashboards").glob("*.json")):
        queries = [one["target"] for one in json.loads(path.read_text())["annotations"]["list"] if "target" in one]
        assert [set(query["tags"]) <= set(somebody.said[0][1]["tags"]) for query in queries if query["type"] == "tags"] == [True], path


def test_a_grafana_that_is_away_is_an_error_with_a_code(somebody):
    somebody.status = 503

    with pytest.raises(PlatformError, match="OBS-GRAF-003"):
        GrafanaAnnotations(Grafana(somebody.url, "token")).deliver(ROLLED_BACK)


def test_a_webhook_gets_the_whole_notice_and_a_key_that_makes_it_the_same_again(somebody):
    WebhookNotifier(f"{somebody.url}/secret-room", token="t").deliver(ROLLED_BACK)

    headers, body = somebody.said[0]
    assert headers["Idempotency-Key"] == ROLLED_BACK.key
    assert headers["Authorization"] == "Bearer t"
    assert body == {
        "key": ROLLED_BACK.key, "kind": "rollback", "service": "credit-risk", "at": NOW,
        "title": ROLLED_BACK.title, "text": ROLLED_BACK.text, "labels": LABELS,
    }  # fmt: skip


def test_a_webhook_that_refuses_is_an_error_that_does_not_tell_its_address(somebody):
    somebody.status = 500

    with pytest.raises(PlatformError, match="HTTP 500") as caught:
        WebhookNotifier(f"{somebody.url}/secret-room").deliver(ROLLED_BACK)

    assert "secret-room" not in str(caught.value)
    with pytest.raises(UsageError, match="OBS-NTFY-001"):
        WebhookNotifier("ftp://example")


def test_one_that_is_away_keeps_nobody_else_from_being_told_and_nobody_is_told_twice():
    away, well = Ear(deaf=True), Ear()
    both = AllOf([away, well])

    with pytest.raises(ObsError, match="away"):
        both.deliver(ROLLED_BACK)
    away.deaf = False
    both.deliver(ROLLED_BACK)

    assert (away.heard, well.heard) == ([ROLLED_BACK.key], [ROLLED_BACK.key])


def test_one_that_is_away_for_ever_keeps_no_notice_from_the_others():
    away, well = Ear(deaf=True), Ear()
    both = AllOf([Patient(away, lambda: 0.0), Patient(well, lambda: 0.0)])

    for number in range(10):
        with pytest.raises(ObsError):
            both.deliver(Notice(f"n{number}", "step", "s", NOW, "", "", {}))

    assert well.heard == [f"n{number}" for number in range(10)]
    assert away.asked == 1


def test_one_that_is_away_is_not_asked_at_every_look_and_less_and_less_often():
    clock = SimpleNamespace(now=0.0)
    ear = Ear(deaf=True)
    patient = Patient(ear, lambda: clock.now, first=1, most=8)
    asked = []

    for second in range(31):
        clock.now = float(second)
        with pytest.raises(ObsError):
            patient.deliver(ROLLED_BACK)
        if ear.asked > len(asked):
            asked.append(second)

    assert asked == [0, 1, 3, 7, 15, 23]
    ear.deaf, clock.now = False, 31.0
    patient.deliver(ROLLED_BACK)
    patient.deliver(ROLLED_BACK)
    assert len(ear.heard) == 2


def test_the_environment_says_who_is_told(tmp_path, somebody):
    (tmp_path / "token").write_text("t\n")
    base = "service: s\nstate: s.db\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: a, name: b}}\n"
    (tmp_path / "obs.yaml").write_text(base)
    assert wiring.notifier(wiring.load_environment(tmp_path / "obs.yaml")) is None

    told = (
        f'notify: {{webhook: "{somebody.url}/a", grafana: {{url: "{somebody.url}", token_file: token}}, alertmanager: "{somebody.url}"}}\n'
    )
    (tmp_path / "obs.yaml").write_text(base + told)
    notifier = wiring.notifier(wiring.load_environment(tmp_path / "obs.yaml"))
    assert notifier is not None
    notifier.deliver(Notice("k", "promoted", "s", NOW, "v2 is promoted", "", {}))
    assert len(somebody.said) == 2  # a promotion is no alert

    (tmp_path / "token").unlink()
    with pytest.raises(UsageError, match="OBS-ENV-004"):
        wiring.notifier(wiring.load_environment(tmp_path / "obs.yaml"))
    (tmp_path / "obs.yaml").write_text(base + "notify: {webhok: x}\n")
    with pytest.raises(UsageError, match="did you mean webhook"):
        wiring.load_environment(tmp_path / "obs.yaml")
