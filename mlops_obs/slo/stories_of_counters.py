"""Stories of what is counted by counters or sampled by probes: what people ask about, and both sides of every threshold.

Each number is one that decides: a healthy day proves little, a window that holds 97 % of its threshold and then 103 % proves much. All
changes of traffic stand on the 5-minute grid where a story is evaluated on it, so that every window is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from mlops_obs.slo import windows as span
from mlops_obs.slo.indicators import Counters, Expressions, Samples, source
from mlops_obs.slo.scenarios import Scenario
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import GRID, HOUR, MINUTE, Segment, Told, ToldInSlices, firing
from mlops_obs.slo.story_series import voices
from mlops_obs.slo.tiers import Tier, Z, bound_is_on, burns, least_bad_events

DAY = 24 * HOUR
PLENTY = 10**4  # bad events a minute at an error ratio as large as the budget: the statistical bound is then the plain ratio
SOME = 10**4
PROBES = 20
_LONGEST = 35 * DAY  # stories that go on for longer are not told


@dataclass(frozen=True, slots=True)
class Teller:
    """How traffic is put into segments for one kind of source: counters take any number, a probe has one sample a minute."""

    slo: SLO
    plenty: int
    group: str
    sliced: bool = field(default=False)

    def mix(self, minutes: int, share: float, events: int = 0) -> list[Segment]:
        """Return `minutes` of traffic of which `share` is bad; in slices, that share of the slices is bad from beginning to end."""
        every = min(events, self.plenty) if events else self.plenty
        if not self.sliced:
            bad = min(round(every * share), every)
            return [Segment(minutes, good=every - bad, bad=bad)]
        slices = [math.floor((k + 1) * share + 1e-9) > math.floor(k * share + 1e-9) for k in range(-(-minutes // GRID))]
        return [Segment(GRID, bad=every) if bad else Segment(GRID, good=every) for bad in slices]


def teller(slo: SLO) -> Teller | None:
    """Return how stories of `slo` are told; None if its series cannot be known or written as promtool input."""
    kind = source(slo)
    group = "v1" if slo.group_by else ""
    if not isinstance(kind, Counters | Expressions | Samples) or not voices(slo):
        return None
    plenty = PROBES if isinstance(kind, Samples) else math.ceil(PLENTY / slo.budget)
    return Teller(slo, plenty, group, slo.budgeting == "timeslices")


def everyday(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield what people ask about."""
    slo, name = by.slo, by.group
    budget = 0.0 if by.sliced else float(slo.budget)
    rate = min(math.ceil(10 / slo.budget), by.plenty)
    steady, clean = by.mix(10, budget / 10, rate), by.mix(10, 0, rate)
    yield Scenario("healthy traffic stays silent", {name: by.mix(10, budget / 2, 100 * rate)}, (10,))
    if by.plenty > PROBES:  # a probe that does not report is gone, not idle
        yield Scenario("an idle service stays silent", {name: [*by.mix(10, 0.2, 6), Segment(10)]}, (), figures_at=(18,))
    lasting = max(_lasts(by, tiers, clean), 10)
    ends = max([tier.short // MINUTE for tier in tiers if tier.short <= span.HOUR // 2], default=5) + 3
    outage = [*clean, *by.mix(lasting, 1, rate), *by.mix(ends, 0, rate)]
    yield Scenario("a total outage fires and its recovery ends it", {name: outage}, (), labels=True)
    yield Scenario(
        "a slow burn fires its slow tiers only",
        {name: by.mix(6 if not by.sliced else 2 * HOUR, _slow(slo, tiers))},
        (6 if not by.sliced else 2 * HOUR,),
    )
    if not by.sliced:
        few = [Segment(2, good=1), *_counted_out(by, sorted({least_bad_events(slo, tier) for tier in tiers})), Segment(3)]
        yield Scenario(
            "a handful of failures on an idle service stays silent until they are enough",
            {name: few},
            (),
        )
    if by.plenty > PROBES:
        again = [replace(clean[0], minutes=4, reset=True), replace(clean[0], minutes=3)]
        yield Scenario("a counter reset is no burn", {name: [*steady, *again]}, (11, 17), figures_at=(17,))
        yield Scenario("a burn goes on through a counter reset", {name: [*by.mix(5, 1, rate), Segment(6, bad=rate, reset=True)]}, (11,))
    yield Scenario("telemetry that is gone is said to be gone", {name: [*steady, Segment(12, gone=True)]}, (), labels=True, beside=True)
    lost = [*by.mix(30, 0, rate), Segment(150, gone=True)]
    yield Scenario("telemetry that has been gone for hours still is", {name: lost}, (180,), step=GRID, labels=True)
    if slo.group_by:
        canary = {"v1": by.mix(20, 0, 100 * rate), "v2": [*by.mix(10, 0, 20), *by.mix(10, 1, 20)]}
        yield Scenario("a bad canary fires for its revision", canary, (), labels=True)


def _counted_out(by: Teller, least: Sequence[int]) -> Iterator[Segment]:
    """Yield failures and nothing else: first one fewer than each number in `least`, then that one."""
    done = 0
    for number in least:
        for wanted in (number - 1, number):
            while done < wanted:
                some = min(wanted - done, by.plenty)
                yield Segment(1, bad=some)
                done += some


def _slow(slo: SLO, tiers: Sequence[Tier]) -> float:
    """Return an error ratio between the tiers that page and those that open tickets, or between the quickest and the next."""
    pages = [tier.threshold for tier in tiers if tier.severity == "page"]
    tickets = [tier.threshold for tier in tiers if tier.severity == "ticket"]
    below = max((one for one in tickets if not pages or one < min(pages)), default=None)
    above = min(pages, default=max(tickets))
    if below is None or below == above:
        below = max((one for one in (tier.threshold for tier in tiers) if one < above), default=slo.budget)
    return float((above + below) / 2)


def _lasts(by: Teller, tiers: Sequence[Tier], before: list[Segment]) -> int:
    """Return how many minutes of total outage after `before` make every tier fire that can within two hours, and some more."""
    rate = before[0].good
    ledger = Told(by.slo, {by.group: [*before, Segment(2 * HOUR, bad=rate)]})
    if by.slo.budgeting != "occurrences":
        ledger = ToldInSlices(by.slo, {by.group: [*before, Segment(2 * HOUR, bad=rate)]})
    start = sum(one.minutes for one in before)
    last = 0
    seen: set[tuple[str, str]] = set()
    for minute in range(start, start + 2 * HOUR, 1):
        now = set(firing(ledger, tiers, minute))
        if now - seen:
            seen, last = seen | now, minute
    return last - start + 5


def edges(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield, for every tier, counts that are just enough and counts that are just not: the least step of one event apart."""
    if by.plenty <= PROBES or by.slo.budgeting != "occurrences":
        return
    for tier in tiers:
        for sure in (True, False):
            bad, total = edge(by.slo, tier, sure=sure)
            word = "just enough" if sure else "just not enough"
            lasting = -(-tier.hold // MINUTE) + 1
            yield Scenario(
                f"{word} evidence for {tier.name}",
                {by.group: [Segment(1, good=total - bad, bad=bad), Segment(lasting)]},
                (1, 1 + lasting) if lasting > 1 else (1,),
            )


def edge(slo: SLO, tier: Tier, *, sure: bool) -> tuple[int, int]:
    """Return the bad and all events nearest to the edge of the long window's condition."""
    least, bound, thr, z = least_bad_events(slo, tier), bound_is_on(slo, tier), float(tier.threshold), float(Z)
    best: tuple[float, int, int] | None = None
    for bad in range(least, least + 80):
        # The condition falls as the total grows: solve for equality without the square root's dependence on the total, then step.
        total = bad / thr
        for _ in range(12):
            margin = z * math.sqrt(max(bad * (total - bad) / total, 0) + z * z / 4) if bound else 0.0
            total = max((bad + (z * z / 2 if bound else 0) - margin) / thr - (z * z if bound else 0), bad)
        at = math.floor(total) + 1
        while at > bad and not burns(bad, at, tier, least, bound=bound):
            at -= 1
        if not burns(bad, at, tier, least, bound=bound):
            continue
        found = at if sure else at + 1
        rest = abs(total - found) * thr * math.sqrt(bad + 1)
        if best is None or rest < best[0]:
            best = (rest, bad, found)
    return best[1:] if best else (least, least)


def short_windows(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield, for every tier, a burn that is over and comes back: the long window burns all the time, so the short one decides."""
    if by.sliced:
        return
    for tier in tiers:
        short, thr = tier.short // MINUTE, float(tier.threshold)
        step = 1 if short <= HOUR else GRID
        ticks = 1
        while thr * (0.97 + 0.06 * short / (ticks * step)) > 1 and ticks * step < short:
            ticks += 1
        back = by.mix(ticks * step, min(thr * (0.97 + 0.06 * short / (ticks * step)), 1.0))
        over = 10 + short
        name = f"{tier.name} ends and comes back with what its short window holds"
        yield Scenario(name, {by.group: [*by.mix(10, 1), *by.mix(short, 0.97 * thr), *back]}, (10, over, over + ticks * step), step)


def long_windows(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield, for every tier, a burn outside its long window, then one inside that first is not enough and then is."""
    if by.sliced:
        return
    days = [tier for tier in tiers if tier.long <= span.DAY + span.HOUR * 12]
    for tier in days:
        long, short, thr = tier.long // MINUTE, tier.short // MINUTE, float(tier.threshold)
        step = 1 if long <= HOUR else GRID
        climb = _climb(by, long, short, thr, step)
        told_in_full = tier is days[-1] or (step == 1 and long == HOUR)
        name = f"only what is in its long window counts for {tier.name}"
        yield Scenario(
            name, {by.group: [*by.mix(10, 1), *climb]}, (10 + long, 10 + long + climb[-1].minutes), step,
            figures_at=(10 + long + climb[-1].minutes,) if told_in_full else (), beside=told_in_full and step > 1, pages=True,
        )  # fmt: skip


def _climb(by: Teller, long: int, short: int, thr: float, step: int) -> list[Segment]:
    """Return a window of `long` minutes that stays just below `thr` while its last `short` minutes burn, and what lifts it just above."""
    late = min(1.0, 1.2 * thr)
    early = max((0.97 * thr * long - late * short) / (long - short), 0.0)
    late = min((0.97 * thr * long - early * (long - short)) / short, 1.0)
    ticks = 2
    while (lift := early + 0.06 * thr * long / (ticks * step)) > 1 and ticks < long // step // 2:
        ticks += 1
    return [*by.mix(long - short, early), *by.mix(short, late), *by.mix(ticks * step, min(lift, 1.0))]


def recorded(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield the stories at which everything recorded is compared: within minutes, by group, after the period."""
    slo, name = by.slo, by.group
    few = min(SOME, by.plenty)

    def part(minutes: int, share: float, tenths: int) -> list[Segment]:
        return by.mix(minutes, share, max(few * tenths // 10, 1))

    minutes = [*part(5, 0.5, 3), *part(8, 0.1, 5)]
    yield Scenario("what is recorded after minutes is what was counted", {name: minutes}, (13,), figures_at=(13,), beside=True, labels=True)
    if slo.group_by:
        apart = {"v1": part(8, 0.1, 6), "v2": part(8, 0.5, 2), "": part(8, 0.2, 1), "v3": part(8, 0.0, 3)}
        yield Scenario("groups are counted apart and together", apart, (8,), figures_at=(8,), beside=True, unborn=frozenset({"v3"}))
    else:
        yield Scenario(
            "a failure that never happened is counted as none", {name: part(8, 0.0, 3)}, (8,), figures_at=(8,), unborn=frozenset({name})
        )
    if slo.budgeting == "occurrences" and by.plenty > PROBES:
        yield from _period(by, tiers)


def _period(by: Teller, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield one story over the whole period, evaluated every hour: what is older than a window must not count in it.

    The first hour of each long window is idle but for its last 5 minutes: of the 5-minute counts there only the one on the hour exists.
    Nothing fires in it, since a firing alert fills in its text at every evaluation.
    """
    slo = by.slo
    spans = {tier.long for tier in tiers} | {slo.period_seconds + (span.DAY if slo.calendar else 0)}
    long = sorted(one for one in spans if span.DAY < one <= _LONGEST * MINUTE and one % span.HOUR == 0)
    if not long:
        return
    last = max((tier for tier in tiers if tier.long in long), key=lambda tier: tier.long, default=None)
    calm = float(min(min(tier.threshold for tier in tiers), slo.budget)) / 2
    length = long[-1] // MINUTE + 6 * HOUR
    rise = 0 if last is None else last.short // MINUTE
    segments = _through_the_period(by, long, length, calm, last, rise)
    # The long window fills slowly at last, so that an hour more or less decides.
    while last is not None and rise < 2 * DAY and not firing(Told(slo, {by.group: segments}, HOUR), [last], length):
        rise, length = rise + HOUR, length + HOUR
        segments = _through_the_period(by, long, length, calm, last, rise)
    # Hours earlier and not one: by the hour, a 5-minute count more or less in the window's first hour depends on the version of Prometheus.
    judged = (length,) if last is None else (length - 3 * HOUR, length)
    name = "what is recorded after the period is what was counted in it"
    yield Scenario(name, {by.group: segments}, judged, HOUR, figures_at=(length,))


def _through_the_period(by: Teller, long: Sequence[int], length: int, calm: float, last: Tier | None, rise: int) -> list[Segment]:
    """Return `length` minutes that are calm at first; each window of `long` seconds then begins with its idle hour."""
    segments: list[Segment] = []
    at = 0
    for index, cut in enumerate(sorted(length - one // MINUTE for one in long)):
        # `cut` is where the window begins at the end of the story.
        segments += [*by.mix(cut - GRID - at, calm / (index + 1), SOME * (index + 2)), Segment(HOUR), *by.mix(GRID, calm, SOME)]
        at = cut + HOUR
    if last is None:
        return [*segments, *by.mix(length - at, calm * 0.8, SOME * 5)]
    thr = float(last.threshold)
    return [*segments, *by.mix(length - at - rise, 0.9 * thr, SOME * 5), *by.mix(rise, min(1.3 * thr, 1.0), SOME * 5)]
