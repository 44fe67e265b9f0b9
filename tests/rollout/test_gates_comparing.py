"""Gates with a threshold: they hold on bad values that last, and on no data; nothing that is missing is good or bad."""

from __future__ import annotations

import json
import math

import pytest

from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.metric_names import DRIFT_ALARM, DRIFT_PSI, DRIFT_WINDOWS, GPU_SECONDS, QUALITY_BAD, QUALITY_EVENTS
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates import GateReading, GateWatch
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import Series
from mlops_obs.testing.counters import ScriptedCounters

SERVICE, BEGAN = "credit-risk", 1_000_000.0
ARMS = Arms("v1", "v2", stable_live=True, canary_since=BEGAN)


def spec_with(**gate) -> Rollout:
    return Rollout.model_validate({"service": SERVICE, "canary": "v2", "package": "/p", "gates": [{"name": "mine", **gate}]})


def look(spec, source, now, since=BEGAN) -> GateReading:
    (reading,) = GateWatch(spec, source).look(ARMS, BEGAN, since, now)
    return reading


class Answers:
    """A source that answers PromQL from a table: revision and moment to whatever the test wants to see."""

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def query(self, promql, at=None):
        self.asked.append((promql, at))
        found = self.answer(promql, at)
        if isinstance(found, Exception):
            raise found
        return [Series({"n": str(index)}, [(at, value)]) for index, value in enumerate(found)]

    def series(self, *_):
        return []


PROMQL = spec_with(type="promql", query='latency{revision="{{revision}}"}', max=0.5, **{"for": "60s"})


@pytest.mark.parametrize(
    ("answer", "ok", "words"),
    [
        (lambda *_: [0.4], True, "0.4 is within at most 0.5"),
        (lambda *_: [0.9], False, "has not been within at most 0.5 for 1 min"),
        (lambda _, at: [0.9 if at > BEGAN + 570 else 0.1], None, "for less than 1 min so far"),
        (lambda _, at: [0.9] if at > BEGAN + 570 else [], None, "for how long cannot be told"),
        (lambda *_: [], None, "no answer for v2"),
        (lambda *_: [0.1, 0.9], None, "2 series for v2; aggregate them"),
        (lambda *_: [math.nan], None, "answers nan"),
        (lambda *_: [math.inf], None, "answers inf"),
        (lambda *_: TelemetryUnavailable("OBS-PROM-004", "the answer is partial: store 3 is away"), None, "store 3 is away"),
        (lambda *_: TelemetryUnavailable("OBS-PROM-004", "answered a string where a vector was asked"), None, "answered a string"),
        (lambda *_: RuntimeError("boom"), None, "unexpected RuntimeError: boom"),
    ],
)
def test_a_query_is_good_bad_or_without_an_answer_and_never_takes_one_for_the_other(answer, ok, words):
    found = look(PROMQL, Answers(answer), BEGAN + 600)

    assert found.ok is ok
    assert words in found.words


def test_a_query_is_asked_about_both_revisions_and_its_quotes_cannot_be_broken():
    source = Answers(lambda *_: [0.1])
    arms = Arms("v1", 'v"2', stable_live=True, canary_since=BEGAN)

    GateWatch(PROMQL, source).look(arms, BEGAN, BEGAN, BEGAN + 600)

    assert [text for text, _ in source.asked] == ['latency{revision="v\\"2"}', 'latency{revision="v1"}']


def test_a_source_without_promql_says_so_and_holds():
    found = look(PROMQL, ScriptedCounters(), BEGAN + 600)

    assert found.ok is None
    assert "answers no PromQL; set prometheus: in obs.yaml" in found.words


def test_a_gate_may_be_told_to_roll_back_or_to_decide_nothing():
    stern = spec_with(type="promql", query="x{{revision}}", min=1.0, on_fail="rollback", dry_run=True)

    found = look(stern, Answers(lambda query, _: [0.0 if query == "xv2" else 2.0]), BEGAN + 600)

    assert (found.ok, found.on_fail, found.dry_run) == (False, "rollback", True)


@pytest.mark.parametrize(("on_fail", "ok"), [("rollback", None), ("hold", False)])
def test_a_query_that_is_bad_of_stable_too_turns_no_canary_back(on_fail, ok):
    gate = spec_with(type="promql", query='latency{revision="{{revision}}"}', max=0.5, on_fail=on_fail)

    found = look(gate, Answers(lambda *_: [0.9]), BEGAN + 600)

    assert found.ok is ok
    assert ("neither is 0.9 of v1" in found.words) is (ok is None)


def test_readings_are_kept_for_a_while_and_read_anew_when_the_step_changes():
    source = Answers(lambda *_: [0.1])
    watch = GateWatch(PROMQL, source)

    for now, since in ((600, 0), (610, 0), (616, 0), (617, 0), (618, 300)):
        watch.look(ARMS, BEGAN, BEGAN + since, BEGAN + now)

    assert [at - BEGAN for _, at in source.asked] == [600, 600, 616, 616, 618, 618]


def test_a_source_that_does_not_answer_is_waited_for_once_per_look_and_not_once_per_gate():
    gates = [{"name": f"g{number}", "type": "promql", "query": "x{{revision}}", "max": 1.0} for number in range(5)]
    spec = Rollout.model_validate({"service": SERVICE, "canary": "v2", "package": "/p", "gates": gates})
    source = Answers(lambda *_: TelemetryUnavailable("OBS-PROM-002", "no answer in 5 s"))

    found = GateWatch(spec, source).look(ARMS, BEGAN, BEGAN, BEGAN + 600)

    assert [(one.ok, one.words) for one in found] == [(None, "no answer in 5 s")] * 5
    assert len(source.asked) == 1


def test_there_is_nothing_to_read_before_the_canary_has_traffic():
    assert GateWatch(PROMQL, Answers(lambda *_: [9.0])).look(ARMS, None, None, BEGAN) == ()


def test_a_reading_survives_its_record():
    found = GateReading("mine", 0.123456789, math.nan, None, "words", "rollback", dry_run=True)

    back = GateReading(**json.loads(json.dumps(found.numbers())))

    assert back == GateReading("mine", 0.123457, None, None, "words", "rollback", dry_run=True)


DRIFT = spec_with(type="drift", max_psi=0.2, **{"for": "60s"})


def drifting(canary, stable, *, windows=True, until=600, verdict="stable") -> ScriptedCounters:
    """Return gauges of two features every 15 s; `canary` and `stable` map a second to the PSI of `income`."""
    counters, last = ScriptedCounters(), {}
    for second in range(-120, until + 1, 15):
        for revision, psi in (("v1", stable), ("v2", canary)):
            for feature, value in (("income", psi(second)), ("age", 0.01)):
                labels = {"service": SERVICE, "revision": revision, "feature": feature}
                counters.add(DRIFT_PSI.name, labels, value - last.get((revision, feature), 0.0))
                last[revision, feature] = value
            counters.add(DRIFT_WINDOWS.name, {"service": SERVICE, "revision": revision, "verdict": verdict}, 1.0 if windows else 0.0)
        counters.scrape(BEGAN + second)
    return counters


@pytest.mark.parametrize(
    ("source", "ok", "words"),
    [
        (drifting(lambda _: 0.05, lambda _: 0.04), True, "income of v2 is at PSI 0.050 against 0.040 of v1"),
        (drifting(lambda _: 0.6, lambda _: 0.55), True, "0.600 against 0.550"),  # the world has changed for everybody
        (drifting(lambda _: 0.6, lambda _: 0.1), False, "more than 0.2 above for 1 min"),
        (drifting(lambda second: 0.6 if second > 570 else 0.1, lambda _: 0.1), None, "less than 1 min so far"),
        (drifting(lambda second: 0.1 if second == 570 else 0.6, lambda _: 0.1), None, "less than 1 min so far"),
        (drifting(lambda _: 0.05, lambda _: 0.04, windows=False), None, "no window of v2 has been scored since the step began"),
        (drifting(lambda _: 0.05, lambda _: 0.04, verdict="inconclusive"), None, "no window of v2 has been scored"),
        (drifting(lambda _: 0.05, lambda _: 0.04, until=200), None, "cannot be compared"),  # the job died seven minutes ago
        (drifting(lambda _: math.nan, lambda _: 0.04), None, "cannot be compared"),
        (ScriptedCounters(), None, "no window of v2 has been scored"),
    ],
)
def test_drift_is_the_canary_s_own_only_where_stable_has_less_in_the_same_minutes(source, ok, words):
    found = look(DRIFT, source, BEGAN + 600, since=BEGAN + 120)

    assert found.ok is ok
    assert words in found.words


def test_a_drift_job_that_last_scored_before_the_step_says_nothing_about_it():
    counters = drifting(lambda _: 0.05, lambda _: 0.04, until=300)
    for second in range(315, 601, 15):  # its process lives on and reports the old window
        counters.scrape(BEGAN + second)

    assert look(DRIFT, counters, BEGAN + 600, since=BEGAN + 100).ok is True
    assert look(DRIFT, counters, BEGAN + 600, since=BEGAN + 310).ok is None


@pytest.mark.parametrize(("psi", "ok"), [(0.05, True), (0.9, False)])
def test_a_feature_that_stable_does_not_read_is_judged_by_the_canary_s_own_reference(psi, ok):
    counters = drifting(lambda _: 0.05, lambda _: 0.04, until=0)
    for second in range(15, 601, 15):
        if second == 15:
            counters.add(DRIFT_PSI.name, {"service": SERVICE, "revision": "v2", "feature": "spend"}, psi)
        counters.add(DRIFT_WINDOWS.name, {"service": SERVICE, "revision": "v2", "verdict": "stable"}, 1.0)
        counters.scrape(BEGAN + second)

    found = look(DRIFT, counters, BEGAN + 600, since=BEGAN + 120)

    assert found.ok is ok
    assert ok or "spend of v2 is at PSI 0.900 against its own reference; v1 does not read it" in found.words


@pytest.mark.parametrize(("alarmed", "ok"), [(("v2",), False), (("v1", "v2"), True), (("v1",), True)])
def test_an_alarm_that_only_the_canary_has_is_enough(alarmed, ok):
    counters = drifting(lambda _: 0.05, lambda _: 0.04, until=585)
    for revision in alarmed:
        counters.add(DRIFT_ALARM.name, {"service": SERVICE, "revision": revision, "feature": "income", "kind": "unit"}, 1.0)
    counters.scrape(BEGAN + 595)

    found = look(DRIFT, counters, BEGAN + 600, since=BEGAN + 120)

    assert found.ok is ok
    assert ok or found.words == "drift alarm of v2 and not of v1: income (unit)"


COST = spec_with(type="gpu_cost", max_ratio=1.2, **{"for": "60s"})


def spending(canary, stable, requests=10, until=120) -> ScriptedCounters:
    counters = ScriptedCounters()
    for second in range(-20, until + 1, 5):
        for revision, seconds in (("v1", stable), ("v2", canary)):
            counters.add(GPU_SECONDS.name, {"service": SERVICE, "revision": revision}, seconds * requests)
            counters.add_requests(SERVICE, revision, total=requests)
        counters.scrape(BEGAN + second)
    return counters


@pytest.mark.parametrize(
    ("source", "since", "ok", "words"),
    [
        (spending(0.011, 0.010), 0, True, "0.011 GPU-seconds on v2 and 0.01 on v1"),
        (spending(0.020, 0.010), 0, False, "more than 1.2 times"),
        (spending(0.020, 0.010), 90, None, "for less than 1 min so far"),
        (spending(0.020, 0.010, requests=1), 0, None, "are too few"),
        (spending(0.020, 0.0), 0, None, "without a cost of stable"),
        (spending(math.nan, 0.010), 0, None, "no number"),
        (spending(0.010, 0.010, until=20), 0, None, "is old"),
        (ScriptedCounters(), 0, None, "is not there"),
    ],
)
def test_gpu_time_is_compared_by_the_request(source, since, ok, words):
    found = look(COST, source, BEGAN + 120, since=BEGAN + since)

    assert found.ok is ok
    assert words in found.words


QUALITY = spec_with(type="quality", cohort="5m", maturity="10m", min_labels=50)
GRID = math.ceil(BEGAN / 300) * 300.0


def labelled(*cohorts) -> ScriptedCounters:
    """Return gauges of (cohort number, revision, wrong, labelled, arrives at second after the grid began)."""
    counters, last = ScriptedCounters(), {}
    for second in range(0, 2_400, 60):
        for number, revision, wrong, events, arrives in cohorts:
            labels = {"service": SERVICE, "revision": revision, "cohort": str(int(GRID + number * 300))}
            for metric, value in ((QUALITY_EVENTS, events), (QUALITY_BAD, wrong)):
                value = value if second >= arrives else 0
                counters.add(metric.name, labels, value - last.get((metric.name, number, revision), 0))
                last[metric.name, number, revision] = value
        counters.scrape(GRID + second)
    return counters


@pytest.mark.parametrize(
    ("source", "now", "ok", "words"),
    [
        (labelled((0, "v1", 20, 400, 300), (0, "v2", 9, 100, 300)), 600, None, "no cohort of this rollout is mature; the first will be in"),
        (labelled((0, "v1", 20, 400, 300), (0, "v2", 9, 100, 300)), 960, True, "9.0% (9/100) of v2's against 5.0% (20/400) of v1's"),
        (labelled((0, "v1", 20, 400, 300), (0, "v2", 9, 100, 1_500)), 1_800, None, "none with 50 labels of both"),  # labels come too late
        (labelled((0, "v1", 20, 400, 300)), 2_000, None, "none with 50 labels of both"),  # never
        (labelled((1, "v1", 20, 400, 300), (1, "v2", 9, 100, 300), (0, "v1", 1, 60, 1_200)), 1_260, True, "in 1 cohorts"),  # out of order
    ],
)
def test_labels_count_only_in_mature_cohorts_of_both_arms(source, now, ok, words):
    found = look(QUALITY, source, GRID + now)

    assert found.ok is ok
    assert words in found.words


def test_a_gate_that_can_never_count_says_why_and_holds():
    found = look(spec_with(type="slo", slo="gone"), ScriptedCounters(), BEGAN + 60)

    assert found.ok is None
    assert found.words == "it has no data: the service has no SLO gone; known: none"
