"""The windows that rules derive from counts recorded before, and the budget. What they mean is in `windows.py`.

A window of an hour and less is read from raw series. A longer one adds up recorded 5-minute counts, and beyond a day hourly ones for
all but its first and its running hour: 30 days are 743 points and not 86,400 samples. PromQL cannot say "since the full hour", so the
start of the hour is recorded, and a sub-query compares its points with it as it is at the evaluation (`@ end()`; without it every
point would see its own hour).

Traps kept out: a sub-query decodes every sample between its points, so hourly counts are recorded around the full hour only; ratios
are never averaged; an idle period is no 0/0; a range ends a millisecond short of its left edge, as a closed range would count one
point more; and parts that are missing (young history, a group that is gone) count as nothing instead of making the sum vanish.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs import metric_names as names
from mlops_obs.slo.calendar import whole_hours
from mlops_obs.slo.indicators import Cohorts, source
from mlops_obs.slo.rules.calendar import LONGEST_HOURS, calendar_rules
from mlops_obs.slo.rules.counts import Recording, Stages, cohort_counts, raw_counts, sliced
from mlops_obs.slo.rules.names import BASE, DAY, HOUR, Series, duration, indented, just_under, number, series_of, window_name
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier

RUNNING = "_running_hour"  # takes the place of the window in the name of the counts since the full hour
HOURLY = "1h_hourly"  # and in that of the hourly counts that long windows add up


def windows(slo: SLO, tiers: Sequence[Tier], more: Sequence[int] = ()) -> list[int]:
    """Return the windows in seconds that are recorded, shortest first; a rolling period is one of them, and the longest."""
    period = () if slo.calendar else (slo.period_seconds,)
    return sorted({BASE, HOUR, *period, *more, *(window for tier in tiers for window in (tier.long, tier.short))})


def window_rules(slo: SLO, tiers: Sequence[Tier], stages: Stages, more: Sequence[int] = ()) -> list[Recording]:
    """Return the recordings of bad and all events and their ratio, window by window, and of what is left of the budget.

    Args:
        slo: the objective.
        tiers: its alert tiers.
        stages: the SLOs that are known, by (service, slo).
        more: windows up to an hour that are recorded although no tier of its own needs them: a composite reads them.
    """
    series, kind = series_of(slo), source(slo)
    found, by_the_hour = [*calendar_rules(slo)], _by_the_hour(slo, tiers)
    if by_the_hour:
        found.append((names.SLO_HOUR_START, f"vector(time() - time() % {HOUR})"))
    for window in windows(slo, tiers, more):
        found += _counts(slo, window, stages)
        found.append(_ratio(series, duration(window)))
        if window == HOUR and by_the_hour:
            found += [rule for name in (names.SLO_TOTAL, names.SLO_BAD) for rule in _hours(slo, name)]
    if slo.calendar:
        if isinstance(kind, Cohorts):
            since = f"scalar({series.named(names.SLO_PERIOD_START)}) - 1"
            total, bad = (name.format(window=window_name(slo)) for name in (names.SLO_TOTAL, names.SLO_BAD))
            found += cohort_counts(slo, kind, since, total, bad)
        else:
            found += [_calendar(slo, name) for name in (names.SLO_TOTAL, names.SLO_BAD)]
        found.append(_ratio(series, window_name(slo)))
    return [*found, *_budget(slo, kind)]


def _counts(slo: SLO, window: int, stages: Stages) -> list[Recording]:
    cohorts = isinstance(source(slo), Cohorts)
    if cohorts or window == BASE or (window <= HOUR and not sliced(slo)):
        return raw_counts(slo, window, stages)
    return [(name.format(window=duration(window)), _derived(slo, name, window)) for name in (names.SLO_TOTAL, names.SLO_BAD)]


def _ratio(series: Series, window: str) -> Recording:
    bad, total, ratio = (name.format(window=window) for name in (names.SLO_BAD, names.SLO_TOTAL, names.SLO_ERROR_RATIO))
    return ratio, f"{series.named(bad)} / ({series.named(total)} > 0)"


def _by_the_hour(slo: SLO, tiers: Sequence[Tier]) -> bool:
    """Say whether anything is added up by the hour."""
    if isinstance(source(slo), Cohorts):
        return False
    return any(_has_hours(window) for window in windows(slo, tiers)) or (slo.calendar is not None and whole_hours(slo.time_zone))


def _has_hours(window: int) -> bool:
    return window > DAY and window % HOUR == 0


def _hours(slo: SLO, name: str) -> list[Recording]:
    """Return the hourly counts, for the five minutes before each full hour, and the counts since then (none at the full hour)."""
    series = series_of(slo)
    return [
        (name.format(window=HOURLY), f"{series(name, HOUR)} and on () (vector((time() + {BASE}) % {HOUR}) <= {BASE})"),
        (name.format(window=RUNNING), _running(slo, name, "sum_over_time")),
    ]


def _running(slo: SLO, name: str, function: str) -> str:
    """Apply `function` to the 5-minute counts since the full hour."""
    since = f"scalar({series_of(slo).named(names.SLO_HOUR_START)} @ end())"
    return _points(slo, name, function, f"vector(time()) > {since}")


def _first(slo: SLO, name: str, function: str, window: int) -> str:
    """Apply `function` to the 5-minute counts of `window` before its first full hour."""
    until = f"scalar({series_of(slo).named(names.SLO_HOUR_START)} @ end()) - {window - HOUR}"
    return _points(slo, name, function, f"vector(time()) <= {until}", f" offset {duration(window - HOUR)}")


def _points(slo: SLO, name: str, function: str, condition: str, offset: str = "") -> str:
    """Apply `function` to those 5-minute counts of an hour for which `condition` holds."""
    return f"{function}(({series_of(slo)(name, BASE)} and on () ({condition}))[{just_under(HOUR)}:{duration(BASE)}]{offset})"


def _derived(slo: SLO, name: str, window: int) -> str:
    """Return a window of more than an hour (or of slices) from the counts of its grid, never less than the last hour."""
    if not _has_hours(window):
        added = f"sum_over_time({series_of(slo)(name, BASE)}[{just_under(window)}:{duration(BASE)}])"
    else:
        hours = f"sum_over_time({series_of(slo).named(name.format(window=HOURLY))}[{just_under(window - HOUR)}:{duration(HOUR)}])"
        running = series_of(slo).named(name.format(window=RUNNING))
        added = _added(hours, _first(slo, name, "sum_over_time", window), running)
    if sliced(slo):
        return added
    told_apart = f'label_replace({indented(added)}, "window", "grid", "", "")'
    return f"max without (window) (\n  {told_apart}\n  or {series_of(slo)(name, HOUR)}\n)"


def _calendar(slo: SLO, name: str) -> Recording:
    """Return the counts since the calendar period began. The last hour may be of the period before, so it is no lower bound here."""
    series, hours = series_of(slo), LONGEST_HOURS[slo.period]
    begin = f"scalar({series.named(names.SLO_PERIOD_START)} @ end())"
    if whole_hours(slo.time_zone):
        of, step = series.named(name.format(window=HOURLY)), HOUR
    else:
        of, step = series(name, BASE), BASE
    points = f"({of} and on () (vector(time() - {step}) >= {begin}))"
    added = f"sum_over_time({points}[{duration(hours * HOUR)}:{duration(step)}])"
    counted = _added(added, series.named(name.format(window=RUNNING))) if step == HOUR else added
    # In the first five minutes nothing of the period has been counted yet: that is no event, and not "unknown".
    return name.format(window=window_name(slo)), f"{counted}\nor {series(name, BASE)} * 0"


def _added(*parts: str) -> str:
    """Add vectors of which any may lack a group or be empty. `window` is a label that no rule and no user sets."""
    told_apart = [f'label_replace({part}, "window", "{index}", "", "")' for index, part in enumerate(parts)]
    return "sum without (window) (\n  " + "\n  or ".join(told_apart) + "\n)"


def _budget(slo: SLO, cohorts: object) -> list[Recording]:
    """Return the recordings of the objective and of what is left of the budget."""
    series = series_of(slo)
    found = [(names.SLO_OBJECTIVE, f"vector({number(slo.objective)})"), (names.SLO_ERROR_BUDGET, f"vector({number(slo.budget)})")]
    if slo.calendar is None:
        found.append((names.SLO_PERIOD_SECONDS, f"vector({slo.period_seconds})"))
    found.append((names.SLO_COVERED, _covered(slo, cohorts)))
    found.append((names.SLO_BURN_RATE, f"{series(names.SLO_ERROR_RATIO, HOUR)} / {number(slo.budget)}"))
    found.append((names.SLO_BUDGET_REMAINING, _remaining(slo)))
    if slo.indicator.threshold_seconds is not None:
        found.append((names.SLO_THRESHOLD, f"vector({slo.indicator.threshold_seconds})"))
    return found


def _covered(slo: SLO, cohorts: object) -> str:
    """Return the seconds for which the period has been counted, an hour at least: since a calendar period began, or while
    something was counted in a rolling one.

    A service that is an hour old has not spent a month's budget with its first error: what it lost is projected on the time it has
    been counted, not on the whole period.
    """
    series, period = series_of(slo), slo.period_seconds
    total = series.named(names.SLO_TOTAL.format(window=window_name(slo)))
    if slo.calendar:
        return f"clamp_min({total} * 0 + time() - scalar({series.named(names.SLO_PERIOD_START)}), {HOUR})"
    if isinstance(cohorts, Cohorts):
        mature = f"{cohorts.start} > time() - {cohorts.cohort + cohorts.maturity + period} <= time() - {cohorts.cohort + cohorts.maturity}"
        by = ", ".join([*slo.group_by, names.COHORT])
        counted = f"count (count by ({names.COHORT}) ({mature})) * {cohorts.cohort}"
        if slo.group_by:
            groups = ", ".join(slo.group_by)
            counted += f"\n  or count by ({groups}) (count by ({by}) ({mature})) * {cohorts.cohort}"
        # Without the labels that rules add, as the gauges are.
        return f"clamp(\n  {counted},\n  {HOUR}, {period}\n)\nor {_plain(series, total)} * 0 + {HOUR}"
    if not _has_hours(period):
        counted = f"count_over_time({series(names.SLO_TOTAL, BASE)}[{just_under(period)}:{duration(BASE)}]) * {BASE}"
    else:
        hourly = series.named(names.SLO_TOTAL.format(window=HOURLY))
        hours = f"count_over_time({hourly}[{just_under(period - HOUR)}:{duration(HOUR)}]) * {HOUR}"
        first, running = _first(slo, names.SLO_TOTAL, "count_over_time", period), _running(slo, names.SLO_TOTAL, "count_over_time")
        counted = _added(hours, f"{first} * {BASE}", f"{running} * {BASE}")
    return f"clamp({counted}, {HOUR}, {period})\nor {total} * 0 + {HOUR}"


def _plain(series: Series, total: str) -> str:
    by = series.group_by
    return f"sum by ({', '.join(by)}) ({total})" if by else f"sum ({total})"


def _remaining(slo: SLO) -> str:
    """Return the share of the period's budget that is left; below 0 it is overspent."""
    series, period = series_of(slo), window_name(slo)
    ratio = series.named(names.SLO_ERROR_RATIO.format(window=period))
    total = series.named(names.SLO_TOTAL.format(window=period))
    length = str(slo.period_seconds) if slo.calendar is None else f"scalar({series.named(names.SLO_PERIOD_SECONDS)})"
    whole = f"({number(slo.budget)} * {length})"
    spent = f"{ratio} * {series.named(names.SLO_COVERED)} / {whole}"
    return f"1 - {spent}\nor {total} * 0 + 1"
