"""What every alert says, worded once for both engines.

The Prometheus rules pass Go template snippets where the Python engine passes values, so the two cannot say different
things. Text from a spec is untrusted: `{{` in a description would run as a template inside Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo.indicators import watched_series
from mlops_obs.slo.spec import SLO, BudgetStep
from mlops_obs.slo.tiers import Tier

ALERTS = {
    "availability": "AvailabilityBudgetBurn",
    "latency": "LatencyBudgetBurn",
    "freshness": "FreshnessBudgetBurn",
    "materialisation": "MaterialisationBudgetBurn",
    "drift": "DriftBudgetBurn",
    "expectations": "ExpectationsBudgetBurn",
    "skew": "SkewBudgetBurn",
    "quality": "QualityBudgetBurn",
    "training": "TrainingBudgetBurn",
    "boolean": "BooleanBudgetBurn",
    "ratio": "RatioBudgetBurn",
    "composite": "CompositeBudgetBurn",
}
BUDGET_LOW = "ErrorBudgetLow"  # a step of the budget policy is reached; its label `tier` is `policy-<action>`
TELEMETRY_ABSENT = "TelemetryAbsent"
TIER_ABSENT = "absent"  # value of the label `tier` of TelemetryAbsent
ABSENT_FOR_SECONDS = 300
# Actions of a rollout that answer a page, as people say them. Raising traffic is none.
REMEDIES = {"rollback": "rolled back", "abort": "aborted", "pause": "paused", "hold": "held"}
REMEDY_MEMORY_SECONDS = 3_600  # an older action belongs to another incident
# The board to open beside an alert, where it is not the overview. Runbooks name the same one.
_BOARDS = {
    "FreshnessBudgetBurn": "mlops-obs-features",
    "MaterialisationBudgetBurn": "mlops-obs-features",
    "DriftBudgetBurn": "mlops-obs-drift",
    "ExpectationsBudgetBurn": "mlops-obs-drift",
    "SkewBudgetBurn": "mlops-obs-drift",
    "QualityBudgetBurn": "mlops-obs-slo",
    "TrainingBudgetBurn": "mlops-obs-gpu-training",
    "BooleanBudgetBurn": "mlops-obs-slo",
    "RatioBudgetBurn": "mlops-obs-slo",
    "CompositeBudgetBurn": "mlops-obs-slo",
    BUDGET_LOW: "mlops-obs-slo",
    "RolloutOnHold": "mlops-obs-rollout",
    "RolloutBlind": "mlops-obs-rollout",
    "RolloutTrafficMismatch": "mlops-obs-rollout",
    "RolloutWayBackLost": "mlops-obs-rollout",
    "RolloutNoticeUndelivered": "mlops-obs-rollout",
    "RolloutRolledBack": "mlops-obs-rollout",
    "RolloutTelemetryLost": "mlops-obs-rollout",
    "RolloutStuck": "mlops-obs-rollout",
}

_BAD_EVENTS = {
    "availability": "of requests failed",
    "latency": "of requests were slower than {threshold}",
    "freshness": "of feature reads were late or missing",
    "materialisation": "of expected materialisations were late or missing",
    "drift": "of scored windows drifted from the training data",
    "expectations": "of checks of live windows failed",
    "skew": "of compared values differ between training and serving",
    "quality": "of labelled predictions were wrong",
    "training": "of allocated training time was not useful",
    "boolean": "of samples were 0 and not 1",
    "ratio": "of events were bad",
    "composite": "of events were bad at one stage of the chain at least",
}


@dataclass(frozen=True, slots=True)
class Links:
    """Base URLs that pages link to, without a trailing slash."""

    dashboards: str = "http://localhost:3000/d"
    runbooks: str = "http://localhost:3000/runbooks"


@dataclass(frozen=True, slots=True)
class Facts:
    """The changing parts of an alert's text: values in one engine, template snippets in the other."""

    burn_rate: str
    error_ratio: str
    budget_left: str
    time_to_exhaustion: str
    revision: str
    who: str
    action_taken: str
    dashboard_revision: str
    from_ms: str
    to_ms: str


def dashboard_of(alert: str) -> str:
    """Return the uid of the dashboard that the pages and the runbook of `alert` link to."""
    return _BOARDS.get(alert, "mlops-obs-service")


def alert_name(slo: SLO) -> str:
    """Return the name of the burn alert of `slo`; it is also the name of its runbook."""
    return ALERTS[slo.indicator.type]


def alert_labels(slo: SLO, severity: str, tier: str) -> dict[str, str]:
    """Return the labels of an alert of `slo`, without the group's."""
    own = {names.SERVICE: slo.service, names.SLO: slo.name, names.TEAM: slo.team, names.SEVERITY: severity, names.TIER: tier}
    return {**slo.labels, **own}


def policy_tier(step: BudgetStep) -> str:
    """Return the label `tier` of the alert that tells of `step`."""
    return f"policy-{step.action}"


def watched(slos: Sequence[SLO]) -> list[SLO]:
    """Return the SLOs whose telemetry is watched: one per exporter, since one lost exporter is one incident.

    A composite is not watched, because its stages are.
    """
    found: dict[tuple[str, str, str], SLO] = {}
    for slo in slos:
        kind, series = slo.indicator.type, watched_series(slo)
        if kind == "composite":
            continue
        if slo.indicator.custom:
            key = (slo.service, "custom", slo.name if series is None else str(series))
        elif kind in ("availability", "latency"):  # requests and their durations leave one exporter together
            key = (slo.service, "requests", slo.indicator.stage)
        else:
            key = (slo.service, kind, "")
        found.setdefault(key, slo)
    return list(found.values())


def period_words(slo: SLO) -> str:
    """Return how the period is called in front of `error budget`: `30d`, or `monthly`."""
    return {"week": "weekly", "month": "monthly", "quarter": "quarterly"}.get(slo.period, slo.period)


def _bad_words(slo: SLO) -> str:
    bad = _BAD_EVENTS[slo.indicator.type].format(threshold=slo.indicator.threshold)
    if slo.budgeting == "timeslices":
        return (
            f"of 5-minute slices were bad (less than {((slo.slice_objective or slo.objective) * 100).normalize():f} % good events in them)"
        )
    return f"{bad} (mean of 5-minute slices)" if slo.budgeting == "ratio_timeslices" else bad


def burn_annotations(slo: SLO, tier: Tier, facts: Facts, links: Links) -> dict[str, str]:
    """Return the annotations of a burn alert."""
    long = format_duration(tier.long)
    bad = _bad_words(slo)
    mature = " of mature cohorts" if slo.indicator.type == "quality" else ""
    objective = f"{(slo.objective * 100).normalize():f} %"
    return {
        "summary": f"{facts.who}: {slo.name} burns its {period_words(slo)} error budget {facts.burn_rate} times too fast",
        "description": (
            f"{facts.error_ratio} {bad} in the last {long}{mature} (objective {objective}, alert above "
            f"{(tier.threshold * 100).normalize():f} % in {long} and in {format_duration(tier.short)})."
        ),
        "burn_rate": facts.burn_rate,
        "error_ratio": facts.error_ratio,
        "budget_left": facts.budget_left,
        "time_to_exhaustion": facts.time_to_exhaustion,
        **_common(alert_name(slo), slo.service, facts, links),
    }


def absent_annotations(slo: SLO, metric: str, facts: Facts, links: Links) -> dict[str, str]:
    """Return the annotations of TelemetryAbsent. What cannot be known is said to be unknown."""
    return {
        "summary": f"{slo.service}: no telemetry for the {slo.name} objective; nobody can tell whether it is met",
        "description": (
            f"{metric} was there and has been gone for {format_duration(ABSENT_FOR_SECONDS)}. "
            "This is not idleness: an idle service still exports its counters."
        ),
        "burn_rate": "unknown",
        "error_ratio": "unknown",
        "budget_left": "unknown",
        "time_to_exhaustion": "unknown",
        **_common(TELEMETRY_ABSENT, slo.service, facts, links),
    }


_CONSEQUENCES = {
    "warn": "Nothing is held up yet; spend what is left with care.",
    "freeze": "Rollouts of the service are held where they are until the budget recovers.",
    "rollback": "Rollouts are held, and a canary that burns the budget itself is turned back.",
}


def policy_annotations(slo: SLO, step: BudgetStep, facts: Facts, links: Links) -> dict[str, str]:
    """Return the annotations of ErrorBudgetLow: a step of the budget policy is reached."""
    below = f"{(step.below * 100).normalize():f} %"
    left = f"less than {below}" if step.below else "nothing"
    return {
        "summary": f"{facts.who}: {left} of the {period_words(slo)} error budget of {slo.name} is left ({step.action})",
        "description": f"{_CONSEQUENCES[step.action]} Objective {(slo.objective * 100).normalize():f} %; budget left: {facts.budget_left}.",
        "burn_rate": facts.burn_rate,
        "error_ratio": facts.error_ratio,
        "budget_left": facts.budget_left,
        "time_to_exhaustion": facts.time_to_exhaustion,
        **_common(BUDGET_LOW, slo.service, facts, links),
    }


def platform_annotations(alert: str, summary: str, description: str, service: str, facts: Facts, links: Links) -> dict[str, str]:
    """Return the annotations of an alert about the platform itself, which has no budget."""
    return {
        "summary": summary,
        "description": description,
        "burn_rate": "no budget",
        "error_ratio": "no budget",
        "budget_left": "no budget",
        "time_to_exhaustion": "no budget",
        **_common(alert, service, facts, links),
    }


def _common(alert: str, service: str, facts: Facts, links: Links) -> dict[str, str]:
    return {
        "revision": facts.revision,
        "action_taken": facts.action_taken,
        "runbook_url": f"{links.runbooks}/{alert}",
        "dashboard_url": (
            f"{links.dashboards}/{dashboard_of(alert)}?var-service={service if '{{' in service else quote(service)}"
            f"&var-revision={facts.dashboard_revision}&from={facts.from_ms}&to={facts.to_ms}"
        ),
    }
