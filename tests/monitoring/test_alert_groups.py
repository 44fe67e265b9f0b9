"""One incident, one page: grouping, inhibition and delivery, without a clock or a network."""

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.alert_groups import Timing, delivered, due, fingerprint, fold, from_document, payload, to_document

TIMING = Timing(group_wait=10, ticket_group_wait=30, group_interval=60, repeat_interval=3600)


@dataclass
class Firing:
    name: str
    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)


def burn(slo: str = "availability", severity: str = "page", tier: str = "page-quick", revision: str = "v3") -> Firing:
    labels = {"service": "credit-risk", "team": "risk-ml", "slo": slo, "severity": severity, "tier": tier, "revision": revision}
    return Firing("BudgetBurn", labels, {"summary": f"{slo} burns"})


def test_alerts_of_one_service_are_one_group_told_after_the_group_wait() -> None:
    groups = fold({}, [burn(), burn("latency")], 100)
    [group] = groups.values()

    assert [due(group, at, TIMING) for at in (109, 110)] == [False, True]
    assert group.key == '{}/{severity="page",team="risk-ml"}:{service="credit-risk"}'
    assert len(payload(group)["alerts"]) == 2


def test_a_page_silences_tickets_and_a_quick_tier_slow_ones_of_the_same_slo_only() -> None:
    firing = [
        burn(),
        burn(tier="page-slow"),
        burn(severity="ticket", tier="ticket-quick", revision=""),
        burn("drift", severity="ticket", tier="ticket-slow"),
    ]

    page, ticket = fold({}, firing, 0).values()

    assert [(a.labels["slo"], a.labels["tier"]) for a in page.alerts.values()] == [("availability", "page-quick")]
    assert [(a.labels["slo"], a.labels["tier"]) for a in ticket.alerts.values()] == [("drift", "ticket-slow")]
    assert (page.receiver, ticket.receiver) == ("risk-ml-page", "risk-ml-ticket")


def test_a_ticket_waits_longer_and_vanishes_if_a_page_comes_meanwhile() -> None:
    groups = fold({}, [burn(severity="ticket", tier="ticket-quick")], 0)
    [ticket] = groups.values()
    groups = fold(groups, [burn(severity="ticket", tier="ticket-quick"), burn()], 20)

    assert [due(ticket, at, TIMING) for at in (29, 30)] == [False, True]
    assert [group.receiver for group in groups.values()] == ["risk-ml-page"]


def test_an_alert_without_a_team_is_delivered_all_the_same() -> None:
    [group] = fold({}, [Firing("Odd", {"service": "s"})], 0).values()

    assert (group.receiver, group.key) == ("unrouted", '{}:{service="s"}')


def test_nothing_is_told_twice_until_something_changes_or_the_repeat_interval_is_over() -> None:
    groups = fold({}, [burn()], 0)
    groups = delivered(groups, next(iter(groups.values())), 10)
    [same] = fold(groups, [burn()], 20).values()
    [joined] = fold(groups, [burn(), burn("latency")], 20).values()

    assert [due(same, at, TIMING) for at in (20, 3609, 3610)] == [False, False, True]
    assert [due(joined, at, TIMING) for at in (69, 70)] == [False, True]


def test_an_incident_that_ended_is_resolved_once_and_forgotten() -> None:
    groups = fold({}, [burn()], 0)
    groups = delivered(groups, next(iter(groups.values())), 10)

    groups = fold(groups, [], 30)
    [over] = groups.values()

    assert due(over, 70, TIMING)
    assert (
        payload(over)["status"],
        payload(over)["alerts"][0]["status"],
        payload(over)["alerts"][0]["endsAt"],
    ) == ("resolved", "resolved", "1970-01-01T00:00:30.000Z")
    assert delivered(groups, over, 70) == {}


def test_an_incident_that_nobody_was_told_of_and_that_is_over_is_dropped() -> None:
    assert fold(fold({}, [burn()], 0), [], 5) == {}


def test_an_alert_that_pauses_between_two_notifications_is_the_same_alert() -> None:
    groups = fold({}, [burn()], 0)
    groups = delivered(groups, next(iter(groups.values())), 10)

    [again] = fold(fold(groups, [], 20), [burn()], 30).values()

    assert not due(again, 1000, TIMING)
    assert [alert.started for alert in again.alerts.values()] == [0]


def test_what_changed_while_a_delivery_was_on_its_way_is_told_next() -> None:
    groups = fold({}, [burn()], 0)
    [sent] = groups.values()
    groups = fold(groups, [burn(), burn("latency")], 11)

    [group] = delivered(groups, sent, 12).values()

    assert due(group, 72, TIMING)
    assert len(group.firing) == 2


@given(st.lists(st.sampled_from(["availability", "latency", "drift"]), unique=True), st.booleans())
def test_groups_survive_a_restart(slos: list[str], told: bool) -> None:
    groups = fold({}, [burn(slo) for slo in slos], 7)
    for group in list(groups.values()) if told else []:
        groups = delivered(groups, group, 20)

    assert groups == from_document(json.loads(json.dumps(to_document(groups))))


def test_the_fingerprint_depends_on_the_labels_and_not_on_their_order() -> None:
    # The end-to-end test compares it with Alertmanager's own.
    assert fingerprint({}) == "cbf29ce484222325"
    assert fingerprint({"a": "b", "c": "d"}) == fingerprint({"c": "d", "a": "b"})
