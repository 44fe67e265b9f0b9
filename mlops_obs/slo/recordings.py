"""What the recording rules of one SLO would hold at every evaluation: bad and all events, per group and window, on arrays.

Short windows are read from raw samples, long ones add up counts "recorded" before, on the grids of `windows.py`, exactly as the
Prometheus rules do. Counts that somebody else has made already (an export, 5-minute counts in a file) come in by `from_counts`.

The trap: absent is NaN and idle is 0. Absent adds nothing to a window and never makes it absent while any other point is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mlops_obs.slo import windows as span
from mlops_obs.slo.calendar import next_period_start, period_start, whole_hours
from mlops_obs.slo.indicators import Counters, Samples, Selector
from mlops_obs.slo.raw_samples import (
    Flavour,
    Floats,
    RawSeries,
    RunningSum,
    Times,
    add_up,
    count_over_time,
    increase,
    present,
    sum_over_time,
)
from mlops_obs.slo.spec import SLO, CalendarPeriod

Group = tuple[str, ...]  # values of `group_by`; () is the service as a whole
Counts = tuple[Floats, Floats]  # bad and all events at each evaluation; NaN: absent
Read = Callable[[Selector], Iterable[RawSeries]]


@dataclass(slots=True)
class Recordings:
    """Recorded counts of one SLO. `at` are the evaluations in Unix seconds, evenly spaced and at most 5 minutes apart.

    `raw` holds per group the windows that are read from raw counters: 5 min and 1 h at least. `alive` says at which evaluations
    the total counter was there at all.
    """

    slo: SLO
    at: Times
    raw: Mapping[Group, Mapping[int, Counts]]
    alive: npt.NDArray[np.bool_]
    sliced: bool = False
    _sums: dict[tuple[Group, int], tuple[RunningSum, RunningSum]] = field(default_factory=dict)

    def groups(self) -> list[Group]:
        """Return the groups that were ever counted, the service as a whole first."""
        return sorted(self.raw)

    def window(self, group: Group, seconds: int) -> Counts:
        """Return bad and all events of `group` in the last `seconds`, at every evaluation."""
        if span.is_raw(seconds, sliced=self.sliced):
            return self.raw[group][seconds]
        bad, total, _ = self._sum(group, span.parts(self.at, seconds))
        if self.sliced:
            return bad, total
        hour_bad, hour_total = self.raw[group][span.HOUR]
        return np.fmax(bad, hour_bad), np.fmax(total, hour_total)

    def period(self, group: Group) -> Counts:
        """Return bad and all events of `group` in the period, at every evaluation: the last 30 d, or this month so far."""
        if self.slo.calendar is None:
            return self.window(group, self.slo.period_seconds)
        bad, total, _ = self._sum(group, self._calendar_parts())
        # In the first five minutes nothing of the period has been counted yet: no event, and not "unknown".
        bad_now, total_now = self.raw[group][span.BASE]
        return np.where(np.isnan(bad), bad_now * 0, bad), np.where(np.isnan(total), total_now * 0, total)

    def period_starts(self) -> Times:
        """Return when the calendar period of each evaluation began, in Unix seconds."""
        return self._calendar(period_start)

    def _calendar(self, edge: Callable[[CalendarPeriod, str, float], int]) -> Times:
        """Return `period_start` or `next_period_start` of each evaluation, found once per period."""
        kind, zone = self.slo.calendar, self.slo.time_zone
        assert kind is not None  # noqa: S101 - asked for calendar periods only
        found, index = np.empty(len(self.at), dtype=np.int64), 0
        while index < len(self.at):
            now = float(self.at[index])
            upto = int(np.searchsorted(self.at, next_period_start(kind, zone, now)))
            found[index:upto], index = edge(kind, zone, now), upto
        return found

    def elapsed(self, group: Group) -> Floats:
        """Return for how many seconds of the period the budget has been spent: an hour at least.

        A calendar period has gone on since it began. A rolling one counts the time that was recorded, so that a service that is
        an hour old has not spent a month's budget with its first error.
        """
        if self.slo.calendar is not None:
            since: Floats = np.maximum(self.at - self.period_starts(), span.HOUR).astype(np.float64)
            return since
        return self.covered(group, self.slo.period_seconds)

    def remaining(self, group: Group) -> Floats:
        """Return the share of the period's budget that is left; below 0 it is overspent, 1 without events, NaN where nothing is known."""
        bad, total = self.period(group)
        with np.errstate(invalid="ignore"):
            ratio: Floats = np.divide(bad, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0)
        if self.slo.calendar is None:
            length: Floats | int = self.slo.period_seconds
        else:
            length = (self._calendar(next_period_start) - self.period_starts()).astype(np.float64)
        left: Floats = 1 - ratio * np.minimum(self.elapsed(group), length) / (float(self.slo.budget) * length)
        return left

    def covered(self, group: Group, seconds: int) -> Floats:
        """Return how many of the last `seconds` were counted at all, an hour at least."""
        _, _, counted = self._sum(group, span.parts(self.at, seconds))
        return np.maximum(counted, span.HOUR)

    def seen(self, seconds: int) -> npt.NDArray[np.bool_]:
        """Say whether the service was counted within the last `seconds`, at a point of the hour grid or, of late, of the 5-minute grid."""
        if () not in self.raw:
            return np.zeros(len(self.at), dtype=np.bool_)

        def any_of(window: int, step: int) -> npt.NDArray[np.bool_]:
            points = span.Part(span.floor(self.at - window, step) + step, span.floor(self.at, step), step)
            return self._sum((), [points])[2] > 0

        return any_of(span.HOUR, span.BASE) | any_of(seconds, span.HOUR)

    def _calendar_parts(self) -> list[span.Part[Times]]:
        return span.calendar_parts(self.at, self.period_starts(), whole_hours=whole_hours(self.slo.time_zone))

    def _sum(self, group: Group, parts: Sequence[span.Part[Times]]) -> tuple[Floats, Floats, Floats]:
        """Return bad, total and the seconds counted in `parts`. What is missing counts as nothing, unless all of it is."""
        bad, total, seconds = (np.zeros(len(self.at)) for _ in range(3))
        for part in parts:
            begin = -(-int(self.at[0]) // part.step) * part.step
            low, high = (part.first - begin) // part.step, (part.last - begin) // part.step
            bads, totals = self._running(group, part.step)
            total_sum, there = totals.between(low, high)
            bad, total, seconds = bad + bads.between(low, high)[0], total + total_sum, seconds + there * part.step
        nothing = seconds == 0
        bad[nothing], total[nothing] = np.nan, np.nan
        return bad, total, seconds

    def _running(self, group: Group, step: int) -> tuple[RunningSum, RunningSum]:
        key = (group, step)
        if key not in self._sums:
            begin, end = -(-int(self.at[0]) // step) * step, int(self.at[-1])
            # A rule that is evaluated between two points of the grid is read as it was at its last evaluation.
            every = int(self.at[1] - self.at[0]) if len(self.at) > 1 else span.BASE
            positions = (np.arange(begin, end + 1, step) - int(self.at[0])) // every
            bad, total = self._recorded(group, step)
            self._sums[key] = (RunningSum(bad[positions]), RunningSum(total[positions]))
        return self._sums[key]

    def _recorded(self, group: Group, step: int) -> Counts:
        return self.window(group, step) if self.sliced and step == span.HOUR else self.raw[group][step]


def record(slo: SLO, found: Counters | Samples, read: Read, at: Times, raw_windows: Iterable[int], flavour: Flavour) -> Recordings:
    """Return the recordings of what is counted in raw samples.

    Args:
        slo: the objective.
        found: its counters, or the gauge whose samples are the events.
        read: gives the raw samples of a selector, from an hour before `at[0]` on.
        at: when the rules are evaluated, Unix seconds.
        raw_windows: windows of an hour at most that are wanted besides 5 min and 1 h.
        flavour: whose `increase` it is.
    """
    now_ms, seconds = at * 1000, {span.BASE, span.HOUR, *raw_windows}
    if isinstance(found, Samples):
        total_series = list(read(found.selector))
        totals = _per_group(slo.group_by, total_series, seconds, lambda one, window: count_over_time(one, now_ms, window * 1000))
        parts = _per_group(slo.group_by, total_series, seconds, lambda one, window: sum_over_time(one, now_ms, window * 1000))
    else:
        part = found.bad or found.good
        assert part is not None  # noqa: S101 - an indicator counts bad events or good ones
        total_series = list(read(found.total))

        def grown(one: RawSeries, window: int) -> Floats:
            return increase(one, now_ms, window * 1000, flavour)

        totals = _per_group(slo.group_by, total_series, seconds, grown)
        parts = _per_group(slo.group_by, list(read(part)), seconds, grown)
    only_good = isinstance(found, Samples) or found.bad is None
    absent = np.full(len(at), np.nan)
    raw: dict[Group, dict[int, Counts]] = {}
    for group in totals if only_good else {**totals, **parts}:
        raw[group] = {}
        for window in seconds:
            total = totals.get(group, {}).get(window, absent)
            some = parts.get(group, {}).get(window, absent)
            # A bad counter that was never born reads 0. A latency bucket that is missing stays missing: it does not mean that
            # every request was slow.
            raw[group][window] = (np.maximum(total - some, 0) if only_good else np.where(np.isnan(some), total * 0, some)), total
    alive = np.zeros(len(at), dtype=np.bool_)
    for one in total_series:
        alive |= present(one, now_ms, flavour)
    return Recordings(slo, at, raw, alive)


def _per_group(
    group_by: Sequence[str], found: Iterable[RawSeries], seconds: Iterable[int], count: Callable[[RawSeries, int], Floats]
) -> dict[Group, dict[int, Floats]]:
    """Return the counts of the service as a whole and of each group, per window."""
    members: dict[Group, list[RawSeries]] = {}
    for one in found:
        members.setdefault((), []).append(one)
        group = tuple(one.labels.get(label, "") for label in group_by)
        if any(group):
            members.setdefault(group, []).append(one)
    out: dict[Group, dict[int, Floats]] = {group: {} for group in members}
    for window in seconds:
        counted = {id(one): count(one, window) for one in members.get((), [])}
        for group, mine in members.items():
            out[group][window] = add_up([counted[id(one)] for one in mine])
    return out


def from_counts(slo: SLO, at: Times, counts: Mapping[Group, Counts], raw_windows: Iterable[int]) -> Recordings:
    """Return the recordings of ready 5-minute counts: `counts` at T covers (T - 300, T], `at` are multiples of 300."""
    seconds = {span.BASE, span.HOUR, *raw_windows}
    positions = np.arange(len(at))
    raw: dict[Group, dict[int, Counts]] = {}
    for group, (bad, total) in counts.items():
        sums = RunningSum(bad), RunningSum(total)
        raw[group] = {}
        for window in seconds:
            slots = -(-window // span.BASE)
            (some, _), (everything, there) = (one.between(positions - slots + 1, positions) for one in sums)
            nothing = there == 0
            raw[group][window] = np.where(nothing, np.nan, some), np.where(nothing, np.nan, everything)
    whole = counts.get(())
    alive = ~np.isnan(whole[1]) if whole else np.zeros(len(at), dtype=np.bool_)
    return Recordings(slo, at, raw, alive)


def in_slices(one: Recordings) -> Recordings:
    """Return `one` counted in 5-minute slices instead of events.

    A slice with traffic counts 1. It is bad as a whole if its error ratio exceeds 1 - slice_objective; without one, by its error ratio.
    """
    objective = one.slo.slice_objective
    raw: dict[Group, dict[int, Counts]] = {}
    for group, windows in one.raw.items():
        bad, total = windows[span.BASE]
        ratio = np.divide(bad, total, out=np.zeros(len(total)), where=total > 0)
        slices = np.where(np.isnan(total), np.nan, (total > 0).astype(np.float64))
        lost = ratio if objective is None else (ratio > float(1 - objective)).astype(np.float64)
        unknown = np.isnan(total) | (np.isnan(bad) & (total > 0))
        raw[group] = {span.BASE: (np.where(unknown, np.nan, lost), slices)}
    return Recordings(one.slo, one.at, raw, one.alive, sliced=True)


def composed(slo: SLO, stages: Sequence[Recordings], raw_windows: Iterable[int]) -> Recordings:
    """Return the recordings of a chain of stages: all events are those of the last; what fails anywhere fails for it."""
    last = stages[-1]
    raw: dict[int, Counts] = {}
    for window in {span.BASE, span.HOUR, *raw_windows}:
        good = np.ones(len(last.at))
        for stage in stages:
            if () in stage.raw:
                bad, total = stage.window((), window)
                good = good * (1 - np.divide(bad, total, out=np.zeros(len(total)), where=total > 0))
        if () in last.raw:
            total = last.window((), window)[1]
            raw[window] = total * (1 - good), total
    return Recordings(slo, last.at, {(): raw} if raw else {}, last.alive)
