"""The only place where dashboard PromQL is built.

Copied PromQL drifts: one panel loses a label filter that its siblings kept, and nobody sees it. Here every selector is
made by `selector`, which refuses a label that the metric does not have, and every counter goes through `rate` or
`increase`. The trap is 0/0: a service without traffic must leave a gap, not a NaN that a threshold then judges, so
each denominator is filtered with `> 0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from mlops_obs import metric_names as names
from mlops_obs.metric_names import Metric

Matchers = Mapping[str, str]
NO_MATCHERS: Matchers = MappingProxyType({})
RATE = "$__rate_interval"
# What a dashboard filters by, where the metric has the label.
_FILTERS = {names.SERVICE: "$service", names.REVISION: "$revision"}
# How many scrapes of one target fit in five minutes: lets a preview learn the scrape interval as Grafana knows it from its data source.
SCRAPES_IN_5M = "max(count_over_time(up[5m]))"
# A shared Prometheus scrapes the targets of other people too: ours have exported our metrics.
_OURS = f"on (job, instance) last_over_time({names.COLLECTOR_UP.name}[7d])"
TARGETS_UP = f"sum(up and {_OURS})"
TARGETS_DOWN = f"count(up == 0 and {_OURS}) or vector(0)"


def selector(metric: Metric, suffix: str = "", *, where: Matchers = NO_MATCHERS, whole: bool = False) -> str:
    """Select `metric`, filtered by the dashboard's service and revision where it has these labels.

    Args:
        suffix: `_bucket` or `_count` of a histogram.
        whole: do not filter by revision (a comparison needs all of them).
        where: label -> value; a value that starts with `~`, `!~` or `!` is matched so.

    Raises:
        ValueError: the metric has no such label.
    """
    unknown = set(where) - set(metric.labels)
    if unknown:
        raise ValueError(f"{metric.name} has no label {sorted(unknown)}")
    parts = [
        _filter(label) for label in metric.labels if label in _FILTERS and label not in where and not (whole and label == names.REVISION)
    ]
    parts += [_matcher(label, value) for label, value in where.items()]
    return f"{metric.name}{suffix}{{{','.join(parts)}}}"


def recorded(name: str, of: Literal["service", "revision", "any"] = "any") -> str:
    """Select a series recorded by the SLO rules: of the service as a whole, of the shown revisions, or both."""
    matchers = {"service": f'{names.REVISION}=""', "revision": f'{names.REVISION}!="",{_filter(names.REVISION)}', "any": ""}
    return f"{name}{{{','.join(filter(None, (_filter(names.SERVICE), matchers[of])))}}}"


def recorded_by(name: str, *by: str, of: Literal["service", "revision", "any"] = "service", fold: Literal["max", "min"] = "max") -> str:
    """Fold a recorded series by labels: the worst case of each."""
    return f"{fold} by ({', '.join(by)}) ({recorded(name, of)})"


def allowed_errors() -> str:
    """Error ratio that each availability SLO allows: other SLOs have budgets for other things than errors."""
    return f'max by ({names.SLO}) ({names.SLO_ERROR_BUDGET}{{{_filter(names.SERVICE)},{names.SLO}=~".*availability.*"}})'


def rate_by(metric: Metric, *by: str, suffix: str = "", window: str = RATE, where: Matchers = NO_MATCHERS, whole: bool = False) -> str:
    """Events per second of a counter, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({selector(metric, suffix, whole=whole, where=where)}[{window}]))"


def increase_by(metric: Metric, *by: str, window: str = "$__range", suffix: str = "", where: Matchers = NO_MATCHERS) -> str:
    """Events of a counter within the shown range, summed by labels."""
    return f"sum by ({', '.join(by)}) (increase({selector(metric, suffix, where=where)}[{window}]))"


def share(part: str, whole: str) -> str:
    """Divide `part` by `whole`, and answer nothing where the whole is zero: idle is not zero percent."""
    return f"{part} / ({whole} > 0)"


def outcome_share(metric: Metric, label: str, bad: str, *by: str, where: Matchers = NO_MATCHERS) -> str:
    """Share of a counter's events whose `label` matches `bad`."""
    return share(rate_by(metric, *by, where={**where, label: bad}), rate_by(metric, *by, where=where))


def quantile(q: float, metric: Metric, *by: str, where: Matchers = NO_MATCHERS) -> str:
    """Estimate a quantile in seconds from classic buckets; the sum over series keeps `le`, else quantiles would be averaged."""
    return f"histogram_quantile({q}, {rate_by(metric, 'le', *by, suffix='_bucket', where=where)})"


def mean_duration(metric: Metric, *by: str, where: Matchers = NO_MATCHERS) -> str:
    """Mean seconds per event over the shown range, from a histogram's sum and count."""
    return share(increase_by(metric, *by, suffix="_sum", where=where), increase_by(metric, *by, suffix="_count", where=where))


def gauge_max(metric: Metric, *by: str, whole: bool = False) -> str:
    """Largest value of a gauge by labels: several processes may export the same fact, and a sum would double it."""
    return f"max by ({', '.join(by)}) ({selector(metric, whole=whole)})"


def holding(metric: Metric, *by: str) -> str:
    """1 for what a gauge says is so now, and nothing for the rest."""
    return f"max by ({', '.join(by)}) ({selector(metric)} == 1)"


def current_phase() -> str:
    """1 for the phase that the newest rollout of the service is in, and nothing for the others."""
    return f"max by (stable, canary, phase) ({selector(names.ROLLOUT_PHASE)} == 1)"


def current_attribution() -> str:
    """1 for whose fault the newest rollout sees, and nothing for the others."""
    return f"max by (canary, {names.ATTRIBUTION}) ({selector(names.ROLLOUT_ATTRIBUTION)} == 1)"


def seconds_since(metric: Metric, *by: str) -> str:
    """Seconds since the Unix time that a gauge holds."""
    return f"time() - max by ({', '.join(by)}) ({selector(metric)} > 0)"


def top(count: int, expr: str) -> str:
    """Keep the `count` largest series at each step."""
    return f"topk({count}, {expr})"


def ratio(part: Metric, whole: Metric, *by: str) -> str:
    """Ratio of two gauges that share labels."""
    return f"max by ({', '.join(by)}) ({selector(part)} / ({selector(whole)} > 0))"


def alerts_firing(severity: str) -> str:
    """Count of firing alerts of a severity; zero when all is quiet, and nothing where no rule is evaluated: nobody would fire then."""
    quiet = f"max({names.SLO_OBJECTIVE}{{{_filter(names.SERVICE)}}}) * 0"
    return f'count(ALERTS{{{_filter(names.SERVICE)},alertstate="firing",{names.SEVERITY}="{severity}"}}) or {quiet}'


def alerts_by(*by: str) -> str:
    """Firing alerts of the service, counted by labels."""
    return f'count by ({", ".join(by)}) (ALERTS{{{_filter(names.SERVICE)},alertstate="firing"}})'


def action_times(action: str) -> str:
    """When rollout actions happened, in milliseconds: an annotation takes its time from the value, so it marks the act, not the scrape."""
    return f"{selector(names.ROLLOUT_ACTION_TIME, whole=True, where={names.ACTION: action})} * 1000"


def label_values(metric: Metric, label: str, *, filtered: bool = False) -> str:
    """Query of a template variable: the values of `label` on `metric`."""
    return f"label_values({metric.name}{{{_filter(names.SERVICE)}}}, {label})" if filtered else f"label_values({metric.name}, {label})"


def _filter(label: str) -> str:
    return f'{label}=~"{_FILTERS[label]}"'


def _matcher(label: str, value: str) -> str:
    operator, text = ("!~", value[2:]) if value.startswith("!~") else ("=~", value[1:]) if value.startswith("~") else ("=", value)
    if operator == "=" and value.startswith("!"):
        operator, text = "!=", value[1:]
    return f'{label}{operator}"{text}"'
