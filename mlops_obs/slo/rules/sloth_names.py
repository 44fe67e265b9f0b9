"""The same numbers under Sloth's public names, so that dashboards and alerts built for Sloth keep working.

They are counted by events: Sloth's own period is a mean of 5-minute ratios, which one idle hour turns into NaN for as long as the
period. Ratios without an event are absent here. The trap is a name that both tools use, such as `slo:objective:ratio`: it is one
series with both sets of labels, written once, because two series of one SLO under one name would double every sum over it.
Only the service as a whole has these names, since Sloth knows no groups and its dashboards expect one series for an id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from mlops_obs import metric_names as names
from mlops_obs.slo.rules.names import BASE, HOUR, duration, number, series_of, window_name
from mlops_obs.slo.rules.windows import windows
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier
from mlops_obs.slo.yaml_text import Rule

SHARED = (names.SLO_OBJECTIVE, names.SLO_ERROR_BUDGET)
_UNITS = (("y", 365 * 86_400), ("w", 7 * 86_400), ("d", 86_400), ("h", HOUR), ("m", 60), ("s", 1))


def sloth_ids(slo: SLO) -> dict[str, str]:
    """Return the labels by which Sloth tells SLOs apart."""
    return {"sloth_id": f"{slo.service}-{slo.name}", "sloth_service": slo.service, "sloth_slo": slo.name}


def sloth_rules(slo: SLO, tiers: Sequence[Tier]) -> list[Rule]:
    """Return the recordings of `slo` under Sloth's names, read from what is recorded already."""
    series, ids = series_of(slo), sloth_ids(slo)
    version = {"sloth_mode": "cli-gen-prom", "sloth_spec": "mlops-obs", "sloth_version": "mlops-obs"}
    info = {**version, "sloth_objective": number(slo.objective * 100)}
    rules: list[Rule] = []

    def record(name: str, expr: str, more: Mapping[str, str] | None = None) -> None:
        rules.append(Rule(expr, record=name, labels={**ids, **(more or {}), **slo.labels}))

    def whole(name: str) -> str:
        return f"sum ({series.whole(name)})"  # without our labels

    # Sloth's period is a number of days: the calendar's has its nominal one.
    spans = {window: duration(window) for window in windows(slo, tiers)} | {slo.period_seconds: window_name(slo)}
    for window, ours in spans.items():
        text = sloth_duration(window)
        record(f"slo:sli_error:ratio_rate{text}", whole(names.SLO_ERROR_RATIO.format(window=ours)), {"sloth_window": text})
    period = names.SLO_ERROR_RATIO.format(window=window_name(slo))
    budget, days = number(slo.budget), slo.period_seconds / 86_400
    record("slo:time_period:days", f"vector({days:g})")
    record("slo:current_burn_rate:ratio", f"{whole(names.SLO_ERROR_RATIO.format(window=duration(BASE)))} / {budget}")
    record("slo:period_burn_rate:ratio", f"{whole(period)} / {budget}")
    record("slo:period_error_budget_remaining:ratio", whole(names.SLO_BUDGET_REMAINING))
    record("sloth_slo_info", "vector(1)", info)
    return rules


@cache
def sloth_duration(seconds: int) -> str:
    """Write a duration as Go's Prometheus library does: 28 days are `4w`, 30 days `30d`, 90 minutes `1h30m`."""
    for unit, size in _UNITS[:2]:
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    out, rest = "", seconds
    for unit, size in _UNITS[2:]:
        count, rest = divmod(rest, size)
        out += f"{count}{unit}" if count else ""
    return out or "0s"
