"""How many independent rows are a table's rows worth, when rows of one time resemble each other?

The reference's section `natural` says how its cells vary from block to block beyond chance: a design effect D (autocorrelation) and a
wander w (days that differ without anything being wrong). A table of m rows then varies like m / e independent ones, with

    e = D + w^2 min(m, b) / s^2        s^2 variance of one row, b rows in a block

for a score of the cells. For a test of all cells the mean of e over them counts (Rao and Scott 1981), or that of the cells' order if it is
larger, because autocorrelated values move together from cell to cell.

The trap: on an autocorrelated column with a correlation of 0.5 from row to row, tests of independent rows alarm three times as often as
they say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.natural import Natural
from mlops_obs.collectors.drift.partition import NumberPartition, Partition


def design_effects(natural: Natural, name: str, partition: Partition, rows: float) -> tuple[float, float]:
    """Return the design effects (1 or more) of the reference and of `rows` current rows of a column.

    Args:
        natural: the reference's section.
        name: the column; one that the section does not have has effects of 1.
        partition: its cells.
        rows: current rows.
    """
    counts = natural.counts.get(name)
    expected = partition.expected.astype(np.float64)
    n = float(expected.sum())
    if counts is None or counts.shape[1] != expected.size or n < 1:
        return 1.0, 1.0
    p = expected / n
    block = n / counts.shape[0]
    found, weights = [], []
    for place in np.flatnonzero((p > 0) & (p < 1)).tolist():
        found.append(_effects(natural, name, np.eye(expected.size)[place], float(p[place] * (1 - p[place])), block, rows))
        weights.append(1 - float(p[place]))
    if not found:
        return 1.0, 1.0
    effects = np.average(np.array(found), axis=0, weights=weights)
    if isinstance(partition, NumberPartition):
        order = np.arange(expected.size, dtype=np.float64)
        given = np.arange(expected.size) < expected.size - 2
        share = p[given] / p[given].sum() if p[given].sum() > 0 else p[given]
        variance = float(share @ (order[given] - share @ order[given]) ** 2)
        if variance > 0:
            variation = natural.variation(name, order, given)
            wander = variation.wander**2 / variance
            effects = np.maximum(effects, [variation.effect + wander * block, variation.effect + wander * min(rows, block)])
    return max(1.0, float(effects[0])), max(1.0, float(effects[1]))


def _effects(natural: Natural, name: str, scores: NDArray[np.float64], variance: float, block: float, rows: float) -> tuple[float, float]:
    found = natural.variation(name, scores)
    wander = found.wander**2 / variance
    return found.effect + wander * block, found.effect + wander * min(rows, block)
