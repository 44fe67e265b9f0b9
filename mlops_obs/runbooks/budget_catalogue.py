"""Runbooks of the other error budgets: model quality, training time, probes, ratios, chains, and of a budget that runs low.

Same rules as in `catalogue`. The trap of these kinds is that the page comes from something that no request shows: labels
that arrive a day late, GPU hours that nobody used, one stage of three. So each begins with where the events are counted.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.steps import BURN, LEFT, OF, STATUS, TARGETS, Runbook, Step

_OF_SLO = f'{OF},slo="SLO"'
_BAD_5M, _TOTAL_5M, _RATIO_1H = (
    m.SLO_BAD.format(window="5m"),
    m.SLO_TOTAL.format(window="5m"),
    m.SLO_ERROR_RATIO.format(window="1h"),
)

BUDGET_RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "QualityBudgetBurn",
        "Of the predictions whose true outcome is known by now, too many were wrong. Only mature cohorts count: those whose labels "
        "have had the time that the SLO gives them. The page is about predictions of that long ago, not of this minute.",
        "Decisions are made on wrong answers. Nothing fails and nothing is slow, and what was decided since is wrong at the same rate.",
        (
            Step(
                "Which cohorts are bad, and of which revision? One bad hour is an incident in the data; all since a date is a revision.",
                ask=f"topk(10, max by (revision, cohort) ({m.QUALITY_BAD.name}{{{OF}}}) "
                f"/ (max by (revision, cohort) ({m.QUALITY_EVENTS.name}{{{OF}}}) > 0))",
            ),
            Step(
                "Are the labels right? A join that lost a column makes every prediction wrong at once; the number of labels "
                "then jumps or falls.",
                ask=f"sum by (revision) ({m.QUALITY_EVENTS.name}{{{OF}}})",
            ),
            Step("Did the inputs move before the answers did?", ask=f"topk(5, max by (revision, feature) ({m.DRIFT_PSI.name}{{{OF}}}))"),
            Step(
                "Were features stale when these predictions were made?",
                ask=f"sum by (feature_view, freshness) (increase({m.FEATURE_READS.name}{{{OF}}}[1d]))",
            ),
            Step("Which revision was shipped when?", run="obs rollout history --env obs.yaml --all"),
        ),
        (
            Step(
                "One revision is bad, and the one before it was not: roll it back. Also after it was promoted.",
                run='obs rollout rollback --env obs.yaml --reason "its predictions turned out wrong"',
            ),
            Step(
                "The labels were wrong: repair the join. Late labels re-credit the cohorts they belong to, so the budget comes back "
                "by itself; confirm it.",
                ask=f"{m.SLO_BUDGET_REMAINING}{{{_OF_SLO}}}",
            ),
            Step(
                "All revisions are bad: the world changed. Train on newer data, ship it as any revision.",
                run="obs rollout start --env obs.yaml -f rollout.yaml",
            ),
        ),
    ),
    Runbook(
        "TrainingBudgetBurn",
        "Of the time that training holds its machines, too much is not spent on compute and optimizer steps: it waits for data, writes "
        "checkpoints, or starts again after a lost worker.",
        "GPU hours are paid for and not used, and the next revision comes later. No caller notices.",
        (
            Step(
                "Where does the time go?",
                ask=f"topk(5, sum by (revision, phase) (rate({m.TRAINING_TIME.name}{{{OF}}}[30m])))",
            ),
            Step("Does it start again and again?", ask=f"sum by (revision) (increase({m.TRAINING_RESTARTS.name}{{{OF}}}[6h]))"),
            Step("Waiting for data: are the GPUs idle meanwhile?", ask=f"avg by (gpu) ({m.GPU_UTILIZATION.name})"),
            Step("Is a GPU lost?", ask=f'{m.GPU_COUNT.name}{{state="lost"}} > 0'),
            Step(
                "Does it still learn? A loss that is not a number trains nothing.",
                ask=f"sum by (revision) (increase({m.TRAINING_NONFINITE.name}{{{OF}}}[1h]))",
            ),
        ),
        (
            Step(
                "It waits for data: give the loader more workers, or materialise the features first. Watch the share of waiting fall.",
                ask=f'sum by (revision) (rate({m.TRAINING_TIME.name}{{{OF},phase="data_wait"}}[10m]))',
            ),
            Step(
                "It restarts: drain the node whose worker is lost; training goes on from its newest checkpoint. See how old that is.",
                ask=f"time() - max by (revision) ({m.TRAINING_CHECKPOINT_TIME.name}{{{OF}}})",
            ),
            Step(
                "It will not get better before the run ends: stop the job. A checkpoint is kept.",
                ask=f"sum by (revision) (increase({m.TRAINING_STEPS.name}{{{OF}}}[30m]))",
            ),
        ),
    ),
    Runbook(
        "BooleanBudgetBurn",
        "A yes-or-no measurement (a probe, a health check, a job's success) says no too often for its objective.",
        "What the measurement stands for does not work for part of the time: the description of the SLO says what that is.",
        (
            BURN,
            Step("Is it on and off, or off?", ask=f"{_RATIO_1H}{{{_OF_SLO}}}"),
            TARGETS,
            Step("What does the objective promise, and which series is it?", run="obs page explain BooleanBudgetBurn"),
        ),
        (
            Step("The thing measured is down: start it again; confirm that samples are good.", ask=f"{_BAD_5M}{{{_OF_SLO}}}"),
            Step(
                "The prober is wrong (its certificate, its address, its network): repair it. What it counted stays counted.", ask="up == 0"
            ),
            LEFT,
        ),
    ),
    Runbook(
        "RatioBudgetBurn",
        "The share of bad events that the SLO's own expression computes is too high for its objective.",
        "The description of the SLO says who is hurt; its expression says what is counted.",
        (
            BURN,
            Step("How many events are bad now, of how many? Few events: look at them one by one.", ask=f"{_BAD_5M}{{{_OF_SLO}}}"),
            Step("Is the total what you expect? A total that collapses makes a ratio look bad.", ask=f"{_TOTAL_5M}{{{_OF_SLO}}}"),
            Step("Read the expression that counts them.", run="obs page explain RatioBudgetBurn"),
            STATUS,
        ),
        (
            Step(
                "A rollout is under way and began before the burn: stop it where it is.",
                run='obs rollout pause --env obs.yaml --reason "looking"',
            ),
            Step(
                "The expression counts what hurts nobody: correct the SLO, and prove that its alerts can fire.", run="obs slo validate slo/"
            ),
            LEFT,
        ),
    ),
    Runbook(
        "CompositeBudgetBurn",
        "The chain as a whole loses too many events: each was bad at one stage at least. When a stage upstream burns by itself, this alert "
        "is silent and that stage's page comes instead. So if you read this, no single stage is over its own limit, or its page is muted.",
        "The user of the last stage sees the sum of all stages' faults, which may each be small.",
        (
            Step("Which stage burns most?", ask=f"sort_desc({m.SLO_BURN_RATE}{{{OF}}})"),
            Step("Whose budget is lowest?", run="obs slo status --env obs.yaml"),
            Step("Are the stages' own alerts firing, and silenced?", ask=f'ALERTS{{{OF},alertstate="firing"}}'),
            Step("Which stages is it made of, and in which order?", run="obs page explain CompositeBudgetBurn"),
        ),
        (
            Step(
                "One stage stands out: follow the runbook of that stage's alert; the chain recovers with it.",
                ask=f"{m.SLO_BURN_RATE}{{{_OF_SLO}}}",
            ),
            Step(
                "Many stages are a little bad: the objectives of the stages together allow more than the chain promises. Nothing is broken "
                "tonight. Stop rollouts, and tighten a stage in daylight.",
                run='obs rollout pause --env obs.yaml --reason "the chain is over its budget"',
            ),
            LEFT,
        ),
    ),
    Runbook(
        "ErrorBudgetLow",
        "A step of the budget policy is reached: less of the period's error budget is left than the team agreed on. `warn` only "
        "tells. `freeze` also holds rollouts where they are. `rollback` also turns back a canary whose own requests burn the budget.",
        "Nobody is hurt by this alert itself. From here on the objective is likely to be missed, and with `freeze` no revision "
        "reaches its users.",
        (
            LEFT,
            BURN,
            Step("On what was it spent? The report names the incidents, each with its share.", run="obs slo report --env obs.yaml"),
            Step("Is a rollout held by it?", ask=f"{m.ROLLOUT_POLICY.name}{{{OF}}}"),
            STATUS,
        ),
        (
            Step(
                "It still burns: that comes first. Follow the runbook of the burn alert; the budget recovers as the bad time leaves "
                "the period.",
                ask=f"{m.SLO_BURN_RATE}{{{_OF_SLO}}}",
            ),
            Step(
                "The revision that waits is the fix: let it pass to the next step on your word. Evidence still rolls it back "
                "if it is worse.",
                run='obs rollout promote --env obs.yaml --reason "repairs what spent the budget"',
            ),
            Step(
                "It was one incident and is over: do nothing. A freeze ends by itself when enough of the budget is back; see how "
                "much there is.",
                run="obs slo status --env obs.yaml",
            ),
            Step(
                "Nobody means to keep this promise: lower the objective, and say so to those who rely on it.", run="obs slo validate slo/"
            ),
        ),
    ),
)
