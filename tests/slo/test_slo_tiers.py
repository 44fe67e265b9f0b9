"""Every alert can fire, and few failures among few requests are no proof of a burn."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.errors import SpecError
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import burns, plan_tiers


def slo(objective: str, period: str = "30d", **more) -> SLO:
    return SLO(service="shop", team="web", name="a", objective=objective, period=period, indicator={"type": "availability"}, **more)


def test_the_factors_are_those_of_the_workbook():
    found = {tier.name: (tier.factor, tier.long, tier.short) for tier in plan_tiers(slo("0.999"))}

    assert found == {
        "page-quick": (Decimal("14.4"), 3600, 300),
        "page-slow": (6, 21600, 1800),
        "ticket-quick": (3, 86400, 7200),
        "ticket-slow": (1, 259200, 21600),
    }


def test_a_period_of_28_days_scales_the_factor():
    assert plan_tiers(slo("0.999", "28d"))[0].factor == Decimal("13.44")


def test_a_tier_that_can_never_fire_is_refused_with_its_remedy():
    with pytest.raises(SpecError, match=r"page-quick of SLO a can never fire: it needs an error ratio of 1\.44; .*replan.*OBS-SLO-010"):
        plan_tiers(slo("0.9"))


def test_an_slo_for_tickets_only_is_not_refused_for_its_pages():
    assert [tier.name for tier in plan_tiers(slo("0.9", severities=["ticket"]))] == ["ticket-quick", "ticket-slow"]


@given(objective=st.decimals("0.5", "0.99999", places=5), days=st.integers(1, 90))
def test_no_objective_and_period_compiles_to_silence(objective, days):
    planned = plan_tiers(slo(str(objective), f"{days}d", replan=True))

    assert len(planned) == 4
    for tier in planned:
        assert tier.threshold < 1
        assert tier.seconds_to_fire <= tier.long
        assert burns(10_000, 10_000, tier, 5), "a total outage that fills the long window fires"


def test_three_failures_of_ten_do_not_burn_and_three_thousand_of_ten_thousand_do():
    quick = plan_tiers(slo("0.99"))[0]

    assert not burns(3, 10, quick, 1)
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
