"""Notices as alerts: to Alertmanager, which groups, routes and repeats them as it does with all others, or straight to what it would tell.

Two traps, both about time. An alert without an end ends after Alertmanager's `resolve_timeout`, which is shorter than tickets
wait for their group: it would never be told. And an end that is counted from the event is in the past when the pager was
down for an hour: Alertmanager takes it for resolved and tells nobody. So the end is counted from the delivery, and the
beginning from the event, which makes a second delivery the same alert.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from mlops_obs.adapters.alertmanager import post_alerts, post_webhook
from mlops_obs.metric_names import SERVICE
from mlops_obs.paging.rollout_notices import alert_of, notice_labels
from mlops_obs.rollout.ports import Notice
from mlops_obs.slo.annotations import dashboard_of

LASTS = 3600.0  # seconds for which the alert is shown; longer than any group waits, shorter than repeats
_BEFORE = 900.0  # seconds that the linked dashboard shows before the event
_PROOF = ("evidence", "test", "value", "bound", "unit")


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose alerts they are, by which routes are chosen, and the base addresses that they link to."""

    team: str
    dashboards: str = ""
    runbooks: str = ""

    def alert(self, notice: Notice) -> dict[str, Any] | None:
        """Return the labels, annotations and start of the alert that `notice` becomes; None if on-call need not learn of it."""
        kind = alert_of(notice.kind)
        if kind is None:
            return None
        board = f"{self.dashboards.rstrip('/')}/{dashboard_of(kind.name)}?var-service={quote(notice.service)}"
        annotations = {
            "summary": notice.title,
            "description": notice.text,
            "burn_rate": "no budget",
            "budget_left": "no budget",
            "revision": notice.labels.get("revision", ""),
            "action_taken": kind.done,
            "notice": notice.key,
            **{key: notice.labels.get(key, "") for key in _PROOF},
            "runbook_url": f"{self.runbooks.rstrip('/')}/{kind.name}" if self.runbooks else "",
            "dashboard_url": f"{board}&from={int((notice.at - _BEFORE) * 1000)}&to=now" if self.dashboards else "",
        }
        return {
            "labels": notice_labels(kind, notice.service, self.team, notice.labels),
            "annotations": {key: value for key, value in annotations.items() if value},
            "startsAt": _rfc3339(notice.at),
        }


class AlertmanagerNotifier:
    """Tells on-call by way of the Alertmanager at `url`; `clock` returns Unix seconds."""

    def __init__(self, url: str, sender: Sender, clock: Callable[[], float]) -> None:
        self._url, self._sender, self._clock = url, sender, clock

    def deliver(self, notice: Notice) -> None:
        """Post the alert of `notice`. Steps and promotions wake nobody and are not sent.

        Raises:
            TelemetryUnavailable: OBS-PAGE-002 if Alertmanager does not take it.
        """
        alert = self._sender.alert(notice)
        if alert is not None:
            post_alerts(self._url, [{**alert, "endsAt": _rfc3339(max(self._clock(), notice.at) + LASTS)}])


class PagerNotifier:
    """Tells a receiver of Alertmanager's webhook (v4 JSON) without an Alertmanager: the on-call inbox, a pager's own integration.

    Each notice is an incident of its own, by its key: a receiver that knows the incident pages nobody again.
    """

    def __init__(self, url: str, sender: Sender) -> None:
        self._url, self._sender = url, sender

    def deliver(self, notice: Notice) -> None:
        """Post the alert of `notice`; steps and promotions are not sent.

        Raises:
            TelemetryUnavailable: OBS-PAGE-002 if the receiver does not take it.
        """
        alert = self._sender.alert(notice)
        if alert is not None:
            post_webhook(self._url, _payload(alert, notice))


def _payload(alert: Mapping[str, Any], notice: Notice) -> dict[str, Any]:
    return {
        "version": "4",
        "groupKey": f"rollout:{notice.key}",
        "status": "firing",
        "receiver": "rollout",
        "groupLabels": {SERVICE: notice.service},
        "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"],
        "externalURL": "",
        "alerts": [{**alert, "status": "firing", "endsAt": "0001-01-01T00:00:00Z"}],
    }


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
