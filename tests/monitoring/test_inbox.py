"""The on-call inbox: one page per incident, on disk before it is acknowledged."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from mlops_obs.adapters.inbox import Inbox, main, moment
from mlops_obs.errors import UsageError


def notification(
    status: str = "firing", severity: str = "page", key: str = "{}:{service=a}", summary: str = "a burns", **labels: str
) -> dict[str, Any]:
    alert = {
        "status": status,
        "labels": {"alertname": "AvailabilityBudgetBurn", "service": "a", "severity": severity, **labels},
        "annotations": {"summary": summary, "runbook_url": "http://127.0.0.1:1/runbooks/A"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
    }
    return {"version": "4", "groupKey": key, "status": status, "groupLabels": {"service": "a"}, "alerts": [alert]}


def post(url: str, body: Any, kind: str = "application/json") -> int:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/alerts", data, {"Content-Type": kind})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_newest_notification_stays_in_sight_when_the_list_reloads_itself(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        for text in ("first", "second"):
            post(inbox.url, notification(summary=text))
        page = get(inbox.url)[1]

    assert 'http-equiv="refresh"' in page
    assert "<details open><summary>Newest notification" in page


def test_all_notifications_of_an_open_incident_are_one_page(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        told = [post(inbox.url, notification(summary=text)) for text in ("first", "second", "third")]
        post(inbox.url, notification(key="{}:{service=b}"))
        found = json.loads(get(f"{inbox.url}/pages.json")[1])

    assert told == [200, 200, 200]
    assert [(one["notifications"], one["status"]) for one in found] == [(3, "firing"), (1, "firing")]
    assert found[0]["payload"]["alerts"][0]["annotations"]["summary"] == "first"
    assert found[0]["latest"]["alerts"][0]["annotations"]["summary"] == "third"


def test_after_it_was_resolved_the_same_incident_pages_again(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        for status in ("firing", "resolved", "resolved", "firing"):
            post(inbox.url, notification(status))
        found = inbox.store.pages()

    assert [one.status for one in found] == ["resolved", "firing"]


def test_pages_survive_a_restart_and_are_not_told_twice(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        post(inbox.url, notification())
    with Inbox(tmp_path) as inbox:
        post(inbox.url, notification())
        [page] = inbox.store.pages()

    assert (page.number, page.notifications) == (1, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["page-000001.json"]


def test_a_ticket_that_becomes_a_page_pages_at_that_time_and_a_test_is_neither(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        post(inbox.url, notification(severity="ticket"))
        before = inbox.store.pages()[0]
        post(inbox.url, notification(severity="page", summary="worse"))
        post(inbox.url, notification(severity="page", key="t", test="true"))
        after, test = inbox.store.pages()

    assert (before.severity, after.severity, test.severity) == ("ticket", "page", "test")
    assert after.received_at > before.received_at
    assert "worse" in after.text


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        ({"version": "3", "alerts": []}, "application/json", 400),
        ([], "application/json", 400),
        (notification(), "application/x-www-form-urlencoded", 415),
        (b"x" * 4_000_000, "application/json", 413),
    ],
    ids=["not JSON", "another version", "not a document", "a form of some web page", "too large"],
)
def test_what_is_no_notification_is_refused_in_words_and_never_kept(tmp_path: Path, body: Any, kind: str, status: int) -> None:
    with Inbox(tmp_path) as inbox:
        assert post(inbox.url, body, kind) == status
        assert inbox.store.pages() == []


def test_a_page_that_cannot_be_stored_is_not_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "inbox"
    with Inbox(folder) as inbox:
        folder.rmdir()  # as a full disk: nothing can be written there
        refused = post(inbox.url, notification())
        folder.mkdir()
        accepted = post(inbox.url, notification())
        found = inbox.store.pages()

    assert (refused, accepted, len(found)) == (503, 200, 1)
    assert found[0].notifications == 1


def test_the_list_is_readable_and_escapes_what_came_over_the_wire(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        empty = get(inbox.url)[1]
        post(inbox.url, notification(summary="<script>alert(1)</script>"))
        status, text = get(inbox.url)

    assert "No page has arrived" in empty
    assert (status, "<script>" in text, "&lt;script&gt;" in text) == (200, False, True)
    assert '<a href="http://127.0.0.1:1/runbooks/A">' in text


def test_runbooks_are_served_and_nothing_outside_their_folder(tmp_path: Path) -> None:
    runbooks = tmp_path / "runbooks"
    runbooks.mkdir()
    (runbooks / "SomeAlert.md").write_text("# SomeAlert\n\n## Meaning\n\nIt *burns*.\n")
    (tmp_path / "secret.md").write_text("secret")
    with Inbox(tmp_path / "inbox", runbooks=runbooks) as inbox:
        status, text = get(f"{inbox.url}/runbooks/SomeAlert")
        listed = get(f"{inbox.url}/runbooks/")[1]
        outside = [get(f"{inbox.url}/runbooks/{name}")[0] for name in ("../secret", "%2e%2e%2fsecret", "Nothing")]

    assert (status, "Meaning" in text, "SomeAlert" in listed) == (200, True, True)
    assert outside == [404, 404, 404]


def test_a_dashboard_without_prometheus_says_why_there_is_none(tmp_path: Path) -> None:
    with Inbox(tmp_path) as inbox:
        status, text = get(f"{inbox.url}/d/mlops-obs-service?var-service=a")

    assert (status, "embedded engine" in text) == (404, True)


def test_a_dashboard_whose_prometheus_is_down_says_so(tmp_path: Path) -> None:
    with Inbox(tmp_path, prometheus="http://127.0.0.1:1") as inbox:
        status, text = get(f"{inbox.url}/d/mlops-obs-service?var-service=a&from=now-1h&to=now")
        unknown = get(f"{inbox.url}/d/no-such-board")

    assert status in {200, 503}
    assert "connection refused" in text
    assert (unknown[0], "OBS-DASH-001" in unknown[1]) == (400, True)


def test_times_are_read_as_grafana_writes_them() -> None:
    assert [moment(text, 1000.0) for text in ("now", "now-15m", "1700000000000")] == [1000.0, 100.0, 1.7e9]
    for text in ("yesterday", "9" * 17, "9" * 30, "now-1000000000000d"):
        with pytest.raises(UsageError, match="OBS-INBOX-003"):
            moment(text, 0)


def test_a_port_in_use_ends_with_one_line_and_its_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Inbox(tmp_path / "first") as inbox:
        code = main(["--port", inbox.url.rsplit(":", 1)[1], "--dir", str(tmp_path / "second")])

    assert code == 1
    assert "OBS-PLAT-002" in capsys.readouterr().err


@pytest.mark.stack
def test_as_a_process_it_says_where_it_is_and_ends_in_order_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlops_obs.adapters.inbox", "--port", "0", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    told = post(said["url"], notification())

    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=30)[1]

    assert (said["status"], told, process.returncode, errors) == ("ready", 200, 0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["page-000001.json"]
