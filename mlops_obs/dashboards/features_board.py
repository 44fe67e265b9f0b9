"""The feature pipeline: are the features fresh, complete and on time, from the upstream table to the prediction."""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Dashboard, Query, Row
from mlops_obs.dashboards.shared_panels import MARKERS, REVISION, SERVICE, panel, stale_reads

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
            "Upstream",
            (
                panel(
                    "table-age",
                    "Age of upstream tables",
                    "Time since the moment up to which a table is complete.",
                    "s",
                    Query(q.gauge_max(m.TABLE_AGE, m.TABLE), "{{table}}"),
                    width=8,
                    no_value="no table is watched",
                    needs="tables",
                ),
                panel(
                    "materialisations",
                    "Materialisations",
                    "Expected materialisations in the shown range: on time, late or missing.",
                    "short",
                    Query(q.increase_by(m.MATERIALISATIONS, m.TABLE, m.OUTCOME), "{{table}} {{outcome}}", instant=True),
                    kind="table",
                    width=8,
                    decimals=0,
                    columns=(("table", "Table"), ("outcome", "Outcome"), ("Value", "Count")),
                    no_value="no table is watched",
                    needs="tables",
                ),
                panel(
                    "feature-age",
                    "Oldest features",
                    "Median age of the values that were given to the model, ten oldest features.",
                    "s",
                    Query(q.top(10, q.gauge_max(m.FEATURE_VALUE_AGE, m.FEATURE)), "{{feature}}"),
                    width=8,
                    no_value="no value carries its time",
                    needs="value_age",
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
