"""The statistics that are shown of a feature, by the literature's names.

Most features are stable and a table has many: a table of features is one computation, not a loop over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.evidence import Table, special_cells
from mlops_obs.collectors.drift.partition import Partition
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.collectors.drift.statistics.divergences import hellinger, jensen_shannon_distance, linf, psi, total_variation
from mlops_obs.collectors.drift.statistics.ordered import apart, quantiles

_QUARTILES = np.array([0.25, 0.75])
_DIVERGENCES = {
    "psi": psi,
    "jensen_shannon": jensen_shannon_distance,
    "total_variation": total_variation,
    "hellinger": hellinger,
    "linf": linf,
}


def cell_statistics(
    partitions: Sequence[Partition], reference: Table, current: Table, weights: NDArray[np.float64]
) -> list[dict[str, float]]:
    """Return each feature's statistics of its cells.

    Args:
        partitions: the features' cells.
        reference: rows by cell (features, cells).
        current: rows by cell (features, cells).
        weights: rows that one independent current row was counted as, (features,).
    """
    independent = current / weights[:, None]
    columns = {name: function(reference, independent).tolist() for name, function in _DIVERGENCES.items()}
    n, m = reference.sum(axis=1), current.sum(axis=1)
    pooled = reference + current
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = (reference * m[:, None] - current * n[:, None]) ** 2 / pooled
        columns["chi_square"] = (np.where(pooled > 0, parts, 0.0).sum(axis=1) / (n * m)).tolist()
    columns["chi_square_degrees"] = np.maximum((pooled > 0).sum(axis=1) - 1.0, 0.0).tolist()
    found = []
    for row, partition in enumerate(partitions):
        mine = {name: values[row] for name, values in columns.items()}
        cells = special_cells(partition)
        for name, place in cells.items():
            mine[name] = float(current[row, place] / m[row]) if m[row] else 0.0
        mine["missing_reference"] = float(reference[row, cells["missing"]] / n[row]) if n[row] else 0.0
        found.append(mine)
    return found


def number_statistics(reference: NumberSketch, current: NumberSketch) -> dict[str, float]:
    """Return the statistics that need more than cells: ks, wasserstein (the column's unit), wasserstein_iqr (interquartile ranges)."""
    ks, distance = apart(reference, current)
    low, high = quantiles(reference, _QUARTILES).tolist()
    found = {"ks": ks, "wasserstein": distance}
    return found | ({"wasserstein_iqr": distance / (high - low)} if high > low else {})
