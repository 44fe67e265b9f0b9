"""Every alert can fire, none fires while the objective is met, and few failures among few requests are no proof of a burn."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.slo.spec import SLO, SpecErrors
from mlops_obs.slo.tiers import bound_is_on, burns, describe, least_bad_events, plan_all, plan_tiers, seconds_to_be_sure


def slo(objective: str, period: str = "30d", **more) -> SLO:
    indicator = more.pop("indicator", {"type": "availability"})
    return SLO(service="shop", team="web", name="a", objective=objective, period=period, indicator=indicator, **more)


objectives = st.decimals("0.01", "0.99999", places=5).map(str)
periods = st.integers(1, 90).map(lambda days: f"{days}d") | st.sampled_from(["1h", "90m", "6h", "366d", "week", "month", "quarter"])


def test_the_factors_are_those_of_the_workbook():
    found = {tier.name: (tier.factor, tier.long, tier.short) for tier in plan_tiers(slo("0.999"))}

    assert found == {
        "page-quick": (Decimal("14.4"), 3600, 300),
        "page-slow": (6, 21600, 1800),
        "ticket-quick": (3, 86400, 7200),
        "ticket-slow": (1, 259200, 21600),
    }


def test_a_longer_period_keeps_the_windows_and_raises_the_factors():
    found = [(tier.factor, tier.long, tier.share) for tier in plan_tiers(slo("0.999", "90d"))]

    assert found == [
        (Decimal("43.2"), 3600, Decimal("0.02")),
        (18, 21600, Decimal("0.05")),
        (9, 86400, Decimal("0.1")),
        (3, 259200, Decimal("0.1")),
    ]


def test_a_shorter_period_scales_the_windows_and_keeps_the_factors():
    week, day = plan_tiers(slo("0.999", "7d")), plan_tiers(slo("0.999", "1d"))

    assert [(tier.factor, tier.long // 60, tier.short // 60) for tier in week] == [
        (Decimal("14.4"), 15, 5),
        (6, 90, 10),
        (3, 330, 30),
        (1, 1020, 85),
    ]
    assert [tier.long // 60 for tier in day] == [15, 30, 60, 150], "no window is shorter than people can act in"
    assert plan_tiers(slo("0.999", "28d"))[3].factor == 1, "Sloth's 0.93 would alert although the objective is met"


@pytest.mark.parametrize(("calendar", "nominal"), [("week", "7d"), ("month", "30d"), ("quarter", "90d")])
def test_a_calendar_period_has_the_tiers_of_its_nominal_length(calendar, nominal):
    assert plan_tiers(slo("0.999", calendar)) == plan_tiers(slo("0.999", nominal))


def test_a_tier_that_can_never_fire_is_refused_with_its_remedy():
    with pytest.raises(SpecErrors, match=r"page-quick of SLO a can never fire: it needs an error ratio of 1\.44; .*replan.*OBS-SLO-010"):
        plan_tiers(slo("0.9"))


def test_every_dead_tier_of_every_slo_is_told():
    with pytest.raises(SpecErrors) as caught:
        plan_all([slo("0.5"), slo("0.9"), slo("0.99")])

    assert [error.what.split(" can")[0] for error in caught.value.errors] == [
        "alert tier page-quick of SLO a",
        "alert tier page-slow of SLO a",
        "alert tier ticket-quick of SLO a",
        "alert tier page-quick of SLO a",
    ]


def test_an_slo_for_tickets_only_is_not_refused_for_its_pages():
    assert [tier.name for tier in plan_tiers(slo("0.9", severities=["ticket"]))] == ["ticket-quick", "ticket-slow"]


@given(objectives, periods)
def test_whatever_the_objective_and_period_every_tier_can_fire_and_none_fires_on_a_met_objective(objective, period):
    planned = plan_tiers(one := slo(objective, period, replan=True))

    assert {tier.severity for tier in planned} == {"page", "ticket"}
    for tier in planned:
        assert one.budget <= tier.threshold < 1
        assert tier.factor >= 1
        assert tier.share <= 1, "it fires before the budget is gone"
        assert 300 <= tier.short < tier.long <= one.period_seconds
        assert tier.seconds_to_fire <= tier.long
        assert burns(100_000, 100_000, tier, 5), "a total outage that fills the long window fires"
        for window in (tier.long, tier.short):
            assert window <= 3_600 or window % (300 if window <= 86_400 else 3_600) == 0, "the grid of recorded counts adds up to it"


def test_a_stretched_tier_fires_after_the_share_of_the_budget_that_it_was_meant_to_have():
    day = plan_tiers(slo("0.5", "1d", replan=True))

    assert [(tier.name, tier.long // 60, tier.threshold) for tier in day] == [
        ("page-quick", 20, Decimal("0.8")),
        ("ticket-quick", 120, Decimal("0.8")),
        ("ticket-slow", 150, Decimal("0.5")),
    ]


@given(objectives, periods)
def test_a_quicker_tier_of_a_severity_is_never_the_slower_one(objective, period):
    for severity in ("page", "ticket"):
        tiers = [tier for tier in plan_tiers(slo(objective, period, replan=True)) if tier.severity == severity]

        assert [tier.long for tier in tiers] == sorted(tier.long for tier in tiers)
        assert len({(tier.long, tier.threshold) for tier in tiers}) == len(tiers)


def test_tiers_of_ones_own_are_taken_as_they_are():
    listed = [
        {"name": "fast", "severity": "page", "share": "0.02", "long": "1h", "short": "5m", "hold": "2m"},
        {"name": "slow", "severity": "ticket", "factor": "1.5", "long": "3d", "short": "6h"},
    ]

    fast, slow = plan_tiers(slo("0.999", tiers=listed))

    assert (fast.factor, fast.hold, fast.seconds_to_fire) == (Decimal("14.4"), 120, 52 + 120)
    assert (slow.factor, slow.share, slow.threshold) == (Decimal("1.5"), Decimal("0.15"), Decimal("0.0015"))


@given(objectives, periods.filter(lambda period: period not in ("1h", "90m", "6h", "1d")), st.sampled_from(["5m", "1h", "4h", "1d"]))
def test_windows_over_cohorts_hold_whole_cohorts_and_wait_for_their_labels(objective, period, cohort):
    one = slo(objective, period, replan=True, indicator={"type": "quality", "maturity": "3d", "cohort": cohort})
    length = {"5m": 300, "1h": 3_600, "4h": 14_400, "1d": 86_400}[cohort]

    for tier in plan_tiers(one):
        assert tier.long % length == tier.short % length == 0
        assert tier.short < tier.long <= max(one.period_seconds, 2 * length)
        assert one.budget <= tier.threshold < 1
        assert tier.seconds_to_fire > 3 * 86_400


def test_a_bad_slice_is_many_bad_events_and_training_seconds_are_no_draws():
    slices = slo("0.99", budgeting="timeslices", slice_objective="0.95")
    training = slo("0.99", indicator={"type": "training"})

    for one, least in ((slices, 1), (training, 300), (slo("0.999"), 3), (slo("0.999", min_bad_events=7), 7)):
        assert least_bad_events(one, plan_tiers(one)[0]) == least
        assert bound_is_on(one, plan_tiers(one)[0]) == (one.indicator.type == "availability" and one is not slices)
    for wish in ("on", "off"):
        for one in (slices, training, slo("0.99")):
            assert bound_is_on(one.model_copy(update={"statistical_bound": wish}), plan_tiers(one)[0]) == (wish == "on")


def test_the_time_until_an_alert_is_sure_is_stated_for_the_expected_traffic():
    rare, often = slo("0.999", expected_traffic="60/h"), slo("0.99", expected_traffic="6000/h")
    quick, busy = plan_tiers(rare)[0], plan_tiers(often)[0]

    assert (quick.seconds_to_fire, seconds_to_be_sure(rare, quick), seconds_to_be_sure(slo("0.999"), quick)) == (52, 240, None)
    assert describe(quick, rare).endswith(
        "; total outage: 52 s; asks for 2 bad events and statistical proof, 3 min later than the plain ratio at 60/h"
    )
    assert describe(busy, often).endswith("; total outage: 8 min 39 s; the plain ratio is enough at 6000/h")
    assert describe(quick, slo("0.999")).endswith("; asks for 3 bad events and statistical proof")


def test_traffic_that_is_too_low_to_be_sure_is_refused_or_given_a_longer_window():
    rare = slo("0.99", expected_traffic="10/d")
    with pytest.raises(SpecErrors, match=r"page-quick of SLO a can never fire: 1h bring 0 events, and it needs 2 bad ones.*OBS-SLO-032"):
        plan_tiers(rare)

    stretched = plan_tiers(rare.model_copy(update={"replan": True}))

    assert all((seconds_to_be_sure(rare, tier) or 0) <= tier.long for tier in stretched)
    assert all(tier.factor >= 1 for tier in stretched)


def test_three_failures_of_ten_do_not_burn_and_three_thousand_of_ten_thousand_do():
    quick = plan_tiers(slo("0.99"))[0]

    assert not burns(3, 10, quick, 1)
    assert burns(3, 10, quick, 1, bound=False), "the plain ratio would"
    assert burns(3_000, 10_000, quick, 1)


def test_too_few_bad_events_never_burn():
    quick = plan_tiers(slo("0.99"))[0]

    assert not burns(4, 4, quick, 5)
    assert burns(40, 40, quick, 5)


@given(bad=st.integers(0, 500), more=st.integers(0, 500))
def test_the_lower_bound_never_burns_where_the_plain_ratio_does_not(bad, more):
    quick = plan_tiers(slo("0.99"))[0]

    if burns(bad, bad + more, quick, 1):
        assert bad / (bad + more) > quick.threshold
