"""Alerts to incidents, as Alertmanager does it: group, wait, inhibit, notify on change, resolve.

Pure: state and *now* in, state and payload out, so that an incident survives a restart of the engine and a dead webhook.
It is level-triggered: what is due is computed from what fires now and what was last *delivered*, never from a queue,
so a webhook that was away gets one notification with the newest truth. As in Alertmanager, an incident that nobody was ever
told of and that is over, is dropped. Routes, grouping and inhibition are those of `mlops_obs.paging.plan`, as in the generated
configuration of Alertmanager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from mlops_obs.paging.plan import STANDARD, Plan

_NEVER = "0001-01-01T00:00:00Z"


class Firing(Protocol):
    """What an evaluator says fires now; `labels` need not repeat the name."""

    @property
    def name(self) -> str:
        """Alert name."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Identity of the alert."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """What a person reads; may change while the alert fires."""


@dataclass(frozen=True)
class Timing:
    """Alertmanager's delays, in seconds.

    Tickets wait longer than pages, so that a page can inhibit them first; so do pages of services with something upstream.
    """

    group_wait: float = 10.0
    ticket_group_wait: float = 300.0
    group_interval: float = 60.0
    repeat_interval: float = 4 * 3600.0
    downstream_group_wait: float = 60.0


@dataclass(frozen=True)
class Alert:
    """An alert of a group; `ended` is None while it fires (Unix seconds)."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started: float
    ended: float | None = None


@dataclass(frozen=True)
class Group:
    """An incident: alerts by fingerprint, and what the receiver was last told."""

    key: str
    receiver: str
    labels: Mapping[str, str]
    born: float
    alerts: Mapping[str, Alert]
    told: tuple[str, ...] = ()
    told_at: float | None = None
    wait: str = "group_wait"  # which of the delays comes before the first notification

    @property
    def firing(self) -> tuple[str, ...]:
        """Fingerprints of the alerts that fire now, sorted."""
        return tuple(sorted(mark for mark, alert in self.alerts.items() if alert.ended is None))


Groups = Mapping[str, Group]


def fold(groups: Groups, firing: Iterable[Firing], now: float, plan: Plan = STANDARD) -> dict[str, Group]:
    """Return the groups after an evaluation that found exactly `firing`, routed, grouped and inhibited as `plan` says."""
    found = {fingerprint(labels): (labels, dict(one.annotations)) for one in firing for labels in [{**one.labels, "alertname": one.name}]}
    silent = plan.muted([labels for labels, _ in found.values()])
    muted = {mark for mark, is_silent in zip(found, silent, strict=True) if is_silent}
    out: dict[str, Group] = {}
    for key, group in groups.items():
        kept: dict[str, Alert] = {}
        for mark, alert in group.alerts.items():
            if mark in muted:
                continue
            if mark in found:
                # A pause shorter than the notification interval is the same alert, not a new one.
                kept[mark] = replace(alert, annotations=found[mark][1], ended=None)
            else:
                kept[mark] = replace(alert, ended=now if alert.ended is None else alert.ended)
        left = replace(group, alerts=kept, told=tuple(mark for mark in group.told if mark not in muted))
        if left.firing or left.told:
            out[key] = left
    for mark, (labels, texts) in found.items():
        if mark in muted:
            continue
        to = plan.route(labels)
        key = to.key
        group = out.get(key) or Group(key, to.receiver, to.labels, now, {}, wait=to.wait)
        started = group.alerts[mark].started if mark in group.alerts else now
        out[key] = replace(group, alerts={**group.alerts, mark: Alert(labels, texts, started)})
    return out


def due(group: Group, now: float, timing: Timing) -> bool:
    """Say whether the receiver must be told something now."""
    if group.told_at is None:
        wait: float = getattr(timing, group.wait)
        return bool(group.firing) and now >= group.born + wait
    if group.firing != group.told:
        return now >= group.told_at + timing.group_interval
    return bool(group.firing) and now >= group.told_at + timing.repeat_interval


def delivered(groups: Groups, sent: Group, now: float) -> dict[str, Group]:
    """Return the groups after `sent`, a snapshot of one of them, reached the receiver."""
    out = dict(groups)
    group = out.get(sent.key)
    if group is None:
        return out
    over = {mark for mark, alert in sent.alerts.items() if alert.ended is not None}
    left = {mark: alert for mark, alert in group.alerts.items() if mark not in over or alert.ended is None}
    if not left and not sent.firing:
        del out[sent.key]
    else:
        out[sent.key] = replace(group, alerts=left, told=sent.firing, told_at=now)
    return out


def payload(group: Group, external_url: str = "") -> dict[str, Any]:
    """Return Alertmanager's webhook document, version 4, for `group`."""
    alerts = [
        {
            "status": "firing" if alert.ended is None else "resolved",
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "startsAt": _time(alert.started),
            "endsAt": _NEVER if alert.ended is None else _time(alert.ended),
            "generatorURL": external_url,
            "fingerprint": mark,
        }
        for mark, alert in sorted(group.alerts.items())
    ]
    return {
        "version": "4",
        "groupKey": group.key,
        "truncatedAlerts": 0,
        "status": "firing" if group.firing else "resolved",
        "receiver": group.receiver,
        "groupLabels": dict(group.labels),
        "commonLabels": _common([alert.labels for alert in group.alerts.values()]),
        "commonAnnotations": _common([alert.annotations for alert in group.alerts.values()]),
        "externalURL": external_url,
        "alerts": alerts,
    }


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the identity of a label set as Prometheus writes it: 64-bit FNV-1a, 16 hexadecimal digits."""
    digest = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + value.encode() + b"\xff":
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def to_document(groups: Groups) -> dict[str, Any]:
    """Return `groups` as plain JSON types."""
    return {key: asdict(group) for key, group in groups.items()}


def from_document(document: Mapping[str, Any]) -> dict[str, Group]:
    """Return the groups that `to_document` wrote."""
    return {
        key: Group(**{**one, "alerts": {mark: Alert(**alert) for mark, alert in one["alerts"].items()}, "told": tuple(one["told"])})
        for key, one in document.items()
    }


def _common(many: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first = many[0] if many else {}
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in many)}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
