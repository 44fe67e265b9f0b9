"""The Prometheus rules and the Python engine mean the same, and the generated cases notice when they do not."""

import json
import random
from pathlib import Path

import pytest
import yaml

from mlops_obs.adapters.files import load_slos
from mlops_obs.slo.annotations import Links
from mlops_obs.slo.prometheus_rules import render_platform_rules, render_rules
from mlops_obs.slo.rule_tests import notation, render_cases, render_tests
from mlops_obs.slo.scenarios import MINUTE, RecordedCounters, Scenario, Segment, histories
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import firing_alerts, slo_status

ROOT = Path(__file__).parents[2]
SLO_A = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, group_by=["revision"])
LATENCY = SLO(service="shop", team="web", name="l", objective="0.9", indicator={"type": "latency", "threshold": "1s"}, replan=True)


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_the_committed_rules_pass_promtools_lint(promtool):
    code, output = promtool("check", "rules", *sorted((ROOT / "slo" / "generated").glob("*-rules.yaml")))

    assert code == 0, output


def test_the_committed_cases_pass_on_the_committed_rules(promtool):
    code, output = promtool("test", "rules", *sorted((ROOT / "slo" / "tests").glob("*.yaml")))

    assert code == 0, output


def alerts_only(rules: str, slo: SLO) -> str:
    """Return `rules` without the period's recordings, which no alert reads: most of promtool's time goes into 30 days of grid."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        group["rules"] = [
            rule for rule in group["rules"] if slo.period not in rule.get("record", "") and "remaining" not in rule.get("record", "")
        ]
    return json.dumps(document)


def random_history(rng: random.Random) -> list[Segment]:
    segments = []
    for index in range(rng.randint(3, 6)):
        rate = rng.choice([0, 2, 60, 1000])
        bad = round(rate * rng.choice([0, 0, 0.002, 0.02, 0.045, 0.09, 0.3, 1]))
        segments.append(Segment(rng.randint(5, 40), good=rate - bad, bad=bad, reset=bool(index) and rng.random() < 0.25))
    if rng.random() < 0.3:
        segments.append(Segment(rng.randint(12, 30), gone=True))
    return segments


def robust_minutes(slo: SLO, scenario: Scenario, minutes: range) -> list[int]:
    """Return the minutes at which the answer does not hang on a percent of budget, one event or one sample.

    There Prometheus' extrapolation to window edges may decide otherwise without being wrong.
    """
    source = RecordedCounters(histories(slo, scenario))
    shaken = [
        slo.model_copy(update={"objective": 1 - slo.budget * factor, "min_bad_events": slo.min_bad_events + more})
        for factor in (type(slo.budget)("0.9"), type(slo.budget)("1.1"))
        for more in (-1, 1)
    ]

    def marks(one: SLO, minute: int) -> set[tuple]:
        return {(alert.name, *sorted(alert.labels.items())) for alert in firing_alerts([one], source, minute * float(MINUTE))}

    return [minute for minute in minutes if all(marks(slo, minute) == marks(one, minute + shift) for one in shaken for shift in (-2, 0, 2))]


@pytest.mark.parametrize("slo", [SLO_A, LATENCY], ids=["availability by revision", "replanned latency"])
def test_both_engines_agree_on_random_histories(promtool, tmp_path, slo):
    rng = random.Random(20_240_501)
    cases, fired = [], 0
    for number in range(8):
        groups = ["v1", "v2"] if slo.group_by and rng.random() < 0.5 else ["v1"]
        scenario = Scenario(f"history {number}", {group: random_history(rng) for group in groups}, ())
        series = histories(slo, scenario)
        length = max(len(one.values) for one in series)
        minutes = robust_minutes(slo, scenario, range(10, length - 2, 5))
        source = RecordedCounters(series)
        fired += sum(bool(firing_alerts([slo], source, minute * float(MINUTE))) for minute in minutes)
        cases.append((scenario.name, series, minutes))
    judged = sum(len(minutes) for _, _, minutes in cases)
    write(tmp_path, rules=alerts_only(render_rules([slo]), slo), cases=render_cases([slo], ["rules.yaml"], cases))

    code, output = promtool("test", "rules", tmp_path / "cases.yaml")

    assert code == 0, output
    assert judged > 60, "most minutes are judged"
    assert fired > judged / 10, "and not all of them are silent"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("the factor of the quick page", "> 0.144 *", "> 0.9 *"),
        ("the lower bound", "+ 2.71445\n", "- 27.1445\n"),
        ("the least number of bad events", ">= 5", ">= 1"),
        ("what is bad", 'outcome="error"', 'outcome="client_error"'),
        ("the severity", 'severity: "page"', 'severity: "ticket"'),
        ("the groups", " by (revision)", ""),
        ("idle and absent mixed up", "unless on (service)", "and on (service)"),
    ],
)
def test_the_generated_cases_fail_on_a_rule_file_that_is_wrong_about(promtool, tmp_path, name, old, new):
    rules = render_rules([SLO_A])
    assert old in rules, name
    write(tmp_path, rules=alerts_only(rules.replace(old, new), SLO_A), cases=render_tests([SLO_A], ["rules.yaml"]))

    code, _ = promtool("test", "rules", tmp_path / "cases.yaml")

    assert code != 0


def test_the_budget_and_the_page_text_are_those_of_the_python_engine(promtool, tmp_path):
    links = Links(dashboards="http://g/d", runbooks="http://r")
    history = {"v1": [Segment(120, good=1000)], "v3": [Segment(60), Segment(60, good=6, bad=4)]}
    series = histories(SLO_A, Scenario("x", history, ()))
    source, now = RecordedCounters(series), 7200.0
    (page,) = [one for one in firing_alerts([SLO_A], source, now, links) if one.labels["tier"] == "page-quick"]
    whole = slo_status(SLO_A, source, now)[0]
    # Prometheus writes durations in its own way; the page puts both into the same words.
    said = {**page.annotations, "time_to_exhaustion": "16h 0m 0s", "action_taken": "rolled back v3 14 s ago"}
    inputs = [(f"{one.metric}{{{', '.join(f'{k}={v!r}' for k, v in one.labels.items())}}}", notation(one.values)) for one in series]
    inputs.append(("mlops_obs_rollout_action_timestamp_seconds{service='shop', revision='v3', action='rollback'}", f"{now - 14:.0f}+0x120"))
    inputs.append(("mlops_obs_rollout_action_timestamp_seconds{service='shop', revision='v2', action='promote'}", f"{now - 3:.0f}+0x120"))
    lines = ["rule_files: [rules.yaml]", "evaluation_interval: 1m", "tests:", "  - interval: 1m", "    input_series:"]
    lines += [f'      - series: "{name}"\n        values: "{values}"' for name, values in inputs]
    lines += [
        "    promql_expr_test:",
        "      - expr: round(slo:error_budget_remaining:ratio{revision=''}, 0.000001)",
        "        eval_time: 2h",
    ]
    lines += ["        exp_samples:", '          - labels: \'{service="shop", slo="a", team="web"}\'']
    lines += [f"            value: {round(whole.budget_remaining, 6)}"]
    lines += ["    alert_rule_test:", "      - eval_time: 2h", "        alertname: AvailabilityBudgetBurn", "        exp_alerts:"]
    lines += [f"          - exp_labels: {page.labels!r}", f"            exp_annotations: {said!r}"]
    only_quick = render_rules([SLO_A], links=links).split('      - alert: "AvailabilityBudgetBurn"')
    tail = only_quick[-1][only_quick[-1].index("  - name:") :]
    write(tmp_path, rules=only_quick[0] + '      - alert: "AvailabilityBudgetBurn"' + only_quick[1] + tail, cases="\n".join(lines))

    code, output = promtool("test", "rules", tmp_path / "cases.yaml")

    assert code == 0, output


def test_a_description_cannot_run_as_a_template_nor_break_out_of_the_yaml(promtool, tmp_path):
    odd = 'a "quote" {{ $labels.nope | query }} \u2028 \x85 \\ : # end'
    slo = SLO_A.model_copy(update={"description": odd})
    write(tmp_path, rules=render_rules([slo]), platform=render_platform_rules())

    code, output = promtool("check", "rules", tmp_path / "rules.yaml", tmp_path / "platform.yaml")

    assert code == 0, output
    assert "$labels.nope" not in render_rules([slo])


def test_the_same_specs_give_the_same_bytes():
    slos = load_slos(ROOT / "slo" / "credit-risk.yaml")

    assert render_rules(slos) == render_rules(load_slos(ROOT / "slo" / "credit-risk.yaml"))
    assert render_tests(slos, ["x"]) == render_tests(slos, ["x"])


def test_alerts_without_a_revision_and_about_the_platform_fill_their_templates(promtool, tmp_path):
    slo = SLO(service="shop", team="web", name="f", objective="0.99", indicator={"type": "freshness"}, severities=["ticket"])
    series = histories(slo, Scenario("x", {"": [Segment(120, good=90, bad=10)]}, ()))
    inputs = [(f"{one.metric}{{{', '.join(f'{k}={v!r}' for k, v in one.labels.items())}}}", notation(one.values)) for one in series]
    inputs.append(("up{job='serve', instance='127.0.0.1:9'}", "1 0+0x119"))
    inputs.append(("mlops_obs_collector_up{collector='latency', job='serve', instance='127.0.0.1:9'}", "1 stale"))
    inputs.append(("up{job='somebody-else', instance='127.0.0.1:9'}", "0+0x120"))
    lines = ["rule_files: [rules.yaml, platform.yaml]", "evaluation_interval: 1m", "tests:", "  - interval: 1m", "    input_series:"]
    lines += [f'      - series: "{name}"\n        values: "{values}"' for name, values in inputs]
    lines += ["    alert_rule_test:"]
    lines += [f"      - {{eval_time: 2h, alertname: {name}}}" for name in ("FreshnessBudgetBurn", "InstrumentationDown")]
    write(tmp_path, rules=render_rules([slo]), platform=render_platform_rules(), cases="\n".join(lines))

    code, output = promtool("test", "rules", tmp_path / "cases.yaml")

    # Expecting nothing makes promtool print what it got, texts included.
    assert code != 0
    assert 'revision="all"' in output
    assert "shop: f burns its 30d error budget 10.0 times too fast" in output
    assert "serve: metrics of 127.0.0.1:9 cannot be scraped" in output
    assert "somebody-else" not in output.partition("got:")[2]
    assert "var-service=serve&var-revision=$__all&from=3600000&to=7200000" in output
    assert not [word for word in ("{{", "%!", "<error", "<nil>", "NaN") if word in output.partition("got:")[2]], output
