"""Panels that more than one dashboard shows: written once, so that two dashboards never answer one question differently."""

from __future__ import annotations

from typing import Any

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Link, Marker, Panel, Query, Steps, Unit, Variable

_HERE = "${service:queryparam}&${__url_time_range}"
TO_SERVICE = Link("Service overview", f"/d/mlops-obs-service?{_HERE}")
TO_ROLLOUT = Link("Rollout of this service", f"/d/mlops-obs-rollout?{_HERE}")
TO_DRIFT = Link("Drift of ${__field.labels.revision}", f"/d/mlops-obs-drift?{_HERE}&var-revision=${{__field.labels.revision}}")
TO_REVISION = Link("Only ${__field.labels.revision}", f"/d/mlops-obs-service?{_HERE}&var-revision=${{__field.labels.revision}}")
TO_FEATURES = Link("Feature pipeline", f"/d/mlops-obs-features?{_HERE}")

SERVICE = Variable("service", "Service", q.label_values(m.REQUESTS, m.SERVICE))
REVISION = Variable("revision", "Revision", q.label_values(m.REQUESTS, m.REVISION, filtered=True), all_values=True)
MARKERS = (
    Marker("Rollbacks", q.action_times("rollback"), "bad", "rolled back {{revision}}"),
    Marker("Promotions", q.action_times("promote"), "good", "promoted {{revision}}"),
    Marker("Traffic steps", q.action_times("~deploy|advance|abort|pause|resume"), "info", "{{action}} {{revision}}"),
)
INGRESS = {m.STAGE: m.STAGE_INGRESS}
BUDGET: Steps = ("bad", ((0.0, "warn"), (0.25, "good")))
ZERO_IS_GOOD: Steps = ("good", ((1.0, "bad"),))
PSI: Steps = ("good", ((0.1, "warn"), (0.25, "bad")))  # moderate and major change, as the credit industry reads it
PSI_LIMIT = Query("vector(0.1)", "limit", limit=True)


def panel(slug: str, title: str, description: str, unit: Unit, *queries: Query, **options: Any) -> Panel:
    """Make a panel: by position what every panel has, by name what few have."""
    return Panel(slug, title, description, unit, queries, **options)


def requests(width: int) -> Panel:
    """Request rate by revision, at the ingress."""
    return panel(
        "requests",
        "Requests",
        "Requests per second that callers sent, by the revision that answered.",
        "reqps",
        Query(q.rate_by(m.REQUESTS, m.REVISION, where=INGRESS), "{{revision}}"),
        width=width,
        links=(TO_REVISION,),
        no_value="nobody counts requests",
    )


def errors(width: int) -> Panel:
    """Error share by revision with the line that the SLO allows."""
    return panel(
        "errors",
        "Errors",
        "Share of requests that failed on our side, as the caller saw it. Client errors do not count. Dashed: what the SLO allows.",
        "percentunit",
        Query(q.outcome_share(m.REQUESTS, m.OUTCOME, m.OUTCOME_ERROR, m.REVISION, where=INGRESS), "{{revision}}"),
        Query(q.allowed_errors(), "SLO", limit=True),
        width=width,
        links=(TO_REVISION, TO_ROLLOUT),
        no_value="no traffic, or nobody counts it",
    )


def latency(width: int) -> Panel:
    """p99 by revision with the SLO threshold as a line."""
    return panel(
        "latency",
        "Latency of the slowest 1 %",
        "99th percentile of the time to answer, failures included. Dashed: the latency SLO's threshold.",
        "s",
        Query(q.quantile(0.99, m.REQUEST_DURATION, m.REVISION, where=INGRESS), "{{revision}}", exemplars=True),
        Query(q.recorded_by(m.SLO_THRESHOLD, m.SLO, of="any"), "SLO", limit=True),
        width=width,
        links=(TO_REVISION,),
        no_value="no traffic, or nobody counts it",
    )


def weights(width: int) -> Panel:
    """Declared weights, stacked and stepped as they were set."""
    return panel(
        "weights",
        "Traffic by revision",
        "Share of requests that the rollout controller sends to each revision.",
        "percentunit",
        Query(q.gauge_max(m.ROLLOUT_WEIGHT, m.REVISION, whole=True), "{{revision}}"),
        width=width,
        maximum=1,
        stacked=True,
        stepped=True,
        links=(TO_ROLLOUT,),
        no_value="no rollout reported",
    )


def phase(width: int) -> Panel:
    """Phase of the newest rollout over time."""
    return panel(
        "phase",
        "Rollout phase",
        "The phase of the newest rollout. Holding means: evidence is missing, so traffic neither rises nor falls.",
        "none",
        Query(q.current_phase(), "{{phase}} {{canary}}"),
        kind="state-timeline",
        width=width,
        links=(TO_ROLLOUT,),
        no_value="no rollout reported",
    )


def worst_drift(width: int) -> Panel:
    """The most drifted feature of each revision."""
    return panel(
        "drift",
        "Most drifted feature",
        "Largest population stability index of any feature, last scored window. Above the line it is drift unless chance explains it.",
        "none",
        Query(q.gauge_max(m.DRIFT_PSI, m.REVISION), "{{revision}}"),
        PSI_LIMIT,
        width=width,
        decimals=2,
        links=(TO_DRIFT,),
        no_value="no window scored yet",
    )


def stale_reads(width: int) -> Panel:
    """Share of feature reads that were not fresh, by view."""
    return panel(
        "stale-reads",
        "Feature reads late or missing",
        "Share of online feature reads that were older than the view's limit, or had no row at all.",
        "percentunit",
        Query(q.outcome_share(m.FEATURE_READS, m.FRESHNESS, "!fresh", m.FEATURE_VIEW), "{{feature_view}}"),
        width=width,
        links=(TO_FEATURES,),
        no_value="no reads, or nobody counts them",
    )
