"""Alerts about drift and about what a rollout cannot rely on: both engines fire when it lasts, and stay silent when it does not."""

from __future__ import annotations

import json

import pytest

from mlops_obs import metric_names as names
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.readings import rollout_readings
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.platform_alerts import PLATFORM_ALERTS, holding, summary
from mlops_obs.slo.rules.prometheus_rules import render_platform_rules
from mlops_obs.testing.counters import ScriptedCounters

BY_NAME = {one.name: one for one in PLATFORM_ALERTS}
LABELS = {"service": "shop", "stable": "v1", "canary": "v2", "attribution": "telemetry"}
LABELS |= {"revision": "v2", "feature": "income", "kind": "unit"}
CASES = [
    # alert, bad value, good value, seconds it must last, words of its summary
    ("RolloutBlind", 1, 0, 300, "shop: the rollout of v2 has had no evidence that it can trust"),
    ("RolloutTrafficMismatch", 1, 0, 300, "shop: v2 does not get the share"),
    ("RolloutWayBackLost", 0, 1, 120, "shop: v1 could not take all traffic back from v2"),
    ("RolloutNoticeUndelivered", 1, 0, 300, "reaches nobody"),
    ("DriftAlarm", 1, 0, 60, "shop: income of v2 is not what the model learnt from (unit)"),
]


def labels_of(metric: str) -> dict[str, str]:
    return {key: LABELS[key] for key in names.METRICS[metric].labels}


@pytest.mark.parametrize(("alert", "bad", "good", "hold", "words"), CASES)
def test_the_alert_fires_when_it_has_lasted_and_not_before_nor_after(promtool, tmp_path, alert, bad, good, hold, words):
    metric, minutes = BY_NAME[alert].metric, hold // 60
    labels = labels_of(metric)
    series = f"{metric}{{{', '.join(f'{key}={value!r}' for key, value in labels.items())}}}"
    values = f"{good}x4 {bad}x{minutes + 2} {good}x5"  # bad from minute 5 on
    cases = {
        "rule_files": ["platform.yaml"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [
                    {
                        "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": firing}],
                    }
                    for minute, firing in ((4, 0), (5 + minutes - 1, 0), (5 + minutes, 1), (5 + minutes + 4, 0))
                ],
            }
        ],
    }
    (tmp_path / "platform.yaml").write_text(render_platform_rules())
    (tmp_path / "cases.yaml").write_text(json.dumps(cases))
    counters = ScriptedCounters()
    embedded = []
    for second in range(0, 60 * (minutes + 12), 10):
        value = bad if 300 <= second < 60 * (5 + minutes + 3) else good
        here = counters._values.get((metric, tuple(sorted(labels.items()))), 0.0)
        counters.add(metric, labels, value - here)
        counters.scrape(second)
        embedded.append((second, holding(BY_NAME[alert], counters, second)))

    code, output = promtool("test", "rules", tmp_path / "cases.yaml")
    firing = [second for second, found in embedded if found]

    assert code == 0, output
    assert (firing[0], firing[-1]) == (300 + hold, 60 * (5 + minutes + 3) - 10)
    assert words in summary(BY_NAME[alert], labels)


def readings_of(state: RolloutState, evidence: dict) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(one.metric.name, tuple(one.labels.values())): one.value for one in rollout_readings(state, (), {"evidence": evidence})}


EVIDENCE = {
    "tests": {"errors": {"log10_e": 0.5, "log10_bound": 2.3}},
    "power": [{"test": "errors", "ratio": 2.0, "seconds": 340.0}, {"test": "slow", "ratio": 2.0, "seconds": None}],
    "traffic": {"declared": 0.2, "observed": 0.31, "requests": 900, "problem": "v2 gets 31 % of the requests, 20 % were declared"},
    "way_back": {"ready": True, "reason": "", "seconds": 4.0},
    "gates": {"drift": {"ok": None}, "cost": {"ok": False}},
}


def test_the_controller_exports_what_the_alerts_and_boards_ask_for():
    spec = Rollout(service="shop", canary="v2", package="/p")
    state = RolloutState(id="x", spec=spec, created_at=0.0, stable="v1", desired={"v1": 80, "v2": 20}, attribution="telemetry")

    found = readings_of(state, EVIDENCE)

    assert found[names.ROLLOUT_ATTRIBUTION.name, ("shop", "v2", "telemetry")] == 1
    assert found[names.ROLLOUT_ATTRIBUTION.name, ("shop", "v2", "none")] == 0
    assert found[names.ROLLOUT_TRAFFIC_MISMATCH.name, ("shop", "v2")] == 1
    assert found[names.ROLLOUT_OBSERVED_SHARE.name, ("shop", "v2")] == 0.31
    assert found[names.ROLLOUT_POWER.name, ("shop", "v2", "errors")] == 340.0
    assert found[names.ROLLOUT_POWER.name, ("shop", "v2", "slow")] == float("inf")
    assert found[names.ROLLOUT_EVIDENCE_BOUND.name, ("shop", "v2", "errors")] == 2.3
    assert found[names.ROLLOUT_WAY_BACK.name, ("shop", "v1", "v2")] == 1
    assert found[names.ROLLOUT_WAY_BACK_TIME.name, ("shop", "v1", "v2")] == 4.0
    assert found[names.ROLLOUT_GATE.name, ("shop", "v2", "drift")] == -1
    assert found[names.ROLLOUT_GATE.name, ("shop", "v2", "cost")] == 0
    assert found[names.ROLLOUT_NOTICE_STUCK.name, ("shop", "v2")] == 0


def test_a_way_back_that_nobody_has_asked_about_is_not_lost_and_one_that_is_lost_says_so():
    spec = Rollout(service="shop", canary="v2", package="/p")
    state = RolloutState(id="x", spec=spec, created_at=0.0, stable="v1", desired={"v1": 80, "v2": 20})
    key = (names.ROLLOUT_WAY_BACK.name, ("shop", "v1", "v2"))

    assert key not in readings_of(state, {})
    assert readings_of(state.model_copy(update={"way_back": "its pods are gone"}), EVIDENCE)[key] == 0


def test_a_rollout_that_is_over_has_no_present():
    spec = Rollout(service="shop", canary="v2", package="/p")
    over = RolloutState(id="x", spec=spec, created_at=0.0, stable="v1", desired={"v1": 100}, phase="RolledBack", attribution="canary")

    names_told = {name for name, _ in readings_of(over, EVIDENCE)}

    assert not names_told & {names.ROLLOUT_ATTRIBUTION.name, names.ROLLOUT_WAY_BACK.name, names.ROLLOUT_TRAFFIC_MISMATCH.name}
    assert names.ROLLOUT_PHASE.name in names_told
