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
    ZERO_IS_GOOD,
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
            "What it can see, and the way back",
            (
                panel(
                    "attribution",
                    "Whose fault",
                    "canary: rolled back. shared: both revisions suffer, so it holds and the deadline waits. "
                    "telemetry: what cannot be seen or trusted decides nothing.",
                    "none",
                    Query(q.current_attribution(), "{{attribution}} {{canary}}"),
                    kind="state-timeline",
                    no_value="no rollout reported",
                ),
                panel(
                    "observed-share",
                    "Traffic that the canary really gets",
                    "Share of the requests that the counters saw at the canary, beside the shares that were declared. "
                    "Sticky sessions, a second route or a mode that splits nothing show here.",
                    "percentunit",
                    Query(q.gauge_max(m.ROLLOUT_OBSERVED_SHARE, m.REVISION), "{{revision}}"),
                    Query(q.gauge_max(m.ROLLOUT_WEIGHT, m.REVISION), "{{revision}} declared"),
                    maximum=1,
                    no_value="no rollout judges requests now",
                ),
                panel(
                    "power",
                    "Time until a regression would show",
                    "How long a regression of the declared size would go on before a test proves it, at this traffic. "
                    "A test whose line is missing cannot see one at all.",
                    "s",
                    Query(q.gauge_max(m.ROLLOUT_POWER, m.REVISION, m.TEST), "{{test}}"),
                    width=8,
                    no_value="no rollout judges requests now",
                ),
                panel(
                    "way-back",
                    "Way back",
                    "1: all traffic could return to the stable revision now. 0: it could not, and no traffic rises.",
                    "none",
                    Query(q.gauge_max(m.ROLLOUT_WAY_BACK, "stable", "canary"), "{{stable}}"),
                    kind="stat",
                    width=5,
                    decimals=0,
                    steps=("bad", ((1.0, "good"),)),
                    no_value="not asked now",
                ),
                panel(
                    "way-back-time",
                    "Time to take the traffic back",
                    "Predicted by what the platform measured. No value: the platform cannot tell.",
                    "s",
                    Query(q.gauge_max(m.ROLLOUT_WAY_BACK_TIME, "stable", "canary"), "{{stable}}"),
                    kind="stat",
                    width=5,
                    no_value="not known",
                ),
                panel(
                    "notices",
                    "Notices not delivered",
                    "What people should have been told and nobody has taken yet. It delays no rollback.",
                    "short",
                    Query(q.gauge_max(m.ROLLOUT_NOTICES_WAITING, "canary"), "{{canary}}"),
                    kind="stat",
                    width=6,
                    decimals=0,
                    steps=ZERO_IS_GOOD,
                    no_value="no rollout reported",
                ),
            ),
        ),
        Row(
            "The evidence",
            (
                panel(
                    "evidence",
                    "Strength of evidence against the canary",
                    "log10 of the e-value of each sequential test: 2 means a hundred to one that the canary is worse. "
                    "It may be looked at as often as you like without raising the false alarm rate. "
                    "Dashed: where the canary is rolled back.",
                    "none",
                    Query(q.gauge_max(m.ROLLOUT_EVIDENCE, m.REVISION, m.TEST), "{{revision}} {{test}}"),
                    Query(q.gauge_max(m.ROLLOUT_EVIDENCE_BOUND, m.SERVICE), "bound", limit=True),
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
