"""When people spend: a weekly rhythm, by the hour, in UTC.

The shape is made up and plain: nights are quiet, evenings busy, Fridays and Saturdays busier. It repeats every 168 hours, which is what a
reference matched to the hour of the week should find.
"""

from __future__ import annotations

import numpy as np

from feature_train_serve.config import DAY_MS

HOURS_OF_WEEK = 168
_HOUR_MS = DAY_MS // 24
_MONDAY = 4 * 24  # hours from 1970-01-01, a Thursday, to the first Monday
_BY_HOUR = np.array([2, 1, 1, 1, 1, 2, 4, 7, 9, 9, 10, 12, 14, 12, 10, 10, 12, 16, 18, 17, 14, 10, 7, 4], dtype=np.float64)
_BY_DAY = np.array([0.9, 0.9, 0.95, 1.0, 1.25, 1.3, 0.7])
ACTIVITY: np.ndarray = np.outer(_BY_DAY, _BY_HOUR).ravel()
"""(168,) how busy each hour of the week is, Monday 00:00 UTC first; only the ratios matter."""


def hour_of_week(time_ms: np.ndarray) -> np.ndarray:
    """Return the hour of the week of each moment (ms, UTC): 0 is Monday from 00:00 to 01:00."""
    hours: np.ndarray = (np.asarray(time_ms) // _HOUR_MS - _MONDAY) % HOURS_OF_WEEK
    return hours


def spread(uniform: np.ndarray, first: float, span: float, start_ms: int) -> np.ndarray:
    """Turn uniform draws into days within [first, first + span) after `start_ms`, as busy as the hours of the week are.

    Inverse transform sampling: the cumulative activity of the span, inverted at each draw.
    """
    edges = np.append(np.arange(first * 24, (first + span) * 24), (first + span) * 24) / 24  # days; hours of the simulation
    busy = ACTIVITY[hour_of_week(start_ms + (edges[:-1] * DAY_MS).astype(np.int64))] * np.diff(edges)
    days: np.ndarray = np.interp(uniform, np.concatenate([[0.0], np.cumsum(busy) / busy.sum()]), edges)
    return days
