"""The whole way of an alert, as data: who is told, in which group, after how long, and what is silenced.

Alertmanager's configuration, the embedded engine, the backtest and `obs page explain` all read this one plan, so that they cannot
disagree about who would have been woken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.durations import parse_duration
from mlops_obs.metric_names import SERVICE, SEVERITY, TEAM
from mlops_obs.paging.inhibition import inhibitions_of
from mlops_obs.paging.matching import Inhibition, Labels, Matcher, matches, muted, one_of
from mlops_obs.paging.routing import SEVERITIES, Delays
from mlops_obs.paging.upstream import upstream_of
from mlops_obs.slo import spec
from mlops_obs.slo.platform_alerts import PLATFORM_TEAM

UNROUTED = "unrouted"


@dataclass(frozen=True, slots=True)
class Route:
    """Alerts that meet `matchers` go to `receiver` and wait for their companions; `wait` names the delay."""

    receiver: str
    matchers: tuple[Matcher, ...]
    wait: str


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one alert goes: its receiver, its notification group with Alertmanager's key, and the name of the group's first delay."""

    receiver: str
    key: str
    labels: Mapping[str, str]
    wait: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Routes in order (the first match wins), labels to group by, and what silences what.

    `teams` None means that every team has a route, which is what a machine without a routing file wants.
    """

    routes: tuple[Route, ...] = ()
    group_by: tuple[str, ...] = (SERVICE,)
    inhibitions: tuple[Inhibition, ...] = ()
    teams: frozenset[str] | None = None

    def route(self, labels: Labels) -> Destination:
        """Return where the alert with `labels` goes; one that no route wants goes to `unrouted`."""
        by = {name: labels[name] for name in sorted(self.group_by) if name in labels}
        chosen = next((one for one in self.routes if matches(one.matchers, labels)), None)
        team, severity = labels.get(TEAM, ""), labels.get(SEVERITY, "")
        if chosen is None and self.teams is None and team and severity in SEVERITIES:
            chosen = Route(f"{team}-{severity}", team_matchers(team, severity), _WAITS[severity])
        path = "{}" if chosen is None else "{}/" + _written(sorted(map(str, chosen.matchers)), ",")
        key = f"{path}:{_written([f'{name}={json.dumps(value, ensure_ascii=False)}' for name, value in by.items()], ', ')}"
        return Destination(chosen.receiver if chosen else UNROUTED, key, by, chosen.wait if chosen else _WAITS["page"])

    def muted(self, alerts: Sequence[Labels]) -> list[bool]:
        """Return, for each of the alerts that fire together, whether another one silences it."""
        return muted(self.inhibitions, alerts)


_WAITS = {"page": "group_wait", "ticket": "ticket_group_wait"}


def team_matchers(team: str, severity: str) -> tuple[Matcher, ...]:
    """Return the matchers of the route of `team` for `severity`."""
    return (Matcher(TEAM, "=", team), Matcher(SEVERITY, "=", severity))


def plan_of(slos: Sequence[spec.SLO], teams: Sequence[str] = (), group_by: Sequence[str] = (SERVICE,)) -> Plan:
    """Return the plan for `slos`; `teams` get routes although they own none of them, as the team `platform` always does.

    Raises:
        SpecError: OBS-SLO-027 if upstream relations go in a circle.
    """
    known = sorted({slo.team for slo in slos} | set(teams) | {PLATFORM_TEAM})
    pages = {(slo.service, slo.name): "page" in slo.severities for slo in slos}
    late: dict[str, set[str]] = {}
    above = upstream_of(slos)
    for slo in slos:
        ref = (slo.service, slo.name)
        # Only a page can be silenced by a page; a cause in another repository may have one.
        if pages[ref] and any(pages.get(cause, True) for cause in above.get(ref, ())):
            late.setdefault(slo.team, set()).add(slo.service)
    routes = []
    for team in known:
        if team in late:
            # The whole service waits, not its downstream SLO alone: two routes would make two pages of one incident.
            matchers = (*team_matchers(team, "page"), one_of(SERVICE, sorted(late[team])))
            routes.append(Route(f"{team}-page", matchers, "downstream_group_wait"))
        routes += [Route(f"{team}-{severity}", team_matchers(team, severity), _WAITS[severity]) for severity in SEVERITIES]
    return Plan(tuple(routes), tuple(group_by), inhibitions_of(slos), frozenset(known))


STANDARD = Plan(inhibitions=inhibitions_of(()))
"""The plan where no SLO is known: a route for every team, and the Workbook's tiers."""


def seconds(delays: Delays, wait: str) -> float:
    """Return how long the delay called `wait` is."""
    return float(parse_duration(getattr(delays, wait)))


def _written(conditions: Sequence[str], between: str) -> str:
    return "{" + between.join(conditions) + "}"
