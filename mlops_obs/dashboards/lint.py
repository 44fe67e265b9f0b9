"""Lint Grafana JSON: the rules of Grafana's dashboard-linter that apply, and what on-call needs beyond them.

It reads the JSON, not our panel data, so that it also judges a dashboard that somebody made by hand. The trap is job and
instance variables: the original asks for both, but our promises are per service, and a variable `instance` invites people
to look at one replica and miss the fault. `exclusions` lets a team switch a rule off, with a reason that is kept in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_obs.dashboards.grafana_json import DATASOURCE, all_panels
from mlops_obs.metric_names import METRICS, SERVICE

_UNITLESS = {"row", "text"}
_METRIC = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})")
_COUNTER = re.compile(r"(?<![\w:])(\w+(?:_total|_bucket|_count|_sum))(?![\w:])")  # with a colon it is recorded, and counts already
_VARIABLES = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: `where` is `uid` or `uid / panel title`."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.rule})"


def lint(grafana: Mapping[str, Any], exclusions: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the rules that a Grafana v1 model breaks.

    Args:
        exclusions: rule name -> the reason why it does not apply; a rule without a reason stays on.
    """
    skipped = {rule for rule, reason in (exclusions or {}).items() if reason.strip()}
    uid = str(grafana.get("uid") or "(no uid)")
    findings = [Finding(rule, uid, message) for rule, message in _dashboard_rules(grafana)]
    seen: set[int] = set()
    for panel in all_panels(dict(grafana)):
        where = f"{uid} / {panel.get('title') or panel.get('id')}"
        findings += [Finding(rule, where, message) for rule, message in _panel_rules(panel, seen)]
        for target in panel.get("targets", []):
            findings += [Finding(rule, where, message) for rule, message in _target_rules(target)]
    return [finding for finding in findings if finding.rule not in skipped]


def _dashboard_rules(grafana: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    variables = {one["name"]: one for one in grafana.get("templating", {}).get("list", [])}
    if not grafana.get("uid"):
        yield "stable-uid", "has no uid: links to it break when it is imported again"
    if grafana.get("editable") is not False:
        yield "uneditable-dashboard", "is editable: edits in Grafana are lost at the next push"
    if grafana.get("timezone") != "utc":
        yield "timezone-utc", "does not show UTC, the zone of logs and pages"
    if variables.get("datasource", {}).get("type") != "datasource":
        yield "template-datasource", "has no variable `datasource`"
    if SERVICE not in variables:
        yield "template-service", f"has no variable `{SERVICE}`, which pages link by"
    for name, variable in variables.items():
        if variable.get("type") != "query":
            continue
        if variable.get("refresh") != 2:
            yield "template-on-time-change-reload", f"variable `{name}` is not refreshed when the time range changes"
        if (variable.get("datasource") or {}).get("uid") != DATASOURCE:
            yield "template-datasource", f"variable `{name}` does not use {DATASOURCE}"
        query = variable.get("query")
        text = query.get("query", "") if isinstance(query, Mapping) else str(query)
        inner = re.fullmatch(r"label_values\((?:(.+),\s*)?\w+\)", text)
        if inner is None or (inner.group(1) and parse_error(inner.group(1))):
            yield "template-label-promql", f"variable `{name}` has a query that is not label_values(PromQL, label): {text}"
    marks = [mark for mark in grafana.get("annotations", {}).get("list", []) if mark.get("expr")]
    if not marks:
        yield "rollout-annotations", "marks no rollouts: a change of behaviour cannot be told from a change of model"
    for mark in marks:
        if problem := parse_error(mark["expr"]):
            yield "target-promql", f"annotation {mark.get('name')}: {problem}"


def _panel_rules(panel: Mapping[str, Any], seen: set[int]) -> Iterator[tuple[str, str]]:
    if not panel.get("id") or panel["id"] in seen:
        yield "stable-ids", "has no id of its own, so links to it do not work"
    seen.add(panel.get("id", 0))
    if panel.get("type") in {"graph", "singlestat", "table-old"}:
        yield "panel-angular", f"type {panel['type']} was removed from Grafana"
    if (panel.get("datasource") or {}).get("uid") != DATASOURCE:
        yield "panel-datasource", f"does not use {DATASOURCE}"
    if not panel.get("title") or not panel.get("description"):
        yield "panel-title-description", "needs a title and a description"
    if panel.get("type") in _UNITLESS:
        return
    if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
        yield "panel-units", "has no unit"
    if not panel.get("targets"):
        yield "panel-no-targets", "has no query"
    references = [target.get("refId") for target in panel.get("targets", [])]
    if None in references or len(set(references)) != len(references):
        yield "target-ref-id", "needs a refId of its own for each query"


def _target_rules(target: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    expr = target.get("expr", "")
    if problem := parse_error(expr):
        yield "target-promql", f"{problem}: {expr}"
        return
    for window in re.findall(r"\b(?:rate|irate)\([^[]*\[([^\]]+)\]", expr):
        if window != "$__rate_interval":
            yield "target-rate-interval", f"rate over [{window}]; use $__rate_interval"
    for name, braces in _METRIC.findall(expr):
        known = next((metric for metric in METRICS.values() if re.fullmatch(f"{metric.name}(_bucket|_count|_sum)?", name)), None)
        has_service = known is None or SERVICE in known.labels
        if has_service and "$service" not in braces and name != "up":
            yield "target-service", f"{name} is not filtered by $service"
    ranged = {name for part in re.findall(r"\b(?:rate|irate|increase)\(([^\[]*)\[", expr) for name in _COUNTER.findall(part)}
    for name in set(_COUNTER.findall(re.sub(r"\{[^}]*\}|by \([^)]*\)", "", expr))) - ranged - {"clamp_min", "count"}:
        yield "target-counter-agg", f"{name} is a counter and is shown without rate or increase"


def parse_error(expr: str) -> str:
    """Return why `expr` is not PromQL once Grafana's variables are filled in, or an empty string."""
    import promql_parser

    parse: Callable[[str], object] = promql_parser.parse
    try:
        parse(fill(expr, {}))
    except ValueError as error:
        return f"is not PromQL: {str(error).splitlines()[0]}"
    return ""


def fill(expr: str, variables: Mapping[str, str]) -> str:
    """Replace Grafana's `$name` and `${name}` by values; unknown ones become `x`, the built-in ones typical durations."""
    values = {**{name[1:]: value for name, value in _VARIABLES.items()}, **variables}
    return re.sub(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)", lambda match: values.get(match.group(1) or match.group(2), "x"), expr)
