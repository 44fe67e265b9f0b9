"""A Sloth spec as a document of ours: counts where its queries count, expressions where they do more.

Not the same afterwards, and said so: the budget counts events (Sloth's is a mean of 5-minute ratios), and alert names and texts
are those of the indicator. Labels that all alerts of an SLO share stay, on its recordings too.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from mlops_obs.durations import format_duration
from mlops_obs.slo.foreign.drafts import Draft, WantedTier, fit_labels, plain_name, team_of, tier_entries
from mlops_obs.slo.foreign.fields import Report
from mlops_obs.slo.foreign.shapes import counted, difference, expression_unit, histogram
from mlops_obs.slo.foreign.sloth import SlothAlert, SlothSLO, SlothSpec
from mlops_obs.slo.foreign.sloth_windows import Pair, Windows
from mlops_obs.slo.spec import Severity


def sloth_drafts(spec: SlothSpec, windows: Windows, report: Report, *, team: str = "") -> list[Draft]:
    """Return the SLOs of `spec`; what is different goes to `report`.

    Args:
        spec: the Sloth document.
        windows: the alert windows of the period.
        report: takes the losses.
        team: the team that owns it, if not a label says so.
    """
    drafts = [_draft(slo, windows, team) for slo in spec.slos]
    if drafts:
        report.loss("changed", "", "alerts ask for more than the ratio: a least number of bad events and statistical proof", ("slos",))
    return drafts


def _draft(slo: SlothSLO, windows: Windows, team: str) -> Draft:
    fields = slo.fields
    objective = slo.objective / 100
    entry: dict[str, Any] = {"name": plain_name(slo.name, fields, "name")}
    if slo.description.strip():
        entry["description"] = slo.description.strip()
    entry |= {"objective": objective, "period": format_duration(windows.period), "indicator": _indicator(slo)}
    labels = {key: value for key, value in slo.labels.items() if key != "team"}
    entry["labels"] = {**fit_labels(labels, fields, "labels"), **_alert_labels(slo)}
    severities = [name for name, alert in (("page", slo.page), ("ticket", slo.ticket)) if alert is not None]
    if severities:
        if len(severities) == 1:
            entry["severities"] = severities
        tiers = [one for one in _wanted(windows) if one.severity in severities]
        entry["tiers"] = tier_entries(tiers, windows.period, fields, "alerting")
    else:
        entry["severities"] = ["ticket"]
        fields.loss("changed", "it had no alerts at all: now it opens tickets", "alerting")
    if not entry["labels"]:
        del entry["labels"]
    places = {key: fields.at(key) for key in ("name", "objective", "labels")} | {"indicator": fields.at("sli")}
    return Draft(plain_name(slo.service, fields, "service"), team_of(team, slo.labels, fields), entry, fields, places)


def _indicator(slo: SlothSLO) -> dict[str, object]:
    fields = slo.fields
    if slo.raw:
        fields.loss("changed", "alerts average the 5-minute ratios of their windows, as the budget does", "sli", "raw")
        return {"type": "ratio", "ratio": slo.raw.strip()}
    fields.loss("changed", "the budget counts events; Sloth's is a mean of 5-minute ratios", "sli", "events")
    total, bad = counted(slo.total), counted(slo.error)
    if total is not None and bad is not None:
        return {"type": "availability", "total": str(total), "bad": str(bad)}
    parts = difference(slo.error)
    if total is not None and parts is not None and parts[0] == total:
        return histogram(total, parts[1]) or {"type": "availability", "total": str(total), "good": str(parts[1])}
    unit = expression_unit(slo.error, slo.total)
    if not unit:
        fields.loss("assumed", "its queries give rates per second; write unit: events if they count", "sli", "events")
    return {"type": "ratio", "bad": slo.error.strip(), "total": slo.total.strip(), "unit": unit or "rate"}


def _alert_labels(slo: SlothSLO) -> dict[str, str]:
    """Return the labels that every alert of `slo` has; the others, names and annotations are losses."""
    fields, found = slo.fields, dict[str, str]()
    alerts = {"page_alert": slo.page, "ticket_alert": slo.ticket}
    there = [alert for alert in alerts.values() if alert is not None]
    if there:
        fields.loss("changed", f"alert {there[0].name} is called after the indicator now; route by slo and severity", "alerting", "name")
    for where, alert in alerts.items():
        if alert is None:
            continue
        shared = {key for key, value in alert.labels.items() if all(other.labels.get(key) == value for other in there)}
        for key in alert.labels:
            if key not in shared:
                fields.loss("dropped", f"a label of one severity's alerts only ({where})", "alerting", where, "labels", key)
        found |= {key: alert.labels[key] for key in alert.labels if key in shared and key not in slo.labels}
        _annotations(alert, where, slo)
    return fit_labels(found, fields, "alerting", "labels") if found else {}


def _annotations(alert: SlothAlert, where: str, slo: SlothSLO) -> None:
    for key in alert.annotations:
        slo.fields.loss("dropped", "alert texts are generated; put yours into the runbook", "alerting", where, "annotations", key)


def _wanted(windows: Windows) -> list[WantedTier]:
    pairs: tuple[tuple[str, Severity, Pair], ...] = (
        ("page-quick", "page", windows.page_quick),
        ("page-slow", "page", windows.page_slow),
        ("ticket-quick", "ticket", windows.ticket_quick),
        ("ticket-slow", "ticket", windows.ticket_slow),
    )
    return [
        WantedTier(name, severity, pair.percent / 100 * windows.period / Decimal(pair.long), pair.long, pair.short)
        for name, severity, pair in pairs
    ]
