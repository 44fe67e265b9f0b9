"""Whose fault? A shared incident is seen in stable alone, against stable's own past.

A database, a feature store or a network that fails hits both revisions. The test of the canary against stable cancels
that by itself; but while it lasts, nobody can tell how good the canary is, and time must not count against it. So stable
is compared with itself: its share of bad requests in the newest block or two against all blocks before, on the scale of
the noise that minutes of a healthy service have.

The trap: a canary that takes stable down with it looks like a shared incident. Hence this never acquits: a canary that
is condemned against stable stays condemned.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from mlops_obs.rollout.judging.engine import Row, block_index

_RATIO = 2.5  # less is not an incident, however sure
_DEVIATIONS = 3.3  # of the noise; about one false alarm in two thousand blocks
_LEAST = 8.0  # bad requests; a handful is no incident
_NOISE = 0.4  # log standard deviation of a healthy service's minutes
_BASE_BLOCKS = 60  # the past that is compared with
_NEW_NORMAL = 20  # blocks after which an incident that never ends is how the service is


@dataclass(slots=True)
class _Sum:
    index: int
    seconds: float = 0.0
    stable_bad: float = 0.0
    stable_total: float = 0.0
    canary_bad: float = 0.0
    canary_total: float = 0.0
    shared: bool = False

    def add(self, row: Row) -> None:
        self.seconds += row.seconds
        self.stable_bad += row.stable_bad
        self.stable_total += row.stable_total
        self.canary_bad += row.canary_bad
        self.canary_total += row.canary_total


class SharedIncident:
    """Tells after each row whether both arms suffer now. Rows come in the order of time."""

    def __init__(self, anchor: float, block: float = 60.0) -> None:
        self._anchor, self._block = anchor, block
        self._past: deque[_Sum] = deque(maxlen=_BASE_BLOCKS)
        self._open = _Sum(-1)
        self.words = ""

    def push(self, row: Row) -> bool:
        """Add a row; return whether a shared incident lasts. `words` then says what is seen."""
        index = block_index(row.end, self._anchor, self._block)
        if index != self._open.index:
            if self._open.index >= 0:
                self._past.append(self._open)
            self._open = _Sum(index)
        self._open.add(row)
        self.words = self._seen()
        self._open.shared = bool(self.words)
        return self._open.shared

    def _seen(self) -> str:
        now = self._open
        usual = [one for one in self._past if one.index < now.index - 1 and (not one.shared or now.index - one.index > _NEW_NORMAL)]
        before = [one for one in self._past if one.index == now.index - 1]
        alone = self._against(now.stable_bad, now.stable_total, now.seconds, [*usual, *(one for one in before if not one.shared)])
        together = ""
        if before:
            last = before[0]
            together = self._against(
                now.stable_bad + last.stable_bad, now.stable_total + last.stable_total, now.seconds + last.seconds, usual
            )
        # The newest block must take part, or an incident would last a block longer than it does.
        words = alone or (together if now.seconds < self._block / 2 or self._elevated(now, usual) else "")
        return words if words and not self._spares_the_canary(now, before) else ""

    def _against(self, bad: float, total: float, seconds: float, usual: list[_Sum]) -> str:
        base_bad, base_total = sum(one.stable_bad for one in usual) + 0.5, sum(one.stable_total for one in usual)
        base_seconds = sum(one.seconds for one in usual)
        if bad < _LEAST or total <= 0 or base_total <= 0 or base_seconds < self._block / 2:
            return ""
        share, base = bad / total, base_bad / base_total
        noise = _NOISE**2 * self._block * (1 / max(seconds, 1e-3) + 1 / base_seconds)
        deviation = math.sqrt(1 / bad + 1 / base_bad + noise)
        if share < _RATIO * base or math.log(share / base) < _DEVIATIONS * deviation:
            return ""
        return f"{share:.1%} of stable's own requests are bad, {_times(share / base)} times as many as before"

    @staticmethod
    def _elevated(now: _Sum, usual: list[_Sum]) -> bool:
        base = (sum(one.stable_bad for one in usual) + 0.5) / max(sum(one.stable_total for one in usual), 1.0)
        return now.stable_bad >= _RATIO * base * now.stable_total

    @staticmethod
    def _spares_the_canary(now: _Sum, before: list[_Sum]) -> bool:
        """Stable is alone in its trouble: the canary would have had many more bad requests."""
        both = [now, *(one for one in before if one.shared)]
        total, bad = sum(one.stable_total for one in both), sum(one.stable_bad for one in both)
        expected = sum(one.canary_total for one in both) * bad / total if total else 0.0
        found = sum(one.canary_bad for one in both)
        return expected >= 8.0 and found < expected / 3 - 1


def _times(ratio: float) -> str:
    """Return a ratio with no more digits than a person can use; the base of a service without errors is a guess."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}" if ratio < 100 else "over 100"
