"""A dashboard as one HTML page drawn from live queries, for machines without Grafana, and so that people can look at once.

The page shows the same panels, queries and thresholds as the Grafana JSON. Values from the address bar become part of
PromQL here, so they are quoted: `v3"} or vector(1) #` must stay a revision that does not exist. A Prometheus that does not
answer is said once, on top, and is not asked forty more times.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote

from mlops_obs import metric_names as names
from mlops_obs.dashboards import promql
from mlops_obs.dashboards.charts import Frame, Line, Mark, Point, strip, time_chart
from mlops_obs.dashboards.figures import clock, format_value
from mlops_obs.dashboards.lint import fill
from mlops_obs.dashboards.panels import Dashboard, Panel, Query, Steps, panel_id
from mlops_obs.dashboards.theme import BASE_CSS
from mlops_obs.durations import format_duration, humanize_duration
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.slo.counters import Series

QueryRange = Callable[[str, float, float, float], list[Series]]  # (promql, start, end, step in seconds)

_POINTS = 240
_PHASES = {
    "Promoted": "good",
    "RolledBack": "bad",
    "Aborted": "warn",
    "Holding": "warn",
    "Paused": "warn",
    "Progressing": "s0",
    "Pending": "s6",
}
_CSS = """
main{max-width:1480px;margin:0 auto;padding:28px 28px 64px}
header.top{display:flex;flex-wrap:wrap;gap:4px 28px;align-items:baseline;border-bottom:1px solid var(--line);padding-bottom:14px}
h1{font-size:24px;letter-spacing:-.018em;font-weight:650}
.about{color:var(--soft);font-size:14px;flex:1 1 20em}
nav{font-size:13px;color:var(--soft);display:flex;gap:16px;flex-wrap:wrap}nav a{text-decoration:none}
  nav a:hover{text-decoration:underline}
nav b{color:var(--ink);font-weight:600}
.scope{display:flex;flex-wrap:wrap;gap:6px 24px;font-size:13px;color:var(--soft);padding:12px 0 0}.scope b{color:var(--ink);
  font-weight:600}
h2,summary{font-size:15px;font-weight:650;letter-spacing:-.006em;margin:30px 0 10px}summary{cursor:pointer}
.grid{display:grid;grid-template-columns:repeat(24,1fr);gap:14px}
.panel{background:var(--card);border:1px solid var(--line);border-radius:5px;padding:11px 14px 10px;min-width:0;position:relative}
.panel h3{font-size:13px;font-weight:600;line-height:1.3}
.panel p{font-size:11.5px;line-height:1.35;color:var(--soft);margin:1px 0 6px}
.stats{display:flex;flex-wrap:wrap;gap:6px 26px;margin-top:8px}
.stats div{line-height:1.15}.stats b{display:block;font-size:27px;font-weight:600;letter-spacing:-.02em;color:var(--c,var(--ink));
  font-variant-numeric:tabular-nums}
.stats span{font-size:12px;color:var(--soft)}
.keys{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:12px;color:var(--soft)}
.keys span::before{content:"";display:inline-block;width:9px;height:9px;margin-right:5px;border-radius:2px;background:var(--c)}
.none{color:var(--faint);font-size:13px;padding:22px 0;text-align:center}
.panel table{border-collapse:collapse;width:100%;font-size:13px;font-variant-numeric:tabular-nums}
.panel th{font-weight:500;color:var(--soft);text-align:left;font-size:12px;padding:2px 8px 5px 0}
  .panel td{border-top:1px solid var(--hair);padding:4px 8px 4px 0;color:var(--c,inherit)}
.panel th:last-child,.panel td:last-child{text-align:right;padding-right:0}
.alarm{border-left:3px solid var(--bad);background:var(--bad-bg);padding:12px 16px;margin-top:18px;font-size:14px}
@media (max-width:900px){.panel{grid-column:span 24!important}.panel.stat{grid-column:span 12!important}main{padding:20px 14px}}
@media print{main{padding:0}.panel{break-inside:avoid}}
"""


@dataclass
class _Run:
    """The state of drawing one page: who may still be asked, and which colour a name has on every panel."""

    ask: QueryRange
    variables: Mapping[str, str]
    start: float
    end: float
    step: float
    scrape: float = 15.0
    problem: str = ""
    colours: dict[str, str] = field(default_factory=dict)

    def query(self, expr: str, *, instant: bool = False) -> list[Series]:
        """Run one expression; after the first failure of the source, answer nothing at once."""
        if self.problem:
            return []
        rate = max(4 * self.scrape, self.step + self.scrape)
        built_in = {"__rate_interval": _whole(rate), "__interval": _whole(self.step), "__range": _whole(self.end - self.start)}
        try:
            return self.ask(fill(expr, {**self.variables, **built_in}), self.end if instant else self.start, self.end, self.step)
        except TelemetryUnavailable as error:
            self.problem = str(error)
            return []

    def colour(self, name: str) -> str:
        """One name, one colour, in order of appearance."""
        return self.colours.setdefault(name, f"s{len(self.colours) % 8}")


def render_preview(dashboard: Dashboard, query_range: QueryRange, variables: Mapping[str, str], start: float, end: float) -> str:
    """Return the dashboard as a self-contained HTML page.

    Args:
        query_range: answers (PromQL, start, end, step), times in Unix seconds; raises TelemetryUnavailable if it cannot.
        variables: `service` and `revision`; empty or missing means all. They are quoted, so they may come from an address.
        start: first time shown, Unix seconds.
        end: last time shown, Unix seconds.
    """
    chosen = {one.name: _quoted(variables.get(one.name, "")) for one in dashboard.variables}
    run = _Run(query_range, chosen, start, end, max(1.0, round((end - start) / _POINTS)))
    run.scrape = scrape_interval(run.query(promql.SCRAPES_IN_5M, instant=True))
    marks = _marks(dashboard, run)
    rows = []
    for row in dashboard.rows:
        panels = "".join(_panel(dashboard.uid, panel, run, marks) for panel in row.panels)
        grid = f'<div class="grid">{panels}</div>'
        title = escape(row.title)
        rows.append(f"<details><summary>{title}</summary>{grid}</details>" if row.closed else f"<h2>{title}</h2>{grid}")
    alarm = f'<div class="alarm" role="alert"><b>The metrics did not answer.</b> {escape(run.problem)}</div>' if run.problem else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(dashboard.title)}</title><style>{BASE_CSS}{_CSS}</style></head><body><main>"
        f'<header class="top"><h1>{escape(dashboard.title)}</h1><div class="about">{escape(dashboard.description)}</div>'
        f"{_navigation(dashboard, variables, start, end)}</header>{_scope(dashboard, variables, start, end)}{alarm}{''.join(rows)}"
        "</main></body></html>\n"
    )


def missing_data(
    dashboards: Sequence[Dashboard],
    query_range: QueryRange,
    variables: Mapping[str, str],
    start: float,
    end: float,
    *,
    without: frozenset[str] = frozenset(),
) -> list[str]:
    """Return `uid / panel: query` of every panel query that has no data in the range; an empty list is what one hopes for.

    Args:
        without: hardware that this machine lacks, e.g. `{"gpu"}`; panels that need it are left out.

    Raises:
        TelemetryUnavailable: the source did not answer, which is not the same as no data.
    """
    missing = []
    for dashboard in dashboards:
        chosen = {one.name: _quoted(variables.get(one.name, "")) for one in dashboard.variables}
        run = _Run(query_range, chosen, start, end, max(1.0, round((end - start) / _POINTS)))
        run.scrape = scrape_interval(run.query(promql.SCRAPES_IN_5M, instant=True))
        queries = [(panel.title, query) for panel in dashboard.panels() if panel.needs not in without for query in panel.queries]
        queries += [(f"annotation {marker.name}", Query(marker.expr)) for marker in dashboard.markers]
        for title, query in queries:
            found = run.query(query.expr, instant=query.instant)
            if run.problem:
                raise TelemetryUnavailable("OBS-DASH-004", run.problem, todo="try again when the metrics answer")
            if not any(math.isfinite(value) for one in found for _, value in one.samples):
                missing.append(f"{dashboard.uid} / {title}: {query.expr}")
    return missing


def scrape_interval(answer: Sequence[Series]) -> float:
    """Learn the scrape interval in seconds from how many samples a target left in five minutes; 15 if nobody knows."""
    count = max((value for one in answer for _, value in one.samples[-1:]), default=0.0)
    return 300 / count if count >= 1 else 15.0


def _whole(seconds: float) -> str:
    return format_duration(math.ceil(seconds))


def _quoted(value: str) -> str:
    """A value from an address as a PromQL regular expression inside double quotes; all of them if it is empty."""
    if value in ("", "$__all", "All"):
        return ".*"
    return re.escape(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")


def _marks(dashboard: Dashboard, run: _Run) -> list[Mark]:
    marks = []
    for marker in dashboard.markers:
        for one in run.query(marker.expr):
            times = {value / 1000 for _, value in one.samples if value > 0}
            marks += [Mark(at, _legend(marker.text, one.labels), marker.tone) for at in times if run.start <= at <= run.end]
    return sorted(marks, key=lambda mark: mark.at)


def _legend(template: str, labels: Mapping[str, str]) -> str:
    if not template:
        return ", ".join(f"{key} {value}" for key, value in sorted(labels.items()) if key != "__name__") or "value"
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match.group(1), ""), template).strip() or "all"


def _panel(uid: str, panel: Panel, run: _Run, marks: Sequence[Mark]) -> str:
    answers = [(query, run.query(query.expr, instant=query.instant)) for query in panel.queries]
    body = {"timeseries": _time, "stat": _stat, "table": _table, "state-timeline": _states}[panel.kind](panel, answers, run, marks)
    about = "" if panel.kind == "stat" and panel.width <= 3 else f"<p>{escape(panel.description)}</p>"
    # What was not answered is unknown: "no traffic" would be a claim.
    content = body or f'<div class="none">{"unknown: the metrics did not answer" if run.problem else escape(panel.no_value)}</div>'
    place = f'id="panel-{panel_id(uid, panel.slug)}" style="grid-column:span {panel.width}"'
    return (
        f'<div class="panel {panel.kind}" {place} title="{escape(panel.description)}"><h3>{escape(panel.title)}</h3>{about}{content}</div>'
    )


Answers = Sequence[tuple[Query, list[Series]]]


def _time(panel: Panel, answers: Answers, run: _Run, marks: Sequence[Mark]) -> str:
    lines, limits = [], []
    for query, found in answers:
        for one in found:
            name = _legend(query.legend, one.labels)
            known = [value for _, value in one.samples if math.isfinite(value)]
            if query.limit:
                limits += [(known[-1], name)] if known else []
            elif known:
                lines.append(Line(name, _gaps(one.samples, run.step), run.colour(name), stepped=panel.stepped))
    if not lines:
        return ""
    lines.sort(key=lambda line: line.name)
    margin = max([60.0, *(7.0 * min(len(line.name), 16) + 62 for line in lines), *(7.0 * len(name) + 16 for _, name in limits)])
    scale = 1000 * panel.width / 24
    frame = Frame(
        run.start, run.end, width=max(scale * 1.42, 420), height=40 + 20 * panel.height * (1 if panel.width < 20 else 1.1),
        left=54, right=18 if panel.stacked else margin,
        unit=panel.unit, low=panel.minimum, high=panel.maximum, top=8,
    )  # fmt: skip
    if panel.stacked:
        keys = "".join(f'<span class="{line.colour}">{escape(line.name)}</span>' for line in lines)
        return f'{time_chart(lines, frame, marks=marks, stacked=True, label=panel.title)}<div class="keys">{keys}</div>'
    return time_chart(lines, frame, marks=marks, limits=limits, label=panel.title)


def _gaps(samples: Sequence[tuple[float, float]], step: float) -> list[Point]:
    """Samples with a hole wherever a step is missing, so that an outage is not drawn over."""
    points: list[Point] = []
    for at, value in samples:
        if points and at - points[-1][0] > 1.5 * step:
            points.append((at - step, None))
        points.append((at, value if math.isfinite(value) else None))
    return points


def _stat(panel: Panel, answers: Answers, run: _Run, marks: Sequence[Mark]) -> str:
    del run, marks
    cells = []
    for query, found in answers:
        for one in found:
            known = [value for _, value in one.samples if math.isfinite(value)]
            if known:
                name = _legend(query.legend, one.labels) if "{{" in query.legend else ""
                value = round(known[-1], panel.decimals) if panel.decimals == 0 else known[-1]
                figure = f"<b>{format_value(value, panel.unit)}</b><span>{escape(name)}</span>"
                cells.append((name, f'<div class="{tone_of(value, panel.steps)}">{figure}</div>'))
    return f'<div class="stats">{"".join(cell for _, cell in sorted(cells))}</div>' if cells else ""


def _table(panel: Panel, answers: Answers, run: _Run, marks: Sequence[Mark]) -> str:
    del run, marks
    rows = [(one.samples[-1][1], one.labels) for _, found in answers for one in found if one.samples and math.isfinite(one.samples[-1][1])]
    if not rows:
        return ""
    rows.sort(key=lambda row: -row[0])
    head = "".join(f"<th>{escape(title)}</th>" for _, title in panel.columns)
    body = ""
    for value, labels in rows[:14]:
        shown = round(value) if panel.decimals == 0 else value
        cells = (format_value(shown, panel.unit) if label == "Value" else labels.get(label, "") for label, _ in panel.columns)
        tone = tone_of(value, panel.steps)
        body += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells).replace("<td>", f'<td class="{tone}">') + "</tr>"
    return f"<table><tr>{head}</tr>{body}</table>"


def _states(panel: Panel, answers: Answers, run: _Run, marks: Sequence[Mark]) -> str:
    del marks
    segments = []
    for query, found in answers:
        for one in found:
            name = _legend(query.legend, one.labels)
            colour = _PHASES.get(one.labels.get(names.PHASE, ""), "s6")
            times = [at for at, value in one.samples if value > 0]
            while times:
                last = next((i for i in range(1, len(times)) if times[i] - times[i - 1] > 1.5 * run.step), len(times))
                segments.append((times[0], times[last - 1] + run.step, colour, name))
                times = times[last:]
    if not segments:
        return ""
    _, until, colour, name = max(segments, key=lambda segment: (segment[1], segment[0]))
    now = f'<div class="stats"><div class="{colour if until > run.end - 2 * run.step else ""}"><b>{escape(name)}</b></div></div>'
    frame = Frame(run.start, run.end, width=710 * panel.width / 12, height=110, left=18, right=18, top=22)
    return now + strip(sorted(segments), frame, label=panel.title)


def tone_of(value: float, steps: Steps | None) -> str:
    """The tone that thresholds give a value; empty without thresholds."""
    if steps is None:
        return ""
    tone, later = steps
    for at, name in later:
        tone = name if value >= at else tone
    return tone


def _navigation(dashboard: Dashboard, variables: Mapping[str, str], start: float, end: float) -> str:
    from mlops_obs.dashboards.catalogue import DASHBOARDS

    links = []
    for one in DASHBOARDS:
        title = escape(one.title)
        links.append(
            f"<b>{title}</b>" if one.uid == dashboard.uid else f'<a href="/d/{one.uid}?{_address(variables, start, end)}">{title}</a>'
        )
    return f"<nav>{''.join(links)}</nav>"


def _address(variables: Mapping[str, str], start: float, end: float) -> str:
    chosen = "".join(f"var-{quote(name)}={quote(value)}&amp;" for name, value in variables.items() if value)
    return f"{chosen}from={int(start * 1000)}&amp;to={int(end * 1000)}"


def _scope(dashboard: Dashboard, variables: Mapping[str, str], start: float, end: float) -> str:
    parts = [f"{escape(one.label)} <b>{escape(variables.get(one.name) or 'all')}</b>" for one in dashboard.variables]
    day = datetime.fromtimestamp(start, UTC).strftime("%-d %B %Y")
    parts.append(f"<b>{day}, {clock(start)} to {clock(end)} UTC</b> ({humanize_duration(end - start)})")
    return f'<div class="scope">{"".join(f"<span>{part}</span>" for part in parts)}</div>'
