"""Wrong rule files: every mutant is a rule file that Prometheus would load, and the generated tests notice nearly all of them."""

import importlib.util
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from mlops_obs.slo.equivalent_mutants import equivalent
from mlops_obs.slo.mutants import mutants, without_annotations
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.spec import SLO

ROOT = Path(__file__).parents[2]
SLO_A = SLO(
    service="shop",
    team="web",
    name="a",
    objective="0.99",
    indicator={"type": "availability"},
    group_by=["revision"],
    tiers=[{"name": "fast", "severity": "page", "share": "0.02", "long": "1h", "short": "5m", "hold": "2m"}],
)
RULES = without_annotations(render_rules([SLO_A]))


def test_a_mutant_differs_in_exactly_one_rule():
    original = yaml.safe_load(RULES)["groups"]

    for one in mutants(RULES)[::11]:
        changed = yaml.safe_load(one.apply(RULES))["groups"]
        pairs = [(a, b) for a, b in zip(original, changed, strict=True) if a != b]
        assert len(pairs) == 1, one.where
        before, after = pairs[0][0]["rules"], pairs[0][1]["rules"] or []
        assert sum(rule not in after for rule in before) == 1, one.where
        assert sum(rule not in before for rule in after) == (one.kind != "rule"), one.where


def test_factors_windows_labels_operators_and_holds_are_all_changed():
    kinds = Counter(one.kind for one in mutants(RULES))

    assert set(kinds) == {"number", "window", "matcher", "grouping", "operator", "function", "metric", "condition", "label", "for", "rule"}
    assert {one.after for one in mutants(RULES) if one.kind == "for" and one.rule == "AvailabilityBudgetBurn fast"} == {"4m", "1m", "0s"}
    assert {"0.1584", "0.1296"} <= {one.after for one in mutants(RULES) if one.before == "0.144"}


def test_prose_is_not_mutated():
    text = render_rules([SLO_A])

    assert all("annotations" not in one.before and "burns its" not in one.before for one in mutants(text))
    assert len(mutants(text)) == len(mutants(RULES))


def test_every_mutant_is_a_rule_file_that_prometheus_loads(promtool, tmp_path):
    files = []
    for number, one in enumerate(mutants(RULES)[::7]):
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(one.apply(RULES))

    code, output = promtool("check", "rules", "--lint=none", *files)

    assert code == 0, output[-2000:]


def test_a_comparison_of_two_scalars_keeps_its_bool_as_prometheus_loads_no_other():
    berlin = SLO_A.model_copy(update={"period": "month", "time_zone": "Europe/Berlin", "replan": True, "tiers": None})

    dropped = [one for one in mutants(render_rules([berlin])) if one.kind == "operator" and one.before == "bool"]

    assert not [one for one in dropped if one.rule == "slo:zone_offset:seconds"]


def test_equivalents_are_few_and_each_has_its_reason():
    told = [(one, equivalent(one)) for one in mutants(RULES)]
    same = [(one, reason) for one, reason in told if reason]

    assert 0 < len(same) < 0.2 * len(told)
    assert all(len(reason) > 20 for _, reason in same)
    assert {one.kind for one, _ in same} <= {"matcher", "label", "function", "operator", "number", "window", "condition"}
    assert not [one for one, _ in same if one.kind == "label" and one.after], "a wrong value of a label is never the same"


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("mutation", ROOT / "scripts" / "mutation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutation"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_a_sample_of_mutants_is_killed_by_the_generated_tests(harness, capsys, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["mutation", str(ROOT / "slo" / "credit-risk.yaml"), "--sample", "30", "--slo", "freshness", "--seed", "4"]
    )

    code = harness.main()

    table = capsys.readouterr().out
    score = float(re.search(r"^all .* ([\d.]+)%$", table, re.MULTILINE)[1])
    assert score >= 90, table  # of 30; `make mutation` asks for 95 % of many more
    assert code == (0 if score >= 95 else 1)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus")
def test_the_harness_sees_what_survives_a_test_that_looks_at_nothing(harness, tmp_path):
    tests = 'rule_files: ["rules.yaml"]\ntests:\n  - name: "nothing"\n    interval: 1m\n    input_series: []\n    promql_expr_test:\n'
    blind = tests + '      - expr: "ALERTS{slo=\\"a\\"}"\n        eval_time: 1m\n        exp_samples: []\n'
    subject = harness.Subject(SLO_A, RULES, [blind])
    chosen = [one for one in mutants(RULES) if one.kind == "number"][:3]

    killed, survived = harness._try(tmp_path / "work", subject, chosen)

    assert (killed, survived) == ([], chosen)
