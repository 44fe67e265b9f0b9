"""A service with a bad canary, real processes and real HTTP: on-call gets exactly one page, from either engine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops_obs.adapters.alert_groups import fingerprint
from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.inbox import Inbox
from mlops_obs.adapters.local_prometheus import LocalMonitoring, available
from mlops_obs.adapters.processes import free_port
from mlops_obs.paging.alertmanager import render_config
from mlops_obs.slo.annotations import Links
from mlops_obs.slo.rules.prometheus_rules import render_rules

ROOT = Path(__file__).resolve().parents[2]
LINKS = Links(dashboards="http://127.0.0.1:1/d", runbooks="http://127.0.0.1:1/runbooks")
PATIENCE = 120.0
pytestmark = pytest.mark.stack


@contextmanager
def toy_service(tmp_path: Path, bad_share: float) -> Iterator[None]:
    environment = {**os.environ, "MLOPS_OBS_DISCOVERY_DIR": str(tmp_path / "discovery")}
    command = [sys.executable, str(Path(__file__).with_name("toy_service.py")), str(bad_share)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def prometheus_engine(tmp_path: Path, inbox_url: str) -> Iterator[None]:
    if not available():
        pytest.skip("prometheus is missing: apt-get install prometheus prometheus-alertmanager")
    slos = load_slos(ROOT / "slo" / "credit-risk.yaml")
    rules = tmp_path / "rules.yaml"
    rules.write_text(render_rules(slos, evaluation_interval="1s", links=LINKS))
    config = render_config(slos, f"{inbox_url}/alerts", group_wait="1s", group_interval="1s")
    with LocalMonitoring(tmp_path / "monitoring", [rules], tmp_path / "discovery", config):
        yield


@contextmanager
def embedded_engine(tmp_path: Path, inbox_url: str) -> Iterator[None]:
    environment = {
        "service": "credit-risk",
        "state": "state.db",
        "discovery": "discovery",
        "metrics": {"embedded": "metrics.db"},
        "target": {"ray_serve": {"address": "127.0.0.1:1", "url": "http://127.0.0.1:1", "import_path": "none:none"}},
        "links": {"dashboards": LINKS.dashboards, "runbooks": LINKS.runbooks},
        "inbox": inbox_url,
    }
    (tmp_path / "obs.yaml").write_text(json.dumps(environment))
    command = [sys.executable, "-m", "mlops_obs.cli.main", "monitor", "slo", "--env", str(tmp_path / "obs.yaml")]
    flags = ["--interval", "1s", "--group-wait", "1s", "--group-interval", "1s"]
    process = subprocess.Popen([*command, *flags], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "ready"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


ENGINES = {"prometheus": prometheus_engine, "embedded": embedded_engine}


def until(true: Callable[[], object], patience: float = PATIENCE) -> bool:
    deadline = time.monotonic() + patience
    while not true() and time.monotonic() < deadline:
        time.sleep(0.2)
    return bool(true())


def pages(url: str) -> list[dict[str, Any]]:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{url}/pages.json", timeout=5) as response:
        found: list[dict[str, Any]] = json.load(response)
        return found


@pytest.mark.parametrize("name", ENGINES)
def test_a_bad_canary_pages_once_with_all_that_on_call_needs(name: str, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ENGINES[name](tmp_path, url), toy_service(tmp_path, 0.5):
        # The inbox is down when the incident begins: the notification must wait for it, not get lost.
        assert until(lambda: list((tmp_path / "discovery").glob("*.json")))
        time.sleep(8)
        with Inbox(tmp_path / "inbox", port):
            assert until(lambda: pages(url))
            time.sleep(5)
            [page] = pages(url)
            alerts = [one for one in page["payload"]["alerts"] if one["labels"].get("revision")]

    assert (page["severity"], page["payload"]["groupLabels"]) == ("page", {"service": "credit-risk"})
    assert page["payload"]["groupKey"] == '{}/{severity="page",team="risk-ml"}:{service="credit-risk"}'
    assert {(one["labels"]["alertname"], one["labels"]["revision"], one["labels"]["tier"]) for one in alerts} == {
        ("AvailabilityBudgetBurn", "v3", "page-quick")
    }
    [alert] = alerts
    labels, said = alert["labels"], alert["annotations"]
    assert {"service": "credit-risk", "slo": "availability", "team": "risk-ml", "severity": "page"}.items() <= labels.items()
    assert alert["fingerprint"] == fingerprint(labels)
    assert 30 < float(said["burn_rate"]) < 60
    assert said["revision"] == "v3"
    assert said["action_taken"] == "none yet"
    assert said["runbook_url"] == "http://127.0.0.1:1/runbooks/AvailabilityBudgetBurn"
    assert re.fullmatch(
        r"http://127\.0\.0\.1:1/d/mlops-obs-service\?var-service=credit-risk&var-revision=v3&from=\d{13}&to=\d{13}", said["dashboard_url"]
    )
    assert all(said[name] for name in ("summary", "description", "error_ratio", "budget_left", "time_to_exhaustion"))
    assert page["text"].startswith("PAGE: credit-risk v3: availability burns")


@pytest.mark.parametrize("name", ENGINES)
def test_a_healthy_service_stays_silent(name: str, tmp_path: Path) -> None:
    with Inbox(tmp_path / "inbox") as inbox, ENGINES[name](tmp_path, inbox.url), toy_service(tmp_path, 0.0):
        time.sleep(12)

        assert pages(inbox.url) == []
