"""Sloth's spec (`prometheus/v1`, and the `PrometheusServiceLevel` resource): read once, for rules and for import.

The two forms differ in spelling only (`error_query`, `errorQuery`), and Sloth takes either in practice. The period is not in
the document at all: it is a flag of Sloth's command, 30 days unless said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from mlops_obs.slo.foreign.fields import Fields, Report, shown
from mlops_obs.slo.spec_errors import LABEL

NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*[A-Za-z0-9]")
WINDOW = re.compile(r"\{\{ *\.window *\}\}")
VERSION, RESOURCE = "prometheus/v1", "sloth.slok.dev/v1"


@dataclass(frozen=True, slots=True)
class SlothAlert:
    """What a page or ticket alert carries; `None` labels and annotations do not exist, a disabled alert is None itself."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlothSLO:
    """One SLO of a Sloth spec. `error`, `total` and `raw` are PromQL with `{{.window}}`; `objective` is a percentage."""

    service: str
    name: str
    objective: Decimal
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    error: str = ""
    total: str = ""
    raw: str = ""
    page: SlothAlert | None = None
    ticket: SlothAlert | None = None
    fields: Fields = field(default_factory=lambda: Fields(None, (), Report()))

    @property
    def id(self) -> str:
        """Sloth's identity of the SLO, the value of `sloth_id`."""
        return f"{self.service}-{self.name}"


@dataclass(frozen=True, slots=True)
class SlothSpec:
    """A Sloth document. `resource` is True for the Kubernetes form."""

    service: str
    labels: Mapping[str, str]
    slos: tuple[SlothSLO, ...]
    resource: bool = False


def is_sloth(document: object) -> bool:
    """Say whether `document` claims to be a Sloth spec."""
    return isinstance(document, Mapping) and (document.get("version") == VERSION or document.get("apiVersion") == RESOURCE)


def read_sloth(document: object, report: Report) -> SlothSpec:
    """Read a Sloth spec; mistakes and what is not understood go to `report`. SLOs whose indicator is a plugin are left out."""
    top = Fields(document, (), report)
    if not is_sloth(document):
        report.wrong("OBS-IMP-001", "is not a Sloth spec", f"it begins with version: {VERSION} or apiVersion: {RESOURCE}", ())
        return SlothSpec("", {}, ())
    resource = "version" not in top
    if resource:
        top.take("apiVersion")
        if top.text("kind") != "PrometheusServiceLevel":
            report.wrong("OBS-IMP-001", "is not a PrometheusServiceLevel", "import the resource that holds the SLOs", ("kind",))
        top.take("status")
        top.fields("metadata").rest("names and labels of the resource itself do not reach rules")
        body = top.fields("spec")
    else:
        top.take("version")
        body = top
    service = _name(body, "service")
    labels = _labels(body, "labels")
    entries = body.list("slos")
    if not entries:
        report.wrong("OBS-IMP-002", "slos is missing or empty", "list at least one SLO under slos:", body.path)
    found = [_slo(entry, service, labels) for entry in entries]
    body.take("slo_plugins", "sloPlugins")
    if "slo_plugins" in body or "sloPlugins" in body:
        body.loss("dropped", "plugins are Go code that runs inside Sloth", "slo_plugins")
    body.rest()
    if top is not body:
        top.rest()
    names = [slo.name for slo in found if slo is not None]
    for entry, slo in zip(entries, found, strict=True):
        if slo is not None and names.count(slo.name) > 1:
            entry.wrong("name", f"{slo.name!r} is there twice", "rename one")
    return SlothSpec(service, labels, tuple(slo for slo in found if slo is not None), resource)


def _slo(entry: Fields, service: str, labels: Mapping[str, str]) -> SlothSLO | None:
    name = entry.slo = _name(entry, "name")
    objective = entry.number("objective")
    if objective is None and "objective" not in entry:
        entry.report.wrong("OBS-IMP-002", "objective is missing", "write objective: 99.9", entry.path)
    elif objective is not None and not 0 < objective <= 100:
        entry.wrong("objective", f"{objective} is not a percentage above 0 and up to 100", "write for example 99.9")
    own = _labels(entry, "labels")
    error, total, raw = _indicator(entry.fields("sli"))
    page, ticket = _alerting(entry.fields("alerting"))
    description = entry.text("description")
    for key in ("plugins", "interval"):
        if key in entry:
            entry.take(key)
            entry.loss("dropped", "Sloth's plugins and rule intervals have no counterpart", key)
    entry.rest()
    if not (error or raw):
        entry.loss("left out", "its indicator cannot be read")
        return None
    return SlothSLO(service, name, objective or Decimal(0), description, {**labels, **own}, error, total, raw, page, ticket, entry)


def _indicator(sli: Fields) -> tuple[str, str, str]:
    events, raw = sli.fields("events"), sli.fields("raw")
    if "plugin" in sli:
        sli.take("plugin")
        sli.loss("dropped", "an SLI plugin is Go code that runs inside Sloth: write the query it makes instead", "plugin")
        return "", "", ""
    if events.there == raw.there:
        sli.report.wrong("OBS-IMP-002", "sli needs events or raw, and one of them only", "write events: or raw:", sli.path)
        return "", "", ""
    if raw.there:
        ratio = _query(raw, "error_ratio_query", "errorRatioQuery")
        raw.rest()
        return "", "", ratio
    error, total = _query(events, "error_query", "errorQuery"), _query(events, "total_query", "totalQuery")
    if error and error == total:
        events.wrong("error_query", "is the same as total_query", "every event would be an error")
    events.rest()
    sli.rest()
    return (error, total, "") if error and total else ("", "", "")


def _query(fields: Fields, *keys: str) -> str:
    text = fields.text(*keys, required=True)
    if text and not WINDOW.search(text):
        fields.wrong(next((key for key in keys if key in fields), keys[0]), "has no {{.window}}", "write [{{.window}}] as the range")
        return ""
    if "{{" in WINDOW.sub("", text):
        fields.wrong(next((key for key in keys if key in fields), keys[0]), "uses a template other than {{.window}}", "write it out")
        return ""
    problem = (
        fields.report.promql("expression", text, fields.at(next((key for key in keys if key in fields), keys[0])))
        if text and fields.report.promql
        else None
    )
    if problem is not None:
        fields.report.errors.append(problem)
    return text


def _alerting(alerting: Fields) -> tuple[SlothAlert | None, SlothAlert | None]:
    name, labels, annotations = alerting.text("name"), _labels(alerting, "labels"), _labels(alerting, "annotations")
    found: list[SlothAlert | None] = []
    for keys in (("page_alert", "pageAlert"), ("ticket_alert", "ticketAlert")):
        one = alerting.fields(*keys)
        off = one.truth("disable")
        own, texts = _labels(one, "labels"), _labels(one, "annotations")
        one.rest()
        found.append(None if off else SlothAlert(name, {**labels, **own}, {**annotations, **texts}))
    if any(found) and not name:
        alerting.report.wrong("OBS-IMP-002", "alerting has no name", "write name: MyServiceErrors, or disable both alerts", alerting.path)
    alerting.rest()
    return found[0], found[1]


def _labels(fields: Fields, key: str) -> dict[str, str]:
    """Return labels or annotations, whose names Prometheus must take."""
    found = fields.labels(key)
    for name in found:
        if not LABEL.fullmatch(name) or (key == "labels" and name == "__name__"):
            fields.wrong(key, f"has {shown(name)}, which is no label name", "use letters, digits and _")
    return found


def _name(fields: Fields, key: str) -> str:
    text = fields.text(key, required=True)
    if text and not NAME.fullmatch(text):
        fields.wrong(key, f"{text[:40]!r} is no name that Sloth takes", "use letters, digits, - _ . and end with a letter or digit")
    return text
