"""Every objective of a service, of whatever kind: what is left, what burns, what is counted, and what the policy does about it.

The overview shows the promises about requests; budgets for labels that arrive a day late, for GPU hours or for a chain of
stages are here. The trap is a group: with `group_by` each objective has a series for every group beside its own, so the
service as a whole is asked for by name and groups stand apart.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Dashboard, Query, Row
from mlops_obs.dashboards.shared_panels import BUDGET, MARKERS, REVISION, SERVICE, TO_ROLLOUT, TO_SERVICE, panel

_BURN = ("good", ((1.0, "warn"), (6.0, "bad")))
_HOUR, _FIVE_MINUTES = "1h", "5m"
_QUALITY = (q.selector(m.QUALITY_BAD), q.selector(m.QUALITY_EVENTS))

SLO_BOARD = Dashboard(
    "mlops-obs-slo",
    "SLOs and error budgets",
    "Which objectives hold, which budgets go, on what, and what the budget policy does about it.",
    (
        Row(
            "Which promises hold?",
            (
                panel(
                    "left",
                    "Error budget left",
                    "Share of the period's budget that is not spent. Below zero the objective is missed.",
                    "percentunit",
                    Query(q.recorded_by(m.SLO_BUDGET_REMAINING, m.SLO, fold="min"), "{{slo}}", instant=True),
                    kind="stat",
                    width=12,
                    height=6,
                    minimum=None,
                    decimals=1,
                    steps=BUDGET,
                    links=(TO_SERVICE,),
                    no_value="no SLO recorded",
                ),
                panel(
                    "burn",
                    "Burn rate, last hour",
                    "At 1 the budget lasts exactly its period.",
                    "none",
                    Query(q.recorded_by(m.SLO_BURN_RATE, m.SLO), "{{slo}}", instant=True),
                    kind="stat",
                    width=12,
                    height=6,
                    decimals=1,
                    steps=_BURN,
                    no_value="no event in the last hour",
                ),
            ),
        ),
        Row(
            "What is being done?",
            (
                panel(
                    "firing",
                    "Alerts firing",
                    "Alerts of this service that fire now, those included that another one silences.",
                    "none",
                    Query(q.alerts_by(m.SLO, m.SEVERITY, m.TIER), "{{slo}} {{tier}}", instant=True),
                    kind="table",
                    width=12,
                    columns=(("slo", "Objective"), ("severity", "Severity"), ("tier", "Tier"), ("Value", "Alerts")),
                    no_value="nothing fires",
                ),
                panel(
                    "policy",
                    "Budget policy that the rollout obeys",
                    "The sternest action of each objective's policy while a rollout runs: warn tells, freeze holds the next step up, "
                    "rollback also turns back a canary that burns the budget itself.",
                    "none",
                    Query(q.gauge_max(m.ROLLOUT_POLICY, m.SLO, m.ACTION), "{{slo}} {{action}}"),
                    kind="state-timeline",
                    width=12,
                    links=(TO_ROLLOUT,),
                    no_value="no policy in force, or no rollout",
                    needs="policy",
                ),
            ),
        ),
        Row(
            "Where did the budgets go?",
            (
                panel(
                    "burndown",
                    "Error budget left over time",
                    "Falls while bad events happen, recovers as they leave a rolling period, starts anew with a calendar period.",
                    "percentunit",
                    Query(q.recorded_by(m.SLO_BUDGET_REMAINING, m.SLO, fold="min"), "{{slo}}"),
                    minimum=None,
                    steps=BUDGET,
                ),
                panel(
                    "burn-over-time",
                    "Burn rate over time",
                    "Over one hour. Dashed: 1, at which the budget lasts exactly its period.",
                    "none",
                    Query(q.recorded_by(m.SLO_BURN_RATE, m.SLO), "{{slo}}"),
                    Query("vector(1)", "sustainable", limit=True),
                ),
                panel(
                    "burn-by-revision",
                    "Burn rate by revision",
                    "A bad canary burns fast while the service as a whole still looks fine.",
                    "none",
                    Query(q.recorded_by(m.SLO_BURN_RATE, m.REVISION, m.SLO, of="revision"), "{{revision}} {{slo}}"),
                    no_value="no objective is grouped by revision",
                ),
                panel(
                    "ratio",
                    "Share of bad events",
                    "Over one hour. An hour without events has no share, and costs nothing.",
                    "percentunit",
                    Query(q.recorded_by(m.SLO_ERROR_RATIO.format(window=_HOUR), m.SLO), "{{slo}}"),
                    no_value="no event in the last hour",
                ),
            ),
        ),
        Row(
            "What is counted?",
            (
                panel(
                    "events",
                    "Events in five minutes",
                    "All events of each objective. Few of them make ratios jump; none at all is idle; no line is telemetry that is gone.",
                    "short",
                    Query(q.recorded_by(m.SLO_TOTAL.format(window=_FIVE_MINUTES), m.SLO), "{{slo}}"),
                ),
                panel(
                    "bad-events",
                    "Bad events in five minutes",
                    "Those that spend the budget.",
                    "short",
                    Query(q.recorded_by(m.SLO_BAD.format(window=_FIVE_MINUTES), m.SLO), "{{slo}}"),
                ),
            ),
            closed=True,
        ),
        Row(
            "Predictions whose outcome is known",
            (
                panel(
                    "quality",
                    "Wrong predictions by cohort",
                    "Share of labelled predictions that were wrong, the worst cohorts. Young cohorts still change as labels arrive.",
                    "percentunit",
                    Query(
                        q.top(10, f"max by (revision, cohort) ({_QUALITY[0]}) / (max by (revision, cohort) ({_QUALITY[1]}) > 0)"),
                        "{{revision}} {{cohort}}",
                    ),
                    no_value="no labels are counted",
                    needs="quality",
                ),
                panel(
                    "labels",
                    "Labels that have arrived",
                    "Labelled predictions of all cohorts that are still exported. A line that stops rising: the labels stopped coming.",
                    "short",
                    Query(f"sum by (revision) ({_QUALITY[1]})", "{{revision}}"),
                    no_value="no labels are counted",
                    needs="quality",
                ),
            ),
            closed=True,
        ),
    ),
    (SERVICE, REVISION),
    MARKERS,
)
