"""OpenSLO's `ratioMetric` and `thresholdMetric` as an indicator of ours.

The standard leaves the meaning of a query to the reader. Read here: a bare selector with `counter: true` is a counter; a query with
`{{.window}}` counts over that window; a query with one fixed range is asked over the window of each alert instead; a threshold
compares one measurement a minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from mlops_obs.slo.foreign.fields import Fields
from mlops_obs.slo.foreign.shapes import counted, expression_unit, histogram, selector_or_none, with_window
from mlops_obs.slo.foreign.sloth import WINDOW
from mlops_obs.slo.selectors import Selector

_ASKS_PROMQL = frozenset({"prometheus", "promql", "thanos", "mimir", "cortex", "victoriametrics", "amazonprometheus", "gcm-promql"})
_SUM = re.compile(r"\s*sum\s*\((?P<inner>.*)\)\s*", re.DOTALL)
_GOOD = {"lte": "<=", "lt": "<", "gte": ">=", "gt": ">"}


def read_ratio(ratio: Fields, known: Mapping[tuple[str, str], Fields]) -> dict[str, object] | None:
    """Return the indicator of a `ratioMetric`; None (and a loss or an error) if it cannot be asked of Prometheus."""
    counter = ratio.truth("counter")
    queries = {key: _query(ratio.fields(key), known) for key in ("good", "bad", "total", "raw") if key in ratio}
    kind = ratio.text("rawType")
    ratio.rest()
    if any(query is None for query in queries.values()):
        return None
    asked = {key: query for key, query in queries.items() if query is not None}
    if set(asked) == {"raw"}:
        return _raw(ratio, asked["raw"], kind)
    if set(asked) not in ({"good", "total"}, {"bad", "total"}):
        ratio.report.wrong("OBS-IMP-002", "ratioMetric needs total with one of good and bad, or raw", "write good: and total:", ratio.path)
        return None
    part = "bad" if "bad" in asked else "good"
    if counter:
        one, total = (_counter(asked[key]) for key in (part, "total"))
        if one is not None and total is not None:
            return _counters(part, one, total)
    one, total = counted(asked[part]), counted(asked["total"])
    if one is not None and total is not None:
        return _counters(part, one, total)
    return _expressions(ratio, part, asked)


def read_threshold(metric: Fields, objective: Fields, known: Mapping[tuple[str, str], Fields]) -> dict[str, object] | None:
    """Return the indicator of a `thresholdMetric`: one measurement a minute, good if it meets the objective's value."""
    query = _query(metric, known)
    op, value = objective.text("op", required=True), objective.number("value")
    if query is None:
        return None
    if op not in _GOOD or value is None:
        objective.report.wrong("OBS-IMP-002", "a threshold needs op and value", "write op: lte and value: 0.5", objective.path)
        return None
    plain = WINDOW.sub("5m", query)
    if "{{" in plain:
        metric.loss("left out", "the query uses a template", "metricSource")
        return None
    objective.loss("assumed", "one measurement a minute counts as one event", "value")
    good = f"sum_over_time((({plain}) {_GOOD[op]} bool {_number(value)})[{{{{.window}}}}:1m])"
    total = f"count_over_time(({plain})[{{{{.window}}}}:1m])"
    return {"type": "ratio", "bad": f"sum({total} - {good})", "total": f"sum({total})", "unit": "events"}


def _counters(part: str, one: Selector, total: Selector) -> dict[str, object]:
    if part == "good" and (latency := histogram(total, one)) is not None:
        return latency
    return {"type": "availability", "total": str(total), part: str(one)}


def _expressions(ratio: Fields, part: str, asked: Mapping[str, str]) -> dict[str, object] | None:
    windowed: dict[str, str] = {}
    for key in (part, "total"):
        text = _windowed(ratio, key, asked[key])
        if text is None:
            ratio.loss("left out", "the query has no range, so it cannot be asked over an alert's window", key)
            return None
        windowed[key] = text
    unit = expression_unit(*windowed.values())
    if not unit:
        ratio.loss("assumed", "its queries count events; write unit: rate if they give rates per second", "total")
    bad = windowed["bad"] if part == "bad" else f"({windowed['total']}) - ({windowed['good']})"
    return {"type": "ratio", "bad": bad, "total": windowed["total"], "unit": unit or "events"}


def _raw(ratio: Fields, query: str, kind: str) -> dict[str, object] | None:
    if kind not in ("success", "failure"):
        ratio.report.wrong("OBS-IMP-002", "raw needs a rawType", "write rawType: success or rawType: failure", ratio.path)
        return None
    text = _windowed(ratio, "raw", query)
    if text is None:
        single = selector_or_none(query)
        inner = f"{single}[{{{{.window}}}}]" if single is not None else f"({query})[{{{{.window}}}}:1m]"
        text = f"avg_over_time({inner})"
        ratio.loss("changed", "the recorded ratio is averaged over the window of each alert", "raw")
    return {"type": "ratio", "ratio": text if kind == "failure" else f"1 - ({text})"}


def _windowed(ratio: Fields, key: str, query: str) -> str | None:
    if WINDOW.search(query):
        return query
    text = with_window(query)
    if text is not None:
        ratio.loss("changed", "its fixed range became the window of each alert", key)
    return text


def _counter(query: str) -> Selector | None:
    found = selector_or_none(query)
    if found is None and (inside := _SUM.fullmatch(query)) is not None:
        found = selector_or_none(inside["inner"])
    return found


def _query(metric: Fields, known: Mapping[tuple[str, str], Fields]) -> str | None:
    source = metric.fields("metricSource")
    metric.rest()
    kind, ref = source.text("type"), source.text("metricSourceRef")
    if ref:
        place = known.get(("DataSource", ref))
        kind = kind or (place.fields("spec").text("type") if place is not None else "")
        source.loss("dropped", "the Prometheus that is asked is named by the environment", "metricSourceRef")
    spec = source.fields("spec")
    query = spec.text("query", "promql", required=True)
    asked = (kind or "Prometheus").lower().replace(" ", "")
    if spec.text("queryType", "querytype").lower() not in ("", "promql"):
        asked = "another language"
    spec.rest()
    source.rest()
    if asked not in _ASKS_PROMQL:
        source.loss("left out", f"its source {kind[:30] or 'type'} is not asked in PromQL", "type")
        return None
    return query.strip() or None


def _number(value: Decimal) -> str:
    return format(value, "f")
