"""Bad and all events of one SLO at one instant, in every window, from whatever source its indicator names.

Counts are exact where Prometheus extrapolates; the windows are those of `windows.py`. The source is read as deep as a question
needs and no deeper: an embedded engine asks every few seconds, and a month of raw samples is read for a page's text only.

An SLO whose source only a PromQL engine can evaluate is read from what the recording rules have left behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo import windows as span
from mlops_obs.slo.counted_windows import NOTHING, CountedWindows, Group, Pair, added, chained, group_of, groups_of, points
from mlops_obs.slo.counters import CounterSource, Series, Tally
from mlops_obs.slo.indicators import Cohorts, Counters, Parts, Samples, Selector, source
from mlops_obs.slo.spec import SLO

LOOKBACK = 300  # seconds for which the newest sample stands for the present
_MARGIN = 900  # a window begins with the last sample before it


class Counting(Protocol):
    """The counts of one SLO at one instant. Everything is 0 where nothing was counted."""

    def groups(self) -> list[Group]:
        """Return the groups seen of late, the service as a whole first; nothing if it is not seen."""

    def window(self, seconds: int, group: Group) -> Pair:
        """Return bad and all events of the last `seconds`."""

    def recorded(self, at: int, step: int, group: Group) -> Pair:
        """Return what the rules recorded at `at`, a multiple of `step` (5 min or 1 h): the events of (at - step, at]."""

    def period(self, group: Group) -> Pair:
        """Return bad and all events of the period: the last 30 d, or this month so far."""

    def covered(self, group: Group) -> float:
        """Return how many seconds of the period were counted at all."""

    def remaining(self, group: Group) -> float:
        """Return the share of the period's budget that is left; below 0 it is overspent."""

    def newest(self) -> float | None:
        """Return when the series were last sampled."""


def counting(slo: SLO, source_: CounterSource, now: float, others: Mapping[tuple[str, str], SLO] | None = None) -> Counting:
    """Return the counts of `slo` at `now` (Unix seconds). `others` are the SLOs that a composite may name, by (service, slo)."""
    kind = source(slo)
    if isinstance(kind, Parts):
        stages = [(others or {}).get(one) for one in kind.of]
        if None not in stages:
            return _Composed(slo, source_, now, [counting(one, source_, now, others) for one in stages if one is not None])
    if isinstance(kind, Counters | Samples):
        return _Counted(slo, source_, now, kind)
    if isinstance(kind, Cohorts):
        return _ByCohort(slo, source_, now, kind)
    return _FromRecordings(slo, source_, now)


def readable(slo: SLO, others: Mapping[tuple[str, str], SLO]) -> bool:
    """Say whether the events of `slo` can be counted from raw samples, without a PromQL engine; `others` as in `counting`."""
    kind = source(slo)
    if isinstance(kind, Parts):
        return all(one in others and readable(others[one], others) for one in kind.of)
    return isinstance(kind, Counters | Samples | Cohorts)


@dataclass(slots=True)
class _Counted(CountedWindows):
    """Counters, or a gauge of 0 and 1 whose samples are the events."""

    kind: Counters | Samples
    _depth: float = 0
    _total: list[Tally] = field(default_factory=list)
    _part: list[Tally] = field(default_factory=list)

    def _load(self, seconds: float) -> None:
        if seconds <= self._depth:
            return
        since = self.now - seconds - _MARGIN
        if isinstance(self.kind, Samples):
            self._total = self._part = [Tally(one, gauge=True) for one in read(self.source, self.kind.selector, since, self.now)]
        else:
            part = self.kind.bad or self.kind.good
            assert part is not None  # noqa: S101 - an indicator counts bad events or good ones
            self._total = [Tally(one) for one in read(self.source, self.kind.total, since, self.now)]
            self._part = [Tally(one) for one in read(self.source, part, since, self.now)]
        self._depth = seconds

    def groups(self) -> list[Group]:
        self._load(span.HOUR)
        alive = [one for one in self._total if one.samples(self.now - span.HOUR, self.now) > 1]
        return groups_of(self.slo, [one.labels for one in alive])

    def window(self, seconds: int, group: Group) -> Pair:
        self._load(seconds)
        now = int(self.now)
        if span.is_raw(seconds, sliced=self._sliced):
            return self._between(self.now - seconds, self.now, group)
        if self._sliced:
            return added(self.recorded(at, span.BASE, group) for at in points(span.parts(now, seconds), span.BASE))
        grid = self._between(span.counted_since(now, seconds), span.counted_until(now, seconds), group)
        hour = self._between(self.now - span.HOUR, self.now, group)
        return max(grid[0], hour[0]), max(grid[1], hour[1])

    def recorded(self, at: int, step: int, group: Group) -> Pair:
        self._load(self.now - at + step)
        if self._sliced and step != span.BASE:
            return added(self.recorded(one, span.BASE, group) for one in range(at - step + span.BASE, at + 1, span.BASE))
        return self._between(at - step, at, group)

    def period(self, group: Group) -> Pair:
        # Where rules run, a month of raw samples need not be read for two numbers.
        known = _FromRecordings(self.slo, self.source, self.now).known(group)
        if known is not None:
            return known
        if self.slo.calendar is None:
            return self.window(self.slo.period_seconds, group)
        start = self._start()
        self._load(self.now - start)
        if self._sliced:
            return added(self.recorded(at, span.BASE, group) for at in points(self._period_parts(), span.BASE))
        return self._between(start, span.floor(int(self.now), span.BASE), group)

    def covered(self, group: Group) -> float:
        # Time in which nobody counted is no time in which the budget was kept.
        self._load(self.now - self._start())
        slots: set[int] = set()
        for one in self._of(self._total, group):
            slots |= one.slots(self._start(), self.now, span.BASE)
        return float(len(slots) * span.BASE)

    def remaining(self, group: Group) -> float:
        recorded = _FromRecordings(self.slo, self.source, self.now).recorded_remaining(group)
        if recorded is not None:
            return recorded
        return self._left(self.period(group), self.covered(group) if self.slo.calendar is None else 0)

    def newest(self) -> float | None:
        return max((one.newest for one in self._total if one.newest is not None), default=None)

    def _between(self, start: float, end: float, group: Group) -> Pair:
        """Count the events of (start, end], or say what kind of slice it is."""
        bad, total = self._events(start, end, group)
        if not self._sliced:
            return bad, total
        if total <= 0:
            return NOTHING
        if self.slo.slice_objective is None:
            return bad / total, 1.0
        return (1.0 if bad / total > float(1 - self.slo.slice_objective) else 0.0), 1.0

    def _events(self, start: float, end: float, group: Group) -> Pair:
        mine, part = self._of(self._total, group), self._of(self._part, group)
        some = sum(one.count(start, end) for one in part)
        if isinstance(self.kind, Samples):
            total = float(sum(one.samples(start, end) for one in mine))
            return max(total - some, 0.0), total
        total = sum(one.count(start, end) for one in mine)
        if self.kind.bad is not None:
            return some, total
        # A bucket that is not there is no evidence that every request was slow.
        return (max(total - some, 0.0), total) if part else NOTHING

    def _of(self, found: Iterable[Tally], group: Group) -> list[Tally]:
        return [one for one in found if not group or group_of(self.slo, one.labels) == group]


@dataclass(slots=True)
class _ByCohort(CountedWindows):
    """Predictions by cohort: a window at *now* holds the cohorts that became mature in it, with all labels they have by now."""

    kind: Cohorts
    _cohorts: list[tuple[Group, float, float, float]] | None = None  # group, end, bad, all
    _newest: float | None = None

    def _load(self) -> list[tuple[Group, float, float, float]]:
        if self._cohorts is None:
            events, bad, start = (
                {frozenset(one.labels.items()): one for one in read(self.source, selector, self.now - LOOKBACK, self.now) if one.samples}
                for selector in (self.kind.events, self.kind.bad, self.kind.start)
            )
            self._newest = max((one.samples[-1][0] for one in events.values()), default=None)
            self._cohorts = [
                (
                    group_of(self.slo, one.labels),
                    start[key].samples[-1][1] + self.kind.cohort,
                    bad[key].samples[-1][1] if key in bad else 0.0,
                    one.samples[-1][1],
                )
                for key, one in events.items()
                if key in start
            ]
        return self._cohorts

    def groups(self) -> list[Group]:
        found = {group for group, _, _, _ in self._load()}
        return [*([()] if found else []), *sorted(group for group in found if any(group))]

    def window(self, seconds: int, group: Group) -> Pair:
        return self._between(self.now - seconds, self.now, group)

    def recorded(self, at: int, step: int, group: Group) -> Pair:
        return self._between(at - step, at, group)

    def period(self, group: Group) -> Pair:
        if self.slo.calendar is None:
            return self.window(self.slo.period_seconds, group)
        # A calendar period holds the predictions made in it, whenever their labels came.
        return self._between(self._start() + self.kind.cohort + self.kind.maturity - 1, self.now, group)

    def covered(self, group: Group) -> float:
        after = self.now - self.slo.period_seconds - self.kind.maturity
        mature = {end for mine, end, _, _ in self._load() if (not group or mine == group) and after < end <= self.now - self.kind.maturity}
        return float(len(mature) * self.kind.cohort)

    def remaining(self, group: Group) -> float:
        return self._left(self.period(group), self.covered(group))

    def newest(self) -> float | None:
        self._load()
        return self._newest

    def _between(self, start: float, end: float, group: Group) -> Pair:
        """Add up the cohorts that became mature in (start, end]."""
        mature = [
            (bad, total)
            for mine, closed, bad, total in self._load()
            if (not group or mine == group) and start < closed + self.kind.maturity <= end
        ]
        return added(mature)


@dataclass(slots=True)
class _Composed(CountedWindows):
    """A chain of SLOs: its events are those of the last stage, and one is good if it was good at every stage."""

    stages: Sequence[Counting]

    def groups(self) -> list[Group]:
        return [()] if () in self.stages[-1].groups() else []

    def window(self, seconds: int, group: Group) -> Pair:
        if span.is_raw(seconds):
            return chained([one.window(seconds, group) for one in self.stages])
        grid, hour = self._sum(span.parts(int(self.now), seconds)), self.window(span.HOUR, group)
        return max(grid[0], hour[0]), max(grid[1], hour[1])

    def recorded(self, at: int, step: int, group: Group) -> Pair:
        return chained([one.recorded(at, step, group) for one in self.stages])

    def period(self, group: Group) -> Pair:
        return self.window(self.slo.period_seconds, group) if self.slo.calendar is None else self._sum(self._period_parts())

    def covered(self, group: Group) -> float:
        # A chain is counted where its last stage is.
        return self.stages[-1].covered(group)

    def remaining(self, group: Group) -> float:
        return self._left(self.period(group), self.covered(group))

    def newest(self) -> float | None:
        return self.stages[-1].newest()

    def _sum(self, parts: Iterable[span.Part[int]]) -> Pair:
        return added(self.recorded(at, part.step, ()) for part in parts for at in points([part]))


@dataclass(slots=True)
class _FromRecordings(CountedWindows):
    """What recording rules have counted: the only way where the source is PromQL."""

    def groups(self) -> list[Group]:
        return groups_of(self.slo, [one.labels for one in self._newest(names.SLO_TOTAL.format(window=format_duration(span.HOUR)))])

    def window(self, seconds: int, group: Group) -> Pair:
        window = format_duration(seconds)
        return self._value(names.SLO_BAD.format(window=window), group), self._value(names.SLO_TOTAL.format(window=window), group)

    def recorded(self, at: int, step: int, group: Group) -> Pair:
        then = _FromRecordings(self.slo, self.source, at)
        return then.window(step, group)

    def period(self, group: Group) -> Pair:
        return self.known(group) or NOTHING

    def known(self, group: Group) -> Pair | None:
        """Return the recorded counts of the period; None if there are none."""
        window = f"_{self.slo.period}" if self.slo.calendar else format_duration(self.slo.period_seconds)
        bad, total = (self._found(name.format(window=window), group) for name in (names.SLO_BAD, names.SLO_TOTAL))
        return None if bad is None or total is None else (bad, total)

    def covered(self, group: Group) -> float:
        return self._value(names.SLO_COVERED, group)

    def remaining(self, group: Group) -> float:
        left = self.recorded_remaining(group)
        return 1.0 if left is None else left

    def recorded_remaining(self, group: Group) -> float | None:
        """Return the recorded share of the budget that is left; None if there is none, which is not a full one."""
        return self._found(names.SLO_BUDGET_REMAINING, group)

    def newest(self) -> float | None:
        return max((one.samples[-1][0] for one in self._newest(names.SLO_TOTAL.format(window=format_duration(span.BASE)))), default=None)

    def _newest(self, name: str) -> list[Series]:
        mine = {names.SERVICE: self.slo.service, names.SLO: self.slo.name}
        return [one for one in self.source.series(name, mine, self.now - LOOKBACK, self.now) if one.samples]

    def _value(self, name: str, group: Group) -> float:
        found = self._found(name, group)
        return 0.0 if found is None else found

    def _found(self, name: str, group: Group) -> float | None:
        whole = ("",) * len(self.slo.group_by)
        return next((one.samples[-1][1] for one in self._newest(name) if group_of(self.slo, one.labels) == (group or whole)), None)


def read(source_: CounterSource, one: Selector, start: float, end: float) -> list[Series]:
    """Return the series that `one` selects, with samples in (start, end].

    Raises:
        TelemetryUnavailable: the source did not answer in full.
    """
    return [series for series in source_.series(one.metric, one.equal, start, end) if one.accepts(series.labels)]
