"""What an alert says is the same in both engines, and nothing in it is left unfilled or runs as a template by mistake."""

from random_histories import write

from mlops_obs.slo.annotations import Links
from mlops_obs.slo.rules.prometheus_rules import render_platform_rules, render_rules
from mlops_obs.slo.scenarios import RecordedCounters, Scenario, Segment, histories
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import firing_alerts, slo_status

SLO_A = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, group_by=["revision"])


def notation(values) -> str:
    return " ".join("_" if value is None else "stale" if value != value else f"{value:.0f}" for value in values)


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
