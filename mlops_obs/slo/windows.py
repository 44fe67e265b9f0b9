"""Which counts a window adds up: the one meaning of "the last 6 h", "the last 30 d" and "this month".

Both engines follow it: the Prometheus rules write it in PromQL, `recordings.py` computes it on arrays, `counting.py` on one instant.
Windows of an hour and less are read from the raw counters, (now - w, now]. Every longer one is the sum of the 5-minute counts at
T = k * 300 with now - w < T <= now. Beyond a day most of them are read as hourly counts, which is the same number for a twelfth of
the reading: 30 days are 12 + 719 + 12 points and not 8,640.

Traps: a window that began on the hour grid would be up to an hour too long, 0.3 % of a month of day and night traffic. And as
the grid lags by up to 5 minutes, a window is never less than its last hour, read raw: an outage that began a minute ago is in
every window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BASE, HOUR, DAY, WEEK = 300, 3_600, 86_400, 7 * 86_400
# A moment in Unix seconds, or an array of them: the replay asks for every minute of a quarter at once.
Moment = TypeVar("Moment", int, "npt.NDArray[np.int64]")


@dataclass(frozen=True, slots=True)
class Part(Generic[Moment]):
    """Recorded counts at every multiple of `step` seconds from `first` to `last`, both included; none if `last` is before `first`."""

    first: Moment
    last: Moment
    step: int


def is_raw(window: int, *, sliced: bool = False) -> bool:
    """Say whether a window of `window` seconds is read from the raw counters.

    A budget of 5-minute slices (`sliced`) has no raw counters: everything longer than a slice adds up slices.
    """
    return window <= BASE or (window <= HOUR and not sliced)


def parts(now: Moment, window: int) -> list[Part[Moment]]:
    """Return the recorded counts that a window of `window` seconds adds up; they meet without a gap and without an overlap."""
    first = floor(now - window, BASE) + BASE
    if window <= DAY or window % HOUR:
        return [Part(first, floor(now, BASE), BASE)]
    whole: Moment = floor(now - window, HOUR) + HOUR  # the first full hour in the window
    found: list[Part[Moment]] = [Part(first, whole, BASE)]
    found.extend(_hours(now, whole))
    return found


def calendar_parts(now: Moment, start: Moment, *, whole_hours: bool) -> list[Part[Moment]]:
    """Return the recorded counts of a calendar period that began at `start`.

    `whole_hours` says whether periods of its time zone begin on whole hours of UTC; 5 minutes divide every offset in use.
    """
    return _hours(now, start) if whole_hours else [Part(start + BASE, floor(now, BASE), BASE)]


def counted_since(now: int, window: int, *, sliced: bool = False) -> int:
    """Return where a window begins: it counts the events of (counted_since, counted_until]."""
    return now - window if is_raw(window, sliced=sliced) else floor(now - window, BASE)


def counted_until(now: int, window: int, *, sliced: bool = False) -> int:
    """Return where a window ends: `now` if it is read raw, else the last point of the 5-minute grid."""
    return now if is_raw(window, sliced=sliced) else floor(now, BASE)


def floor(now: Moment, step: int) -> Moment:
    """Return the last multiple of `step` seconds at or before `now`."""
    return now // step * step


def _hours(now: Moment, since: Moment) -> list[Part[Moment]]:
    """Return hourly counts of what came after the full hour `since`, and 5-minute counts of the hour that is still running."""
    running = floor(now, HOUR)
    return [Part(since + HOUR, running, HOUR), Part(running + BASE, floor(now, BASE), BASE)]
