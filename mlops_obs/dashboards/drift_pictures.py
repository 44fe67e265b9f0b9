"""The pictures of the drift page: shares of rows by cell, reference beside current, and a strip of files. Inline SVG, no script.

Cells that are no value (missing, invalid, unseen) are set apart and turn red when they grow: they are the real incident more often than
a shifted mean is. A bar's text is outside of the drawing, so that a phone neither shrinks nor scrolls it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mlops_obs.dashboards.figures import DASH, format_value

Plain = Mapping[str, Any]
_BARS = 16
_APART = ("missing", "invalid", "unseen")
_FULL, _LIMIT = 0.5, 0.2  # PSI at the full height of a strip, and from where on it is red
PICTURES_CSS = """
.bars{display:grid;grid-template-columns:minmax(0,auto) minmax(60px,1fr) max-content;gap:5px 12px;align-items:center;font-size:12.5px;
  font-variant-numeric:tabular-nums;align-content:start}
.bars .label{color:var(--soft);text-align:right;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;max-width:15em}
.bars .apart{font-style:italic}.bars svg{height:15px}.bars .share{text-align:right;color:var(--soft)}
.bars .share b{color:var(--c);font-weight:600}
.key{grid-column:1/-1;color:var(--soft);font-size:12.5px}.key span{margin-right:16px}
.key i{display:inline-block;width:18px;height:6px;margin:0 5px 2px 0;background:var(--c)}
svg .was{fill:var(--faint)}
.spark{width:112px;height:22px;min-width:0}
.strip{display:grid;grid-template-columns:minmax(6em,14em) minmax(0,1fr);gap:6px 14px;align-items:center;font-size:13px;margin-top:20px}
.strip svg{height:18px}.strip div{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@media screen and (max-width:760px){.bars .label{max-width:9em}}
"""


def bars(cells: Plain | None) -> str:
    """Draw the share of rows in each cell, reference above current; of many cells those that changed most, and the rest together."""
    rows = _shares(cells)
    if len(rows) > _BARS:
        kept = sorted(sorted(range(len(rows)), key=lambda place: -abs(rows[place][1] - rows[place][2]))[: _BARS - 1])
        rest = [rows[place] for place in range(len(rows)) if place not in kept]
        rows = [rows[place] for place in kept]
        rows.append((f"{len(rest)} other cells", sum(one[1] for one in rest), sum(one[2] for one in rest)))
    if not rows:
        return ""
    most = max(max(was, now) for _, was, now in rows)
    key = '<div class="key"><i class="faint"></i><span>reference</span><i class="s0"></i><span>current</span></div>'
    return f'<div class="bars">{"".join(_bar(*row, most) for row in rows)}{key}</div>'


def spark(cells: Plain | None) -> str:
    """Draw the same in the height of a line of text."""
    rows = _shares(cells)
    if not rows:
        return ""
    most, width = max(max(was, now) for _, was, now in rows), 112 / len(rows)
    drawn = "".join(
        _rect("was", place * width, 22 - 22 * was / most, width * 0.42, 22 * was / most)
        + _rect("bar", (place + 0.43) * width, 22 - 22 * now / most, width * 0.42, 22 * now / most)
        for place, (_, was, now) in enumerate(rows)
    )
    return f'<svg class="spark s0" viewBox="0 0 112 22" aria-hidden="true">{drawn}</svg>'


def strip(name: str, files: Sequence[Plain]) -> str:
    """Draw the PSI of the column `name` in each of `files`, in their order; a file that says nothing stays empty."""
    width = 1000 / len(files)
    boxes = []
    for place, file in enumerate(files):
        psi = file["psi"].get(name)
        tall = max(1.0, 18 * min(1.0, (psi or 0.0) / _FULL))
        tone = "faint" if psi is None else "bad" if psi > _LIMIT else "s0"
        title = f"{file['name']}: PSI {DASH if psi is None else f'{psi:.3g}'}, {file['rows']} rows"
        drawn = _rect("bar", place * width, 18 - tall, max(width * 0.86, 0.8), tall)
        boxes.append(f'<g class="{tone}"><title>{escape(title)}</title>{drawn}</g>')
    label = f"PSI of {name} by file"
    drawing = f'<svg viewBox="0 0 1000 18" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{"".join(boxes)}</svg>'
    return f'<div title="{escape(name)}">{escape(name)}</div>{drawing}'


def _shares(cells: Plain | None) -> list[tuple[str, float, float]]:
    """(label, share of the reference, share now) of the cells that hold rows; none if either side has no rows."""
    before, now = (sum(cells[side]) if cells else 0 for side in ("reference", "current"))
    if not cells or not before or not now:
        return []
    return [
        (label, was / before, rows / now)
        for label, was, rows in zip(cells["labels"], cells["reference"], cells["current"], strict=True)
        if was or rows
    ]


def _bar(label: str, was: float, now: float, most: float) -> str:
    apart = label in _APART
    tone = "bad" if apart and now > was else "s0"
    before, current = format_value(was, "percentunit"), format_value(now, "percentunit")
    title = escape(f"{label}: {before} of the reference, {current} now")
    drawn = _rect("was", 0, 1, 100 * was / most, 5) + _rect("bar", 0, 7, 100 * now / most, 7)
    attributes = f'viewBox="0 0 100 15" preserveAspectRatio="none" role="img" aria-label="{title}" class="{tone}"'
    return (
        f'<div class="label{" apart" if apart else ""}" title="{escape(label)}">{escape(label)}</div>'
        f"<svg {attributes}><title>{title}</title>{drawn}</svg>"
        f'<div class="share {tone}">{before} → <b>{current}</b></div>'
    )


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"/>'
