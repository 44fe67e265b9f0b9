"""How much evidence a burn alert needs before it may wake somebody: least bad events, and the Wilson bound or not.

At 60 requests an hour and 99.9 % one failure is a burn rate of 16 for an hour: an SLO that is exactly met pages 39 times in 30
days. A lower bound on the burn rate (Wilson, z = 2.33) ends that, and costs minutes; where traffic is plenty, or the objective
low, the plain ratio is as good and sooner. So each tier gets the soonest rule whose false alerts stay below a limit while the
SLO is exactly met: computed here from the traffic that the spec expects, for any traffic if it expects none.

The mathematics: bad and good events arrive independently. A condition that needs `c` bad events beside `g` good ones becomes
true when the c-th arrives (rate of bad events x P(c - 1 in the window)) or when a good event leaves the window. Two limits no
rule can pass: it cannot act before the events it needs have arrived, and a total outage at 6 requests an hour sends one every
10 minutes. If a single failure may not page, since single failures are more frequent than the limit, the second is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

Z = 2.33  # one-sided 99 %
FALSE_PAGES = 0.5
"""False alerts per 30 days, of the fast and the slow page together, that a met SLO may cause."""
_FAST, _FAST_LONG, _FAST_SHARE = 10.0, 3_600, 0.9  # the fast page's window turns over more often, so it gets most of the limit
_MOST_EVENTS, _PLENTY = 9, 10_000
_USUAL = (60, 600, 6_000)  # events an hour of services that do not say
_HOPELESS = 1.5  # tiers that ask for hardly more than the budget's own pace stay noisy with any number
FALLBACK = 5
"""Bad events where nothing better is known."""
_MONTH = 30 * 86_400
_EXACT_BELOW = 60.0  # good events in the window; with more, their number is as good as constant
_SWING = (2.0, 0.5, 0.2, 0.1)  # peaks and nights, as parts of the expected traffic; there the limit is three times as high
_SWING_ALLOWS = 3.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tier asks for beside its thresholds.

    Attributes:
        least_bad_events: bad events that the long window must hold.
        bound: whether the lower bound on the error ratio, and not the ratio itself, must be above the threshold.
    """

    least_bad_events: int
    bound: bool


def is_burning(bad: float, total: float, threshold: float, least: int, *, bound: bool) -> bool:
    """Say whether a window with `bad` of `total` events burns: enough bad ones, and the ratio (its bound) above `threshold`."""
    if total <= 0 or bad < least:
        return False
    if not bound:
        return bad > threshold * total
    bad = min(bad, total)
    margin = Z * math.sqrt(bad * (total - bad) / total + Z * Z / 4)
    return bad + Z * Z / 2 - margin > threshold * (total + Z * Z)


def choose(
    threshold: float,
    budget: float,
    long: float,
    traffic: float | None,
    *,
    bound: bool | None = None,
    least: int | None = None,
) -> Evidence:
    """Return the soonest evidence that keeps false alerts below the limit.

    Args:
        threshold: error ratio above which the tier burns, below 1.
        budget: 1 - objective.
        long: long window in seconds.
        traffic: expected events per second; None if unknown, then the evidence is enough for every traffic.
        bound: what the spec demands; None to choose.
        least: as `bound`, the least bad events.
    """
    if bound is not None and least is not None:
        return Evidence(least, bound)
    if traffic is None:
        return _for_any_traffic(_digits(threshold / budget), _digits(budget, 2), long, bound, least)
    events = min(math.floor(round(traffic * long, 6)), _PLENTY)
    return _for_traffic(_digits(threshold), _digits(budget), long, _digits(traffic), events, bound, least)


def seconds_to_burn(evidence: Evidence, threshold: float, long: float, traffic: float) -> float:
    """Return the mean seconds from the start of a total outage until the long window burns, at steady `traffic` per second.

    Good events leave the window as bad ones come in; the first moment at which one event more can matter is its arrival.
    """
    total = max(1, round(traffic * long))
    bad = _bad_needed(total, threshold, evidence, whole=True)
    return min(bad, max(total, evidence.least_bad_events)) / traffic if bad is not None else math.inf


def seconds_later(evidence: Evidence, threshold: float, long: float, traffic: float) -> float:
    """Return how many seconds later than the plain ratio a total outage is seen, on average: what the evidence costs."""
    plain = seconds_to_burn(Evidence(1, False), threshold, long, traffic)
    return max(0.0, seconds_to_burn(evidence, threshold, long, traffic) - plain)


def false_alerts(evidence: Evidence, threshold: float, budget: float, long: float, traffic: float) -> float:
    """Return how often in 30 days the long window begins to burn although the error ratio is exactly the budget."""
    good = traffic * (1 - budget) * long
    bad_rate, bad = traffic * budget, traffic * budget * long
    if good > _EXACT_BELOW:
        needed = _bad_needed(round(traffic * long), threshold, evidence, whole=True)
        return 0.0 if needed is None else _MONTH * bad_rate * _poisson(needed - 1, bad)
    spread = 6 * math.sqrt(good) + 6
    low, high = max(0, int(good - spread)), int(good + spread)
    found, before = 0.0, None
    for count in range(low, high + 1):
        needed = _bad_needed(count, threshold, evidence, whole=False, start=before or 0)
        if needed is None:
            break
        below = _poisson(needed - 1, bad)
        found += _poisson(count, good) * bad_rate * below
        if before is not None and before < needed:
            found += _poisson(count, good) * (count / long) * below
        before = needed
    return _MONTH * found


def limit(factor: float, long: float) -> float:
    """Return the false alerts per 30 days that a tier with `factor` over a window of `long` seconds may cause."""
    return FALSE_PAGES * (_FAST_SHARE if factor >= _FAST and long <= _FAST_LONG else 1 - _FAST_SHARE)


def _digits(value: float, digits: int = 3) -> float:
    """Round to a few digits: traffic is an estimate, and like SLOs then share one computation."""
    return float(f"{value:.{digits}g}")


@lru_cache(maxsize=4_096)
def _for_traffic(
    threshold: float, budget: float, long: float, traffic: float, events: int, bound: bool | None, least: int | None
) -> Evidence:
    most = limit(threshold / budget, long)
    around = ((traffic, most), *((traffic * part, most * _SWING_ALLOWS) for part in _SWING))
    numbers = range(1, _MOST_EVENTS + 1) if least is None else (least,)
    every = [Evidence(number, with_bound) for with_bound in ((False, True) if bound is None else (bound,)) for number in numbers]
    reached = [one for one in every if is_burning(events, events + 1, threshold, one.least_bad_events, bound=one.bound)]
    # The plain ratio where it is quiet as it is, or with a least number that costs nothing; else the bound; else a costly number.
    free = [one for one in reached if one.bound or one.least_bad_events == 1 or seconds_later(one, threshold, long, traffic) == 0]
    for one in (*free, *reached):
        if all(false_alerts(one, threshold, budget, long, rate) <= allowed for rate, allowed in around):
            return one
    if reached:  # so little traffic that nothing is quiet: the quietest
        return min(reached, key=lambda one: false_alerts(one, threshold, budget, long, traffic))
    return Evidence(2 if least is None else least, bound is True)  # out of reach: whoever plans the tiers says so


@lru_cache(maxsize=4_096)
def _for_any_traffic(factor: float, budget: float, long: float, bound: bool | None, least: int | None) -> Evidence:
    """Return what keeps false alerts below the limit whatever the traffic, and costs least from 60 events an hour on.

    The worst traffic is where the least number just binds; beyond it the threshold itself asks for more.
    """
    threshold = min(factor * budget, 0.999)
    if factor < _HOPELESS:
        return Evidence(FALLBACK if least is None else least, bound is not False)
    most, events, top = limit(factor, long), [0.3], 3 * _MOST_EVENTS / threshold
    while events[-1] < top:
        events.append(events[-1] * 1.4)

    def quiet(one: Evidence) -> bool:
        return all(false_alerts(one, threshold, budget, long, number / long) <= most for number in events)

    numbers = range(1, _MOST_EVENTS + 1) if least is None else (least,)
    kinds = (True, False) if bound is None else (bound,)
    found = [next((one for one in (Evidence(number, kind) for number in numbers) if quiet(one)), None) for kind in kinds]
    costs = {one: max(seconds_later(one, threshold, long, rate / 3_600) for rate in _USUAL) for one in found if one is not None}
    if not costs:
        return Evidence(FALLBACK if least is None else least, bound is not False)
    return min(costs, key=lambda one: costs[one])


def _bad_needed(count: int, threshold: float, evidence: Evidence, *, whole: bool, start: int = 0) -> int | None:
    """Return how many bad events burn: among `count` events if `whole`, else beside `count` good ones. None: no number does."""
    number = max(evidence.least_bad_events, 1, start)
    if whole:
        low, high = number - 1, max(count, number)
        if not is_burning(high, high, threshold, number, bound=evidence.bound):
            return None if threshold >= 1 else _bad_needed(0, threshold, evidence, whole=False, start=number)
        while high - low > 1:
            middle = (low + high) // 2
            if is_burning(middle, max(count, middle), threshold, number, bound=evidence.bound):
                high = middle
            else:
                low = middle
        return high
    while not is_burning(number, count + number, threshold, evidence.least_bad_events, bound=evidence.bound):
        number += 1
        if number > 100_000:
            return None
    return number


def _poisson(number: int, mean: float) -> float:
    if mean <= 0:
        return 1.0 if number == 0 else 0.0
    return math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
