"""The rollout: where the traffic goes, on what evidence, and what the controller did about it."""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Dashboard, Query, Row
from mlops_obs.dashboards.shared_panels import (
    INGRESS,
    MARKERS,
    REVISION,
    SERVICE,
    errors,
    latency,
    panel,
    phase,
    weights,
)

ROLLOUT = Dashboard(
    "mlops-obs-rollout",
    "Rollout",
    "Where the traffic goes, on what evidence, and what the controller did about it.",
    (
        Row("Now", (weights(12), phase(12))),
        Row(
            "The evidence",
            (
                panel(
                    "evidence",
                    "Strength of evidence against the canary",
                    "log10 of the e-value of each sequential test: 2 means a hundred to one that the canary is worse. "
                    "It may be looked at as often as you like without raising the false alarm rate.",
                    "none",
                    Query(q.gauge_max(m.ROLLOUT_EVIDENCE, m.REVISION, m.TEST), "{{revision}} {{test}}"),
                    minimum=None,
                    decimals=1,
                    no_value="no rollout reported",
                ),
                errors(12),
                latency(12),
                panel(
                    "slow",
                    "Latency of a typical request",
                    "Median time to answer by revision: tells a slow canary from one with a bad tail.",
                    "s",
                    Query(q.quantile(0.5, m.REQUEST_DURATION, m.REVISION, where=INGRESS), "{{revision}}"),
                    no_value="no traffic, or nobody counts it",
                ),
            ),
        ),
        Row(
            "What it did",
            (
                panel(
                    "requests-judged",
                    "Requests in the shown range",
                    "How much traffic each verdict rests on.",
                    "short",
                    Query(q.increase_by(m.REQUESTS, m.REVISION, m.OUTCOME, where=INGRESS), "{{revision}} {{outcome}}", instant=True),
                    kind="table",
                    width=8,
                    decimals=0,
                    columns=(("revision", "Revision"), ("outcome", "Outcome"), ("Value", "Requests")),
                ),
                panel(
                    "decisions",
                    "Decisions per second",
                    "Decisions of the controller by action. Zero: no rollout runs. No line at all: the controller is gone.",
                    "short",
                    Query(q.rate_by(m.ROLLOUT_DECISIONS, m.ACTION), "{{action}}"),
                    width=8,
                    no_value="no controller",
                ),
                panel(
                    "last-actions",
                    "Time since each action",
                    "How long ago each action was last carried out.",
                    "s",
                    Query(q.seconds_since(m.ROLLOUT_ACTION_TIME, m.REVISION, m.ACTION), "{{action}} {{revision}}", instant=True),
                    kind="table",
                    width=8,
                    columns=(("action", "Action"), ("revision", "Revision"), ("Value", "Ago")),
                    no_value="no action reported now",
                ),
            ),
        ),
    ),
    (SERVICE, REVISION),
    MARKERS,
)
