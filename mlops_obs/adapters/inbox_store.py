"""The on-call inbox's memory: one page per incident, on disk before it is acknowledged.

Alertmanager sends a notification again when an alert joins the incident, when it repeats, and when an answer was lost.
As PagerDuty does, all notifications of an open incident are one page; a new page comes only after the old one was resolved.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlops_obs.errors import StateError, UsageError
from mlops_obs.paging.page import incident_key, is_page, render_page

_KEEP = 1000


@dataclass(frozen=True)
class Page:
    """One incident as on-call sees it. Times are Unix seconds; `payload` and `text` are the notification that paged.

    `severity` is page, ticket or test; `status` is firing or resolved; `latest` is the newest notification.
    """

    number: int
    incident: str
    received_at: float
    severity: str
    status: str
    payload: Mapping[str, Any]
    text: str
    latest: Mapping[str, Any]
    updated_at: float
    notifications: int = 1


class InboxStore:
    """Pages in `directory`, one JSON file each, written whole or not at all.

    Args:
        directory: created if absent; pages found there are taken over.

    Raises:
        StateError: OBS-INBOX-002 if `directory` cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._pages = [Page(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(directory.glob("page-*.json"))]
        except (OSError, ValueError, TypeError) as error:
            raise StateError(
                "OBS-INBOX-002", f"the inbox cannot be read ({error})", where=str(directory), todo="choose another --dir"
            ) from error

    def pages(self) -> list[Page]:
        """Return all pages, oldest first."""
        with self._lock:
            return list(self._pages)

    def receive(self, payload: Mapping[str, Any], now: float) -> Page | None:
        """Take a notification in at Unix time `now`; return its page, or None for a resolution of nothing known.

        Raises:
            UsageError: OBS-INBOX-001 if `payload` is not an Alertmanager v4 webhook document.
            StateError: OBS-INBOX-002 if it cannot be stored; the sender should try again.
        """
        check(payload)
        incident = incident_key(payload)
        severity = _severity(payload)
        with self._lock:
            old = next((page for page in reversed(self._pages) if page.incident == incident and page.status == "firing"), None)
            if old is None and payload["status"] != "firing":
                return None
            if old is None:
                number = self._pages[-1].number + 1 if self._pages else 1
                page = Page(number, incident, now, severity, "firing", payload, render_page(payload), payload, now)
            else:
                page = replace(old, status=payload["status"], latest=payload, updated_at=now, notifications=old.notifications + 1)
                if severity == "page" and old.severity != "page":
                    # A ticket became a page: what wakes a person is the page, at the time it came.
                    page = replace(page, severity="page", received_at=now, payload=payload, text=render_page(payload))
            self._write(page)
            self._pages = [one for one in self._pages if one.number != page.number] + [page]
            self._pages.sort(key=lambda one: one.number)
            for forgotten in self._pages[:-_KEEP]:
                self._path(forgotten).unlink(missing_ok=True)
            self._pages = self._pages[-_KEEP:]
            return page

    def _path(self, page: Page) -> Path:
        return self._directory / f"page-{page.number:06d}.json"

    def _write(self, page: Page) -> None:
        path = self._path(page)
        draft = path.with_suffix(".tmp")
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(asdict(page), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            what = f"the page cannot be stored ({error.strerror})"
            raise StateError("OBS-INBOX-002", what, where=str(path), todo="free some space") from error


def check(payload: Any) -> None:
    """Refuse what is not an Alertmanager v4 webhook document.

    Raises:
        UsageError: OBS-INBOX-001.
    """
    try:
        usable = (
            payload["version"] == "4"
            and payload["status"] in {"firing", "resolved"}
            and isinstance(payload["groupKey"], str)
            and isinstance(payload["groupLabels"], dict)
            and bool(payload["alerts"])
            and all(isinstance(one["labels"], dict) and isinstance(one["annotations"], dict) for one in payload["alerts"])
        )
    except (KeyError, TypeError, IndexError):
        usable = False
    if not usable:
        todo = "send what Alertmanager's webhook_configs sends, version 4"
        raise UsageError("OBS-INBOX-001", "not an Alertmanager webhook document", where="POST /alerts", todo=todo)


def _severity(payload: Mapping[str, Any]) -> str:
    if is_page(payload):
        return "page"
    return "test" if any(one["labels"].get("test") for one in payload["alerts"]) else "ticket"
