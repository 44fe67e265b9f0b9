"""Runbooks of data that is wrong rather than new: late tables, broken agreements, and features computed in two ways.

None of the three is drift, and each has another person who repairs it; so each first step says whose it is.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.steps import BUDGET, OF, Runbook, Step

_FAILED = f'{m.EXPECTATION_CHECKS.name}{{{OF},outcome="failed"}}'

DATA_RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "MaterialisationBudgetBurn",
        "Upstream tables are not filled when they should be: materialisations come late, or do not come at all. Every slot of the schedule "
        "counts once, so a table that is filled for the whole night in the morning stays bad for the night.",
        "Features are computed from yesterday's facts. Windows shrink, ages grow, and drift alarms follow that have no other cause.",
        (
            Step(
                "Which table, and is it late or missing? Late: the job is slow. Missing: it does not run, or its source is empty.",
                ask=f'sum by (table, outcome) (increase({m.MATERIALISATIONS.name}{{{OF},outcome!="on_time"}}[1d]))',
            ),
            Step("Up to when is each table complete now?", ask=f"max by (table) ({m.TABLE_AGE.name}{{{OF}}})"),
            Step(
                "Do model servers read stale features already?",
                ask=f'sum by (feature_view, freshness) (increase({m.FEATURE_READS.name}{{{OF},freshness!="fresh"}}[1h]))',
            ),
            Step(
                "Did the feature job run and produce rows?",
                ask=f'sum by (outcome) (increase({m.STAGE_RUNS.name}{{{OF},stage="{m.STAGE_FEATURES}"}}[1d]))',
            ),
        ),
        (
            Step(
                "The job stopped or failed: start it again, and watch the age of its table fall.",
                ask=f"max by (table) ({m.TABLE_AGE.name}{{{OF}}})",
            ),
            Step(
                "The supplier is late: tell them, and stop rollouts meanwhile. On stale features a canary is judged wrongly.",
                run='obs rollout pause --env obs.yaml --reason "an upstream table is late"',
            ),
            Step("The schedule is not what was agreed: correct `every` and `by` in the collector's configuration."),
        ),
    ),
    Runbook(
        "ExpectationsBudgetBurn",
        "Live data break what was agreed about them: too many missing values, values of another type, out of range, or names that nobody "
        "knows. The agreement stands in a file that people edit; it is not a statistic.",
        "The model is fed broken values and answers all the same. Unlike drift this has a culprit, and usually a time at which it began.",
        (
            Step(
                "Which feature, and what about it?",
                ask=f"topk(10, sum by (revision, feature, expectation) (increase({_FAILED}[1h])))",
            ),
            Step(
                "One revision or all? One: its own preprocessing. All: the pipeline or a supplier.",
                ask=f"sum by (revision) (increase({_FAILED}[1h]))",
            ),
            Step("Is a table behind it late?", ask=f"max by (table) ({m.TABLE_AGE.name}{{{OF}}})"),
            Step(
                "Check a table of live rows, and read each agreement that is broken, with its numbers.",
                run="obs drift expect --expectations expectations.yaml --current live.parquet",
            ),
        ),
        (
            Step(
                "One revision is broken: roll it back.",
                run='obs rollout rollback --env obs.yaml --reason "it is fed broken features"',
            ),
            Step(
                "The source is broken: repair it, and confirm that checks are met again.",
                ask=f"sum by (outcome) (increase({m.EXPECTATION_CHECKS.name}{{{OF}}}[30m]))",
            ),
            Step(
                "The data are right and the agreement is old (a new channel, a new limit): write it anew, edit it, keep it with the model.",
                run="obs drift expectations --reference reference.bin --out expectations.yaml",
            ),
        ),
    ),
    Runbook(
        "SkewBudgetBurn",
        "The same feature of the same request has different values in two places: recomputed offline, read online, or fed to the model. "
        "`kind` names what was done to it: a unit, a default, an older value, a time zone, codes that changed places.",
        "The model is asked in another language than it was taught. No distribution need move for this, so drift may be silent; the "
        "answers are wrong from the first request on.",
        (
            Step(
                "Which feature, between which sides, and how? `online_input` is the server's code, `offline_online` the pipeline's.",
                ask=f'topk(10, sum by (revision, feature, between, kind) (increase({m.SKEW_PAIRS.name}{{{OF},kind!="equal"}}[1h])))',
            ),
            Step(
                "Which of them differ beyond what is tolerated?",
                ask=f"max by (revision, feature, between, kind) ({m.SKEW_NAMED.name}{{{OF}}} == 1)",
            ),
            Step(
                "Read the transformation in words, such as `online = offline x 100`.",
                run="obs drift skew --online skew --offline recomputed.parquet",
            ),
            Step(
                "Is the comparison itself complete? Requests of which only one side was seen prove nothing.",
                ask=f"sum by (side) (increase({m.SKEW_UNJOINED.name}{{{OF}}}[1h]))",
            ),
        ),
        (
            Step(
                "`online_input` on one revision: that revision's code is wrong. Roll it back.",
                run='obs rollout rollback --env obs.yaml --reason "it changes its features before the model sees them"',
            ),
            Step(
                "`stale` or `late_arrival`: the online store lags behind. Follow FreshnessBudgetBurn.",
                ask=f"max by (feature_view) ({m.FEATURE_AGE.name}{{{OF}}})",
            ),
            Step(
                "Anything else between offline and online: two pieces of code compute one feature. Correct the one that the model was not "
                "trained with, and confirm that new values are equal.",
                ask=f"sum by (feature, kind) (increase({m.SKEW_PAIRS.name}{{{OF}}}[30m]))",
            ),
            BUDGET,
        ),
    ),
)
