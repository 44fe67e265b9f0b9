"""Which new column is a gone one under another name? Asked so that a person need not: a rename looks like two incidents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.partition import NumberPartition, Partition
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, lower_bound

_ALIKE = 0.05  # total variation between a column and itself under another name, sampling aside
_NOISE = 3.0  # standard errors of sampling that are forgiven
_PAIRS = 10_000  # gone times new columns that are looked at: two tables with nothing in common are no renaming


def renamed(reference: ReferenceProfile, current: ReferenceProfile) -> dict[str, str]:
    """Return {gone column: new column} of the same kind whose rows lie in the gone column's cells as the reference's do.

    The new column with the smallest total variation is taken, if that is below 0.05 plus what sampling explains; a column whose
    rows all lie in one cell says nothing and is left out.
    """
    gone = [name for name in reference.feature_names if name not in current.sketches]
    new = [name for name in current.sketches if name not in reference.sketches]
    found: dict[str, str] = {}
    for name in gone if len(gone) * len(new) <= _PAIRS else ():
        candidates = [(distance, other) for other in new if (distance := _distance(reference, current, name, other)) is not None]
        if candidates:
            found[name] = min(candidates)[1]
            new.remove(found[name])
    return found


def _distance(reference: ReferenceProfile, current: ReferenceProfile, name: str, other: str) -> float | None:
    """Return the total variation if `other` could be `name`, else None."""
    column, sketch = reference.schema[name], current.sketches[other]
    if current.schema[other].kind is not column.kind or not isinstance(sketch, NumberSketch | CategorySketch) or not sketch.rows:
        return None
    partition = reference.partition(name)
    before = partition.expected
    now = _rows(partition, sketch, current.schema[other].origin)
    n, m = int(before.sum()), int(now.sum())
    if np.count_nonzero(before) < 2:
        return None
    distance = float(np.abs(before / n - now / m).sum() / 2)
    noise = 0.5 * float(np.sqrt(before / n * (1 - before / n) * (1 / n + 1 / m)).sum())
    return distance if distance <= _ALIKE + _NOISE * noise else None


def _rows(partition: Partition, sketch: NumberSketch | CategorySketch, origin: float) -> NDArray[np.int64]:
    """Return the rows of `sketch` by cell; a sketch about another origin is moved by its buckets' values, to their resolution."""
    if isinstance(sketch, CategorySketch) or not isinstance(partition, NumberPartition):
        return partition.count(sketch)  # type: ignore[arg-type]
    counts = np.zeros_like(partition.expected)
    np.add.at(counts, partition.cells(lower_bound(sketch.codes) + origin), sketch.counts)
    counts[-2:] = sketch.missing, sketch.invalid
    return counts
