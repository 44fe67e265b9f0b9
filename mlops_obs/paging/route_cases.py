"""Route tests, generated: which receiver is told of an alert, and which alerts come in one notification.

They are claims about on-call, not a copy of the configuration, so that a route that was lost, or leads to somebody else, fails. Those
about silence are in `inhibition_cases.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlops_obs.metric_names import SERVICE, SEVERITY, SLO, TEAM
from mlops_obs.paging.plan import UNROUTED
from mlops_obs.paging.rollout_notices import NOTICE_ALERTS, notice_labels
from mlops_obs.paging.routing import SEVERITIES
from mlops_obs.slo import spec
from mlops_obs.slo.platform_alerts import PLATFORM_ALERTS, PLATFORM_TEAM, platform_labels

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Expected:
    """One alert of a case: its labels, the receiver its route leads to, and whether that one is told or the alert is silenced."""

    labels: Labels
    receiver: str
    told: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """Alerts that fire together, by a sentence about them."""

    name: str
    alerts: tuple[Expected, ...]
    notifications: int | None = None
    """How many notifications tell of them all together; None where that does not matter."""


def told(labels: Labels) -> Expected:
    """Return the claim that an alert with `labels` reaches its team's receiver; of no team or severity of ours, the one for all others."""
    ours = labels.get(TEAM) and labels.get(SEVERITY) in SEVERITIES
    return Expected(labels, f"{labels[TEAM]}-{labels[SEVERITY]}" if ours else UNROUTED)


def silent(labels: Labels) -> Expected:
    """Return the claim that an alert with `labels` is silenced by the others of its case."""
    return replace(told(labels), told=False)


def route_cases(slos: Sequence[spec.SLO], teams: Sequence[str] = (), group_by: Sequence[str] = (SERVICE,)) -> Iterable[Case]:
    """Yield the cases about receivers and grouping for `slos` and for `teams` that own none of them."""
    for team in sorted({slo.team for slo in slos} | set(teams) | {PLATFORM_TEAM}):
        for severity in SEVERITIES:
            labels = {"alertname": "Any", SERVICE: "any", TEAM: team, SEVERITY: severity}
            yield Case(f"a {severity} of team {team} goes to {team}-{severity}", (told(labels),))
        note = {"alertname": "Any", SERVICE: "any", TEAM: team, SEVERITY: "note"}
        yield Case(f"an alert of team {team} that is neither page nor ticket is delivered", (Expected(note, UNROUTED),))
    for one in PLATFORM_ALERTS:
        labels = {"alertname": one.name, **platform_labels({SERVICE: "any"})}
        yield Case(f"{one.name} goes to team {PLATFORM_TEAM}", (told(labels),))
    for team in sorted({slo.team for slo in slos} | {PLATFORM_TEAM}):
        for notice in NOTICE_ALERTS:
            labels = notice_labels(notice, "any", team, {"revision": "v2"})
            yield Case(f"a rollout's {notice.name} is a {notice.severity} of team {team}", (told(labels),))
    for severity in SEVERITIES:
        orphan = {"alertname": "Orphan", SERVICE: "any", SEVERITY: severity}
        yield Case(f"a {severity} without a team is delivered", (Expected(orphan, UNROUTED),))
        yield Case(f"a {severity} of an unknown team is delivered", (Expected({**orphan, TEAM: "nobody-we-know"}, UNROUTED),))
    for service in sorted({slo.service for slo in slos}):
        stranger = {"alertname": "Orphan", SERVICE: service, SEVERITY: "page", TEAM: "nobody-we-know"}
        yield Case(f"a page about {service} by an unknown team is delivered", (Expected(stranger, UNROUTED),))
    team = min({slo.team for slo in slos}, default=PLATFORM_TEAM)
    base = {"alertname": "Any", SERVICE: "one", SLO: "one", TEAM: team, SEVERITY: "page"}
    together = [base, {**base, SLO: "two"}, {**base, SERVICE: "two"}, {**base, SERVICE: "two", "revision": "v2"}]
    count = len({tuple(labels.get(label, "") for label in group_by) for labels in together})
    by = " and ".join(group_by)
    name = f"alerts with the same {by} are one notification" if by else "all alerts of a route are one notification"
    yield Case(name, tuple(map(told, together)), count)
