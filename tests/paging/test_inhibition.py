"""Which alerts silence which: what says more silences what says less, a cause silences its effects, and somebody is always told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstream_chain import CHAIN, burn, slos_of

from mlops_obs.errors import SpecError
from mlops_obs.paging.artefacts import cases_of
from mlops_obs.paging.inhibition import inhibitions_of, ladders
from mlops_obs.paging.matching import Inhibition, Matcher, inhibits, muted
from mlops_obs.paging.plan import STANDARD, plan_of
from mlops_obs.paging.routing import one_webhook
from mlops_obs.paging.upstream import upstream_of

RULES = inhibitions_of(CHAIN)
PAGE = burn("shop", "availability")
FRESHNESS = burn("features", "freshness", team="data")
LATE_TICKET = burn("features", "freshness", "ticket-slow", "data")

CASES = [
    ("a page silences the ticket of its SLO", PAGE, burn("shop", "availability", "ticket-quick"), True),
    ("a quick page silences the slow one", PAGE, burn("shop", "availability", "page-slow"), True),
    ("whatever revision they are of", {**PAGE, "revision": "v3"}, burn("shop", "availability", "page-slow"), True),
    ("a page does not silence the ticket of an SLO beside it", burn("shop", "goodput"), burn("other", "goodput", "ticket-quick"), False),
    ("a slow page does not silence a quick one", burn("shop", "availability", "page-slow"), PAGE, False),
    ("a ticket silences no page", burn("shop", "availability", "ticket-quick"), burn("shop", "availability", "page-slow"), False),
    ("an upstream page silences the page below it", FRESHNESS, burn("shop", "goodput"), True),
    ("and what is further down", FRESHNESS, burn("shop", "latency"), True),
    ("and the composite that it is a stage of", FRESHNESS, burn("shop", "journey"), True),
    ("never the other way round", burn("shop", "goodput"), FRESHNESS, False),
    ("an upstream ticket silences a ticket", LATE_TICKET, burn("shop", "goodput", "ticket-quick"), True),
    ("but no page", LATE_TICKET, burn("shop", "goodput"), False),
    ("a revision upstream silences the same revision", {**PAGE, "revision": "v3"}, burn("shop", "latency", revision="v3"), True),
    ("and the whole service, in which it is contained", {**PAGE, "revision": "v3"}, burn("shop", "latency"), True),
    ("but no other revision", {**PAGE, "revision": "v3"}, burn("shop", "latency", revision="v2"), False),
    ("the whole service silences each revision", PAGE, burn("shop", "latency", revision="v2"), True),
    ("blindness upstream explains nothing", {**FRESHNESS, "tier": "absent"}, burn("shop", "goodput"), False),
    ("blindness is not explained by anything upstream", FRESHNESS, {**burn("shop", "goodput"), "tier": "absent"}, False),
    (
        "a low budget upstream is no incident",
        {**FRESHNESS, "severity": "ticket", "tier": "policy-freeze"},
        burn("shop", "goodput", "ticket-quick"),
        False,
    ),
    (
        "a burn upstream does not hide why promotions are frozen below",
        FRESHNESS,
        burn("shop", "availability", "policy-freeze") | {"severity": "ticket"},
        False,
    ),
    (
        "a page about no SLO silences no ticket about none",
        {"alertname": "NodeDown", "severity": "page"},
        {"alertname": "DiskFillsUp", "severity": "ticket"},
        False,
    ),
    (
        "a strong step of the policy silences the weak one",
        {**PAGE, "severity": "ticket", "tier": "policy-freeze"},
        {**PAGE, "severity": "ticket", "tier": "policy-warn"},
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_inhibition_says_that(source, target, expected):
    assert inhibits(RULES, source, target) is expected


def test_no_alert_silences_itself():
    for case in cases_of(CHAIN, one_webhook("http://h/a")):
        assert not any(inhibits(RULES, alert.labels, alert.labels) for alert in case.alerts)


def test_what_is_upstream_is_transitive_and_a_composite_is_below_its_stages():
    above = upstream_of(CHAIN)

    assert above["shop", "goodput"] == {("features", "freshness")}
    assert above["shop", "availability"] == {("features", "freshness"), ("shop", "goodput")}
    assert above["shop", "journey"] == {("features", "freshness"), ("shop", "goodput"), ("shop", "availability")}
    assert ("features", "freshness") not in above


def test_a_circle_is_refused_with_its_path():
    circle = [*slos_of("a", upstream=["b/availability"]), *slos_of("b", upstream=["a/availability"])]

    with pytest.raises(SpecError, match=r"a/availability < b/availability < a/availability.*OBS-SLO-027"):
        plan_of(circle)


def test_a_chain_longer_than_the_call_stack_is_read():
    chain = [slo for index in range(3000) for slo in slos_of(f"s{index}", upstream=[f"s{index + 1}/availability"] if index < 2999 else [])]

    assert len(upstream_of(chain[2000:])["s2000", "availability"]) == 999


def test_an_upstream_of_another_repository_silences_by_its_labels():
    rules = inhibitions_of(slos_of("shop", upstream=["elsewhere/ingest"]))

    assert inhibits(rules, burn("elsewhere", "ingest", team="strangers"), PAGE)


def test_tiers_of_ones_own_are_ordered_by_their_windows_also_where_another_slo_orders_them_otherwise():
    def tiers(**longs):
        return [
            {"name": name, "severity": "page", "factor": "10" if long == "1h" else "5", "long": long, "short": "5m"}
            for name, long in longs.items()
        ]

    one, other = slos_of("one", tiers=tiers(hot="1h", warm="6h")), slos_of("two", tiers=tiers(hot="6h", warm="1h"))
    alone, both = inhibitions_of(one), inhibitions_of([*one, *other])
    hot, warm = ({**burn("one", "availability"), "tier": name} for name in ("hot", "warm"))

    assert ladders(one) == [(("hot", "warm"),)]
    assert inhibits(alone, hot, warm)
    assert inhibits(both, hot, warm)
    assert not inhibits(both, warm, hot)
    assert inhibits(both, {**warm, "service": "two"}, {**hot, "service": "two"})


def test_a_missing_label_is_an_empty_one_and_two_alerts_never_silence_each_other():
    rule = Inhibition((Matcher("a", "=~", "x|y"),), (Matcher("b", "!=", "1"),), ("c",))
    both = [{"a": "x", "n": "1"}, {"a": "y", "n": "2"}]

    assert muted([rule], [{"a": "x", "b": "1"}, {"n": "3"}]) == [False, True]
    assert muted([rule], [{"a": "x", "b": "1"}, {"c": "z"}]) == [False, False]
    assert muted([rule], both) == [False, False]
    assert muted([rule], [{"a": "xx", "b": "1"}, {"n": "3"}]) == [False, False], "patterns are anchored"


alerts = st.lists(
    st.builds(
        lambda slo, tier, revision: (
            burn(slo.service, slo.name, tier, slo.team) | ({"revision": revision} if revision and slo.group_by else {})
        ),
        st.sampled_from(CHAIN),
        st.sampled_from(["page-quick", "page-slow", "ticket-quick", "ticket-slow"]),
        st.sampled_from(["", "v1", "v2"]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda labels: tuple(sorted(labels.items())),
)


@given(alerts)
def test_whatever_fires_somebody_is_told_and_no_page_is_silenced_by_tickets_alone(firing):
    silent = muted(RULES, firing)

    assert not all(silent)
    if any(labels["severity"] == "page" for labels in firing):
        assert any(labels["severity"] == "page" and not quiet for labels, quiet in zip(firing, silent, strict=True))


def test_the_generated_cases_are_what_the_plan_says():
    plan = plan_of(CHAIN)

    for case in cases_of(CHAIN, one_webhook("http://h/a")):
        firing = [alert.labels for alert in case.alerts]
        assert [alert.told for alert in case.alerts] == [not quiet for quiet in plan.muted(firing)], case.name
        assert [alert.receiver for alert in case.alerts] == [plan.route(labels).receiver for labels in firing], case.name


def test_every_inhibition_rule_has_a_case_that_fails_without_it():
    cases = cases_of(CHAIN, one_webhook("http://h/a"))
    expected = [[alert.told for alert in case.alerts] for case in cases]
    unproven = []
    for index, rule in enumerate(RULES):
        rest = [*RULES[:index], *RULES[index + 1 :]]
        if expected == [[not quiet for quiet in muted(rest, [alert.labels for alert in case.alerts])] for case in cases]:
            unproven.append(rule)

    assert unproven == []


def test_where_no_slo_is_known_the_workbooks_tiers_and_every_team_have_their_way():
    assert STANDARD.muted([PAGE, burn("shop", "availability", "page-slow")]) == [False, True]
    assert STANDARD.route(burn("x", "y", team="whoever")).receiver == "whoever-page"
