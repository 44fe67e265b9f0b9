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
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier

ALERTS = {
    "availability": "AvailabilityBudgetBurn",
    "latency": "LatencyBudgetBurn",
    "freshness": "FreshnessBudgetBurn",
    "drift": "DriftBudgetBurn",
}
TELEMETRY_ABSENT = "TelemetryAbsent"
TIER_ABSENT = "absent"  # value of the label `tier` of TelemetryAbsent
ABSENT_FOR_SECONDS = 300
# Actions of a rollout that answer a page, as people say them. Raising traffic is none.
REMEDIES = {"rollback": "rolled back", "abort": "aborted", "pause": "paused", "hold": "held"}
REMEDY_MEMORY_SECONDS = 3_600  # an older action belongs to another incident
# The board to open beside an alert, where it is not the overview. Runbooks name the same one.
_BOARDS = {"FreshnessBudgetBurn": "mlops-obs-features", "DriftBudgetBurn": "mlops-obs-drift", "RolloutOnHold": "mlops-obs-rollout"}

_BAD_EVENTS = {
    "availability": "of requests failed",
    "latency": "of requests were slower than {threshold}",
    "freshness": "of feature reads were late or missing",
    "drift": "of scored windows drifted from the training data",
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
    return {names.SERVICE: slo.service, names.SLO: slo.name, names.TEAM: slo.team, names.SEVERITY: severity, names.TIER: tier}


def watched(slos: Sequence[SLO]) -> list[SLO]:
    """Return the SLOs whose telemetry is watched: one per exporter, since one lost exporter is one incident."""
    found: dict[tuple[str, str, str], SLO] = {}
    for slo in slos:
        # Requests and their durations leave one exporter together.
        requests = slo.indicator.type in ("availability", "latency")
        found.setdefault((slo.service, "requests", slo.indicator.stage) if requests else (slo.service, slo.indicator.type, ""), slo)
    return list(found.values())


def burn_annotations(slo: SLO, tier: Tier, facts: Facts, links: Links) -> dict[str, str]:
    """Return the annotations of a burn alert."""
    long = format_duration(tier.long)
    bad = _BAD_EVENTS[slo.indicator.type].format(threshold=slo.indicator.threshold)
    objective = f"{(slo.objective * 100).normalize():f} %"
    return {
        "summary": f"{facts.who}: {slo.name} burns its {slo.period} error budget {facts.burn_rate} times too fast",
        "description": (
            f"{facts.error_ratio} {bad} in the last {long} (objective {objective}, alert above "
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
