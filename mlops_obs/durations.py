"""Durations as Prometheus writes them: `250ms`, `5m`, `1h30m`, `30d`, `4w`.

The trap: they are copied into its configuration as they were written, so what Prometheus refuses must be refused here: `30m1h` and
`5m5m` (units go down, each once) and digits of other scripts.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from mlops_obs.errors import SpecError

_UNITS = {
    "w": Decimal(604_800),
    "d": Decimal(86_400),
    "h": Decimal(3_600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_LONGEST = 9_223_372_036  # nanoseconds in 64 bits
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS))


@lru_cache(maxsize=1_024)  # a thousand SLOs ask for the same dozen
def parse_duration(text: str) -> Decimal:
    """Return the seconds in `text`, exactly.

    Raises:
        SpecError: OBS-DUR-001 if `text` is not a positive Prometheus duration.
    """
    found = _DURATION.fullmatch(text)
    if not text or not found:
        raise SpecError("OBS-DUR-001", f"{text!r} is not a duration", todo="write for example 250ms, 5m, 1h30m or 30d")
    seconds = sum((Decimal(number) * size for number, size in zip(found.groups("0"), _UNITS.values(), strict=True)), Decimal(0))
    if seconds <= 0:
        raise SpecError("OBS-DUR-001", f"{text!r} is not a positive duration", todo="write for example 5m")
    if seconds > _LONGEST:
        raise SpecError("OBS-DUR-001", f"{text[:30]!r} is longer than Prometheus can count", todo="write for example 90d")
    return seconds


def format_duration(seconds: Decimal | float) -> str:
    """Write `seconds` in the largest unit up to days that divides it: 3600 -> `1h`, 90 -> `90s`, 0.25 -> `250ms`.

    Prometheus knows nothing finer than a millisecond, so the rest is rounded away.
    """
    exact = Decimal(str(seconds))
    for unit in ("d", "h", "m", "s", "ms"):
        if exact % _UNITS[unit] == 0:
            return f"{int(exact / _UNITS[unit])}{unit}"
    return f"{round(exact * 1000)}ms"


def humanize_duration(seconds: float) -> str:
    """Write `seconds` for a tired reader, two units at most: `2 d 4 h`, `3 min 20 s`, `850 ms`."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    for name, size, below_name, below in (
        ("d", 86_400, "h", 3_600),
        ("h", 3_600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            count, rest = divmod(whole, size)
            minor = rest // below
            return f"{count} {name} {minor} {below_name}" if minor else f"{count} {name}"
    return f"{whole} s"
