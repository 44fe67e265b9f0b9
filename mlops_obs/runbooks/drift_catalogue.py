"""Runbook of a drift alarm: is it broken data, a stale feature, skew, the world, or the relation of the world to the answer.

The order is the point: the cheap causes are also the common ones, and retraining on broken data makes it the new normal.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.steps import OF, Runbook, Step

_NOW = Step(
    "Which feature of which revision, and what kind of change?", ask=f"max by (revision, feature, kind) ({m.DRIFT_ALARM.name}{{{OF}}} == 1)"
)

DRIFT_RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "DriftAlarm",
        "A feature or the predictions have changed, beyond what chance, the reference's own variation and the tolerated drift explain. "
        "The alarm holds the model's budget of false ones however often it is looked at; `kind` says what the change looks like: "
        "`unit`, `missing`, `new_category`, `location`, `scale`, `tail`, `correlation`, `concept`.",
        "Nothing fails: the model answers with confidence about something that it has not learnt. What it costs in AUC and money "
        "stands in the report, where the reference knows labels.",
        (
            _NOW,
            Step(
                "Is the feature simply stale? Old values drift by themselves.",
                ask=f"topk(5, max by (feature) ({m.FEATURE_VALUE_AGE.name}{{{OF}}}))",
            ),
            Step(
                "Is it the same on both sides? A difference between training and serving is a bug, not the world.",
                ask=f"max by (revision, feature, between, kind) ({m.SKEW_NAMED.name}{{{OF}}} == 1)",
            ),
            Step(
                "Does only one revision see it, on the same traffic? Then its own preprocessing is wrong.",
                ask=f"topk(5, max by (revision, feature) ({m.DRIFT_PSI.name}{{{OF}}}))",
            ),
            Step(
                "Since when, which segment, and what does it cost? Compare a table of live rows with the model's reference.",
                run="obs drift report --reference reference.bin --current live.parquet --html drift.html",
            ),
        ),
        (
            Step(
                "`unit`, `missing`, `invalid` or skew on one revision: roll it back.",
                run='obs rollout rollback --env obs.yaml --reason "its features are transformed wrongly"',
            ),
            Step(
                "The same on every revision: the pipeline or a supplier changed. Repair it; the alarm ends when rows are normal again.",
                ask=f"max by (revision) ({m.DRIFT_EVIDENCE.name}{{{OF}}})",
            ),
            Step(
                "The world changed: train on newer data and ship it as any revision; its package brings a new reference.",
                run="obs rollout start --env obs.yaml -f rollout.yaml",
            ),
        ),
    ),
)
