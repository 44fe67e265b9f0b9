"""Every metric and label name, with unit and help, in one place.

Code that exports, queries or documents a metric takes its name from here, so that a rename is one edit and
the tables in `collectors/*/README.md` cannot drift. Names follow Prometheus: base units, `_total` for counters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric family: `name` as exposed (counters end in `_total`), base `unit`, `labels` in canonical order."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    collector: str = ""
    buckets: tuple[float, ...] = ()


# fmt: off
# Bounds in seconds. Every latency SLO threshold must be one of them (checked when a spec is compiled).
LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0,
)
JOB_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)

SERVICE, REVISION, STAGE, OUTCOME = "service", "revision", "stage", "outcome"
FEATURE, FEATURE_VIEW, FRESHNESS, VERDICT = "feature", "feature_view", "freshness", "verdict"
COLLECTOR, REASON, PHASE, ACTION, TEST = "collector", "reason", "phase", "action", "test"
ATTRIBUTION, GATE = "attribution", "gate"
GPU, UUID, MODEL_NAME = "gpu", "uuid", "model_name"
SLO, SEVERITY, TIER, TEAM, WINDOW = "slo", "severity", "tier", "team", "window"

# Stages of the ML life cycle, the values of the label `stage`.
STAGE_FEATURES, STAGE_TRAIN, STAGE_SERVE, STAGE_INGRESS = "features", "train", "serve", "ingress"
# What became of a request, the values of the label `outcome`. A client error never burns the budget.
OUTCOME_OK, OUTCOME_CLIENT_ERROR, OUTCOME_ERROR = "ok", "client_error", "error"

# --- requests (collector "latency") -------------------------------------------------------------------------
_REQUEST = (SERVICE, REVISION, STAGE)
REQUESTS = Metric("mlops_obs_requests_total", "counter", "requests", "Requests finished, by outcome.", (*_REQUEST, OUTCOME), "latency")
REQUEST_DURATION = Metric(
    "mlops_obs_request_duration_seconds", "histogram", "seconds", "Time to answer a request, failures included.", _REQUEST, "latency", LATENCY_BUCKETS
)
REQUESTS_INFLIGHT = Metric("mlops_obs_requests_inflight", "gauge", "requests", "Requests being answered now.", _REQUEST, "latency")
OBSERVATIONS_DROPPED = Metric(
    "mlops_obs_observations_dropped_total", "counter", "observations", "Observations lost inside the instrumentation, never inside the model.",
    (SERVICE, REVISION, REASON), "latency",
)

# --- life-cycle stages (jobs) -------------------------------------------------------------------------------
STAGE_RUNS = Metric("mlops_obs_stage_runs_total", "counter", "runs", "Runs of a life-cycle stage that ended.", (*_REQUEST, OUTCOME), "stages")
STAGE_DURATION = Metric("mlops_obs_stage_duration_seconds", "histogram", "seconds", "Duration of a life-cycle stage.", _REQUEST, "stages", JOB_BUCKETS)
STAGE_ROWS = Metric("mlops_obs_stage_rows_total", "counter", "rows", "Rows that a life-cycle stage produced.", _REQUEST, "stages")

# --- drift --------------------------------------------------------------------------------------------------
_FEATURE = (SERVICE, REVISION, FEATURE)
DRIFT_PSI = Metric("mlops_obs_feature_drift_psi", "gauge", "1", "Population stability index of the last scored window against the model's reference.", _FEATURE, "drift")
MISSING_RATIO = Metric("mlops_obs_feature_missing_ratio", "gauge", "ratio", "Share of missing values in the last scored window.", _FEATURE, "drift")
DRIFT_WINDOWS = Metric(
    "mlops_obs_drift_windows_total", "counter", "windows", "Windows scored, by verdict: stable, drifted or inconclusive.", (SERVICE, REVISION, VERDICT), "drift"
)
DRIFT_ROWS = Metric("mlops_obs_drift_rows_total", "counter", "rows", "Rows folded into drift windows.", (SERVICE, REVISION), "drift")
DRIFT_FEATURES = Metric("mlops_obs_drift_features", "gauge", "features", "Features by verdict of the last scored window; at most 50 of them have series of their own.", (SERVICE, REVISION, VERDICT), "drift")
DRIFT_ROWS_DROPPED = Metric("mlops_obs_drift_rows_dropped_total", "counter", "rows", "Rows overwritten before they were folded.", (SERVICE, REVISION), "drift")

KIND = "kind"
DRIFT_ALARM = Metric("mlops_obs_drift_alarm", "gauge", "1", "1 while a feature has not come back to normal since its alarm, by kind of change; absent for features without one.", (*_FEATURE, KIND), "drift")
DRIFT_ALARMS = Metric("mlops_obs_drift_alarms_total", "counter", "alarms", "Alarms raised within the budget of false ones, by feature and kind of change.", (*_FEATURE, KIND), "drift")
DRIFT_EVIDENCE = Metric("mlops_obs_drift_evidence_ratio", "gauge", "ratio", "Evidence for a change anywhere in the model's data, of what an alarm needs.", (SERVICE, REVISION), "drift")
DRIFT_BUDGET_USED = Metric("mlops_obs_drift_budget_used_ratio", "gauge", "ratio", "Alarms of the last period, of the false ones that the budget allows: 1 is all of it.", (SERVICE, REVISION), "drift")

FEATURE_VALUES = Metric("mlops_obs_feature_value", "histogram", "1", "Values of a feature (less its origin, where the reference has one) as a native histogram; an option, off by default.", _FEATURE, "drift")
# Recorded by `obs drift rules` from the native histograms, over a window such as 1h.
FEATURE_VALUES_INCREASE = "drift:feature_value:increase{window}"
FEATURE_PSI_WINDOW = "drift:feature_psi:{window}"
FEATURE_KS_WINDOW = "drift:feature_ks:{window}"

EXPECTATION = "expectation"
EXPECTATION_CHECKS = Metric(
    "mlops_obs_expectation_checks_total", "counter", "checks", "Checks of a feature against what is expected of it: met, failed or inconclusive.", (*_FEATURE, EXPECTATION, OUTCOME), "drift"
)

# --- payloads (KServe's payload logger) ---------------------------------------------------------------------
PAYLOAD_EVENTS = Metric("mlops_obs_payload_events_total", "counter", "events", "Payload events taken in, by kind: request or response.", (KIND,), "payloads")
PAYLOAD_LOST = Metric("mlops_obs_payload_events_lost_total", "counter", "events", "Payload events given up, by reason; the model that sent them never waited.", (REASON,), "payloads")
PAYLOAD_ROWS = Metric("mlops_obs_payload_rows_total", "counter", "rows", "Rows handed on to drift from payload events.", (SERVICE, REVISION), "payloads")
PAYLOAD_QUEUE = Metric("mlops_obs_payload_queue_depth", "gauge", "events", "Payload events that wait to be read.", (), "payloads")
PAYLOAD_WAITING = Metric("mlops_obs_payload_waiting", "gauge", "events", "Payload events that wait for their other half.", (), "payloads")

# --- freshness ----------------------------------------------------------------------------------------------
_VIEW = (SERVICE, FEATURE_VIEW)
FEATURE_AGE = Metric("mlops_obs_feature_age_seconds", "gauge", "seconds", "Age of the newest materialised event.", _VIEW, "freshness")
FEATURE_READS = Metric(
    "mlops_obs_feature_reads_total", "counter", "reads", "Online feature reads: fresh, late (older than the limit) or missing.", (*_VIEW, FRESHNESS), "freshness"
)

TABLE = "table"
_TABLE = (SERVICE, TABLE)
FEATURE_VALUE_AGE = Metric("mlops_obs_feature_value_age_seconds", "gauge", "seconds", "Median age of a feature's recent values: time since the event that the value was made from.", (SERVICE, FEATURE), "freshness")
FEATURE_VALUE_READS = Metric(
    "mlops_obs_feature_value_reads_total", "counter", "values", "Feature values given to a model: fresh, late (older than the feature's limit) or missing.", (SERVICE, FEATURE, FRESHNESS), "freshness"
)
TABLE_AGE = Metric("mlops_obs_table_age_seconds", "gauge", "seconds", "Time since the moment up to which an upstream table is complete.", _TABLE, "freshness")
MATERIALISATIONS = Metric(
    "mlops_obs_materialisations_total", "counter", "materialisations", "Expected materialisations of a table: on_time, late or missing.", (*_TABLE, OUTCOME), "freshness"
)

# --- training-serving skew ----------------------------------------------------------------------------------
BETWEEN, SIDE = "between", "side"
_SKEW = (SERVICE, REVISION, FEATURE, BETWEEN, KIND)
SKEW_PAIRS = Metric(
    "mlops_obs_skew_pairs_total", "counter", "pairs",
    "Values compared between two sides of a request (offline_online or online_input), by kind: equal, or how they differ.", _SKEW, "skew",
)
SKEW_NAMED = Metric("mlops_obs_skew_named", "gauge", "1", "1 while a feature differs between two sides beyond what is tolerated, by the kind of difference.", _SKEW, "skew")
SKEW_RECORDS = Metric("mlops_obs_skew_records_total", "counter", "requests", "Sampled requests: written to the skew log, or dropped.", (SERVICE, REVISION, OUTCOME), "skew")
SKEW_UNJOINED = Metric("mlops_obs_skew_unjoined_total", "counter", "requests", "Sampled requests of which only one side was seen: served or offline.", (SERVICE, SIDE), "skew")

# --- GPU ----------------------------------------------------------------------------------------------------
_GPU = (GPU, UUID, MODEL_NAME)
GPU_UTILIZATION = Metric("mlops_obs_gpu_utilization_ratio", "gauge", "ratio", "Share of time with a kernel resident.", _GPU, "gpu")
GPU_MEMORY_USED = Metric("mlops_obs_gpu_memory_used_bytes", "gauge", "bytes", "Memory in use.", _GPU, "gpu")
GPU_MEMORY_TOTAL = Metric("mlops_obs_gpu_memory_total_bytes", "gauge", "bytes", "Memory installed.", _GPU, "gpu")
GPU_POWER = Metric("mlops_obs_gpu_power_watts", "gauge", "watts", "Power drawn.", _GPU, "gpu")
GPU_ENERGY = Metric("mlops_obs_gpu_energy_joules_total", "counter", "joules", "Energy used since the driver was loaded.", _GPU, "gpu")
GPU_TEMPERATURE = Metric("mlops_obs_gpu_temperature_celsius", "gauge", "celsius", "Temperature of the chip.", _GPU, "gpu")
GPU_COUNT = Metric("mlops_obs_gpus", "gauge", "gpus", "GPUs by state: present or lost.", ("state",), "gpu")
GPU_SECONDS = Metric(
    "mlops_obs_gpu_seconds_total", "counter", "seconds", "GPU time that a model revision has used, as the process that serves it reports it.", (SERVICE, REVISION), "gpu"
)

# --- training -----------------------------------------------------------------------------------------------
_MODEL = (SERVICE, REVISION)
TRAINING_STEPS = Metric("mlops_obs_training_steps_total", "counter", "steps", "Optimiser steps taken.", _MODEL, "training")
TRAINING_TIME = Metric(
    "mlops_obs_training_time_seconds_total", "counter", "seconds",
    "Wall time by phase: data_wait, compute, optimizer, checkpoint, evaluate, restart, other.", (*_MODEL, PHASE), "training",
)
TRAINING_SAMPLES = Metric("mlops_obs_training_samples_total", "counter", "samples", "Samples consumed.", _MODEL, "training")
TRAINING_LOSS = Metric("mlops_obs_training_loss", "gauge", "1", "Loss of the last step.", _MODEL, "training")
TRAINING_RESTARTS = Metric("mlops_obs_training_restarts_total", "counter", "restarts", "Restarts after a lost worker.", _MODEL, "training")
TRAINING_NONFINITE = Metric("mlops_obs_training_nonfinite_losses_total", "counter", "steps", "Steps whose loss was NaN or infinite.", _MODEL, "training")
TRAINING_CHECKPOINT_TIME = Metric("mlops_obs_training_checkpoint_timestamp_seconds", "gauge", "seconds", "When the last checkpoint was written (Unix time).", _MODEL, "training")

# --- quality (delayed labels) -------------------------------------------------------------------------------
COHORT = "cohort"
_COHORT = (SERVICE, REVISION, COHORT)
QUALITY_EVENTS = Metric("mlops_obs_quality_cohort_events", "gauge", "predictions", "Predictions of a cohort whose label has arrived.", _COHORT, "quality")
QUALITY_BAD = Metric("mlops_obs_quality_cohort_bad_events", "gauge", "predictions", "Labelled predictions of a cohort that were wrong.", _COHORT, "quality")
QUALITY_START = Metric("mlops_obs_quality_cohort_start_timestamp_seconds", "gauge", "seconds", "When the cohort began (Unix time).", _COHORT, "quality")
MEASURE, BASIS, BOUND = "measure", "basis", "bound"
_MODEL_MEASURE = (SERVICE, REVISION, MEASURE)
QUALITY_PERFORMANCE = Metric(
    "mlops_obs_quality_performance", "gauge", "1",
    "AUC, error rate or Brier score: realised (newest ripe cohort, from labels) or estimated (newest cohort, from scores).", (*_MODEL_MEASURE, BASIS), "quality",
)
QUALITY_BOUND = Metric("mlops_obs_quality_performance_bound", "gauge", "1", "Lower and upper end of the 90 % interval of realised performance.", (*_MODEL_MEASURE, BOUND), "quality")
QUALITY_ESTIMATE_ERROR = Metric("mlops_obs_quality_estimate_error", "gauge", "1", "Mean distance of estimated and realised performance, over all ripe cohorts.", _MODEL_MEASURE, "quality")
QUALITY_MATURITY = Metric("mlops_obs_quality_maturity_ratio", "gauge", "ratio", "Share of all kept predictions whose label has arrived.", (SERVICE, REVISION), "quality")
QUALITY_RIPE_AGE = Metric("mlops_obs_quality_ripe_age_seconds", "gauge", "seconds", "Age at which a cohort is ripe; infinite while that is not known.", (SERVICE,), "quality")
QUALITY_RIPE_START = Metric("mlops_obs_quality_ripe_cohort_start_timestamp_seconds", "gauge", "seconds", "When the newest ripe cohort began (Unix time).", (SERVICE, REVISION), "quality")
QUALITY_CONCEPT = Metric("mlops_obs_quality_concept_evidence_ratio", "gauge", "ratio", "Evidence that scores are no longer worth what they were, of what an alarm needs.", (SERVICE, REVISION), "quality")
QUALITY_CONCEPT_DRIFTS = Metric("mlops_obs_quality_concept_drifts", "gauge", "alarms", "Ripe cohorts, of those kept, in which concept drift was found.", (SERVICE, REVISION), "quality")

# --- rollout controller -------------------------------------------------------------------------------------
ROLLOUT_WEIGHT = Metric("mlops_obs_rollout_weight_ratio", "gauge", "ratio", "Share of traffic the controller declared.", _MODEL, "rollout")
ROLLOUT_PHASE = Metric("mlops_obs_rollout_phase", "gauge", "1", "1 for the phase the newest rollout is in.", (SERVICE, "stable", "canary", PHASE), "rollout")
ROLLOUT_DECISIONS = Metric("mlops_obs_rollout_decisions_total", "counter", "decisions", "Decisions taken.", (SERVICE, ACTION), "rollout")
ROLLOUT_ACTION_TIME = Metric(
    "mlops_obs_rollout_action_timestamp_seconds", "gauge", "seconds", "When an action was last carried out for a revision (Unix time).", (SERVICE, REVISION, ACTION), "rollout"
)
ROLLOUT_EVIDENCE = Metric(
    "mlops_obs_rollout_evidence_log10", "gauge", "1", "log10 of the e-value of a sequential test of the running rollout.", (SERVICE, REVISION, TEST), "rollout"
)
ROLLOUT_POLICY = Metric(
    "mlops_obs_rollout_budget_policy", "gauge", "1", "1 for the sternest action of an SLO's budget policy that the newest rollout obeys.", (SERVICE, SLO, ACTION), "rollout"
)
ROLLOUT_EVIDENCE_BOUND = Metric(
    "mlops_obs_rollout_evidence_bound_log10", "gauge", "1", "log10 of the e-value at which the test condemns the canary.", (SERVICE, REVISION, TEST), "rollout"
)
ROLLOUT_ATTRIBUTION = Metric(
    "mlops_obs_rollout_attribution", "gauge", "1", "1 for what the newest rollout waits for or acts on: none, canary, shared or telemetry.",
    (SERVICE, "canary", ATTRIBUTION), "rollout",
)
ROLLOUT_POWER = Metric(
    "mlops_obs_rollout_power_seconds", "gauge", "seconds", "Time until the least detectable regression would be seen at this traffic; +Inf for never.", (SERVICE, REVISION, TEST), "rollout"
)
ROLLOUT_OBSERVED_SHARE = Metric("mlops_obs_rollout_observed_share_ratio", "gauge", "ratio", "Share of the requests that the canary really got.", _MODEL, "rollout")
ROLLOUT_TRAFFIC_MISMATCH = Metric(
    "mlops_obs_rollout_traffic_mismatch", "gauge", "1", "1 if the observed split is proven not to be the declared one.", (SERVICE, "canary"), "rollout"
)
ROLLOUT_WAY_BACK = Metric(
    "mlops_obs_rollout_way_back", "gauge", "1", "1 if all traffic could return to the stable revision now, 0 if not.", (SERVICE, "stable", "canary"), "rollout"
)
ROLLOUT_WAY_BACK_TIME = Metric(
    "mlops_obs_rollout_way_back_seconds", "gauge", "seconds", "Predicted time to return all traffic to the stable revision.", (SERVICE, "stable", "canary"), "rollout"
)
ROLLOUT_GATE = Metric(
    "mlops_obs_rollout_gate", "gauge", "1", "1 if a gate with a threshold is good, 0 if bad, -1 without data.", (SERVICE, REVISION, GATE), "rollout"
)
ROLLOUT_NOTICES_WAITING = Metric("mlops_obs_rollout_notices_waiting", "gauge", "notices", "Notices that nobody has taken yet.", (SERVICE, "canary"), "rollout")
ROLLOUT_NOTICE_STUCK = Metric(
    "mlops_obs_rollout_notice_undelivered", "gauge", "1", "1 while a notice waits to be taken by those who should learn of it.", (SERVICE, "canary"), "rollout"
)

# --- operator (the controller for Kubernetes, about itself) -------------------------------------------------
_CODE, _VERB, _RESOURCE = "code", "verb", "resource"
CONTROLLER_RECONCILE = Metric(
    "mlops_obs_controller_reconcile_seconds", "histogram", "seconds", "Time of one look at a rollout, from the queue to its last write.", (OUTCOME,), "operator", LATENCY_BUCKETS
)
CONTROLLER_REACTION = Metric(
    "mlops_obs_controller_reaction_seconds", "histogram", "seconds", "Time from the newest sample of a decision to the target having accepted its change.", (ACTION,), "operator", JOB_BUCKETS
)
CONTROLLER_DECISIONS = Metric("mlops_obs_controller_decisions_total", "counter", "decisions", "Decisions that this process recorded.", (ACTION,), "operator")
CONTROLLER_ERRORS = Metric("mlops_obs_controller_errors_total", "counter", "errors", "Looks that failed, by error code.", (_CODE,), "operator")
CONTROLLER_QUEUE_DEPTH = Metric("mlops_obs_controller_queue_depth", "gauge", "rollouts", "Rollouts that wait for a worker.", (), "operator")
CONTROLLER_WORK_AGE = Metric("mlops_obs_controller_work_age_seconds", "gauge", "seconds", "For how long the first of them has waited.", (), "operator")
CONTROLLER_LEADER = Metric("mlops_obs_controller_leader", "gauge", "1", "1 in the process that leads, 0 in the others.", (), "operator")
CONTROLLER_API_CALLS = Metric("mlops_obs_controller_api_calls_total", "counter", "calls", "Calls to the Kubernetes API; code none: no answer.", (_VERB, _RESOURCE, _CODE), "operator")
CONTROLLER_RELISTS = Metric("mlops_obs_controller_relists_total", "counter", "lists", "How often all rollouts were listed anew instead of watched.", (), "operator")
CONTROLLER_EVENTS_DROPPED = Metric("mlops_obs_controller_events_dropped_total", "counter", "events", "Kubernetes Events that could not be written.", (REASON,), "operator")

# --- every collector ----------------------------------------------------------------------------------------
COLLECTOR_UP = Metric("mlops_obs_collector_up", "gauge", "1", "1 if the collector read its source; 0 with the reason if not.", (COLLECTOR, REASON), "self")
COLLECTOR_SECONDS = Metric("mlops_obs_collector_seconds_total", "counter", "seconds", "CPU time the collector has used itself.", (COLLECTOR,), "self")

# --- recorded by the generated SLO rules --------------------------------------------------------------------
# `{window}` is a Prometheus duration, e.g. slo:events_bad:increase5m.
SLO_BAD = "slo:events_bad:increase{window}"
SLO_TOTAL = "slo:events_total:increase{window}"
SLO_ERROR_RATIO = "slo:error_ratio:increase{window}"
# Steps on the way to the counts: good events, native histograms and slices of 5 minutes before they are judged, and where sums begin.
SLO_GOOD = "slo:events_good:increase{window}"
SLO_HISTOGRAM = "slo:events:histogram{window}"
SLO_SLICE_BAD = "slo:slice_events_bad:increase{window}"
SLO_SLICE_TOTAL = "slo:slice_events_total:increase{window}"
SLO_HOUR_START = "slo:hour_start:seconds"
SLO_PERIOD_START = "slo:period_start:seconds"
SLO_ZONE_OFFSET = "slo:zone_offset:seconds"
SLO_COVERED = "slo:covered:seconds"
SLO_OBJECTIVE = "slo:objective:ratio"
SLO_ERROR_BUDGET = "slo:error_budget:ratio"
SLO_PERIOD_SECONDS = "slo:period:seconds"
SLO_BUDGET_REMAINING = "slo:error_budget_remaining:ratio"
SLO_BURN_RATE = "slo:burn_rate:ratio1h"
SLO_THRESHOLD = "slo:latency_threshold:seconds"

# fmt: on
METRICS: dict[str, Metric] = {value.name: value for value in list(globals().values()) if isinstance(value, Metric)}


@dataclass(frozen=True, slots=True)
class Reading:
    """One value that a collector read: `labels` has exactly the keys in `metric.labels`. Collectors return these, adapters export them."""

    metric: Metric
    labels: dict[str, str]
    value: float
