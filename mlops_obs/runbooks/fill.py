"""A runbook with everything filled in for one SLO: its numbers, its own counts, and queries that can be pasted as they stand.

At three in the morning nobody should have to look up what `SERVICE` is, or which of four objectives the page is about.
The first steps ask the very series that the SLO is counted from, so that they cannot differ from what paged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from mlops_obs import metric_names as m
from mlops_obs.durations import humanize_duration
from mlops_obs.runbooks.steps import Runbook, Step
from mlops_obs.slo import annotations as words
from mlops_obs.slo.indicators import Cohorts, Counters, Expressions, NativeHistogram, Parts, Samples, Selector, source, watched_series
from mlops_obs.slo.policy import percent
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import describe, plan_tiers

_ABOUT_SLOS = {*words.ALERTS.values(), words.BUDGET_LOW, words.TELEMETRY_ABSENT}


def slos_of(alert: str, slos: Sequence[SLO]) -> list[SLO]:
    """Return the SLOs that can fire `alert`; none for an alert about the platform."""
    if alert == words.TELEMETRY_ABSENT:
        return words.watched(slos)
    if alert == words.BUDGET_LOW:
        return [slo for slo in slos if slo.budget_policy]
    return [slo for slo in slos if words.alert_name(slo) == alert]


def is_about_slos(alert: str) -> bool:
    """Say whether `alert` is about an SLO; the others are about the platform itself."""
    return alert in _ABOUT_SLOS


def fill(runbook: Runbook, slo: SLO) -> Runbook:
    """Return `runbook` for `slo`: queries with its service and name, and before them those of its own counts."""
    counts = [] if runbook.alert == words.TELEMETRY_ABSENT else own_counts(slo)
    if runbook.alert == words.TELEMETRY_ABSENT and (series := watched_series(slo)) is not None:
        counts = [Step("Is the series there that this objective is counted from?", ask=f"count({series})")]
    return replace(
        runbook,
        diagnosis=(*counts, *(_filled(step, slo) for step in runbook.diagnosis)),
        mitigation=tuple(_filled(step, slo) for step in runbook.mitigation),
    )


def facts(slo: SLO, alert: str) -> list[str]:
    """Return what is promised and when `alert` fires for `slo`, a line each."""
    says = f" {slo.description}" if slo.description else ""
    period = {"week": "each week", "month": "each month", "quarter": "each quarter"}.get(slo.period, slo.period)
    zone = f" ({slo.time_zone})" if not slo.period[0].isdigit() else ""
    lines = [f"{_percent(slo.objective)} over {period}{zone}, team {slo.team}.{says}"]
    if alert == words.TELEMETRY_ABSENT:
        return [*lines, f"Fires when its counters were there and have been gone for {humanize_duration(words.ABSENT_FOR_SECONDS)}."]
    if alert == words.BUDGET_LOW:
        return [*lines, *(f"{step.action}: below {percent(float(step.below))} of the budget." for step in slo.budget_policy)]
    lines += [describe(tier, slo) for tier in plan_tiers(slo)]
    if slo.upstream:
        lines.append(f"Its upstream: {', '.join(slo.upstream)}. If one of them burns, look there first.")
    return lines


def own_counts(slo: SLO) -> list[Step]:
    """Return the steps that ask the series from which `slo` is counted."""
    kind, by = source(slo), ", ".join(slo.group_by)
    match kind:
        case Counters(total=total, bad=bad, good=good):
            of = f" by ({by})" if by else ""
            everything = f"sum{of} (rate({total}[5m]))"
            part = f"sum{of} (rate({bad or good}[5m]))"
            share = f"{part} / ({everything} > 0)" if bad else f"1 - {part} / ({everything} > 0)"
            return [Step("Which share of the events this objective counts is bad right now?", ask=share), _many(total)]
        case NativeHistogram(selector=selector):
            of = f" by ({by})" if by else ""
            return [Step("How slow are the slowest 1 % right now?", ask=f"histogram_quantile(0.99, sum{of} (rate({selector}[5m])))")]
        case Samples(selector=selector):
            return [
                Step("Which series says no right now?", ask=f"{selector} == 0"),
                Step("And which share of the last hour?", ask=f"1 - avg_over_time({selector}[1h])"),
            ]
        case Expressions(bad=bad, total=total, ratio=ratio):
            one = ratio or f"({bad}) / (({total}) > 0)"
            asked = " ".join(kind.at(one, 300).split())
            return [Step("Which share of the events is bad right now? This is the SLO's own expression.", ask=asked)]
        case Cohorts(events=events, bad=bad_events):
            ratio = f"max by (revision, cohort) ({bad_events}) / (max by (revision, cohort) ({events}) > 0)"
            return [Step("Which cohorts have the largest share of wrong predictions?", ask=f"topk(10, {ratio})")]
        case Parts(of=parts):
            services, slos = (sorted({part[index] for part in parts}) for index in (0, 1))
            asked = f'{m.SLO_BURN_RATE}{{service=~"{"|".join(services)}",slo=~"{"|".join(slos)}"}}'
            return [Step("Which of its stages burns? Upstream first: " + ", ".join("/".join(part) for part in parts) + ".", ask=asked)]


def _many(total: Selector) -> Step:
    return Step("Of how many per second? Few events: read them one by one.", ask=f"sum(rate({total}[5m]))")


def _filled(step: Step, slo: SLO) -> Step:
    return replace(step, ask=step.ask.replace("SERVICE", slo.service).replace('"SLO"', f'"{slo.name}"'))


def _percent(share: Decimal) -> str:
    return f"{(share * 100).normalize():f} %"


def queries(runbook: Runbook) -> Iterable[str]:
    """Return every query of `runbook`, in order, each once."""
    return dict.fromkeys(step.ask for step in (*runbook.diagnosis, *runbook.mitigation) if step.ask)
