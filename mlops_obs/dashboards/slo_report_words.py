"""What a team's monthly SLO report says, in words that its HTML and its Markdown share.

The trap is a number that is rounded into another verdict: 99.996 % must not be printed as `100 %` beside `missed`. What was
measured is cut off, never rounded up, with one digit more than the objective has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_FLOOR, Decimal

from mlops_obs import metric_names as names
from mlops_obs.durations import humanize_duration
from mlops_obs.slo.accounts import Account, Act, Fired, Incident

_AFTER = 3_600.0  # seconds after an incident in which an act is still an answer to it
_BEFORE = 1_800.0  # seconds before it in which a change may be its cause
_CHANGES = {"advance": "was given more traffic", "promote": "was promoted", "deploy": "was loaded"}
_REMEDIES = {"rollback": "was rolled back", "abort": "was stopped by a person", "pause": "was paused", "hold": "was put on hold"}
_UNITS = {"timeslices": "slices of five minutes", "ratio_timeslices": "slices of five minutes"}


@dataclass(frozen=True, slots=True)
class TeamReport:
    """A team's month: its accounts, and what is known of each service beside the counts. Times are Unix seconds."""

    team: str
    month: str
    accounts: Sequence[Account]
    made_at: float
    fired: Mapping[str, Sequence[Fired]] = field(default_factory=dict)
    acts: Mapping[str, Sequence[Act]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """The month has ended for every SLO."""
        return all(one.until >= one.end for one in self.accounts)

    @property
    def incidents(self) -> list[tuple[Account, Incident]]:
        """Every incident, in order of time."""
        return sorted(((one, incident) for one in self.accounts for incident in one.incidents), key=lambda pair: pair[1].start)

    @property
    def paged(self) -> list[Fired]:
        """The alerts of this team's SLOs whose severity is page; which of them were silenced, no metric tells."""
        mine = {(one.slo.service, one.slo.name) for one in self.accounts}
        return [
            fired
            for service, many in self.fired.items()
            for fired in many
            if fired.labels.get(names.SEVERITY) == "page" and (service, fired.labels.get(names.SLO, "")) in mine
        ]


def month_name(report: TeamReport) -> str:
    """`November 2026`, and how far it is: `November 2026, up to 14 November 09:00 UTC`."""
    year, month = report.month.split("-")
    name = datetime(int(year), int(month), 1, tzinfo=UTC).strftime("%B %Y")
    return name if report.over else f"{name}, up to {moment(report.made_at)} UTC"


def headline(report: TeamReport) -> tuple[str, str, str]:
    """The first line as (before, what is coloured, tone)."""
    judged = [one for one in report.accounts if one.met is not None]
    met = sum(1 for one in judged if one.met)
    tense = ("was", "were") if report.over else ("is", "are")
    if not judged:
        return "No event was counted, so", "no objective can be judged.", "warn"
    unjudged = len(report.accounts) - len(judged)
    if met == len(judged) and unjudged:
        return (
            f"{met} of {len(report.accounts)} objectives {tense[1 if len(report.accounts) > 1 else 0]} met,",
            f"{unjudged} cannot be judged.",
            "warn",
        )
    if met == len(judged):
        what = f"all {len(judged)} objectives {tense[1]} met" if len(judged) > 1 else f"the objective {tense[0]} met"
        return "This month" if report.over else "So far", what + ".", "good"
    return f"{met} of {len(judged)} objectives {tense[1 if len(judged) > 1 else 0]} met,", f"{len(judged) - met} missed.", "bad"


def lede(report: TeamReport) -> str:
    """The paragraph under the first line: where the budgets went, and what nobody can tell."""
    parts = []
    for one in sorted(report.accounts, key=lambda one: -one.spent):
        if one.total > 0 and one.spent >= 0.5:
            parts.append(f"{subject(one)} spent {percent(one.spent)} of its budget{_mostly(one)}.")
    for one in report.accounts:
        if one.total <= 0:
            parts.append(f"{subject(one)} cannot be judged: {nothing(one)}.")
        elif one.counted < 0.99:
            parts.append(f"{subject(one)} was counted for only {percent(one.counted)} of the time.")
    return " ".join(parts[:6]) or "Every budget has more than half of it left."


def _mostly(one: Account) -> str:
    if not one.incidents:
        return ", little by little and without one incident that stands out"
    worst = max(one.incidents, key=lambda incident: incident.share)
    return f", {percent(worst.share)} in the incident of {moment(worst.start)} UTC alone"


def nothing(one: Account) -> str:
    """Why there is nothing to judge: idle, or never counted."""
    return "there was no event" if one.counted > 0 else "nothing was counted"


def subject(one: Account) -> str:
    """`credit-risk availability`."""
    return f"{one.slo.service} {one.slo.name}"


def promised(one: Account) -> str:
    """The objective as a percentage: `99.9 %`."""
    return f"{(one.slo.objective * 100).normalize():f} %"


def measured(one: Account) -> str:
    """The share of good events, cut off one digit after the objective's."""
    if one.ratio is None:
        return "\u2013"
    digits = max(-int((one.slo.objective * 100).normalize().as_tuple().exponent), 0) + 1
    good = (1 - Decimal(repr(one.bad)) / Decimal(repr(one.total))) * 100
    return f"{max(good, Decimal(0)).quantize(Decimal(1).scaleb(-digits), ROUND_FLOOR):f} %"


def counted_in(one: Account) -> str:
    """`1,204 of 1,893,402 events`, or slices."""
    return f"{number(one.bad)} of {number(one.total)} {_UNITS.get(one.slo.budgeting, 'events')}"


def verdict(one: Account) -> tuple[str, str]:
    """The verdict and its tone."""
    if one.met is None:
        return "unknown" if one.counted == 0 else "idle", "warn" if one.counted == 0 else "soft"
    return ("met", "good") if one.met else ("missed", "bad")


def number(value: float) -> str:
    """A count with a narrow space between thousands; a fraction of an event only where there are few."""
    return (f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.1f}").replace(",", "\u202f")


def percent(share: float) -> str:
    """A share as a percentage with two or three digits that matter."""
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 10 or value == 0 else f"{value:.1f} %" if abs(value) >= 0.1 else f"{value:.2g} %"


def moment(at: float) -> str:
    """`14 November 09:05` in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %B %H:%M")


def lasted(incident: Incident) -> str:
    """How long an incident was."""
    return humanize_duration(incident.end - incident.start)


def told(report: TeamReport, one: Account, incident: Incident) -> list[str]:
    """What else is known of an incident: whose events, what changed before it, who was told how soon, what was done."""
    parts = []
    if incident.culprit and incident.culprit_part >= 0.5:
        parts.append(f"{percent(incident.culprit_part)} of it from {' '.join(incident.culprit)}")
    acts = report.acts.get(one.slo.service, ())
    parts += [
        f"{act.revision} {_CHANGES[act.action]} {_apart(incident.start - act.at)} before"
        for act in acts
        if act.action in _CHANGES and incident.start - _BEFORE <= act.at <= incident.start
    ][-1:]
    first: dict[str, Fired] = {}
    for fired in report.fired.get(one.slo.service, ()):
        mine = fired.labels.get(names.SLO) == one.slo.name and fired.start <= incident.end + _BEFORE and fired.end >= incident.start
        if mine:
            first.setdefault(fired.labels.get(names.SEVERITY, ""), fired)
    for severity, verb in (("page", "paged"), ("ticket", "a ticket was opened")):
        if severity in first:
            parts.append(f"{verb} after {_apart(max(first[severity].start - incident.start, 0.0))} ({first[severity].name})")
    parts += [
        f"{act.revision} {_REMEDIES[act.action]} {moment(act.at)[-5:]}"
        for act in acts
        if act.action in _REMEDIES and incident.start <= act.at <= incident.end + _AFTER
    ][:2]
    return parts


def _apart(seconds: float) -> str:
    return humanize_duration(max(round(seconds), 1))


def worst_groups(one: Account, most: int = 3) -> list[tuple[str, float, float]]:
    """The groups with most bad events: (name, bad, all)."""
    ranked: Iterable[tuple[tuple[str, ...], tuple[float, float]]] = sorted(one.groups.items(), key=lambda pair: -pair[1][0])
    return [(" ".join(filter(None, group)), bad, total) for group, (bad, total) in ranked if bad > 0][:most]


COLOPHON = (
    "Made by mlops-obs from five-minute counts; times are UTC. A month's budget is the share of its events that the objective allows to be "
    "bad. Every bad event costs the same part of it, whatever the traffic was at that hour. An incident is a stretch in which the budget "
    "went at more than twice the rate that the objective sustains, beyond what chance explains, and that took at least 2 % of it."
)
