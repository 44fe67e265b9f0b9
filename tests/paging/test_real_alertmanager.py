"""The generated configuration on a real Alertmanager: its routes, what it silences, and what each vendor is sent."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import yaml
from alertmanager_server import alertmanager, until, vendors
from upstream_chain import CHAIN, burn

from mlops_obs.adapters.alert_groups import fold
from mlops_obs.adapters.alertmanager import post_alerts
from mlops_obs.adapters.alertmanager_trial import CASE, AlertmanagerTrial, run_cases
from mlops_obs.adapters.local_prometheus import alertmanager_program
from mlops_obs.paging.alertmanager import render_config, render_routing
from mlops_obs.paging.artefacts import cases_of
from mlops_obs.paging.plan import Plan, plan_of
from mlops_obs.paging.routing import Delays, one_webhook, parse_routing
from mlops_obs.slo.verdict import FiringAlert

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(alertmanager_program() is None, reason="alertmanager is missing: apt-get install prometheus-alertmanager"),
]
CASES = cases_of(CHAIN, one_webhook("http://h/a"))


def configuration() -> dict:
    return yaml.safe_load(render_config(CHAIN, "http://127.0.0.1:1/alerts"))


def failures(config: dict, directory) -> list[str]:
    return [case.name for case, problems in zip(CASES, run_cases(config, CASES, directory), strict=True) if problems]


def test_every_generated_case_passes(tmp_path):
    assert failures(configuration(), tmp_path) == []


def without(kind: str, index: int):
    def change(config: dict) -> None:
        (config["inhibit_rules"] if kind == "rule" else config["route"]["routes"]).pop(index)

    return change


def other_receiver(config: dict) -> None:
    route = next(one for one in config["route"]["routes"] if one["receiver"] == "web-page" and len(one["matchers"]) == 2)
    route["receiver"] = "data-page"


def silence_everything_of_a_service(config: dict) -> None:
    config["inhibit_rules"].append(
        {"source_matchers": ['severity="page"'], "target_matchers": ['severity=~"page|ticket"'], "equal": ["service"]}
    )


def forget_the_service(config: dict) -> None:
    config["inhibit_rules"][0]["equal"] = ["slo"]


BROKEN = {
    "a lost tier rule": without("rule", 1),
    "a lost upstream rule": without("rule", -1),
    "a lost route": without("route", 0),
    "a route to somebody else": other_receiver,
    "a rule that silences too much": silence_everything_of_a_service,
    "a rule that forgets the service": forget_the_service,
}


def test_a_broken_configuration_fails_its_cases(tmp_path):
    def fails(item) -> bool:
        name, change = item
        config = configuration()
        change(config)
        return bool(failures(config, tmp_path / name))

    with ThreadPoolExecutor(6) as pool:
        found = dict(zip(BROKEN, pool.map(fails, BROKEN.items()), strict=True))

    assert found == dict.fromkeys(BROKEN, True)


def random_incidents(seed: int, count: int) -> list[list[dict[str, str]]]:
    chance = random.Random(seed)

    def alert() -> dict[str, str]:
        slo = chance.choice(CHAIN)
        tier = chance.choice(["page-quick", "page-slow", "ticket-quick", "ticket-slow", "absent", "policy-freeze", "policy-warn"])
        labels = burn(slo.service, slo.name, tier, chance.choice([slo.team] * 8 + ["nobody", ""]))
        labels["severity"] = {"absent": "page", "policy": "ticket"}.get(tier.split("-")[0], labels["severity"])
        revision = chance.choice(["", "v1", "v2"]) if slo.group_by else ""
        return {key: value for key, value in {**labels, "revision": revision}.items() if value}

    return [list({str(sorted(one.items())): one for one in (alert() for _ in range(chance.randint(1, 6)))}.values()) for _ in range(count)]


def test_the_embedded_engine_routes_groups_and_silences_what_alertmanager_does(tmp_path):
    incidents = random_incidents(7, 300)
    plan = plan_of(CHAIN)
    apart = Plan(plan.routes, (*plan.group_by, CASE), plan.inhibitions, plan.teams)
    firing = [[{**labels, CASE: str(index)} for labels in alerts] for index, alerts in enumerate(incidents)]

    ours = set()
    for alerts in firing:
        for group in fold({}, [FiringAlert(one["alertname"], one, {}) for one in alerts], 0, apart).values():
            ours |= {(group.key, group.receiver, frozenset(alert.labels.items())) for alert in group.alerts.values()}
    with AlertmanagerTrial(configuration(), tmp_path) as trial:
        trial.send([labels for alerts in firing for labels in alerts])
        deadline = time.monotonic() + 60
        theirs: set = set()
        while time.monotonic() < deadline and not ours <= theirs:
            time.sleep(0.3)
            theirs = {
                (one.payload["groupKey"], one.receiver, frozenset(alert["labels"].items()))
                for one in trial.told
                for alert in one.payload["alerts"]
            }

    assert theirs == ours
    assert len(ours) > len(incidents), "most incidents have an alert that is told"
    assert len(ours) < sum(map(len, firing)) * 0.9, "many alerts are silenced"


SAID = {
    "summary": "shop: availability burns its 30d error budget 40.0 times too fast",
    "description": "40% of requests failed in the last 1h.",
    "burn_rate": "40.0",
    "budget_left": "88.89%",
    "time_to_exhaustion": "16h 0m 12s",
    "action_taken": "none yet",
    "runbook_url": "http://r/AvailabilityBudgetBurn",
    "dashboard_url": "http://g/d/x",
}


def test_every_vendor_is_sent_the_budget_left_and_the_time_until_it_is_gone(tmp_path):
    for name in ("pagerduty", "opsgenie", "hook"):
        (tmp_path / name).write_text(f"secret-{name}")
    with vendors() as server:
        (tmp_path / "slack").write_text(f"{server.url}/slack")
        routing = parse_routing(
            {
                "receivers": {
                    "all": {
                        "pagerduty": {"routing_key_file": str(tmp_path / "pagerduty"), "url": f"{server.url}/pagerduty"},
                        "slack": {"api_url_file": str(tmp_path / "slack"), "channel": "#on-call"},
                        "opsgenie": {"api_key_file": str(tmp_path / "opsgenie"), "url": f"{server.url}/", "team": "ml"},
                        "webhook": {"url": f"{server.url}/hook", "credentials_file": str(tmp_path / "hook")},
                    }
                },
                "default": {"page": ["all"]},
                "delays": {"group_wait": "1s", "downstream_group_wait": "1s", "group_interval": "1s"},
            }
        )
        with alertmanager(render_routing(CHAIN, routing), tmp_path) as url:
            first = burn("shop", "availability")
            post_alerts(url, [{"labels": first, "annotations": SAID}, {"labels": {**first, "slo": "other"}, "annotations": SAID}])
            assert until(lambda: len({path for path, *_ in server.bodies}) == 4), (tmp_path / "log").read_text()[-2000:]
            sent = {path: (headers, body) for path, headers, body in server.bodies}
            over = datetime.now(UTC).isoformat()
            ended = [{"labels": {**first, "slo": slo}, "annotations": SAID, "endsAt": over} for slo in ("availability", "other")]
            post_alerts(url, ended)
            assert until(lambda: any(path == "/slack" and body["attachments"][0]["color"] == "good" for path, _, body in server.bodies))
            goodbye = [body["attachments"][0]["title"] for path, _, body in server.bodies if path == "/slack"][-1]

    assert goodbye == f"Over: {SAID['summary']} (and 1 more)"
    pagerduty, slack, opsgenie = sent["/pagerduty"][1], sent["/slack"][1], sent["/v2/alerts"][1]
    assert pagerduty["routing_key"] == "secret-pagerduty"
    assert pagerduty["payload"]["severity"] == "critical"
    assert pagerduty["payload"]["summary"] == SAID["summary"] + " (and 1 more)"
    assert pagerduty["payload"]["custom_details"]["budget_left"] == "88.89%"
    assert pagerduty["payload"]["custom_details"]["time_to_exhaustion"] == "16h 0m 12s"
    assert pagerduty["links"] == [{"href": "http://r/AvailabilityBudgetBurn", "text": "Runbook"}]
    [attachment] = slack["attachments"]
    assert slack["channel"] == "#on-call"
    assert attachment["color"] == "danger"
    assert attachment["title"] == SAID["summary"] + " (and 1 more)"
    assert attachment["text"].count("Budget left: 88.89%. Gone in 16h 0m 12s at this rate.") == 2
    assert opsgenie["priority"] == "P1"
    assert opsgenie["responders"] == [{"name": "ml", "type": "team"}]
    assert "Runbook: http://r/AvailabilityBudgetBurn" in opsgenie["description"]
    assert sent["/v2/alerts"][0]["Authorization"] == "GenieKey secret-opsgenie"
    assert sent["/hook"][0]["Authorization"] == "Bearer secret-hook"


def test_a_headline_is_about_what_still_fires_and_an_alert_that_says_nothing_has_one_too(tmp_path):
    for name in ("pagerduty", "opsgenie"):
        (tmp_path / name).write_text("key")
    with vendors() as server:
        (tmp_path / "slack").write_text(f"{server.url}/slack")
        everywhere = {
            "pagerduty": {"routing_key_file": str(tmp_path / "pagerduty"), "url": f"{server.url}/pagerduty"},
            "slack": {"api_url_file": str(tmp_path / "slack"), "channel": "#on-call"},
            "opsgenie": {"api_key_file": str(tmp_path / "opsgenie"), "url": f"{server.url}/"},
        }
        delays = {"group_wait": "1s", "downstream_group_wait": "1s", "group_interval": "1s"}
        routing = parse_routing({"receivers": {"all": everywhere}, "default": {"page": ["all"]}, "delays": delays})
        with alertmanager(render_routing(CHAIN, routing), tmp_path) as url:
            slos = ("availability", "other")
            two = [{"labels": burn("shop", slo), "annotations": {"summary": f"{slo} burns"}} for slo in slos]
            post_alerts(url, [*two, {"labels": {"alertname": "Strange", "severity": "page"}}])
            assert until(lambda: len(server.bodies) >= 6), (tmp_path / "log").read_text()[-2000:]
            first = {path: {str(body) for one, _, body in server.bodies if one == path} for path, _, _ in server.bodies}
            post_alerts(url, [{**two[0], "endsAt": datetime.now(UTC).isoformat()}])

            def later() -> list[dict]:
                said = [body["attachments"][0] for path, _, body in server.bodies if path == "/slack"]
                return [one for one in said if "Over: " in one["text"]]

            assert until(later)

    for path in ("/pagerduty", "/slack", "/v2/alerts"):
        titles = [said for said in first[path] if "'Strange'" in said]
        assert titles, f"{path} is told of the stranger by its name"
    assert later()[0]["title"] == "other burns"
    assert later()[0]["text"].splitlines()[0] == "Over: availability burns"


def test_a_cascade_whose_effects_fire_before_their_cause_is_one_page(tmp_path):
    delays = Delays(group_wait="1s", downstream_group_wait="3s", ticket_group_wait="4s", group_interval="1s")
    stages = [
        burn("shop", "journey"),
        burn("shop", "availability", revision="v1"),
        burn("shop", "goodput"),
        burn("features", "freshness", team="data"),
    ]
    with vendors() as server, alertmanager(render_routing(CHAIN, one_webhook(f"{server.url}/hook", delays)), tmp_path) as url:
        for labels in stages:  # the composite notices first, the cause last
            ticket = {**labels, "severity": "ticket", "tier": "ticket-quick"}
            post_alerts(url, [{"labels": labels, "annotations": SAID}, {"labels": ticket, "annotations": SAID}])
            time.sleep(0.5)
        assert until(lambda: server.bodies)
        time.sleep(4)
        told = [(body["receiver"], [one["labels"]["slo"] for one in body["alerts"]]) for _, _, body in server.bodies]

    assert told == [("data-page", ["freshness"])]
