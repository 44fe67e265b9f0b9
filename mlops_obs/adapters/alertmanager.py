"""Sending a test page through the real route: Prometheus says which Alertmanager it uses, and that one is asked to page.

A test that posts to the webhook itself proves only that the webhook works; routes, grouping and receivers stay unproven.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.errors import PlatformError, TelemetryUnavailable

_TIMEOUT = 5.0


def alertmanager_of(prometheus_url: str) -> str:
    """Return the base URL of the Alertmanager that Prometheus sends to.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if Prometheus does not answer.
        PlatformError: OBS-PAGE-003 if it sends to none.
    """
    answer = _call(f"{prometheus_url.rstrip('/')}/api/v1/alertmanagers")
    active = answer.get("data", {}).get("activeAlertmanagers", []) if isinstance(answer, dict) else []
    if not active:
        raise PlatformError(
            "OBS-PAGE-003", "Prometheus sends alerts to no Alertmanager", todo="check its alerting section", where=prometheus_url
        )
    return str(active[0]["url"]).split("/api/", 1)[0]


def send_alert(alertmanager_url: str, labels: Mapping[str, str], annotations: Mapping[str, str], now: datetime, lasts: timedelta) -> None:
    """Fire an alert that ends by itself after `lasts`.

    Raises:
        TelemetryUnavailable: OBS-PAGE-002 if Alertmanager does not take it.
    """
    body = [
        {
            "labels": dict(labels),
            "annotations": dict(annotations),
            "startsAt": now.astimezone(UTC).isoformat(),
            "endsAt": (now + lasts).astimezone(UTC).isoformat(),
        }
    ]
    _call(f"{alertmanager_url.rstrip('/')}/api/v2/alerts", body)


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
