"""The generated promtool tests: what they tell, that their arithmetic is the Python engine's, and that the rules pass them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from mlops_obs.adapters.files import load_slos
from mlops_obs.slo.expectations import expectations
from mlops_obs.slo.rule_tests import render_test_files
from mlops_obs.slo.rules.prometheus_rules import render_rules
from mlops_obs.slo.scenarios import RecordedCounters, absent_at, histories, told
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.stories import stories
from mlops_obs.slo.story_counts import firing
from mlops_obs.slo.tiers import plan_tiers
from mlops_obs.slo.verdict import firing_alerts

ROOT = Path(__file__).parents[2]
EVERY = {slo.name: slo for slo in load_slos(Path(__file__).with_name("every_indicator.yaml"))}
SLO_A = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, group_by=["revision"])
NINE = (
    "healthy traffic",
    "a total outage fires",
    "a slow burn",
    "its recovery ends it",
    "an idle service",
    "telemetry that is gone",
    "a handful of failures",
    "just enough evidence",
    "a counter reset",
)


def told_of(slo: SLO) -> list[str]:
    return [one.name for one in stories(slo, plan_tiers(slo), list(EVERY.values()))]


@pytest.mark.parametrize(
    "name", ["availability", "orders", "payments", "latency", "gateway-latency", "freshness", "drift", "training", "expressions"]
)
def test_all_nine_stories_are_told_of_every_kind_of_counter(name):
    found = told_of(EVERY[name])

    assert [word for word in NINE if not any(word in one for one in found)] == []


@pytest.mark.parametrize("name", ["probe", "slices", "quality", "journey", "own-tiers"])
def test_other_kinds_have_their_own_stories(name):
    found = told_of(EVERY[name])

    assert any("healthy" in one for one in found)
    assert len(found) >= 8


def test_no_story_is_told_of_groups_that_the_counters_do_not_have():
    counters = {"total": 'h_total{handler=~"/api/.*"}', "bad": 'h_total{handler=~"/api/.*",code=~"5.."}'}
    free = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability", **counters})

    assert told_of(free)
    assert told_of(free.model_copy(update={"group_by": ("handler",)})) == []


@pytest.mark.parametrize("name", ["native-latency", "raw-ratio"])
def test_what_promtool_cannot_be_told_has_no_story_and_no_false_one(name):
    assert told_of(EVERY[name]) == []


@pytest.mark.parametrize("objective", ["0.5", "0.9", "0.99", "0.99999"])
def test_a_total_outage_fires_every_tier_that_can_within_hours_and_healthy_traffic_none(objective):
    slo = SLO_A.model_copy(update={"objective": type(SLO_A.objective)(objective), "replan": True})
    tiers = plan_tiers(slo)
    found = {one.scenario.name.split(" ", 2)[1]: one for one in expectations(slo, tiers) if one.scenario.step == 1}

    outage = {tier for _, fires in found["total"].firing for tier, _ in fires}

    assert {tier.name for tier in tiers if tier.seconds_to_fire < 3_600} <= outage
    assert [fires for _, fires in found["traffic"].firing] == [()]


@pytest.mark.parametrize("name", ["availability", "orders", "payments", "latency", "freshness", "training", "probe", "slices", "own-tiers"])
def test_the_arithmetic_of_the_stories_is_that_of_the_python_engine(name):
    slo = EVERY[name]
    tiers = plan_tiers(slo)
    judged = 0
    for story in (one for one in stories(slo, tiers) if one.step == 1 and one.length < 60 and not one.given):
        ledger = told(slo, story)
        source = RecordedCounters(histories(slo, story))
        gone = absent_at(slo, ledger)
        for minute in story.judged_at:
            if gone is not None and minute == gone - 1:
                continue  # without Prometheus' mark for the end of a series, it ended one sample earlier
            expected = {(tier, group) for tier, group in firing(ledger, tiers, minute)}
            if gone is not None and minute >= gone:
                expected.add(("absent", ""))
            found = firing_alerts([slo], source, minute * 60.0)
            groups = {(one.labels["tier"], "".join(one.labels.get(label, "") for label in slo.group_by)) for one in found}

            assert groups == expected, (story.name, minute)
            judged += 1

    assert judged > 10


def test_slos_that_count_the_same_series_are_told_in_separate_cases():
    strict = SLO_A.model_copy(update={"name": "strict"})
    elsewhere = SLO_A.model_copy(update={"name": "elsewhere", "indicator": SLO_A.indicator.model_copy(update={"stage": "serve"})})

    text = render_test_files([SLO_A, strict, elsewhere], ["rules.yaml"])["shop-tests.yaml"]

    cases = [case for case in yaml.safe_load(text)["tests"] if case["name"] == "healthy traffic stays silent"]
    together = [sorted({name for name in ("a", "strict", "elsewhere") if f'slo="{name}"' in str(case)}) for case in cases]
    assert together == [["a", "elsewhere"], ["strict"]]


def test_the_same_specs_give_the_same_bytes_and_names_never_leak_between_slos():
    slos = load_slos(ROOT / "slo" / "credit-risk.yaml")
    other = SLO_A.model_copy(update={"service": "somebody", "team": "nobody"})

    first = render_test_files(slos, ["x"])
    render_test_files([other], ["x"])
    text = "".join(render_test_files([SLO_A], ["x"]).values())

    assert render_test_files(load_slos(ROOT / "slo" / "credit-risk.yaml"), ["x"]) == first
    assert "somebody" not in text
    assert "nobody" not in text
    assert "¤" not in text + "".join(first.values())


def test_decoys_differ_in_one_label_and_are_not_counted():
    text = render_test_files([SLO_A], ["x"])["shop-tests.yaml"]

    case = next(one for one in yaml.safe_load(text)["tests"] if "after minutes" in one["name"])
    series = [one["series"] for one in case["input_series"]]
    raw = [one for one in series if one.startswith("mlops_obs_requests_total")]
    assert sum('service="elsewhere"' in one for one in raw) == 2
    assert sum('stage="elsewhere"' in one for one in raw) == 2
    assert 'slo:events_bad:increase5m{service="elsewhere", slo="a", team="web"}' in series
    assert 'slo:events_bad:increase5m{service="shop", slo="elsewhere", team="web"}' in series


def test_the_committed_rules_pass_their_committed_tests(promtool):
    files = sorted((ROOT / "slo" / "tests").glob("credit-risk-tests*.yaml"))

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda file: promtool("test", "rules", file), files))

    assert len(files) == 3
    assert [output[-3000:] for code, output in done if code != 0] == []


@pytest.mark.parametrize("name", ["quality", "slices", "probe"])
def test_rules_of_other_kinds_pass_the_tests_generated_with_them(promtool, tmp_path, name):
    (tmp_path / "rules.yaml").write_text(render_rules([EVERY[name]]))
    for file, text in render_test_files([EVERY[name]], ["rules.yaml"]).items():
        (tmp_path / file).write_text(text)

    code, output = promtool("test", "rules", tmp_path / "shop-tests.yaml")

    assert code == 0, output[-3000:]
