"""The page says in 25 lines what on-call needs, whatever arrives."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_obs.paging.page import incident_key, is_page, make_test_alert, make_test_payload, render_page

ANNOTATIONS = {
    "summary": "credit-risk v3: availability burns its 30d error budget 40.0 times too fast",
    "description": "40% of requests failed in the last 1h (objective 99 %, alert above 14.4 % in 1h and in 5m).",
    "burn_rate": "40.0",
    "error_ratio": "40%",
    "budget_left": "88.89%",
    "time_to_exhaustion": "16h 0m 12s",
    "revision": "v3",
    "action_taken": "rolled back v3 14 s ago",
    "runbook_url": "http://r/AvailabilityBudgetBurn",
    "dashboard_url": "http://g/d/mlops-obs-service?var-service=credit-risk&var-revision=v3&from=3600000&to=7200000",
}
LABELS = {
    "alertname": "AvailabilityBudgetBurn",
    "service": "credit-risk",
    "slo": "availability",
    "team": "risk-ml",
    "severity": "page",
    "tier": "page-quick",
    "revision": "v3",
}
PAYLOAD = {
    "version": "4",
    "groupKey": '{}/{team="risk-ml",severity="page"}:{service="credit-risk"}',
    "status": "firing",
    "receiver": "risk-ml-page",
    "groupLabels": {"service": "credit-risk"},
    "alerts": [
        {
            "status": "firing",
            "labels": {**LABELS, "slo": "latency", "alertname": "LatencyBudgetBurn"},
            "annotations": {**ANNOTATIONS, "burn_rate": "12.0", "summary": "slow"},
            "startsAt": "2024-05-01T03:14:20Z",
        },
        {"status": "firing", "labels": LABELS, "annotations": ANNOTATIONS, "startsAt": "2024-05-01T03:14:15.926535897Z"},
    ],
}


def test_the_page_reads_as_a_person_expects():
    assert render_page(PAYLOAD) == (
        "PAGE: credit-risk v3: availability burns its 30d error budget 40.0 times too\n"
        "fast\n"
        "Firing since 2024-05-01 03:14:15 UTC\n"
        "\n"
        "What       40% of requests failed in the last 1h (objective 99 %, alert above\n"
        "           14.4 % in 1h and in 5m).\n"
        "Burn       40.0 times the sustainable rate\n"
        "Budget     88.89% left; gone in 16 h 12 s at this rate\n"
        "Revision   v3\n"
        "Done       rolled back v3 14 s ago\n"
        "Also       latency v3 burns 12.0x\n"
        "\n"
        "Runbook    http://r/AvailabilityBudgetBurn\n"
        "Dashboard  http://g/d/mlops-obs-service?var-service=credit-risk&var-revision=v3&from=3600000&to=7200000\n"
    )


def test_a_resolved_incident_says_so():
    over = {**copy.deepcopy(PAYLOAD), "status": "resolved"}
    for alert in over["alerts"]:
        alert |= {"status": "resolved", "endsAt": "2024-05-01T03:20:00Z"}

    assert render_page(over).startswith("RESOLVED: credit-risk v3")
    assert "Fired from 2024-05-01 03:14:15 UTC to 2024-05-01 03:20:00 UTC" in render_page(over)


def test_an_exhausted_budget_is_not_given_a_time():
    spent = copy.deepcopy(PAYLOAD)
    spent["alerts"][1]["annotations"] |= {"budget_left": "exhausted", "time_to_exhaustion": "exhausted"}

    assert "Budget     exhausted\n" in render_page(spent)


@pytest.mark.parametrize(
    ("left", "gone", "says"),
    [
        ("20%", "16h 0m 12s", "20% left; gone in 16 h 12 s at this rate"),
        ("20%", "nothing burns now", "20% left; nothing burns now"),
        ("20%", "unknown", "20% left"),
        ("exhausted", "exhausted", "exhausted"),
    ],
)
def test_the_time_until_the_budget_is_gone_is_said_only_where_there_is_one(left, gone, says):
    ticket = copy.deepcopy(PAYLOAD)
    ticket["alerts"][1]["annotations"] |= {"budget_left": left, "time_to_exhaustion": gone}

    assert f"Budget     {says}\n" in render_page(ticket)


def test_one_incident_keeps_its_key_while_its_alerts_change():
    fewer = {**PAYLOAD, "alerts": PAYLOAD["alerts"][:1], "status": "resolved"}
    other = {**PAYLOAD, "groupKey": '{}/{team="risk-ml"}:{service="other"}'}

    assert incident_key(fewer) == incident_key(PAYLOAD)
    assert incident_key(other) != incident_key(PAYLOAD)


def test_a_ticket_and_a_test_wake_nobody():
    ticket = copy.deepcopy(PAYLOAD)
    for alert in ticket["alerts"]:
        alert["labels"] |= {"severity": "ticket"}
    trial = make_test_payload(*make_test_alert("credit-risk", "risk-ml"), "2024-05-01T03:14:15Z")

    assert is_page(PAYLOAD)
    assert not is_page(ticket)
    assert not is_page(trial)
    assert render_page(ticket).startswith("TICKET: ")
    assert render_page(trial).startswith("PAGE (test, no action needed): ")


def test_escape_sequences_in_a_payload_do_not_reach_the_terminal():
    evil = copy.deepcopy(PAYLOAD)
    evil["alerts"][1]["annotations"]["summary"] = "x\x1b[2Jy\r\nz\u202e"

    assert "PAGE: x [2Jy z\n" in render_page(evil)


@pytest.mark.parametrize(
    "payload", [{}, {"alerts": None}, {"alerts": [1, "x", None]}, {"alerts": [{}]}, {"alerts": [{"labels": 3, "startsAt": 5}]}]
)
def test_a_damaged_payload_still_gives_a_page(payload):
    assert render_page(payload).strip()
    assert incident_key(payload)
    assert not is_page(payload)


texts = st.dictionaries(st.sampled_from([*ANNOTATIONS, *LABELS]), st.text() | st.floats() | st.none(), max_size=8)


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"labels": texts, "annotations": texts, "status": st.text(), "startsAt": st.text()}), max_size=60))
def test_no_page_is_longer_than_25_lines_or_wider_than_80_columns(alerts):
    lines = render_page({"alerts": alerts}).splitlines()

    assert len(lines) <= 25
    assert all(len(line) <= 80 or line.startswith(("Runbook", "Dashboard")) for line in lines)


def test_a_budget_that_nobody_knows_is_not_said_to_be_left():
    unknown = dict.fromkeys(("burn_rate", "error_ratio", "budget_left", "time_to_exhaustion"), "unknown")
    page = render_page({"status": "firing", "alerts": [{"status": "firing", "labels": LABELS, "annotations": {**ANNOTATIONS, **unknown}}]})

    assert "Budget     unknown\n" in page
