"""How good is the model on the current rows, before their labels come? From the sketch of its scores alone.

The reference's section `impact` holds how often the label was 1 in each bin of scores; the column with the role *prediction* says how
scores are distributed now. See `statistics.performance` for the arithmetic and for what it cannot see.

The trap: a sketch keeps a score to its bucket (1.6 %). Rows of a bucket that an edge of the bins divides are shared in proportion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution.impact import impact_of
from mlops_obs.collectors.drift.columns import Role
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, lower_bound
from mlops_obs.collectors.drift.statistics.performance import Performance, estimate


def estimated_performance(
    reference: ReferenceProfile, current: ReferenceProfile, *, threshold: float = 0.5, seed: int = 0
) -> Performance | None:
    """Estimate AUC, accuracy and Brier score of the current rows with 90 % intervals.

    Args:
        reference: with a section `impact` and a column of numbers with the role prediction: the model's score.
        current: profile of the current rows.
        threshold: calibrated probability from which a row counts as predicted 1.
        seed: of the bootstrap behind the intervals.

    Returns:
        None if the reference has no such section or column, or the current rows have no scores.

    Raises:
        SpecError: OBS-ATT-003 if the section cannot be read.
    """
    impact = impact_of(reference)
    name = next((one.name for one in reference.schema if one.role is Role.PREDICTION), None)
    sketch = current.sketches.get(name) if name is not None else None
    if impact is None or not impact.features or not isinstance(sketch, NumberSketch) or not sketch.codes.size:
        return None
    return estimate(rows_by_bin(sketch, impact.edges, reference.schema[str(name)].origin), impact.calibration, threshold, seed=seed)


def rows_by_bin(sketch: NumberSketch, edges: NDArray[np.float64], origin: float = 0.0) -> NDArray[np.int64]:
    """Return the rows between edges (bins - 1,), rising; to a row, the rows of a divided bucket in proportion."""
    low, high = lower_bound(sketch.codes) + origin, lower_bound(sketch.codes + 1) + origin
    filled = np.cumsum(sketch.counts)
    borders = np.column_stack([low, np.minimum(high, sketch.maximum)]).reshape(-1)
    below = np.column_stack([filled - sketch.counts, filled]).reshape(-1)
    finite = np.isfinite(borders)
    upto = np.rint(np.interp(edges, borders[finite], below[finite])) if finite.any() else np.zeros(edges.size)
    return np.diff(np.concatenate([[0], upto, [filled[-1]]])).astype(np.int64)
