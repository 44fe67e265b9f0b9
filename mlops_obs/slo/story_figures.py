"""What the rules must have recorded at one minute of a story: every count, ratio and budget, as numbers.

Alerts alone do not notice a wrong budget or a ratio of the wrong window; dashboards would. The figures are made from the counts of
the story and the meaning of each name, never from the rules.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo import windows as span
from mlops_obs.slo.calendar import period_start, whole_hours
from mlops_obs.slo.indicators import Counters, source
from mlops_obs.slo.rules.sloth_names import sloth_duration
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import GRID, HOUR, MINUTE, WHOLE, Told
from mlops_obs.slo.tiers import Tier

ROUNDED = 0.000001
_INVERSE = 1.0 / ROUNDED
Figure = tuple[str, str, float]  # the record's name, the group's value, the number


def rounded(value: float) -> float:
    """Round as PromQL's `round(..., 0.000001)` does."""
    return math.floor(value * _INVERSE + 0.5) / _INVERSE


def recorded_windows(slo: SLO, tiers: Sequence[Tier]) -> list[int]:
    """Return the windows in seconds that are recorded; a rolling period is one of them."""
    period = () if slo.calendar else (slo.period_seconds,)
    return sorted({span.BASE, span.HOUR, *period, *(window for tier in tiers for window in (tier.long, tier.short))})


def figures(told: Told, tiers: Sequence[Tier], now: int) -> Iterator[Figure]:
    """Yield what is recorded at minute `now`."""
    slo = told.slo
    budget = float(slo.budget)
    windows, kind = _told_windows(told, tiers), source(slo)
    for group in told.groups:
        for window in windows:
            yield from _counts(format_duration(window), group, *told.window(group, now, window))
        hour_bad, hour_total = told.window(group, now, span.HOUR)
        if hour_total > 0:
            yield names.SLO_BURN_RATE, group, rounded(hour_bad / hour_total / budget)
        if group and isinstance(kind, Counters) and slo.budgeting == "occurrences":
            for window in (one for one in windows if one <= span.HOUR):
                bad, total = told.window(group, now, window)
                yield names.SLO_TOTAL.format(window=format_duration(window)).replace(":increase", ":group_increase"), group, rounded(total)
                part, name = (bad, names.SLO_BAD) if kind.bad is not None else (total - bad, names.SLO_GOOD)
                yield name.format(window=format_duration(window)).replace(":increase", ":group_increase"), group, rounded(part)
        (bad, total), elapsed, _ = told.period(group, now)
        if slo.calendar is not None:
            yield from _counts(f"_{slo.calendar}", group, bad, total)
        if told.step <= GRID:  # by the hour, how much of the first hour was covered depends on the version of Prometheus
            yield names.SLO_COVERED, group, float(elapsed)
        if slo.calendar is not None or told.step <= GRID:
            yield names.SLO_BUDGET_REMAINING, group, rounded(told.remaining(group, now))
    by_the_hour = any(window > span.DAY for window in windows) or (slo.calendar is not None and whole_hours(slo.time_zone))
    if by_the_hour and slo.indicator.type != "quality":
        yield names.SLO_HOUR_START, WHOLE, float(now // HOUR * span.HOUR)
    yield names.SLO_OBJECTIVE, WHOLE, float(slo.objective)
    yield names.SLO_ERROR_BUDGET, WHOLE, budget
    if slo.indicator.threshold_seconds is not None:
        yield names.SLO_THRESHOLD, WHOLE, slo.indicator.threshold_seconds
    yield names.SLO_PERIOD_SECONDS, WHOLE, float(told.period(WHOLE, now)[2])
    if slo.calendar is not None:
        yield names.SLO_PERIOD_START, WHOLE, float(period_start(slo.calendar, slo.time_zone, now * MINUTE))


def sloth_figures(told: Told, tiers: Sequence[Tier], now: int) -> Iterator[tuple[str, str, float]]:
    """Yield (name, window or empty, value) of what is recorded under Sloth's names: ratios of the service as a whole."""
    slo, budget = told.slo, float(told.slo.budget)
    (bad, total), _, _ = told.period(WHOLE, now)
    spans = {window: told.window(WHOLE, now, window) for window in _told_windows(told, tiers)}
    spans[slo.period_seconds] = (bad, total)
    for window, (some, everything) in spans.items():
        if everything > 0:
            text = sloth_duration(window)
            yield f"slo:sli_error:ratio_rate{text}", text, rounded(some / everything)
    base_bad, base_total = told.window(WHOLE, now, span.BASE)
    if base_total > 0:
        yield "slo:current_burn_rate:ratio", "", rounded(base_bad / base_total / budget)
    if total > 0:
        yield "slo:period_burn_rate:ratio", "", rounded(bad / total / budget)
    if slo.calendar is not None or told.step <= GRID:
        yield "slo:period_error_budget_remaining:ratio", "", rounded(told.remaining(WHOLE, now))
    yield "slo:time_period:days", "", rounded(slo.period_seconds / 86_400)
    yield "sloth_slo_info", "", 1.0


def _told_windows(told: Told, tiers: Sequence[Tier]) -> list[int]:
    """Return the windows that can be judged: evaluated by the hour, those on the 5-minute grid lack most of it."""
    windows = recorded_windows(told.slo, tiers)
    return [one for one in windows if one <= span.HOUR or one > span.DAY] if told.step > GRID else windows


def _counts(window: str, group: str, bad: float, total: float) -> Iterator[Figure]:
    yield names.SLO_BAD.format(window=window), group, rounded(bad)
    yield names.SLO_TOTAL.format(window=window), group, rounded(total)
    if total > 0:
        yield names.SLO_ERROR_RATIO.format(window=window), group, rounded(bad / total)
