"""Push dashboards and annotations to a Grafana. Idempotent: what already is there in the same words is left alone.

The trap is Grafana's own bookkeeping: it answers with an id, a version and filled-in defaults, so a plain comparison always
differs and every push would make a new version. Only the keys that we send are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from mlops_obs.errors import PlatformError, UsageError

FOLDER = ("mlops-obs", "mlops-obs")  # uid, title
Outcome = Literal["created", "updated", "unchanged"]


class Grafana:
    """A Grafana at `url`, spoken to with a service account token that may write dashboards. `timeout` in seconds."""

    def __init__(self, url: str, token: str, timeout: float = 10.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UsageError("OBS-GRAF-001", f"{url!r} is not an http address", todo="write for example https://grafana.example")
        try:
            import grafana_client
        except ImportError as error:
            raise PlatformError("OBS-GRAF-002", "the Grafana client is not installed", todo="pip install 'mlops-obs[grafana]'") from error
        self._url = url
        self._api = grafana_client.GrafanaApi.from_url(url=url, credential=grafana_client.TokenAuth(token), timeout=timeout)

    def push(self, dashboard: Mapping[str, Any], *, dry_run: bool = False) -> Outcome:
        """Create or replace one dashboard by its uid, and say what was done or, with `dry_run`, what would be.

        Raises:
            PlatformError: OBS-GRAF-003 if Grafana refuses or does not answer.
        """
        present = self._present(str(dashboard["uid"]))
        if present is not None and _covers(present, dashboard):
            return "unchanged"
        if not dry_run:
            self._ensure_folder()
            body = {"dashboard": {**dashboard, "id": None}, "folderUid": FOLDER[0], "overwrite": True, "message": "obs dashboards push"}
            self._call(lambda: self._api.dashboard.update_dashboard(body))
        return "created" if present is None else "updated"

    def annotate(self, text: str, tags: Sequence[str], at: float, *, key: str) -> Outcome:
        """Write an annotation at `at` (Unix seconds) for all dashboards, unless one with the tag `key` is there.

        Raises:
            PlatformError: OBS-GRAF-003 if Grafana refuses or does not answer.
        """
        if self._call(lambda: self._api.annotations.get_annotation(tags=[key], limit=1)):
            return "unchanged"
        self._call(lambda: self._api.annotations.add_annotation(time_from=round(at * 1000), tags=[*tags, key], text=text))
        return "created"

    def _present(self, uid: str) -> Mapping[str, Any] | None:
        answer = self._call(lambda: self._api.dashboard.get_dashboard(uid), missing_is_none=True)
        return None if answer is None else dict(answer["dashboard"])

    def _ensure_folder(self) -> None:
        if self._call(lambda: self._api.folder.get_folder(FOLDER[0]), missing_is_none=True) is None:
            self._call(lambda: self._api.folder.create_folder(title=FOLDER[1], uid=FOLDER[0]))

    def _call(self, call: Any, *, missing_is_none: bool = False) -> Any:
        from grafana_client.client import GrafanaClientError, GrafanaException

        try:
            return call()
        except GrafanaClientError as error:
            if missing_is_none and error.status_code == 404:
                return None
            todo = "give a token of a service account with the role Editor" if error.status_code in (401, 403) else "see Grafana's log"
            raise PlatformError("OBS-GRAF-003", f"Grafana answered {error.status_code}", where=self._url, todo=todo) from error
        except (GrafanaException, OSError, json.JSONDecodeError) as error:
            what = f"Grafana does not answer ({type(error).__name__})"
            raise PlatformError("OBS-GRAF-003", what, where=self._url, todo="check the address") from error


def _covers(present: Any, wanted: Any) -> bool:
    """Whether everything in `wanted` is in `present` with the same value; what Grafana added does not count."""
    if isinstance(wanted, Mapping):
        return isinstance(present, Mapping) and all(_covers(present.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(present, list) and len(present) == len(wanted) and all(map(_covers, present, wanted))
    return bool(present == wanted)
