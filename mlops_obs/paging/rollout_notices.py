"""What a rollout tells people, as alerts: their names, whether they wake anybody, and what they mean.

They come from the controller, not from a rule: a rollback is an event, and no series is above a threshold. A rollback is a
ticket, because the traffic is already safe and the page of the SLO that burned says so; what wakes somebody is a canary that
was proven bad and cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlops_obs.metric_names import REVISION, SERVICE, SEVERITY, SLO, TEAM, TIER

ROLLOUT_SLO = "rollout"  # value of the label `slo`: these alerts are about no objective


@dataclass(frozen=True, slots=True)
class NoticeAlert:
    """The alert that a kind of notice becomes; `done` is the page's line about what was done."""

    kind: str
    name: str
    severity: str
    meaning: str
    done: str


NOTICE_ALERTS = (
    NoticeAlert(
        "rollback",
        "RolloutRolledBack",
        "ticket",
        "a revision was proven worse than the one it should replace, and its traffic was given back.",
        "rolled back",
    ),
    NoticeAlert(
        "telemetry",
        "RolloutTelemetryLost",
        "ticket",
        "a rollout cannot see: its metrics or its routing cannot be trusted, so traffic neither rises nor is rolled back.",
        "held",
    ),
    NoticeAlert(
        "stuck",
        "RolloutStuck",
        "page",
        "a rollout cannot do what it has decided, or the way back to the old revision is gone; the controller keeps trying.",
        "none yet; the controller keeps trying",
    ),
)
_BY_KIND = {one.kind: one for one in NOTICE_ALERTS}
QUIET = frozenset({"step", "promoted"})  # told to dashboards and webhooks, never to on-call
# Nothing bad is being served: the rollout holds until somebody looks in the morning.
_CAN_WAIT = frozenset({"way-back", "fight"})
_LABELS = (REVISION, "rollout", "stable", "cause")


def alert_of(kind: str) -> NoticeAlert | None:
    """Return the alert of a kind of notice, None if on-call need not learn of it; a kind that is not known is told as stuck."""
    return None if kind in QUIET else _BY_KIND.get(kind, _BY_KIND["stuck"])


def notice_labels(alert: NoticeAlert, service: str, team: str, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of the alert: the same for the same notice, so that a second delivery is no second page.

    The cause is one of them: a canary that cannot be taken back is other news than a way back that was lost before.
    """
    severity = "ticket" if labels.get("cause") in _CAN_WAIT else alert.severity
    return {
        **{key: labels[key] for key in _LABELS if labels.get(key)},
        "alertname": alert.name,
        SERVICE: service,
        SLO: ROLLOUT_SLO,
        TEAM: team,
        SEVERITY: severity,
        TIER: f"{severity}-quick",
    }
