"""The report of a run: what happened to each revision, on what evidence, and what on-call was told. One self-contained file.

It is read by somebody who was not there. So it answers in the first line, numbers every decision once and repeats that
number on every chart, and puts all charts on one time axis. It shows only what was recorded: nothing here knows how a run
ought to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from mlops_obs import metric_names as names
from mlops_obs.dashboards import report_words as words
from mlops_obs.dashboards.charts import Frame, Line, Mark, lanes, time_chart
from mlops_obs.dashboards.figures import clock, format_value
from mlops_obs.dashboards.report_data import (
    Record,
    ReportData,
    Story,
    budget_line,
    counted,
    error_line,
    evidence_lines,
    latency_lines,
    revisions_seen,
    stories,
    weight_lines,
)
from mlops_obs.dashboards.theme import BASE_CSS
from mlops_obs.durations import humanize_duration

PAGE_CSS = """
main{max-width:1080px;margin:0 auto;padding:56px 32px 72px}
.eyebrow{color:var(--soft);font-size:13.5px;display:flex;justify-content:space-between;gap:24px;flex-wrap:wrap;padding-bottom:14px;
  border-bottom:1px solid var(--line)}
.eyebrow b{color:var(--ink);font-weight:600}
h1{font-size:clamp(28px,4.2vw,44px);line-height:1.14;letter-spacing:-.022em;font-weight:650;margin:34px 0 16px;max-width:21em;
  text-wrap:balance}
h1 em{font-style:normal;color:var(--c)}
.lede{font-size:17.5px;line-height:1.55;color:var(--soft);max-width:44em;text-wrap:pretty}
.lede b{color:var(--ink);font-weight:600}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:20px 28px;margin:36px 0 8px;padding:0}
.facts div{border-top:2px solid var(--c,var(--line));padding:10px 0 0}
.facts dd{margin:0;font-size:27px;letter-spacing:-.02em;font-weight:600;line-height:1.15;font-variant-numeric:tabular-nums;
  color:var(--c,var(--ink))}
.facts dt{color:var(--soft);font-size:13px;line-height:1.35;margin-top:4px}
.facts div{display:flex;flex-direction:column}
section{margin-top:60px}
h2{font-size:21px;letter-spacing:-.012em;font-weight:650;line-height:1.25}
h2+p{color:var(--soft);font-size:15px;max-width:46em;margin-top:5px;text-wrap:pretty}
figure{margin-top:22px;overflow-x:auto}
figure svg{min-width:640px}
figcaption{font-size:13px;font-weight:600;margin-bottom:2px}
figcaption span{font-weight:400;color:var(--soft)}
table{border-collapse:collapse;width:100%;margin-top:22px;font-size:14px;font-variant-numeric:tabular-nums}
th{font-weight:500;color:var(--soft);text-align:left;font-size:12.5px;padding:0 14px 8px 0;vertical-align:bottom;line-height:1.3}
td{padding:11px 14px 11px 0;border-top:1px solid var(--line);vertical-align:top;line-height:1.4}
td.n,th.n{text-align:right;white-space:nowrap}
td small{display:block;color:var(--soft);font-size:13px;max-width:36em;text-wrap:pretty}
td b{font-weight:600;color:var(--c,var(--ink))}
td .vs{color:var(--soft);font-size:13px}
.no{display:inline-block;min-width:21px;height:21px;line-height:19px;border:1.4px solid var(--c,var(--soft));color:var(--c,var(--soft));
  border-radius:11px;text-align:center;font-size:11.5px;font-weight:700}
.note{border-left:3px solid var(--bad);background:var(--card);padding:4px 0;margin-top:20px;box-shadow:0 0 0 1px var(--line)}
.note header{display:flex;justify-content:space-between;gap:20px;flex-wrap:wrap;font-size:13px;color:var(--soft);padding:10px 20px;
  border-bottom:1px solid var(--hair)}
.note header b{color:var(--bad);font-weight:600}
pre{margin:0;padding:16px 20px;overflow-x:auto;font:13.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
  white-space:pre-wrap;overflow-wrap:anywhere}
.empty{color:var(--soft);margin-top:14px;font-size:15px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:8px 40px}.two figure svg{min-width:0}
footer{margin-top:64px;padding-top:16px;border-top:1px solid var(--line);color:var(--soft);font-size:13px;max-width:60em}
.tablewrap{overflow-x:auto}.tablewrap td:nth-child(3){min-width:14em}
@media screen and (max-width:760px){main{padding:32px 18px 48px}.two{grid-template-columns:1fr}section{margin-top:44px}}
@media print{main{padding:0;max-width:none}section{margin-top:30px}h1{margin-top:20px;font-size:30px}.facts dd{font-size:21px}
  .two svg text{font-size:10px}svg text{font-size:13px}
  figure{overflow:visible}@page{margin:16mm 14mm}}
"""


def render_report(data: ReportData) -> str:
    """Return the report as one HTML document: no scripts, no outside resources, light, dark and print."""
    told = stories(data.records)
    colours = words.colours(told, [*revisions_seen(data.requests)])
    start = max(data.started, min((story.began for story in told), default=data.started) - 15)
    decisions = [record for story in told for record in story.decisions]
    marks = [Mark(float(r["at"]), words.deed(r, told), words.tone(r), str(index)) for index, r in enumerate(decisions, 1)]
    span = f"{datetime.fromtimestamp(data.started, UTC):%-d %B %Y}, {clock(data.started)} to {clock(data.ended)} UTC"
    sections = [
        _traffic(data, told, colours, start, marks),
        _evidence(data, told, colours, start, marks),
        _decisions(told, decisions),
        _pages(data),
        _budget(data, start, marks),
        _stages(data),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(data.service)}: {escape(words.plain_verdict(told))}</title><style>{BASE_CSS}{PAGE_CSS}</style></head><body><main>"
        f'<div class="eyebrow"><span><b>{escape(data.service)}</b> rollout report</span><span>{span}</span></div>'
        f'<h1>{words.verdict(told)}</h1><p class="lede">{words.lede(data, told)}</p>{_facts(data, told)}'
        f"{''.join(sections)}<footer>{escape(data.note)} {words.COLOPHON}</footer></main></body></html>\n"
    )


def _facts(data: ReportData, told: Sequence[Story]) -> str:
    requests = counted(data)
    failed = counted(data, outcome=names.OUTCOME_ERROR)
    facts = [("", f"{requests:,}".replace(",", "\u202f"), "requests answered")]
    facts.append(
        ("bad" if failed else "good", format_value(failed / requests if requests else None, "percentunit"), f"of them failed ({failed})")
    )
    for story in told:
        if story.phase == "RolledBack":
            facts.append(("", humanize_duration(story.ended - story.began), f"from {story.canary}'s first request to its rollback"))
        if story.phase == "Promoted":
            facts.append(("", humanize_duration(story.ended - story.began), f"from {story.canary}'s first request to its promotion"))
    count = len(data.pages)
    facts.append(("bad" if count else "good", str(count), "page sent to on-call" if count == 1 else "pages sent to on-call"))
    cells = "".join(f'<div class="{tone}"><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>' for tone, value, name in facts)
    return f'<dl class="facts">{cells}</dl>'


def _section(title: str, about: str, *body: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{''.join(body)}</section>"


def _figure(title: str, about: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)} <span>{escape(about)}</span></figcaption>{svg}</figure>"


def _traffic(data: ReportData, told: Sequence[Story], colours: dict[str, str], start: float, marks: Sequence[Mark]) -> str:
    title, about = (
        "What callers saw",
        "One time axis for all charts. The numbered lines are the controller's decisions, explained further below.",
    )
    if not data.requests:
        return _section(title, about, '<p class="empty">No request counters were found for this time.</p>')
    weights = [Line(name, points, colours.get(name, "s3"), stepped=True) for name, points in weight_lines(data, start).items()]
    order = {story.canary: index for index, story in enumerate(told, 1)}
    weights.sort(key=lambda line: order.get(line.name, 0))
    revisions = sorted(revisions_seen(data.requests), key=lambda name: order.get(name, 0))
    errors = [Line(name, error_line(data, name, start), colours[name]) for name in revisions]
    latencies: list[Line] = []
    for name in revisions:
        middle, slowest = latency_lines(data, name, (0.5, 0.99), start)
        latencies += [Line(f"{name} median", middle, colours[name], quiet=True), Line(name, slowest, colours[name])]
    allowed = [(1 - p.objective, f"{p.name} SLO") for p in data.promises if p.threshold is None and p.name == "availability"]
    slow = [(p.threshold, "SLO") for p in data.promises if p.threshold is not None]

    def frame(height: float, unit: str, high: float | None = None, *, numbered: bool = False) -> Frame:
        return Frame(start, data.ended, height=height, unit=unit, high=high, top=26 if numbered else 10)

    quiet = [Mark(mark.at, mark.label, mark.colour) for mark in marks]
    charts = [
        _figure(
            "Traffic",
            "share of requests sent to each revision",
            time_chart(weights, frame(170, "percentunit", 1, numbered=True), marks=marks, stacked=True, label="Traffic by revision"),
        ),
        _figure(
            "Errors",
            "share of requests that failed",
            time_chart(errors, frame(150, "percentunit"), marks=quiet, limits=allowed, label="Errors by revision"),
        ),
        _figure(
            "Latency",
            "slowest 1 % of requests; thin lines: the median",
            time_chart(latencies, frame(170, "s"), marks=quiet, limits=slow, label="Latency by revision"),
        ),
    ]
    return _section(title, about, *charts)


def _evidence(data: ReportData, told: Sequence[Story], colours: dict[str, str], start: float, marks: Sequence[Mark]) -> str:
    bounds = [number for story in told for r in story.decisions for number in words.bounds(r)]
    lines: list[Line] = []
    for story in told:
        for test, points in evidence_lines(data.records, story).items():
            flat = max(value or 0 for _, value in points) < 0.3
            lines.append(Line(f"{story.canary} {test}", points, colours.get(story.canary, "s3"), quiet=flat and test != "errors"))
    about = (
        "Each request is one piece of evidence for or against the new revision, compared with what the stable one did in the same seconds. "
        "At the dashed line chance has stopped being an explanation, and the controller rolls back. "
        "Looking often does not raise the false alarm rate."
    )
    if not lines:
        return _section("The evidence against each revision", about, '<p class="empty">No evidence was recorded in this time.</p>')
    limits = [(max(bounds), f"limit {words.odds(max(bounds))}")] if bounds else []
    quiet = [Mark(mark.at, mark.label, mark.colour, mark.number) for mark in marks]
    frame = Frame(start, data.ended, height=210, unit="log10", low=None, top=26)
    return _section(
        "The evidence against each revision",
        about,
        _figure(
            "Evidence that it is worse",
            "as odds against chance, logarithmic",
            time_chart(lines, frame, marks=quiet, limits=limits, label="Evidence"),
        ),
    )


def _decisions(told: Sequence[Story], decisions: Sequence[Record]) -> str:
    if not decisions:
        return _section("Every decision", "In the order in which they were taken.", '<p class="empty">No decision was recorded.</p>')
    rows = []
    for index, record in enumerate(decisions, 1):
        cells = "".join(f'<td class="n">{words.comparison(record, test)}</td>' for test in ("errors", "slow"))
        rows.append(
            f'<tr class="{words.tone(record).replace("soft", "")}"><td><span class="no">{index}</span></td>'
            f"<td>{clock(float(record['at']))}</td>"
            f"<td><b>{escape(words.deed(record, told))}</b><small>{escape(words.polished(str(record.get('reason', ''))))}</small></td>"
            f'{cells}<td class="n">{words.strongest(record)}</td></tr>'
        )
    head = (
        '<tr><th></th><th>Time</th><th>Decision, and the reason as recorded</th><th class="n">Failed,<br>new against stable</th>'
        '<th class="n">Slow,<br>new against stable</th><th class="n">Evidence that<br>it is worse</th></tr>'
    )
    return _section(
        "Every decision",
        "With the counts it rested on. Looks that changed nothing are left out; obs rollout history has them all.",
        f'<div class="tablewrap"><table>{head}{"".join(rows)}</table></div>',
    )


def _pages(data: ReportData) -> str:
    if not data.pages:
        return _section("The page", "Nobody was paged.")
    title = "The page as it arrived" if len(data.pages) == 1 else f"The {len(data.pages)} pages as they arrived"
    cards = "".join(
        f'<div class="note"><header><b>{escape(words.page_title(page))}</b><span>received {clock(page.received_at)} UTC</span></header>'
        f"<pre>{escape(page.text.rstrip())}</pre></div>"
        for page in data.pages
    )
    return _section(title, "Word for word what on-call received.", cards)


def _budget(data: ReportData, start: float, marks: Sequence[Mark]) -> str:
    quiet = [Mark(mark.at, mark.label, mark.colour) for mark in marks]
    charts = []
    for index, promise in enumerate(data.promises):
        points = budget_line(data, promise, start)
        if points and (promise.threshold is not None or promise.name == "availability"):
            last = points[-1][1] or 0.0
            line = Line("left", points, "bad" if last < 0 else "warn" if last < 0.25 else "good")
            low = min(0.0, *(value or 0.0 for _, value in points))
            frame = Frame(
                start, data.ended, width=520, height=170, left=52, right=92, unit="percentunit", low=None if low < 0 else 0, high=1, top=10
            )
            kept = f"within {format_value(promise.threshold, 's')}" if promise.threshold else "without an error"
            about = f"{format_value(promise.objective, 'percentunit')} {kept}"
            limit = [(0.0, "spent")] if low < 0 else []
            charts.append(
                _figure(
                    promise.name.capitalize(), about, time_chart([line], frame, marks=quiet, limits=limit, label=f"Error budget {index}")
                )
            )
    about = (
        "How much of the failures that the promise allows for this very traffic was still unspent. Below zero, the promise would be broken."
    )
    return _section("The error budget", about, f'<div class="two">{"".join(charts)}</div>') if charts else ""


def _stages(data: ReportData) -> str:
    if not data.stages:
        return ""
    start, end = min(stage.start for stage in data.stages), max(stage.end for stage in data.stages)
    bars = [
        (
            stage.name,
            stage.start,
            stage.end,
            "s0",
            f"{humanize_duration(stage.end - stage.start)}{' · ' + stage.note if stage.note else ''}",
        )
        for stage in data.stages
    ]
    left = min(340.0, max(190.0, 7.0 * max(len(stage.name) for stage in data.stages) + 12))
    svg = lanes(bars, Frame(start, end, left=left, right=200), label="Stages")
    return _section("How it came to be", "Every stage before and around the rollouts, and the time it took.", f"<figure>{svg}</figure>")
