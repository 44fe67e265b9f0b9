"""From what fired when to what people were told when: grouping, waiting and inhibition of Alertmanager, over a stretch of history.

Alertmanager looks at a group when it has waited `group_wait` since the group's first alert, and every `group_interval` after that. It
tells if an alert fires that was not told before, if a told one is over, or if `repeat_interval` has passed. Alerts that are inhibited
at that moment are left out, and an inhibited alert still keeps its group alive and the clock running.

A page here is an incident: from the notification that opens it to the one that closes it. Updates in between wake nobody anew.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_obs.metric_names import SEVERITY
from mlops_obs.paging.plan import Plan, seconds
from mlops_obs.paging.routing import Delays

Labels = Mapping[str, str]
Set = frozenset[int]  # positions of stretches


@dataclass(frozen=True, slots=True)
class Stretch:
    """An alert that fired from `start` until `end` (Unix seconds, the moment from which it did not); `labels` with `alertname`."""

    labels: Labels
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Page:
    """One incident as a receiver was told of it. `ended` is None if it was still open when history ended.

    `severity` is the gravest of its alerts, `alerts` are the labels of all that were told in it, `told` counts its notifications.
    """

    receiver: str
    group: Labels
    severity: str
    opened: float
    ended: float | None
    alerts: tuple[Labels, ...]
    told: int


@dataclass(frozen=True, slots=True)
class _Timeline:
    """What fires, by position in `stretches`, from each of `edges` on; `loud` is what is not inhibited."""

    stretches: Sequence[Stretch]
    edges: Sequence[float]
    firing: Sequence[Set]
    loud: Sequence[Set]


@dataclass(slots=True)
class _Incident:
    opened: float
    alerts: dict[int, Labels] = field(default_factory=dict)
    told: int = 0


def pages(fired: Iterable[Stretch], plan: Plan, delays: Delays, until: float) -> list[Page]:
    """Return what the receivers of `plan` were told of `fired` up to `until`, in the order of opening."""
    stretches = sorted((one for one in fired if one.start < until), key=lambda one: (one.start, sorted(one.labels.items())))
    line = _timeline(stretches, plan, until)
    groups: dict[str, list[int]] = {}
    ways = {}
    for index, one in enumerate(stretches):
        way = plan.route(one.labels)
        ways[way.key] = way
        groups.setdefault(way.key, []).append(index)
    found = []
    for key, members in groups.items():
        way = ways[key]
        for incident, ended in _incidents(line, members, seconds(delays, way.wait), delays, until):
            told = tuple({tuple(sorted(one.items())): one for one in incident.alerts.values()}.values())
            severity = "page" if any(one.get(SEVERITY) == "page" for one in told) else "ticket"
            found.append(Page(way.receiver, way.labels, severity, incident.opened, ended, told, incident.told))
    return sorted(found, key=lambda one: (one.opened, one.receiver, sorted(one.group.items())))


def _timeline(stretches: Sequence[Stretch], plan: Plan, until: float) -> _Timeline:
    changes: dict[float, list[tuple[int, bool]]] = {}
    for index, one in enumerate(stretches):
        changes.setdefault(one.start, []).append((index, True))
        if one.end < until:
            changes.setdefault(one.end, []).append((index, False))
    edges = sorted(changes)
    firing: set[int] = set()
    known: dict[Set, Set] = {}
    every, loud = [], []
    for edge in edges:
        for index, begins in changes[edge]:
            (firing.add if begins else firing.discard)(index)
        now = frozenset(firing)
        if now not in known:
            order = sorted(now)
            muted = plan.muted([stretches[index].labels for index in order])
            known[now] = frozenset(index for index, silent in zip(order, muted, strict=True) if not silent)
        every.append(now)
        loud.append(known[now])
    return _Timeline(stretches, edges, every, loud)


def _incidents(
    line: _Timeline, members: Sequence[int], wait: float, delays: Delays, until: float
) -> Iterable[tuple[_Incident, float | None]]:
    """Yield the incidents of one group."""
    interval, repeat = seconds(delays, "group_interval"), seconds(delays, "repeat_interval")
    mine, stretches, edges = frozenset(members), line.stretches, line.edges
    queue = sorted(members, key=lambda index: stretches[index].start)
    position = 0
    while position < len(queue):
        born = stretches[queue[position]].start
        look = born + wait
        incident: _Incident | None = None
        told: Set = frozenset()
        told_at = -math.inf
        while look < until:
            at = bisect_right(edges, look) - 1
            now = line.loud[at] & mine
            if incident is None and now:
                incident = _Incident(look)
            if incident is not None:
                if now != told or look - told_at >= repeat:
                    incident.told += 1
                    incident.alerts.update((index, stretches[index].labels) for index in sorted(now))
                    told, told_at = now, look
                if not now:
                    yield incident, look
                    incident, told_at = None, -math.inf
            # Nothing changes before the next edge: skip the looks in between, but not a repetition.
            following = edges[at + 1] if at + 1 < len(edges) else until
            if not line.firing[at] & mine and incident is None:
                break  # the group is empty and forgotten; its next alert begins anew
            due = min(following, told_at + repeat) if incident is not None else following
            look += max(1, math.ceil((due - look) / interval)) * interval
        if incident is not None:
            yield incident, None
        while position < len(queue) and stretches[queue[position]].start <= look:
            position += 1
