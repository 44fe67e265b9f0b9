"""Sloth: its own rules to the letter, and its specs as specs of ours."""

from decimal import Decimal
from pathlib import Path

import pytest

from mlops_obs.adapters.promql import tree
from mlops_obs.adapters.yaml_documents import parse_documents
from mlops_obs.slo.foreign.carry import Options, carry, carry_rules
from mlops_obs.slo.foreign.sloth_rules import go_float
from mlops_obs.slo.spec import SpecErrors
from mlops_obs.slo.spec_document import parse_slos
from mlops_obs.slo.tiers import plan_tiers
from tests.slo.foreign_documents import SLOTH, SLOTH_RESOURCE, WINDOWS

GOLDEN = Path(__file__).parent / "golden_sloth_rules.yaml"


def rules(document, period="30d", **options):
    text, _ = carry_rules([(document, str)], Options(period=period, catalogues=options.pop("catalogues", ())), **options)
    (found,) = parse_documents(text, "rules")
    return {group["name"]: group["rules"] for group in found.value["groups"]}


def all_rules(document, **options):
    return [rule for group in rules(document, **options).values() for rule in group]


def expressions(document, **options):
    return {rule.get("record") or rule["alert"]: rule["expr"] for rule in all_rules(document, **options)}


def imported(document, **options):
    carried, losses = carry("sloth", [(document, str)], Options(**options))
    return [slo for one in carried for slo in parse_slos(one.body)], losses


def only(index, **changes):
    return {**SLOTH, "slos": [{**SLOTH["slos"][index], **changes}]}


def test_the_rules_are_those_that_sloth_makes():
    (golden,) = parse_documents(GOLDEN.read_text(), "golden")
    expected = {group["name"]: group["rules"] for group in golden.value["groups"]}

    found = rules(only(0))

    assert list(found) == list(expected)
    for name, group in expected.items():
        for one, other in zip(found[name], group, strict=True):
            assert one.keys() == other.keys()
            assert {key: one[key] for key in one if key != "expr"} == {key: other[key] for key in other if key != "expr"}
            assert one["expr"].split() == other["expr"].split()
            assert tree(one["expr"]) == tree(other["expr"])


@pytest.mark.parametrize(
    ("objective", "ratio", "budget"),
    [
        (Decimal("99.9"), "0.9990000000000001", "0.0009999999999999432"),
        (Decimal("99.99"), "0.9998999999999999", "0.00010000000000005117"),
        (Decimal("99.5"), "0.995", "0.005"),
        (95, "0.95", "0.05"),
        (90, "0.9", "0.1"),
        (100, "1", "0"),
        (Decimal("99.999"), "0.9999899999999999", "1.0000000000047748e-05"),
    ],
)
def test_numbers_have_the_digits_that_go_prints(objective, ratio, budget):
    found = expressions(only(0, objective=objective))

    assert found["slo:objective:ratio"] == f"vector({ratio})"
    assert found["slo:error_budget:ratio"] == f"vector(1-{ratio})"
    assert f"> (1 * {budget}))" in found["CheckoutErrors"]


@pytest.mark.parametrize(("value", "text"), [(14.4, "14.4"), (6.0, "6"), (5.6000000000000005, "5.6000000000000005"), (1e-05, "1e-05")])
def test_a_float_is_written_as_go_writes_it(value, text):
    assert go_float(value) == text


def test_28_days_are_four_weeks_with_factors_of_their_own():
    found = expressions(only(0, alerting={**SLOTH["slos"][0]["alerting"], "page_alert": {"disable": True}}), period="28d")

    assert found["slo:time_period:days"] == "vector(28)"
    assert "slo:sli_error:ratio_rate4w" in found
    assert "> (2.8000000000000003 * " in found["CheckoutErrors"]
    assert "> (0.9333333333333333 * " in found["CheckoutErrors"]
    assert "ratio_rate4w{" in found["slo:period_burn_rate:ratio"]


def test_every_window_has_a_recording_shortest_first_and_the_period_last():
    names = [rule["record"] for rule in rules(only(0))["sloth-slo-sli-recordings-checkout-requests"]]

    assert names == [f"slo:sli_error:ratio_rate{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")]


def test_prometheus_takes_the_rules(promtool, tmp_path):
    text, _ = carry_rules([(SLOTH, str), (SLOTH_RESOURCE, str)], Options())
    (tmp_path / "rules.yaml").write_text(text)

    code, output = promtool("check", "rules", tmp_path / "rules.yaml")

    assert code == 0, output
    assert "65 rules found" in output, "17 + 16 + 15 of the spec, 17 of the resource"


def test_an_idle_service_has_no_nan_if_it_is_asked_for():
    found = expressions(only(0), guard_idle=True)

    assert found["slo:sli_error:ratio_rate5m"].split("\n/\n")[1].strip().startswith("((sum(rate(http_requests_total{")
    assert "[5m]))) > 0)" in found["slo:sli_error:ratio_rate5m"]


def test_a_raw_ratio_stands_in_brackets_and_without_alerts_there_is_no_group_of_them():
    found = rules(only(2))

    assert list(found) == ["sloth-slo-sli-recordings-checkout-satisfaction", "sloth-slo-meta-recordings-checkout-satisfaction"]
    assert found["sloth-slo-sli-recordings-checkout-satisfaction"][0]["expr"].split() == (
        ["(1", "-", "avg(avg_over_time(satisfaction_ratio[5m]))", ")"]
    )


def test_of_equal_labels_the_later_one_counts():
    document = {**only(0, labels={"owner": "web"}), "labels": {"owner": "shop", "sloth_slo": "mine"}}

    (rule, *_) = all_rules(document)

    assert (rule["labels"]["owner"], rule["labels"]["sloth_slo"]) == ("web", "mine")


def test_a_resource_makes_the_same_groups_and_says_how_it_was_made():
    found = rules(SLOTH_RESOURCE)
    info = next(rule for group in found.values() for rule in group if rule.get("record") == "sloth_slo_info")

    assert [name.rpartition("-")[2] for name in found] == ["orders"] * 3
    assert (info["labels"]["sloth_mode"], info["labels"]["sloth_spec"]) == ("cli-gen-k8s", "sloth.slok.dev/v1")


def test_windows_of_ones_own_are_used_and_an_unknown_period_is_refused():
    found = expressions(only(0), period="7d", catalogues=[(WINDOWS, str)])

    assert "> (13.44 * " in expressions(only(0, alerting={**SLOTH["slos"][0]["alerting"], "ticket_alert": {"disable": True}}),
                                        period="7d", catalogues=[(WINDOWS, str)])["CheckoutErrors"]  # fmt: skip
    assert "slo:sli_error:ratio_rate1w" in found
    with pytest.raises(SpecErrors, match="no alert windows for a period of 7d.*OBS-IMP-005"):
        rules(only(0), period="7d")


def test_queries_that_count_become_counters():
    slos, _ = imported(SLOTH)

    requests, latency, satisfaction = (slo.indicator for slo in slos)
    assert (requests.type, requests.total) == ("availability", 'http_requests_total{job="checkout"}')
    assert requests.bad == 'http_requests_total{job="checkout", code=~"5.."}'
    assert (latency.type, latency.histogram, latency.threshold, latency.buckets) == ("latency", "http_seconds", "400ms", (Decimal("0.4"),))
    assert (satisfaction.type, satisfaction.ratio) == ("ratio", "1 - avg(avg_over_time(satisfaction_ratio[{{.window}}]))")
    assert [slo.budgeting for slo in slos] == ["occurrences", "occurrences", "ratio_timeslices"]


def test_a_bucket_of_other_series_is_no_latency():
    error = 'sum(rate(h_count{a="1"}[{{.window}}])) - sum(rate(h_bucket{a="2", le="0.4"}[{{.window}}]))'
    sli = {"events": {"error_query": error, "total_query": 'sum(rate(h_count{a="1"}[{{.window}}]))'}}

    (slo,), _ = imported(only(0, sli=sli))

    assert (slo.indicator.type, slo.indicator.good) == ("availability", 'h_bucket{a="2", le="0.4"}')


def test_other_queries_stay_expressions_and_say_what_they_measure():
    sli = {"events": {"error_query": "sum(rate(a[{{.window}}])) * 2", "total_query": "sum(rate(b[{{.window}}]))"}}

    (slo,), _ = imported(only(0, sli=sli))

    assert (slo.indicator.type, slo.indicator.bad, slo.indicator.unit) == ("ratio", "sum(rate(a[{{.window}}])) * 2", "rate")


def test_the_30_day_windows_of_sloth_are_ours_and_the_28_day_ones_are_written_down():
    month, _ = imported(only(0))
    four_weeks, losses = imported(only(0), period="28d")

    assert month[0].tiers is None
    assert [float(tier.factor) for tier in plan_tiers(four_weeks[0])] == [13.44, 5.6, 2.8, 1]
    assert any("factor 0.9333 is 1 now" in loss.what for loss in losses)


def test_an_alert_that_could_never_fire_is_stretched_and_listed():
    slos, losses = imported(only(0, objective=90))

    assert slos[0].replan
    assert all(tier.threshold < 1 for tier in plan_tiers(slos[0]))
    assert any("can never fire" in loss.what and loss.field.endswith("objective") for loss in losses)


def test_labels_of_all_alerts_stay_and_those_of_one_severity_are_listed():
    (slo,), losses = imported(only(0))

    assert slo.labels == {"owner": "shop", "tier_of_service": "2", "path": "all", "category": "availability"}
    assert {loss.field for loss in losses if loss.kind == "dropped" and "labels" in loss.field} == {
        "slos.alerting.page_alert.labels.severity",
        "slos.alerting.ticket_alert.labels.severity",
    }
    assert slo.team == "shop", "the label owner says it"


def test_names_that_we_do_not_take_are_changed_and_told_apart():
    first, second = ({**SLOTH["slos"][0], "name": name} for name in ("Req.All", "req_all"))

    slos, losses = imported({**SLOTH, "slos": [first, second]})

    assert [slo.name for slo in slos] == ["req-all", "req-all-2"]
    assert sum(loss.field == "slos.name" for loss in losses) == 3


def test_an_slo_with_a_plugin_is_left_out_and_the_others_come():
    plugin = {**SLOTH["slos"][1], "sli": {"plugin": {"id": "sloth-common/http", "options": {}}}}

    slos, losses = imported({**SLOTH, "slos": [SLOTH["slos"][0], plugin]})

    assert [slo.name for slo in slos] == ["requests"]
    assert [loss.slo for loss in losses if loss.kind == "left out"] == ["latency"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": 101}, "objective 101 is not a percentage"),
        ({"objective": None}, "objective is missing"),
        ({"name": "-a"}, "'-a' is no name that Sloth takes"),
        ({"sli": {}}, "sli needs events or raw"),
        ({"sli": {"raw": {"error_ratio_query": "x"}}}, r"error_ratio_query has no {{\.window}}"),
        ({"sli": {"raw": {"error_ratio_query": "x[{{.window}}] {{.other}}"}}}, "uses a template other than"),
        ({"sli": {"events": {"error_query": "a[{{.window}}]", "total_query": "a[{{.window}}]"}}}, "is the same as total_query"),
        ({"alerting": {}}, "alerting has no name"),
        ({"alerting": {"name": "x", "page_alert": {"disable": "maybe"}}}, "disable is neither true nor false"),
        ({"labels": {"a": ["b"]}}, "a is not text"),
        ({"labels": {"__name__": "up"}}, "has __name__, which is no label name"),
    ],
)
def test_what_sloth_refuses_is_refused_with_what_to_write(changes, said):
    with pytest.raises(SpecErrors, match=said):
        imported(only(0, **changes))


def test_all_mistakes_are_told_at_once_with_their_lines():
    text = """version: prometheus/v1
service: a b
slos:
  - name: xx
    objective: 0
    sli: {raw: {error_ratio_query: 'x[{{.window}}]'}}
    alerting: {}
"""
    (document,) = parse_documents(text, "slos.yaml")

    with pytest.raises(SpecErrors) as caught:
        carry("sloth", [(document.value, document.locate)], Options())

    assert [error.where for error in caught.value.errors] == ["slos.yaml:2", "slos.yaml:5", "slos.yaml:7"]
