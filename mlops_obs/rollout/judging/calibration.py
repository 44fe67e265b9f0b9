"""What stable says about the null: its pods, compared with each other, are canaries that are known to be good.

Pods differ for good: another node, another cache, another share of heavy users. A canary of five pods differs from stable
by as much, without being worse, and at a thousand requests a second any such difference is "significant". So the spread
between stable's pods is measured (beyond what chance does to counts) and tolerated; and the test of harm is run on each of
stable's pods against the others: the share that it condemns is the false-alarm rate as measured, not as promised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mlops_obs.rollout.judging.engine import Row, block_index
from mlops_obs.rollout.judging.harm import HarmTest, Null

_LARGEST = math.log(3.0)  # more than this is not forgiven, whatever stable's pods do
_SURE = 2.33  # one-sided 99 %


def pod_spread(pods: Mapping[str, tuple[float, float]]) -> float:
    """Return the log standard deviation of the lasting differences between pods, from (bad, all) by pod; 0 if chance explains them."""
    total, bad = sum(every for _, every in pods.values()), sum(one for one, _ in pods.values())
    expected = [(one, every * bad / total) for one, every in pods.values() if every > 0] if total else []
    expected = [(one, mean) for one, mean in expected if mean >= 1.0]
    if len(expected) < 3:
        return 0.0
    freedom = len(expected) - 1
    spread = sum((one - mean) ** 2 / mean for one, mean in expected)
    # What chance alone stays under in 99 of 100 cases (Wilson and Hilferty's approximation of chi-square).
    chance = freedom * (1 - 2 / (9 * freedom) + _SURE * math.sqrt(2 / (9 * freedom))) ** 3
    whole = sum(mean for _, mean in expected)
    weight = whole - sum(mean**2 for _, mean in expected) / whole
    return math.sqrt(max(0.0, spread - chance) / weight) if weight > 0 else 0.0


def spare(spread: float, canary_pods: int, stable_pods: int) -> float:
    """Return ln of the ratio that is tolerated beyond the tolerated one: the mean of so many pods differs as much by chance."""
    return min(_LARGEST, _SURE * spread * math.sqrt(1 / max(canary_pods, 1) + 1 / max(stable_pods, 1)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """The null as measured: comparisons of stable's pods, how many of them were condemned, the pods' spread (log standard deviation)."""

    splits: int
    false_alarms: int
    spread: float

    @property
    def rate(self) -> float | None:
        """The measured false-alarm rate; None without pods."""
        return self.false_alarms / self.splits if self.splits else None


class SelfTest:
    """Compares each of stable's pods (at most `most`) with the others, block by block: canaries that are known to be good."""

    def __init__(self, null: Null, anchor: float, bound: float, most: int = 3) -> None:
        """`anchor` in seconds is where the grid of blocks begins; `bound` is ln of the e-value that condemns."""
        self._null, self._anchor, self._bound, self._most = null, anchor, bound, most
        self._tests: dict[str, HarmTest] = {}
        self._index = -1
        self._pods: dict[str, tuple[float, float]] = {}

    def push(self, end: float, pods: Mapping[str, tuple[float, float]], spread: float) -> None:
        """Add (bad, all) by pod of a slice that ends at `end`; `spread` is what the pods differ by for good."""
        index = block_index(end, self._anchor, self._null.block)
        if index != self._index:
            self._close(spread)
            self._index, self._pods = index, {}
        for name, (bad, every) in pods.items():
            before = self._pods.get(name, (0.0, 0.0))
            self._pods[name] = (before[0] + bad, before[1] + every)

    def _close(self, spread: float) -> None:
        present = sorted(name for name, (_, every) in self._pods.items() if every > 0)
        if len(present) < 3:
            return
        start = self._anchor + self._index * self._null.block
        bad, total = (sum(one[which] for one in self._pods.values()) for which in (0, 1))
        for name in present:
            if name not in self._tests and len(self._tests) >= self._most:
                continue
            test = self._tests.setdefault(name, HarmTest(self._null, self._anchor))
            mine, its = self._pods[name]
            test.push(Row(start, start + self._null.block, mine, its, bad - mine, total - its), spare=spare(spread, 1, len(present) - 1))

    def look(self, spread: float) -> Calibration:
        """Return what was measured in whole blocks so far."""
        return Calibration(len(self._tests), sum(test.peak >= self._bound for test in self._tests.values()), spread)
