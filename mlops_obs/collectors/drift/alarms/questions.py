"""What a detector asks of a feature: is this cell fuller, is that one emptier, did the values move or spread?

A question is a likelihood ratio: log e (cells,), what a row in each cell adds to the evidence for one alternative. It is divided by the
largest mean that counts as normal, so that its expectation is at most 1 on normal rows, whichever normal distribution they have: an
e-value for the composite null (Gruenwald, de Heide, Koolen 2024). Products of e-values over rows are e-values again.

    cell fuller      p1 / hi          in the cell, (1 - p1) / (1 - hi) elsewhere;  p1 = Phi(Phi^-1(hi) + d) > hi
    cell emptier     the same with lo and p1 < lo
    moved, spread    q_j / p_j over the cells of values that are there, q the cells' shares had the normal scores mean t and
                     standard deviation s; divided by the highest normal mean of it

Dependent rows: a row is worth 1 / D of an independent one, so log e is divided by the design effect D.

The trap: a tilt's top cell must not be the cell "above": one sentinel there would count as an infinitely large value. Below and above join
their neighbours for tilts, and have questions of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf, log

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.natural import Variation
from mlops_obs.collectors.drift.alarms.normal import Normal, below, latent, shifted
from mlops_obs.collectors.drift.partition import CategoryPartition, NumberPartition, Partition
from mlops_obs.collectors.drift.results import Change

Scores = NDArray[np.float64]

# (shift in standard deviations, part of the feature's budget); both directions share the part
_SHIFTS = ((0.25, 0.10), (0.5, 0.22), (1.0, 0.14), (2.0, 0.06))
_SCALES = ((0.5, 0.03), (0.7, 0.03), (1.5, 0.04), (2.5, 0.03))
_FULLER_SHIFTS = (0.4, 1.0, 2.5)
_EMPTIER_SHIFTS = (-0.4, -1.5)
_LEAST_TO_LOSE = 0.01  # a cell that normally holds less cannot be noticed to be empty
_NUMBER_CELLS = 0.15  # part of the budget of all cells of values together
_NULL_PARTS = {"missing": 0.08, "invalid": 0.04, "unseen": 0.10, "below": 0.03, "above": 0.05}
_CLUSTERS = 1.5
_COMMON = 0.05  # share of a name from which its rows say how they cluster
_TILTED_CELLS = 3  # fewer say nothing that the cells do not say


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One alternative of one feature.

    Args:
        name: what is asked, in words.
        change: the kind of change that an answer points to.
        prior: part of the feature's budget; those of a feature sum to 1.
        log_e: (cells,) evidence of a row in each cell, in nats.
        score: (cells,) what the answer is told in: 1 in the asked cell, or the normal scores.
        given: (cells,) the cells whose rows count; False for missing rows in a question about values.
        normal: lowest and highest normal mean of `score`.
    """

    name: str
    change: Change
    prior: float
    log_e: Scores
    score: Scores
    given: NDArray[np.bool_]
    normal: tuple[float, float]

    def mean(self, counts: Scores) -> float:
        """Return the mean of `score` over rows (cells,); NaN without any that count."""
        rows = float(counts[self.given].sum())
        return float((counts * self.score)[self.given].sum()) / rows if rows > 0 else float("nan")


def questions_of(feature: str, partition: Partition, normal: Normal) -> list[Question]:
    """Return the questions of a feature; priors sum to 1."""
    asked = list(
        _of_number(feature, partition, normal) if isinstance(partition, NumberPartition) else _of_category(feature, partition, normal)
    )
    total = sum(one.prior for one in asked)
    return [
        Question(one.name, one.change, one.prior / total, one.log_e, one.score, one.given, one.normal) for one in asked if one.prior > 0
    ]


def _of_number(feature: str, partition: NumberPartition, normal: Normal) -> Iterator[Question]:
    cells = partition.expected.size
    values = cells - 2
    yield from _tilts(feature, partition, normal)
    yield from _cell(feature, partition, cells - 2, Change.MISSING, _NULL_PARTS["missing"], normal)
    yield from _cell(feature, partition, cells - 1, Change.INVALID, _NULL_PARTS["invalid"], normal)
    yield from _cell(feature, partition, 0, Change.TAIL, _NULL_PARTS["below"], normal)
    yield from _cell(feature, partition, values - 1, Change.TAIL, _NULL_PARTS["above"], normal)
    for cell in range(1, values - 1):
        yield from _cell(feature, partition, cell, Change.SHAPE, _NUMBER_CELLS / max(values - 2, 1), normal)


def _of_category(feature: str, partition: CategoryPartition, normal: Normal) -> Iterator[Question]:
    cells = partition.expected.size
    yield from _cell(feature, partition, cells - 2, Change.MISSING, _NULL_PARTS["missing"], normal)
    yield from _cell(feature, partition, cells - 1, Change.INVALID, _NULL_PARTS["invalid"], normal)
    yield from _cell(feature, partition, cells - 3, Change.NEW_CATEGORY, _NULL_PARTS["unseen"], normal)
    rest = 1 - sum(_NULL_PARTS[name] for name in ("missing", "invalid", "unseen"))
    for cell in range(cells - 3):
        yield from _cell(feature, partition, cell, Change.FREQUENCIES, rest / (cells - 3), normal)


def _cell(feature: str, partition: Partition, cell: int, change: Change, prior: float, normal: Normal) -> Iterator[Question]:
    counts = partition.expected.astype(np.float64)
    score = np.zeros(counts.size)
    score[cell] = 1.0
    given = np.ones(counts.size, dtype=np.bool_)
    varies = normal.variation(feature, score)
    # a rare cell cannot say how its rows cluster; they do so at least as the feature's do
    varies = Variation(max(varies.effect, _effect(feature, partition, normal)), varies.wander)
    rows, unseen = float(counts[cell]), 0.0
    if isinstance(partition, CategoryPartition) and cell in (counts.size - 3, counts.size - 4):
        unseen = float(partition.rare)  # rows that another sample would have under names that this one lacks
    low, high = normal.share(max(rows - unseen, 0.0), float(counts.sum()), varies)
    if unseen:
        high = normal.share(rows + unseen, float(counts.sum()), varies)[1]
    label = partition.labels[cell]
    asked = [(f"more {label}", change, high, shifted(high, by)) for by in _FULLER_SHIFTS if 0 < high < 0.98]
    if low > _LEAST_TO_LOSE:
        asked += [(f"fewer {label}", change, low, shifted(low, by)) for by in _EMPTIER_SHIFTS]
    for name, kind, border, share in asked:
        inside, outside = log(share / border), log((1 - share) / (1 - border))
        log_e = _tempered(np.where(score > 0, inside, outside), varies.effect)
        yield Question(f"{name} ({share:.2g})", kind, prior / len(asked), log_e, score, given, (low, high))


def _tilts(feature: str, partition: NumberPartition, normal: Normal) -> Iterator[Question]:
    counts = partition.expected.astype(np.float64)
    values = counts.size - 2
    inner = counts[:values].copy()  # below and above with their neighbours
    if values < _TILTED_CELLS + 2:
        return
    inner[1] += inner[0]
    inner[values - 2] += inner[values - 1]
    inner = inner[1 : values - 1]
    n = float(inner.sum())
    if n <= 0 or int((inner > 0).sum()) < _TILTED_CELLS:
        return
    edges = [-inf, *(latent(share) for share in np.cumsum(inner / n)[:-1].tolist()), inf]
    given = np.arange(counts.size) < values
    score = _spread([_centre(a, b) for a, b in pairwise(edges)], counts.size)
    varies = normal.variation(feature, score, given)
    slack = _interval(score, counts * given, normal, varies)
    shifts = [(sign * by, 1.0, part / 2, Change.LOCATION, f"shift {sign * by:+g} sd") for by, part in _SHIFTS for sign in (1, -1)]
    scales = [(0.0, by, part, Change.SCALE, f"spread x{by:g}") for by, part in _SCALES]
    tolerance = normal.tolerance
    tolerated_tilts = [_tilted(edges, *tilt) for tilt in ((tolerance, 1.0), (-tolerance, 1.0), (0.0, 1 + tolerance), (0.0, 1 - tolerance))]
    base = inner / n
    for move, spread, part, change, name in shifts + scales:
        ratios = np.array(_tilted(edges, move, spread)) / base
        tolerated = max(0.0, *(float((np.array(one) - base) @ ratios) for one in tolerated_tilts))
        own = normal.variation(feature, _spread(ratios.tolist(), counts.size), given)
        highest = normal.mean(ratios, inner, tolerated, own)
        log_e = np.where(given, np.log(np.maximum(_spread(ratios.tolist(), counts.size), 1e-9) / highest), 0.0)
        yield Question(name, change, part, _tempered(log_e, max(own.effect, varies.effect)), score, given, slack)


def _effect(feature: str, partition: Partition, normal: Normal) -> float:
    """Return the design effect of a feature as a whole: of the order of its values, or the largest of its common names."""
    size = partition.expected.size
    if isinstance(partition, NumberPartition):
        return normal.variation(feature, np.arange(size, dtype=np.float64), np.arange(size) < size - 2).effect
    common = np.flatnonzero(partition.expected >= _COMMON * partition.expected.sum()).tolist() if normal.natural else []
    return max((normal.variation(feature, np.eye(size)[cell]).effect for cell in common), default=1.0)


def _tempered(log_e: Scores, effect: float) -> Scores:
    """Return the evidence of a row that is worth 1 / `effect` of an independent one.

    The design effect is right for the variance. Clusters (a customer, an hour) are longer than the mean one, with an exponential tail:
    the evidence of a row must stay below the rate at which that tail falls, or a single long cluster raises an alarm.
    """
    return log_e / (1 + (effect - 1) * max(1.0, _CLUSTERS * float(log_e.max())))


def _tilted(edges: list[float], move: float, spread: float) -> list[float]:
    """Return the shares of the cells between normal scores `edges`, had the scores mean `move` and standard deviation `spread`."""
    return [below((b - move) / spread) - below((a - move) / spread) for a, b in pairwise(edges)]


def _centre(a: float, b: float) -> float:
    """Return the mean normal score between two normal scores: (phi(a) - phi(b)) / (Phi(b) - Phi(a))."""
    share = below(b) - below(a)
    return (_density(a) - _density(b)) / share if share > 0 else 0.0


def _density(score: float) -> float:
    return float(np.exp(-score * score / 2) / np.sqrt(2 * np.pi)) if abs(score) < inf else 0.0


def _spread(inner: list[float], size: int) -> Scores:
    """Put values of the inner cells into all cells: below and above like their neighbours, 0 where there is no value."""
    return np.array([inner[0], *inner, inner[-1], 0.0, 0.0])[:size]


def _interval(score: Scores, counts: Scores, normal: Normal, varies: Variation) -> tuple[float, float]:
    high = normal.mean(score, counts, normal.tolerance, varies)
    return -normal.mean(-score, counts, normal.tolerance, varies), high
