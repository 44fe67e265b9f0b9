"""What every way of counting shares: where windows and periods lie, and what is left of a budget after what was counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.slo import windows as span
from mlops_obs.slo.calendar import next_period_start, period_start, whole_hours
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.spec import SLO

Group = tuple[str, ...]  # values of `group_by`; () is the service as a whole
Pair = tuple[float, float]  # bad events, all events
NOTHING: Pair = (0.0, 0.0)


@dataclass(slots=True)
class CountedWindows:
    """What the kinds share: windows and the period as sums over recorded counts."""

    slo: SLO
    source: CounterSource
    now: float

    @property
    def _sliced(self) -> bool:
        return self.slo.budgeting != "occurrences"

    def _start(self) -> float:
        """Return when the period began."""
        if self.slo.calendar is None:
            return span.floor(int(self.now) - self.slo.period_seconds, span.BASE)
        return period_start(self.slo.calendar, self.slo.time_zone, self.now)

    def _period_parts(self) -> list[span.Part[int]]:
        now = int(self.now)
        if self.slo.calendar is None:
            return span.parts(now, self.slo.period_seconds)
        return span.calendar_parts(now, int(self._start()), whole_hours=whole_hours(self.slo.time_zone))

    def _left(self, counted: Pair, covered: float) -> float:
        """Return what is left after `counted`. What was lost is projected on the time that was counted, not on the whole period."""
        bad, total = counted
        if total <= 0:
            return 1.0
        length = float(self.slo.period_seconds)
        if self.slo.calendar is not None:
            start = self._start()
            length, covered = next_period_start(self.slo.calendar, self.slo.time_zone, self.now) - start, self.now - start
        return 1 - bad / total * min(max(covered, span.HOUR), length) / (float(self.slo.budget) * length)


def group_of(slo: SLO, labels: Mapping[str, str]) -> Group:
    """Return the values of `group_by` in `labels`."""
    return tuple(labels.get(label, "") for label in slo.group_by)


def groups_of(slo: SLO, found: Sequence[Mapping[str, str]]) -> list[Group]:
    """Return the groups among the label sets `found`, the service as a whole first."""
    named = {group_of(slo, labels) for labels in found}
    return [*([()] if found else []), *sorted(group for group in named if any(group))]


def points(parts: Iterable[span.Part[int]], step: int | None = None) -> Iterable[int]:
    """Return the moments of `parts`; with `step` those of their finer grid."""
    for part in parts:
        every = step or part.step
        yield from range(part.first - part.step + every, part.last + 1, every)


def added(pairs: Iterable[Pair]) -> Pair:
    """Return the sum of bad and of all events."""
    bad = total = 0.0
    for one in pairs:
        bad, total = bad + one[0], total + one[1]
    return bad, total


def chained(stages: Sequence[Pair]) -> Pair:
    """Return what a chain of stages lost of the events of its last one; a stage without events lost nothing."""
    good = 1.0
    for bad, total in stages:
        good *= 1 - bad / total if total > 0 else 1.0
    return stages[-1][1] * (1 - good), stages[-1][1]
