"""What the Python engine says about known histories; the Prometheus rules are held against it elsewhere."""

from decimal import Decimal

import pytest

from mlops_obs import metric_names as names
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.slo.annotations import Links
from mlops_obs.slo.platform_alerts import UP
from mlops_obs.slo.scenarios import History, RecordedCounters, Scenario, Segment, histories
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.spec_errors import SpecErrors
from mlops_obs.slo.verdict import Verdict, check_readable, firing_alerts, slo_status

AVAILABILITY = SLO(service="shop", team="web", name="a", objective="0.99", indicator={"type": "availability"}, group_by=["revision"])
LATENCY = SLO(
    service="shop", team="web", name="l", objective="0.99", indicator={"type": "latency", "threshold": "1s"}, group_by=["revision"]
)
LADDER = [{"below": "0.9", "action": "warn"}]
LINKS = Links(dashboards="http://g/d", runbooks="http://r")


def firing(slo: SLO, history: dict, minute: int):
    source = RecordedCounters(histories(slo, Scenario("x", history, (minute,))))
    return [(one.name, one.labels.get("revision", ""), one.labels["tier"]) for one in firing_alerts([slo], source, minute * 60.0, LINKS)]


STEADY, OUTAGE = Segment(60, good=999, bad=1), Segment(50, bad=1000)


def tiers(slo: SLO, history: dict, minute: int) -> set[tuple[str, str]]:
    return {(revision, tier) for _, revision, tier in firing(slo, history, minute)}


@pytest.mark.parametrize("slo", [AVAILABILITY, LATENCY], ids=["availability", "latency"])
@pytest.mark.parametrize(
    "segments",
    [
        pytest.param([STEADY, STEADY], id="healthy"),
        pytest.param([STEADY, Segment(60)], id="idle"),
        pytest.param([Segment(10), Segment(2, good=1, bad=1), Segment(60)], id="a handful of failures"),
        pytest.param([STEADY, Segment(60, good=999, bad=1, reset=True)], id="a reset is no burn"),
    ],
)
def test_calm_histories_stay_silent(slo, segments):
    assert all(tiers(slo, {"v1": segments}, minute) == set() for minute in range(5, 71, 5))


@pytest.mark.parametrize("slo", [AVAILABILITY, LATENCY], ids=["availability", "latency"])
def test_a_total_outage_pages_and_stops_paging_soon_after_it(slo):
    history = {"v1": [STEADY, OUTAGE, Segment(20, good=1000)]}

    assert {"page-quick", "page-slow", "ticket-quick", "ticket-slow"} == {tier for _, tier in tiers(slo, history, 110)}
    assert "page-quick" not in {tier for _, tier in tiers(slo, history, 130)}


def test_a_tier_with_a_for_fires_once_it_has_burned_for_so_long():
    held = {"name": "page-held", "severity": "page", "factor": "10", "long": "30m", "short": "5m", "hold": "10m"}
    slo = SLO(service="shop", team="web", name="h", objective="0.99", indicator={"type": "availability"}, tiers=[held])
    history = {"": [Segment(60, good=1000), Segment(30, bad=1000)]}

    fired = [minute for minute in range(60, 91) if tiers(slo, history, minute)]

    assert fired == list(range(64 + 10, 91))  # from 4 bad minutes of 30 on, the ratio is above 10 %


def test_a_slow_burn_opens_tickets_and_wakes_nobody():
    assert {tier for _, tier in tiers(AVAILABILITY, {"v1": [Segment(90, good=955, bad=45)]}, 90)} == {"ticket-quick", "ticket-slow"}


def test_a_bad_canary_pages_for_its_revision_while_the_service_looks_fine():
    found = tiers(AVAILABILITY, {"v1": [STEADY, STEADY], "v2": [Segment(60), Segment(60, bad=20)]}, 120)

    assert ("v2", "page-quick") in found
    assert ("", "page-quick") not in found
    assert not any(revision == "v1" for revision, _ in found)


def test_gone_telemetry_is_said_and_idle_is_not():
    history = {"v1": [STEADY, Segment(30, gone=True)]}

    assert [tiers(AVAILABILITY, history, minute) for minute in (63, 75, 90)] == [set(), {("", "absent")}, {("", "absent")}]


def test_the_budget_of_a_service_that_is_gone_stays_what_it_was():
    source = RecordedCounters(histories(AVAILABILITY, Scenario("x", {"v1": [Segment(120, good=990, bad=10), Segment(600, gone=True)]}, ())))

    before = slo_status(AVAILABILITY, source, 120 * 60.0)[0]
    (after,) = slo_status(AVAILABILITY, source, 700 * 60.0)

    assert after.verdict is Verdict.UNKNOWN
    assert (after.bad, after.total, after.budget_remaining) == (before.bad, before.total, before.budget_remaining)


def test_a_service_that_was_never_seen_is_unknown_and_pages_nobody():
    (status,) = slo_status(AVAILABILITY, RecordedCounters([]), 3600.0)

    assert status.verdict is Verdict.UNKNOWN
    assert firing_alerts([AVAILABILITY], RecordedCounters([]), 3600.0) == []


def test_a_latency_histogram_without_the_bucket_is_not_all_slow():
    history = histories(LATENCY, Scenario("x", {"v1": [Segment(60, good=100)]}, (60,)))
    without_bucket = [one for one in history if one.metric.endswith("_count")]

    assert firing_alerts([LATENCY], RecordedCounters(without_bucket), 3600.0) == []


def test_a_calm_service_is_not_read_deeper_than_its_longest_short_window():
    source = RecordedCounters(histories(AVAILABILITY, Scenario("x", {"v1": [STEADY] * 24}, ())))
    depths = []

    class Watched:
        def series(self, metric, matchers, start, end):
            depths.append(end - start)
            return source.series(metric, matchers, start, end)

    assert firing_alerts([AVAILABILITY], Watched(), 24 * 3600.0) == []
    assert max(depths) <= 6 * 3600 + 900


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


PROBE = SLO(
    service="shop",
    team="web",
    name="p",
    objective="0.9",
    period="1d",
    indicator={"type": "boolean", "metric": "probe_success"},
    budget_policy=LADDER,
    replan=True,
)


def test_a_probe_that_fails_counts_its_samples_and_its_policy_opens_a_ticket():
    up = History("probe_success", {"instance": "a"}, [1.0] * 61 + [0.0] * 30)

    found = firing_alerts([PROBE], RecordedCounters([up]), 90 * 60.0)
    (status,) = slo_status(PROBE, RecordedCounters([up]), 90 * 60.0)

    assert (status.bad, status.total) == (30, 91)
    assert ("ErrorBudgetLow", "policy-warn", "ticket") in {(one.name, one.labels["tier"], one.labels["severity"]) for one in found}


def test_a_budget_that_runs_low_is_told_with_the_error_ratio_of_its_period_and_the_pace_of_the_last_hour():
    low = AVAILABILITY.model_copy(update={"budget_policy": PROBE.budget_policy, "period": "1d", "group_by": ()})
    history = {"": [Segment(60, good=900, bad=100), Segment(70, good=1000)]}
    source = RecordedCounters(histories(low, Scenario("x", history, ())))

    status = slo_status(low, source, 7_800.0)[0]
    (text,) = [one.annotations for one in firing_alerts([low], source, 7_800.0) if one.name == "ErrorBudgetLow"]

    assert status.error_ratio == pytest.approx(6_000 / 130_000, rel=0.01)
    assert text["error_ratio"] == f"{status.error_ratio * 100:.4g}%"
    assert (text["burn_rate"], text["time_to_exhaustion"]) == ("0.0", "nothing burns now")


def test_a_slice_is_bad_as_a_whole_and_an_idle_one_is_none():
    sliced = AVAILABILITY.model_copy(update={"budgeting": "timeslices", "slice_objective": Decimal("0.95"), "group_by": ()})
    history = {"": [Segment(60, good=100), Segment(10, good=90, bad=10), Segment(30)]}

    status = slo_status(sliced, RecordedCounters(histories(sliced, Scenario("x", history, ()))), 100 * 60.0)[0]

    assert (status.bad, status.total) == (2, 14)


def test_late_labels_count_in_the_window_of_their_prediction_and_immature_cohorts_never():
    quality = SLO(service="shop", team="web", name="q", objective="0.9", indicator={"type": "quality", "maturity": "2h", "cohort": "1h"})

    def gauges(wrong: float) -> list[History]:
        cohorts = {"0": wrong, "3600": 50.0}
        return [
            History(metric.name, {"service": "shop", "revision": "v1", "cohort": cohort}, [None] * 200 + [value])
            for cohort, bad in cohorts.items()
            for metric, value in ((names.QUALITY_EVENTS, 100.0), (names.QUALITY_BAD, bad), (names.QUALITY_START, float(cohort)))
        ]

    statuses = [slo_status(quality, RecordedCounters(gauges(wrong)), 200 * 60.0)[0] for wrong in (5.0, 30.0)]

    assert [(one.bad, one.total) for one in statuses] == [(5, 100), (30, 100)]


def test_a_chain_is_as_bad_as_its_stages_together():
    drift = SLO(service="shop", team="web", name="d", objective="0.9", indicator={"type": "drift"})
    whole = SLO(service="shop", team="web", name="w", objective="0.8", indicator={"type": "composite", "of": ["d", "a"]}, replan=True)
    plain = AVAILABILITY.model_copy(update={"group_by": ()})
    source = RecordedCounters(
        [
            *histories(plain, Scenario("x", {"": [Segment(120, good=90, bad=10)]}, ())),
            *histories(drift, Scenario("x", {"": [Segment(120, good=1, bad=1)]}, ())),
        ]
    )

    (status,) = slo_status(whole, source, 7200.0, [plain, drift])

    assert status.total == 12_000
    assert status.bad == pytest.approx(12_000 * (1 - 0.9 * 0.5))


def test_what_only_promql_can_count_is_refused_by_the_monitor_and_read_from_recordings_elsewhere():
    asked = {"type": "ratio", "bad": "a[{{.window}}]", "total": "b[{{.window}}]"}
    ratio = SLO(service="shop", team="web", name="r", objective="0.99", indicator=asked)
    mine = {"service": "shop", "slo": "r"}
    recorded = [
        History(f"slo:events_{kind}:increase{window}", mine, [None] * 60 + [value])
        for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d")
        for kind, value in (("bad", 50.0), ("total", 100.0))
    ]

    with pytest.raises(SpecErrors, match="shop/r is counted by PromQL.*OBS-SLO-050"):
        check_readable([AVAILABILITY, ratio])
    (status,) = slo_status(ratio, RecordedCounters(recorded), 3600.0)

    assert status.verdict is Verdict.BURNING
    assert (status.bad, status.total, status.burn_rate) == (50, 100, pytest.approx(50))


def test_where_rules_have_recorded_the_period_its_raw_samples_are_not_read():
    raw = histories(AVAILABILITY, Scenario("x", {"v1": [STEADY] * 2}, ()))
    recorded = [
        History(name, {"service": "shop", "slo": "a"}, [None] * 120 + [value])
        for name, value in (
            ("slo:events_bad:increase30d", 7.0),
            ("slo:events_total:increase30d", 9_000.0),
            ("slo:error_budget_remaining:ratio", 0.5),
        )
    ]

    whole, by_revision = slo_status(AVAILABILITY, RecordedCounters([*raw, *recorded]), 7200.0)

    assert (whole.bad, whole.total, whole.budget_remaining) == (7, 9_000, 0.5)
    assert (by_revision.bad, by_revision.total) == (120, 120_000)
