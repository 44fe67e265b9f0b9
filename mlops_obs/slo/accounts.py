"""A calendar month of an SLO as an account: what it was allowed, what was spent, and on which incidents.

The counts are the five-minute counts of the recordings. Two traps. A budget curve that divides by the traffic *so far*
goes up and down with the hour of the day; here every bad event costs the same share of the whole month's allowance, so
that the incidents and the rest add up to what was spent. And an incident found by a threshold on a noisy ratio is either
the whole month or nothing: here it is a stretch whose excess over twice the sustainable rate no extension can raise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from math import sqrt
from typing import Protocol
from zoneinfo import ZoneInfo

from mlops_obs.errors import UsageError
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Z

SLOT = 300
HOUR = 3_600
_BURN = 2.0  # an incident spends faster than twice what the objective sustains
_LEAST_SHARE = 0.02  # of the month's budget, what the quickest page of the Workbook stands for; less is background
_LEAST_BAD = 3
_QUIET = 24  # slots: after two hours without excess an incident is over, however bad it was
_MOST = 20  # incidents told per SLO, the costliest
Group = tuple[str, ...]  # values of `group_by`; () is the service as a whole


@dataclass(frozen=True, slots=True)
class Slots:
    """Bad and all events in each five minutes from `start` on; None where nobody counted."""

    start: float
    bad: Sequence[float | None]
    total: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert that fired from `start` to `end` (Unix seconds)."""

    name: str
    labels: Mapping[str, str]
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Act:
    """What a rollout controller did to a revision, and when."""

    at: float
    action: str
    revision: str


class History(Protocol):
    """Where the past is read from. Every method raises TelemetryUnavailable if the answer is not complete."""

    def counts(self, slo: SLO, start: float, end: float) -> dict[Group, Slots]:
        """Return the counts of the service as a whole and of each group in [start, end); empty if nothing was ever counted."""
        ...

    def alerts(self, service: str, start: float, end: float) -> list[Fired]:
        """Return what fired; empty also where alerts are not recorded."""
        ...

    def acts(self, service: str, start: float, end: float) -> list[Act]:
        """Return what rollout controllers did."""
        ...


@dataclass(frozen=True, slots=True)
class Incident:
    """A stretch that spent budget: `share` of the month's. `culprit` is the group with most of its bad events, and its part of them."""

    start: float
    end: float
    bad: float
    total: float
    share: float
    culprit: Group = ()
    culprit_part: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """One SLO in one month. `spent` is a share of the month's budget, above 1 when the objective was missed.

    For a month that is not over, `spent` assumes that the traffic goes on as it was. `met` is None where there was no
    event. `counted` is the share of the time in which somebody counted; `curve` is what was left, hour by hour.
    """

    slo: SLO
    start: float
    end: float
    until: float
    bad: float
    total: float
    spent: float
    met: bool | None
    counted: float
    curve: Sequence[tuple[float, float | None]]
    incidents: Sequence[Incident]
    groups: Mapping[Group, tuple[float, float]]

    @property
    def ratio(self) -> float | None:
        """Share of bad events; None where there was none at all."""
        return self.bad / self.total if self.total > 0 else None

    @property
    def background(self) -> float:
        """The share of the budget that went outside of incidents."""
        return max(self.spent - sum(one.share for one in self.incidents), 0.0)


def month_bounds(month: str, time_zone: str) -> tuple[float, float]:
    """Return the first moments of `month` (`2026-11`) and of the next one in `time_zone`, in Unix seconds.

    Raises:
        UsageError: OBS-REP-001 if it is no month.
    """
    found = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", month)
    if not found:
        raise UsageError("OBS-REP-001", f"{month!r} is not a month", todo="write for example --month 2026-11")
    year, number = int(found[1]), int(found[2])
    zone = ZoneInfo(time_zone)
    first = datetime(year, number, 1, tzinfo=zone)
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=zone)
    return first.timestamp(), following.timestamp()


def account(slo: SLO, counts: Mapping[Group, Slots], start: float, end: float, now: float) -> Account:
    """Draw up the account of `slo` for [start, end) as it stands at `now` (Unix seconds)."""
    budget, until = float(slo.budget), min(end, now)
    counts = {group: sliced(slo, slots) for group, slots in counts.items()}
    whole = counts.get((), Slots(start, (), ()))
    bad, total = _sum(whole.bad), _sum(whole.total)
    elapsed = max(until - start, HOUR)
    allowed = budget * total * (end - start) / elapsed
    seen = sum(1 for one in whole.total if one is not None)
    expected = max(int((until - start) // SLOT), 1)
    met = None if total <= 0 else Decimal(repr(bad)) <= slo.budget * Decimal(repr(total))
    found = [_incident(whole, counts, low, high, allowed) for low, high in _stretches(whole, budget)]
    told = [one for one in found if one.bad >= _LEAST_BAD and one.share >= _LEAST_SHARE and lower_bound(one.bad, one.total) > budget]
    told = sorted(sorted(told, key=lambda one: -one.share)[:_MOST], key=lambda one: one.start)
    groups = {group: (_sum(slots.bad), _sum(slots.total)) for group, slots in sorted(counts.items()) if group}
    spent = bad / allowed if allowed > 0 else 0.0
    return Account(slo, start, end, until, bad, total, spent, met, min(seen / expected, 1.0), _curve(whole, allowed, until), told, groups)


def sliced(slo: SLO, slots: Slots) -> Slots:
    """Return the counts by which `slo` is budgeted: events, or time slices. Counts that are slices already stay as they are."""
    if slo.budgeting == "occurrences":
        return slots
    bad: list[float | None] = []
    total: list[float | None] = []
    for failed, everything in zip(slots.bad, slots.total, strict=True):
        if failed is None or not everything:
            total.append(None if everything is None else 0.0)
            bad.append(None if failed is None or everything is None else 0.0)
            continue
        ratio = failed / everything
        limit = 0.0 if slo.slice_objective is None else float(1 - slo.slice_objective)  # exact, then rounded once
        total.append(1.0)
        bad.append(ratio if slo.budgeting == "ratio_timeslices" else float(ratio > limit))
    return Slots(slots.start, bad, total)


def lower_bound(bad: float, total: float) -> float:
    """Wilson lower bound (one-sided 99 %) of the share of bad events: few events prove little."""
    if total <= 0:
        return 0.0
    z, bad = float(Z), min(bad, total)
    return (bad + z * z / 2 - z * sqrt(bad * (total - bad) / total + z * z / 4)) / (total + z * z)


def _sum(values: Iterable[float | None]) -> float:
    return sum(one for one in values if one is not None)


def _incident(whole: Slots, counts: Mapping[Group, Slots], low: int, high: int, allowed: float) -> Incident:
    bad, total = _sum(whole.bad[low:high]), _sum(whole.total[low:high])
    parts = {group: _sum(slots.bad[low:high]) for group, slots in counts.items() if group}
    culprit = max(parts, key=lambda group: parts[group], default=())
    part = min(parts[culprit] / bad, 1.0) if culprit and bad else 0.0
    start, end = whole.start + low * SLOT, whole.start + high * SLOT
    return Incident(start, end, bad, total, bad / allowed if allowed > 0 else 0.0, culprit if part else (), part)


def _stretches(whole: Slots, budget: float) -> list[tuple[int, int]]:
    """Return all maximal stretches of slots with more bad events than twice the sustainable rate gives.

    These are the maximal scoring subsequences of bad - 2 x budget x total (Ruzzo and Tompa, 1999), in one pass: a quiet
    spell of up to two hours inside an incident joins its halves if it costs less than either of them gained.
    """
    done: list[tuple[int, int]] = []
    found: list[tuple[int, int, float, float]] = []  # first, past the last, score before, score after
    score, last = 0.0, 0
    for index, (bad, total) in enumerate(zip(whole.bad, whole.total, strict=True)):
        gain = (bad or 0.0) - _BURN * budget * (total or 0.0)
        before, score = score, score + gain
        if gain <= 0:
            continue
        if index - last > _QUIET:
            done += [(low, high) for low, high, _, _ in found]
            found = []
        last = index
        one = (index, index + 1, before, score)
        while True:
            at = next((i for i in range(len(found) - 1, -1, -1) if found[i][2] < one[2]), None)
            if at is None or found[at][3] >= one[3]:
                found.append(one)
                break
            one = (found[at][0], one[1], found[at][2], one[3])
            del found[at:]
    return done + [(low, high) for low, high, _, _ in found]


def _curve(whole: Slots, allowed: float, until: float) -> list[tuple[float, float | None]]:
    points: list[tuple[float, float | None]] = [(whole.start, 1.0)]
    spent, step = 0.0, HOUR // SLOT
    for first in range(0, len(whole.bad), step):
        at = whole.start + (first + step) * SLOT
        if at > until + HOUR:
            break
        known = any(one is not None for one in whole.total[first : first + step])
        spent += _sum(whole.bad[first : first + step])
        points.append((min(at, until), (1 - spent / allowed if allowed > 0 else 1.0) if known else None))
    return points
