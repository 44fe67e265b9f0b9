"""Recordings of predictions whose labels come late: counted by cohort, in the window in which the cohort became mature.

Unlike counts of requests they are not recorded once and added up: at every evaluation each window is read anew from the gauges of
the cohorts, so a late label changes the past. The trap is a cohort that is not mature: the labels that come first are not a fair
sample, so it never counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlops_obs.slo import windows as span
from mlops_obs.slo.indicators import Cohorts
from mlops_obs.slo.raw_samples import Flavour, Floats, RawSeries, Times, instant
from mlops_obs.slo.recordings import Counts, Group, Read, Recordings
from mlops_obs.slo.spec import SLO

Bools = npt.NDArray[np.bool_]


@dataclass(slots=True)
class _Cohort:
    group: Group
    start: float
    events: Floats  # at every evaluation; NaN where the gauge is not there
    bad: Floats
    known: Bools  # whether its start is there


@dataclass(slots=True)
class CohortRecordings(Recordings):
    """Recordings whose every window is computed from the gauges at the moment of the evaluation."""

    kind: Cohorts = field(kw_only=True)
    cohorts: Sequence[_Cohort] = field(kw_only=True)
    there: Mapping[Group, Floats] = field(kw_only=True)

    def window(self, group: Group, seconds: int) -> Counts:
        """Return bad and all events of the cohorts of `group` that became mature in the last `seconds`."""
        return self._since(group, self.at - (self.kind.cohort + self.kind.maturity + seconds))

    def period(self, group: Group) -> Counts:
        """Return bad and all events of the mature cohorts that began in the period."""
        if self.slo.calendar is None:
            return self.window(group, self.slo.period_seconds)
        return self._since(group, self.period_starts() - 1)

    def covered(self, group: Group, seconds: int) -> Floats:
        """Return the length of all cohorts that became mature in the last `seconds`, an hour at least."""
        seen: dict[float, Bools] = {}
        for one in self.cohorts:
            if not group or one.group == group:
                counts = self._mature(one) & (one.start > self.at - (self.kind.cohort + self.kind.maturity + seconds)) & one.known
                seen[one.start] = seen.get(one.start, counts) | counts
        found = np.zeros(len(self.at))
        for counts in seen.values():
            found += counts * self.kind.cohort
        return np.maximum(found, span.HOUR)

    def _mature(self, one: _Cohort) -> Bools:
        return np.asarray(self.at >= one.start + self.kind.cohort + self.kind.maturity)

    def _since(self, group: Group, after: Times) -> Counts:
        """Add up the mature cohorts that began after `after` (an instant per evaluation)."""
        bad, total = self.there[group].copy(), self.there[group].copy()
        for one in self.cohorts:
            if group and one.group != group:
                continue
            counts = self._mature(one) & (one.start > after) & ~np.isnan(one.events)
            bad[counts] += np.nan_to_num(one.bad[counts])
            total[counts] += one.events[counts]
        return bad, total


def record_cohorts(slo: SLO, kind: Cohorts, read: Read, at: Times, flavour: Flavour) -> CohortRecordings:
    """Return the recordings of `kind` at the evaluations `at` (Unix seconds); see `record`."""
    now_ms = at * 1000
    starts = {_mark(one): one for one in read(kind.start)}
    wrong = {_mark(one): one for one in read(kind.bad)}
    nothing = np.full(len(at), np.nan)
    cohorts: list[_Cohort] = []
    there: dict[Group, Floats] = {}
    alive = np.zeros(len(at), dtype=np.bool_)
    for one in read(kind.events):
        events, mark = instant(one, now_ms, flavour), _mark(one)
        seen = ~np.isnan(events)
        alive |= seen
        group = tuple(one.labels.get(label, "") for label in slo.group_by)
        for mine in {(), group if any(group) else ()}:
            there[mine] = np.where(seen, 0.0, there.get(mine, nothing))
        if mark in starts:
            known = starts[mark]
            began = known.values[~np.isnan(known.values)]
            started = ~np.isnan(instant(known, now_ms, flavour))
            events = np.where(started, events, np.nan)
            bad = instant(wrong[mark], now_ms, flavour) if mark in wrong else np.zeros(len(at))
            if len(began):
                cohorts.append(_Cohort(group, float(began[-1]), events, bad, started))
    found = CohortRecordings(slo, at, {}, alive, kind=kind, cohorts=cohorts, there=there)
    found.raw = {group: {window: found.window(group, window) for window in (span.BASE, span.HOUR)} for group in there}
    return found


def _mark(one: RawSeries) -> frozenset[tuple[str, str]]:
    return frozenset((key, value) for key, value in one.labels.items() if key != "__name__")
