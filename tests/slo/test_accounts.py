"""A month's account: shares that add up, incidents that no extension makes worse, and counts that are never guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from month_of_events import END, INCIDENT, LENGTH, START, make, slots, steady, with_incident

from mlops_obs import metric_names as names
from mlops_obs.adapters.recorded_history import RecordedHistory
from mlops_obs.errors import UsageError
from mlops_obs.slo.accounts import SLOT, Act, _stretches, account, month_bounds
from mlops_obs.slo.counters import Series
from mlops_obs.slo.raw_history import RawHistory, composed
from mlops_obs.testing.counters import ScriptedCounters


def test_a_month_without_traffic_in_it_is_judged_by_its_events_and_not_by_its_hours():
    bad, total = [0.0] * LENGTH, [10.0] * LENGTH
    for index in range(LENGTH):
        if index % 288 < 120:
            total[index] = 1_000.0  # ten hours a day of real traffic
    for index in range(INCIDENT - INCIDENT % 288, INCIDENT - INCIDENT % 288 + 24):
        bad[index] = total[index]  # two hours of total outage at the peak

    found = account(make(objective="0.99"), {(): slots(bad, total)}, START, END, END)

    events = 30 * (120 * 1_000.0 + 168 * 10.0)
    assert found.total == events
    assert found.spent == pytest.approx(24 * 1_000.0 / (0.01 * events))
    assert found.met is True


def test_an_objective_met_exactly_is_met_and_one_event_more_misses_it():
    exact = account(make(objective="0.9"), {(): slots([1.0], [10.0])}, START, END, END)
    over = account(make(objective="0.9"), {(): slots([1.0000001], [10.0])}, START, END, END)

    assert (exact.met, over.met) == (True, False)
    assert exact.spent == pytest.approx(1.0)


def test_no_event_and_no_counting_are_both_no_verdict_and_told_apart():
    idle = account(make(), {(): slots([0.0] * LENGTH, [0.0] * LENGTH)}, START, END, END)
    blind = account(make(), {}, START, END, END)

    assert (idle.met, idle.ratio, idle.spent, idle.counted) == (None, None, 0.0, 1.0)
    assert (blind.met, blind.ratio, blind.spent, blind.counted) == (None, None, 0.0, 0.0)


def test_the_incident_is_found_to_the_slot_and_with_the_background_makes_up_what_was_spent():
    bad, total = with_incident(lasts=8)

    found = account(make(), {(): slots(bad, total), ("v3",): slots(bad, total)}, START, END, END)
    (incident,) = found.incidents

    assert (incident.start, incident.end) == (START + INCIDENT * SLOT, START + (INCIDENT + 8) * SLOT)
    assert (incident.bad, incident.total, incident.culprit) == (2_000.0, 8_000.0, ("v3",))
    assert incident.share == pytest.approx(2_000 / (0.001 * found.total))
    assert incident.share + found.background == pytest.approx(found.spent)
    assert found.curve[-1][1] == pytest.approx(1 - found.spent)


def test_a_quiet_spell_inside_an_incident_does_not_cut_it_in_two_and_two_quiet_hours_do():
    bad, total = with_incident(lasts=8)
    for offset, later in ((10, 12), (37, 45)):
        for index in range(INCIDENT + offset, INCIDENT + later):
            bad[index] = 250.0

    found = account(make(), {(): slots(bad, total)}, START, END, END).incidents

    assert [(one.start - START) / SLOT for one in found] == [INCIDENT, INCIDENT + 37]
    assert found[0].end == START + (INCIDENT + 12) * SLOT


def test_a_few_failures_by_chance_are_no_incident():
    bad, total = steady(5.0, every=50)  # 4 failures a day in 1,440 requests, objective 99.5 %

    assert account(make(objective="0.995"), {(): slots(bad, total)}, START, END, END).incidents == []


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 20)), max_size=24))
def test_stretches_are_disjoint_and_the_best_of_them_is_the_best_there_is(rows):
    budget = 0.05
    gains = [bad - 2 * budget * (bad + more) for bad, more in rows]
    best = max((sum(gains[low:high]) for low in range(len(gains)) for high in range(low + 1, len(gains) + 1)), default=0.0)

    found = _stretches(slots([float(bad) for bad, _ in rows], [float(bad + more) for bad, more in rows]), budget)

    assert all(one[1] <= two[0] for one, two in pairwise(found))
    assert max((sum(gains[low:high]) for low, high in found), default=0.0) == pytest.approx(max(best, 0.0), abs=1e-9)
    assert all(gains[index] <= 0 for index in range(len(gains)) if not any(low <= index < high for low, high in found))


def test_a_month_that_is_not_over_is_projected_at_its_present_traffic():
    now = START + 10 * 86_400
    bad, total = steady(1_000.0, every=100, upto=10 * 288)

    found = account(make(), {(): slots(bad, total)}, START, END, now)

    assert found.spent == pytest.approx(found.bad / found.total / 0.001 / 3)
    assert found.counted == 1.0
    assert found.curve[-1][0] == now


def test_hours_in_which_nobody_counted_are_gaps_and_count_as_not_counted():
    bad, total = steady()
    for index in range(24, 48):
        bad[index] = total[index] = None

    found = account(make(), {(): slots(bad, total)}, START, END, END)

    assert [left for _, left in found.curve[1:6]] == [1.0, 1.0, None, None, 1.0]
    assert found.counted == pytest.approx(1 - 24 / LENGTH)


@pytest.mark.parametrize(
    ("budgeting", "slice_objective", "bad", "total"), [("timeslices", "0.9", 1.0, 3.0), ("ratio_timeslices", None, 0.6, 3.0)]
)
def test_time_slices_count_once_each_however_many_events_they_hold(budgeting, slice_objective, bad, total):
    slo = make(budgeting=budgeting, slice_objective=slice_objective, objective="0.9")
    counts = {(): slots([50.0, 1.0, 0.0, 0.0], [100.0, 10.0, 1_000.0, 0.0])}

    found = account(slo, counts, START, END, END)
    again = account(slo, {(): slots([0.0, 1.0], [1.0, 1.0])}, START, END, END)

    assert (found.bad, found.total) == pytest.approx((bad, total))
    assert (again.bad, again.total) == (1.0, 2.0), "what the rules have sliced already stays as it is"


@pytest.mark.parametrize(
    ("month", "zone", "first", "following"),
    [
        ("2026-11", "UTC", "2026-11-01T00:00", "2026-12-01T00:00"),
        ("2026-12", "UTC", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),  # summer time ends within it
        ("2026-11", "Asia/Kathmandu", "2026-10-31T18:15", "2026-11-30T18:15"),
    ],
)
def test_a_month_begins_at_midnight_of_its_time_zone(month, zone, first, following):
    told = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M") for at in month_bounds(month, zone)]

    assert [first, following] == told


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "november", "", "2026-11-01", "1999-01"])
def test_what_is_no_month_is_refused(month):
    with pytest.raises(UsageError, match="OBS-REP-001"):
        month_bounds(month, "UTC")


def minutes(counters, first, last, **per_minute):
    for minute in range(first, last):
        counters.add_requests("shop", "v1", **per_minute)
        counters.scrape(START + 60 * (minute + 1))


def test_raw_counters_fall_into_the_five_minutes_in_which_they_were_seen_resets_included():
    counters = ScriptedCounters()
    counters.add_requests("shop", "v1")
    counters.scrape(START)
    minutes(counters, 0, 10, total=10, errors=1)
    counters.reset({})
    minutes(counters, 10, 15, total=20)
    slo = make(group_by=["revision"])

    found = RawHistory(counters, [slo], START + 86_400).counts(slo, START, END)

    assert set(found) == {(), ("v1",)}
    assert (found[()].total[:4], found[()].bad[:4]) == ([50.0, 50.0, 100.0], [5.0, 5.0, 0.0])


def test_a_month_of_raw_samples_is_read_day_by_day_and_loses_no_event_at_midnight():
    counters = ScriptedCounters()
    for quarter in range(3 * 96):
        counters.add_requests("shop", "v1", total=7, errors=1)
        counters.scrape(START + 900 * (quarter + 1) - 450)
    counters.silence({"revision": "v1"})
    counters.speak()
    counters.add_requests("shop", "v1", total=7, errors=1)
    counters.scrape(START + 5 * 86_400)  # a day later: counted when it was seen
    slo = make()

    found = RawHistory(counters, [slo], START + 6 * 86_400).counts(slo, START, END)[()]

    assert sum(one or 0 for one in found.total) == 7 * 3 * 96
    assert sum(one or 0 for one in found.bad) == 3 * 96
    assert found.total[4 * 288] is None


def test_latency_without_its_bucket_is_not_counted_at_all():
    counters = ScriptedCounters()
    counters.add_requests("shop", "v1", threshold=0.5)
    counters.scrape(START)
    minutes(counters, 0, 10, total=10, threshold=0.5)
    slo = make(name="latency", indicator={"type": "latency", "threshold": "250ms"})

    assert RawHistory(counters, [slo], START + 86_400).counts(slo, START, END) == {}


def test_a_probe_counts_its_samples():
    counters = ScriptedCounters()
    for minute in range(10):
        counters._values = {}
        counters.add("probe_success", {"job": "shop"}, 0.0 if minute in (2, 3) else 1.0)
        counters.scrape(START + 60 * minute + 30)
    slo = make(indicator={"type": "boolean", "metric": 'probe_success{job="shop"}'})

    found = RawHistory(counters, [slo], START + 86_400).counts(slo, START, END)[()]

    assert (found.total[:2], found.bad[:2]) == ([5.0, 5.0], [2.0, 0.0])


def test_late_labels_change_the_cohort_in_which_the_prediction_was_made_and_immature_ones_do_not_count():
    slo = make(name="quality", objective="0.9", indicator={"type": "quality", "maturity": "1d", "cohort": "1h"})
    counters = ScriptedCounters()
    for cohort, hours in ((START, 30), (START + 30 * 3_600, 40)):
        labels = {"service": "shop", "revision": "v1", "cohort": str(int(cohort))}
        for hour in range(hours):
            counters._values = {}
            counters.add(names.QUALITY_EVENTS.name, labels, 10.0 * (hour + 1))
            counters.add(names.QUALITY_BAD.name, labels, float(hour + 1))
            counters.scrape(cohort + 3_600 * hour + 60)
    now = START + 54 * 3_600

    found = RawHistory(counters, [slo], now).counts(slo, START, END)[()]

    assert (found.total[0], found.bad[0], found.total[11]) == (300.0, 30.0, 0.0)
    assert sum(one or 0 for one in found.total) == 300.0, "the second cohort is not mature"


def test_a_chain_is_good_where_every_stage_was_and_counts_the_events_of_its_last():
    features, train, serve = slots([5.0, 0.0], [10.0, 10.0]), None, slots([10.0, 20.0], [100.0, 100.0])

    found = composed([features, train, serve])[()]

    assert found.total == [100.0, 100.0]
    assert found.bad == pytest.approx([100 * (1 - 0.5 * 0.9), 20.0])
    assert composed([features, None]) == {}


class Recorded:
    """Answers `query_range` from a function of time, and refuses more points than Prometheus answers."""

    def __init__(self, values):
        self.values, self.asked = values, 0

    def query_range(self, query, start, end, step):
        points = [start + step * index for index in range(int((end - start) / step) + 1)]
        assert len(points) <= 11_000
        self.asked += 1
        return [Series(labels, [(at, value(at)) for at in points]) for name, labels, value in self.values if query.startswith(name)]

    def series(self, *_):
        return []


def test_a_month_of_recordings_is_one_query_per_count_and_falls_into_the_right_slots():
    slo = make(group_by=["revision"])
    labels = {"service": "shop", "slo": "availability"}
    prometheus = Recorded(
        [
            ("slo:events_total:increase5m", labels, lambda _: 100.0),
            ("slo:events_total:increase5m", {**labels, "revision": "v2"}, lambda _: 40.0),
            ("slo:events_bad:increase5m", labels, lambda at: 7.0 if at == START + 2 * SLOT else 0.0),
        ]
    )

    found = RecordedHistory(prometheus, [slo], END + 1).counts(slo, START, END)

    assert (prometheus.asked, len(found[()].total), set(found[()].total)) == (2, LENGTH, {100.0})
    assert found[()].bad[:3] == [0.0, 7.0, 0.0]
    assert set(found[("v2",)].total) == {40.0}


def test_alerts_and_acts_are_read_to_the_minute():
    fired = {"service": "shop", "alertname": "AvailabilityBudgetBurn", "slo": "availability", "alertstate": "firing", "severity": "page"}
    prometheus = Recorded(
        [
            ("ALERTS", fired, lambda _: 1.0),
            (names.ROLLOUT_ACTION_TIME.name, {"service": "shop", "revision": "v3", "action": "rollback"}, lambda _: START + 77.0),
        ]
    )
    history = RecordedHistory(prometheus, [], START + 3_600)

    (alert,) = history.alerts("shop", START, END)

    assert (alert.name, alert.start, alert.end) == ("AvailabilityBudgetBurn", START, START + 3_600)
    assert history.acts("shop", START, END) == [Act(START + 77.0, "rollback", "v3")]


def test_an_alert_that_paused_has_fired_twice():
    samples = [(START + at, 1.0) for at in (0, 30, 60, 600, 630)]
    source = type("Source", (), {"series": lambda self, metric, *_: [Series({"alertname": "A", "alertstate": "firing"}, samples)]})()

    found = RawHistory(source, [], START + 3_600).alerts("shop", START, END)

    assert [(one.start - START, one.end - START) for one in found] == [(0, 60), (600, 630)]
