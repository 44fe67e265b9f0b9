"""Records turned into sentences: the words of the report, apart from its layout.

The trap is a sentence that is truer than the record. Each one is built from what was written when the decision was taken,
and a field that is missing is left out instead of guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlops_obs import metric_names as names
from mlops_obs.dashboards.figures import format_value
from mlops_obs.dashboards.report_data import PageArrival, Record, ReportData, Story, counted
from mlops_obs.durations import humanize_duration

COLOPHON = "Made by mlops-obs from recorded decisions and raw counters; times are UTC."
_FATES = {"Promoted": ("promoted", "good"), "RolledBack": ("rolled back", "bad"), "Aborted": ("stopped by a person", "warn")}
_OPEN = {"Holding": "on hold", "Paused": "paused", "Progressing": "still in progress", "Pending": "waiting to start"}


def verdict(told: Sequence[Story]) -> str:
    """The first line, as HTML: what became of each revision."""
    if not told:
        return "No revision was shipped."
    return " ".join(f'{escape(s.canary)} was <em class="{fate(s.phase)}">{_state(s)}</em>.' for s in told)


def plain_verdict(told: Sequence[Story]) -> str:
    """The first line without markup."""
    return " ".join(f"{s.canary} was {_state(s)}." for s in told) or "no revision was shipped"


def _state(story: Story) -> str:
    return _FATES[story.phase][0] if story.phase in _FATES else _OPEN.get(story.phase, story.phase)


def fate(phase: str) -> str:
    """The tone of what became of a rollout."""
    return _FATES[phase][1] if phase in _FATES else "warn"


def colours(told: Sequence[Story], revisions: Sequence[str]) -> dict[str, str]:
    """A colour per revision: grey for what was there before, green and red by fate."""
    chosen = dict.fromkeys(revisions, "s6")
    for story in told:
        chosen[story.canary] = "s0" if story.phase == "Promoted" else fate(story.phase)
    return chosen


def lede(data: ReportData, told: Sequence[Story]) -> str:
    """The paragraph under the first line, as HTML: why, what it cost callers, and whether a person was woken."""
    parts = []
    for story in told:
        reason = polished(str(story.last.get("reason", "")).rstrip("."))
        if story.phase == "RolledBack":
            after = humanize_duration(story.ended - story.began)
            parts.append(f"<b>{escape(story.canary)}</b> took live traffic for {after}" + (f": {escape(reason)}." if reason else "."))
        elif story.phase in _OPEN and reason:
            parts.append(f"<b>{escape(story.canary)}</b>: {escape(reason)}.")
    failed = {r: counted(data, r, names.OUTCOME_ERROR) for r in {one.labels.get(names.REVISION, "") for one in data.requests}}
    broken = {story.canary for story in told if story.phase == "RolledBack"}
    spared = sum(count for revision, count in failed.items() if revision not in broken)
    if data.requests:
        parts.append("No request to any other revision failed." if not spared else f"{spared} requests to other revisions failed.")
    count = len(data.pages)
    parts.append(
        "Nobody was paged." if not count else "On-call got one page, below." if count == 1 else f"On-call got {count} pages, below."
    )
    return " ".join(parts)


def deed(record: Record, told: Sequence[Story]) -> str:
    """What a decision did, in words: `raise v2 to 50 %`."""
    canary = next((s.canary for s in told if any(one is record for one in s.decisions)), "")
    after: Mapping[str, int] = record.get("weights_after") or {}
    share = f" to {after[canary]} % of traffic" if canary in after else ""
    known = {
        "deploy": f"Load {canary}, no traffic yet",
        "advance": f"Raise {canary}{share}",
        "promote": f"Promote {canary}" if record.get("phase") == "Promoted" else f"Let {canary} go on{share}",
        "rollback": f"Roll back {canary}",
        "abort": f"Stop {canary}",
        "pause": "Pause",
        "resume": "Resume",
        "hold": "Hold: change nothing",
    }
    action = str(record.get("action", ""))
    if record.get("kind") == "request":
        return f"{record.get('actor') or 'Somebody'} asks to {action}"
    deed = known.get(action, action)
    return deed if record.get("ok", True) else f"Did not succeed: {deed}"


def tone(record: Record) -> str:
    """The tone of a decision: only a rollback is red."""
    if not record.get("ok", True):
        return "warn"
    return {"rollback": "bad", "abort": "warn", "hold": "warn", "promote": "good"}.get(str(record.get("action")), "soft")


def _tests(record: Record) -> Mapping[str, Mapping[str, Any]]:
    evidence = record.get("evidence") or {}
    tests = evidence.get("tests") or {}
    return tests if isinstance(tests, Mapping) else {}


def bounds(record: Record) -> list[float]:
    """The limits of the evidence (log10) that a decision was held against."""
    return [float(one["log10_bound"]) for one in _tests(record).values() if "log10_bound" in one]


def comparison(record: Record, test: str) -> str:
    """`41.2 % <vs 0.0 %>` with the counts, as HTML; a dash if nothing had been compared yet."""
    one = _tests(record).get(test)
    if not one or not one.get("canary_total"):
        return '<span class="vs">\u2013</span>'
    ours = f"{one['canary_bad'] / one['canary_total']:.1%}".replace("%", " %")
    theirs = f"{one['stable_bad'] / one['stable_total']:.1%}".replace("%", " %") if one.get("stable_total") else "\u2013"
    counts = f"{one['canary_bad']}/{one['canary_total']} vs {one['stable_bad']}/{one['stable_total']}"
    return f'{ours} <span class="vs">vs {theirs}</span><br><span class="vs">{counts}</span>'


def strongest(record: Record) -> str:
    """The largest odds of any test at this decision, as HTML."""
    values = [float(one["log10_e_peak"]) for one in _tests(record).values() if "log10_e_peak" in one]
    return escape(odds(max(values))) if values else '<span class="vs">\u2013</span>'


def odds(log10: float) -> str:
    """Odds from their logarithm: `even`, `200 : 1`, a power of ten above that."""
    if abs(log10) <= 0.02:
        return "even"
    return f"{format_value(log10, 'log10')} : 1" if log10 > 0 else f"1 : {format_value(-log10, 'log10')}"


def polished(reason: str) -> str:
    """A recorded reason with typographic powers and signs; the words stay as recorded."""
    powers = re.sub(r"10\^(\d{1,3})", lambda match: format_value(max(float(match.group(1)), 4.0), "log10"), reason)
    return powers.replace(">=", "\u2265").replace("<=", "\u2264")


def page_title(page: PageArrival) -> str:
    """The alert's name and what it is about, from the payload."""
    labels = page.payload.get("commonLabels") or {}
    name = labels.get("alertname") or next((a.get("labels", {}).get("alertname", "") for a in page.payload.get("alerts", [])), "")
    return " ".join(filter(None, [str(name), str(labels.get("service", "")), str(labels.get(names.REVISION, ""))])) or "Page"
