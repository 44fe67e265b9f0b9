"""Who is told of what, checked by Alertmanager's own tools and by a real Alertmanager."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from mlops_obs.adapters.files import load_slos
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.paging.alertmanager import inhibits, render_config

ROOT = Path(__file__).parents[2]
SLOS = load_slos(ROOT / "slo" / "credit-risk.yaml")
PAGE = {"service": "credit-risk", "slo": "availability", "team": "risk-ml", "severity": "page", "tier": "page-quick"}


@pytest.fixture(scope="session")
def amtool():
    binary = shutil.which("amtool")
    if binary is None:
        pytest.skip("amtool is missing: apt-get install prometheus-alertmanager")

    def run(*args: str | Path) -> tuple[int, str]:
        done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_the_committed_configuration_is_sound(amtool):
    code, output = amtool("check-config", ROOT / "slo" / "generated" / "alertmanager.yaml")

    assert code == 0, output


def test_pagerduty_and_slack_receivers_are_sound(amtool, tmp_path):
    config = tmp_path / "alertmanager.yaml"
    config.write_text(render_config(SLOS, "http://127.0.0.1:1/alerts", pagerduty_routing_key_file="/k", slack_api_url_file="/s"))

    code, output = amtool("check-config", config)

    assert code == 0, output
    assert "routing_key_file" in config.read_text()


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["team=risk-ml", "severity=page"], "risk-ml-page"),
        (["team=risk-ml", "severity=ticket"], "risk-ml-ticket"),
        (["team=platform", "severity=ticket"], "platform-ticket"),
        (["team=forgotten", "severity=page"], "unrouted"),
    ],
)
def test_every_alert_finds_its_receiver(amtool, tmp_path, labels, receiver):
    config = tmp_path / "alertmanager.yaml"
    config.write_text(render_config(SLOS, "http://127.0.0.1:1/alerts"))

    code, output = amtool("config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}", *labels)

    assert code == 0, output


@pytest.mark.parametrize("url", ["", "alerts", "ftp://x/y", "http://"])
def test_a_webhook_that_is_no_url_is_refused(url):
    with pytest.raises(UsageError, match="OBS-PAGE-001"):
        render_config(SLOS, url)


def test_a_wrong_duration_is_refused():
    with pytest.raises(SpecError, match="OBS-DUR-001"):
        render_config(SLOS, "http://127.0.0.1:1/alerts", group_wait="soon")


INHIBITION = [
    ("a page silences the ticket of its SLO", PAGE, {"severity": "ticket", "tier": "ticket-quick"}, True),
    ("a quick page silences the slow one", PAGE, {"tier": "page-slow"}, True),
    ("whatever revision they are of", {**PAGE, "revision": "v3"}, {"tier": "page-slow"}, True),
    ("a page does not silence another SLO's ticket", PAGE, {"slo": "latency", "severity": "ticket", "tier": "ticket-quick"}, False),
    ("nor another service's", PAGE, {"service": "other", "severity": "ticket", "tier": "ticket-quick"}, False),
    ("a slow page does not silence a quick one", {**PAGE, "tier": "page-slow"}, {"tier": "page-quick"}, False),
    ("a ticket silences no page", {**PAGE, "severity": "ticket", "tier": "ticket-quick"}, {"tier": "page-slow"}, False),
]


@pytest.mark.parametrize(("source", "change", "expected"), [row[1:] for row in INHIBITION], ids=[row[0] for row in INHIBITION])
def test_inhibition_says_that(source, change, expected):
    assert inhibits(source, {**PAGE, **change}) is expected


@pytest.mark.stack
def test_a_real_alertmanager_inhibits_what_the_code_says(tmp_path):
    binary = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if binary is None:
        pytest.skip("alertmanager is missing: apt-get install prometheus-alertmanager")
    from mlops_obs.adapters.processes import free_port

    config, port = tmp_path / "alertmanager.yaml", free_port()
    config.write_text(render_config(SLOS, "http://127.0.0.1:1/alerts", group_wait="1s", ticket_group_wait="1s"))
    address = f"127.0.0.1:{port}"
    command = [
        binary,
        f"--config.file={config}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _until(lambda: _get(f"http://{address}/-/ready") is not None)
        alerts = []
        for index, (_, source, change, _) in enumerate(INHIBITION):
            apart = f"case-{index}-"  # each case is a service of its own
            for role, labels in (("source", source), ("target", {**PAGE, **change})):
                alerts.append({"labels": {**labels, "service": apart + labels["service"], "alertname": role, "case": str(index)}})
        body = json.dumps(alerts).encode()
        request = urllib.request.Request(f"http://{address}/api/v2/alerts", data=body, headers={"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
        _until(lambda: len(json.loads(_get(f"http://{address}/api/v2/alerts") or "[]")) == len(alerts))
        # Inhibition is written into the status when a group is flushed.
        silenced = [str(index) for index, row in enumerate(INHIBITION) if row[3]]
        _until(lambda: _inhibited(address) == silenced)
        assert _inhibited(address) == silenced
    finally:
        process.terminate()
        process.wait(20)


def _inhibited(address: str) -> list[str]:
    found = json.loads(_get(f"http://{address}/api/v2/alerts") or "[]")
    return sorted(one["labels"]["case"] for one in found if one["status"]["inhibitedBy"] and one["labels"]["alertname"] == "target")


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def _until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in a minute"
        time.sleep(0.2)
