"""OpenSLO v1 in and out."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.adapters.files import load_slos
from mlops_obs.adapters.yaml_documents import parse_documents
from mlops_obs.slo.foreign.carry import Options, carry
from mlops_obs.slo.foreign.openslo_export import openslo_documents, openslo_losses, render_openslo
from mlops_obs.slo.foreign.yaml_writer import document
from mlops_obs.slo.indicators import source
from mlops_obs.slo.spec import SLO, SpecErrors
from mlops_obs.slo.spec_document import parse_slos
from mlops_obs.slo.tiers import plan_tiers
from tests.slo.foreign_documents import OPENSLO, PYRRA, SLOTH, SLOTH_RESOURCE, condition, openslo, query

EVERY = load_slos(Path(__file__).parent / "every_indicator.yaml", replan=True)
COUNTERS = {"metadata": {"name": "i"}, "spec": {"ratioMetric": {"counter": True, "bad": query("bad_total"), "total": query("all_total")}}}


def imported(*documents, tool="openslo"):
    carried, losses = carry(tool, [(one, str) for one in documents], Options())
    slos = [slo for one in carried for slo in parse_slos(parse_documents(document(one.body), "spec")[0].value)]
    return slos, losses


def there_and_back(slos, **options):
    (*found,) = (one.value for one in parse_documents(render_openslo(slos, **options), "openslo"))
    back, losses = imported(*found)
    return back, losses


def slo_with(**spec):
    usual = {
        "service": "cart",
        "indicator": COUNTERS,
        "timeWindow": [{"duration": "30d", "isRolling": True}],
        "budgetingMethod": "Occurrences",
        "objectives": [{"target": Decimal("0.99")}],
    }
    return openslo("SLO", "cart-a", usual | spec, labels={"team": "web"})


def by_ref(slos):
    return sorted(slos, key=lambda slo: slo.ref)


@pytest.mark.parametrize("two_conditions", [False, True], ids=["one condition", "two conditions"])
def test_every_kind_of_slo_comes_back_as_it_was(two_conditions):
    back, losses = there_and_back(EVERY, two_conditions=two_conditions)

    assert not losses
    for before, after in zip(by_ref(EVERY), by_ref(back), strict=True):
        assert plan_tiers(before) == plan_tiers(after)
        assert source(before) == source(after)
        usual = {"tiers": None, "severities": (), "period": "30d", "replan": False}  # stretched tiers are written down, 4w as 28d
        assert before.model_copy(update=usual) == after.model_copy(update=usual)
        assert before.period_seconds == after.period_seconds


@pytest.mark.parametrize(("tool", "documents"), [("sloth", [SLOTH]), ("sloth", [SLOTH_RESOURCE]), ("pyrra", PYRRA), ("openslo", OPENSLO)])
def test_import_export_import_is_a_fixed_point(tool, documents):
    once, _ = imported(*documents, tool=tool)

    twice, losses = there_and_back(once)

    assert by_ref(twice) == by_ref(once)
    assert not losses


percentages = st.decimals(min_value=50, max_value="99.999", places=3)
names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=80)
labels = st.dictionaries(st.from_regex(r"[a-z]{1,8}[A-Z_]?", fullmatch=True), texts.filter(str.strip), max_size=3)
queries = st.sampled_from(
    [
        {"events": {"error_query": "sum(rate(bad_total[{{.window}}]))", "total_query": "sum(rate(all_total[{{.window}}]))"}},
        {"events": {"error_query": "sum(increase(a{b='c'}[{{.window}}])) or vector(0)", "total_query": "sum(increase(d[{{.window}}]))"}},
        {"events": {"error_query": "sum(rate(h_count[{{.window}}])) - sum(rate(h_bucket{le='0.3'}[{{.window}}]))",
                    "total_query": "sum(rate(h_count[{{.window}}]))"}},
        {"raw": {"error_ratio_query": "  1 - avg(up_ratio[{{.window}}])\n\n"}},
    ]
)  # fmt: skip


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_sloth_spec_comes_back_from_openslo_as_it_was_imported(data):
    alerts = {f"{kind}_alert": {"disable": data.draw(st.booleans())} for kind in ("page", "ticket")}
    slo = {
        "name": data.draw(names.filter(lambda name: len(name) > 1)),
        "objective": data.draw(percentages),
        "description": data.draw(texts),
        "labels": data.draw(labels),
        "sli": data.draw(queries),
        "alerting": {"name": "A", "labels": data.draw(labels), **alerts},
    }
    spec = {"version": "prometheus/v1", "service": data.draw(names.filter(lambda name: len(name) > 1)), "slos": [slo]}
    carried, _ = carry("sloth", [(spec, str)], Options(period=data.draw(st.sampled_from(["30d", "28d"]))))
    once = [one for body in carried for one in parse_slos(parse_documents(document(body.body), "spec")[0].value)]

    twice, losses = there_and_back(once)

    assert twice == once
    assert not losses


def test_an_exported_document_keeps_the_rules_of_the_standard():
    for one in openslo_documents(EVERY):
        assert one["apiVersion"] == "openslo/v1"
        assert len(one["metadata"]["name"]) <= 63
        if one["kind"] == "AlertPolicy":
            assert len(one["spec"]["conditions"]) == 1, "v1 allows one"
            assert one["spec"]["notificationTargets"]
        if one["kind"] == "SLO":
            (window,), (objective,) = one["spec"]["timeWindow"], one["spec"]["objectives"]
            assert window["isRolling"] != ("calendar" in window)
            assert 0 <= objective["target"] < 1
            assert ("timeSliceWindow" in objective) == (one["spec"]["budgetingMethod"] != "Occurrences")
            assert ("timeSliceTarget" in objective) == (one["spec"]["budgetingMethod"] == "Timeslices")


def test_labels_and_annotations_have_names_that_the_standard_takes():
    slo = SLO(service="s", team="t", name="n", objective="0.99", indicator={"type": "availability"}, labels={"Tier_": "1", "area": "eu"})

    (one,) = (one["metadata"] for one in openslo_documents([slo]) if one["kind"] == "SLO")

    assert one["labels"] == {"team": "t", "area": "eu"}
    assert one["annotations"]["mlops-obs/labels"] == '{"Tier_": "1"}'
    assert all(re.fullmatch(r"[a-z-]+/[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?", key) for key in one["annotations"])
    assert there_and_back([slo])[0] == [slo]


def test_what_other_tools_will_not_understand_is_listed_for_each_slo():
    losses = openslo_losses(EVERY)

    assert {loss.slo for loss in losses} == {slo.ref for slo in EVERY}
    assert {"tiers", "indicator", "group_by", "budget_policy", "upstream", "budgeting"} >= {loss.field for loss in losses}


def test_long_names_stay_unique():
    names = [f"{'a' * 40}-{end}" for end in ("x", "y")]
    slos = [SLO(service="s" * 40, team="web", name=name, objective="0.99", indicator={"type": "availability"}) for name in names]

    objects = [one["metadata"]["name"] for one in openslo_documents(slos) if one["kind"] in ("SLO", "AlertPolicy")]

    assert len(set(objects)) == len(objects)
    assert [slo.name for slo in there_and_back(slos)[0]] == names


def test_edits_of_another_tool_count_more_than_annotations():
    slo = SLO(service="cart", team="web", name="a", objective="0.99", indicator={"type": "availability"}, description="x" * 2_000)
    documents = openslo_documents([slo])
    spec = next(one["spec"] for one in documents if one["kind"] == "SLO")
    spec["indicator"]["spec"]["ratioMetric"]["bad"] = query("my_errors_total")
    spec["description"] = "New words."

    (back,), losses = imported(*documents)

    assert (back.indicator.bad, back.description) == ("my_errors_total", "New words.")
    assert {loss.field.rpartition("/")[2] for loss in losses} == {"indicator", "description"}


def test_policies_are_alternatives_and_conditions_of_one_hold_together():
    both = openslo("AlertPolicy", "both", {"conditions": [condition("a", "1h", 10), condition("b", "5m", 10)], "notificationTargets": []})
    alone = {"kind": "AlertPolicy", "metadata": {"name": "alone"}, "spec": {"conditions": [condition("c", "1d", 2, "low")]}}

    (slo,), losses = imported(slo_with(alertPolicies=["both", alone]), both)

    assert [(tier.name, tier.severity, tier.factor, tier.long, tier.short, tier.hold) for tier in plan_tiers(slo)] == [
        ("both", "page", 10, 3_600, 300, 120),
        ("alone", "ticket", 2, 86_400, 7_200, 120),
    ]
    assert any("a short window of 2h is added" in loss.what for loss in losses)


def test_a_policy_pages_if_one_of_its_conditions_does_and_the_higher_threshold_counts():
    conditions = [condition("a", "2h", 8, "ticket"), condition("b", "10m", 9, "critical"), condition("c", "1h", 8, "ticket")]
    policy = {"kind": "AlertPolicy", "metadata": {"name": "mixed"}, "spec": {"conditions": conditions}}

    (slo,), losses = imported(slo_with(alertPolicies=[policy]))

    (tier,) = plan_tiers(slo)
    assert (tier.severity, tier.factor, tier.long, tier.short) == ("page", 9, 7_200, 600)
    assert sum("conditions" in loss.field for loss in losses) == 2


@pytest.mark.parametrize(
    ("window", "period", "zone", "listed"),
    [
        ({"duration": "4w", "isRolling": True}, "28d", "UTC", False),
        ({"duration": "1Q", "isRolling": True}, "90d", "UTC", True),
        ({"duration": "1M", "calendar": {"startTime": "2024-02-01 00:00:00", "timeZone": "Asia/Kolkata"}}, "month", "Asia/Kolkata", False),
        ({"duration": "1w", "calendar": {"startTime": "2024-01-03 00:00:00", "timeZone": "UTC"}}, "week", "UTC", True),
        ({"duration": "1Q", "calendar": {"startTime": "2024-04-01 00:00:00", "timeZone": "Etc/UTC"}}, "quarter", "UTC", False),
        ({"duration": "1Y", "calendar": {"startTime": "2024-01-01 00:00:00", "timeZone": "UTC"}}, "365d", "UTC", True),
    ],
)
def test_time_windows_roll_or_follow_the_calendar(window, period, zone, listed):
    (slo,), losses = imported(slo_with(timeWindow=[window]))

    assert (slo.period, slo.time_zone) == (period, zone)
    assert any("timeWindow" in loss.field for loss in losses) == listed


@pytest.mark.parametrize(
    ("ratio", "indicator"),
    [
        ({"counter": True, "good": query("sum(ok_total)"), "total": query("all_total")}, ("availability", "all_total", None, "ok_total")),
        ({"bad": query("sum(rate(e[{{.window}}]))"), "total": query("sum(rate(t[{{.window}}]))")}, ("availability", "t", "e", None)),
        (
            {"good": query("g(rate(e[5m]))"), "total": query("g(rate(t[5m]))")},
            ("ratio", "g(rate(t[{{.window}}]))", "(g(rate(t[{{.window}}]))) - (g(rate(e[{{.window}}])))", None),
        ),
        ({"rawType": "failure", "raw": query("my_ratio")}, ("ratio", None, None, None)),
    ],
)
def test_queries_become_counters_where_they_count(ratio, indicator):
    (slo,), _ = imported(slo_with(indicator={"metadata": {"name": "i"}, "spec": {"ratioMetric": ratio}}))

    one = slo.indicator
    assert (one.type, one.total, one.bad, one.good) == indicator
    assert one.ratio in (None, "avg_over_time(my_ratio[{{.window}}])")


def test_a_success_ratio_is_turned_round():
    raw = {"rawType": "success", "raw": query("avg(avg_over_time(ok[5m]))")}

    (slo,), _ = imported(slo_with(indicator={"metadata": {"name": "i"}, "spec": {"ratioMetric": raw}}))

    assert slo.indicator.ratio == "1 - (avg(avg_over_time(ok[{{.window}}])))"


def test_a_threshold_is_one_measurement_a_minute():
    spec = {"thresholdMetric": query("max(age)")}

    (slo,), losses = imported(
        slo_with(indicator={"metadata": {"name": "i"}, "spec": spec}, objectives=[{"op": "lte", "value": 60, "target": Decimal("0.9")}])
    )

    assert slo.indicator.total == "sum(count_over_time((max(age))[{{.window}}:1m]))"
    assert "(max(age)) <= bool 60" in slo.indicator.bad
    assert any("one measurement a minute" in loss.what for loss in losses)


def test_several_objectives_are_several_slos():
    slos, losses = imported(slo_with(objectives=[{"target": Decimal("0.9")}, {"targetPercent": Decimal("99.5")}]))

    assert [(slo.name, slo.objective) for slo in slos] == [("cart-a", Decimal("0.9")), ("cart-a-2", Decimal("0.995"))]
    assert any("each objective" in loss.what for loss in losses)


def test_queries_of_other_databases_are_left_out():
    metric = {"metricSource": {"type": "Datadog", "spec": {"query": "sum:hits{*}"}}}
    ratio = {"counter": True, "good": metric, "total": metric}

    slos, losses = imported(slo_with(indicator={"metadata": {"name": "i"}, "spec": {"ratioMetric": ratio}}), slo_with())

    assert len(slos) == 1
    assert any(loss.kind == "left out" and "Datadog" in loss.what for loss in losses)


@pytest.mark.parametrize(
    ("document_", "said"),
    [
        ({"apiVersion": "openslo/v1alpha", "kind": "SLO"}, "is not an object of OpenSLO v1"),
        (slo_with(indicator=None, indicatorRef="gone"), "SLI 'gone' is in none of the documents"),
        (slo_with(alertPolicies=[{"alertPolicyRef": "gone"}]), "AlertPolicy 'gone' is in none"),
        (slo_with(objectives=[]), "objectives is missing or empty"),
        (slo_with(objectives=[{}]), "one of target and targetPercent"),
        (slo_with(budgetingMethod="Sometimes"), "is none of OpenSLO's"),
        (slo_with(budgetingMethod="Timeslices"), "timeSliceTarget is missing"),
        (slo_with(timeWindow=[{"duration": "30 days", "isRolling": True}]), "is no duration of OpenSLO"),
        (slo_with(indicator={"spec": {}}), "one of ratioMetric and thresholdMetric"),
        (slo_with(alertPolicies=5), "alertPolicies is not a list"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(document_, said):
    with pytest.raises(SpecErrors, match=said):
        imported(document_)
