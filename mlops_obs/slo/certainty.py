"""One alert tier, and how much it takes until it is sure of a burn.

A ratio alone is no proof: three failures of ten requests at night are 30 %. A tier therefore asks for a number of bad events
and, where the traffic is low, for a statistical bound; how much of both is chosen in `low_traffic.py`. What it asks for costs
time, and may never be there at all: so the time until a tier is sure is computed from the traffic that the spec expects, and a
tier that never could be is refused like one whose threshold is out of reach.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from mlops_obs.durations import format_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo import low_traffic
from mlops_obs.slo.spec import SLO, Severity

Z = Decimal(str(low_traffic.Z))
MIN_BAD_SECONDS = 300  # of training: five minutes
GRID, HOUR = 300, 3_600


@dataclass(frozen=True, slots=True)
class Tier:
    """One alert condition: burn above `factor` over `long` and still over `short` (windows in seconds), for `hold` seconds."""

    name: str
    severity: Severity
    share: Decimal
    long: int
    short: int
    factor: Decimal
    threshold: Decimal
    """factor x budget: the error ratio above which the tier burns."""
    hold: int = 0
    lag: int = 0
    """Seconds until an event counts: a slice must end, a cohort of predictions must end and mature."""

    @property
    def seconds_to_fire(self) -> int:
        """Seconds from the start of a total outage on steady traffic until the long window burns and `hold` has passed."""
        return int((self.threshold * self.long).to_integral_value(ROUND_CEILING)) + self.lag + self.hold


def events_per_second(slo: SLO) -> Decimal | None:
    """Return how many events are counted per second: slices come every 5 minutes, else what the spec expects; None if nobody knows."""
    if slo.budgeting != "occurrences":
        return Decimal(1) / GRID
    return Decimal(1) if slo.indicator.type == "training" else slo.events_per_second


def events_in(rate: Decimal, window: int) -> int:
    """Return how many whole events `rate` per second brings in `window` seconds; a third of an event a second is no exact number."""
    return math.floor(round(rate * window, 6))


def least_bad_events(slo: SLO, tier: Tier) -> int:
    """Return how many bad events the long window of `tier` must hold before it can burn."""
    if slo.min_bad_events is not None:
        return slo.min_bad_events
    if slo.budgeting != "occurrences":
        return 1  # a bad slice is many events already
    if slo.indicator.type == "training":
        return MIN_BAD_SECONDS
    return _evidence(slo, tier).least_bad_events


def bound_is_on(slo: SLO, tier: Tier) -> bool:
    """Say whether `tier` asks for statistical proof (the Wilson lower bound) and not only for the plain ratio.

    Left to itself it is off for slices and seconds, which are no independent draws, and where the expected traffic is so low that
    even a total outage would be no proof.
    """
    if slo.statistical_bound != "auto":
        return slo.statistical_bound == "on"
    if slo.budgeting != "occurrences" or slo.indicator.type == "training":
        return False
    return _evidence(slo, tier).bound


def _evidence(slo: SLO, tier: Tier) -> low_traffic.Evidence:
    """Return what keeps false alerts rare at the expected traffic (at any, if none is told), as far as the spec leaves it open."""
    rate, bound = slo.events_per_second, None if slo.statistical_bound == "auto" else slo.statistical_bound == "on"
    told = None if rate is None else float(rate)
    return low_traffic.choose(float(tier.threshold), float(slo.budget), tier.long, told, bound=bound, least=slo.min_bad_events)


def seconds_to_be_sure(slo: SLO, tier: Tier) -> int | None:
    """Return how soon `tier` fires under a total outage at the expected traffic, certainty included; None if no traffic is expected.

    Arrivals are taken as regular, the window as full of good events before; `lag` and `hold` are included, the grid of recorded counts and
    the evaluation interval are not (see `outage_bound`).

    Raises:
        SpecError: OBS-SLO-032 if the expected traffic brings too few events for the tier ever to be sure.
    """
    rate = events_per_second(slo)
    if rate is None:
        return None
    least, bound = least_bad_events(slo, tier), bound_is_on(slo, tier)
    low, high = 0, events_in(rate, tier.long)  # regular arrivals: the window holds so many at least, and one more at most
    total = high + 1
    if not burns(high, total, tier, least, bound=bound):
        raise SpecError(
            "OBS-SLO-032",
            f"alert tier {tier.name} of SLO {slo.name} can never fire: {format_duration(tier.long)} bring {high} events, "
            f"and it needs {least} bad ones" + (" and statistical proof" if bound else ""),
            todo="set replan: true to stretch its window, lower min_bad_events, or set severities: [ticket]",
            where=slo.service,
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if burns(middle, total, tier, least, bound=bound) else (middle, high)
    return math.ceil(round(high / rate, 6)) + tier.lag + tier.hold


def outage_bound(slo: SLO, tier: Tier, *, interval: int = 30) -> int:
    """Return the seconds within which `tier` alerts after a total outage began, at the expected traffic (else at dense traffic).

    Windows longer than an hour are added up from counts recorded every 5 minutes, and every rule is evaluated each `interval`
    seconds: an outage is scraped, counted and judged one interval late each.
    """
    sure = seconds_to_be_sure(slo, tier)
    grid = GRID if tier.long > HOUR else 0
    if slo.indicator.type == "quality":  # the gauges of every cohort are read anew, so their rules are evaluated more rarely
        interval = max(interval, min(120, 4 * interval))
    return max(tier.seconds_to_fire, sure or 0) + grid + 3 * interval


def burns(bad: float, total: float, tier: Tier, min_bad_events: int, *, bound: bool = True) -> bool:
    """Say whether the long window burns for sure: enough bad events, and the Wilson lower bound above the threshold.

    The bound keeps three failures out of ten requests from paging; with much traffic it meets the plain ratio. Without `bound`
    the plain ratio decides.
    """
    return low_traffic.is_burning(bad, total, float(tier.threshold), min_bad_events, bound=bound)
