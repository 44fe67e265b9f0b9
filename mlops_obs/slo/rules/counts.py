"""The counts that rules read from raw series, one way for each kind of source: bad and all events of a window up to an hour.

Groups are counted first, and the service as a whole is the sum of its groups and of the series without one: adding up both
from raw series would read every sample twice.

Traps kept out: a bad counter that was never born reads 0, but a latency bucket that is missing stays missing and is not
"all fast"; 0/0 inside a user's expression is dropped before it becomes a count; and an idle histogram has no fraction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from mlops_obs import metric_names as names
from mlops_obs.slo.indicators import Cohorts, Counters, Expressions, NativeHistogram, Parts, Samples, Selector, source
from mlops_obs.slo.rules.names import BASE, Series, duration, just_under, number, series_of, with_matchers
from mlops_obs.slo.selectors import quoted
from mlops_obs.slo.spec import SLO

Recording = tuple[str, str]  # name and expression
Stages = Mapping[tuple[str, str], SLO]
Count = Callable[[str], str]  # from further matchers to what counts the events of those series


def sliced(slo: SLO) -> bool:
    """Say whether the budget counts slices of 5 minutes and not events."""
    return slo.budgeting != "occurrences"


def raw_counts(slo: SLO, window: int, stages: Stages) -> list[Recording]:
    """Return the recordings of bad and all events in `window` seconds, read from what the indicator counts.

    `stages` are the SLOs that are known, by (service, slo), for a composite to find its stages in.
    """
    if not sliced(slo):
        return list(_counts(slo, window, names.SLO_TOTAL, names.SLO_BAD, stages))
    return [*_counts(slo, BASE, names.SLO_SLICE_TOTAL, names.SLO_SLICE_BAD, stages), *_slices(slo)]


def _counts(slo: SLO, window: int, total_name: str, bad_name: str, stages: Stages) -> Iterator[Recording]:
    series, found = series_of(slo), source(slo)
    total, bad = (name.format(window=duration(window)) for name in (total_name, bad_name))
    match found:
        case Counters():
            yield from _of_counters(series, found, window, total, bad)
        case Samples():
            yield from _of_samples(series, found, window, total, bad)
        case NativeHistogram():
            yield from _of_histogram(series, found, window, total, bad)
        case Expressions():
            yield from _of_expressions(series, found, window, total, bad)
        case Parts():
            yield from _of_parts(slo, found, window, total, bad, stages)
        case Cohorts():
            yield from cohort_counts(slo, found, f"time() - {found.cohort + found.maturity + window}", total, bad)


def _of_counters(series: Series, found: Counters, window: int, total: str, bad: str) -> Iterator[Recording]:
    def grown(one: Selector) -> Count:
        return lambda more: f"increase({with_matchers(one, more)}[{duration(window)}])"

    yield from _summed(series, total, grown(found.total))
    if found.good is not None:
        yield from _rest(series, total, bad, grown(found.good), window)
        return
    assert found.bad is not None  # noqa: S101 - an indicator counts bad events or good ones
    yield from _summed(series, bad, grown(found.bad), total)


def _of_samples(series: Series, found: Samples, window: int, total: str, bad: str) -> Iterator[Recording]:
    def over_time(function: str) -> Count:
        return lambda more: f"{function}({with_matchers(found.selector, more)}[{just_under(window)}])"

    yield from _summed(series, total, over_time("count_over_time"))
    yield from _rest(series, total, bad, over_time("sum_over_time"), window)


def _of_histogram(series: Series, found: NativeHistogram, window: int, total: str, bad: str) -> Iterator[Recording]:
    histogram = names.SLO_HISTOGRAM.format(window=duration(window))
    yield from _summed(series, histogram, lambda more: f"increase({with_matchers(found.selector, more)}[{duration(window)}])")
    every = series.named(histogram)
    yield total, f"histogram_count({every})"
    fast = f"histogram_fraction(-Inf, {number(found.threshold)}, {every})"
    yield bad, f"clamp_min(({series.named(total)} > 0) * (1 - {fast}), 0)\nor {series.named(total)} * 0"


def _of_expressions(series: Series, found: Expressions, window: int, total: str, bad: str) -> Iterator[Recording]:
    if found.ratio is not None:
        # A slice is there where the ratio is; NaN is no answer.
        ratio = f"(\n{found.at(found.ratio, window)}\n) >= 0"
        yield bad, f"clamp_max({_each(series, 'avg', ratio)}, 1)"
        yield total, f"{series.named(bad)} * 0 + 1"
        return
    assert found.bad is not None and found.total is not None  # noqa: S101, PT018 - the spec has both or a ratio
    times = f" * {window}" if found.per_second else ""
    yield total, _each(series, "sum", f"(\n{found.at(found.total, window)}\n) >= 0", times)
    some = _each(series, "sum", f"(\n{found.at(found.bad, window)}\n) >= 0", times)
    yield bad, f"{some}\nor {_zeros(series, total)}"


def _of_parts(slo: SLO, found: Parts, window: int, total: str, bad: str, stages: Stages) -> Iterator[Recording]:
    every = names.SLO_TOTAL.format(window=duration(window))
    ratio = names.SLO_ERROR_RATIO.format(window=duration(window))
    good = " * ".join(f"(1 - (sum ({_stage(ratio, of, stages)}) or vector(0)))" for of in found.of)
    yield total, f"sum ({_stage(every, found.of[-1], stages)})"
    yield bad, f"sum ({total}{series_of(slo).of}) * (1 - {good})"


def _stage(name: str, of: tuple[str, str], stages: Stages) -> str:
    """Select a series of another SLO as a whole. One that is not known here may be grouped as the toolkit's own are."""
    if of in stages:
        return series_of(stages[of]).whole(name)
    own = ", ".join(f'{label}=""' for label in (names.REVISION, names.FEATURE_VIEW, names.TABLE))
    return f"{name}{{{names.SERVICE}={quoted(of[0])}, {names.SLO}={quoted(of[1])}, {own}}}"


def cohort_counts(slo: SLO, found: Cohorts, since: str, total: str, bad: str) -> Iterator[Recording]:
    """Return the recordings of the mature cohorts that began after the instant `since` (PromQL scalar).

    Every window is read from the gauges anew, so a late label counts in the window of its prediction. Cohorts that are there but not
    mature are idle time, not absence.
    """
    series = series_of(slo)

    def mature(one: Selector) -> str:
        return f"{one} and ({found.start} > {since} <= time() - {found.cohort + found.maturity})"

    # The gauges are many, so only the first window asks whether they are there at all.
    base = names.SLO_TOTAL.format(window=duration(BASE))
    idle = _each(series, "sum", str(found.events), " * 0") if total == base else _zeros(series, base)
    yield total, _each(series, "sum", mature(found.events)) + f"\nor {idle}"
    yield bad, _each(series, "sum", mature(found.bad)) + f"\nor {_zeros(series, total)}"


def _summed(series: Series, name: str, count: Count, total: str = "") -> Iterator[Recording]:
    """Yield what is recorded as `name`: the sum, or with `group_by` the sums of the groups and then theirs and the sum of all.

    With the name of the `total`, what is not there is 0 where the total is there.
    """
    by = series.group_by
    if not by:
        yield name, f"sum ({count('')})" + (f"\nor sum ({series.named(total)}) * 0" if total else "")
        return
    group, group_total = by_group(name), by_group(total)
    groups = f"sum by ({', '.join(by)}) ({' or '.join(count(one) for one in series.grouped)})"
    yield group, groups + (f"\nor sum by ({', '.join(by)}) ({series.named(group_total)}) * 0" if total else "")
    whole = f"{series.named(group)}\nor sum ({series.named(group)} or {count(series.ungrouped)})"
    yield name, whole + (f"\nor sum ({series.whole(total)}) * 0" if total else "")


def by_group(name: str) -> str:
    """Return under which name the groups alone are recorded: promtool refuses one name in two rules of the same labels."""
    return name.replace(":increase", ":group_increase").replace(":histogram", ":group_histogram")


def _zeros(series: Series, total: str) -> str:
    """Return 0 where the recorded total is there, without the labels that rules add."""
    by = series.group_by
    whole = f"sum ({series.whole(total)}) * 0"
    return whole + (f"\nor sum by ({', '.join(by)}) ({series.named(total)}) * 0" if by else "")


def _rest(series: Series, total: str, bad: str, good: Count, window: int) -> Iterator[Recording]:
    """Return the recordings of bad = all - good; where no good event is counted at all there is no bad one either."""
    if not series.group_by:
        yield bad, f"clamp_min(sum ({total}{series.of}) - sum ({good('')}), 0)"
        return
    name = names.SLO_GOOD.format(window=duration(window))
    yield from _summed(series, name, good)
    yield bad, f"clamp_min({series.named(total)} - {series.named(name)}, 0)"


def _each(series: Series, operator: str, expr: str, times: str = "") -> str:
    """Aggregate an expression that cannot take further matchers: for the service as a whole and for each group."""
    by = series.group_by
    whole = f"{operator} ({expr}){times}"
    return whole + (f"\nor {operator} by ({', '.join(by)}) ({expr}){times}" if by else "")


def _slices(slo: SLO) -> Sequence[Recording]:
    """Return the judgement of the slice that ends now: a slice with traffic counts 1."""
    series = series_of(slo)
    bad, total = (series(name, BASE) for name in (names.SLO_SLICE_BAD, names.SLO_SLICE_TOTAL))
    ratio = f"{bad} / ({total} > 0)"
    if slo.slice_objective is not None:
        ratio = f"({ratio}) > bool {number(1 - slo.slice_objective)}"
    return [
        (names.SLO_TOTAL.format(window=duration(BASE)), f"{total} > bool 0"),
        (names.SLO_BAD.format(window=duration(BASE)), f"{ratio}\nor ({total} == 0)"),
    ]
