"""Sending a test page through the real route: Prometheus says which Alertmanager it uses, and that one is asked to page.

A test that posts to the webhook itself proves only that the webhook works; routes, grouping and receivers stay unproven.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.errors import PlatformError, TelemetryUnavailable

_TIMEOUT = 5.0
_POLL = 0.1


def alertmanager_of(prometheus_url: str) -> str:
    """Return the base URL of the Alertmanager that Prometheus sends to.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if Prometheus does not answer.
        PlatformError: OBS-PAGE-003 if it sends to none.
    """
    answer = _call(f"{prometheus_url.rstrip('/')}/api/v1/alertmanagers")
    data = answer.get("data") if isinstance(answer, dict) else None
    active = data.get("activeAlertmanagers") if isinstance(data, dict) else None
    if not isinstance(active, list) or not active or not isinstance(active[0], dict):
        raise PlatformError(
            "OBS-PAGE-003", "Prometheus sends alerts to no Alertmanager", todo="check its alerting section", where=prometheus_url
        )
    return str(active[0].get("url", "")).split("/api/", 1)[0]


def send_alert(alertmanager_url: str, labels: Mapping[str, str], annotations: Mapping[str, str], now: datetime, lasts: timedelta) -> None:
    """Fire an alert that ends by itself after `lasts`.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if Alertmanager does not take it.
    """
    alert = {
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": now.astimezone(UTC).isoformat(),
        "endsAt": (now + lasts).astimezone(UTC).isoformat(),
    }
    post_alerts(alertmanager_url, [alert])


def post_alerts(alertmanager_url: str, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Hand `alerts` (labels, and if wanted annotations, startsAt, endsAt) to Alertmanager.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if Alertmanager does not take them.
    """
    _call(f"{alertmanager_url.rstrip('/')}/api/v2/alerts", list(alerts))


def alerts_of(alertmanager_url: str, **labels: str) -> list[dict[str, Any]]:
    """Return the alerts with `labels` that Alertmanager knows: labels, `receivers`, and `status.inhibitedBy`.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if it does not answer.
    """
    wanted = urlencode([("filter", f"{key}={json.dumps(value)}") for key, value in labels.items()])
    answer = _call(f"{alertmanager_url.rstrip('/')}/api/v2/alerts{'?' if wanted else ''}{wanted}")
    return [one for one in answer if isinstance(one, dict)] if isinstance(answer, list) else []


def receivers_of(alertmanager_url: str, labels: Mapping[str, str], *, patience: float = 5.0) -> list[str]:
    """Return the receivers that the running Alertmanager chose for the alert with `labels`; empty if it does not show it in time.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if it does not answer.
    """
    deadline = time.monotonic() + patience
    while True:
        found = [one for one in alerts_of(alertmanager_url, **labels) if one.get("labels") == dict(labels)]
        if found or time.monotonic() >= deadline:
            return sorted(str(to.get("name", "")) for one in found for to in one.get("receivers", []))
        time.sleep(_POLL)


def post_webhook(url: str, payload: Mapping[str, Any]) -> None:
    """Post an Alertmanager v4 payload to a webhook receiver.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if it does not take it.
    """
    _call(url, payload)


def _call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = fetch(url, timeout=_TIMEOUT, body=data, headers={"Content-Type": "application/json"})
    except Unreachable as error:
        raise TelemetryUnavailable("OBS-PAGE-002", f"does not answer: {error}", todo="check that it runs", where=url) from error
    if answer.status // 100 != 2:
        said = " ".join(answer.body[:200].decode("utf-8", "replace").split())
        raise TelemetryUnavailable("OBS-PAGE-002", f"refused: HTTP {answer.status} {said}".rstrip(), todo="read its log", where=url)
    try:
        return answer.json()
    except ValueError:
        return {}  # Alertmanager answers a delivery with nothing
