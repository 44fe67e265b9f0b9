"""OpenSLO's alert policies as tiers: policies are alternatives, conditions of one policy hold together.

A condition of OpenSLO has one window, and one window goes on alerting long after the trouble is over. So a policy with a single
condition gains a short window of a twelfth of it, as in the SRE Workbook; a policy of two windows is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from mlops_obs.slo.foreign import openslo_words as words
from mlops_obs.slo.foreign.drafts import WantedTier, plain_name, severity_of
from mlops_obs.slo.foreign.fields import Fields
from mlops_obs.slo.spec import Severity

_TWELFTH, _GRID = 12, 300


@dataclass(frozen=True, slots=True)
class _Condition:
    severity: Severity
    factor: Decimal
    window: int
    hold: int
    short: int | None


def read_policies(spec: Fields, known: Mapping[tuple[str, str], Fields], team: str) -> list[WantedTier]:
    """Return the tiers of the `alertPolicies` of an SLO.

    Args:
        spec: the SLO's spec.
        known: all objects by kind and name, for references.
        team: notification targets called `<team>-page` and `<team>-ticket` say nothing new.
    """
    found: list[WantedTier] = []
    entries = spec.take("alertPolicies")
    if entries is not None and not isinstance(entries, list):
        spec.wrong("alertPolicies", "is not a list", "write - alertPolicyRef: name")
        return []
    for index, one in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(one, str):
            policy = _known(known, "AlertPolicy", one, spec, "alertPolicies", index)
        else:
            inline = Fields(one, (*spec.path, "alertPolicies", index), spec.report, spec.slo)
            ref = inline.text("alertPolicyRef")
            policy = _known(known, "AlertPolicy", ref, inline, "alertPolicyRef") if ref else inline
            if ref:
                inline.rest()
        tier = _tier(policy, known, team, spec.slo) if policy is not None else None
        if tier is not None:
            taken = {other.name for other in found}
            name = tier.name if tier.name not in taken else f"{tier.name[:55]}-{index + 1}"
            found.append(WantedTier(name, tier.severity, tier.factor, tier.long, tier.short, tier.hold))
    return found


def _tier(policy: Fields, known: Mapping[tuple[str, str], Fields], team: str, slo: str) -> WantedTier | None:
    policy.slo = slo
    policy.take("apiVersion", "kind")
    policy.take("kind")
    metadata, spec = policy.fields("metadata"), policy.fields("spec")
    name = metadata.text("name", required=True)
    annotations = metadata.fields("annotations")
    label = annotations.text(words.TIER) or name
    annotations.rest()
    metadata.rest()
    spec.take("description")
    if spec.truth("alertWhenBreaching") is False:
        spec.loss("left out", "a policy that does not alert when the budget burns", "alertWhenBreaching")
        return None
    if spec.truth("alertWhenResolved") is False:
        spec.loss("changed", "the end of a page is told, too", "alertWhenResolved")
    if spec.truth("alertWhenNoData") is False:
        spec.loss("changed", "absent telemetry has an alert of its own", "alertWhenNoData")
    conditions = [_condition(one, known) for one in spec.list("conditions")]
    for target in spec.list("notificationTargets"):
        ref = target.text("targetRef")
        if not ref or ref not in {words.object_name(team, severity) for severity in ("page", "ticket")}:
            target.loss("dropped", "receivers are chosen by team and severity in the routing file", "targetRef")
        if ref:
            target.rest()
    spec.rest()
    policy.rest()
    there = [one for one in conditions if one is not None]
    if not there:
        spec.loss("left out", "a policy without a condition that can be read", "conditions")
        return None
    return _joined(plain_name(label, policy, "metadata", "name"), there, spec)


def _joined(name: str, conditions: list[_Condition], spec: Fields) -> WantedTier:
    longest = max(conditions, key=lambda one: one.window)
    shortest = min(conditions, key=lambda one: one.window)
    if len(conditions) > 2:
        spec.loss("changed", "of more than two windows the longest and the shortest count", "conditions")
    if any(one.factor != longest.factor for one in conditions):
        spec.loss("changed", f"both windows burn above {max(one.factor for one in conditions)} now", "conditions")
    short = longest.short if len(conditions) == 1 else shortest.window
    if short is None or short >= longest.window:
        short = max(_GRID, longest.window // _TWELFTH // _GRID * _GRID)
        spec.loss("changed", f"a short window of {words.shorthand(short)} is added: one alone would alert long after the end", "conditions")
    severity: Severity = "page" if any(one.severity == "page" for one in conditions) else "ticket"
    hold = max(one.hold for one in conditions)
    return WantedTier(name, severity, max(one.factor for one in conditions), longest.window, short, hold)


def _condition(one: Fields, known: Mapping[tuple[str, str], Fields]) -> _Condition | None:
    ref = one.text("conditionRef")
    found = _known(known, "AlertCondition", ref, one, "conditionRef") if ref else one
    if ref:
        one.rest()
    if found is None:
        return None
    found.slo = one.slo
    found.take("apiVersion")
    found.take("kind")
    metadata = found.fields("metadata")
    metadata.take("name", "displayName")
    annotations = metadata.fields("annotations")
    short = words.parse_shorthand(annotations.text(words.SHORT))
    annotations.rest()
    metadata.rest()
    spec = found.fields("spec")
    spec.take("description")
    severity = severity_of(spec.text("severity", required=True), spec, "severity")
    inner = spec.fields("condition")
    kind, op = inner.text("kind") or "burnrate", inner.text("op") or "gt"
    factor, window = inner.number("threshold"), _seconds(inner, "lookbackWindow")
    hold = _seconds(inner, "alertAfter", zero=True)
    inner.rest()
    spec.rest()
    found.rest()
    if kind != "burnrate" or op not in ("gt", "gte"):
        inner.loss("left out", f"a condition of kind {kind[:20]} {op[:5]}", "kind")
        return None
    if factor is None or window is None or factor <= 0:
        inner.report.wrong("OBS-IMP-002", "condition needs a threshold above 0 and a lookbackWindow", "write threshold: 14.4", inner.path)
        return None
    if op == "gte":
        inner.loss("changed", "it burns above the threshold, no longer at it", "op")
    return _Condition(severity, factor, window, hold or 0, short)


def _seconds(fields: Fields, key: str, *, zero: bool = False) -> int | None:
    text = fields.text(key)
    if not text or (zero and text in ("0", "0m", "0h", "0s")):
        return None
    found = words.parse_shorthand(text)
    if found is None:
        fields.wrong(key, f"{text[:20]!r} is no duration of OpenSLO", "write a number and m, h, d or w")
    return found


def _known(known: Mapping[tuple[str, str], Fields], kind: str, name: str, at: Fields, *keys: int | str) -> Fields | None:
    found = known.get((kind, name))
    if found is None:
        words.unknown(kind, name, at, *keys)
    return found
