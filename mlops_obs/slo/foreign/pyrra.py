"""Pyrra's `ServiceLevelObjective` (`pyrra.dev/v1alpha1`) as a document of ours.

Pyrra knows no service and no team: they come from the command line or from labels. Its four alerts have windows that scale with
the period (to the minute), fixed factors 14, 7, 2, 1 and a `for`; each becomes a tier. A group label stands for one SLO a value,
which is what `group_by` means here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.foreign.drafts import Draft, WantedTier, fit_labels, plain_name, severity_of, team_of, tier_entries
from mlops_obs.slo.foreign.fields import Fields, Report
from mlops_obs.slo.foreign.shapes import histogram, selector_or_none
from mlops_obs.slo.selectors import Selector
from mlops_obs.slo.spec import Severity

VERSION, KIND = "pyrra.dev/v1alpha1", "ServiceLevelObjective"
DEFAULT_ALERT, DEFAULT_ABSENT = "ErrorBudgetBurn", "SLOMetricAbsent"
_MONTH, _MINUTE, _DAY = 28 * 86_400, 60, 86_400
_PREFIX = "pyrra.dev/"  # labels with it are copied to the series, without it
# Name, Pyrra's severity field, its default severity, factor; long and short windows and `for` at 28 days.
_TIERS = (
    ("page-quick", "fastBurn", "critical", 14, 3_600, 300, 120),
    ("page-slow", "mediumBurn", "critical", 7, 21_600, 1_800, 900),
    ("ticket-quick", "slowBurn", "warning", 2, 86_400, 7_200, 3_600),
    ("ticket-slow", "longTermBurn", "warning", 1, 345_600, 21_600, 10_800),
)


@dataclass(frozen=True, slots=True)
class Owner:
    """What Pyrra's documents do not say: the service and the team, where given on the command line."""

    service: str = ""
    team: str = ""


def is_pyrra(document: object) -> bool:
    """Say whether `document` claims to be one of Pyrra's."""
    return isinstance(document, Mapping) and document.get("apiVersion") == VERSION


def read_pyrra(document: object, report: Report, owner: Owner) -> list[Draft]:
    """Return the SLO of a Pyrra document (or those of a `ServiceLevelObjectiveList`); mistakes and losses go to `report`."""
    if not is_pyrra(document):
        report.wrong("OBS-IMP-001", "is not a Pyrra document", f"it begins with apiVersion: {VERSION}", ())
        return []
    top = Fields(document, (), report)
    top.take("apiVersion")
    if top.text("kind") == f"{KIND}List":
        items = top.list("items")
        return [draft for item in items if (draft := _draft(item, owner)) is not None]
    draft = _draft(top, owner)
    return [draft] if draft is not None else []


def _draft(top: Fields, owner: Owner) -> Draft | None:
    top.take("apiVersion")
    if top.text("kind") != KIND:
        top.report.wrong("OBS-IMP-001", "is not a ServiceLevelObjective", "import the resource that holds the SLO", (*top.path, "kind"))
    metadata, spec = top.fields("metadata"), top.fields("spec")
    top.take("status")
    name = top.slo = metadata.slo = spec.slo = metadata.text("name", required=True)
    labels, namespace = metadata.labels("labels"), metadata.text("namespace")
    _metadata(metadata)
    propagated = {key.removeprefix(_PREFIX): value for key, value in labels.items() if key.startswith(_PREFIX)}
    for key in labels:
        if not key.startswith(_PREFIX):
            metadata.loss("dropped", "a label of the resource that Pyrra does not put on series either", "labels", key)
    service = owner.service or _service(propagated, labels, namespace, name, metadata)
    team = team_of(owner.team, propagated, metadata)
    spoken_for = {"service", "team"} & set(propagated)
    fitting = fit_labels({key: value for key, value in propagated.items() if key not in spoken_for}, metadata, "labels")
    if namespace and "namespace" not in fitting:
        fitting["namespace"] = namespace

    objective, period = _target(spec), _window(spec)
    indicator, groups = _indicator(spec.fields("indicator"))
    tiers, severities = _alerting(spec.fields("alerting"), period, spec)
    entry: dict[str, Any] = {"name": plain_name(name, metadata, "name")}
    if text := spec.text("description").strip():
        entry["description"] = text
    _modes(spec)
    spec.rest()
    top.rest()
    if indicator is None or objective is None or not name:
        top.loss("left out", "its indicator or target cannot be read")
        return None
    entry |= {"objective": objective, "period": format_duration(period), "indicator": indicator}
    clash = sorted(set(groups) & set(fitting))
    for key in clash:
        metadata.loss("dropped", f"{key} is a label to group by", "labels", key)
        del fitting[key]
    entry |= {key: value for key, value in (("labels", fitting), ("group_by", groups), ("tiers", tiers)) if value}
    if len(severities) == 1:
        entry["severities"] = severities
    places = {key: spec.at(source) for key, source in (("objective", "target"), ("period", "window"), ("tiers", "alerting"))}
    places |= {"name": metadata.at("name"), "indicator": spec.at("indicator"), "group_by": spec.at("indicator")}
    return Draft(service, team, entry, top, places)


def _metadata(metadata: Fields) -> None:
    for key in metadata.labels("annotations"):
        metadata.loss("dropped", "alert texts are generated; put yours into the runbook", "annotations", key)
    metadata.rest("bookkeeping of the resource")


def _service(propagated: Mapping[str, str], labels: Mapping[str, str], namespace: str, name: str, metadata: Fields) -> str:
    known = ("service", propagated), ("app.kubernetes.io/name", labels), ("app", labels)
    found = next((where[key] for key, where in known if where.get(key)), "")
    if not found:
        found = namespace or name or "unnamed"
        metadata.loss("assumed", f"Pyrra knows no service: it is {found} now; name it with --service", "name")
    return plain_name(found, metadata, "labels")


def _target(spec: Fields) -> Decimal | None:
    percent = spec.number("target")
    if percent is None:
        if "target" not in spec:
            spec.report.wrong("OBS-IMP-002", "target is missing", 'write target: "99.9"', spec.path)
        return None
    if not 0 < percent < 100:
        spec.wrong("target", f"{percent} is not a percentage above 0 and below 100", 'write for example "99.9"')
        return None
    return percent / 100


def _window(spec: Fields) -> int:
    text = spec.text("window", required=True)
    try:
        period = int(parse_duration(text)) if text else _MONTH
    except SpecError as error:
        spec.wrong("window", error.what, "write for example 4w")
        return _MONTH
    return max(period, _MINUTE)


def _indicator(fields: Fields) -> tuple[dict[str, object] | None, list[str]]:
    kinds = {key: fields.fields(key) for key in ("ratio", "latency", "latencyNative", "bool_gauge")}
    there = [key for key, one in kinds.items() if one.there]
    fields.rest()
    if len(there) != 1:
        fields.report.wrong("OBS-IMP-002", "indicator needs one of ratio, latency, latencyNative, bool_gauge", "write one", fields.path)
        return None, []
    kind, one = there[0], kinds[there[0]]
    groups = one.texts("grouping")
    if kind == "bool_gauge":
        metric = _selector(one, "metric", required=True)
        found: dict[str, object] | None = {"type": "boolean", "metric": str(metric)} if metric else None
    elif kind == "ratio":
        found = _ratio(one)
    elif kind == "latency":
        found = _latency(one)
    else:
        total, latency = _selector(one.fields("total"), "metric", required=True), one.text("latency", required=True)
        found = {"type": "latency", "histogram": str(total), "threshold": latency, "native": True} if total and latency else None
    one.rest()
    return found, groups


def _ratio(one: Fields) -> dict[str, object] | None:
    parts = {key: _selector(one.fields(key), "metric", required=key in one) for key in ("errors", "success", "total")}
    total, errors, success = parts["total"], parts["errors"], parts["success"]
    if total is not None and errors is not None:
        if success is not None:
            one.loss("dropped", "errors and total say it already", "success")
        return {"type": "availability", "total": str(total), "bad": str(errors)}
    if total is not None and success is not None:
        return {"type": "availability", "total": str(total), "good": str(success)}
    if errors is not None and success is not None:
        bad, good = (f"sum(increase({selector}[{{{{.window}}}}]))" for selector in (errors, success))
        return {"type": "ratio", "bad": bad, "total": f"({bad} or vector(0)) + ({good} or vector(0))", "unit": "events"}
    one.report.wrong("OBS-IMP-002", "ratio needs two of errors, success and total", "write errors: and total:", one.path)
    return None


def _latency(one: Fields) -> dict[str, object] | None:
    total, good = (_selector(one.fields(key), "metric", required=True) for key in ("total", "success"))
    if total is None or good is None:
        return None
    found = histogram(total, good)
    if found is None:
        one.loss("changed", "it is no bucket of the same histogram: it counts as an availability of good events")
        return {"type": "availability", "total": str(total), "good": str(good)}
    return found


def _selector(fields: Fields, key: str, *, required: bool) -> Selector | None:
    text = fields.text(key, required=required)
    fields.rest()
    if not text:
        return None
    found = selector_or_none(text)
    if found is None:
        fields.wrong(key, f"{text[:40]!r} is not a selector of one metric", 'write for example http_requests_total{code=~"5.."}')
    return found


def _alerting(fields: Fields, period: int, spec: Fields) -> tuple[list[dict[str, Any]], list[Severity]]:
    off, burn, absent = fields.truth("disabled"), fields.truth("burnrates"), fields.truth("absent")
    for key, usual in (("name", DEFAULT_ALERT), ("absentName", DEFAULT_ABSENT)):
        if (text := fields.text(key)) and text != usual:
            fields.loss("changed", f"alert {text[:40]} is called after the indicator now; route by slo and severity", key)
    given = fields.fields("severities")
    said = {field: given.text(field) for _, field, *_ in _TIERS}
    if given.text("absent"):
        given.loss("changed", "absent telemetry has the severity of the SLO", "absent")
    given.rest()
    fields.rest()
    if off or burn is False:
        fields.loss("changed", "its burn alerts were off: now it opens tickets", "disabled" if off else "burnrates")
        return [], ["ticket"]
    if absent is False:
        fields.loss("changed", "absent telemetry always has an alert", "absent")
    wanted = []
    for name, field, default, factor, *lengths in _TIERS:
        severity = said[field] or default
        mine = severity_of(severity, given, field)
        long, short, hold = (_scaled(length, period) for length in lengths)
        wanted.append(WantedTier(name, mine, Decimal(factor), long, short, hold))
    severities = sorted({tier.severity for tier in wanted})
    spec.loss("changed", "alerts ask for more than the ratio: a least number of bad events and statistical proof", "alerting")
    return tier_entries(wanted, period, spec, "window"), severities


def _scaled(length: int, period: int) -> int:
    """Return a window or `for` of 28 days for another period, rounded to the minute as Pyrra does (half away from zero)."""
    return (2 * period * length // _MONTH + _MINUTE) // (2 * _MINUTE) * _MINUTE


def _modes(spec: Fields) -> None:
    if spec.truth("performanceOverAccuracy"):
        spec.loss("changed", "long windows always read recorded counts, and count every event", "performanceOverAccuracy")
    if (strategy := spec.text("partial_response_strategy", "partialResponseStrategy")) and strategy != "abort":
        spec.loss("dropped", "a setting of Thanos Ruler's rule groups", "partial_response_strategy")
    if "ruleOutput" in spec:
        spec.take("ruleOutput")
        spec.loss("dropped", "one set of rules is rendered", "ruleOutput")
