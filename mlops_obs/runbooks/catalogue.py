"""The runbooks as data: what each alert means, whom it hurts, how to find the cause and what to do, in that order.

They are written for somebody who was asleep a minute ago: each step is one sentence and something to paste. Queries take
their names from `metric_names.py`, so that a renamed metric cannot leave a runbook behind. A step that only says "ask the
developers" is not a step.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.budget_catalogue import BUDGET_RUNBOOKS
from mlops_obs.runbooks.data_catalogue import DATA_RUNBOOKS
from mlops_obs.runbooks.drift_catalogue import DRIFT_RUNBOOKS
from mlops_obs.runbooks.rollout_catalogue import ROLLOUT_RUNBOOKS
from mlops_obs.runbooks.rollout_trust_catalogue import TRUST_RUNBOOKS
from mlops_obs.runbooks.steps import BUDGET, HISTORY, INGRESS, OF, PAUSE, ROLLBACK, STATUS, TARGETS, Runbook, Step

__all__ = ["RUNBOOKS", "Runbook", "Step"]

RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "AvailabilityBudgetBurn",
        "Requests fail on our side so fast that the error budget will not last its period. The page says how fast, for which revision, "
        "and how long the rest lasts. Client errors (4xx) do not count.",
        "Callers get errors instead of predictions. Each failed request is a decision that somebody makes without "
        "the model, or not at all.",
        (
            STATUS,
            Step(
                "Is it one revision or all of them? One: the model or its features. All: the platform, the store, or the caller's network.",
                ask=f'sum by (revision) (rate({m.REQUESTS.name}{{{INGRESS},outcome="{m.OUTCOME_ERROR}"}}[5m]))',
            ),
            Step(
                "Does it fail in the predictor as well, or only at the ingress? Only at the ingress means no replica answers.",
                ask=f'sum by (stage, revision) (rate({m.REQUESTS.name}{{{OF},outcome="{m.OUTCOME_ERROR}"}}[5m]))',
            ),
            Step(
                "Are features missing? A store without rows makes a healthy model fail.",
                ask=f'sum by (feature_view, freshness) (rate({m.FEATURE_READS.name}{{{OF},freshness!="fresh"}}[5m]))',
            ),
            HISTORY,
        ),
        (
            Step(
                "The page says `rolled back`: nothing burns any more. Check that the burn rate falls, then sleep.",
                run="obs slo status --env obs.yaml",
            ),
            ROLLBACK,
            Step(
                "All revisions fail and a feature store is behind it: restore the store first, the models recover by themselves. "
                "Confirm that reads are fresh again.",
                ask=f"sum by (freshness) (rate({m.FEATURE_READS.name}{{{OF}}}[5m]))",
            ),
        ),
    ),
    Runbook(
        "LatencyBudgetBurn",
        "Too many answers are slower than the SLO's threshold, so fast that the budget for slow answers will not last its period.",
        "Callers wait, time out and retry, which adds load. A caller's timeout turns a slow answer into no answer.",
        (
            STATUS,
            Step(
                "Which revision is slow? Compare the slowest 1 %.",
                ask=f"histogram_quantile(0.99, sum by (le, revision) (rate({m.REQUEST_DURATION.name}_bucket{{{INGRESS}}}[5m])))",
            ),
            Step(
                "Is the predictor slow, or do requests wait in front of it? If only the ingress is slow, they queue.",
                ask=f"histogram_quantile(0.99, sum by (le, stage) (rate({m.REQUEST_DURATION.name}_bucket{{{OF}}}[5m])))",
            ),
            Step(
                "Do requests pile up? In flight rising at a steady request rate means too few replicas.",
                ask=f"sum by (stage, revision) ({m.REQUESTS_INFLIGHT.name}{{{OF}}})",
            ),
        ),
        (
            ROLLBACK,
            Step(
                "No canary, and requests queue: add replicas, then watch requests in flight fall.",
                ask=f"sum by (stage) ({m.REQUESTS_INFLIGHT.name}{{{OF}}})",
            ),
            PAUSE,
        ),
    ),
    Runbook(
        "FreshnessBudgetBurn",
        "Predictions are made from features that are older than their limit, or that have no row at all.",
        "The model answers in time and with confidence, from yesterday's facts. Nobody notices until the money is counted.",
        (
            Step("Which feature view is behind, and by how much?", ask=f"max by (feature_view) ({m.FEATURE_AGE.name}{{{OF}}})"),
            Step(
                "Late or missing? Late: the stream is slow or stopped. Missing: customers are new, or a key changed.",
                ask=f"sum by (feature_view, freshness) (rate({m.FEATURE_READS.name}{{{OF}}}[5m]))",
            ),
            Step(
                "Does the feature job still run and produce rows?",
                ask=f'sum by (outcome) (increase({m.STAGE_RUNS.name}{{{OF},stage="{m.STAGE_FEATURES}"}}[1h]))',
            ),
            BUDGET,
        ),
        (
            Step(
                "The job stopped: start it again. Its state is per customer, so it catches up from the events; watch the age fall.",
                ask=f"max by (feature_view) ({m.FEATURE_AGE.name}{{{OF}}})",
            ),
            Step(
                "It will take longer than the budget lasts: stop rollouts meanwhile. A canary that is judged on stale "
                "features is judged wrongly.",
                run='obs rollout pause --env obs.yaml --reason "features are stale"',
            ),
        ),
    ),
    Runbook(
        "DriftBudgetBurn",
        "Windows of live features keep differing from the data that the model learnt from, beyond what chance explains.",
        "Nothing fails. The model is asked about a world it has not seen, and its scores lose their meaning over days, not minutes.",
        (
            Step("Which features moved?", ask=f"topk(5, max by (revision, feature) ({m.DRIFT_PSI.name}{{{OF}}}))"),
            Step(
                "Or did they go missing? A broken join looks like drift.",
                ask=f"topk(5, max by (revision, feature) ({m.MISSING_RATIO.name}{{{OF}}}))",
            ),
            Step(
                "All features at once points to the pipeline (a unit, a time zone, a join); one feature points to the world or one source.",
                ask=f"sum by (revision, verdict) (increase({m.DRIFT_WINDOWS.name}{{{OF}}}[1h]))",
            ),
            Step(
                "Compare a table of live rows with the model's reference, feature by feature.",
                run="obs drift score --reference reference.bin --current live.parquet",
            ),
        ),
        (
            Step(
                "One revision drifts and the other does not, on the same traffic: its own preprocessing is wrong. Roll it back.",
                run='obs rollout rollback --env obs.yaml --reason "its features are transformed wrongly"',
            ),
            Step(
                "The pipeline changed: repair it, and confirm that new windows are stable.",
                ask=f"sum by (verdict) (increase({m.DRIFT_WINDOWS.name}{{{OF}}}[30m]))",
            ),
            Step(
                "The world changed: train on newer data and ship it as any revision.",
                run="obs rollout start --env obs.yaml -f rollout.yaml",
            ),
        ),
    ),
    Runbook(
        "TelemetryAbsent",
        "The counters of a promise are gone. This is not an idle service, which still shows zeros: nobody is counting.",
        "We are blind. Errors burn unseen, and rollouts hold, because unknown evidence never moves traffic.",
        (
            TARGETS,
            Step("Is anything of the service left?", ask=f"count by (stage, revision) ({m.REQUESTS.name}{{{OF}}})"),
            Step("What is still known of the budgets? `unknown` must not be read as healthy.", run="obs slo status --env obs.yaml"),
            Step("Does the service itself answer? Ask it as a caller would; its address is in obs.yaml, under `target`."),
        ),
        (
            Step(
                "The processes are gone: start the service again; each announces itself to Prometheus when it is up.", ask="count(up == 1)"
            ),
            Step(
                "The processes run but are not scraped: the discovery folder in obs.yaml must be the one that Prometheus reads.", ask="up"
            ),
            Step(
                "Prometheus will be down for a while, and nothing would page meanwhile: run the embedded engine, with a copy of "
                "obs.yaml that says `metrics: {embedded: metrics.db}`. It needs nothing but the processes.",
                run="obs monitor --env embedded.yaml",
            ),
            Step("The service was retired: delete its SLO file and its generated rules, or this fires for a week after the last count."),
        ),
    ),
    Runbook(
        "CollectorDown",
        "A collector runs and cannot read its source. The alert names the reason. Its process is up and other metrics are sound.",
        "One set of charts is empty or old: GPU, drift, freshness or training. Nothing that callers see depends on it.",
        (
            Step("Which collector, and why?", ask=f"{m.COLLECTOR_UP.name} == 0"),
            Step(
                "Does it work at all, or has it been stuck for long? CPU time that stands still means stuck.",
                ask=f"rate({m.COLLECTOR_SECONDS.name}[5m])",
            ),
            Step("For the GPU collector: run one here and read what it says.", run="obs collect gpu"),
        ),
        (
            Step(
                "Repair what the reason names (a driver, a store's address, a permission). The collector tries again by "
                "itself; confirm it.",
                ask=f"{m.COLLECTOR_UP.name} == 1",
            ),
            Step("A lost GPU does not come back by itself: drain the node and reset it. Confirm the count.", ask=f"{m.GPU_COUNT.name}"),
        ),
    ),
    Runbook(
        "InstrumentationDown",
        "A process that is still listed for scraping does not answer its /metrics: it hangs, the network is in between, or it died "
        "where nobody takes dead processes off the list (`obs demo` and `obs monitor` do, every 30 seconds).",
        "Its counts stop. If it was a replica, capacity is lower; the other replicas' counts stay right.",
        (
            TARGETS,
            Step(
                "Was it a replica that serves requests? See whether callers notice.",
                ask=f"sum by (revision, outcome) (rate({m.REQUESTS.name}{{{INGRESS}}}[5m]))",
            ),
            BUDGET,
        ),
        (
            Step(
                "It died, and Ray or Kubernetes has started another: delete its file from the discovery folder if it is still there. "
                "Confirm that all answer.",
                ask="count(up == 0) or vector(0)",
            ),
            Step(
                "It runs and hangs: restart that process. Instrumentation holds no lock that the model needs, so look at the model first.",
                ask="up == 0",
            ),
        ),
    ),
    Runbook(
        "RolloutOnHold",
        "A rollout has stood still for ten minutes. Its evidence is missing, stale or undecided, or something else is in the way: a "
        "gate, a budget, a person's word, the platform. So it neither raises traffic nor rolls back.",
        "The new revision does not reach its users. Callers are not hurt: the weights are where they last were good.",
        (
            Step("Read the reason, in words.", run="obs rollout status --env obs.yaml"),
            HISTORY,
            Step("No evidence: is the canary counted at all?", ask=f"sum by (revision) (rate({m.REQUESTS.name}{{{INGRESS}}}[5m]))"),
            Step(
                "Undecided: how strong is the evidence so far, as a power of ten?",
                ask=f"max by (revision, test) ({m.ROLLOUT_EVIDENCE.name}{{{OF}}})",
            ),
        ),
        (
            Step("Metrics are away: repair them (see TelemetryAbsent); the rollout goes on by itself.", ask="up == 0"),
            Step(
                "The reason says frozen: too little of an error budget is left, and the policy holds the rollout until there is more. See "
                "which budget, and follow ErrorBudgetLow.",
                run="obs slo status --env obs.yaml",
            ),
            Step(
                "Somebody changed the weights by hand: set back what the reason names as expected, and the rollout goes on. Or end it: "
                "the canary's share returns to the stable revision.",
                run='obs rollout abort --env obs.yaml --reason "weights were changed by hand"',
            ),
            Step(
                "You have looked and trust the canary: let it pass to the next step on your word.",
                run='obs rollout promote --env obs.yaml --reason "looked at it"',
            ),
            Step("You do not trust it.", run='obs rollout rollback --env obs.yaml --reason "undecided for too long"'),
        ),
    ),
    *BUDGET_RUNBOOKS,
    *DATA_RUNBOOKS,
    *DRIFT_RUNBOOKS,
    *ROLLOUT_RUNBOOKS,
    *TRUST_RUNBOOKS,
)
