"""What an alert means here, in words: whose it is, when it fires, who is told, what it silences and what silences it.

The condition is read from the generated rules, not written a second time, so that an explanation cannot differ from what
Prometheus evaluates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.durations import humanize_duration
from mlops_obs.metric_names import SERVICE, SEVERITY, SLO, TIER
from mlops_obs.paging.matching import Labels, inhibits
from mlops_obs.paging.plan import Plan, seconds
from mlops_obs.paging.rollout_notices import NOTICE_ALERTS
from mlops_obs.paging.routing import Delays
from mlops_obs.paging.upstream import upstream_of
from mlops_obs.slo import annotations as words
from mlops_obs.slo import spec
from mlops_obs.slo.platform_alerts import PLATFORM_ALERTS, platform_labels
from mlops_obs.slo.relations import Ref
from mlops_obs.slo.tiers import describe, plan_tiers

_MEANINGS = {
    words.TELEMETRY_ABSENT: "the counters of an SLO were there and are gone; idle services still export theirs.",
    words.BUDGET_LOW: "a step of the budget policy is reached: less of the period's budget is left than the team agreed to.",
    **{one.name: one.meaning for one in NOTICE_ALERTS},
}
_OF_THE_PLATFORM = {one.name for one in (*PLATFORM_ALERTS, *NOTICE_ALERTS)}
_BURN = "the error budget of an SLO is being spent too fast."


@dataclass(frozen=True, slots=True)
class AlertRule:
    """An alert of a rule file: `hold` is its `for`, empty if it has none."""

    name: str
    expr: str
    hold: str = ""
    labels: Labels = field(default_factory=dict)


def alert_rules(document: object) -> Iterator[AlertRule]:
    """Yield the alerts of a loaded rule file, in order; what is none is skipped."""
    groups = document.get("groups") if isinstance(document, Mapping) else None
    for group in groups if isinstance(groups, Sequence) else ():
        rules = group.get("rules") if isinstance(group, Mapping) else None
        for rule in rules if isinstance(rules, Sequence) else ():
            if isinstance(rule, Mapping) and rule.get("alert"):
                labels = {str(key): str(value) for key, value in _mapping(rule.get("labels")).items()}
                yield AlertRule(str(rule["alert"]), str(rule.get("expr", "")), str(rule.get("for") or ""), labels)


def known_alerts() -> list[str]:
    """Return the names of all alerts that can fire, sorted."""
    return sorted([*words.ALERTS.values(), words.TELEMETRY_ABSENT, words.BUDGET_LOW, *_OF_THE_PLATFORM])


def needs_slos(alert: str) -> bool:
    """Say whether `alert` is about an SLO; the others are about the platform itself."""
    return alert not in _OF_THE_PLATFORM


def explain(alert: str, rules: Iterable[AlertRule], slos: Sequence[spec.SLO], plan: Plan, delays: Delays) -> str:
    """Return what `alert` means, as text for a terminal.

    Args:
        alert: one of `known_alerts()`, or the name of one of `rules`.
        rules: the alerts of the generated rules; those of another name are skipped.
        slos: the SLOs that the rules were made from.
        plan: routes and inhibition.
        delays: how long notifications wait.
    """
    platform = next((one for one in PLATFORM_ALERTS if one.name == alert), None)
    meaning = (
        platform.meaning if platform else _MEANINGS.get(alert, _BURN if alert in words.ALERTS.values() else "an alert of a rule file.")
    )
    lines = [f"{alert}: {meaning}"]
    by_ref = {(slo.service, slo.name): slo for slo in slos}
    above = upstream_of(slos)
    everything = [labels for slo in slos for labels in _labels_of(slo)]
    before = None
    found = [rule for rule in rules if rule.name == alert]
    for rule in found:
        slo = by_ref.get((rule.labels.get(SERVICE, ""), rule.labels.get(SLO, "")))
        if slo is not None and slo is not before:
            lines += _headline(slo, above.get((slo.service, slo.name), ()))
        before = slo
        labels = {"alertname": alert, **(platform_labels({}) if platform else rule.labels)}
        lines += ["", f"  {_what(rule, slo, labels)}", f"    {_told(plan, delays, labels)}"]
        lines += _silence("silences", [other for other in everything if inhibits(plan.inhibitions, labels, other)], labels)
        lines += _silence("is silenced by", [other for other in everything if inhibits(plan.inhibitions, other, labels)], labels)
        condition = rule.expr.strip() + (f"\nfor {rule.hold}" if rule.hold else "")
        lines += ["", *(f"    {line}" for line in condition.splitlines())]
    if not found:
        sent = next((one for one in NOTICE_ALERTS if one.name == alert), None)
        lines += ["", f"The rollout controller sends it, as a {sent.severity}." if sent else "No SLO here has it."]
    if alert in known_alerts():
        lines += ["", f"Runbook: runbooks/{alert}.md"]
    return "\n".join(lines) + "\n"


def _headline(slo: spec.SLO, above: Iterable[Ref]) -> list[str]:
    says = f": {slo.description}" if slo.description else ""
    objective, budget = (f"{(share * 100).normalize():f} %" for share in (slo.objective, slo.budget))
    upstream = ", ".join("/".join(ref) for ref in sorted(above))
    lines = ["", f"{slo.service} {slo.name} (team {slo.team}){says}", f"  objective {objective} over {slo.period}, so {budget} may be bad"]
    return [*lines, f"  upstream of it: {upstream}; when they burn, look there first"] if upstream else lines


def _what(rule: AlertRule, slo: spec.SLO | None, labels: Labels) -> str:
    severity, tier = labels.get(SEVERITY, "alert").upper(), labels.get(TIER, "")
    planned = {one.name: one for one in plan_tiers(slo)} if slo else {}
    if slo is not None and rule.name == words.alert_name(slo) and tier in planned:
        return f"{severity} {describe(planned[tier], slo)}"
    return f"{severity} {tier}" + (f", after it has held for {rule.hold}" if rule.hold else "")


def _told(plan: Plan, delays: Delays, labels: Labels) -> str:
    to = plan.route(labels)
    together = ", ".join(plan.group_by) or "nothing, all in one"
    return f"told: {to.receiver}, {humanize_duration(seconds(delays, to.wait))} after it fires, in one notification per {together}"


def _silence(verb: str, others: Sequence[Labels], own: Labels) -> list[str]:
    """Return one line for all alerts that this one silences, or is silenced by; tiers of its own SLO by their name alone."""
    named: dict[str, list[str]] = {}
    for other in others:
        same = all(other.get(key) == own.get(key) for key in (SERVICE, SLO))
        whose = "" if same else f"{other[SERVICE]}/{other[SLO]} "
        named.setdefault(whose, []).append(other[TIER])
    said = [f"{whose}({', '.join(tiers)})" if whose else ", ".join(tiers) for whose, tiers in sorted(named.items())]  # its own SLO first
    return [f"    {verb}: {'; '.join(said)}"] if said else []


def _labels_of(slo: spec.SLO) -> Iterator[dict[str, str]]:
    for tier in plan_tiers(slo):
        yield {"alertname": words.alert_name(slo), **words.alert_labels(slo, tier.severity, tier.name)}
    for step in slo.budget_policy:
        yield {"alertname": words.BUDGET_LOW, **words.alert_labels(slo, "ticket", words.policy_tier(step))}


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
