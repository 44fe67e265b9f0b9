"""One rollout as one HTML page: how it ended, on what evidence, and what is left to do. It opens offline, light, dark and on paper.

It is drawn from the records alone, by somebody who was not there, perhaps a year later. The trap is the tidy chart: what
nobody counted stays a gap, and every share carries the interval that its few requests leave open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from mlops_obs.dashboards.charts import Band, Frame, Line, Mark, Point, time_chart
from mlops_obs.dashboards.figures import DASH, clock, format_value
from mlops_obs.dashboards.report import PAGE_CSS
from mlops_obs.dashboards.theme import BASE_CSS
from mlops_obs.durations import humanize_duration

Plain = Mapping[str, Any]
_BINS = 36
_Z = 1.96
_ENDS = {
    "Promoted": ("good", "{canary} was promoted"),
    "RolledBack": ("bad", "{canary} was rolled back"),
    "Aborted": ("warn", "the rollout of {canary} was aborted"),
    "Watching": ("good", "{canary} has all the traffic and is watched"),
}
_OVER = ("Promoted", "RolledBack", "Aborted")
_TONES = {"rollback": "bad", "abort": "warn", "hold": "warn", "promote": "good", "advance": "good", "finish": "good"}
_QUESTIONS = (("errors", "Failed requests", "errors", "total"), ("slow", "Slow requests", "slow", "timed"))
_WORDS = {"cluster": "The cluster", "object": "The Rollout", "git": "Git", "package": "The package", "traffic": "The traffic"}
COLOPHON = (
    "Drawn from the evidence log of the rollout; obs rollout verify proves that the log is whole, obs rollout replay reproduces every "
    "decision from it. Bands are 95 % intervals of what was counted; the evidence is valid however often one looks."
)


def render_rollout_report(standing: Plain, records: Sequence[Plain], slices: Sequence[Plain], explained: Plain | None = None) -> str:
    """Return the report as one HTML document; same input, same bytes.

    Args:
        standing: the status as `obs rollout status -o json` prints it.
        records: the evidence log of the rollout, in order, with seq and hash.
        slices: counts by arm and slice: start, end, weight, missing, canary and stable with total, errors, timed and slow.
        explained: the deciding decision, as `obs rollout explain -o json` prints it.
    """
    start = float(standing["created_at"])
    end = max([start + 1.0, *(float(one["at"]) for one in records), *(float(one["end"]) for one in slices)])
    decisions = _told(records)
    marks = [Mark(float(one["at"]), f"{one['action']}: {one['reason']}", _tone(one), str(index)) for index, one in enumerate(decisions, 1)]
    tone, verdict = _ENDS.get(str(standing["phase"]), ("warn", "{canary} is on its way"))
    verdict = verdict.format(canary=standing["canary"])
    day = f"{datetime.fromtimestamp(start, UTC):%-d %B %Y}, {clock(start)} to {clock(end)} UTC"
    body = "".join(
        (
            _facts(standing, slices, end),
            _traffic(standing, records, start, end, marks),
            _evidence(standing, records, start, end, marks),
            _shares(standing, slices, start, end, marks),
            _why(explained),
            _left(standing),
            _decisions(decisions),
        )
    )
    last = records[-1] if records else {}
    foot = f"{COLOPHON} {len(records)} records, the last {last.get('seq', DASH)} with hash {last.get('hash', DASH)}."
    top = f"<span><b>{escape(standing['service'])}</b> rollout {escape(standing['rollout'])}</span><span>{day}</span>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(standing['service'])}: {escape(verdict)}</title><style>{BASE_CSS}{PAGE_CSS}</style></head><body><main>"
        f'<div class="eyebrow">{top}</div>'
        f'<h1><em class="{tone}">{escape(verdict)}</em></h1><p class="lede">{escape(str(standing["reason"]))}</p>'
        f"{body}<footer>{escape(foot)}</footer></main></body></html>\n"
    )


def wilson(bad: int, total: int, z: float = _Z) -> tuple[float, float]:
    """Return the interval of a share of bad requests (Wilson); nothing counted, nothing known."""
    if total <= 0:
        return 0.0, 1.0
    p, n = bad / total, float(total)
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


def share_points(
    slices: Sequence[Plain], arm: str, bad: str, total: str, width: float
) -> tuple[list[Point], list[tuple[float, float | None, float | None]]]:
    """Return the share of bad requests of an arm in bins of about `width` seconds, and its interval; an empty bin is a gap."""
    bins: dict[int, list[Plain]] = {}
    for one in slices:
        bins.setdefault(int(float(one["start"]) // width), []).append(one)
    line: list[Point] = []
    band: list[tuple[float, float | None, float | None]] = []
    for number in range(min(bins, default=0), max(bins, default=-1) + 1):
        told = [one[arm] for one in bins.get(number, ()) if not one.get("missing")]
        failed, asked, at = sum(one[bad] for one in told), sum(one[total] for one in told), (number + 0.5) * width
        line.append((at, failed / asked if asked else None))
        band.append((at, *wilson(failed, asked)) if asked else (at, None, None))
    return line, band


def _facts(standing: Plain, slices: Sequence[Plain], end: float) -> str:
    tests = standing["evidence"].get("tests", {})
    served = sum(one["canary"]["total"] for one in slices)
    failed = sum(one["canary"]["errors"] for one in slices)
    if not slices and "errors" in tests:
        served, failed = tests["errors"]["canary_total"], tests["errors"]["canary_bad"]
    began = standing["began_at"] or standing["created_at"]
    facts = [
        ("", humanize_duration(max(0.0, float(standing["ended_at"] or end) - float(began))), "from the first request to the end"),
        ("", f"{served:,}".replace(",", "\u202f"), f"requests that {standing['canary']} answered"),
        ("bad" if failed else "good", f"{failed:,}".replace(",", "\u202f"), "of them failed"),
    ]
    if tests:
        strongest = max(tests.items(), key=lambda pair: pair[1]["log10_e_peak"] / (pair[1]["log10_bound"] or 1))
        words = f"evidence that it is worse ({strongest[0]}), of {_odds(strongest[1]['log10_bound'])}"
        facts.append(("bad" if strongest[1]["condemned"] else "good", _odds(strongest[1]["log10_e_peak"]), words))
    cells = "".join(f'<div class="{tone}"><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>' for tone, value, name in facts)
    return f'<dl class="facts">{cells}</dl>'


def _traffic(standing: Plain, records: Sequence[Plain], start: float, end: float, marks: Sequence[Mark]) -> str:
    moves = [
        (float(one["at"]), dict(one["weights_after"])) for one in records if one["kind"] == "result" and one["ok"] and one["weights_after"]
    ]
    before = next((dict(one["weights_before"]) for one in records if one["weights_before"]), {standing["stable"] or "stable": 100})
    steps = [(start, before), *moves, (end, moves[-1][1] if moves else before)]
    revisions = sorted({name for _, weights in steps for name in weights}, key=lambda name: (name == standing["canary"], name))
    lines = [
        Line(name, [(at, weights.get(name, 0) / 100) for at, weights in steps], "s3" if name == standing["canary"] else "s0", stepped=True)
        for name in revisions
    ]
    frame = Frame(start, end, height=170, unit="percentunit", high=1, top=26)
    chart = time_chart(lines, frame, marks=marks, stacked=True, label="Traffic by revision")
    return _section("Where the traffic went", "As the target applied it, not as it was wished. The numbers are the decisions below.", chart)


def _evidence(standing: Plain, records: Sequence[Plain], start: float, end: float, marks: Sequence[Mark]) -> str:
    points: dict[str, list[Point]] = {}
    bounds: list[float] = []
    for one in records:
        if one["kind"] == "decision":
            tests = one["evidence"].get("tests", {})
            for name in {*points, *tests}:
                value = float(tests[name]["log10_e"]) if name in tests else None  # not judged at this look: a gap
                points.setdefault(name, []).append((float(one["at"]), value))
            bounds += [float(test["log10_bound"]) for test in tests.values()]
    if not points:
        return _section("The evidence", "", '<p class="empty">No evidence was recorded.</p>')
    lines = [Line(name, path, f"s{index % 8}") for index, (name, path) in enumerate(sorted(points.items()))]
    frame = Frame(start, end, height=200, unit="log10", low=None, top=26)
    chart = time_chart(lines, frame, marks=marks, limits=[(max(bounds), f"limit {format_value(max(bounds), 'log10')}")], label="Evidence")
    about = (
        f"Odds against chance that {standing['canary']} is worse than {standing['stable']}, by test. At the dashed line it is rolled back."
    )
    return _section("The evidence", about, chart)


def _shares(standing: Plain, slices: Sequence[Plain], start: float, end: float, marks: Sequence[Mark]) -> str:
    if not slices:
        return ""
    width = max((end - start) / _BINS, float(slices[0]["end"]) - float(slices[0]["start"]))
    quiet = [Mark(mark.at, mark.label, mark.colour) for mark in marks]
    charts = []
    for _, title, bad, total in _QUESTIONS:
        lines, bands = [], []
        for arm, colour in (("stable", "s0"), ("canary", "s3")):
            line, band = share_points(slices, arm, bad, total, width)
            lines.append(Line(str(standing[arm] or arm), line, colour))
            bands.append(Band(band, colour))
        frame = Frame(start, end, height=150, unit="percentunit", top=10)
        charts.append(f"<figcaption>{title}</figcaption>" + time_chart(lines, frame, marks=quiet, bands=bands, label=title))
    about = f"Share of each revision's requests, counted over {humanize_duration(width)} each, with its 95 % interval."
    return _section("What both answered in the same minutes", about, *charts)


def _why(explained: Plain | None) -> str:
    if not explained:
        return ""
    rows = "".join(
        f'<tr><td><b>{escape(name)}</b></td><td class="n">{_count(one["canary_bad"], one["canary_total"])}</td>'
        f'<td class="n">{_count(one["stable_bad"], one["stable_total"])}</td><td class="n">{_ratio(one)}</td>'
        f'<td class="n">{_odds(one["log10_e_peak"])}<br><span class="vs">of {_odds(one["log10_bound"])}</span></td>'
        f'<td class="n">{one["difference_upper"]:.1%}<br><span class="vs">limit {one["margin"]:.1%}</span></td></tr>'
        for name, one in sorted(explained["tests"].items())
    )
    head = (
        '<tr><th>Test</th><th class="n">New</th><th class="n">Stable</th><th class="n">Ratio</th>'
        '<th class="n">Evidence that<br>it is worse</th><th class="n">Worse by<br>at most</th></tr>'
    )
    table = f"<table>{head}{rows}</table>" if rows else ""
    other = "".join(f"<li>{escape(one)}</li>" for one in explained["changes"])
    title = f"Why: decision {explained['seq']}, {explained['action']} at {clock(float(explained['at']))} UTC"
    after = f'<p class="empty">What would have changed it:</p><ul>{other}</ul>' if other else ""
    return f"<section><h2>{escape(title)}</h2><p>{escape(str(explained['reason']))}</p>{table}{after}</section>"


def _left(standing: Plain) -> str:
    if not standing["holds"]:
        return ""
    rows = "".join(
        f"<tr><td><b>{_WORDS.get(key, escape(key))}</b></td><td>{escape(text)}</td></tr>" for key, text in standing["holds"].items()
    )
    return _section("What is left", "A rollback moves traffic and writes no Git.", f"<table>{rows}</table>", figure=False)


def _decisions(decisions: Sequence[Plain]) -> str:
    rows = []
    for index, one in enumerate(decisions, 1):
        who = "" if one["actor"] == "controller" else f" by {one['actor']}"
        weights = " ".join(f"{name} {percent} %" for name, percent in sorted((one["weights_after"] or {}).items()))
        failed = "" if one["ok"] else f" <b>failed{f' {times} times' if (times := one['times']) > 1 else ''}</b>"
        rows.append(
            f'<tr class="{_tone(one).replace("soft", "")}"><td><span class="no">{index}</span></td><td>{clock(float(one["at"]))}</td>'
            f"<td><b>{escape(one['action'])}</b>{escape(who)}{failed}<small>{escape(str(one['reason']))}</small></td>"
            f'<td class="n">{escape(weights)}</td><td class="n">{one.get("seq", DASH)}</td></tr>'
        )
    head = (
        '<tr><th></th><th>Time</th><th>What, and the reason as recorded</th><th class="n">Traffic then</th><th class="n">Record</th></tr>'
    )
    table = f'<div class="tablewrap"><table>{head}{"".join(rows)}</table></div>'
    return _section("Every decision", "Looks that changed nothing are left out; obs rollout history has them all.", table, figure=False)


def _told(records: Sequence[Plain]) -> Sequence[Plain]:
    """Return the records worth a line: decisions but waiting, what people asked for, and acts that failed; repetitions once.

    An act that fails and is sent again is two lines, however often, with `times` of failure in the second.
    """
    told: list[dict[str, Any]] = []
    for one in records:
        asked = one["kind"] == "request" and one["action"] != "start"
        if not (asked or (one["kind"] == "decision" and one["action"] != "wait") or (one["kind"] == "result" and not one["ok"])):
            continue
        same = next((back for back in (1, 2) if len(told) >= back and _alike(told[-back], one)), 0)
        if asked or not same or (same == 2 and told[-1]["ok"]):
            told.append({**one, "times": 1})
        elif same == 1:
            told[-1]["times"] += 1
    return told


def _alike(one: Plain, other: Plain) -> bool:
    same = all(one[key] == other[key] for key in ("kind", "action", "weights_after", "ok"))
    same = same and (one.get("phase") in _OVER) == (other.get("phase") in _OVER)
    return same and one["evidence"].get("attribution") == other["evidence"].get("attribution")


def _tone(one: Plain) -> str:
    return "bad" if not one["ok"] else _TONES.get(str(one["action"]), "soft")


def _section(title: str, about: str, *charts: str, figure: bool = True) -> str:
    body = "".join(f"<figure>{one}</figure>" if figure else one for one in charts)
    return f"<section><h2>{escape(title)}</h2><p>{escape(about)}</p>{body}</section>"


def _odds(log10: float) -> str:
    return f"{format_value(max(0.0, log10), 'log10')} : 1"


def _count(bad: int, total: int) -> str:
    return f'{bad / total:.1%}<br><span class="vs">{bad:,} of {total:,}</span>' if total else DASH


def _ratio(one: Plain) -> str:
    if one.get("ratio") is None or one.get("ratio_low") is None:
        return DASH
    middle, low, high = (f"{value:.2g}" if value < 10 else f"{value:,.0f}" for value in (one["ratio"], one["ratio_low"], one["ratio_high"]))
    return f'{middle}<br><span class="vs">{low} to {high}</span>'
