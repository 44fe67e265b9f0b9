"""From an indicator to the two counters that everything else derives from: bad events and all events.

Both engines read the same selectors: PromQL text is made from them in `prometheus_rules.py`, exact counts in
`verdict.py`. The trap is latency: Prometheus has no counter of slow requests, so bad is `count - bucket{le=threshold}`,
and a threshold without a bucket would silently read as "no slow request ever". The spec refuses such thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops_obs import metric_names as names
from mlops_obs.slo.spec import SLO


@dataclass(frozen=True, slots=True)
class Selector:
    """A counter by name, with labels that must equal and labels that must not."""

    metric: str
    equal: Mapping[str, str]
    unequal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """Bad = `bad`, or `total - good` where only good events are counted (`bad` is None then)."""

    total: Selector
    bad: Selector | None = None
    good: Selector | None = None


def counters(slo: SLO) -> Counters:
    """Return the counters of `slo`."""
    indicator, service = slo.indicator, {names.SERVICE: slo.service}
    if indicator.type == "availability":
        at = {**service, names.STAGE: indicator.stage}
        return Counters(
            total=Selector(names.REQUESTS.name, at),
            bad=Selector(names.REQUESTS.name, {**at, names.OUTCOME: names.OUTCOME_ERROR}),
        )
    if indicator.type == "latency":
        at = {**service, names.STAGE: indicator.stage}
        bound = str(float(indicator.threshold_seconds or 0))  # "1.0", as client libraries and Prometheus 3 write it
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
    return Counters(
        total=Selector(names.DRIFT_WINDOWS.name, service, {names.VERDICT: "inconclusive"}),
        bad=Selector(names.DRIFT_WINDOWS.name, {**service, names.VERDICT: "drifted"}),
    )
