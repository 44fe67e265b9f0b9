"""Runbooks of what a rollout cannot rely on: its evidence, the split of its traffic, its way back, those it should tell.

All are tickets, because the controller holds by itself. The trap for the reader is to make the symptom go away: promoting by
hand past missing evidence ships a revision that nobody has seen.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.steps import HISTORY, INGRESS, OF, TARGETS, Runbook, Step

_STATUS = Step("Read the reason, in words: which metric of which revision or process.", run="obs rollout status --env obs.yaml")
_ABORT = Step(
    "It will take long: give the canary's share back until it is repaired.", run='obs rollout abort --env obs.yaml --reason "not trusted"'
)

TRUST_RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "RolloutBlind",
        "For five minutes a rollout has had no evidence that it can trust: Prometheus does not answer in full, counters are stale, missing "
        "or no numbers, a process is listed and not scraped, or canary and stable are not split as declared. It holds.",
        "The canary keeps the share that it had. If it is bad, nobody sees it until the metrics are back; users of that share are not "
        "protected.",
        (
            _STATUS,
            TARGETS,
            Step(
                "Are both revisions counted, and does each process have a sample from the last minute?",
                ask=f"count by (revision, instance) (rate({m.REQUESTS.name}{{{INGRESS}}}[1m]))",
            ),
            Step(
                "Has a histogram lost its bounds? Every process must have as many as the others.",
                ask=f"count by (revision, instance) ({m.REQUEST_DURATION.name}_bucket{{{INGRESS}}})",
            ),
            Step(
                "Do the clocks agree? This is the seconds by which the newest sample is old.",
                ask=f"time() - max(timestamp({m.REQUESTS.name}{{{INGRESS}}}))",
            ),
        ),
        (
            Step(
                "Prometheus or a scrape is away: repair it, see TelemetryAbsent and InstrumentationDown. The rollout goes on by itself.",
                ask="up == 0",
            ),
            Step(
                "Samples come more rarely than the rollout's slices: end it, and start it again with a wider `slice` and `stale_after`.",
                run='obs rollout abort --env obs.yaml --reason "slices are narrower than scrapes"',
            ),
            _ABORT,
        ),
    ),
    Runbook(
        "RolloutTrafficMismatch",
        "The requests that arrive are not split between canary and stable as the target says it splits them. A sequential test says so "
        "with at most one false alarm in a hundred rollouts.",
        "Canary and stable no longer see the same kind of requests, so their comparison proves nothing; more users than declared may be "
        "on the canary. The rollout holds.",
        (
            _STATUS,
            Step("What share was declared, and what arrives?", ask=f"max by (revision) ({m.ROLLOUT_WEIGHT.name}{{{OF}}})"),
            Step(
                "Requests by revision and stage: sticky sessions drift slowly, a route that was never made gives the canary nothing.",
                ask=f"sum by (stage, revision) (rate({m.REQUESTS.name}{{{OF}}}[5m]))",
            ),
            HISTORY,
        ),
        (
            Step(
                "Look at the route itself (HTTPRoute, VirtualService, ingress), not at the service's status: that repeats what was asked."
            ),
            Step(
                "Callers reach pods directly, or sessions stick to a revision: send them through the split. Confirm that the observed "
                "share comes back to the declared one.",
                ask=f"max by (revision) ({m.ROLLOUT_OBSERVED_SHARE.name}{{{OF}}})",
            ),
            _ABORT,
        ),
    ),
    Runbook(
        "RolloutWayBackLost",
        "While a rollout runs, the old revision could not take all traffic back: it is gone, not ready, its package cannot be fetched, or "
        "there is no room for its replicas. The rollout goes no further.",
        "Nobody is hurt yet. If the canary turns out bad now, its users stay on it until the old revision can serve again.",
        (
            _STATUS,
            Step(
                "Since when, and how long would the way back have taken?",
                ask=f"max by (stable, canary) ({m.ROLLOUT_WAY_BACK_TIME.name}{{{OF}}})",
            ),
            HISTORY,
        ),
        (
            Step(
                "The old revision was removed or scaled down (an autoscaler, a clean-up, GitOps): bring it back under its name. Confirm.",
                ask=f"max by (stable, canary) ({m.ROLLOUT_WAY_BACK.name}{{{OF}}})",
            ),
            Step("There is no room (GPUs, quota): free some, or lower the replicas of what can wait."),
            Step(
                "You trust the canary and need no way back: give it all the traffic on your word, which is recorded with your name.",
                run='obs rollout promote --full --env obs.yaml --reason "no way back needed"',
            ),
        ),
    ),
    Runbook(
        "RolloutNoticeUndelivered",
        "The controller has something to say (a rollback, lost telemetry, a step) and the pager, webhook or Grafana does not take it. It "
        "acts all the same, and delivers the notice once, with the same key, when it is taken again.",
        "People do not learn what the controller does. Traffic is as safe as before.",
        (
            _STATUS,
            HISTORY,
            Step("How many notices wait?", ask=f"max by (canary) ({m.ROLLOUT_NOTICES_WAITING.name}{{{OF}}})"),
        ),
        (
            Step(
                "Repair the receiver whose address is under `notify:` in obs.yaml: is it up, is its token still valid? Confirm that none "
                "waits.",
                ask=f"max by (canary) ({m.ROLLOUT_NOTICES_WAITING.name}{{{OF}}})",
            ),
            Step(
                "Nobody is to be told any more: remove it from `notify:` and start the controller again.",
                run="obs rollout controller --env obs.yaml",
            ),
        ),
    ),
)
