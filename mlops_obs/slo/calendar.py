"""When a calendar period began: weeks from Monday, months and quarters, in a time zone.

Both engines need it. Prometheus has no time zones, so the changes of a zone's offset are compiled into the rules as
numbers, for the years in which rules written today may still run. The trap is the change itself: midnight of the zone is
found with the offset that holds at that midnight, not with the one that holds now.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 2024, 2037


def known_zone(name: str) -> bool:
    """Say whether `name` is a zone of the tz database that means the same on every machine."""
    if name in ("localtime", "posixrules", "Factory") or name.startswith(("posix/", "right/")):
        return False
    try:
        ZoneInfo(name)
    except Exception:  # noqa: BLE001 - zoneinfo raises OSError, ValueError or KeyError, by how wrong the name is
        return False
    return True


def period_start(kind: Literal["week", "month", "quarter"], zone: str, now: float) -> int:
    """Return the Unix time at which the period that contains `now` (Unix seconds) began."""
    here = datetime.fromtimestamp(now, ZoneInfo(zone))
    return int(_midnight(here, kind).timestamp())


def next_period_start(kind: Literal["week", "month", "quarter"], zone: str, now: float) -> int:
    """Return the Unix time at which the period that contains `now` ends and the next one begins."""
    longest = {"week": 7, "month": 31, "quarter": 92}[kind]
    start = _midnight(datetime.fromtimestamp(now, ZoneInfo(zone)), kind)
    return int(_midnight(start + timedelta(days=longest + 3 if kind != "week" else longest), kind).timestamp())


def _midnight(here: datetime, kind: str) -> datetime:
    day = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if kind == "week":
        return day - timedelta(days=day.weekday())
    month = day.month if kind == "month" else (day.month - 1) // 3 * 3 + 1
    return day.replace(day=1, month=month)


@cache
def zone_offsets(zone: str, first_year: int = FIRST_YEAR, last_year: int = LAST_YEAR) -> tuple[tuple[int, int], ...]:
    """Return (Unix time, seconds east of UTC from then on) for each change of offset in these years; the first holds from the start."""
    here = ZoneInfo(zone)

    def offset(at: int) -> int:
        shift = datetime.fromtimestamp(at, here).utcoffset()
        return 0 if shift is None else int(shift.total_seconds())

    begin = int(datetime(first_year, 1, 1, tzinfo=UTC).timestamp())
    end = int(datetime(last_year + 1, 1, 1, tzinfo=UTC).timestamp())
    found = [(begin, offset(begin))]
    for day in range(begin, end, 86_400):
        low, high = day, day + 86_400
        if offset(high) == found[-1][1]:
            continue
        while high - low > 1:  # no zone changes twice within a day
            middle = (low + high) // 2
            low, high = (middle, high) if offset(middle) == found[-1][1] else (low, middle)
        found.append((high, offset(high)))
    return tuple(found)


def whole_hours(zone: str) -> bool:
    """Say whether the zone's midnights fall on whole hours of UTC, so that hourly counts can be added up to them."""
    return all(offset % 3_600 == 0 for _, offset in zone_offsets(zone))
