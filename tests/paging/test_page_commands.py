"""`obs page explain` says what an alert means here, `obs page routes-test` proves the routes, and both fail in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from alertmanager_server import alertmanager, until, vendors
from typer.testing import CliRunner
from upstream_chain import CHAIN, FEATURES, SHOP

from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.cli.page import app
from mlops_obs.errors import ObsError, PlatformError, SpecError, UsageError
from mlops_obs.paging.alertmanager import render_routing
from mlops_obs.paging.artefacts import paging_files
from mlops_obs.paging.explain import AlertRule, alert_rules, explain, known_alerts
from mlops_obs.paging.page import make_test_alert
from mlops_obs.paging.plan import plan_of
from mlops_obs.paging.routing import Delays, one_webhook

RUN = CliRunner()
needs_alertmanager = pytest.mark.skipif(alertmanager_program() is None, reason="alertmanager is missing")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slo").mkdir()
    for document in (FEATURES, SHOP):
        (tmp_path / "slo" / f"{document['service']}.yaml").write_text(json.dumps(document))
    for name, text in paging_files(CHAIN, one_webhook("http://127.0.0.1:1/a")).items():
        path = tmp_path / "slo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def explained(alert: str, *rules: AlertRule) -> str:
    return explain(alert, rules, CHAIN, plan_of(CHAIN), Delays())


def rule(slo: str, tier: str, name: str = "Burn", severity: str = "page") -> AlertRule:
    return AlertRule(name, "a > b\nand c", "5m", {"service": "shop", "slo": slo, "team": "web", "severity": severity, "tier": tier})


def test_an_explanation_says_who_is_told_how_late_and_what_silences_what():
    text = explained("AvailabilityBudgetBurn", rule("availability", "page-slow", "AvailabilityBudgetBurn"))

    assert "shop availability (team web)" in text
    assert "upstream of it: features/freshness, shop/goodput; when they burn, look there first" in text
    assert "PAGE page-slow: burn >" in text
    assert "told: web-page, 1 min after it fires, in one notification per service" in text
    assert "is silenced by: page-quick; features/freshness (page-quick, page-slow); shop/goodput (page-quick, page-slow)" in text
    assert "silences: ticket-quick, ticket-slow, policy-warn, policy-freeze; shop/journey (page-quick" in text
    assert "    a > b\n    and c\n    for 5m\n" in text
    assert "Runbook: runbooks/AvailabilityBudgetBurn.md" in text


def test_an_alert_that_no_slo_has_is_explained_all_the_same():
    assert "No SLO here has it." in explained("DriftBudgetBurn")


def test_every_alert_that_can_fire_is_known():
    assert {"ErrorBudgetLow", "TelemetryAbsent", "CompositeBudgetBurn", "RatioBudgetBurn", "CollectorDown"} <= set(known_alerts())


def test_the_alerts_of_a_rule_file_are_read_and_what_is_none_is_skipped():
    document = yaml.safe_load("groups: [{name: g, rules: [{record: r, expr: x}, {alert: A, expr: y, for: 5m, labels: {team: t}}, 3]}, 4]")

    assert list(alert_rules(document)) == [AlertRule("A", "y", "5m", {"team": "t"})]
    assert list(alert_rules({"groups": None})) == list(alert_rules(None)) == []


@pytest.mark.parametrize("alert", known_alerts())
def test_every_alert_is_explained_from_the_rules_as_they_are_rendered(alert, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])

    done = RUN.invoke(app, ["explain", alert])

    assert done.exit_code == 0, done.exception
    assert done.stdout.startswith(f"{alert}: ")


def test_an_alert_of_somebody_elses_rule_file_is_explained_with_its_route(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rule = "{alert: DiskFull, expr: 'disk > 0.9', for: 10m, labels: {severity: page, team: storage}}"
    (tmp_path / "rules.yaml").write_text(f"groups: [{{name: g, rules: [{rule}]}}]")

    text = RUN.invoke(app, ["explain", "DiskFull", "--rules", "rules.yaml"]).stdout

    assert text.startswith("DiskFull: an alert of a rule file.")
    assert "told: storage-page" in text
    assert "    disk > 0.9\n    for 10m\n" in text


def test_only_one_slo_is_explained_if_it_is_named(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])

    assert "credit-risk availability" in RUN.invoke(app, ["explain", "AvailabilityBudgetBurn", "--slo", "availability"]).stdout
    assert "OBS-PAGE-013" in str(RUN.invoke(app, ["explain", "AvailabilityBudgetBurn", "--slo", "nope"]).exception)


@needs_alertmanager
@pytest.mark.stack
def test_the_committed_route_tests_pass_on_the_committed_configuration(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])

    done = RUN.invoke(app, ["routes-test", "-o", "json"])

    assert done.exit_code == 0, done.exception or done.output
    assert all(one == {"case": one["case"], "passed": True, "problems": []} for one in json.loads(done.stdout))


@needs_alertmanager
@pytest.mark.stack
def test_a_lost_route_is_named_with_the_case_and_what_happened(project):
    path = project / "slo" / "generated" / "alertmanager.yaml"
    config = yaml.safe_load(path.read_text())
    config["route"]["routes"] = [one for one in config["route"]["routes"] if one["receiver"] != "data-page"]
    path.write_text(yaml.safe_dump(config))

    done = RUN.invoke(app, ["routes-test"])

    assert done.exit_code == 1
    assert "FAILED a page of team data goes to data-page\n       Any any: data-page should have been told, unrouted was" in done.stdout


TESTS, CONFIG = "slo/tests/paging/routes.yaml", "slo/generated/alertmanager.yaml"


@pytest.mark.parametrize(
    ("name", "text", "kind", "says"),
    [
        (TESTS, None, SpecError, "OBS-SLO-001"),
        (TESTS, "cases: []", SpecError, "OBS-PAGE-010"),
        (CONFIG, None, SpecError, "OBS-PAGE-011"),
        (CONFIG, "- 1", SpecError, "OBS-PAGE-011"),
        (CONFIG, "{route: {receiver: x}, receivers: [{name: y}]}", ObsError, "OBS-P"),
        (CONFIG, "[" * 5000, SpecError, "OBS-PAGE-011"),
    ],
)
def test_what_cannot_be_tested_is_one_line(project, name, text, kind, says):
    (project / name).write_text(text) if text is not None else (project / name).unlink()

    error = RUN.invoke(app, ["routes-test"]).exception

    assert isinstance(error, kind)
    assert says in str(error)


def test_without_alertmanager_it_says_what_to_install(project, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")

    error = RUN.invoke(app, ["routes-test"]).exception

    assert isinstance(error, PlatformError)
    assert "apt-get install prometheus" in str(error)


@needs_alertmanager
@pytest.mark.stack
def test_a_test_page_names_the_receiver_that_alertmanager_chose_and_arrives_there(project):
    (project / "obs.yaml").write_text("service: shop\nstate: s.db\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: n, name: n}}\n")
    delays = Delays(group_wait="1s", ticket_group_wait="1s")
    with vendors() as server, alertmanager(render_routing(CHAIN, one_webhook(f"{server.url}/hook", delays)), project) as url:
        page = RUN.invoke(app, ["test", "--team", "web", "--alertmanager", url])
        ticket = RUN.invoke(app, ["test", "--team", "data", "--severity", "ticket", "--alertmanager", url])
        nobody = RUN.invoke(app, ["test", "--team", "unknown-team", "--alertmanager", url])
        assert until(lambda: len(server.bodies) >= 3)
        told = {body["receiver"]: body["alerts"][0]["labels"] for _, _, body in server.bodies}

    assert "it goes to the receiver web-page," in page.stdout
    assert "it goes to the receiver data-ticket," in ticket.stdout
    assert nobody.exit_code == 1
    assert "no route is for team unknown-team" in nobody.output
    assert set(told) == {"web-page", "data-ticket", "unrouted"}
    assert all(labels["test"] == "true" for labels in told.values())


def test_two_test_pages_are_two_incidents():
    first, second = (make_test_alert("shop", "web", mark=mark)[0] for mark in ("120000", "120001"))

    assert first["service"] != second["service"]


def test_an_unknown_severity_of_a_test_page_is_refused(project):
    (project / "obs.yaml").write_text("service: s\nstate: s.db\nmetrics: {embedded: m.db}\ntarget: {kserve: {namespace: n, name: n}}\n")

    error = RUN.invoke(app, ["test", "--team", "web", "--severity", "note"]).exception

    assert isinstance(error, UsageError)
    assert "OBS-PAGE-012" in str(error)
