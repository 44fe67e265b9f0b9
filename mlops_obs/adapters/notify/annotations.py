"""Notices as annotations in Grafana, so that every step and rollback stands in the charts where it happened.

The trap: Grafana has no key that makes a second one the same. So the notice's key is a tag, and it is looked for first.
"""

from __future__ import annotations

import hashlib

from mlops_obs.adapters.grafana import Grafana
from mlops_obs.rollout.ports import Notice


class GrafanaAnnotations:
    """Writes annotations with the tags `rollout`, the kind, `service:...` and `revision:...`, for all dashboards that ask for them."""

    def __init__(self, grafana: Grafana) -> None:
        self._grafana = grafana

    def deliver(self, notice: Notice) -> None:
        """Write the annotation of `notice` unless it is there.

        Raises:
            PlatformError: OBS-GRAF-003 if Grafana refuses or does not answer.
        """
        revision = notice.labels.get("revision", "")
        tags = ["mlops-obs", "rollout", notice.kind, f"service:{notice.service}", *([f"revision:{revision}"] if revision else [])]
        text = f"{notice.title}\n{notice.text}" if notice.text and notice.text != notice.title else notice.title
        self._grafana.annotate(text, tags, notice.at, key=key_tag(notice.key))


def key_tag(key: str) -> str:
    """Return the tag that identifies a notice; Grafana allows 100 characters, and addresses not all of them."""
    return f"key-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
