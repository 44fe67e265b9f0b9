"""Stories of predictions whose labels come late: cohorts of predictions as gauges, some long mature, some not yet.

A cohort tells its age by its start, so a story of three days takes minutes: its cohorts begin before the story does. The trap that
these stories set is the cohort that is not mature: it is all bad, and must stay silent to the minute in which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops_obs import metric_names as names
from mlops_obs.slo import windows as span
from mlops_obs.slo.calendar import next_period_start, period_start
from mlops_obs.slo.indicators import Cohorts, source
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import MINUTE, WHOLE, Counts, Told


@dataclass(frozen=True, slots=True)
class Cohort:
    """Predictions made from minute `start` on: how many are labelled, and how many of them are wrong; `late` more from minute `late_at`."""

    start: int
    events: int
    bad: int
    late: int = 0
    late_at: int = 0


class ToldCohorts(Told):
    """What is counted of cohorts: those that are mature and ended, before their maturity, in the window."""

    def __init__(self, slo: SLO, cohorts: Mapping[str, Sequence[Cohort]], gone_at: int | None = None) -> None:
        super().__init__(slo, {}, 1)
        self._cohorts, self._gone_at = cohorts, gone_at
        self.kind = cohorts_of(slo)
        self.wait = (self.kind.cohort + self.kind.maturity) // MINUTE
        self.groups = [WHOLE, *(sorted(cohorts) if slo.group_by else ())]
        self.alike = len(cohorts) == 1

    def raw(self, group: str, now: int, minutes: int) -> Counts:
        """Return the events of the cohorts that became mature in the last `minutes`."""
        bad = total = 0
        for one in self._mature(group, now, now - self.wait - minutes):
            bad += one.bad + (one.late if now >= one.late_at else 0)
            total += one.events
        return bad, total

    def window(self, group: str, now: int, seconds: int) -> Counts:
        """Return the same: every window is read anew from the gauges."""
        return self.raw(group, now, seconds // MINUTE)

    def period(self, group: str, now: int) -> tuple[Counts, float, int]:
        """Return the counts of the period, for how long cohorts have been counted in it, and its length."""
        slo = self.slo
        if slo.calendar is None:
            length = slo.period_seconds
            counted = {one.start for one in self._mature(group, now, now - self.wait - length // MINUTE)}
            return self.window(group, now, length), min(max(len(counted) * self.kind.cohort, span.HOUR), length), length
        begin = period_start(slo.calendar, slo.time_zone, now * MINUTE)
        length = next_period_start(slo.calendar, slo.time_zone, now * MINUTE) - begin
        return self.raw(group, now, now - self.wait - begin // MINUTE + 1), max(now * MINUTE - begin, span.HOUR), length

    def _mature(self, group: str, now: int, after: int) -> Iterator[Cohort]:
        for value, cohorts in self._cohorts.items():
            if group in (WHOLE, value):
                yield from (one for one in cohorts if after < one.start <= now - self.wait)

    @property
    def gone_at(self) -> int | None:
        """The minute from which the gauges are gone."""
        return self._gone_at


def cohorts_of(slo: SLO) -> Cohorts:
    """Return how the cohorts of `slo` are counted."""
    found = source(slo)
    assert isinstance(found, Cohorts)  # noqa: S101 - asked for quality objectives only
    return found


def spoken_cohorts(
    slo: SLO, cohorts: Mapping[str, Sequence[Cohort]], minutes: int, gone_at: int | None
) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield (metric, labels, values in promtool's shorthand) of the gauges of `cohorts`."""
    kind = cohorts_of(slo)
    for value, ones in cohorts.items():
        for one in ones:
            labels = {**kind.events.equal, **dict.fromkeys(slo.group_by, value), names.COHORT: str(one.start * MINUTE)}
            for selector, number, late in (
                (kind.events, one.events, 0),
                (kind.bad, one.bad, one.late),
                (kind.start, one.start * MINUTE, 0),
            ):
                yield selector.metric, labels, _values(number, late, one.late_at, minutes, gone_at)


def _values(number: int, late: int, late_at: int, minutes: int, gone_at: int | None) -> str:
    if gone_at is not None:
        return f"{number}+0x{gone_at - 1} stale"
    if late:
        return f"{number}+0x{late_at - 1} {number + late}+0x{minutes - late_at}"
    return f"{number}+0x{minutes}"
