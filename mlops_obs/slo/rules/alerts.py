"""The alerts of one SLO: burn tiers, a budget that runs low, telemetry that is gone. `verdict.py` judges the same in Python.

Trap: an alert repeats what both engines must agree on operation by operation (which side is divided, what is compared with
what), because a minute on the edge falls to one side or the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo import annotations as words
from mlops_obs.slo.annotations import Facts, Links
from mlops_obs.slo.indicators import watched_series
from mlops_obs.slo.rules.names import BASE, DAY, HOUR, duration, indented, just_under, number, series_of
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier, Z, bound_is_on, least_bad_events
from mlops_obs.slo.yaml_text import Rule

WEEK = 7 * DAY


def burn_alert(slo: SLO, tier: Tier, facts: Facts, links: Links) -> Rule:
    """Return the alert of one tier."""
    labels = words.alert_labels(slo, tier.severity, tier.name)
    hold = duration(tier.hold) if tier.hold else ""
    texts = words.burn_annotations(slo, tier, facts, links)
    return Rule(burn_expr(slo, tier), alert=words.alert_name(slo), hold=hold, labels=labels, annotations=texts)


def burn_expr(slo: SLO, tier: Tier) -> str:
    """Return the condition of `tier`; its value is the burn rate over the long window.

    The long window burns for sure (enough bad events, and the Wilson lower bound where `tier` asks for it) and the short one
    still does.
    """
    threshold, z, series = number(tier.threshold), Z, series_of(slo)
    bad, total = series(names.SLO_BAD, tier.long), series(names.SLO_TOTAL, tier.long)
    bad_now, total_now = series(names.SLO_BAD, tier.short), series(names.SLO_TOTAL, tier.short)
    least = least_bad_events(slo, tier)
    condition = f"{bad} / ({total} > 0) / {number(slo.budget)}\nand {bad_now} > {threshold} * {total_now}\nand {bad} >= {least}\n"
    if not bound_is_on(slo, tier):
        return f"{condition}and {bad} > {threshold} * {total}"
    return (
        f"{condition}and (\n"
        f"  {bad} + {z * z / 2}\n"
        f"  - {z} * sqrt(clamp_min({bad} * ({total} - {bad}) / ({total} > 0), 0) + {z * z / 4})\n"
        f") > {threshold} * ({total} + {z * z})"
    )


def budget_alerts(slo: SLO, facts: Facts, links: Links) -> list[Rule]:
    """Return an alert for each step of the budget policy, about the service as a whole."""
    series, rules = series_of(slo), []
    for step in slo.budget_policy:
        expr = f"{series.whole(names.SLO_BUDGET_REMAINING)} < {number(step.below)}"
        labels = words.alert_labels(slo, "ticket", words.policy_tier(step))
        rules.append(Rule(expr, alert=words.BUDGET_LOW, labels=labels, annotations=words.policy_annotations(slo, step, facts, links)))
    return rules


def absent_expr(slo: SLO) -> str:
    """Return the condition of TelemetryAbsent: counted within the last week, and nothing there now.

    Idleness is no absence: an idle service still exports its counters. Where PromQL of the user's own counts, nobody knows its
    series, and what was recorded of it must do.
    """
    series, watched = series_of(slo), watched_series(slo)
    recent, hours = (series.whole(names.SLO_TOTAL.format(window=duration(window))) for window in (BASE, HOUR))
    # The counts of the last hour every 5 minutes, older ones every hour.
    seen = f"last_over_time({recent}[{just_under(HOUR)}:{duration(BASE)}])\nor last_over_time({hours}[{just_under(WEEK)}:{duration(HOUR)}])"
    return f"(\n  {indented(seen)}\n)\nunless on () {recent if watched is None else watched}"


def absent_alerts(slos: Sequence[SLO], facts: Facts, links: Links) -> list[Rule]:
    """Return TelemetryAbsent for each exporter that the SLOs of one service depend on."""
    return [
        Rule(
            absent_expr(slo),
            alert=words.TELEMETRY_ABSENT,
            hold=format_duration(words.ABSENT_FOR_SECONDS),
            labels=words.alert_labels(slo, "page" if "page" in slo.severities else "ticket", words.TIER_ABSENT),
            annotations=words.absent_annotations(slo, _source_name(slo), facts, links),
        )
        for slo in words.watched(slos)
    ]


def _source_name(slo: SLO) -> str:
    watched = watched_series(slo)
    return "What the expressions of the objective select" if watched is None else watched.metric
