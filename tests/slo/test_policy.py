"""The ladder of a budget policy, and the cheap reading of what is left."""

from __future__ import annotations

import pytest

from mlops_obs import metric_names as names
from mlops_obs.slo.policy import in_force, strictest
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.standing import read_standing
from mlops_obs.testing.counters import ScriptedCounters

POLICY = [{"below": "0.25", "action": "warn"}, {"below": "0.10", "action": "freeze"}, {"below": 0, "action": "rollback"}]
NOW = 1_800_000_000.0


def make(**changes):
    fields = {"service": "shop", "team": "web", "name": "availability", "objective": "0.99", "indicator": {"type": "availability"}}
    return SLO.model_validate({**fields, "budget_policy": POLICY, **changes})


@pytest.mark.parametrize(
    ("remaining", "actions"),
    [
        (1.0, []),
        (0.25, []),
        (0.2499, ["warn"]),
        (0.1, ["warn"]),
        (0.05, ["warn", "freeze"]),
        (0.0, ["warn", "freeze"]),
        (-0.4, ["warn", "freeze", "rollback"]),
        (None, []),
    ],
)
def test_a_step_is_in_force_below_its_share_and_not_at_it_and_never_for_an_unknown_budget(remaining, actions):
    assert actions == [rung.action for rung in in_force(make(), remaining)]


def test_the_sternest_step_of_the_emptiest_budget_decides():
    rungs = [*in_force(make(name="latency"), 0.05), *in_force(make(), 0.02), *in_force(make(name="drift"), 0.2)]

    found = strictest(rungs)

    assert (found.slo.name, found.action) == ("availability", "freeze")
    assert found.words == "2 % of the 30d error budget of availability is left (freeze below 10 %)"
    assert strictest([]) is None


def test_words_of_an_overspent_calendar_budget_say_that_nothing_is_left():
    (*_, rung) = in_force(make(period="month"), -2.5)

    assert rung.words == "nothing of the monthly error budget of availability is left (rollback below 0 %)"


def test_the_recording_of_the_whole_service_is_read_before_raw_samples():
    counters = ScriptedCounters()
    for revision, left in (("", 0.4), ("v2", -3.0)):
        labels = {"service": "shop", "slo": "availability"} | ({"revision": revision} if revision else {})
        counters.add(names.SLO_BUDGET_REMAINING, labels, left)
    counters.scrape(NOW - 10)

    assert read_standing(make(group_by=["revision"]), counters, NOW).remaining == 0.4
    assert counters.queries == 1


def test_an_old_recording_is_none_and_raw_samples_are_counted_instead():
    counters = ScriptedCounters()
    counters.add(names.SLO_BUDGET_REMAINING, {"service": "shop", "slo": "availability"}, -1.0)
    counters.scrape(NOW - 900)
    counters.silence({"slo": "availability"})
    for minute in range(90):
        counters.add_requests("shop", "v1", total=100, errors=10 if minute == 80 else 0)
        counters.scrape(NOW - 5_400 + 60 * (minute + 1))

    assert 0 < read_standing(make(), counters, NOW).remaining < 1


def test_what_cannot_be_read_is_unknown_and_says_why():
    counters = ScriptedCounters()
    silent = read_standing(make(), counters, NOW)
    counters.start_outage("503 from Prometheus")
    away = read_standing(make(), counters, NOW)

    assert (silent.remaining, away.remaining) == (None, None)
    assert "nothing is counted for availability" in silent.problem
    assert "503 from Prometheus" in away.problem


def record(counters, name, value, **labels):
    counters.add(name, {"service": "shop", "slo": "availability", **labels}, value)


def test_of_two_recordings_the_emptier_budget_counts_and_one_that_is_no_number_is_unknown():
    counters, broken = ScriptedCounters(), ScriptedCounters()
    record(counters, names.SLO_BUDGET_REMAINING, 0.9, cluster="a")
    record(counters, names.SLO_BUDGET_REMAINING, 0.05, cluster="b")
    record(broken, names.SLO_BUDGET_REMAINING, float("nan"))
    for one in (counters, broken):
        one.scrape(NOW - 10)

    assert read_standing(make(), counters, NOW).remaining == 0.05
    assert read_standing(make(), broken, NOW).remaining is None


def test_a_budget_that_the_rules_have_not_recorded_is_not_a_full_one():
    promql = {"type": "ratio", "bad": "sum(increase(bad[{{.window}}]))", "total": "sum(increase(all[{{.window}}]))"}
    counters = ScriptedCounters()
    for window in ("5m", "1h", "30d"):
        record(counters, names.SLO_TOTAL.format(window=window), 1_000.0)
        record(counters, names.SLO_BAD.format(window=window), 900.0)
    for second in range(0, 3_600, 60):
        counters.add_requests("shop", "v1", total=10, errors=9)
        counters.scrape(NOW - 3_600 + second)

    assert read_standing(make(indicator=promql), counters, NOW).remaining is None
    assert read_standing(make(), counters, NOW).remaining < 1, "counted from raw samples"
