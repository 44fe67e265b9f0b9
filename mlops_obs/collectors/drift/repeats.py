"""How many independent rows is a window worth? Traffic repeats itself: hot customers, retries, refreshed pages.

A customer who asks thirty times is one draw from the population, not thirty; counted as thirty, healthy traffic with a
few hot customers is called drifted in every window. Rows carry no identity here, but a repeated row repeats its value
in every finely valued feature at once. The ties in excess of what the reference has by chance give the design effect
(Kish): the number of rows that one independent row is counted as.

The trap: a feature that is filled with a constant ties too. The effect on a feature is therefore judged by the median
of the *other* features, so that a broken feature cannot excuse itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, Sketch
from mlops_obs.collectors.drift.sketches.numbers import Codes

_FINE = 0.02  # chance that two reference rows tie; above this, ties say little about who asked
_WITNESSES = 9


@dataclass(frozen=True, slots=True)
class Weight:
    """How many rows one independent row was counted as: in the mean, and at most. The latter decides in a cell of few rows."""

    mean: float = 1.0
    largest: float = 1.0


class Repeats:
    """Knows by chance how often the rows of each reference column tie.

    `witnesses` are the places of the finest columns, the ones to watch: `weigh` wants their values only.
    """

    def __init__(self, sketches: Sequence[Sketch]) -> None:
        self._chance = [_tie_chance(_counts(one)) for one in sketches]
        fine = [place for place, chance in enumerate(self._chance) if chance <= _FINE]
        self.witnesses = tuple(sorted(sorted(fine, key=lambda place: self._chance[place])[:_WITNESSES]))

    def weigh(self, codes: Codes) -> list[Weight]:
        """Return for each column what one independent row was counted as.

        `codes` (rows x witnesses) are numbers that are equal where the values are; negative where there is none.
        """
        seen = {place: _ties(codes[:, number], self._chance[place]) for number, place in enumerate(self.witnesses)}
        of_all = _median(list(seen.values()))
        apart = {place: _median([ties for other, ties in seen.items() if other != place]) for place in seen}
        return [apart.get(place, of_all) for place in range(len(self._chance))]


def _counts(sketch: Sketch) -> NDArray[np.float64]:
    if isinstance(sketch, CategorySketch):
        return np.fromiter(sketch.names.values(), dtype=np.float64, count=len(sketch.names))
    return (sketch if isinstance(sketch, NumberSketch) else sketch.lengths).counts.astype(np.float64)


def _tie_chance(counts: NDArray[np.float64]) -> float:
    rows = counts.sum()
    return float((counts * (counts - 1)).sum() / (rows * (rows - 1))) if rows > 1 else 1.0


def _ties(column: Codes, chance: float) -> Weight:
    _, counts = np.unique(column[column >= 0], return_counts=True)
    rows = int(counts.sum())
    if rows < 2:
        return Weight()
    excess = float((counts * (counts - 1)).sum()) - rows * (rows - 1) * chance
    return Weight(min(float(rows), 1 + max(0.0, excess) / rows), float(counts.max()))


def _median(ties: list[Weight]) -> Weight:
    return Weight(_lower_median([one.mean for one in ties]), _lower_median([one.largest for one in ties]))


def _lower_median(effects: list[float]) -> float:
    return sorted(effects)[(len(effects) - 1) // 2] if effects else 1.0
