"""A team's monthly SLO report as Markdown, for a repository, a wiki or a chat: the same facts as the HTML, without charts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlops_obs.dashboards import slo_report_words as words
from mlops_obs.dashboards.slo_report_words import TeamReport
from mlops_obs.slo.accounts import Account

_BLOCKS = "▁▂▃▄▅▆▇█"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def render_markdown(report: TeamReport) -> str:
    """Return the report as Markdown; same input, same bytes."""
    before, what, _ = words.headline(report)
    parts = [
        f"# {_plain(report.team)}: SLOs in {words.month_name(report)}",
        f"**{before} {what}** {words.lede(report)}",
        "## Objectives",
        _table(
            ("SLO", "Promised", "Measured", "Bad", "Budget spent", "Budget left, day by day", "Verdict"),
            [
                (
                    _plain(words.subject(one)),
                    words.promised(one),
                    words.measured(one),
                    words.counted_in(one),
                    words.percent(one.spent) if one.total > 0 else "\u2013",
                    sparkline(one),
                    words.verdict(one)[0] if one.met is not False else f"**{words.verdict(one)[0]}**",
                )
                for one in report.accounts
            ],
        ),
        "## Incidents that spent the budget",
        _incidents(report),
    ]
    groups = [(one, *group) for one in report.accounts for group in words.worst_groups(one)]
    if groups:
        rows = [
            (_plain(words.subject(one)), _plain(name), words.number(bad), words.number(total), words.percent(bad / one.bad))
            for one, name, bad, total in groups
        ]
        parts += ["## Who spent it", _table(("SLO", "Group", "Bad", "All", "Part of all bad events"), rows)]
    parts.append(f"*{words.COLOPHON}*")
    return "\n\n".join(parts) + "\n"


def _incidents(report: TeamReport) -> str:
    if not report.incidents:
        return "None that stands out: what was spent went little by little."
    rows = [
        (
            str(index),
            words.moment(incident.start),
            words.lasted(incident),
            _plain(words.subject(one)),
            f"{words.number(incident.bad)} of {words.number(incident.total)}",
            words.percent(incident.share),
            _plain("; ".join(words.told(report, one, incident))) or "\u2013",
        )
        for index, (one, incident) in enumerate(report.incidents, 1)
    ]
    return _table(("", "Began (UTC)", "Lasted", "SLO", "Bad", "Of the month's budget", "What is known"), rows)


def sparkline(one: Account) -> str:
    """What was left of the budget at the end of each day, as blocks; `!` once it was overspent, a blank where nobody counted."""
    days: dict[int, float | None] = {}
    for at, left in one.curve[1:]:
        days[int((at - one.start - 1) // 86_400)] = left
    return "".join(" " if left is None else "!" if left < 0 else _BLOCKS[min(int(left * 8), 7)] for left in days.values())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _plain(text: str) -> str:
    """Return `text` with nothing that Markdown would read as markup."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
