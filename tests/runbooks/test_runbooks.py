"""A runbook that names something which does not exist is found before on-call finds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mlops_obs.adapters.files import load_slos
from mlops_obs.dashboards.catalogue import DASHBOARDS
from mlops_obs.runbooks.catalogue import RUNBOOKS
from mlops_obs.runbooks.lint import lint
from mlops_obs.runbooks.render import render, render_all
from mlops_obs.slo.prometheus_rules import render_platform_rules, render_rules

ROOT = Path(__file__).parents[2]

ALERTS = {runbook.alert for runbook in RUNBOOKS}
COMMANDS = {
    "rollout status": {"--env"},
    "rollout history": {"--env"},
    "rollout start": {"--env", "-f"},
    "rollout pause": {"--env", "--reason"},
    "rollout promote": {"--env", "--reason"},
    "rollout abort": {"--env", "--reason"},
    "rollout rollback": {"--env", "--reason"},
    "slo status": {"--env"},
    "drift compare": set(),
    "collect gpu": set(),
    "monitor": {"--env"},
}
TEXTS = {name.removesuffix(".md"): text for name, text in render_all().items()}


def test_every_runbook_has_something_to_paste_and_names_only_what_exists() -> None:
    assert lint(ALERTS, TEXTS, COMMANDS) == []


def test_the_same_runbook_gives_the_same_bytes() -> None:
    assert render(RUNBOOKS[0]) == render(RUNBOOKS[0])


def test_every_runbook_ends_with_something_that_a_person_can_do() -> None:
    for runbook in RUNBOOKS:
        assert any(step.run or step.ask for step in runbook.mitigation), runbook.alert


def test_an_alert_without_a_runbook_is_found() -> None:
    assert lint(ALERTS | {"NewAlert"}, TEXTS, COMMANDS) == ["NewAlert: has no runbook; its page would link to nothing"]


def test_a_runbook_without_an_alert_is_found() -> None:
    assert lint(ALERTS - {"CollectorDown"}, TEXTS, COMMANDS) == ["CollectorDown.md: no alert has this name"]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("obs rollout status", "obs rollout look", "no command `obs rollout look`"),
        ("--reason", "--because", "has no option --because"),
        ("mlops_obs_requests_total", "mlops_obs_request_total", "no metric is called mlops_obs_request_total"),
        ("sum by (revision) (", "sum by (revision) ((", "not PromQL"),
        ("## Impact", "## Damage", "its sections are"),
    ],
)
def test_what_does_not_exist_is_found(before: str, after: str, found: str) -> None:
    text = TEXTS["AvailabilityBudgetBurn"]
    assert before in text

    problems = lint({"AvailabilityBudgetBurn"}, {"AvailabilityBudgetBurn": text.replace(before, after)}, COMMANDS)

    assert any(found in problem for problem in problems), problems


def test_a_runbook_names_the_dashboard_that_its_page_links_to() -> None:
    slos = load_slos(ROOT / "slo" / "credit-risk.yaml")
    rules = [yaml.safe_load(text) for text in (render_rules(slos), render_platform_rules())]
    alerts = [rule for document in rules for group in document["groups"] for rule in group["rules"] if "alert" in rule]

    linked = {rule["alert"]: re.search(r"/d/([\w-]+)\?", rule["annotations"]["dashboard_url"])[1] for rule in alerts}  # type: ignore[index]

    assert {alert: re.search(r"Dashboard: `([\w-]+)`", text)[1] for alert, text in TEXTS.items()} == linked  # type: ignore[index]
    assert set(linked.values()) <= {board.uid for board in DASHBOARDS}
    assert linked["DriftBudgetBurn"] == "mlops-obs-drift"
