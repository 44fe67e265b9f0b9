"""Who is told of what, checked by Alertmanager's own tools: receivers, routes and delays of the generated configuration."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from upstream_chain import CHAIN

from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.routing_file import load_routing, routing_of
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.paging.alertmanager import render_config, render_routing
from mlops_obs.paging.plan import plan_of
from mlops_obs.paging.routing import parse_routing
from mlops_obs.slo.spec_document import parse_slos

ROOT = Path(__file__).parents[2]
SLOS = load_slos(ROOT / "slo" / "credit-risk.yaml")
EVERY_KIND = {
    "receivers": {
        "pager": {"pagerduty": {"routing_key_file": "/keys/pagerduty", "url": "https://events.eu.pagerduty.com/v2/enqueue"}},
        "channel": {"slack": {"api_url_file": "/keys/slack", "channel": "#on-call"}},
        "desk": {"opsgenie": {"api_key_file": "/keys/opsgenie", "url": "https://api.eu.opsgenie.com/", "team": "ml"}},
        "hook": {"webhook": {"url": "https://alerts.example/hook", "credentials_file": "/keys/hook"}},
    },
    "default": {"page": ["pager", "channel"], "ticket": ["channel"]},
    "teams": {"web": {"page": ["desk", "hook"], "ticket": ["hook"]}, "idle-team": {"page": ["channel"]}},
}


@pytest.fixture(scope="session")
def amtool():
    binary = shutil.which("amtool")
    if binary is None:
        pytest.skip("amtool is missing: apt-get install prometheus-alertmanager")

    def run(*args: str | Path) -> tuple[int, str]:
        done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "alertmanager.yaml"
    path.write_text(render_routing(CHAIN, parse_routing(EVERY_KIND)))
    return path


def test_the_committed_configuration_is_sound(amtool):
    code, output = amtool("check-config", ROOT / "slo" / "generated" / "alertmanager.yaml")

    assert code == 0, output


def test_every_kind_of_receiver_is_sound_and_its_keys_stay_in_files(amtool, config):
    code, output = amtool("check-config", config)

    assert code == 0, output
    for line in ("routing_key_file", "api_url_file", "api_key_file", "credentials_file"):
        assert f'{line}: "/keys/' in config.read_text()


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["team=web", "severity=page", "service=other"], "web-page"),
        (["team=web", "severity=page", "service=shop"], "web-page"),
        (["team=web", "severity=ticket"], "web-ticket"),
        (["team=data", "severity=page"], "data-page"),
        (["team=idle-team", "severity=ticket"], "idle-team-ticket"),
        (["team=platform", "severity=ticket"], "platform-ticket"),
        (["team=forgotten", "severity=page"], "unrouted"),
        (["severity=page"], "unrouted"),
    ],
)
def test_every_alert_finds_its_receiver(amtool, config, labels, receiver):
    code, output = amtool("config", "routes", "test", f"--config.file={config}", f"--verify.receivers={receiver}", *labels)

    assert code == 0, output
    assert plan_of(CHAIN, ["idle-team"]).route(dict(label.split("=") for label in labels)).receiver == receiver


def test_a_receiver_tells_all_that_the_team_named_and_who_is_not_named_gets_the_default(config):
    receivers = {one["name"]: sorted(key for key in one if key != "name") for one in yaml.safe_load(config.read_text())["receivers"]}

    assert receivers["web-page"] == ["opsgenie_configs", "webhook_configs"]
    assert receivers["web-ticket"] == ["webhook_configs"]
    assert receivers["data-page"] == receivers["unrouted"] == ["pagerduty_configs", "slack_configs"]
    assert receivers["data-ticket"] == receivers["idle-team-ticket"] == ["slack_configs"]


def test_pages_of_a_service_with_something_upstream_wait_longer_and_tickets_longest(config):
    waits = {tuple(one["matchers"]): one["group_wait"] for one in yaml.safe_load(config.read_text())["route"]["routes"]}

    assert waits[('team="web"', 'severity="page"', 'service="shop"')] == "1m"
    assert waits[('team="web"', 'severity="page"')] == waits[('team="data"', 'severity="page"')] == "10s"
    assert waits[('team="web"', 'severity="ticket"')] == "5m"


def test_pages_do_not_wait_where_nothing_upstream_pages():
    tickets = [{"name": "freshness", "objective": "0.99", "indicator": {"type": "freshness"}, "severities": ["ticket"]}]
    served = {"name": "availability", "objective": "0.99", "indicator": {"type": "availability"}, "upstream": ["freshness"]}
    slos = parse_slos({"service": "shop", "team": "web", "slos": [*tickets, served]})

    assert {route.wait for route in plan_of(slos).routes} == {"group_wait", "ticket_group_wait"}


def test_the_same_input_gives_the_same_bytes():
    assert render_routing(CHAIN, parse_routing(EVERY_KIND)) == render_routing(CHAIN, parse_routing(EVERY_KIND))
    assert render_config(SLOS, "http://h/a") == render_config(list(SLOS), "http://h/a")


@pytest.mark.parametrize("url", ["", "alerts", "ftp://x/y", "http://"])
def test_a_webhook_that_is_no_url_is_refused(url):
    with pytest.raises(UsageError, match="OBS-PAGE-001"):
        render_config(SLOS, url)


def test_a_wrong_duration_is_refused():
    with pytest.raises(SpecError, match="OBS-DUR-001"):
        render_config(SLOS, "http://127.0.0.1:1/alerts", group_wait="soon")


def test_the_routing_file_of_this_repository_is_what_its_configuration_was_made_from():
    routing = load_routing(ROOT / "slo" / "paging" / "routing.yaml")

    assert (ROOT / "slo" / "generated" / "alertmanager.yaml").read_text() == render_routing(SLOS, routing)


def test_without_a_routing_file_one_webhook_is_told_everything(tmp_path):
    routing = routing_of(None, tmp_path, "http://127.0.0.1:5/x")

    assert [one.webhook.url for one in routing.receivers.values()] == ["http://127.0.0.1:5/x"]
    assert routing.told("anybody", "page") == routing.told("anybody", "ticket") == ("webhook",)


def test_a_routing_file_in_its_place_is_used(tmp_path):
    (tmp_path / "paging").mkdir()
    (tmp_path / "paging" / "routing.yaml").write_text("receivers: {a: {webhook: {url: 'http://h/a'}}}\ndefault: {page: [a]}\n")

    assert list(routing_of(None, tmp_path, None).receivers) == ["a"]
    assert list(routing_of(None, tmp_path, "http://h/b").receivers) == ["webhook"]
