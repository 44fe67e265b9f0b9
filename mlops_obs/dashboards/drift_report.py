"""One comparison with a reference as one HTML page: what has drifted, how it looks, since when, what it costs. It opens offline.

It is drawn from the plain document that `obs drift score -o json` prints, with the rows by cell beside it, so that the page and the
exit code cannot disagree. The trap is the pretty picture of everything: 10,000 columns would make a page that nobody opens, so
pictures are for what has drifted and a table with a bounded number of rows for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from mlops_obs.dashboards.drift_pictures import PICTURES_CSS, bars, spark, strip
from mlops_obs.dashboards.figures import DASH, format_value
from mlops_obs.dashboards.report import PAGE_CSS
from mlops_obs.dashboards.theme import BASE_CSS

Plain = Mapping[str, Any]
_LEAST = 0.0005  # of AUC; smaller ones are written as 0.000
_LOSS = 0.01  # of AUC that is worth a colour
_CARDS, _ROWS, _PROBLEMS, _STRIPS = 40, 300, 60, 20
_TONES = {"drifted": "bad", "stable": "good", "inconclusive": "warn"}
_KINDS = {
    "location": "values moved", "scale": "spread changed", "tail": "tail changed", "shape": "shape changed", "missing": "missing values",
    "invalid": "wrong type of value", "new_category": "new category", "frequencies": "shares changed", "unit": "unit change",
    "correlation": "moves together in another way", "embedding": "embedding moved", "concept": "concept drift", "gone": "column is gone",
    "type": "another type of column",
}  # fmt: skip
_CSS = """
.card{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,6fr);gap:10px 40px;border-top:2px solid var(--c);padding:16px 0 8px;
  margin-top:34px;break-inside:avoid}
.card h3{font-size:19px;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
.card p{margin-top:8px;font-size:15px;text-wrap:pretty;overflow-wrap:anywhere}
.kind{display:inline-block;margin-top:6px;padding:1px 9px;border-radius:10px;font-size:12.5px;font-weight:600;color:var(--c);
  box-shadow:inset 0 0 0 1.3px var(--c)}
.card dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 16px;margin:14px 0 0;font-size:13.5px;
  font-variant-numeric:tabular-nums}
.card dt{color:var(--soft)}.card dd{margin:0}
.tablewrap td:first-child,.tablewrap td:last-child{overflow-wrap:anywhere}.tablewrap td:nth-child(3){min-width:0}
.tablewrap td:first-child{min-width:9em}
ul.plain{margin:16px 0 0;padding:0 0 0 18px;font-size:15px}ul.plain li{margin:4px 0;overflow-wrap:anywhere}
h2+p,h1,.lede,footer{overflow-wrap:anywhere}.facts div{min-width:0}.eyebrow span{overflow-wrap:anywhere;min-width:0}
@media screen and (max-width:760px){.card{grid-template-columns:1fr}}
"""


def render_drift_report(document: Plain) -> str:
    """Return the page; same input, same bytes.

    Args:
        document: of `obs drift score -o json`, and `headline`, `at` (Unix seconds), `reference` and `current` (`name`, `rows`, and for the
            reference `digest`), `commands` to repeat it; each feature may have `cells` (`labels`, `reference` and `current` rows); optional
            `files`: (`name`, `rows`, `psi` by feature), one each in their order.
    """
    tone = "bad" if document["alarm"] else _TONES[document["verdict"]]
    drifted = [one for one in document["features"] if one["alarm"]]
    when = datetime.fromtimestamp(float(document["at"]), UTC)
    body = "".join(
        (
            _facts(document, drifted),
            _cards(drifted),
            _segments(document.get("segments", ())),
            _joint(document["joint"]),
            _files(document.get("files", ()), drifted),
            _table(document["features"]),
            _problems(document["problems"]),
            _repeat(document),
        )
    )
    reference, current = document["reference"], document["current"]
    lede = (
        f"{_count(current['rows'])} rows of <b>{escape(current['name'])}</b> against the reference <b>{escape(reference['name'])}</b>, "
        f"made from {_count(reference['rows'])} rows."
    )
    if document["problems"]:
        lede += f" {len(document['problems'])} remark{'s' if len(document['problems']) > 1 else ''} on what could not be compared below."
    title = escape(document["headline"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{BASE_CSS}{PAGE_CSS}{PICTURES_CSS}{_CSS}</style></head><body><main>"
        f'<div class="eyebrow"><span><b>Drift</b> of {escape(current["name"])}</span><span>{when:%-d %B %Y, %H:%M} UTC</span></div>'
        f'<h1><em class="{tone}">{title}</em></h1><p class="lede">{lede}</p>{body}<footer>{_FOOT}</footer></main></body></html>\n'
    )


_FOOT = (
    "A column has drifted if both hold: the difference cannot be chance (a two-sample test whose level is shared among them), and it "
    "is large enough to matter. Inconclusive means: too few rows to see a drift of that size. Bars show the share of rows by cell; cells "
    "are fixed by the reference, so that two days can be compared. PSI: population stability index."
)


def _facts(document: Plain, drifted: Sequence[Plain]) -> str:
    features = document["features"]
    open_ones = sum(one["verdict"] == "inconclusive" for one in features)
    facts = [
        ("", _count(document["current"]["rows"]), "rows compared"),
        ("bad" if drifted else "good", f"{len(drifted)} of {len(features)}", "columns have drifted"),
        ("warn" if open_ones else "", _count(open_ones), "columns with too few rows to say"),
    ]
    costs = [one["cost"] for one in drifted if one["cost"]]
    worst = min(costs, key=lambda one: one["auc"] or 0.0, default=None)
    if worst is not None and worst["auc"] is not None and worst["auc"] <= -_LEAST:
        facts.append(("bad", f"{worst['auc']:+.3f}", "predicted change of AUC by the costliest column alone"))
    money = [one["money"] for one in costs if one["money"] is not None]
    if money:
        facts.append(
            ("bad", format_value(max(money, key=abs), "none"), "predicted loss per 1,000 predictions by the costliest column alone")
        )
    auc = document.get("performance", {}).get("auc")
    if auc and auc["estimated"] is not None and auc["reference"] is not None:
        tone = "bad" if auc["high"] is not None and auc["high"] < auc["reference"] - _LOSS else ""
        facts.append((tone, f"{auc['estimated']:.3f}", f"AUC estimated from the scores alone, was {auc['reference']:.3f}"))
    cells = "".join(f'<div class="{tone}"><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>' for tone, value, name in facts)
    return f'<dl class="facts">{cells}</dl>'


def _cards(drifted: Sequence[Plain]) -> str:
    if not drifted:
        return ""
    shown = "".join(_card(one) for one in drifted[:_CARDS])
    rest = len(drifted) - _CARDS
    more = f'<p class="empty">{rest} more have drifted; they are in the table below.</p>' if rest > 0 else ""
    return _section("What has drifted", "Costliest and most important first, then by strength of the evidence.", shown + more)


def _card(one: Plain) -> str:
    kind = f'<span class="kind">{escape(_KINDS.get(one["kind"], str(one["kind"])))}</span>' if one["kind"] else ""
    role = "" if one["role"] == "feature" else f" <small>({escape(one['role'])})</small>"
    facts = [(name, value) for name, value in _said(one) if value]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return (
        f'<div class="card bad"><div><h3>{escape(one["name"])}{role}</h3>{kind}<p>{escape(one["words"])}</p><dl>{listed}</dl></div>'
        f"{bars(one.get('cells'))}</div>"
    )


def _said(one: Plain) -> list[tuple[str, str]]:
    statistics, since, cost = one["statistics"], one["since"], one["cost"]
    found = []
    if since:
        found.append(("since", f"{_moment(since['at'])} ({_moment(since['earliest'])} to {_moment(since['latest'])})"))
    if cost:
        found.append(("AUC", f"{cost['auc']:+.3f} ({cost['auc_low']:+.3f} to {cost['auc_high']:+.3f})" if cost["auc"] is not None else ""))
        if cost["money"] is not None:
            low, high = (format_value(cost[name], "none") for name in ("money_low", "money_high"))
            found.append(("money", f"{format_value(cost['money'], 'none')} per 1,000 predictions ({low} to {high})"))
    if one["importance"] is not None:
        found.append(("importance", f"{one['importance']:.3g}"))
    for name in ("missing", "invalid", "unseen"):
        now, was = statistics.get(name), statistics.get(f"{name}_reference")
        if now:
            found.append(
                (name, format_value(now, "percentunit") + (f", was {format_value(was, 'percentunit')}" if was is not None else ""))
            )
    for name, label in (("psi", "PSI"), ("ks", "KS"), ("jensen_shannon", "Jensen-Shannon")):
        if statistics.get(name) is not None:
            found.append((label, f"{statistics[name]:.3g}"))
    if statistics.get("p_value") is not None:
        found.append(("chance", _chance(statistics["p_value"])))
    return found


def _segments(segments: Sequence[Plain]) -> str:
    if not segments:
        return ""
    rows = "".join(
        f'<tr class="{_TONES[one["verdict"]]}"><td><b>{escape(one["segment"])}</b></td><td class="n">{_count(one["rows"]["current"])}</td>'
        f"<td><b>{escape(one['verdict'])}</b></td><td>{escape(_drifted(one))}</td></tr>"
        for one in segments
    )
    head = '<tr><th>Segment</th><th class="n">Rows</th><th>Verdict</th><th>Drifted columns</th></tr>'
    about = "The same comparison for each part of the rows, against the same part of the reference."
    return _section("Segments", about, f'<div class="tablewrap"><table>{head}{rows}</table></div>')


def _joint(joint: Plain) -> str:
    if not joint:
        return ""
    rows = "".join(
        f'<tr><td>{escape(name.replace("_", " "))}</td><td class="n">{DASH if value is None else f"{value:.4g}"}</td></tr>'
        for name, value in joint.items()
    )
    about = "Whether the columns move together as before, and whether a classifier could tell old rows from new ones."
    return _section("The rows as a whole", about, f"<table>{rows}</table>")


def _files(files: Sequence[Plain], drifted: Sequence[Plain]) -> str:
    named = [one["name"] for one in drifted if any(file["psi"].get(one["name"]) is not None for file in files)][:_STRIPS]
    if len(files) < 2 or not named:
        return ""
    lines = "".join(strip(name, files) for name in named)
    about = f"PSI of each file, from {files[0]['name']} to {files[-1]['name']}; red above 0.2, full height at 0.5."
    return _section("File by file", about, f'<div class="strip">{lines}</div>')


def _table(features: Sequence[Plain]) -> str:
    rows = []
    for one in features[:_ROWS]:
        statistics = one["statistics"]
        psi, missing = statistics.get("psi"), statistics.get("missing")
        shown = DASH if psi is None else f"{psi:.3f}", _chance(statistics.get("p_value")), format_value(missing, "percentunit")
        numbers = "".join(f'<td class="n">{number}</td>' for number in shown)
        rows.append(
            f'<tr class="{_TONES[one["verdict"]]}"><td>{escape(one["name"])}</td><td>{escape(one["type"])}</td>'
            f"<td><b>{escape(one['verdict'])}</b></td>{numbers}"
            f"<td>{spark(one.get('cells'))}</td></tr>"
        )
    head = (
        '<tr><th>Column</th><th>Type</th><th>Verdict</th><th class="n">PSI</th><th class="n">Chance</th><th class="n">Missing</th>'
        "<th>Reference and current</th></tr>"
    )
    rest = f'<p class="empty">{_count(len(features) - _ROWS)} more are in the JSON.</p>' if len(features) > _ROWS else ""
    about = "Chance: how often a difference like this comes about without drift, this column alone."
    return _section("Every column", about, f'<div class="tablewrap"><table>{head}{"".join(rows)}</table></div>{rest}')


def _problems(problems: Sequence[str]) -> str:
    if not problems:
        return ""
    listed = "".join(f"<li>{escape(one)}</li>" for one in problems[:_PROBLEMS])
    rest = f'<p class="empty">and {_count(len(problems) - _PROBLEMS)} more</p>' if len(problems) > _PROBLEMS else ""
    return _section("What could not be compared", "", f'<ul class="plain">{listed}</ul>{rest}')


def _repeat(document: Plain) -> str:
    digest = document["reference"].get("digest", "")
    about = f"The reference has the content address sha256:{digest}." if digest else ""
    return _section("How to repeat it", about, f'<div class="note soft"><pre>{escape(chr(10).join(document["commands"]))}</pre></div>')


def _section(title: str, about: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{f'<p>{escape(about)}</p>' if about else ''}{body}</section>"


def _drifted(document: Plain) -> str:
    names = [one["name"] for one in document["features"] if one["alarm"]]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _chance(p_value: float | None) -> str:
    if p_value is None:
        return DASH
    return "under 1e-12" if p_value < 1e-12 else f"{p_value:.2g}"


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %H:%M}"


def _count(rows: int) -> str:
    return f"{rows:,}".replace(",", "\u202f")
