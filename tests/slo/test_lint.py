"""Alerts that can never fire are found in other people's rule files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlops_obs.adapters.rule_files import load_rules
from mlops_obs.cli.slo import app
from mlops_obs.slo.lint.findings import advise, lint
from mlops_obs.slo.spec_errors import SpecErrors
from tests.slo.foreign_rules import kubernetes_mixin, manifest, pyrra, rule_file, sloth


def _rules(folder: Path, *texts: str):
    paths = []
    for number, text in enumerate(texts):
        paths.append(folder / f"rules-{number}.yaml")
        paths[-1].write_text(text, encoding="utf-8")
    return load_rules(paths)


def _alert(folder: Path, expr: str, *recordings: tuple[str, str]):
    rules: list[dict[str, object]] = [{"record": name, "expr": text} for name, text in recordings]
    return lint(_rules(folder, rule_file({"hand": [*rules, {"alert": "Burn", "expr": expr, "labels": {"severity": "page"}}]})))


@pytest.mark.parametrize(
    ("target", "dead"), [("0.999", 0), ("0.95", 0), ("0.93", 0), ("0.92", 1), ("0.90", 1), ("0.85", 2), ("0.5", 3), ("0.4", 3)]
)
def test_pyrras_dead_alerts_are_found_for_every_target(tmp_path, target, dead):
    findings = lint(_rules(tmp_path, pyrra(target)))

    assert [one.code for one in findings] == ["OBS-LINT-001"] * dead


def test_34_slos_at_90_percent_among_76_have_34_dead_alerts_of_304(tmp_path):
    # The shape of a public installation: 14 x 0.1 = 1.4 is more than every request.
    files = [pyrra("0.90" if number < 34 else "0.95", slo=f"slo-{number}") for number in range(76)]

    rules = _rules(tmp_path, *files)
    findings = lint(rules)

    assert (len(findings), sum(rule.is_alert for rule in rules)) == (34, 304)
    assert {(one.code, one.severity) for one in findings} == {("OBS-LINT-001", "critical")}
    assert "> 1.4: an error ratio is at most 1" in findings[0].why


@pytest.mark.parametrize(
    ("objective", "page", "ticket"),
    [(99.9, "", ""), (90.0, "OBS-LINT-002", ""), (80.0, "OBS-LINT-001", ""), (60.0, "OBS-LINT-001", "OBS-LINT-002")],
)
def test_sloths_alerts_are_judged_by_pair(tmp_path, objective, page, ticket):
    findings = {one.severity: one.code for one in lint(_rules(tmp_path, sloth(objective)))}

    assert findings == {key: code for key, code in (("page", page), ("ticket", ticket)) if code}


def test_sums_of_burn_rates_in_the_mixins_shape_are_judged(tmp_path):
    assert [one.code for one in lint(_rules(tmp_path, kubernetes_mixin(0.90)))] == ["OBS-LINT-001"]
    assert lint(_rules(tmp_path, kubernetes_mixin(0.99))) == []


def test_a_sum_over_two_recorded_ratios_may_reach_two(tmp_path):
    def burnrate(verb: str) -> dict[str, object]:
        counted = f'a_total{{verb="{verb}"'
        expr = f'sum(rate({counted},code="5xx"}}[1h])) / sum(rate({counted}}}[1h]))'
        return {"record": "a:burnrate1h", "expr": expr, "labels": {"verb": verb}}

    def found(limit: float) -> list[str]:
        alert: dict[str, object] = {"alert": "Burn", "expr": f"sum(a:burnrate1h) > {limit}"}
        return [one.code for one in lint(_rules(tmp_path, rule_file({"g": [burnrate("get"), burnrate("put"), alert]})))]

    assert found(1.44) == []
    assert found(2.0) == ["OBS-LINT-001"]


@pytest.mark.parametrize(
    "expr",
    [
        'sum(rate(r_total{code=~"5.."}[1h])) / sum(rate(r_total[1h])) > 14.4 * (1 - 0.9)',
        'sum(rate(r_total{code=~"5.."}[1h])) > 1.44 * sum(rate(r_total[1h]))',
        '1 - sum(rate(r_total{code!~"5.."}[1h])) / sum(rate(r_total[1h])) > 1.44',
        'sum(rate(r_total{code!~"5.."}[1h])) / sum(rate(r_total[1h])) < 1 - 14.4 * 0.1',
        '(sum(rate(r_total{code=~"5.."}[1h])) or vector(0)) / (sum(rate(r_total[1h])) > 0) >= 1.01',
        '1 - sum(rate(d_bucket{le="0.3"}[5m])) / sum(rate(d_count[5m])) > 1.2',
        '(sum(rate(d_count[5m])) - sum(rate(d_bucket{le="0.3"}[5m]))) / sum(rate(d_count[5m])) > 1.2',
        "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) * 100 > 144",
        'sum(rate(r_total{code=~"5.."}[1h])) * 100 / sum(rate(r_total[1h])) > 144',
        "100 * sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) >= 101",
        "sum(rate(errors_total[5m])) / sum(rate(requests_total[5m])) / 0.1 > 14.4",
        "(1 - avg_over_time(up[1h])) > 14.4 * 0.1",
        "1 - sum(sum_over_time(probe_success[5m])) / sum(count_over_time(probe_success[5m])) > 1.44",
        "1.44 < job:slo_errors_per_request:ratio_rate1h",
        "1 - histogram_fraction(0, 0.3, sum(rate(d[1h]))) > 14.4 * (1 - 0.90)",
        "latencytarget:http_request_duration_seconds:rate1h > 14.4 * 0.1",
        "slo:error_ratio:increase1h / 0.1 > 14.4",
        "slo:events_bad:increase1h > 1.44 * slo:events_total:increase1h",
        "sum(count_over_time((x > 3)[1h:])) > 0 and up > 1",
    ],
)
def test_a_threshold_beyond_every_request_is_found_however_it_is_written(tmp_path, expr):
    assert [one.code for one in _alert(tmp_path, expr)] == ["OBS-LINT-001"]


@pytest.mark.parametrize(
    "expr",
    [
        'sum(rate(r_total{code=~"5.."}[1h])) / sum(rate(r_total[1h])) > 6 * (1 - 0.9)',
        "rate(d_sum[5m]) / rate(d_count[5m]) > 30",  # seconds per request
        "sum(rate(bytes_total[5m])) / sum(rate(requests_total[5m])) > 1e6",
        'sum(rate(a_total{job="x"}[5m])) / sum(rate(b_total[5m])) > 5',
        "sum(up) > 3",
        "absent(up)",
        "up == 0",
        "node_load1 / count(node_cpu_seconds_total) > 1.5",
        "a:burn_rate:1h > 14.4",
        "x - y > 3 or x < 2",
        "vector(1) > 0",
        "100 * (count by (job) (up == 0) / count by (job) (up)) > 10",
        "slo:error_budget:ratio < 0",
        "job:error_ratio_percent > 5",
        'sum(rate(r_total{code=~"5.."}[1h])) * 100 / sum(rate(r_total[1h])) > 99',
        'sum(rate(r_total{code=~"5.."}[1h])) * -100 / sum(rate(r_total[1h])) > -144',
        'kube_quota{type="used"} / ignoring (type) (kube_quota{type="hard"} > 0) > 0.9 < 1',
        'absent(up{job="x"} == 1)',
        "predict_linear(disk_free[6h], 4 * 3600) < 0 and disk_free / disk_size * 100 < 15",
        "histogram_quantile(0.99, sum by (le) (rate(d_bucket[5m]))) > 5",
        'sum(rate(r_total{code=~"5.."}[1h])) / sum(rate(r_total[5m])) > 2',  # two windows: may well be above 1
        'sum(rate(r_total{job="a"}[5m])) / sum(rate(r_total{job="b"}[5m])) > 2',
    ],
)
def test_an_alert_that_can_fire_is_left_alone(tmp_path, expr):
    assert _alert(tmp_path, expr) == []


def test_a_burn_rate_is_followed_to_the_budget_that_divides_it(tmp_path):
    recordings = (
        ("slo:budget", "vector(1 - 0.9)"),
        ("slo:errors", 'sum(rate(r_total{code="500"}[1h])) / sum(rate(r_total[1h]))'),
        ("slo:burn", "slo:errors / on () group_left () slo:budget"),
    )

    assert [one.code for one in _alert(tmp_path, "slo:burn > 14.4", *recordings)] == ["OBS-LINT-001"]
    assert _alert(tmp_path, "slo:burn > 9", *recordings) == []


@pytest.mark.parametrize(
    "recorded", ['100 * sum(rate(r_total{code="500"}[1h])) / sum(rate(r_total[1h]))', "sum(a + b) / sum(c) * 100", "sum(a) * 100 / sum(b)"]
)
def test_a_ratio_recorded_in_percent_may_be_above_one(tmp_path, recorded):
    assert _alert(tmp_path, "job:errors:ratio1h > 5", ("job:errors:ratio1h", recorded)) == []


def test_a_recorded_ratio_that_nobody_can_prove_is_taken_by_its_name_and_that_is_said(tmp_path):
    (found,) = _alert(
        tmp_path, "sum(api:burnrate1h) > 1.44", ("api:burnrate1h", "(sum(rate(slow[1h])) + sum(rate(bad[1h]))) / sum(rate(n[1h]))")
    )

    assert found.why.endswith("(this takes api:burnrate1h for one error ratio, as its name says)")


def test_a_recording_that_reads_itself_is_no_trouble(tmp_path):
    assert _alert(tmp_path, "a > 3", ("a", "b + 1"), ("b", "a - 1")) == []


def test_an_alert_that_fires_on_every_error_ratio_is_found(tmp_path):
    assert [one.code for one in _alert(tmp_path, "job:errors:ratio1h >= 0")] == ["OBS-LINT-003"]


def test_an_expression_that_is_no_promql_is_a_finding_with_its_place(tmp_path):
    (found,) = _alert(tmp_path, "sum(x) by by (y)")

    assert (found.code, found.alert, found.severity) == ("OBS-LINT-004", "Burn", "page")
    assert "column 11" in found.why
    assert found.place.endswith("rules-0.yaml:6")


def test_manifests_and_several_documents_are_read(tmp_path):
    text = manifest(pyrra("0.9")) + "\n---\nkind: ConfigMap\n---\n" + manifest(pyrra("0.9", slo="b"))

    findings = lint(_rules(tmp_path, text))

    assert [(one.group, one.code) for one in findings] == [("api", "OBS-LINT-001"), ("b", "OBS-LINT-001")]


def test_every_mistake_of_the_files_is_told_at_once(tmp_path):
    with pytest.raises(SpecErrors) as caught:
        _rules(tmp_path, "a: b", "groups: [{name: x, rules: [{alert: A}, {expr: up}]}]", "groups:\n  - name: y", "{[")

    told = str(caught.value).splitlines()
    assert len(told) == 5
    assert "rules-0.yaml: holds no rules" in told[0]
    assert all("[OBS-LINT-020]" in line for line in told[:4])


def test_advice_names_what_poisons_a_sloth_budget(tmp_path):
    codes = {one.code for one in advise(_rules(tmp_path, sloth(99.9, factors=(13.44, 5.6, 2.8, 0.9333333))))}

    assert codes == {"OBS-LINT-011", "OBS-LINT-013", "OBS-LINT-014"}


def test_advice_is_given_on_a_missing_short_window_and_on_labels_nobody_records(tmp_path):
    rules = rule_file(
        {
            "g": [
                {"record": "a:errors:ratio6h", "expr": "1 - avg_over_time(up[6h])", "labels": {"tier": "x"}},
                {"alert": "A", "expr": 'a:errors:ratio6h{tier="y"} > 0.5'},
                {"alert": "B", "expr": "a:errors:ratio6h > 0.5"},
            ]
        }
    )

    assert [(one.code, one.alert) for one in advise(_rules(tmp_path, rules))] == [
        ("OBS-LINT-012", "A"),
        ("OBS-LINT-015", "A"),
        ("OBS-LINT-012", "B"),
    ]


def test_our_own_rules_are_clean():
    rules = load_rules([Path("slo/generated")])

    assert sum(rule.is_alert for rule in rules) >= 10
    assert lint(rules) == []
    assert advise(rules) == []


def test_the_command_prints_a_list_and_exits_3_on_findings(tmp_path):
    dead, clean = tmp_path / "dead.yaml", tmp_path / "clean.yaml"
    dead.write_text(pyrra("0.90"), encoding="utf-8")
    clean.write_text(pyrra("0.99"), encoding="utf-8")

    found = CliRunner().invoke(app, ["lint", str(dead), str(clean), "-o", "json"])
    nothing = CliRunner().invoke(app, ["lint", str(clean), "-o", "json"])

    assert (found.exit_code, nothing.exit_code) == (3, 0)
    (one,) = json.loads(found.output)
    assert one.keys() >= {"code", "group", "alert", "severity", "why"}
    assert (one["code"], one["group"], one["alert"], one["severity"]) == ("OBS-LINT-001", "api", "ErrorBudgetBurn", "critical")
    assert json.loads(nothing.output) == []


def test_the_command_says_in_words_what_it_found(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(sloth(90), encoding="utf-8")

    told = CliRunner().invoke(app, ["lint", str(path)]).output.splitlines()

    assert "HighErrorRate (page): one condition needs" in told[0]
    assert told[0].endswith("[OBS-LINT-002]")
    assert told[-1] == "1 of 2 alerts cannot do their work"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("target", ["0.90", "0.80"])
def test_in_prometheus_a_total_outage_fires_all_alerts_but_those_that_lint_calls_dead(tmp_path, target):
    rules = tmp_path / "rules.yaml"
    rules.write_text(pyrra(target), encoding="utf-8")
    dead = {rule.place for rule in lint(load_rules([rules]))}
    alive = [rule.labels for rule in load_rules([rules]) if rule.is_alert and rule.place not in dead]
    expected = [{"labels": f'{{long="{one["long"]}", severity="{one["severity"]}"}}', "value": 1} for one in alive]
    test = {
        "rule_files": [str(rules)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": 'http_requests_total{job="api",code="500"}', "values": "0+60x400"}],
                "promql_expr_test": [
                    {"expr": 'count by (long, severity) (ALERTS{alertstate="firing"})', "eval_time": "5h", "exp_samples": expected}
                ],
            }
        ],
    }
    (tmp_path / "tests.yaml").write_text(json.dumps(test), encoding="utf-8")

    ran = subprocess.run(["promtool", "test", "rules", str(tmp_path / "tests.yaml")], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(dead) == {"0.90": 1, "0.80": 2}[target]
