"""Small histories of a service, told minute by minute, on which both engines must agree.

The generated promtool cases and the agreement tests are made from the same histories. Numbers are chosen away from
thresholds: Prometheus extrapolates increases to window edges, the Python engine does not, and 4.9 against 5 bad events is
no difference in meaning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mlops_obs import metric_names as names
from mlops_obs.slo.counters import Series
from mlops_obs.slo.indicators import counters
from mlops_obs.slo.spec import SLO

MINUTE = 60
STALE = float("nan")  # Prometheus' mark for "this series ended"


@dataclass(frozen=True, slots=True)
class Segment:
    """`minutes` with so many good and bad events per minute; `reset` restarts the process first, `gone` has no telemetry."""

    minutes: int
    good: int = 0
    bad: int = 0
    reset: bool = False
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """A history by group value ("" if the SLO is not grouped) and the minutes at which it is judged."""

    name: str
    history: Mapping[str, Sequence[Segment]]
    judged_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class History:
    """A raw counter: one value per minute from 0; None is no sample, NaN is the end of the series."""

    metric: str
    labels: Mapping[str, str]
    values: Sequence[float | None]


class RecordedCounters:
    """A CounterSource that replays histories; used by the generated tests and by backtests of one's own numbers."""

    def __init__(self, histories: Sequence[History]) -> None:
        self._histories = histories

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        """Return samples with start < t <= end, as `CounterSource` demands."""
        found = []
        for one in self._histories:
            if one.metric != metric or any(one.labels.get(key, "") != value for key, value in matchers.items()):
                continue
            timed = ((float(minute * MINUTE), value) for minute, value in enumerate(one.values) if value is not None and value == value)
            samples = [(at, value) for at, value in timed if start < at <= end]
            if samples:
                found.append(Series(one.labels, samples))
        return found


def histories(slo: SLO, scenario: Scenario) -> list[History]:
    """Return the raw counters that `scenario` leaves behind, as the instrumentation would export them."""
    counted = counters(slo)
    out: list[History] = []
    for value, segments in scenario.history.items():
        group = dict.fromkeys(slo.group_by, value)
        bad, good = _running(segments, good=False), _running(segments, good=True)
        both = [None if b is None or g is None else b + g for b, g in zip(bad, good, strict=True)]
        if slo.indicator.type == "latency":
            assert counted.good is not None  # noqa: S101 - latency counts good events
            out.append(History(counted.total.metric, {**counted.total.equal, **group}, both))
            out.append(History(counted.good.metric, {**counted.good.equal, **group}, good))
            continue
        label, good_value, bad_value = {
            "availability": (names.OUTCOME, names.OUTCOME_OK, names.OUTCOME_ERROR),
            "freshness": (names.FRESHNESS, "fresh", "late"),
            "drift": (names.VERDICT, "stable", "drifted"),
        }[slo.indicator.type]
        out.append(History(counted.total.metric, {**counted.total.equal, **group, label: good_value}, good))
        out.append(History(counted.total.metric, {**counted.total.equal, **group, label: bad_value}, bad))
    return out


def _running(segments: Sequence[Segment], *, good: bool) -> list[float | None]:
    values: list[float | None] = [0.0]
    level = 0.0
    for segment in segments:
        if segment.reset:
            level = 0.0
        for minute in range(segment.minutes):
            if segment.gone:
                values.append(STALE if minute == 0 else None)
                continue
            level += segment.good if good else segment.bad
            values.append(level)
    return values


def standard_scenarios(slo: SLO) -> list[Scenario]:
    """Return the histories that every rule file is tested on, scaled to the budget of `slo`."""
    name = "v1" if slo.group_by else ""
    slow = float(min(slo.budget * Decimal("4.5"), Decimal("0.9")))  # between the ticket and the page tiers
    rate = math.ceil(10 / slo.budget)  # whole events only: 0.1 + 0.2 > 0.3 would read as a counter reset
    steady = Segment(60, good=rate - 1, bad=1)
    outage = Segment(50, bad=rate)
    return [
        Scenario("healthy traffic stays silent", {name: [steady]}, (30, 60)),
        Scenario("an idle service stays silent", {name: [steady, Segment(30)]}, (70, 90)),
        Scenario("a total outage fires and its recovery ends it", {name: [steady, outage, Segment(20, good=rate)]}, (65, 110, 130)),
        Scenario(
            "a slow burn fires its slow tiers only", {name: [Segment(90, good=rate - round(rate * slow), bad=round(rate * slow))]}, (90,)
        ),
        Scenario(
            "a handful of failures without traffic stays silent",
            {name: [Segment(10), Segment(slo.min_bad_events - 1, good=1, bad=1), Segment(30)]},
            (13, 40),
        ),
        Scenario("a counter reset is no burn", {name: [steady, Segment(20, good=steady.good, bad=steady.bad, reset=True)]}, (62, 80)),
        Scenario("a burn goes on through a counter reset", {name: [Segment(30, bad=rate), Segment(30, bad=rate, reset=True)]}, (60,)),
        Scenario("telemetry that is gone is said to be gone", {name: [steady, Segment(30, gone=True)]}, (63, 75, 90)),
        *(
            [Scenario("a bad canary fires for its revision", {"v1": [steady, steady], "v2": [Segment(60), Segment(60, bad=20)]}, (60, 120))]
            if slo.group_by
            else []
        ),
    ]
