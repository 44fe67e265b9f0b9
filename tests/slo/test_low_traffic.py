"""Few requests and a met objective seldom page; what that costs is computed, and small where it can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.false_pages import earliest, measure
from mlops_obs.slo.low_traffic import FALSE_PAGES, Evidence, choose, false_alerts, is_burning, seconds_later, seconds_to_burn
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import bound_is_on, least_bad_events, plan_tiers

HOUR = 3_600
OBJECTIVES = (0.90, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999)
PER_HOUR = (1, 2, 3, 6, 10, 20, 40, 60, 100, 200, 400, 600, 1_000, 2_000, 6_000, 20_000)
PAGES = ((14.4, HOUR), (6.0, 6 * HOUR))


def _slo(objective: str, traffic: str | None = None, **more) -> SLO:
    return SLO(service="s", team="t", name="a", objective=objective, indicator={"type": "availability"}, expected_traffic=traffic, **more)


def _pages(objective: float, per_hour: float, told: bool) -> float:
    """Return the false pages per 30 days that the formula gives for both page tiers together."""
    budget, rate, found = 1 - objective, per_hour / HOUR, 0.0
    for factor, long in PAGES:
        if factor * budget < 1:
            evidence = choose(factor * budget, budget, long, rate if told else None)
            found += false_alerts(evidence, factor * budget, budget, long, rate)
    return found


@pytest.mark.parametrize("per_hour", [n for n in PER_HOUR if n >= 3])
def test_a_met_slo_pages_at_most_every_second_month_at_its_expected_traffic(per_hour):
    assert max(_pages(objective, per_hour, told=True) for objective in OBJECTIVES) <= FALSE_PAGES * 1.01


def test_a_met_slo_pages_at_most_every_second_month_at_any_traffic_if_none_is_told():
    assert max(_pages(objective, per_hour, told=False) for objective in OBJECTIVES for per_hour in PER_HOUR) <= FALSE_PAGES * 1.01


def test_traffic_of_half_or_twice_what_was_expected_costs_no_sleep():
    for objective in OBJECTIVES:
        budget = 1 - objective
        for factor, long in PAGES:
            for per_hour in PER_HOUR:
                if factor * budget < 1:
                    evidence = choose(factor * budget, budget, long, per_hour / HOUR)
                    for part in (0.1, 0.5, 2):
                        if per_hour >= 6:
                            found = false_alerts(evidence, factor * budget, budget, long, per_hour * part / HOUR)
                            assert found <= 3 * FALSE_PAGES, (objective, long, per_hour, part)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("per_hour", [60, 200, 600, 6_000])
def test_an_outage_pages_five_minutes_later_than_plain_at_most(objective, per_hour):
    budget, rate = 1 - objective, per_hour / HOUR
    later = [
        seconds_later(choose(factor * budget, budget, long, rate), factor * budget, long, rate)
        for factor, long in PAGES
        if factor * budget < 1
    ]

    assert min(later) <= 300


def test_the_bound_is_on_where_plain_rates_are_noisy_and_off_where_they_are_not():
    def bounds(objective: str, traffic: str | None) -> list[bool]:
        slo = _slo(objective, traffic, severities=["page"])
        return [bound_is_on(slo, tier) for tier in plan_tiers(slo)]

    assert bounds("0.999", "60/h") == bounds("0.999", "6/h") == bounds("0.999", None) == [True, True]
    assert bounds("0.999", "6000/h") == bounds("0.99", "600/h") == [False, False]


def test_a_spec_that_decides_for_itself_is_obeyed():
    told = _slo("0.999", "60/h", min_bad_events=9, statistical_bound="off")
    busy = _slo("0.999", "6000/h", statistical_bound="on")

    assert {(least_bad_events(told, tier), bound_is_on(told, tier)) for tier in plan_tiers(told)} == {(9, False)}
    assert all(bound_is_on(busy, tier) for tier in plan_tiers(busy))


def test_two_failures_are_needed_where_one_is_too_frequent_and_one_is_enough_where_it_is_not():
    one_in_ten_thousand = choose(14.4e-4, 1e-4, HOUR, 6 / HOUR)
    one_in_a_thousand = choose(14.4e-3, 1e-3, HOUR, 6 / HOUR)

    assert (one_in_ten_thousand.least_bad_events, one_in_a_thousand.least_bad_events) == (1, 2)
    assert seconds_later(one_in_a_thousand, 14.4e-3, HOUR, 6 / HOUR) == 600
    assert 500 < earliest(6, 1e-3) < 600, "any rule with as few false pages waits nearly as long"


@given(st.floats(0.5, 0.9999), st.floats(1, 1e5), st.sampled_from(PAGES))
def test_a_tier_never_asks_for_more_than_the_traffic_can_bring(objective, per_hour, page):
    (factor, long), budget = page, 1 - objective
    threshold, events = factor * budget, int(per_hour * long / HOUR)
    if threshold < 0.9 and events >= 10:
        evidence = choose(threshold, budget, long, per_hour / HOUR)

        assert is_burning(events, events + 1, threshold, evidence.least_bad_events, bound=evidence.bound)
        assert seconds_to_burn(evidence, threshold, long, per_hour / HOUR) <= long * 1.1


def test_the_formula_gives_what_the_simulation_counts():
    row = measure("0.999", 60, months=20)

    assert row.plain_false > 30
    assert row.ours_false <= FALSE_PAGES
    assert 60 < row.ours_seconds - row.plain_seconds < 240
    plain = sum(false_alerts(Evidence(1, False), factor * 1e-3, 1e-3, long, 60 / HOUR) for factor, long in PAGES)
    assert row.plain_false < plain < 4 * row.plain_false, "an upper bound: one page may go up and down several times"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("per_hour", [60, 200, 600, 6_000])
def test_a_spec_that_tells_no_traffic_pages_five_minutes_later_than_plain_at_most(objective, per_hour):
    budget, rate = 1 - objective, per_hour / HOUR
    later = [
        seconds_later(choose(factor * budget, budget, long, None), factor * budget, long, rate)
        for factor, long in PAGES
        if factor * budget < 1
    ]

    assert min(later) <= 300


def test_at_low_traffic_a_low_objective_keeps_its_fast_page_though_the_spec_tells_no_traffic():
    evidence = choose(0.72, 0.05, HOUR, None)

    assert not evidence.bound, "six failures of six are no proof of 72 % to the bound"
    assert seconds_to_burn(evidence, 0.72, HOUR, 6 / HOUR) <= HOUR
