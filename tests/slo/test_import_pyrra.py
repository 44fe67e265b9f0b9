"""Pyrra's documents as specs of ours."""

from decimal import Decimal

import pytest

from mlops_obs.slo.foreign.carry import Options, carry
from mlops_obs.slo.indicators import Counters, NativeHistogram, source
from mlops_obs.slo.spec import SpecErrors
from mlops_obs.slo.spec_document import parse_slos
from mlops_obs.slo.tiers import plan_tiers
from tests.slo.foreign_documents import PYRRA, pyrra

ERRORS = {"ratio": {"errors": {"metric": "bad_total"}, "total": {"metric": "all_total"}}}


def imported(*documents, **options):
    carried, losses = carry("pyrra", [(document, str) for document in documents], Options(**options))
    return [slo for one in carried for slo in parse_slos(one.body)], losses


def test_its_four_alerts_become_tiers_with_its_factors_windows_and_for():
    (slo,), _ = imported(pyrra("a", ERRORS))

    assert [(tier.severity, tier.factor, tier.long, tier.short, tier.hold) for tier in plan_tiers(slo)] == [
        ("page", 14, 3_600, 300, 120),
        ("page", 7, 21_600, 1_800, 900),
        ("ticket", 2, 86_400, 7_200, 3_600),
        ("ticket", 1, 345_600, 21_600, 10_800),
    ]


def test_windows_scale_with_the_period_to_the_minute_and_are_moved_to_the_grid():
    (slo,), losses = imported(pyrra("a", ERRORS, window="7d"))

    assert [(tier.long // 60, tier.short // 60, tier.hold // 60) for tier in plan_tiers(slo)] == [
        (15, 5, 1),
        (90, 8, 4),
        (360, 30, 15),
        (1_440, 90, 45),
    ]
    assert [loss.what for loss in losses if "alert page-quick" in loss.what] == ["alert page-quick: short 1m is 5m now"]


def test_alerts_that_could_never_fire_there_fire_here():
    (slo,), losses = imported(pyrra("a", ERRORS, target="90"))

    assert all(tier.threshold < 1 for tier in plan_tiers(slo))
    assert any("needs an error ratio of 1.4" in loss.what for loss in losses)


def test_every_indicator_has_its_counterpart():
    slos, _ = imported(*PYRRA, team="web")

    errors, latency, native, probe, either = slos
    assert isinstance(source(errors), Counters)
    assert errors.group_by == ("handler",)
    assert (latency.indicator.histogram, latency.indicator.buckets) == ("orders_seconds", (Decimal(1),))
    assert source(native) == NativeHistogram(source(native).selector, Decimal("0.25"))
    assert (probe.indicator.type, probe.indicator.metric) == ("boolean", 'probe_success{job="blackbox"}')
    assert either.indicator.bad == "sum(increase(failed_total[{{.window}}]))"
    assert "done_total" in either.indicator.total


def test_the_classic_histogram_of_a_latency_that_is_asked_apart_from_the_native_one_is_found():
    total, good = {"metric": 'x_seconds_count{le=""}'}, {"metric": 'x_seconds_bucket{le=~"1|1.0"}'}

    (slo,), _ = imported(pyrra("a", {"latency": {"total": total, "success": good}}))

    assert (slo.indicator.type, slo.indicator.histogram, slo.indicator.threshold) == ("latency", "x_seconds", "1s")


def test_service_and_team_come_from_labels_the_namespace_or_the_command_line():
    (slo,), losses = imported(pyrra("a", ERRORS))
    (other,), none = imported(pyrra("a", ERRORS), service="cart", team="ops")

    assert (slo.service, slo.team) == ("shop", "web")
    assert (other.service, other.team) == ("cart", "ops")
    assert any(loss.kind == "assumed" and "--service" in loss.what for loss in losses)
    assert not any(loss.kind == "assumed" for loss in none)


def test_labels_with_its_prefix_are_those_of_the_series():
    document = pyrra("a", ERRORS)
    document["metadata"]["labels"] |= {"pyrra.dev/area": "eu", "pyrra.dev/cost-centre": "7"}

    (slo,), losses = imported(document)

    assert slo.labels == {"namespace": "shop", "area": "eu", "cost_centre": "7"}
    assert {loss.kind for loss in losses if "prometheus" in loss.field} == {"dropped"}


def test_severities_of_its_own_choose_page_or_ticket_and_alerts_that_are_off_become_tickets():
    (sev1,), losses = imported(pyrra("a", ERRORS, severities={"fastBurn": "sev1", "mediumBurn": "info"}))
    (off,), _ = imported(pyrra("a", ERRORS, disabled=True))

    assert [tier.severity for tier in plan_tiers(sev1)] == ["page", "ticket", "ticket", "ticket"]
    assert {loss.what for loss in losses if "severities" in loss.field} == {"severity sev1 is page now", "severity info is ticket now"}
    assert off.severities == ("ticket",)


def test_a_list_of_objectives_is_read():
    items = {"apiVersion": "pyrra.dev/v1alpha1", "kind": "ServiceLevelObjectiveList", "items": PYRRA[:2]}

    slos, _ = imported(items)

    assert [slo.name for slo in slos] == ["orders-errors", "orders-latency"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "is not a Pyrra document"),
        (pyrra("a", {}), "indicator needs one of ratio"),
        (pyrra("a", ERRORS, target="x"), "'x' is not a number"),
        (pyrra("a", ERRORS, target="100"), "100 is not a percentage"),
        (pyrra("a", ERRORS, window="4 weeks"), "is not a duration"),
        (pyrra("a", {"bool_gauge": {"metric": "sum(x)"}}), "is not a selector of one metric"),
        (pyrra("a", {"ratio": {"errors": {"metric": "x"}}}), "ratio needs two of errors, success and total"),
        (pyrra("", ERRORS), "name is empty"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(document, said):
    with pytest.raises(SpecErrors, match=said):
        imported(document)
