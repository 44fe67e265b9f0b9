"""Burn-rate alert tiers, and the proof that each of them can fire.

A tier pages when `share` of the period's budget would be gone within its long window: burn > factor = share x period /
long. Under a total outage the error ratio is 1, so a tier with factor x budget >= 1 can never fire, whatever happens;
published tools ship such alerts for objectives below about 93 %. Here a dead tier is refused, or re-planned on a longer
window: the time to fire under a total outage is share x period x budget either way.

Shares and windows: https://sre.google/workbook/alerting-on-slos/ (multi-window, multi-burn-rate).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from mlops_obs.durations import format_duration, humanize_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.spec import SLO, Severity, SpecErrors

Z = Decimal("2.33")  # one-sided 99 %: 39 false pages in 30 days become 0.1 at 60 requests per hour


@dataclass(frozen=True, slots=True)
class Tier:
    """One alert condition: burn above `factor` over `long` and still over `short` (windows in seconds)."""

    name: str
    severity: Severity
    share: Decimal
    long: int
    short: int
    factor: Decimal
    threshold: Decimal
    """factor x budget: the error ratio above which the tier burns."""

    @property
    def seconds_to_fire(self) -> int:
        """Seconds from the start of a total outage on steady traffic until the long window burns."""
        return int((self.threshold * self.long).to_integral_value(ROUND_CEILING))


_WORKBOOK: tuple[tuple[str, Severity, str, int, int], ...] = (
    ("page-quick", "page", "0.02", 3_600, 300),
    ("page-slow", "page", "0.05", 21_600, 1_800),
    ("ticket-quick", "ticket", "0.10", 86_400, 7_200),
    ("ticket-slow", "ticket", "0.10", 259_200, 21_600),
)


def plan_tiers(slo: SLO) -> list[Tier]:
    """Return the tiers of `slo`, every one of them able to fire.

    Raises:
        SpecError: OBS-SLO-010 if a tier cannot fire and the SLO does not ask to `replan`.
    """
    planned = []
    for name, severity, share_text, long, short in _WORKBOOK:
        if severity not in slo.severities:
            continue
        share = Decimal(share_text)
        tier = _tier(slo, name, severity, share, long, short)
        if tier.threshold >= 1:
            if not slo.replan:
                raise SpecError(
                    "OBS-SLO-010",
                    f"alert tier {name} of SLO {slo.name} can never fire: it needs an error ratio of {tier.threshold.normalize():f}",
                    todo="set replan: true to stretch its window, raise the objective, or set severities: [ticket]",
                    where=slo.service,
                )
            # 1.25 puts the threshold at 0.8 at most; whole hours keep the short window (long / 12) a multiple of 5 min.
            needed = share * slo.period_seconds * slo.budget * Decimal("1.25")
            long = int((needed / 3_600).to_integral_value(ROUND_CEILING)) * 3_600
            tier = _tier(slo, name, severity, share, long, long // 12)
        planned.append(tier)
    return planned


def plan_all(slos: Sequence[SLO]) -> list[list[Tier]]:
    """Return the tiers of each SLO.

    Raises:
        SpecErrors: every SLO with a tier that can never fire.
    """
    planned, errors = [], []
    for slo in slos:
        try:
            planned.append(plan_tiers(slo))
        except SpecError as error:
            errors.append(error)
    if errors:
        raise SpecErrors(errors)
    return planned


def _tier(slo: SLO, name: str, severity: Severity, share: Decimal, long: int, short: int) -> Tier:
    factor = share * slo.period_seconds / long
    return Tier(name, severity, share, long, short, factor, factor * slo.budget)


def describe(tier: Tier) -> str:
    """Say in one line what a tier means and how soon it fires under a total outage."""
    return (
        f"{tier.name}: burn > {tier.factor.normalize():f} over {format_duration(tier.long)} and {format_duration(tier.short)} "
        f"(error ratio > {tier.threshold.normalize():f}); total outage: {humanize_duration(tier.seconds_to_fire)}"
    )


def burns(bad: float, total: float, tier: Tier, min_bad_events: int) -> bool:
    """Say whether the long window burns for sure: enough bad events, and the Wilson lower bound above the threshold.

    The bound keeps three failures out of ten requests from paging; with much traffic it meets the plain ratio.
    """
    if total <= 0 or bad < min_bad_events:
        return False
    z = float(Z)
    bad = min(bad, total)
    margin = z * math.sqrt(bad * (total - bad) / total + z * z / 4)
    return bad + z * z / 2 - margin > float(tier.threshold) * (total + z * z)
