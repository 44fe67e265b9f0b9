"""A runbook that names something which does not exist is found before on-call finds it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mlops_obs.cli import runbooks as command
from mlops_obs.dashboards.catalogue import DASHBOARDS
from mlops_obs.errors import SpecError, UsageError
from mlops_obs.paging.rollout_notices import NOTICE_ALERTS
from mlops_obs.runbooks.catalogue import RUNBOOKS
from mlops_obs.runbooks.fill import facts, fill
from mlops_obs.runbooks.lint import lint
from mlops_obs.runbooks.render import render, render_all, render_service
from mlops_obs.slo import annotations as words
from mlops_obs.slo.counters import Series
from mlops_obs.slo.platform_alerts import PLATFORM_ALERTS
from mlops_obs.slo.rules.prometheus_rules import render_platform_rules, render_rules
from mlops_obs.slo.spec import SLO

ROOT = Path(__file__).parents[2]

ALERTS = {runbook.alert for runbook in RUNBOOKS}
COMMANDS = {
    "drift expectations": {"--reference", "--out"},
    "drift expect": {"--expectations", "--current"},
    "drift skew": {"--online", "--offline"},
    "drift report": {"--reference", "--current", "--html"},
    "drift score": {"--reference", "--current"},
    "rollout status": {"--env"},
    "rollout history": {"--env", "--all"},
    "rollout start": {"--env", "-f"},
    "rollout pause": {"--env", "--reason"},
    "rollout promote": {"--env", "--full", "--reason"},
    "rollout retry": {"--env", "--reason"},
    "rollout abort": {"--env", "--reason"},
    "rollout rollback": {"--env", "--reason"},
    "rollout controller": {"--env"},
    "slo status": {"--env"},
    "drift compare": set(),
    "collect gpu": set(),
    "monitor": {"--env"},
    "slo report": {"--env"},
    "slo validate": set(),
    "page explain": set(),
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


def every_kind() -> list[SLO]:
    """An SLO of each kind of indicator, one of them with a budget policy."""
    indicators: dict[str, dict[str, Any]] = {
        "availability": {"type": "availability"},
        "latency": {"type": "latency", "threshold": "250ms"},
        "native": {"type": "latency", "threshold": "250ms", "histogram": "rpc_duration_seconds", "native": True},
        "freshness": {"type": "freshness"},
        "materialisation": {"type": "materialisation", "table": "events"},
        "drift": {"type": "drift"},
        "expectations": {"type": "expectations"},
        "skew": {"type": "skew"},
        "quality": {"type": "quality", "maturity": "1d", "cohort": "1h"},
        "training": {"type": "training"},
        "boolean": {"type": "boolean", "metric": 'probe_success{job="shop"}'},
        "ratio": {"type": "ratio", "bad": "sum(increase(failed_total[{{.window}}]))", "total": "sum(increase(all_total[{{.window}}]))"},
        "composite": {"type": "composite", "of": ["freshness", "latency", "availability"]},
    }
    policy = [{"below": "0.1", "action": "freeze"}]
    return [
        SLO.model_validate(
            {
                "service": "shop",
                "team": "web",
                "name": name,
                "objective": "0.99",
                "indicator": indicator,
                "budget_policy": policy if name == "availability" else [],
            }
        )
        for name, indicator in indicators.items()
    ]


def test_every_alert_that_a_spec_can_make_has_a_runbook_and_every_runbook_an_alert() -> None:
    ours = {one.name for one in (*PLATFORM_ALERTS, *NOTICE_ALERTS)}

    assert {*words.ALERTS.values(), words.BUDGET_LOW, words.TELEMETRY_ABSENT, *ours} == ALERTS


def test_a_runbook_names_the_dashboard_that_its_page_links_to() -> None:
    slos = every_kind()
    rules = [yaml.safe_load(text) for text in (render_rules(slos), render_platform_rules())]
    alerts = [rule for document in rules for group in document["groups"] for rule in group["rules"] if "alert" in rule]

    linked = {rule["alert"]: re.search(r"/d/([\w-]+)\?", rule["annotations"]["dashboard_url"])[1] for rule in alerts}  # type: ignore[index]
    linked |= {one.name: words.dashboard_of(one.name) for one in NOTICE_ALERTS}  # the controller sends these

    assert {alert: re.search(r"Dashboard: `([\w-]+)`", text)[1] for alert, text in TEXTS.items()} == linked  # type: ignore[index]
    assert set(linked.values()) <= {board.uid for board in DASHBOARDS}
    assert linked["DriftBudgetBurn"] == "mlops-obs-drift"


def test_the_runbooks_of_a_service_leave_nothing_to_fill_in_and_every_query_is_promql() -> None:
    texts = {name.removesuffix(".md"): text for name, text in render_service(every_kind()).items()}

    assert set(texts) == {*words.ALERTS.values(), words.BUDGET_LOW, words.TELEMETRY_ABSENT}
    assert lint(set(texts), texts, COMMANDS) == []
    for name, text in texts.items():
        assert not re.search(r"\bSERVICE\b|\bSLO=|\"SLO\"", text), name


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("availability", 'mlops_obs_requests_total{service="shop", stage="ingress", outcome="error"}[5m]'),
        ("latency", 'mlops_obs_request_duration_seconds_bucket{service="shop", stage="ingress", le="0.25"}[5m]'),
        ("native", "histogram_quantile(0.99, sum (rate(rpc_duration_seconds[5m])))"),
        ("quality", 'mlops_obs_quality_cohort_bad_events{service="shop"}'),
        ("training", "mlops_obs_training_time_seconds_total"),
        ("materialisation", "mlops_obs_materialisations_total"),
        ("expectations", "mlops_obs_expectation_checks_total"),
        ("skew", "mlops_obs_skew_pairs_total"),
        ("boolean", 'probe_success{job="shop"} == 0'),
        ("ratio", "(sum(increase(failed_total[5m]))) / ((sum(increase(all_total[5m]))) > 0)"),
        ("composite", 'slo:burn_rate:ratio1h{service=~"shop",slo=~"availability|freshness|latency"}'),
    ],
)
def test_the_first_query_asks_the_very_series_that_the_slo_is_counted_from(name: str, asked: str) -> None:
    (slo,) = [one for one in every_kind() if one.name == name]
    (runbook,) = [one for one in RUNBOOKS if one.alert == words.alert_name(slo)]

    assert asked.replace("sum (", "sum(") in fill(runbook, slo).diagnosis[0].ask.replace("sum (", "sum(")


def test_a_filled_runbook_says_what_is_promised_and_when_it_fires() -> None:
    (slo,) = [one for one in every_kind() if one.name == "availability"]

    promised, quick, *_ = facts(slo, "AvailabilityBudgetBurn")

    assert promised == "99 % over 30d, team web."
    assert quick.startswith("page-quick: burn > 14.4 over 1h and 5m (error ratio > 0.144); total outage: 8 min 39 s")
    assert facts(slo, "ErrorBudgetLow")[1:] == ["freeze: below 10 % of the budget."]


SPEC = """service: shop
team: web
slos: [{name: availability, objective: 0.99, indicator: {type: availability}}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slo.yaml").write_text(SPEC)
    return tmp_path


def obs(*arguments: str) -> Any:
    done = CliRunner().invoke(command.app, [*arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_runbooks_of_a_service_are_written_beside_the_general_ones_and_those_without_an_alert_are_taken_away(folder: Path) -> None:
    obs("render", "slo.yaml")
    (folder / "runbooks" / "shop" / "LatencyBudgetBurn.md").write_text("<!-- Generated by `obs runbooks render`, do not edit. -->\n")
    (folder / "runbooks" / "shop" / "Ours.md").write_text("# written by hand\n")

    with pytest.raises(SpecError, match=r"shop/LatencyBudgetBurn\.md \(no alert of this name\)"):
        obs("render", "slo.yaml", "--check")
    obs("render", "slo.yaml")

    assert sorted(path.name for path in (folder / "runbooks" / "shop").iterdir()) == [
        "AvailabilityBudgetBurn.md",
        "Ours.md",
        "TelemetryAbsent.md",
    ]
    assert "current" in obs("render", "slo.yaml", "--check").stdout


def test_show_prints_the_filled_runbook_and_refuses_what_does_not_exist(folder: Path) -> None:
    shown = obs("show", "AvailabilityBudgetBurn", "slo.yaml").stdout

    assert shown.startswith("# AvailabilityBudgetBurn: shop\n")
    assert 'service="shop"' in shown
    assert "SERVICE" not in shown
    with pytest.raises(UsageError, match="OBS-RUN-005"):
        obs("show", "Nope", "slo.yaml")
    with pytest.raises(UsageError, match="those that have it: none.*OBS-RUN-006"):
        obs("show", "LatencyBudgetBurn", "slo.yaml")
    assert "CollectorDown" in obs("show", "CollectorDown").stdout


def test_show_answers_each_query_and_says_why_one_has_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "obs.yaml").write_text(
        "service: shop\nstate: s.db\nslos: [slo.yaml]\nmetrics: {prometheus: 'http://127.0.0.1:9'}\n"
        "target: {kserve: {namespace: n, name: n}}\n"
    )
    away = obs("show", "AvailabilityBudgetBurn", "--env", "obs.yaml").stdout
    monkeypatch.setattr(
        "mlops_obs.adapters.prometheus.PrometheusCounters.query",
        lambda self, query: (
            [Series({"revision": f"v{index}"}, [(0.0, index / 8)]) for index in range(7)] if "by (revision)" in query else []
        ),
    )
    answered = obs("show", "AvailabilityBudgetBurn", "--env", "obs.yaml").stdout

    assert "   Now:\n\n       metrics cannot be read:" in away
    assert "   Now:\n\n       0.75  revision=v6\n       0.625  revision=v5\n" in answered
    assert "       and 2 more" in answered
    assert "   Now:\n\n       nothing" in answered
