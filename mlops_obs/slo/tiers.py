"""Burn-rate alert tiers, and the proof that each of them can fire.

A tier pages when `share` of the period's budget would be gone within its long window: burn > factor = share x period /
long. Under a total outage the error ratio is 1, so a tier with factor x budget >= 1 can never fire, whatever happens;
published tools ship such alerts for objectives below about 93 %. Here a dead tier is refused, or re-planned on a longer
window: the time to fire under a total outage is share x period x budget either way. A factor below 1 is the opposite
mistake: it alerts although the objective is met, so none is ever planned.

Shares and windows: https://sre.google/workbook/alerting-on-slos/ (multi-window, multi-burn-rate). Periods of 30 days and
more keep the Workbook's windows, shorter ones scale them and keep its factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_HALF_UP, Context, Decimal

from mlops_obs.durations import format_duration, humanize_duration, parse_duration
from mlops_obs.errors import ObsError, SpecError
from mlops_obs.slo import low_traffic
from mlops_obs.slo.certainty import Tier, Z, bound_is_on, burns, least_bad_events, outage_bound, seconds_to_be_sure
from mlops_obs.slo.spec import SLO, Severity, SpecErrors

__all__ = [
    "Tier", "Z", "bound_is_on", "burns", "describe", "least_bad_events", "outage_bound", "plan_all", "plan_tiers", "seconds_to_be_sure",
]  # fmt: skip

GRID, HOUR, DAY = 300, 3_600, 86_400
MONTH = 30 * DAY  # the period of the Workbook's table
_TWELVE_DIGITS = Context(prec=12)
_REACH = Decimal("0.8")  # the error ratio at which a re-planned tier burns, where the budget leaves room for it

# Name, severity, share of the budget, long and short window, and the least long window of short periods.
_WORKBOOK: tuple[tuple[str, Severity, str, int, int, int], ...] = (
    ("page-quick", "page", "0.02", 3_600, 300, 900),
    ("page-slow", "page", "0.05", 21_600, 1_800, 1_800),
    ("ticket-quick", "ticket", "0.10", 86_400, 7_200, 3_600),
    ("ticket-slow", "ticket", "0.10", 259_200, 21_600, 7_200),
)

_SHARES = {name: Decimal(share) for name, _, share, _, _, _ in _WORKBOOK}


def plan_tiers(slo: SLO) -> list[Tier]:
    """Return the tiers of `slo`, every one of them able to fire.

    Raises:
        SpecErrors: OBS-SLO-010 for each tier that cannot fire, if the SLO does not ask to `replan`; OBS-SLO-032 for each that the
            expected traffic is too low for.
    """
    planned: list[Tier] = []
    errors: list[SpecError] = []
    for wanted in _wanted(slo):
        if wanted.severity not in slo.severities:
            continue
        tier = _stretched(slo, wanted) if slo.replan and wanted.threshold > _reach(slo) else wanted
        tier = _whole_cohorts(slo, tier) if slo.indicator.type == "quality" else tier
        if tier.threshold >= 1:
            errors.append(_unreachable(slo, tier))
            continue
        tier = _sure(slo, tier) if slo.replan else tier
        try:
            seconds_to_be_sure(slo, tier)
        except SpecError as error:
            errors.append(error)
        planned.append(tier)
    if not planned and not errors:
        what = f"SLO {slo.name} has no alert tier of its severities ({', '.join(slo.severities)}), so it could never alert"
        errors.append(SpecError("OBS-SLO-010", what, todo="add a tier of that severity", where=slo.service))
    if errors:
        raise SpecErrors(errors)
    return planned if slo.tiers is not None else _telling(planned)


def _telling(planned: list[Tier]) -> list[Tier]:
    """Return the tiers without those that burn only once a quicker one of their severity has burnt, as re-planned ones may."""
    return [
        tier
        for index, tier in enumerate(planned)
        if not any(
            one.severity == tier.severity
            and one.long <= tier.long
            and one.threshold <= tier.threshold
            and (before < index or (one.long, one.threshold) != (tier.long, tier.threshold))
            for before, one in enumerate(planned)
            if before != index
        )
    ]


def _unreachable(slo: SLO, tier: Tier) -> SpecError:
    return SpecError(
        "OBS-SLO-010",
        f"alert tier {tier.name} of SLO {slo.name} can never fire: it needs an error ratio of {tier.threshold.normalize():f}",
        todo="set replan: true to stretch its window, raise the objective, or set severities: [ticket]",
        where=slo.service,
    )


def plan_all(slos: Sequence[SLO]) -> list[list[Tier]]:
    """Return the tiers of each SLO.

    Raises:
        SpecErrors: every tier of every SLO that can never fire.
    """
    planned: list[list[Tier]] = []
    errors: list[ObsError] = []
    for slo in slos:
        try:
            planned.append(plan_tiers(slo))
        except SpecErrors as error:
            errors.extend(error.errors)
    if errors:
        raise SpecErrors(errors)
    return planned


def _wanted(slo: SLO) -> list[Tier]:
    """Return the tiers that the spec lists, or the Workbook's fitted to the period, reachable or not."""
    if slo.tiers is not None:
        listed = []
        for one in slo.tiers:
            long, short = int(parse_duration(one.long)), int(parse_duration(one.short))
            factor = one.factor if one.factor is not None else (one.share or Decimal(0)) * slo.period_seconds / long
            hold = int(parse_duration(one.hold)) if one.hold else 0
            listed.append(_tier(slo, one.name, one.severity, factor, long, short, hold))
        return listed
    period = slo.period_seconds
    tiers: list[Tier] = []
    for name, severity, share, long, short, least in _WORKBOOK:
        factor = Decimal(share) * period / long
        if period < MONTH:
            factor = Decimal(share) * MONTH / long
            long = min(max(_round(Decimal(long * period) / MONTH), least), period)
            # A share above the whole budget would alert only after the budget is gone.
            factor = min(factor, Decimal(period) / long)
            short = _short(long)
        tiers.append(_tier(slo, name, severity, factor, long, short, 0))
    return tiers


def _reach(slo: SLO) -> Decimal:
    """Return the error ratio at which re-planned tiers burn."""
    return max(_REACH, (1 + slo.budget) / 2)


def _stretched(slo: SLO, tier: Tier) -> Tier:
    """Return `tier` on a window so long that a total outage is seen. Its share, and so its time to fire, is the one it was meant to have.

    The threshold becomes 0.8, or half way between the budget and 1 where the budget is nearly that large: below the budget it
    would alert although the objective is met.
    """
    threshold = _reach(slo)
    share = tier.share if slo.tiers is not None else _SHARES[tier.name]  # least windows of short periods make it larger
    needed = share * slo.period_seconds * slo.budget / threshold
    step = HOUR if needed > HOUR else GRID
    long = min(max(int((needed / step).to_integral_value(ROUND_CEILING)) * step, 3 * GRID), slo.period_seconds)
    return _tier(slo, tier.name, tier.severity, threshold / slo.budget, long, _short(long), tier.hold)


def _sure(slo: SLO, tier: Tier) -> Tier:
    """Return `tier` on a window in which the expected traffic is enough to be sure; `tier` itself if the period is too short for that."""
    longer = tier
    while True:
        try:
            seconds_to_be_sure(slo, longer)
        except SpecError:
            if longer.long * 2 > slo.period_seconds:
                return tier
            long = _round(Decimal(longer.long * 2))
            factor = max(Decimal(1), tier.factor * tier.long / long)
            longer = _tier(slo, tier.name, tier.severity, factor, long, _short(long), tier.hold)
        else:
            return longer


def _whole_cohorts(slo: SLO, tier: Tier) -> Tier:
    """Return `tier` on windows that hold whole cohorts: a cohort counts at one instant, so a shorter window would be empty mostly.

    Its share stays, and so its factor falls, but never so far that a met objective pages.
    """
    cohort = int(parse_duration(slo.indicator.cohort))
    short = -(-tier.short // cohort) * cohort
    long = max(-(-tier.long // cohort) * cohort, 2 * short if tier.long < 2 * short else 0)
    if (long, short) == (tier.long, tier.short) or slo.tiers is not None:
        return tier
    least = Decimal(2) if tier.severity == "page" else Decimal(1)
    factor = min(tier.factor, max(least, tier.factor * tier.long / long))
    return _tier(slo, tier.name, tier.severity, factor, long, short, tier.hold)


def _tier(slo: SLO, name: str, severity: Severity, factor: Decimal, long: int, short: int, hold: int) -> Tier:
    share, threshold = factor * long / slo.period_seconds, factor * slo.budget
    return Tier(name, severity, _tidy(share), long, short, _tidy(factor), _tidy(threshold), hold, _lag(slo))


def _lag(slo: SLO) -> int:
    if slo.indicator.type == "quality":
        return int(parse_duration(slo.indicator.cohort) + parse_duration(slo.indicator.maturity or "1s"))
    return 0 if slo.budgeting == "occurrences" else 2 * GRID  # the slice in which an outage begins may still be good


def _tidy(exact: Decimal) -> Decimal:
    """Cut a number that never ends: rules, Python engine and people then all have the same one."""
    return _TWELVE_DIGITS.plus(exact).normalize()


def _round(seconds: Decimal) -> int:
    """Round a window to a length that people can read and the grid of recorded counts can add up."""
    step = GRID if seconds <= HOUR else HOUR // 2 if seconds <= 6 * HOUR else HOUR
    return int((seconds / step).to_integral_value(ROUND_HALF_UP)) * step


def _short(long: int) -> int:
    step = GRID if long <= 12 * DAY else HOUR
    return max(GRID, int((Decimal(long) / 12 / step).to_integral_value(ROUND_HALF_UP)) * step)


def describe(tier: Tier, slo: SLO | None = None) -> str:
    """Say in one line what a tier means and how soon it fires under a total outage; with `slo` also at its expected traffic."""
    lasting = f", for {format_duration(tier.hold)}" if tier.hold else ""
    return (
        f"{tier.name}: burn > {tier.factor.normalize():f} over {format_duration(tier.long)} and {format_duration(tier.short)}{lasting} "
        f"(error ratio > {tier.threshold.normalize():f}); total outage: {humanize_duration(tier.seconds_to_fire)}"
    ) + ("" if slo is None else _price(slo, tier))


def _price(slo: SLO, tier: Tier) -> str:
    """Say what the tier asks for beside its ratio, and what that costs at the expected traffic."""
    if slo.budgeting != "occurrences" or slo.indicator.type == "training":
        return ""
    least, bound, rate = least_bad_events(slo, tier), bound_is_on(slo, tier), slo.events_per_second
    asks = f"; asks for {least} bad event{'s' if least > 1 else ''}{' and statistical proof' if bound else ''}"
    if rate is None:
        return asks
    if least == 1 and not bound:
        return f"; the plain ratio is enough at {slo.expected_traffic}"
    evidence = low_traffic.Evidence(least, bound)
    later = low_traffic.seconds_later(evidence, float(tier.threshold), tier.long, float(rate))
    cost = f"{humanize_duration(later)} later than the plain ratio" if later >= 1 else "no later than the plain ratio"
    return f"{asks}, {cost} at {slo.expected_traffic}"
