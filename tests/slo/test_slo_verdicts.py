"""What the Python engine says about known histories; the Prometheus rules are held against it elsewhere."""

import pytest

from mlops_obs import metric_names as names
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.slo.annotations import Links
from mlops_obs.slo.platform_alerts import UP
from mlops_obs.slo.scenarios import History, RecordedCounters, Scenario, Segment, histories, standard_scenarios
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import Verdict, firing_alerts, slo_status

AVAILABILITY = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, group_by=["revision"])
LATENCY = SLO(
    service="shop", team="web", name="l", objective="0.99", indicator={"type": "latency", "threshold": "1s"}, group_by=["revision"]
)
LINKS = Links(dashboards="http://g/d", runbooks="http://r")


def firing(slo: SLO, history: dict, minute: int):
    source = RecordedCounters(histories(slo, Scenario("x", history, (minute,))))
    return [(one.name, one.labels.get("revision", ""), one.labels["tier"]) for one in firing_alerts([slo], source, minute * 60.0, LINKS)]


def story(slo: SLO, name: str) -> list[set[tuple[str, str]]]:
    (scenario,) = [one for one in standard_scenarios(slo) if name in one.name]
    return [{(revision, tier) for _, revision, tier in firing(slo, scenario.history, minute)} for minute in scenario.judged_at]


@pytest.mark.parametrize("slo", [AVAILABILITY, LATENCY], ids=["availability", "latency"])
@pytest.mark.parametrize("name", ["healthy", "idle", "handful", "reset is no burn"])
def test_calm_histories_stay_silent(slo, name):
    assert all(found == set() for found in story(slo, name))


@pytest.mark.parametrize("slo", [AVAILABILITY, LATENCY], ids=["availability", "latency"])
def test_a_total_outage_pages_and_stops_paging_soon_after_it(slo):
    _, during, after = story(slo, "total outage")

    assert {"page-quick", "page-slow", "ticket-quick", "ticket-slow"} == {tier for _, tier in during}
    assert "page-quick" not in {tier for _, tier in after}


def test_a_slow_burn_opens_tickets_and_wakes_nobody():
    (found,) = story(AVAILABILITY, "slow burn")

    assert {tier for _, tier in found} == {"ticket-quick", "ticket-slow"}


def test_a_bad_canary_pages_for_its_revision_while_the_service_looks_fine():
    _, found = story(AVAILABILITY, "canary")

    assert ("v2", "page-quick") in found
    assert ("", "page-quick") not in found
    assert not any(revision == "v1" for revision, _ in found)


def test_gone_telemetry_is_said_and_idle_is_not():
    gone = story(AVAILABILITY, "gone")

    assert gone == [set(), {("", "absent")}, {("", "absent")}]


def test_a_service_that_was_never_seen_is_unknown_and_pages_nobody():
    (status,) = slo_status(AVAILABILITY, RecordedCounters([]), 3600.0)

    assert status.verdict is Verdict.UNKNOWN
    assert firing_alerts([AVAILABILITY], RecordedCounters([]), 3600.0) == []


def test_a_latency_histogram_without_the_bucket_is_not_all_slow():
    history = histories(LATENCY, Scenario("x", {"v1": [Segment(60, good=100)]}, (60,)))
    without_bucket = [one for one in history if one.metric.endswith("_count")]

    assert firing_alerts([LATENCY], RecordedCounters(without_bucket), 3600.0) == []


def test_a_source_that_does_not_answer_is_an_error_and_no_silence():
    class Down:
        def series(self, metric, matchers, start, end):
            raise TelemetryUnavailable("OBS-X-001", "down")

    with pytest.raises(TelemetryUnavailable):
        firing_alerts([AVAILABILITY], Down(), 0.0)


def test_an_idle_stretch_leaves_the_budget_as_it_was():
    busy = [Segment(120, good=990, bad=10), Segment(600)]
    source = RecordedCounters(histories(AVAILABILITY, Scenario("x", {"v1": busy}, ())))

    before = slo_status(AVAILABILITY, source, 120 * 60.0)[0]
    after = slo_status(AVAILABILITY, source, 700 * 60.0)[0]

    assert (before.bad, before.total) == (after.bad, after.total) == (1200, 120_000)
    assert after.verdict is Verdict.HEALTHY
    assert after.burn_rate is None


def test_the_budget_counts_events_and_not_hours():
    # 10 h of day at 100 per minute without a failure, 14 h of night at 1 per minute, 2 h of it all bad.
    day, night, broken = Segment(600, good=100), Segment(720, good=1), Segment(120, bad=1)
    source = RecordedCounters(histories(AVAILABILITY, Scenario("x", {"v1": [day, night, broken]}, ())))

    status = slo_status(AVAILABILITY, source, 24 * 3600.0)[0]

    assert (status.bad, status.total) == (120, 60_840)
    one_day_of_thirty = 120 / 60_840 / 0.01 / 30
    assert status.budget_remaining == pytest.approx(1 - one_day_of_thirty)


def test_the_alert_says_what_burns_how_fast_and_what_was_done():
    now = 7200.0
    history = histories(AVAILABILITY, Scenario("x", {"v1": [Segment(120, good=1000)], "v3": [Segment(60), Segment(60, good=6, bad=4)]}, ()))
    rolled_back = History(names.ROLLOUT_ACTION_TIME.name, {"service": "shop", "revision": "v3", "action": "rollback"}, [now - 14] * 121)
    promoted = History(names.ROLLOUT_ACTION_TIME.name, {"service": "shop", "revision": "v2", "action": "promote"}, [now - 3] * 121)

    found = firing_alerts([AVAILABILITY], RecordedCounters([*history, rolled_back, promoted]), now, LINKS)
    (page,) = [one for one in found if one.labels["tier"] == "page-quick"]

    assert page.labels == {"service": "shop", "slo": "a", "team": "web", "severity": "page", "tier": "page-quick", "revision": "v3"}
    assert page.annotations == {
        "summary": "shop v3: a burns its 30d error budget 40.0 times too fast",
        "description": "40% of requests failed in the last 1h (objective 99 %, alert above 14.4 % in 1h and in 5m).",
        "burn_rate": "40.0",
        "error_ratio": "40%",
        "budget_left": "88.89%",
        "time_to_exhaustion": "16 h",
        "revision": "v3",
        "action_taken": "rolled back v3 14 s ago",
        "runbook_url": "http://r/AvailabilityBudgetBurn",
        "dashboard_url": "http://g/d/mlops-obs-service?var-service=shop&var-revision=v3&from=3600000&to=7200000",
    }


def test_a_process_that_cannot_be_scraped_opens_a_ticket_after_five_minutes_only():
    down = History(UP, {"job": "serve", "instance": "127.0.0.1:9"}, [1.0] * 10 + [0.0] * 10)
    source = RecordedCounters([down])

    assert firing_alerts([], source, 12 * 60.0) == []
    (alert,) = firing_alerts([], source, 16 * 60.0)
    assert (alert.name, alert.labels["severity"], alert.labels["service"]) == ("InstrumentationDown", "ticket", "serve")


@pytest.mark.parametrize("after", [[1.0] * 10, []], ids=["it answered again", "it left the list"])
def test_what_is_over_is_no_ticket_even_if_its_last_sample_was_bad(after):
    bad, good = {"collector": "gpu", "reason": "nvml_error"}, {"collector": "gpu", "reason": ""}
    down = History(UP, {"job": "serve", "instance": "127.0.0.1:9"}, [0.0] * 10 + after)
    broken = History(names.COLLECTOR_UP.name, bad, [0.0] * 10)
    mended = History(names.COLLECTOR_UP.name, good, [None] * 10 + after)
    source = RecordedCounters([down, broken, mended])

    assert len(firing_alerts([], source, 9 * 60.0)) == 2
    assert firing_alerts([], source, 12 * 60.0) == []


def test_a_machine_without_a_gpu_is_no_fault():
    series = [History(names.COLLECTOR_UP.name, {"collector": "gpu", "reason": reason}, [0.0] * 20) for reason in ("no_driver", "lost")]

    found = firing_alerts([], RecordedCounters(series), 18 * 60.0)

    assert [(one.name, one.labels["reason"]) for one in found] == [("CollectorDown", "lost")]
