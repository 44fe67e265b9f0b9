"""Drift and features: does production still look like the data the model learnt from, and does it arrive in time."""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Dashboard, Query, Row
from mlops_obs.dashboards.shared_panels import (
    MARKERS,
    PSI,
    PSI_LIMIT,
    REVISION,
    SERVICE,
    panel,
    stale_reads,
)

DRIFT = Dashboard(
    "mlops-obs-drift",
    "Drift",
    "Do the features in production still look like the data that the model learnt from.",
    (
        Row(
            "Verdict",
            (
                panel(
                    "windows-drifted",
                    "Windows drifted",
                    "Share of conclusive windows with drift in the shown range. Inconclusive windows were too small to judge.",
                    "percentunit",
                    Query(
                        q.share(
                            q.increase_by(m.DRIFT_WINDOWS, m.REVISION, where={m.VERDICT: "drifted"}),
                            q.increase_by(m.DRIFT_WINDOWS, m.REVISION, where={m.VERDICT: "!inconclusive"}),
                        ),
                        "{{revision}}",
                        instant=True,
                    ),
                    kind="stat",
                    width=6,
                    height=6,
                    steps=("good", ((0.05, "warn"), (0.2, "bad"))),
                    no_value="no window scored yet",
                ),
                panel(
                    "rows",
                    "Rows compared",
                    "Rows per second folded into drift windows.",
                    "rowsps",
                    Query(q.rate_by(m.DRIFT_ROWS, m.REVISION), "{{revision}}"),
                    width=9,
                    height=6,
                ),
                panel(
                    "verdicts",
                    "Windows by verdict",
                    "Windows scored per second, by verdict.",
                    "short",
                    Query(q.rate_by(m.DRIFT_WINDOWS, m.VERDICT), "{{verdict}}"),
                    width=9,
                    height=6,
                    stacked=True,
                ),
            ),
        ),
        Row(
            "Which feature",
            (
                panel(
                    "psi",
                    "Drift of the ten worst features",
                    "Population stability index: below 0.1 quiet, above 0.2 drifted unless chance explains it (see Windows by verdict).",
                    "none",
                    Query(q.top(10, q.gauge_max(m.DRIFT_PSI, m.REVISION, m.FEATURE)), "{{revision}} {{feature}}"),
                    PSI_LIMIT,
                    width=16,
                    height=10,
                    decimals=2,
                ),
                panel(
                    "psi-now",
                    "Now",
                    "Population stability index of each feature in the last scored window.",
                    "none",
                    Query(q.gauge_max(m.DRIFT_PSI, m.REVISION, m.FEATURE), "{{revision}} {{feature}}", instant=True),
                    kind="table",
                    width=8,
                    height=10,
                    decimals=3,
                    steps=PSI,
                    columns=(("feature", "Feature"), ("revision", "Revision"), ("Value", "PSI")),
                ),
                panel(
                    "missing",
                    "Missing values",
                    "Share of missing values in the last scored window, ten worst features.",
                    "percentunit",
                    Query(q.top(10, q.gauge_max(m.MISSING_RATIO, m.REVISION, m.FEATURE)), "{{revision}} {{feature}}"),
                    width=24,
                ),
            ),
        ),
    ),
    (SERVICE, REVISION),
    MARKERS,
)


FEATURES = Dashboard(
    "mlops-obs-features",
    "Feature pipeline",
    "Are the features fresh, complete and on time, from event to prediction.",
    (
        Row(
            "Fresh?",
            (
                panel(
                    "age",
                    "Age of the newest event",
                    "Time since the newest event that reached the online store, by feature view.",
                    "s",
                    Query(q.gauge_max(m.FEATURE_AGE, m.FEATURE_VIEW), "{{feature_view}}"),
                    width=8,
                    no_value="no age reported",
                ),
                stale_reads(8),
                panel(
                    "reads",
                    "Feature reads",
                    "Online feature reads per second, by freshness.",
                    "reqps",
                    Query(q.rate_by(m.FEATURE_READS, m.FRESHNESS), "{{freshness}}"),
                    width=8,
                    stacked=True,
                    no_value="nobody counts reads",
                ),
            ),
        ),
        Row(
            "On time?",
            (
                panel(
                    "stage-duration",
                    "Duration of a stage",
                    "Mean duration of the runs in the shown range.",
                    "s",
                    Query(q.mean_duration(m.STAGE_DURATION, m.STAGE, m.REVISION), "{{stage}} {{revision}}", instant=True),
                    kind="table",
                    width=8,
                    decimals=1,
                    columns=(("stage", "Stage"), ("revision", "Revision"), ("Value", "Duration")),
                    no_value="no run ended",
                ),
                panel(
                    "stage-runs",
                    "Runs that ended",
                    "Runs of each stage in the shown range, by outcome.",
                    "short",
                    Query(q.increase_by(m.STAGE_RUNS, m.STAGE, m.OUTCOME), "{{stage}} {{outcome}}", instant=True),
                    kind="table",
                    width=8,
                    decimals=0,
                    columns=(("stage", "Stage"), ("outcome", "Outcome"), ("Value", "Runs")),
                    no_value="no run ended",
                ),
                panel(
                    "stage-rows",
                    "Rows produced",
                    "Rows per second that each stage produced.",
                    "rowsps",
                    Query(q.rate_by(m.STAGE_ROWS, m.STAGE), "{{stage}}"),
                    width=8,
                    no_value="no run",
                ),
            ),
        ),
    ),
    (SERVICE, REVISION),
    MARKERS,
)
