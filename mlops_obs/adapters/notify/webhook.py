"""Notices as JSON to any address, with an `Idempotency-Key`: a receiver that keeps keys tells nobody twice.

The trap is the address: those of chat rooms and functions hold a secret, so no message shows more of it than the host.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.errors import PlatformError, UsageError
from mlops_obs.rollout.ports import Notice

_TIMEOUT = 5.0


class WebhookNotifier:
    """Posts every notice to `url`; `token` is sent as a bearer token.

    Raises:
        UsageError: OBS-NTFY-001 if `url` is not http(s).
    """

    def __init__(self, url: str, token: str = "") -> None:
        place = urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise UsageError(
                "OBS-NTFY-001", "the webhook is not an http(s) address", todo="write for example https://hooks.example/rollouts"
            )
        self._url, self._host = url, f"{place.scheme}://{place.hostname}"
        self._auth = {"Authorization": f"Bearer {token}"} if token else {}

    def deliver(self, notice: Notice) -> None:
        """Post `notice`.

        Raises:
            PlatformError: OBS-NTFY-002 if the receiver does not take it.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": notice.key, **self._auth}
        try:
            answer = fetch(self._url, timeout=_TIMEOUT, body=json.dumps(as_json(notice)).encode(), headers=headers)
        except Unreachable as error:
            raise PlatformError(
                "OBS-NTFY-002", f"the webhook does not answer: {error}", where=self._host, todo="check that it runs"
            ) from error
        if answer.status // 100 != 2:
            todo = "check its address and token" if answer.status in (401, 403, 404) else "read its log"
            raise PlatformError("OBS-NTFY-002", f"the webhook refused: HTTP {answer.status}", where=self._host, todo=todo)


def as_json(notice: Notice) -> dict[str, object]:
    """Return what is posted: key, kind, service, at (Unix seconds), title, text, labels."""
    return {
        "key": notice.key,
        "kind": notice.kind,
        "service": notice.service,
        "at": notice.at,
        "title": notice.title,
        "text": notice.text,
        "labels": dict(notice.labels),
    }
