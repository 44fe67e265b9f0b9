"""Time charts as inline SVG text: no script, no library, readable on paper.

Names stand at the end of their lines instead of in a legend, because a tired reader should not have to match colours.
The trap is missing data: a gap must stay a gap. A line that is drawn across an outage invents an hour of good service.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import pairwise

from mlops_obs.dashboards.figures import clock, format_tick, format_value, time_ticks, value_ticks

Point = tuple[float, float | None]  # Unix seconds; None where nothing is known
Place = Callable[[float], float]  # value -> vertical position
_LETTER = 6.2  # mean width of a letter of chart text


@dataclass(frozen=True, slots=True)
class Line:
    """One series. `colour` is a CSS class (`s0`..`s7`, good, warn, bad, soft); `quiet` draws it thin and unnamed."""

    name: str
    points: Sequence[Point]
    colour: str = "s0"
    quiet: bool = False
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """What a line could also have been: (Unix seconds, low, high) in its colour; None where nothing is known."""

    points: Sequence[tuple[float, float | None, float | None]]
    colour: str = "s0"


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line at an event. `number` is printed above it, `label` shown when pointed at."""

    at: float
    label: str
    colour: str = "soft"
    number: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart is drawn, in SVG units, and what it shows. Charts that share `left` and `right` line up in time."""

    start: float
    end: float
    width: float = 1000
    height: float = 190
    left: float = 58
    right: float = 118
    top: float = 16
    unit: str = "none"
    low: float | None = 0
    high: float | None = None

    @property
    def bottom(self) -> float:
        """Vertical position of the time axis."""
        return self.height - 22

    @property
    def edge(self) -> float:
        """Horizontal position where the margin for names begins."""
        return self.width - self.right

    def x(self, at: float) -> float:
        """Horizontal position of a time, clipped to the frame."""
        share = (at - self.start) / max(self.end - self.start, 1e-9)
        return self.left + min(max(share, 0.0), 1.0) * (self.edge - self.left)


def time_chart(
    lines: Sequence[Line],
    frame: Frame,
    *,
    marks: Sequence[Mark] = (),
    limits: Sequence[tuple[float, str]] = (),
    bands: Sequence[Band] = (),
    stacked: bool = False,
    label: str = "",
) -> str:
    """Draw lines over time as SVG.

    Args:
        limits: (value, name) of dashed lines not to cross.
        bands: drawn under the lines, and cut off where the lines' axis ends: an interval must not flatten what it surrounds.
        stacked: fill areas up to the sum instead of drawing lines.
        label: alternative text.
    """
    shown = _stack(lines) if stacked else [(line, None) for line in lines]
    values = [value for line, _ in shown for _, value in line.points if value is not None and math.isfinite(value)]
    low, high, ticks = value_ticks([*values, *(value for value, _ in limits)], frame.unit, frame.low, frame.high)

    def y(value: float) -> float:
        return frame.bottom - (min(max(value, low), high) - low) / (high - low) * (frame.bottom - frame.top)

    parts, apart = [_open(frame, label)], ticks[1] - ticks[0] if len(ticks) > 1 else 0.0
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{frame.left:.1f}" x2="{frame.edge:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(
            f'<text x="{frame.left - 8:.1f}" y="{y(tick) + 4:.1f}" text-anchor="end">{format_tick(tick, frame.unit, apart)}</text>'
        )
    parts += _time_axis(frame)
    parts += [_wash(band, frame, y) for band in bands]
    for line, base in shown:
        parts += _draw(line, base, frame, y)
    for value, _ in limits:
        parts.append(f'<line class="limit" x1="{frame.left:.1f}" x2="{frame.edge:.1f}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
    parts += [_mark(mark, frame) for mark in marks if frame.start <= mark.at <= frame.end]
    if stacked:
        parts += _names_inside(shown, frame, y)
    else:
        named = [(y(value), frame.edge, name, "", "limit-name") for value, name in limits if name]
        parts += _names([*_ends(lines, frame, y), *named], frame)
    return "".join(parts) + "</svg>"


def lanes(bars: Sequence[tuple[str, float, float, str, str]], frame: Frame, *, label: str = "") -> str:
    """Draw (name, start, end, colour, note) as one bar per lane, a name before and a note after it, or before where more room is.

    The height follows the bars. What is too long ends in an ellipsis and is shown in full when pointed at.
    """
    row = 27.0
    tall = replace(frame, height=row * len(bars) + 30, top=4)
    parts = [_open(tall, label), *_time_axis(tall)]
    for index, (name, start, end, colour, note) in enumerate(bars):
        y, x = tall.top + index * row, tall.x(start)
        width = max(tall.x(end) - x, 2.0)
        text = y + row / 2 + 3
        after, before = tall.width - x - width - 8, x - tall.left - 8
        beside = f'x="{x + width + 8:.1f}"' if len(note) * _LETTER <= after or after >= before else f'x="{x - 8:.1f}" text-anchor="end"'
        parts.append(
            f'<g class="{colour}"><rect class="bar" x="{x:.1f}" y="{y + 6:.1f}" width="{width:.1f}" height="{row - 14:.1f}" rx="2"/>'
            f'<text class="lane" x="{tall.left - 12:.1f}" y="{text:.1f}" text-anchor="end">{_fitted(name, tall.left - 12)}</text>'
            f'<text {beside} y="{text:.1f}">{_fitted(note, max(after, before))}</text></g>'
        )
    return "".join(parts) + "</svg>"


def _fitted(text: str, room: float) -> str:
    letters = max(4, int(room / _LETTER))
    return escape(text) if len(text) <= letters else f"{escape(text[: letters - 1])}…<title>{escape(text)}</title>"


def strip(segments: Sequence[tuple[float, float, str, str]], frame: Frame, *, label: str = "") -> str:
    """Draw (start, end, colour, name) as one band of states over time; a name is written where it fits."""
    parts = [_open(frame, label), *_time_axis(frame)]
    middle = (frame.top + frame.bottom - 8) / 2
    for start, end, colour, name in segments:
        x, width = frame.x(start), max(frame.x(end) - frame.x(start), 2.0)
        parts.append(
            f'<g class="{colour}"><rect class="bar" x="{x:.1f}" y="{frame.top:.1f}" width="{width:.1f}"'
            f' height="{frame.bottom - frame.top - 8:.1f}"><title>{escape(name)}, {clock(start)} to {clock(end)}</title></rect></g>'
        )
        if width > 7.5 * len(name) + 8:
            parts.append(f'<text class="inside" x="{x + width / 2:.1f}" y="{middle + 4:.1f}">{escape(name)}</text>')
    return "".join(parts) + "</svg>"


def _open(frame: Frame, label: str) -> str:
    return f'<svg viewBox="0 0 {frame.width:.0f} {frame.height:.0f}" role="img" aria-label="{escape(label)}">'


def _time_axis(frame: Frame) -> list[str]:
    parts = [f'<line class="axis" x1="{frame.left:.1f}" x2="{frame.edge:.1f}" y1="{frame.bottom:.1f}" y2="{frame.bottom:.1f}"/>']
    for at, text in time_ticks(frame.start, frame.end, max(3, int((frame.edge - frame.left) / 82))):
        parts.append(f'<text x="{frame.x(at):.1f}" y="{frame.bottom + 16:.1f}" text-anchor="middle">{text}</text>')
    return parts


def _draw(line: Line, base: list[float] | None, frame: Frame, y: Place) -> list[str]:
    runs: list[list[tuple[float, float, float]]] = [[]]
    for index, (at, value) in enumerate(line.points):
        if value is None or not math.isfinite(value):
            runs.append([])
        elif frame.start <= at <= frame.end:
            runs[-1].append((frame.x(at), y(value), y(base[index]) if base else frame.bottom))
    parts = []
    for run in filter(None, runs):
        top = _path([(x, value) for x, value, _ in run], line.stepped)
        title = f"<title>{escape(line.name)}</title>"
        if base is not None:
            under = _path([(x, floor) for x, _, floor in run], line.stepped, back=True)
            parts.append(f'<path class="area {line.colour}" d="M{top}L{under}Z">{title}</path>')
        elif len(run) == 1:
            parts.append(f'<g class="{line.colour}"><circle class="bar" cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2"/></g>')
        else:
            parts.append(f'<path class="data {line.colour}{" quiet" if line.quiet else ""}" d="M{top}">{title}</path>')
    return parts


def _wash(band: Band, frame: Frame, y: Place) -> str:
    runs: list[list[tuple[float, float, float]]] = [[]]
    for at, low, high in band.points:
        if low is None or high is None:
            runs.append([])
        elif frame.start <= at <= frame.end:
            runs[-1].append((frame.x(at), y(low), y(high)))
    return "".join(
        f'<path class="wash {band.colour}" d="M{_path([(x, high) for x, _, high in run], False)}'
        f'L{_path([(x, low) for x, low, _ in run], False, back=True)}Z"/>'
        for run in runs
        if len(run) > 1
    )


def _path(points: Sequence[tuple[float, float]], stepped: bool, *, back: bool = False) -> str:
    if stepped:
        corners = [points[0]]
        for (_, before), (x, after) in pairwise(points):
            corners += [(x, before), (x, after)]
        points = corners
    return "L".join(f"{x:.1f} {value:.1f}" for x, value in (reversed(points) if back else points))


def _stack(lines: Sequence[Line]) -> list[tuple[Line, list[float] | None]]:
    """Pile lines up on the union of their times. A line that knows nothing at a time adds nothing there."""
    times = sorted({at for line in lines for at, _ in line.points})
    floor = [0.0] * len(times)
    piled: list[tuple[Line, list[float] | None]] = []
    for line in lines:
        known = dict(line.points)
        tops = [low + (known.get(at) or 0.0) for at, low in zip(times, floor, strict=True)]
        piled.append((replace(line, points=list(zip(times, tops, strict=True))), floor))
        floor = tops
    return piled


def _mark(mark: Mark, frame: Frame) -> str:
    x = frame.x(mark.at)
    line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{frame.top:.1f}" y2="{frame.bottom:.1f}"/>'
    if mark.number:
        line += f'<circle class="mark-dot" cx="{x:.1f}" cy="{frame.top - 9:.1f}" r="8"/>'
        line += f'<text class="mark-no" x="{x:.1f}" y="{frame.top - 5.2:.1f}">{escape(mark.number)}</text>'
    return f'<g class="{mark.colour}"><title>{escape(mark.label)}, {clock(mark.at)}</title>{line}</g>'


def _ends(lines: Sequence[Line], frame: Frame, y: Place) -> list[tuple[float, float, str, str, str]]:
    """Where each name goes (y, x, name, value, colour): beside the last value, so in the margin unless the line ends early."""
    ends = []
    for line in lines:
        known = [(at, value) for at, value in line.points if value is not None and math.isfinite(value) and frame.start <= at <= frame.end]
        if known and not line.quiet:
            at, value = known[-1]
            x = frame.edge if frame.x(at) > frame.edge - 70 else frame.x(at)
            ends.append((y(value), x, line.name, format_value(value, frame.unit), line.colour))
    return ends


def _names(ends: Sequence[tuple[float, float, str, str, str]], frame: Frame) -> list[str]:
    """Write names beside (y, x), those in the margin pushed apart so that none covers another."""
    gap = 14.0
    margin = sorted(end for end in ends if end[1] >= frame.edge)
    heights = [end[0] for end in margin]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    ceiling = frame.bottom
    for index in range(len(heights) - 1, -1, -1):
        heights[index] = min(heights[index], ceiling)
        ceiling = heights[index] - gap
    placed = [(height, *end[1:]) for height, end in zip(heights, margin, strict=True) if height >= frame.top - gap]
    early: list[tuple[float, float, str, str, str]] = []
    for height, at, name, value, colour in sorted(end for end in ends if end[1] < frame.edge):
        # Lines that end together are named one above the other; a name that finds no room is left to the line's own title.
        wanted = min(height, frame.bottom - 8)
        while any(abs(wanted - other[0]) < gap and abs(at - other[1]) < 140 for other in early):
            wanted -= gap
        if wanted >= frame.top:
            early.append((wanted, at, name, value, colour))
    parts = []
    for y, x, name, value, colour in [*placed, *early]:
        room = max(4, int((frame.right - 12) / 6.4) - len(value))
        text = escape(name if len(name) <= room else name[: room - 1] + "…")
        if value:
            text = f'<tspan class="name">{text}</tspan> <tspan class="value">{escape(value)}</tspan>'
        full = f"<title>{escape(name)}</title>"
        parts.append(f'<text class="{colour}" x="{x + (9 if x >= frame.edge else 6):.1f}" y="{y + 4:.1f}">{text}{full}</text>')
    return parts


def _names_inside(shown: Sequence[tuple[Line, list[float] | None]], frame: Frame, y: Place) -> list[str]:
    """Write the name of each band inside it, at its longest stretch that is tall enough to hold a line of text."""
    parts = []
    for line, base in shown:
        spans: list[tuple[float, float, float]] = []
        for index, ((at, top), (then, _)) in enumerate(pairwise(line.points)):
            low = base[index] if base else 0.0
            if top is None or y(low) - y(top) < 15:
                continue
            middle = (low + top) / 2
            if spans and spans[-1][1] == at and abs(spans[-1][2] - middle) < 0.12 * max(top, 1e-9):
                spans[-1] = (spans[-1][0], then, spans[-1][2])
            else:
                spans.append((at, then, middle))
        if spans:
            start, end, middle = max(spans, key=lambda span: span[1] - span[0])
            if frame.x(end) - frame.x(start) > 8 * len(line.name) + 4:
                x = (frame.x(start) + frame.x(end)) / 2
                parts.append(f'<text class="inside" x="{x:.1f}" y="{y(middle) + 4:.1f}">{escape(line.name)}</text>')
    return parts
