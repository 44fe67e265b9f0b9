"""Gates that count put bad and all events of both arms into the slices; what was not seen is absent, never zero."""

from __future__ import annotations

import math

import pytest

from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.metric_names import QUALITY_BAD, QUALITY_EVENTS
from mlops_obs.rollout.evidence.reader import EvidenceReader
from mlops_obs.rollout.evidence.slices import Arms, Evidence
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.spec import SLO
from mlops_obs.testing.counters import ScriptedCounters

SERVICE, BEGAN = "credit-risk", 1_000_000.0
ARMS = Arms("v1", "v2", stable_live=True, canary_since=BEGAN)
AVAILABILITY = SLO.model_validate(
    {"service": SERVICE, "team": "risk", "name": "availability", "objective": "0.99", "indicator": {"type": "availability"}}
)
LATENCY = AVAILABILITY.model_copy(update={"name": "latency"})


def spec_with(*gates, **changes) -> Rollout:
    return Rollout.model_validate(
        {"service": SERVICE, "canary": "v2", "package": "/p", "gates": [{"name": "mine", **one} for one in gates], **changes}
    )


def read(spec, counters, now, slos=(AVAILABILITY,), known=()) -> Evidence:
    found = EvidenceReader(counters, spec, slos).read(ARMS, BEGAN, known, [(BEGAN, 20)], now)
    assert isinstance(found, Evidence), found
    return found


def traffic(seconds: int, each=None) -> ScriptedCounters:
    """Return counters of `seconds` of traffic; `each(counters, second)` adds more before each scrape."""
    counters = ScriptedCounters()
    for second in range(-60, seconds + 1):
        counters.add_requests(SERVICE, "v1", total=40, errors=1)
        counters.add_requests(SERVICE, "v2", total=10, errors=2)
        if each:
            each(counters, second)
        counters.scrape(BEGAN + second)
    return counters


def test_the_events_of_an_slo_are_counted_by_revision_in_every_slice():
    found = read(spec_with({"type": "slo", "slo": "availability"}), traffic(6), BEGAN + 6)

    assert [dict(one.canary.gates) for one in found.slices] == [{"mine": (4, 20)}] * 3
    assert [dict(one.stable.gates) for one in found.slices] == [{"mine": (2, 80)}] * 3


COUNTERS = {"type": "counters", "bad": 'answers_total{verdict="refused"}', "total": "answers_total"}


def answers(counters, second, *, revisions=("v1", "v2"), refused=1, labels=None, every=1):
    if second % every == 0:
        for revision in revisions:
            base = {"service": SERVICE, "revision": revision, **(labels or {})}
            counters.add("answers_total", {**base, "verdict": "given"}, 9 * every)
            counters.add("answers_total", {**base, "verdict": "refused"}, refused * every)


def test_counters_of_ones_own_are_selected_as_promql_would():
    found = read(spec_with(COUNTERS), traffic(4, answers), BEGAN + 4)

    assert [dict(one.canary.gates) for one in found.slices] == [{"mine": (2, 20)}] * 2


@pytest.mark.parametrize(
    ("each", "why"),
    [
        (None, "the metric is not there, or has another name"),
        (lambda counters, second: answers(counters, second, revisions=("v1",)), "there are none of the canary"),
        (lambda counters, second: answers(counters, second, refused=math.nan), "a counter is not a number"),
    ],
)
def test_a_gate_without_data_is_absent_and_spoils_no_slice(each, why):
    found = read(spec_with(COUNTERS), traffic(4, each), BEGAN + 4)

    assert [(dict(one.canary.gates), one.missing, one.canary.total) for one in found.slices] == [({}, "", 20)] * 2, why


def test_an_slo_that_is_not_there_or_not_counted_by_revision_is_noted_and_has_no_data():
    fresh = SLO.model_validate(
        {"service": SERVICE, "team": "t", "name": "up", "objective": "0.9", "indicator": {"type": "boolean", "metric": "probe_success"}}
    )
    notes = [
        read(spec_with({"type": "slo", "slo": name}), traffic(4), BEGAN + 4, slos=(AVAILABILITY, fresh)).notes for name in ("gone", "up")
    ]

    assert notes[0] == ("gate mine has no data: the service has no SLO gone; known: availability, up",)
    assert "not counted by revision (its indicator is boolean)" in notes[1][0]


def test_counters_that_are_scraped_more_rarely_than_a_slice_are_compared_by_the_block():
    """Canary and stable are scraped 15 s apart; in slices of 2 s no slice would ever hold both."""

    def each(counters, second):
        answers(counters, second, revisions=("v1",), labels={"instance": "a"}, every=30)
        answers(counters, second - 15, revisions=("v2",), labels={"instance": "b"}, every=30)

    counters = traffic(240, each)
    for key in list(counters._samples):  # each process is scraped at its own time only
        if key[0] == "answers_total":
            shift = 0 if ("instance", "a") in key[1] else 15
            counters._samples[key] = [(at, value) for at, value in counters._samples[key] if (at - BEGAN - shift) % 30 == 0]

    found = read(spec_with(COUNTERS), counters, BEGAN + 240)

    told = [(one.end - BEGAN, one.canary.gates["mine"], one.stable.gates["mine"]) for one in found.slices if one.canary.gates]
    assert told == [(94.0, (60, 600), (60, 600)), (154.0, (60, 600), (60, 600)), (214.0, (60, 600), (60, 600))]


QUALITY = {"type": "quality", "cohort": "60s", "maturity": "30s", "min_labels": 10}
GRID = math.ceil(BEGAN / 60) * 60.0


def test_a_cohort_speaks_once_when_it_is_mature_and_late_labels_change_nothing():
    def each(counters, second):
        now = BEGAN + second
        for number in range(3):
            start = GRID + 60 * number
            for revision, events, wrong in (("v1", 40, 2), ("v2", 20, 5)):
                labels = {"service": SERVICE, "revision": revision, "cohort": str(int(start))}
                late = 50 if now >= start + 150 else 0  # labels that come after the cohort was judged
                for metric, value in ((QUALITY_EVENTS, events + late), (QUALITY_BAD, wrong + late)):
                    here = counters._values.get((metric.name, tuple(sorted(labels.items()))), 0.0)
                    counters.add(metric.name, labels, (value if now >= start + 60 else 0) - here)

    counters = traffic(300, each)

    found = read(spec_with(QUALITY), counters, BEGAN + 300)

    told = [(one.end, one.canary.gates["mine"], one.stable.gates["mine"]) for one in found.slices if one.canary.gates]
    assert [(canary, stable) for _, canary, stable in told] == [((5, 20), (2, 40))] * 3
    assert all(0 <= end - (GRID + 60 * number + 90) < 2 for number, (end, _, _) in enumerate(told))


def cohorts(counters, second, number=3):
    for start in (GRID + 60 * one for one in range(number)):
        for revision, events, wrong in (("v1", 40, 2), ("v2", 20, 5)):
            labels = {"service": SERVICE, "revision": revision, "cohort": str(int(start))}
            for metric, value in ((QUALITY_EVENTS, events), (QUALITY_BAD, wrong)):
                here = counters._values.get((metric.name, tuple(sorted(labels.items()))), 0.0)
                counters.add(metric.name, labels, (value if second + BEGAN >= start + 60 else 0) - here)


class UpTo:
    """The samples that there are at `now`; metrics that are `away` raise."""

    def __init__(self, counters, now):
        self._counters, self.now, self.away = counters, now, set()

    def series(self, metric, matchers, start, end):
        if metric in self.away:
            raise TelemetryUnavailable("OBS-PROM-001", "it is away")
        return self._counters.series(metric, matchers, start, min(end, self.now))


def unscraped(counters, metrics, start, end):
    for key in list(counters._samples):
        if key[0] in metrics:
            counters._samples[key] = [(at, value) for at, value in counters._samples[key] if not start <= at < end]


@pytest.mark.parametrize("looks", [(300,), (200, 300), (100, 140, 160, 300)])
def test_what_falls_due_while_nothing_is_seen_is_told_once_in_the_first_slice_that_is(looks):
    def each(counters, second):
        cohorts(counters, second)
        answers(counters, second, labels={"instance": "elsewhere"}, every=1)

    counters = traffic(300, each)
    due = GRID + 60 + 90  # of the second cohort
    unscraped(
        counters, {name for name, _ in counters._samples} - {QUALITY_EVENTS.name, QUALITY_BAD.name, "answers_total"}, due - 60, due + 30
    )
    spec = spec_with(QUALITY, {**COUNTERS, "name": "answers"})
    known = ()
    for look in looks:  # each by a controller that was started anew
        found = EvidenceReader(UpTo(counters, BEGAN + look), spec).read(ARMS, BEGAN, known, [(BEGAN, 20)], BEGAN + look)
        known = found.slices if isinstance(found, Evidence) else known

    missing = [one for one in known if one.missing]
    assert missing[0].start < due < missing[-1].end
    assert sum(one.canary.gates.get("mine", (0, 0))[1] for one in known) == 60
    assert sum(one.canary.gates.get("answers", (0, 0))[1] for one in known) == 240 * 10


def test_a_cohort_that_falls_due_while_its_source_is_away_speaks_when_it_is_back():
    counters = traffic(300, cohorts)
    source = UpTo(counters, BEGAN)
    reader, known = EvidenceReader(source, spec_with(QUALITY)), ()
    for look, away in ((140, {QUALITY_EVENTS.name}), (200, {QUALITY_EVENTS.name}), (300, set())):
        source.now, source.away = BEGAN + look, away
        known = reader.read(ARMS, BEGAN, known, [(BEGAN, 20)], BEGAN + look).slices

    assert sum(one.canary.gates.get("mine", (0, 0))[1] for one in known) == 60


@pytest.mark.parametrize(
    "labels",
    [
        lambda now, start: (0, 0),  # they never arrive
        lambda now, start: (9, 9) if now >= start + 60 else (0, 0),  # too few for a verdict
        lambda now, start: (50, 25) if now >= start + 7_200 else (0, 0),  # two hours late
    ],
)
def test_labels_that_are_missing_or_few_or_late_give_no_verdict(labels):
    def each(counters, second):
        for revision in ("v1", "v2"):
            key = {"service": SERVICE, "revision": revision, "cohort": str(int(GRID))}
            for metric, value in zip((QUALITY_EVENTS, QUALITY_BAD), labels(BEGAN + second, GRID), strict=True):
                here = counters._values.get((metric.name, tuple(sorted(key.items()))), 0.0)
                counters.add(metric.name, key, value - here)

    found = read(spec_with(QUALITY), traffic(240, each), BEGAN + 240)

    assert not any(one.canary.gates or one.stable.gates for one in found.slices)


def test_the_whole_latency_distribution_is_counted_where_a_gate_asks_for_it():
    from mlops_obs.metric_names import LATENCY_BUCKETS

    def fill(bounds):
        counters = ScriptedCounters()
        for second in range(-5, 5):
            for revision, slow in (("v1", 1), ("v2", 5)):
                above = {bound: 10 if bound < 0.05 else slow if bound < 0.5 else 0 for bound in bounds}
                counters.add_requests(SERVICE, revision, total=10, slow=above[0.25], slower=above)
            counters.scrape(BEGAN + second)
        return counters

    spec = spec_with({"type": "latency"})
    whole, partial = (read(spec, fill(bounds), BEGAN + 4) for bounds in (LATENCY_BUCKETS, LATENCY_BUCKETS[3:]))

    assert whole.bounds == LATENCY_BUCKETS
    assert [one.canary.slower for one in whole.slices] == [tuple(20 if b < 0.05 else 10 if b < 0.5 else 0 for b in LATENCY_BUCKETS)] * 2
    assert [(one.canary.slower, one.canary.slow) for one in partial.slices] == [((), 10)] * 2
