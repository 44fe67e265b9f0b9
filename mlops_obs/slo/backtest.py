"""Alerts judged by history: how many pages would have come, which of them were about something, and what was missed.

Pure arithmetic on pages and incidents; the pages come from `paging.replay`. The trap is the score without a denominator: with no
page there is no precision and with no incident no recall, and both are then said to be unknown and not 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mlops_obs.durations import format_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.recordings import Recordings
from mlops_obs.slo.replay import Bools, burning
from mlops_obs.slo.spec import SLO, TierSpec
from mlops_obs.slo.tiers import Tier, least_bad_events, plan_tiers

WEEK, MONTH = 7 * 86_400, 30 * 86_400
GRACE = 900.0  # seconds after an incident in which a page is still about it: long windows go on burning
YOURS, WORKBOOK, PLAIN = "yours", "workbook", "plain"


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that was really wrong from `start` to `end` (Unix seconds), with one service or SLO, or with all if empty."""

    start: float
    end: float
    service: str = ""
    slo: str = ""
    note: str = ""


class Call(Protocol):
    """A page or ticket as somebody was told of it: see `paging.replay.Page`."""

    @property
    def opened(self) -> float:
        """When it came, Unix seconds."""

    @property
    def ended(self) -> float | None:
        """When it was over; None if it never was."""

    @property
    def severity(self) -> str:
        """`page` or `ticket`."""

    @property
    def alerts(self) -> tuple[Mapping[str, str], ...]:
        """Labels of what it was about."""


@dataclass(frozen=True, slots=True)
class Score:
    """How a set of tiers did. Seconds and shares are None where there is nothing to divide by.

    `pages` and `tickets` count incidents as people were told of them; `right` pages were about a real incident. `detect` is the median
    time from an incident's start to its page, `detect_worst` the longest.
    """

    pages: int
    tickets: int
    pages_per_week: float
    right: int
    precision: float | None
    recall: float | None
    detect: float | None
    detect_worst: float | None
    missed: tuple[Incident, ...]

    @property
    def false_pages(self) -> int:
        """Pages about nothing."""
        return self.pages - self.right


def concerned(incidents: Sequence[Incident], slos: Sequence[SLO], start: float, end: float) -> list[Incident]:
    """Return the incidents that alerts of `slos` could have seen from `start` to `end`; the others are no misses."""
    return [
        one
        for one in incidents
        if one.start <= end and one.end >= start and any(one.service in ("", slo.service) and one.slo in ("", slo.name) for slo in slos)
    ]


def score(calls: Sequence[Call], incidents: Sequence[Incident], seconds: float, grace: float = GRACE) -> Score:
    """Judge `calls` of a history of `seconds` by the incidents that really were."""
    pages = [one for one in calls if one.severity == "page"]
    right, waits, missed = set(), [], []
    for incident in incidents:
        mine = [index for index, one in enumerate(pages) if _about(one, incident, grace)]
        right |= set(mine)
        if mine:
            waits.append(max(0.0, min(pages[index].opened for index in mine) - incident.start))
        else:
            missed.append(incident)
    return Score(
        pages=len(pages),
        tickets=len(calls) - len(pages),
        pages_per_week=len(pages) / (seconds / WEEK) if seconds > 0 else 0.0,
        right=len(right),
        precision=len(right) / len(pages) if pages and incidents else None,
        recall=len(waits) / len(incidents) if incidents else None,
        detect=median(waits) if waits else None,
        detect_worst=max(waits, default=None),
        missed=tuple(missed),
    )


def _about(page: Call, incident: Incident, grace: float) -> bool:
    over = float("inf") if page.ended is None else page.ended
    if page.opened > incident.end + grace or over < incident.start:
        return False
    return any(incident.service in ("", one.get("service")) and (not incident.slo or one.get("slo") == incident.slo) for one in page.alerts)


def tier_set(name: str, slos: Sequence[SLO]) -> list[SLO]:
    """Return `slos` with the tiers called `name`: theirs (`yours`), the Workbook's, or the Workbook's without proof (`plain`)."""
    if name == YOURS:
        return list(slos)
    changes: dict[str, object] = {"tiers": None, "replan": True, "min_bad_events": None, "statistical_bound": "auto"}
    if name == PLAIN:
        changes |= {"min_bad_events": 1, "statistical_bound": "off"}
    return [slo.model_copy(update=changes) for slo in slos]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Page tiers worth having: no other candidate is better in one of these numbers and not worse in another.

    Shares and windows are those of a period of 30 days; other periods scale them, as the Workbook's tiers.
    """

    quick: tuple[Decimal, int]
    slow: tuple[Decimal, int]
    bound: bool
    pages_per_week: float
    false_per_week: float | None
    recall: float | None
    detect: float | None
    outage: float

    def tiers(self, slo: SLO) -> tuple[TierSpec, ...]:
        """Return the page tiers of `slo` as a spec has them."""
        return tuple(_spec(slo, name, *one) for name, one in (("page-quick", self.quick), ("page-slow", self.slow)))


# Shares of the budget and long windows (of a 30-day period) that are tried.
QUICK = [(Decimal(share), window) for share in ("0.01", "0.02", "0.03", "0.05") for window in (1_800, 3_600, 7_200)]
SLOW = [(Decimal(share), window) for share in ("0.03", "0.05", "0.10") for window in (10_800, 21_600, 43_200)]


def candidate_windows(slos: Iterable[SLO]) -> list[int]:
    """Return the windows of an hour at most that proposals may need, so that they are recorded."""
    found = {w for slo in slos for one in [*QUICK, *SLOW] for tier in [_planned(slo, *one)] if tier for w in (tier.long, tier.short)}
    return sorted(window for window in found if window <= 3_600)


def propose(slos: Sequence[SLO], recorded: Mapping[str, Recordings], incidents: Sequence[Incident], most: int = 8) -> list[Proposal]:
    """Return the candidates on the Pareto front of pages (false ones if there are incidents), incidents seen, and time to page.

    Every pair of a quick and a slow page tier is replayed on every SLO, with and without the statistical bound. Pages of one service that
    overlap are one.
    """
    services: dict[str, list[SLO]] = {}
    for slo in slos:
        services.setdefault(slo.service, []).append(slo)
    at = next(iter(recorded.values())).at
    seconds = float(at[-1] - at[0])
    burned = {
        (one, bound, slo.ref): _burning_of(slo, recorded[slo.ref], one, bound=bound)
        for one in dict.fromkeys([*QUICK, *SLOW])
        for bound in (True, False)
        for slo in slos
    }
    found = []
    for quick in QUICK:
        for slow in SLOW:
            if slow[1] <= quick[1] or slow[0] / slow[1] >= quick[0] / quick[1]:
                continue  # the slow tier has the longer window and the lower factor
            for bound in (True, False):
                calls = [
                    call
                    for service, mine in services.items()
                    for call in _calls(
                        service, {slo.name: burned[quick, bound, slo.ref] | burned[slow, bound, slo.ref] for slo in mine}, at
                    )
                ]
                judged = score(calls, incidents, seconds)
                found.append(
                    Proposal(
                        quick,
                        slow,
                        bound,
                        judged.pages_per_week,
                        judged.false_pages / (seconds / WEEK) if incidents else None,
                        judged.recall,
                        judged.detect,
                        _outage(slos, quick, slow),
                    )
                )
    return _front(found)[:most]


def recommend(found: Sequence[Proposal], now: Score, outage: float) -> Proposal | None:
    """Return the proposal that is better than the present tiers, which scored `now` and need `outage` seconds for a total outage.

    With incidents to judge by: the one that sees most of them with no more false pages than now. Without: the one with the fewest pages
    that is no slower. None if no proposal is better.
    """
    if now.recall is None:
        quiet = [one for one in found if one.outage <= outage and one.pages_per_week < now.pages_per_week]
        return min(quiet, key=lambda one: (one.pages_per_week, one.outage), default=None)
    false = now.false_pages * now.pages_per_week / now.pages if now.pages else 0.0
    seeing = [one for one in found if (one.false_per_week or 0.0) <= false and (one.recall or 0.0) >= now.recall]
    best = max(seeing, key=lambda one: (one.recall or 0.0, -(one.false_per_week or 0.0), -(one.detect or 0.0)), default=None)
    return None if best is None or (best.recall == now.recall and best.false_per_week == false) else best


def outage_seconds(slos: Sequence[SLO]) -> float:
    """Return the median time to page under a total outage, over the SLOs that page."""
    waits = [min(tier.seconds_to_fire for tier in tiers) for slo in slos if (tiers := [t for t in plan_tiers(slo) if t.severity == "page"])]
    return median(waits) if waits else float("inf")


def _front(found: Sequence[Proposal]) -> list[Proposal]:
    def cost(one: Proposal) -> tuple[float, float, float]:
        pages = one.pages_per_week if one.false_per_week is None else one.false_per_week
        return pages, -(one.recall or 0.0), one.outage if one.detect is None else one.detect

    best: dict[tuple[float, float, float], Proposal] = {}
    for one in found:
        mine = cost(one)
        if not any(all(a <= b for a, b in zip(cost(other), mine, strict=True)) and cost(other) != mine for other in found):
            best.setdefault(mine, one)
    return [best[key] for key in sorted(best)]


def _burning_of(slo: SLO, recorded: Recordings, one: tuple[Decimal, int], *, bound: bool) -> Bools:
    """Say at every evaluation whether any group of `slo` burns in the tier `one`."""
    tier, found = _planned(slo, *one), np.zeros(len(recorded.at), dtype=np.bool_)
    if tier is None or "page" not in slo.severities:
        return found
    least = least_bad_events(slo, tier) if bound else 1
    for group in recorded.groups():
        long, short = recorded.window(group, tier.long), recorded.window(group, tier.short)
        found |= burning(tier, long, short, least=least, bound=bound)
    return found


@dataclass(frozen=True, slots=True)
class _Call:
    opened: float
    ended: float | None
    alerts: tuple[Mapping[str, str], ...]
    severity: str = "page"


def _calls(service: str, burned: Mapping[str, Bools], at: npt.NDArray[np.int64]) -> list[_Call]:
    """Return the pages of one service: stretches in which any of its SLOs burns, each with the SLOs that do."""
    anything = np.logical_or.reduce(list(burned.values()))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], anything, [False])).astype(np.int8))).reshape(-1, 2)
    if not len(edges):
        return []
    # How often each burned within each stretch, from running sums.
    within = {name: np.concatenate(([0], np.cumsum(one)))[edges] for name, one in burned.items()}
    return [
        _Call(
            float(at[a]),
            float(at[z]) if z < len(at) else None,
            tuple({"service": service, "slo": name} for name, one in within.items() if one[index, 1] > one[index, 0]),
        )
        for index, (a, z) in enumerate(edges)
    ]


def _planned(slo: SLO, share: Decimal, window: int) -> Tier | None:
    """Return a candidate fitted to `slo`; None if it could not fire there."""
    try:
        (tier,) = plan_tiers(
            slo.model_copy(update={"tiers": (_spec(slo, "page", share, window),), "severities": ("page",), "replan": True})
        )
    except (ValueError, SpecError):
        return None
    return tier


def _spec(slo: SLO, name: str, share: Decimal, window: int) -> TierSpec:
    scale = min(Decimal(1), Decimal(slo.period_seconds) / MONTH)
    long = max(600, int(window * scale) // 300 * 300)
    short = max(300, long // 12 // 300 * 300)
    # A factor below 1 would page although the objective is met.
    factor = max(share * slo.period_seconds / long, Decimal(1))
    return TierSpec(name=name, severity="page", factor=factor, long=format_duration(long), short=format_duration(short))


def _outage(slos: Sequence[SLO], quick: tuple[Decimal, int], slow: tuple[Decimal, int]) -> float:
    """Return the median time to page under a total outage, over the SLOs."""
    waits = []
    for slo in slos:
        tiers = [tier for tier in (_planned(slo, *quick), _planned(slo, *slow)) if tier is not None]
        waits.append(min(tier.seconds_to_fire for tier in tiers) if tiers else float("inf"))
    return median(waits)
