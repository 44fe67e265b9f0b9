"""Runbooks of what the rollout controller says itself: a revision was rolled back, it cannot see, or it cannot act.

The first two are tickets. The trap of the third, which pages: the controller is already doing the right thing as fast as it may,
so the reader must help it (the platform, the way back), not do the same by hand beside it.
"""

from __future__ import annotations

from mlops_obs import metric_names as m
from mlops_obs.runbooks.steps import BUDGET, HISTORY, INGRESS, OF, TARGETS, Runbook, Step

_STATUS = Step("Read what was decided, on which numbers, and what the target holds now.", run="obs rollout status --env obs.yaml")
_BY_REVISION = f"sum by (revision, outcome) (rate({m.REQUESTS.name}{{{INGRESS}}}[5m]))"

ROLLOUT_RUNBOOKS: tuple[Runbook, ...] = (
    Runbook(
        "RolloutRolledBack",
        "All traffic goes back to the old revision. Mostly the new one was proven worse, at the error rate that its spec allows; else a "
        "gate, an error budget or the deadline asked for it, as the spec says, or a person. If it cannot be done, RolloutStuck pages.",
        "A small share of the requests was answered badly for some seconds or minutes. The new revision is not in service. Git and "
        "the rollout's spec still name it, so whoever applies them again ships it again.",
        (
            _STATUS,
            HISTORY,
            Step("Do both revisions answer well now? The one that was rolled back should get nothing.", ask=_BY_REVISION),
            BUDGET,
        ),
        (
            Step("Put the stable revision back into Git, so that the next sync does not ship the bad one again."),
            Step("Read the reason above, repair the revision, and ship it under a new name.", run="obs rollout start -f rollout.yaml"),
            Step(
                "The evidence log is the proof of why. If it says something that is not true of the revision (a broken store that only "
                "the canary read), repair that, then try again. Without your reason a package with the same digest is refused.",
                run='obs rollout retry --env obs.yaml --reason "the store is repaired"',
            ),
        ),
    ),
    Runbook(
        "RolloutTelemetryLost",
        "For minutes a rollout has not been able to see: its counters are missing, stale, not numbers, or the requests do not arrive "
        "in the shares that were set. It holds. It neither raises traffic nor rolls back, because ignorance is no evidence.",
        "The canary keeps the share that it had when it last was sound. If it is bad, nobody notices until the metrics are back.",
        (
            Step("Read which metric, of which revision, is not to be trusted.", run="obs rollout status --env obs.yaml"),
            TARGETS,
            Step("Are both revisions counted, and in the shares that the status names?", ask=_BY_REVISION),
            Step("What share was declared?", ask=f"{m.ROLLOUT_WEIGHT.name}{{{OF}}}"),
        ),
        (
            Step("Metrics are away: repair them (see TelemetryAbsent). The rollout goes on by itself.", ask="up == 0"),
            Step(
                "The shares are wrong: look at the route itself (HTTPRoute, ingress, sticky sessions), not at the service's status, "
                "which may repeat what was asked for.",
                ask=f"sum by (revision) (rate({m.REQUESTS.name}{{{INGRESS}}}[5m]))",
            ),
            Step(
                "It will take long, and the canary has traffic that nobody watches: give it back.",
                run='obs rollout abort --env obs.yaml --reason "we cannot see"',
            ),
        ),
    ),
    Runbook(
        "RolloutStuck",
        "The controller has decided and cannot act: the platform refuses or does not answer, or the old revision that it would go back "
        "to is gone. It keeps trying, more slowly each time, and holds traffic where it is meanwhile.",
        "If the decision was a rollback, a revision that was proven bad still answers requests. That is why this pages.",
        (
            Step("Read what it wants to do and what the platform said.", run="obs rollout status --env obs.yaml"),
            Step("Is the bad revision still getting requests?", ask=_BY_REVISION),
            HISTORY,
            Step("Does the platform itself answer? Ask it with its own tool: `ray status`, `kubectl get` with the names in the reason."),
        ),
        (
            Step(
                "The platform is away or full: repair it. The controller tries again by itself, within a minute.",
                run="obs rollout status --env obs.yaml",
            ),
            Step(
                "Something refuses the change (a webhook, a policy, a quota): lift it, or give the traffic back with the platform's own "
                "tool. The controller sees that and records it."
            ),
            Step(
                "The old revision is gone: do not end the rollout. Deploy the old package again under its old name; then all traffic "
                "can return.",
                run='obs rollout rollback --env obs.yaml --reason "the way back is there again"',
            ),
            Step(
                "No controller is running: start one; it takes up where the last one stopped.", run="obs rollout controller --env obs.yaml"
            ),
        ),
    ),
)
