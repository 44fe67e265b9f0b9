"""A team's month of SLOs as one HTML page: what was promised, what was kept, and on which incidents the budget went.

It is read by people who were not there, in a meeting or on paper. So the verdict comes first, each chart has one line, and
an incident has the same number in the chart and in the table. No scripts, no outside resources.
"""

from __future__ import annotations

from html import escape

from mlops_obs.dashboards import slo_report_words as words
from mlops_obs.dashboards.charts import Frame, Line, Mark, time_chart
from mlops_obs.dashboards.report import PAGE_CSS
from mlops_obs.dashboards.slo_report_words import TeamReport
from mlops_obs.dashboards.theme import BASE_CSS
from mlops_obs.slo.accounts import Account, Incident

_CSS = """
.spent{display:inline-block;width:92px;height:9px;background:var(--hair);border-radius:2px;overflow:hidden;vertical-align:middle;
  margin-right:9px}
.spent i{display:block;height:100%;background:var(--c)}
td.v b{white-space:nowrap}
td small.who{max-width:24em}
"""


def render_slo_report(report: TeamReport) -> str:
    """Return the report as one HTML document, light, dark and print; same input, same bytes."""
    before, what, tone = words.headline(report)
    numbered = {id(incident): index for index, (_, incident) in enumerate(report.incidents, 1)}
    body = "".join(
        [
            _facts(report),
            _objectives(report),
            _charts(report, numbered),
            _incidents(report, numbered),
            _groups(report),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(report.team)}: SLOs in {escape(words.month_name(report))}</title><style>{BASE_CSS}{PAGE_CSS}{_CSS}</style></head>"
        f'<body><main><div class="eyebrow"><span><b>{escape(report.team)}</b> SLO report</span><span>{escape(words.month_name(report))}'
        f'</span></div><h1>{escape(before)} <em class="{tone}">{escape(what)}</em></h1><p class="lede">{escape(words.lede(report))}</p>'
        f"{body}<footer>{escape(words.COLOPHON)}</footer></main></body></html>\n"
    )


def _facts(report: TeamReport) -> str:
    judged = [one for one in report.accounts if one.met is not None]
    met = sum(1 for one in judged if one.met)
    facts = [("warn" if not judged else "good" if met == len(judged) else "bad", f"{met} / {len(judged)}", "objectives met")]
    if judged:
        worst = max(judged, key=lambda one: one.spent)
        facts.append((_tone(worst), words.percent(worst.spent), f"of its budget spent by {words.subject(worst)}, the most of all"))
    share = [incident.share for _, incident in report.incidents]
    facts.append(("", str(len(share)), "incident that stands out" if len(share) == 1 else "incidents that stand out"))
    if report.paged:
        what = "alert of severity page fired" if len(report.paged) == 1 else "alerts of severity page fired, silenced ones included"
        facts.append(("warn", str(len(report.paged)), what))
    cells = "".join(f'<div class="{tone}"><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>' for tone, value, name in facts)
    return f'<dl class="facts">{cells}</dl>'


def _objectives(report: TeamReport) -> str:
    rows = []
    for one in report.accounts:
        verdict, tone = words.verdict(one)
        about = f"<small>{escape(one.slo.description)}</small>" if one.slo.description else ""
        gap = f"<small>counted {words.percent(one.counted)} of the time</small>" if 0 < one.counted < 0.99 else ""
        counted = f'{words.number(one.bad)}<br><span class="vs">of {words.number(one.total)}</span>' if one.total > 0 else "\u2013"
        width = min(max(one.spent, 0.0), 1.0) * 100
        spent = (
            f'<span class="spent {_tone(one)}"><i style="width:{width:.1f}%"></i></span>{words.percent(one.spent)}'
            if one.total > 0
            else escape(words.nothing(one))
        )
        rows.append(
            f"<tr><td><b>{escape(one.slo.name)}</b> {escape(one.slo.service)}{about}</td>"
            f'<td class="n">{words.promised(one)}</td><td class="n">{words.measured(one)}{gap}</td>'
            f'<td class="n">{counted}</td>'
            f'<td>{spent}</td><td class="v {tone}"><b>{verdict}</b></td></tr>'
        )
    head = (
        '<tr><th>Objective</th><th class="n">Promised</th><th class="n">Measured</th><th class="n">Bad events</th>'
        "<th>Budget spent</th><th>Verdict</th></tr>"
    )
    return _section(
        "What was promised, what was kept",
        "Measured shares are cut off, not rounded, so that no digit flatters.",
        f'<div class="tablewrap"><table>{head}{"".join(rows)}</table></div>',
    )


def _charts(report: TeamReport, numbered: dict[int, int]) -> str:
    figures = []
    for one in report.accounts:
        known = [left for _, left in one.curve if left is not None]
        if one.total <= 0 or not known:
            continue
        low = min(known)
        frame = Frame(
            one.start, one.end, width=520, height=170, left=52, right=92, unit="percentunit", low=None if low < 0 else 0, high=1, top=26
        )
        marks = [_mark(one, incident, numbered[id(incident)]) for incident in one.incidents]
        line = Line("left", list(one.curve), _tone(one))
        limit = [(0.0, "spent")] if low < 0 else []
        chart = time_chart([line], frame, marks=marks, limits=limit, label=f"Error budget of {words.subject(one)}")
        figures.append(
            f"<figure><figcaption>{escape(one.slo.name)} <span>{escape(one.slo.service)}, {words.promised(one)}</span></figcaption>"
            f"{chart}</figure>"
        )
    about = "What was left of each budget, hour by hour. The numbers are the incidents below."
    return _section("Where the budgets went", about, f'<div class="two">{"".join(figures)}</div>') if figures else ""


def _mark(one: Account, incident: Incident, number: int) -> Mark:
    return Mark(incident.start, f"{words.subject(one)}: {words.percent(incident.share)} of the budget", "bad", str(number))


def _incidents(report: TeamReport, numbered: dict[int, int]) -> str:
    title = "Incidents that spent the budget"
    if not report.incidents:
        return _section(title, "None stands out: what was spent went little by little.")
    rows = [
        f'<tr class="{"bad" if incident.share >= 0.5 else ""}"><td><span class="no">{numbered[id(incident)]}</span></td>'
        f"<td>{words.moment(incident.start)}<small>for {words.lasted(incident)}</small></td>"
        f"<td><b>{escape(one.slo.name)}</b> {escape(one.slo.service)}"
        f'<small class="who">{escape("; ".join(words.told(report, one, incident)))}</small></td>'
        f'<td class="n">{words.number(incident.bad)}<br><span class="vs">of {words.number(incident.total)}</span></td>'
        f'<td class="n"><b>{words.percent(incident.share)}</b></td></tr>'
        for one, incident in report.incidents
    ]
    rest = [one for one in report.accounts if one.incidents and one.background >= 0.005]
    said = "; ".join(f"{words.subject(one)} {words.percent(one.background)}" for one in rest)
    note = f'<p class="empty">Outside of incidents went: {escape(said)}.</p>' if said else ""
    head = (
        '<tr><th></th><th>Began</th><th>Objective, and what else is known</th><th class="n">Bad events</th>'
        '<th class="n">Of the<br>month\u2019s budget</th></tr>'
    )
    about = "Each with its part of the month\u2019s budget; what is left over went little by little."
    return _section(title, about, f'<div class="tablewrap"><table>{head}{"".join(rows)}</table></div>{note}')


def _groups(report: TeamReport) -> str:
    rows = [
        f"<tr><td><b>{escape(name)}</b></td><td>{escape(words.subject(one))}</td>"
        f'<td class="n">{words.number(bad)}</td><td class="n">{words.number(total)}</td>'
        f'<td class="n">{words.percent(bad / one.bad)}</td></tr>'
        for one in report.accounts
        for name, bad, total in words.worst_groups(one)
    ]
    if not rows:
        return ""
    head = (
        '<tr><th>Group</th><th>Objective</th><th class="n">Bad</th><th class="n">All</th><th class="n">Part of all<br>bad events</th></tr>'
    )
    return _section("Who spent it", "By the label that each objective is grouped by.", f"<table>{head}{''.join(rows)}</table>")


def _tone(one: Account) -> str:
    return "bad" if one.met is False else "warn" if one.spent >= 0.75 else "good"


def _section(title: str, about: str, *body: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{''.join(body)}</section>"
