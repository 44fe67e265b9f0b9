"""Numbers and times as a reader wants them, and round numbers for axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from mlops_obs.durations import humanize_duration

DASH = "\u2013"
_SUFFIX = {"reqps": "/s", "rowsps": "/s", "watt": " W", "celsius": " °C", "joule": " J"}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 864000)


def format_value(value: float | None, unit: str) -> str:
    """Write a number in a Grafana unit (or `log10`, a logarithm): `12.3 %`, `250 ms`, `1.2 k`; a dash if there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    if unit == "log10":
        return _power(value)
    if unit == "percentunit":
        share = value * 100
        return f"{share:.0f} %" if abs(share) >= 99.95 else f"{share:.3g} %" if abs(share) >= 1 else f"{share:.2g} %"
    if unit in ("s", "dtdurations"):
        return f"-{_seconds(-value)}" if value < 0 else _seconds(value)
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    text = _scaled(value, 1000, ("", "k", "M", "G", "T")) if abs(value) >= 1000 else f"{value:.3g}"
    return text + _SUFFIX.get(unit, "")


def format_tick(value: float, unit: str, step: float) -> str:
    """Write a value of an axis whose ticks are `step` apart, with the digits that tell it from its neighbours."""
    if unit != "percentunit" or not value:
        return format_value(value, unit)
    digits = max(0, -math.floor(math.log10(step * 100) + 1e-9)) if step > 0 else 0
    if round(step * 100, digits) != round(step * 100, 9):
        digits += 1  # 2.5 % needs one digit more than 2 %
    return f"{value * 100:.{digits}f} %"


def clock(at: float, *, seconds: bool = True) -> str:
    """Write a Unix time as UTC wall clock."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S" if seconds else "%H:%M")


def value_ticks(values: Sequence[float], unit: str, low: float | None, high: float | None) -> tuple[float, float, list[float]]:
    """Return the ends of a value axis and its round ticks, about four. An end that is given stays."""
    bottom = min(values, default=0.0) if low is None else low
    top = max(values, default=1.0) if high is None else high
    if top <= bottom:
        top = bottom + (0.1 if unit in ("s", "percentunit") else 1.0)
    step = nice_step((top - bottom) / 3)
    if high is None:
        top = math.ceil(top / step - 1e-9) * step
    if low is None:
        bottom = math.floor(bottom / step + 1e-9) * step
    first = math.ceil(bottom / step - 1e-9)
    return bottom, top, [step * index for index in range(first, math.floor(top / step + 1e-9) + 1)]


def time_ticks(start: float, end: float, most: int) -> list[tuple[float, str]]:
    """Return at most about `most` round times with their labels."""
    step = next((one for one in _TIME_STEPS if (end - start) / one <= most), 2_592_000)
    first = math.ceil(start / step)
    ticks = [float(step * index) for index in range(first, math.floor(end / step) + 1)]
    days = step >= 86400
    return [(at, datetime.fromtimestamp(at, UTC).strftime("%d %b") if days else clock(at, seconds=step < 60)) for at in ticks]


def nice_step(raw: float) -> float:
    """Return the round number (1, 2, 2.5, 5 times a power of ten) next above `raw`."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * 0.999)


def _power(log10: float) -> str:
    if abs(log10) < 0.05:
        return "1"
    if abs(log10) >= 4:
        return "10" + f"{log10:.0f}".translate(_SUPERSCRIPT)
    return f"{10**log10:,.0f}" if log10 > 0 else f"1/{10**-log10:,.0f}"


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{value * 1000:.2g} ms" if value < 0.01 else f"{value * 1000:.0f} ms"
    return f"{value:.3g} s" if value < 60 else humanize_duration(value)


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < base:
            return f"{value:.3g} {unit}".rstrip()
        value /= base
    return f"{value:.3g} {units[-1]}"
