"""OpenSLO v1 documents as SLOs of ours.

Objects refer to each other by name, so all documents are read first. Fields count before annotations: where a tool has edited the
queries of an SLO that we exported, the queries win and the annotation is a loss.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from mlops_obs.durations import format_duration
from mlops_obs.slo.foreign import openslo_words as words
from mlops_obs.slo.foreign.drafts import Draft, fit_labels, plain_name, team_of, tier_entries
from mlops_obs.slo.foreign.fields import Fields, Report
from mlops_obs.slo.foreign.openslo_alerts import read_policies
from mlops_obs.slo.foreign.openslo_query import read_ratio, read_threshold
from mlops_obs.slo.foreign.openslo_sli import ratio_metric
from mlops_obs.slo.spec import SLO

_MONTH, _DAY = 30 * 86_400, 86_400
_Known = Mapping[tuple[str, str], Fields]
_PLACES = {"indicator": "indicator", "period": "timeWindow", "tiers": "alertPolicies", "budgeting": "budgetingMethod"}
_METHODS = {text: key for key, text in words.BUDGETING.items()}
_CALENDAR = {"1w": "week", "7d": "week", "1M": "month", "1Q": "quarter", "3M": "quarter"}


def is_openslo(document: object) -> bool:
    """Say whether `document` claims to be OpenSLO v1."""
    return isinstance(document, Mapping) and document.get("apiVersion") == words.VERSION


def read_openslo(documents: Sequence[tuple[object, Report]], *, team: str = "") -> list[Draft]:
    """Return the SLOs in `documents`, each given with the report for its mistakes and losses.

    An SLO with several objectives becomes several SLOs. `team` is the owner where no label says one.
    """
    known: dict[tuple[str, str], Fields] = {}
    slos: list[Fields] = []
    for document, report in documents:
        top = Fields(document, (), report)
        kind = top.text("kind")
        if not is_openslo(document) or kind not in words.KINDS:
            report.wrong("OBS-IMP-001", "is not an object of OpenSLO v1", f"it begins with apiVersion: {words.VERSION} and kind: SLO", ())
            continue
        metadata = document.get("metadata") if isinstance(document, Mapping) else None
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if kind == "SLO":
            slos.append(top)
        elif (kind, str(name)) in known:
            report.wrong("OBS-IMP-003", f"{kind} {str(name)[:63]!r} is there twice", "keep one", ("metadata", "name"))
        else:
            known[kind, str(name)] = top
    found = [draft for top in slos for draft in _slo(top, known, team)]
    for (kind, _), top in known.items():
        _leftovers(kind, top)
    return found


def _leftovers(kind: str, top: Fields) -> None:
    """Report an object that no SLO refers to, and what is a name here and nothing more."""
    top.take("apiVersion")
    if top.asked("spec"):
        return
    metadata, spec = top.fields("metadata"), top.fields("spec")
    metadata.take("name")
    if kind == "DataSource":
        spec.loss("dropped", "the Prometheus that is asked is named by the environment")
    elif kind not in ("AlertNotificationTarget", "Service"):
        metadata.accept()
        spec.loss("dropped", "no SLO refers to it")
    elif not str(spec.take("description")).startswith(words.OURS):
        spec.loss("dropped", f"a {kind} is a name here and nothing more")
    spec.accept()


def _slo(top: Fields, known: _Known, team: str) -> list[Draft]:
    top.take("apiVersion")
    metadata, spec = top.fields("metadata"), top.fields("spec")
    name = metadata.text("name", required=True)
    for one in (top, metadata, spec):
        one.slo = name
    labels = _labels(metadata)
    notes = metadata.fields("annotations")
    service = plain_name(spec.text("service", required=True), spec, "service")
    owner = team_of(team, labels, metadata)
    shown = metadata.text("displayName")
    metadata.rest()

    own = notes.text(words.NAME)
    if own and words.slo_object_name(service, own) != name:
        notes.loss("dropped", "the object was renamed since", words.NAME)
        own = ""
    entry: dict[str, Any] = {"name": own or plain_name(name, metadata, "name")}
    text = _description(spec, notes) or (shown if shown != name else "")
    if text:
        entry["description"] = text
    period, zone = _time_window(spec)
    entry["period"] = period
    if zone:
        entry["time_zone"] = zone
    method = _METHODS.get(spec.text("budgetingMethod", required=True))
    if method is None and "budgetingMethod" in spec:
        spec.wrong("budgetingMethod", "is none of OpenSLO's", f"write {', '.join(_METHODS)}")
    fitting = fit_labels({key: value for key, value in labels.items() if key != "team"}, metadata, "labels")
    entry |= _extras(notes, fitting)
    seconds = _MONTH if not period[0].isdigit() else words.parse_shorthand(period) or _MONTH
    nominal = {"week": 7 * _DAY, "quarter": 90 * _DAY}.get(period, seconds)
    wanted = read_policies(spec, known, owner)
    if wanted:
        entry["tiers"] = tier_entries(wanted, nominal, spec, "alertPolicies")
        severities = {tier["severity"] for tier in entry["tiers"]}
        if len(severities) == 1:
            entry["severities"] = sorted(severities)
    elif "alertPolicies" not in spec:
        spec.loss("assumed", "it has no alerts: it has the usual ones now", "alertPolicies")
    sli = _indicator(spec, known)
    for inner in (sli.fields("ratioMetric"), sli.fields("thresholdMetric")) if sli is not None else ():
        inner.accept()  # read once for each objective
    objectives = spec.list("objectives")
    spec.rest()
    top.rest()
    if not objectives:
        spec.report.wrong("OBS-IMP-002", "objectives is missing or empty", "write - target: 0.99", spec.path)
    if len(objectives) > 1:
        spec.loss("changed", "each objective is an SLO of its own now", "objectives")
    places = {key: spec.at(source) for key, source in _PLACES.items()} | {"name": metadata.at("name"), "labels": metadata.at("labels")}
    found = []
    for objective in objectives:
        draft = Draft(service, owner, dict(entry), top, places | {"objective": objective.at()})
        if _complete(draft, objective, sli, method or "occurrences", known, notes):
            found.append(draft)
    notes.rest("an annotation that says nothing here")
    return found


_PLACES = {
    "indicator": "indicator",
    "period": "timeWindow",
    "tiers": "alertPolicies",
    "budgeting": "budgetingMethod",
    "description": "description",
}


def _complete(
    draft: Draft, objective: Fields, sli: Fields | None, method: str, known: Mapping[tuple[str, str], Fields], notes: Fields
) -> bool:
    shown = objective.text("displayName")
    target, percent = objective.number("target"), objective.number("targetPercent")
    if "indicator" in objective or "indicatorRef" in objective:
        objective.loss("left out", "weighted objectives of a composite have no counterpart", "indicator")
        return False
    if (target is None) == (percent is None):
        objective.report.wrong("OBS-IMP-002", "an objective needs one of target and targetPercent", "write target: 0.99", objective.path)
        return False
    share = target if target is not None else (percent or Decimal(0)) / 100
    if shown and shown != draft.entry["name"]:
        objective.loss("dropped", "an SLO has one name", "displayName")
    slices = _slices(objective, method)
    indicator: dict[str, object] | None = None
    if sli is not None:
        ratio, threshold = sli.fields("ratioMetric"), sli.fields("thresholdMetric")
        if ratio.there == threshold.there:
            sli.report.wrong("OBS-IMP-002", "an indicator needs one of ratioMetric and thresholdMetric", "write ratioMetric:", sli.path)
        else:
            indicator = _noted(draft, share, slices, ratio, notes) if ratio.there else None
            if indicator is None:
                indicator = read_ratio(ratio, known) if ratio.there else read_threshold(threshold, objective, known)
    objective.rest()
    if indicator is None:
        draft.fields.loss("left out", "its indicator cannot be read", "spec", "indicator")
        return False
    if "ratio" in indicator and slices.get("budgeting") != "ratio_timeslices":
        objective.loss("changed", "a ratio alone has no events: the mean of 5-minute ratios counts", "target")
        slices = {"budgeting": "ratio_timeslices"}
    if slices == {"budgeting": "occurrences"}:
        slices = {}
    draft.entry |= {"objective": share, **slices, "indicator": indicator}
    return True


def _noted(draft: Draft, share: Decimal, slices: Mapping[str, object], ratio: Fields, notes: Fields) -> dict[str, object] | None:
    """Return the indicator in the annotation, if the queries are still those it stands for."""
    text = notes.text(words.INDICATOR)
    if not text:
        return None
    try:
        indicator = json.loads(text)
        body = {"service": draft.service, "team": draft.team, "name": draft.entry["name"], "objective": share, **slices}
        slo = SLO.model_validate({**body, "indicator": indicator})
        same = words.plain(ratio_metric(slo)) == words.plain(ratio.everything())
    except (ValueError, ValidationError, RecursionError):
        same = False
    if not same:
        notes.loss("dropped", "the queries were edited since: they count", words.INDICATOR)
        return None
    ratio.accept()
    found: dict[str, object] = indicator
    if "buckets" in found:
        found["buckets"] = list(slo.indicator.buckets)
    return found


def _indicator(spec: Fields, known: _Known) -> Fields | None:
    ref, holder = spec.text("indicatorRef"), spec.fields("indicator")
    if ref:
        found = known.get(("SLI", ref))
        if found is None:
            words.unknown("SLI", ref, spec, "indicatorRef")
            return None
        found.slo = spec.slo
        holder = found
    elif not holder.there:
        return None
    holder.fields("metadata").take("name", "displayName")
    body = holder.fields("spec")
    body.take("description")
    return body


def _slices(objective: Fields, method: str) -> dict[str, object]:
    window, target = objective.take("timeSliceWindow"), objective.number("timeSliceTarget")
    if method == "occurrences":
        return {"budgeting": method}
    seconds = window * 60 if isinstance(window, int) else words.parse_shorthand(str(window)) if window is not None else words.SLICE
    if seconds != words.SLICE:
        objective.loss("changed", "slices are of 5 minutes", "timeSliceWindow")
    if method == "ratio_timeslices":
        return {"budgeting": method}
    if target is None:
        objective.report.wrong("OBS-IMP-002", "timeSliceTarget is missing", "write for example timeSliceTarget: 0.99", objective.path)
    elif target == 1:
        target = Decimal("0.999999")
        objective.loss("changed", "a slice may have one bad event in a million: its share is below 1", "timeSliceTarget")
    return {"budgeting": method, "slice_objective": target}


def _time_window(spec: Fields) -> tuple[str, str]:
    entries = spec.list("timeWindow")
    if not entries:
        spec.loss("assumed", "no period is given: it is 30d", "timeWindow")
        return "30d", ""
    one, calendar = entries[0], entries[0].fields("calendar")
    if len(entries) > 1:
        spec.wrong("timeWindow", "has more than one window", "keep one")
    text, rolling = one.text("duration", required=True), one.truth("isRolling")
    start, zone = calendar.text("startTime"), calendar.text("timeZone")
    calendar.rest()
    one.rest()
    seconds = words.parse_shorthand(text)
    if text and seconds is None:
        one.wrong("duration", f"{text[:20]!r} is no duration of OpenSLO", "write a number and m, h, d, w, M, Q or Y")
    if rolling or not calendar.there:
        if text[-1:] in ("M", "Q", "Y"):
            one.loss("changed", f"a rolling {text} is {format_duration(seconds or _MONTH)}", "duration")
        return format_duration(seconds or _MONTH), ""
    if text not in _CALENDAR:
        one.loss("changed", "calendar periods are a week, a month or a quarter: it rolls now", "duration")
        return format_duration(min(seconds or _MONTH, 366 * _DAY)), ""
    if not _aligned(_CALENDAR[text], start):
        calendar.loss("changed", "weeks begin on Monday, months and quarters on their first day, at midnight", "startTime")
    return _CALENDAR[text], "" if zone in ("Etc/UTC", "UTC", "") else zone


def _aligned(kind: str, start: str) -> bool:
    """Say whether calendar periods that begin at `start` begin where ours do."""
    try:
        at = datetime.strptime(start, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    if (at.hour, at.minute, at.second) != (0, 0, 0):
        return False
    return at.weekday() == 0 if kind == "week" else at.day == 1 and (kind == "month" or at.month % 3 == 1)


def _labels(metadata: Fields) -> dict[str, str]:
    inner = metadata.fields("labels")
    found = {}
    for key, value in inner.everything().items():
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            inner.take(key)
            inner.loss("changed", "several values are one text now", key)
            found[key] = ",".join(str(one) for one in value)
        elif value is not None:
            found[key] = inner.text(key)
    return found


def _description(spec: Fields, notes: Fields) -> str:
    short, long = spec.text("description"), notes.text(words.DESCRIPTION)
    if long and not long.startswith(short):
        notes.loss("dropped", "the description was edited since: it counts", words.DESCRIPTION)
        return short
    return long or short


def _extras(notes: Fields, fitting: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, note in (("group_by", words.GROUPS), ("upstream", words.UPSTREAM)):
        if text := notes.text(note):
            found[key] = [one.strip() for one in text.split(",") if one.strip()]
    if (least := notes.number(words.BAD_EVENTS)) is not None:
        found["min_bad_events"] = int(least)
    for key, note in (("statistical_bound", words.BOUND), ("expected_traffic", words.TRAFFIC)):
        if text := notes.text(note):
            found[key] = text
    if notes.text(words.REPLAN) == "true":
        found["replan"] = True
    for key, note, kind in (("budget_policy", words.POLICY, list), ("labels", words.LABELS, dict)):
        if text := notes.text(note):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                value = None
            if isinstance(value, kind):
                found[key] = value
            else:
                notes.wrong(note, "is not the JSON that an export writes", "remove it")
    others = found.get("labels", {})
    if fitting or others:
        found["labels"] = {**fitting, **others}
    return found
