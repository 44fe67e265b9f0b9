"""From an indicator to the counts that everything else derives from: bad events and all events.

Both engines read the same sources: PromQL is made from them for Prometheus, exact counts by the Python engine. `source`
returns one of six kinds, and whoever counts must switch on all of them. The trap is latency: Prometheus has no counter
of slow requests, so bad is `count - bucket{le=threshold}`, and a threshold without a bucket would silently read as "no
slow request ever". The spec refuses such thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.indicator_checks import WINDOW
from mlops_obs.slo.selectors import Selector, parse_selector
from mlops_obs.slo.spec import SLO

__all__ = [
    "Cohorts", "Counters", "Expressions", "NativeHistogram", "Parts", "Samples", "Selector", "Source",
    "counters", "source", "watched_series",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counters:
    """Bad = `bad`, or `total - good` where only good events are counted (`bad` is None then)."""

    total: Selector
    bad: Selector | None = None
    good: Selector | None = None


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A native histogram: every observation is an event, those above `threshold` (in the histogram's unit) are bad."""

    selector: Selector
    threshold: Decimal


@dataclass(frozen=True, slots=True)
class Samples:
    """A gauge of 0 and 1: every sample is an event, 0 is bad. All = count_over_time, good = sum_over_time."""

    selector: Selector


@dataclass(frozen=True, slots=True)
class Expressions:
    """PromQL with the place of the window. Either `bad` and `total` (counts, or rates per second if `per_second`), or `ratio` alone."""

    bad: str | None
    total: str | None
    ratio: str | None
    per_second: bool

    @staticmethod
    def at(expression: str, window: int) -> str:
        """Return `expression` with the window of `window` seconds filled in."""
        return WINDOW.sub(format_duration(window), expression)


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Predictions counted by cohort once their labels are there: gauges with the label `cohort` (Unix start, as text).

    A cohort of `cohort` seconds is mature, and counts, from start + cohort + `maturity` on. Late labels raise the gauges of the
    cohort in which the prediction was made, so they re-credit the window of the prediction.
    """

    events: Selector
    bad: Selector
    start: Selector
    cohort: int
    maturity: int


@dataclass(frozen=True, slots=True)
class Parts:
    """A chain of other SLOs, upstream first, each as (service, slo): an event is good if every stage was good."""

    of: tuple[tuple[str, str], ...]


Source = Counters | NativeHistogram | Samples | Expressions | Cohorts | Parts


def source(slo: SLO) -> Source:
    """Return where the events of `slo` are counted."""
    indicator = slo.indicator
    match indicator.type:
        case "latency" if indicator.native:
            return NativeHistogram(parse_selector(indicator.histogram or ""), indicator.bound)
        case "quality":
            of = {names.SERVICE: slo.service}
            return Cohorts(
                Selector(names.QUALITY_EVENTS.name, of),
                Selector(names.QUALITY_BAD.name, of),
                Selector(names.QUALITY_START.name, of),
                int(parse_duration(indicator.cohort)),
                int(parse_duration(indicator.maturity or "1h")),
            )
        case "boolean":
            return Samples(parse_selector(indicator.metric or ""))
        case "ratio":
            return Expressions(indicator.bad, indicator.total, indicator.ratio, indicator.unit == "rate")
        case "composite":
            return Parts(tuple(split_ref(one, slo.service) for one in indicator.of))
        case _:
            return counters(slo)


def counters(slo: SLO) -> Counters:
    """Return the counters of `slo`.

    Raises:
        SpecError: OBS-SLO-030 if its events are not counted by counters; ask `source` first.
    """
    indicator, service = slo.indicator, {names.SERVICE: slo.service}
    if indicator.type == "availability":
        if indicator.total is not None:
            bad, good = (None if text is None else parse_selector(text) for text in (indicator.bad, indicator.good))
            return Counters(parse_selector(indicator.total), bad, good)
        at = {**service, names.STAGE: indicator.stage}
        return Counters(
            total=Selector(names.REQUESTS.name, at),
            bad=Selector(names.REQUESTS.name, {**at, names.OUTCOME: names.OUTCOME_ERROR}),
        )
    if indicator.type == "latency" and not indicator.native:
        if indicator.histogram is not None:
            return _histogram(parse_selector(indicator.histogram), indicator.bound)
        at = {**service, names.STAGE: indicator.stage}
        bound = str(float(indicator.bound))  # "1.0", as client libraries and Prometheus 3 write it
        return Counters(
            total=Selector(f"{names.REQUEST_DURATION.name}_count", at),
            good=Selector(f"{names.REQUEST_DURATION.name}_bucket", {**at, "le": bound}),
        )
    if indicator.type == "freshness":
        at = {**service, **({names.FEATURE_VIEW: indicator.feature_view} if indicator.feature_view else {})}
        return Counters(
            total=Selector(names.FEATURE_READS.name, at),
            bad=Selector(names.FEATURE_READS.name, at, {names.FRESHNESS: "fresh"}),
        )
    if indicator.type == "drift":
        return Counters(
            total=Selector(names.DRIFT_WINDOWS.name, service, {names.VERDICT: "inconclusive"}),
            bad=Selector(names.DRIFT_WINDOWS.name, {**service, names.VERDICT: "drifted"}),
        )
    if indicator.type == "materialisation":
        at = {**service, **({names.TABLE: indicator.table} if indicator.table else {})}
        return Counters(
            total=Selector(names.MATERIALISATIONS.name, at),
            bad=Selector(names.MATERIALISATIONS.name, at, {names.OUTCOME: "on_time"}),
        )
    if indicator.type == "expectations":
        return Counters(
            total=Selector(names.EXPECTATION_CHECKS.name, service, {names.OUTCOME: "inconclusive"}),
            bad=Selector(names.EXPECTATION_CHECKS.name, {**service, names.OUTCOME: "failed"}),
        )
    if indicator.type == "skew":
        return Counters(
            total=Selector(names.SKEW_PAIRS.name, service),
            bad=Selector(names.SKEW_PAIRS.name, service, {names.KIND: "equal"}),
        )
    if indicator.type == "training":
        return Counters(
            total=Selector(names.TRAINING_TIME.name, service),
            good=Selector(names.TRAINING_TIME.name, service, matching={names.PHASE: "|".join(indicator.useful)}),
        )
    raise SpecError("OBS-SLO-030", f"the events of {slo.ref} ({indicator.type}) are not counted by counters", where=slo.service)


def _histogram(base: Selector, bound: Decimal) -> Counters:
    """Client libraries write the bound of one second as `1` or `1.0`; both are meant."""
    exact = repr(float(bound))
    buckets = replace(base, metric=f"{base.metric}_bucket")
    if exact.endswith(".0"):
        good = replace(buckets, matching={**base.matching, "le": f"{exact[:-2]}([.]0)?"})
    else:
        good = replace(buckets, equal={**base.equal, "le": exact})
    return Counters(total=replace(base, metric=f"{base.metric}_count"), good=good)


def watched_series(slo: SLO) -> Selector | None:
    """Return the series whose absence means that nobody can tell whether `slo` is met; None if only the recorded counts can tell."""
    found = source(slo)
    match found:
        case Counters():
            return found.total
        case NativeHistogram() | Samples():
            return found.selector
        case Cohorts():
            return found.events
        case _:
            return None


def split_ref(ref: str, service: str) -> tuple[str, str]:
    """Return (service, slo) of a reference written as `slo` or `service/slo`; `service` is that of the document."""
    of, _, name = ref.rpartition("/")
    return of or service, name
