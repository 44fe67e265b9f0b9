"""SLOs as OpenSLO v1 documents that the standard's own validator takes, and that can be read back without a loss.

What OpenSLO has a field for stands in that field; the rest is in annotations (`openslo_words.py`). On the way back a field wins over
an annotation, so that edits made by other tools count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mlops_obs.slo.foreign import openslo_words as words
from mlops_obs.slo.foreign.losses import Loss
from mlops_obs.slo.foreign.openslo_sli import ratio_metric
from mlops_obs.slo.foreign.yaml_writer import document
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Tier, plan_tiers


def openslo_documents(slos: Sequence[SLO], *, two_conditions: bool = False) -> list[dict[str, Any]]:
    """Return the objects for `slos`: services, notification targets, and each SLO with its alert policies.

    Args:
        slos: the SLOs; their tiers must be able to fire.
        two_conditions: write long and short window as two conditions of a policy (AND). OpenSLO v1 allows one, so by default
            the short one is an annotation.
    """
    found: list[dict[str, Any]] = []
    for service in dict.fromkeys(slo.service for slo in slos):
        found.append(_object("Service", {"name": service}, {"description": f"{words.OURS} SLOs of {service}."}))
    tiers = [plan_tiers(slo) for slo in slos]
    receivers = {(slo.team, tier.severity) for slo, planned in zip(slos, tiers, strict=True) for tier in planned}
    for team, severity in sorted(receivers):
        text = f"{words.OURS} Alertmanager routes {severity}s of team {team}."
        metadata = {"name": words.object_name(team, severity)}
        found.append(_object("AlertNotificationTarget", metadata, {"description": text, "target": "alertmanager"}))
    for slo, planned in zip(slos, tiers, strict=True):
        found.append(_slo(slo, planned))
        found += [_policy(slo, tier, two_conditions=two_conditions) for tier in planned]
    return found


def render_openslo(slos: Sequence[SLO], *, two_conditions: bool = False) -> str:
    """Return the documents for `slos` as YAML. Arguments as in `openslo_documents`."""
    found = openslo_documents(slos, two_conditions=two_conditions)
    return "---\n".join(document(one) for one in found)


def openslo_losses(slos: Sequence[SLO], *, two_conditions: bool = False) -> list[Loss]:
    """Return what other tools will not understand of the exported documents, although it is in them. Arguments as above."""
    annotated = f"the short windows stand in the annotation {words.SHORT}: other tools see the long ones only"
    windows = "policies have two conditions, which the validator of OpenSLO v1 refuses" if two_conditions else annotated
    found = []
    for slo in slos:

        def note(field: str, what: str, slo: SLO = slo) -> None:
            found.append(Loss("changed", slo.ref, field, what))

        note("tiers", windows)
        if slo.indicator.type == "composite":
            note("indicator", "OpenSLO v1 has no chain of SLOs: other tools see the error ratio that the rules record")
        elif slo.indicator.type == "quality":
            note("indicator", "other tools count all cohorts at once, without maturity")
        elif not ratio_metric(slo).get("counter"):
            note("indicator", "the queries hold {{.window}}, which the reader must fill in")
        if slo.budgeting != "occurrences":
            note("budgeting", "slices are of 5 minutes")
        for field in ("group_by", "upstream", "budget_policy"):
            if getattr(slo, field):
                note(field, "an annotation that other tools do not read")
    return found


def _slo(slo: SLO, planned: Sequence[Tier]) -> dict[str, Any]:
    fitting = {key: text for key, text in slo.labels.items() if words.LABEL_KEY.fullmatch(key)}
    metadata = {
        "name": words.slo_object_name(slo.service, slo.name),
        "labels": {"team": slo.team, **fitting},
        "annotations": _annotations(slo, fitting),
    }
    objective: dict[str, Any] = {"displayName": slo.name, "target": slo.objective}
    if slo.budgeting != "occurrences":
        if slo.slice_objective is not None:
            objective["timeSliceTarget"] = slo.slice_objective
        objective["timeSliceWindow"] = words.shorthand(words.SLICE)
    spec: dict[str, Any] = {"description": slo.description[: words.LONGEST_TEXT]} if slo.description else {}
    sli = words.object_name(slo.service, slo.name, "sli")
    spec |= {
        "service": slo.service,
        "indicator": {"metadata": {"name": sli}, "spec": {"ratioMetric": ratio_metric(slo)}},
        "timeWindow": [words.time_window(slo)],
        "budgetingMethod": words.BUDGETING[slo.budgeting],
        "objectives": [objective],
        "alertPolicies": [{"alertPolicyRef": _policy_name(slo, tier)} for tier in planned],
    }
    return _object("SLO", metadata, spec)


def _annotations(slo: SLO, fitting: Mapping[str, str]) -> dict[str, str]:
    found = {words.NAME: slo.name, words.INDICATOR: _json(slo.indicator.model_dump(exclude_unset=True))}
    if slo.group_by:
        found[words.GROUPS] = ",".join(slo.group_by)
    if slo.min_bad_events is not None:
        found[words.BAD_EVENTS] = str(slo.min_bad_events)
    if slo.statistical_bound != "auto":
        found[words.BOUND] = slo.statistical_bound
    if slo.replan:
        found[words.REPLAN] = "true"
    if slo.expected_traffic:
        found[words.TRAFFIC] = slo.expected_traffic
    if slo.upstream:
        found[words.UPSTREAM] = ",".join(slo.upstream)
    if slo.budget_policy:
        found[words.POLICY] = _json([{"below": step.below, "action": step.action} for step in slo.budget_policy])
    others = {key: text for key, text in slo.labels.items() if key not in fitting}
    if others:
        found[words.LABELS] = _json(others)
    if len(slo.description) > words.LONGEST_TEXT:
        found[words.DESCRIPTION] = slo.description
    return found


def _policy_name(slo: SLO, tier: Tier) -> str:
    return words.object_name(slo.service, slo.name, tier.name)


def _policy(slo: SLO, tier: Tier, *, two_conditions: bool) -> dict[str, Any]:
    windows = (tier.long, tier.short) if two_conditions else (tier.long,)
    conditions = []
    for window in windows:
        metadata: dict[str, Any] = {"name": words.object_name(slo.service, slo.name, tier.name, words.shorthand(window))}
        if not two_conditions:
            metadata["annotations"] = {words.SHORT: words.shorthand(tier.short)}
        condition = {
            "kind": "burnrate",
            "op": "gt",
            "threshold": tier.factor,
            "lookbackWindow": words.shorthand(window),
            "alertAfter": words.shorthand(tier.hold) if tier.hold else "0m",
        }
        conditions.append({"kind": "AlertCondition", "metadata": metadata, "spec": {"severity": tier.severity, "condition": condition}})
    spec = {
        "alertWhenBreaching": True,
        "alertWhenResolved": True,
        "alertWhenNoData": True,
        "conditions": conditions,
        "notificationTargets": [{"targetRef": words.object_name(slo.team, tier.severity)}],
    }
    return _object("AlertPolicy", {"name": _policy_name(slo, tier), "annotations": {words.TIER: tier.name}}, spec)


def _object(kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": words.VERSION, "kind": kind, "metadata": dict(metadata), "spec": dict(spec)}


def _json(value: object) -> str:
    return json.dumps(words.plain(value), ensure_ascii=False, separators=(", ", ": "))
