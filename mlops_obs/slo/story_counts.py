"""The counts that a story leaves behind, by exact arithmetic: what a rule file must record, and which tiers must fire.

A story is a few stretches of steady traffic, so the events of any window are a difference of two sums, and nothing has to be replayed.
That keeps a thousand tests below a second; that it means the same as the Python engine is proven by a test.

The trap is the grid: a window over an hour ends at the last multiple of 5 minutes, not now (see `windows.py`).
Times are whole minutes from the beginning of the story.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.slo import windows as span
from mlops_obs.slo.annotations import policy_tier
from mlops_obs.slo.calendar import next_period_start, period_start
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier, bound_is_on, burns, least_bad_events

MINUTE = 60
GRID = span.BASE // MINUTE
HOUR = span.HOUR // MINUTE
Counts = tuple[float, float]  # bad and all events
WHOLE = ""  # the group that is the service as a whole


@dataclass(frozen=True, slots=True)
class Segment:
    """`minutes` with so many good and bad events per minute; `reset` restarts the process first, `gone` has no telemetry."""

    minutes: int
    good: int = 0
    bad: int = 0
    reset: bool = False
    gone: bool = False


class Ledger:
    """The running counts of one group. It answers for any minute without a table of minutes."""

    __slots__ = ("_bads", "_starts", "_totals", "gone_at")

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._starts: list[int] = []
        self._bads: list[tuple[int, int]] = []
        self._totals: list[tuple[int, int]] = []
        self.gone_at: int | None = None
        at = bad = total = 0
        for one in segments:
            lost, everything = (0, 0) if one.gone else (one.bad, one.good + one.bad)
            self._starts.append(at)
            self._bads.append((bad, lost))
            self._totals.append((total, everything))
            if one.gone:
                self.gone_at = at + 1 if self.gone_at is None else self.gone_at
            elif one.minutes:
                self.gone_at = None
            at, bad, total = at + one.minutes, bad + lost * one.minutes, total + everything * one.minutes
        self._starts.append(at)
        self._bads.append((bad, 0))
        self._totals.append((total, 0))

    def at(self, minute: int) -> tuple[int, int]:
        """Return bad and all events until `minute`."""
        if minute <= 0:
            return 0, 0
        index = bisect_right(self._starts, minute) - 1
        since = minute - self._starts[index]
        (bad, lost), (total, everything) = self._bads[index], self._totals[index]
        return bad + lost * since, total + everything * since

    def between(self, start: int, end: int) -> Counts:
        """Return bad and all events of (start, end]."""
        bad, total = self.at(end)
        bad_before, total_before = self.at(start)
        return bad - bad_before, total - total_before


class Told:
    """What one SLO has counted in a story: bad and all events of any group and window, as the rules record them.

    `step` is how often the rules are evaluated, in minutes. Evaluated every hour, only every twelfth 5-minute count is there.
    """

    def __init__(self, slo: SLO, history: Mapping[str, Sequence[Segment]], step: int = 1) -> None:
        self.slo, self.step = slo, step
        self.ledgers = {group: Ledger(segments) for group, segments in history.items()}
        self.groups = [WHOLE, *(sorted(group for group in self.ledgers if group) if slo.group_by else ())]
        self._all = list(self.ledgers.values())
        self._sums: dict[str, list[Counts]] = {}
        self.alike = len(self._all) == 1  # the one group is the service as a whole

    def raw(self, group: str, now: int, minutes: int) -> Counts:
        """Return the events of (now - minutes, now]."""
        if group or len(self._all) == 1:
            return (self.ledgers[group] if group else self._all[0]).between(now - minutes, now)
        found = [ledger.between(now - minutes, now) for ledger in self._all]
        return sum(bad for bad, _ in found), sum(total for _, total in found)

    def base(self, group: str, now: int) -> Counts:
        """Return the 5-minute count at `now`, of which everything longer than an hour is made."""
        return self.raw(group, now, GRID)

    def window(self, group: str, now: int, seconds: int) -> Counts:
        """Return what the rules record for a window of `seconds` at `now`."""
        minutes = seconds // MINUTE
        if seconds <= span.HOUR:
            return self.raw(group, now, minutes)
        bad, total = self._grid(group, now, minutes)
        hour_bad, hour_total = self.raw(group, now, HOUR)
        return max(bad, hour_bad), max(total, hour_total)

    def period(self, group: str, now: int) -> tuple[Counts, float, int]:
        """Return the counts of the budget's period at `now`, for how many seconds it has gone on, and how many it has."""
        slo = self.slo
        if slo.calendar is None:
            elapsed = min(max(now // GRID * span.BASE, span.HOUR), slo.period_seconds)
            return self.window(group, now, slo.period_seconds), elapsed, slo.period_seconds
        begin = period_start(slo.calendar, slo.time_zone, now * MINUTE)
        length = next_period_start(slo.calendar, slo.time_zone, now * MINUTE) - begin
        start, last = max(begin // MINUTE, 0), now // GRID * GRID
        # Not "at least the last hour" here: it may belong to the period before.
        counts = self._grid(group, last, last - start) if self.step <= GRID else self.raw(group, last, last - start)
        return counts, max(now * MINUTE - begin, span.HOUR), length

    def remaining(self, group: str, now: int) -> float:
        """Return the share of the budget that is left at `now`; 1 without an event."""
        (bad, total), elapsed, length = self.period(group, now)
        return 1 - bad / total * elapsed / float(self.slo.budget * length) if total > 0 else 1.0

    def _grid(self, group: str, now: int, minutes: int) -> Counts:
        last, first = now // GRID * GRID, max((now - minutes) // GRID * GRID, 0)
        if self.step <= GRID:
            return self.raw(group, last, last - first)
        # Evaluated every hour: whole hours from the hour counts, and 5-minute counts only where a rule was evaluated.
        if minutes > 24 * HOUR:
            since = max(now - minutes + HOUR, 0) // HOUR * HOUR
            bad, total = self.raw(group, now, now - since)
            if now >= minutes:
                edge_bad, edge_total = self.base(group, since)
                bad, total = bad + edge_bad, total + edge_total
            return bad, total
        found = [self.base(group, at) for at in range(now, max(now - minutes, 0), -HOUR)]
        return sum(bad for bad, _ in found), sum(total for _, total in found)

    def _added(self, group: str, now: int, minutes: int) -> Counts:
        """Add up 5-minute counts that are no difference of two sums."""
        sums = self._sums.setdefault(group, [(0.0, 0.0)])
        last, first = now // GRID, max((now - minutes) // GRID, 0)
        while len(sums) <= last:
            bad, total = self.base(group, len(sums) * GRID)
            sums.append((sums[-1][0] + bad, sums[-1][1] + total))
        return sums[last][0] - sums[first][0], sums[last][1] - sums[first][1]

    @property
    def gone_at(self) -> int | None:
        """The minute from which no group has telemetry; None if one has."""
        ends = [ledger.gone_at for ledger in self._all]
        return None if not ends or None in ends else max(end for end in ends if end is not None)


class ToldInSlices(Told):
    """Counted in 5-minute slices: one with traffic counts 1, and is bad as a whole or by its error ratio."""

    def base(self, group: str, now: int) -> Counts:
        """Return the slice that ends at `now`."""
        bad, total = self.raw(group, now, GRID)
        if total <= 0:
            return 0.0, 0.0
        ratio = bad / total
        limit = self.slo.slice_objective
        return (ratio if limit is None else float(ratio > float(1 - limit))), 1.0

    def window(self, group: str, now: int, seconds: int) -> Counts:
        """Return the slices of the last `seconds`."""
        return self.base(group, now) if seconds <= span.BASE else self._grid(group, now, seconds // MINUTE)

    def _grid(self, group: str, now: int, minutes: int) -> Counts:
        return self._added(group, now, minutes)


class ToldOfChain(Told):
    """A chain of stages: all events are those of the last, and what fails at any stage fails for it."""

    def __init__(self, slo: SLO, stages: Sequence[Told], step: int = 1) -> None:
        super().__init__(slo, {}, step)
        self._stages = stages
        self.groups = [WHOLE]

    def raw(self, group: str, now: int, minutes: int) -> Counts:
        """Return the events of the last `minutes` as the stages' own counts give them."""
        good = 1.0
        total = 0.0
        for stage in self._stages:
            bad, total = stage.window(group, now, minutes * MINUTE)
            good *= 1 - (bad / total if total > 0 else 0.0)
        return total * (1 - good), total

    def _grid(self, group: str, now: int, minutes: int) -> Counts:
        return self._added(group, now, minutes)

    @property
    def gone_at(self) -> int | None:
        """A chain has no telemetry of its own."""
        return None


def burning(told: Told, tier: Tier, group: str, now: int) -> bool:
    """Say whether the condition of `tier` holds at `now`."""
    bad, total = told.window(group, now, tier.short)
    if not bad > float(tier.threshold) * total:
        return False
    return burns(*told.window(group, now, tier.long), tier, least_bad_events(told.slo, tier), bound=bound_is_on(told.slo, tier))


def firing(told: Told, tiers: Sequence[Tier], now: int) -> tuple[tuple[str, str], ...]:
    """Return (tier, group) of what fires at `now`: its condition has held at every evaluation of its `for`."""
    found = []
    groups = told.groups[:1] if told.alike else told.groups
    for tier in tiers:
        lasting = -(-tier.hold // MINUTE // told.step) * told.step
        for group in groups:
            if all(at > 0 and burning(told, tier, group, at) for at in range(now, now - lasting - 1, -told.step)):
                found += [(tier.name, one) for one in (told.groups if told.alike else (group,))]
    known = told.slo.budget_policy and (told.slo.calendar is None or now >= GRID)  # a calendar period has no count before its first point
    left = told.remaining(WHOLE, now) if known else 1.0
    return (*found, *((policy_tier(step), WHOLE) for step in told.slo.budget_policy if left < float(step.below)))
