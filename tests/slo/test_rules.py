"""What the generated rules record, for every kind of source, told by promtool."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from mlops_obs.adapters.files import load_slos
from mlops_obs.durations import parse_duration
from mlops_obs.slo.rules.prometheus_rules import platform_groups, render_platform_rules, render_rules, rule_groups
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.yaml_text import rule_manifest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
EVERY = load_slos(HERE / "every_indicator.yaml")


def slo(name: str = "a", **more) -> SLO:
    return SLO(**{"service": "shop", "team": "web", "name": name, "objective": "0.9", "severities": ["ticket"], "replan": True, **more})


def recorded(promtool, folder, slos, series: dict[str, str], queries: list[tuple[str, str, dict[str, float]]], **more) -> None:
    """Assert that the rules of `slos` give, per (expression, time), these values, by labels."""
    (folder / "rules.yaml").write_text(render_rules(slos, among=slos, **more))
    cases = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": expr, "eval_time": at, "exp_samples": [{"labels": key, "value": value} for key, value in expected.items()]}
                    for expr, at, expected in queries
                ],
            }
        ],
    }
    (folder / "cases.yaml").write_text(json.dumps(cases))
    code, output = promtool("test", "rules", folder / "cases.yaml")
    assert code == 0, output


def total(by: str, window: str = "5m", of: str = "total", name: str = "a") -> str:
    return f'sum by ({by}) (slo:events_{of}:increase{window}{{slo="{name}"}})'


def test_prometheus_accepts_the_rules_of_every_indicator_with_and_without_sloths_names(promtool, tmp_path):
    (tmp_path / "with.yaml").write_text(render_rules(EVERY))
    (tmp_path / "without.yaml").write_text(render_rules(EVERY, sloth_names=False))
    (tmp_path / "platform.yaml").write_text(render_platform_rules())

    code, output = promtool("check", "rules", *tmp_path.glob("*.yaml"))

    assert code == 0, output


def test_the_whole_is_the_sum_of_its_groups_and_of_series_without_a_group(promtool, tmp_path):
    one = slo(indicator={"type": "availability"}, group_by=["revision"])
    base = 'mlops_obs_requests_total{service="shop",stage="ingress",outcome='
    series = {f'{base}"ok",revision="v1"}}': "0+60x20", f'{base}"error",revision="v2"}}': "0+30x20", f'{base}"error"}}': "0+6x20"}

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("revision"), "10m", {'{revision="v1"}': 300, '{revision="v2"}': 150, "{}": 480}),
            (total("revision", of="bad"), "10m", {'{revision="v1"}': 0, '{revision="v2"}': 150, "{}": 180}),
        ],
    )


def test_groups_by_two_labels_are_those_with_either(promtool, tmp_path):
    counters = {"type": "availability", "total": "calls_total", "good": 'calls_total{code="200"}'}
    one = slo(indicator=counters, group_by=["zone", "job"])
    series = {
        'calls_total{code="200",zone="z",job="j"}': "0+10x20",
        'calls_total{code="500",job="j"}': "0+20x20",
        'calls_total{code="200",job="j"}': "0+5x20",
        'calls_total{code="200"}': "0+1x20",
    }

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("zone, job"), "10m", {'{zone="z", job="j"}': 50, '{job="j"}': 125, "{}": 180}),
            (total("zone, job", of="bad"), "10m", {'{zone="z", job="j"}': 0, '{job="j"}': 100, "{}": 100}),
        ],
    )


def test_a_bucket_that_is_missing_is_no_evidence_of_slow_requests(promtool, tmp_path):
    one = slo(indicator={"type": "latency", "threshold": "250ms"}, group_by=["revision"])
    series = {'mlops_obs_request_duration_seconds_count{service="shop",stage="ingress",revision="v1"}': "0+60x20"}

    recorded(promtool, tmp_path, [one], series, [(total("revision", of="bad"), "10m", {})])


def test_an_idle_hour_leaves_the_budget_alone_and_has_no_ratio(promtool, tmp_path):
    one = slo(indicator={"type": "drift"}, period="1d")
    windows = 'mlops_obs_drift_windows_total{service="shop",verdict='
    series = {f'{windows}"stable"}}': "0+9x60 540x180", f'{windows}"drifted"}}': "0+1x60 60x180"}
    left = "round(slo:error_budget_remaining:ratio, 0.001)"
    ids = '{service="shop", slo="a", team="web"}'

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            ("slo:error_ratio:increase1h", "3h", {}),
            (total("x", "1h"), "3h", {"{}": 0}),
            # An hour at exactly the budget, projected on the two hours and then the three that were counted.
            (left, "2h", {ids: 0.917}),
            (left, "3h", {ids: 0.875}),
        ],
    )


def test_slices_are_judged_one_by_one(promtool, tmp_path):
    one = slo(indicator={"type": "availability"}, budgeting="timeslices", slice_objective="0.95")
    base = 'mlops_obs_requests_total{service="shop",stage="ingress",outcome='
    # Two slices at 4 % errors, four at 20 %, then no traffic.
    series = {f'{base}"ok"}}': "0+96x10 960+80x15 2160x60", f'{base}"error"}}': "0+4x10 40+20x15 340x60"}

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("x", of="bad"), "10m", {"{}": 0}),
            (total("x", of="bad"), "25m", {"{}": 1}),
            (total("x"), "40m", {"{}": 0}),
            (total("x", "1h"), "55m", {"{}": 6}),
            (total("x", "1h", of="bad"), "55m", {"{}": 4}),
        ],
    )


def test_an_error_ratio_alone_is_averaged_over_slices_and_nan_is_no_slice(promtool, tmp_path):
    one = slo(indicator={"type": "ratio", "ratio": "last_over_time(wrong[{{.window}}]) / last_over_time(all[{{.window}}])  # a comment"})

    recorded(
        promtool,
        tmp_path,
        [one],
        {"wrong": "0.2x13 0x20", "all": "1x13 0x20"},
        [
            (f"round({total('x', of='bad')}, 0.001)", "10m", {"{}": 0.2}),
            (f"round({total('x', '1h', of='bad')}, 0.001)", "30m", {"{}": 0.6}),
            (total("x", "1h"), "30m", {"{}": 3}),
        ],
    )


def test_rates_of_an_expression_become_counts(promtool, tmp_path):
    rates = {"type": "ratio", "bad": 'rate(e_total{code="5"}[{{ .window }}])', "total": "rate(e_total[{{.window}}])", "unit": "rate"}
    one = slo(indicator=rates, group_by=["job"])
    series = {'e_total{code="5",job="j"}': "0+6x20", 'e_total{code="2",job="j"}': "0+54x20", 'e_total{code="2",job="k"}': "0+60x20"}

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("job"), "10m", {'{job="j"}': 300, '{job="k"}': 300, "{}": 600}),
            (total("job", of="bad"), "10m", {'{job="j"}': 30, '{job="k"}': 0, "{}": 30}),
        ],
    )


def test_samples_of_a_gauge_are_counted_once_each(promtool, tmp_path):
    one = slo(indicator={"type": "boolean", "metric": "probe_success"}, group_by=["instance"])
    series = {'probe_success{instance="a"}': "1x9 0x4 1x30", 'probe_success{instance="b"}': "1x50"}

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("instance"), "20m", {'{instance="a"}': 5, '{instance="b"}': 5, "{}": 10}),
            (total("instance", "1h", "bad"), "20m", {'{instance="a"}': 5, '{instance="b"}': 0, "{}": 5}),
        ],
    )


def test_a_late_label_counts_in_the_window_of_its_prediction_and_an_immature_cohort_never(promtool, tmp_path):
    one = slo(indicator={"type": "quality", "maturity": "1h", "cohort": "1h"})
    series = {}
    for start, bad in ((0, "1+0x120 31+0x200"), (3600, "90+0x400")):  # the first hour's labels turn bad after two hours
        of = f'{{service="shop",revision="v1",cohort="{start}"}}'
        series |= {f"mlops_obs_quality_cohort_events{of}": "100+0x400", f"mlops_obs_quality_cohort_bad_events{of}": bad}
        series[f"mlops_obs_quality_cohort_start_timestamp_seconds{of}"] = f"{start}+0x400"

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            (total("x", "2h"), "90m", {"{}": 0}),  # idle, not absent: nothing is mature
            (total("x", "2h", "bad"), "2h", {"{}": 1}),
            (total("x", "2h", "bad"), "150m", {"{}": 31}),
            (total("x", "2h", "bad"), "3h", {"{}": 121}),
            (total("x", "1d", "bad"), "3h", {"{}": 121}),
            (total("x", "2h", "bad"), "4h", {"{}": 90}),  # and leaves the window with its hour
        ],
    )


def test_a_chain_fails_where_any_stage_fails(promtool, tmp_path):
    stages = [slo("first", indicator={"type": "drift"}), slo("last", indicator={"type": "availability"}, group_by=["revision"])]
    chain = slo("chain", indicator={"type": "composite", "of": ["first", "last"]})
    base = 'mlops_obs_requests_total{service="shop",stage="ingress",revision="v1",outcome='
    windows = 'mlops_obs_drift_windows_total{service="shop",verdict='
    series = {f'{base}"ok"}}': "0+90x30", f'{base}"error"}}': "0+10x30"}
    series |= {f'{windows}"stable"}}': "0+4x20", f'{windows}"drifted"}}': "0+1x20"}

    # Written before its stages, it is evaluated after them all the same; a stage without events counts as good.
    recorded(
        promtool,
        tmp_path,
        [chain, *stages],
        series,
        [
            (total("x", name="chain"), "10m", {"{}": 500}),
            (f"round({total('x', of='bad', name='chain')})", "10m", {"{}": 140}),
            (f"round({total('x', of='bad', name='chain')})", "28m", {"{}": 50}),
        ],
    )


def test_a_chain_of_chains_finds_every_window_recorded_in_its_stages():
    stages = [slo("a", indicator={"type": "drift"}), slo("b", indicator={"type": "freshness"}), slo("c", indicator={"type": "training"})]
    inner = slo("inner", indicator={"type": "composite", "of": ["a", "b"]})
    outer = slo("outer", indicator={"type": "composite", "of": ["inner", "c"]}, period="5d", severities=["page", "ticket"])
    (group,) = [group for group in rule_groups([outer, inner, *stages], sloth_names=False)[1] if not group.name.endswith("telemetry")]

    done: set[tuple[str, str]] = set()
    for rule in group.rules:
        reads = re.findall(r'(slo:\w+:\w+)\{service="shop", slo="([a-z]+)"', rule.expr)
        assert not [one for one in reads if one not in done], "whatever is read has been recorded before"
        done.add((rule.record, rule.labels["slo"]))


@pytest.mark.parametrize("sloth_names", [True, False])
def test_shared_names_are_one_series_with_both_sets_of_labels(promtool, tmp_path, sloth_names):
    one = slo(indicator={"type": "drift"})
    ids = ', sloth_id="shop-a", sloth_service="shop", sloth_slo="a"' if sloth_names else ""
    objective = f'slo:objective:ratio{{service="shop", slo="a", team="web"{ids}}}'

    recorded(promtool, tmp_path, [one], {}, [("slo:objective:ratio", "5m", {objective: 0.9})], sloth_names=sloth_names)


def test_sloths_names_say_the_same_about_the_service_as_a_whole(promtool, tmp_path):
    one = slo(indicator={"type": "availability"}, group_by=["revision"], labels={"tribe": "x"})
    base = 'mlops_obs_requests_total{service="shop",stage="ingress",revision="v1",outcome='
    series = {f'{base}"ok"}}': "0+90x90", f'{base}"error"}}': "0+10x90"}
    ids = 'sloth_id="shop-a", sloth_service="shop", sloth_slo="a", tribe="x"'
    ours = 'label_replace(slo:error_budget_remaining:ratio{revision=""}, "sloth_id", "shop-a", "", "")'

    recorded(
        promtool,
        tmp_path,
        [one],
        series,
        [
            ("slo:sli_error:ratio_rate1h", "80m", {f'slo:sli_error:ratio_rate1h{{{ids}, sloth_window="1h"}}': 0.1}),
            ("round(slo:current_burn_rate:ratio, 0.001)", "80m", {f"{{{ids}}}": 1}),
            (f"round(slo:period_error_budget_remaining:ratio - on (sloth_id) {ours}, 0.001)", "80m", {'{sloth_id="shop-a"}': 0}),
        ],
    )


def test_a_period_of_28_days_is_called_4w_as_sloth_does():
    text = render_rules([slo(indicator={"type": "drift"}, period="28d")])

    assert '"slo:sli_error:ratio_rate4w"' in text
    assert 'sloth_window: "4w"' in text


def test_a_manifest_holds_the_groups_of_the_rule_file():
    manifest = yaml.safe_load(rule_manifest(*rule_groups(EVERY[:3]), "mlops-obs-shop", {"prometheus": "k8s"}, "monitoring"))
    platform = yaml.safe_load(rule_manifest(*platform_groups(), "mlops-obs-platform", {}))

    assert manifest["spec"] == yaml.safe_load(render_rules(EVERY[:3]))
    assert manifest["metadata"] == {"name": "mlops-obs-shop", "namespace": "monitoring", "labels": {"prometheus": "k8s"}}
    assert (manifest["apiVersion"], manifest["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert platform["spec"] == yaml.safe_load(render_platform_rules())


def test_labels_of_the_spec_are_on_every_rule_and_alert_of_its_slos():
    rules = [rule for group in rule_groups(EVERY)[1] for rule in group.rules]

    assert {rule.labels.get("tribe") for rule in rules} == {"checkout"}


def test_an_expression_of_the_user_reaches_prometheus_as_it_was_written(promtool, tmp_path):
    odd = "\n  \tsum(\n   increase(a_total{x=\"\u2028 'q' \\\\ y\"}[{{.window}}])) # why\n"
    one = slo(indicator={"type": "ratio", "bad": odd.replace("a_total", "b_total"), "total": odd})
    (tmp_path / "rules.yaml").write_text(render_rules([one]))

    code, output = promtool("check", "rules", tmp_path / "rules.yaml")
    exprs = [rule["expr"] for group in yaml.safe_load((tmp_path / "rules.yaml").read_text())["groups"] for rule in group["rules"]]

    assert code == 0, output
    assert any(odd.replace("{{.window}}", "5m").strip() in expr for expr in exprs)


SAMPLES_OF_SLOTHS_RULES = 198_140  # 2 series over 7 windows of 30 s samples, and the period twice


def test_an_evaluation_reads_a_fiftieth_of_the_samples_that_rules_on_raw_series_read():
    one = slo(indicator={"type": "availability"}, severities=["page", "ticket"], objective="0.99")
    rules = [rule for group in rule_groups([one])[1] for rule in group.rules]
    ranges = [found for rule in rules for found in re.findall(r"\[(\w+)(?::(\w+))?\]", rule.expr)]

    points = sum(math.ceil(parse_duration(length) / (parse_duration(step) if step else 30)) for length, step in ranges)
    raw = {length for length, step in ranges if not step}

    assert raw == {"5m", "30m", "1h"}, "longer windows add up what was recorded"
    assert points < SAMPLES_OF_SLOTHS_RULES / 50 * 0.95, points


def test_a_budget_that_runs_low_is_told_once_per_step_with_every_template_filled(promtool, tmp_path):
    policy = [{"below": "0.25", "action": "warn"}, {"below": "0.1", "action": "freeze"}]
    one = slo(indicator={"type": "availability"}, objective="0.99", period="1d", group_by=["revision"], budget_policy=policy)
    base = 'mlops_obs_requests_total{service="shop",stage="ingress",revision="v1",outcome='
    series = [{"series": f'{base}"ok"}}', "values": "0+90x300"}, {"series": f'{base}"error"}}', "values": "0+10x120 1200x180"}]
    told = [{"eval_time": at, "alertname": "ErrorBudgetLow", "exp_alerts": []} for at in ("1h", "2h", "5h")]
    (tmp_path / "rules.yaml").write_text(render_rules([one]))
    cases = {"rule_files": ["rules.yaml"], "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": told}]}
    (tmp_path / "cases.yaml").write_text(json.dumps({**cases, "evaluation_interval": "1m"}))

    # Expecting nothing makes promtool print what it got, texts included.
    code, output = promtool("test", "rules", tmp_path / "cases.yaml")

    assert code != 0
    assert output.count("Labels:") == 2, "not in the first hour, and one step afterwards"
    assert 'tier="policy-warn"' in output
    assert 'burn_rate="10.0"' in output
    assert 'time_to_exhaustion="24m 0s"' in output
    assert 'time_to_exhaustion="nothing burns now"' in output
    assert not [word for word in ("{{", "%!", "<error", "<nil>", "NaN") if word in output], output


def test_a_calendar_period_begins_with_a_full_budget_and_not_with_an_unknown_one(promtool, tmp_path):
    one = slo(indicator={"type": "availability"}, period="week", objective="0.99")
    base, monday = 'mlops_obs_requests_total{service="shop",stage="ingress",outcome=', 4 * 24 * 60
    series = {f'{base}"ok"}}': f"0+90x{monday + 10}", f'{base}"error"}}': f"0+10x{monday + 10}"}
    asked = "round(min without (team) (slo:error_budget_remaining:ratio), 0.01)"
    of = '{service="shop", slo="a"}'

    recorded(promtool, tmp_path, [one], series, [(asked, f"{monday + 2}m", {of: 1}), (asked, f"{monday + 6}m", {of: 0.94})])


def test_the_text_of_an_alert_names_every_label_of_its_group_even_one_that_holds_a_quote(promtool, tmp_path):
    calls = {"type": "availability", "total": "calls_total", "bad": 'calls_total{code="500"}'}
    one = slo(indicator=calls, period="1d", group_by=["zone", "pod"])
    base = 'calls_total{zone="north",pod="a\\"b",code='
    series = [{"series": f'{base}"200"}}', "values": "0+50x120"}, {"series": f'{base}"500"}}', "values": "0+50x120"}]
    told = [{"eval_time": "2h", "alertname": "AvailabilityBudgetBurn", "exp_alerts": []}]
    (tmp_path / "rules.yaml").write_text(render_rules([one]))
    cases = {"rule_files": ["rules.yaml"], "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": told}]}
    (tmp_path / "cases.yaml").write_text(json.dumps({**cases, "evaluation_interval": "1m"}))

    # Expecting nothing makes promtool print what it got, texts included.
    _, output = promtool("test", "rules", tmp_path / "cases.yaml")

    assert 'summary="shop north a\\"b: a burns' in output
    assert "<error" not in output, output
    assert 'budget_left="unknown"' not in output


def test_the_head_of_a_rule_file_says_what_its_times_leave_out():
    head = render_rules([slo(indicator={"type": "availability"})]).partition("groups:")[0]

    assert "up to 5 minutes more for windows over 1h, and one interval each until it is scraped, counted and judged" in head
