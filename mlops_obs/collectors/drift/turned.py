"""Embeddings: have their directions turned, have their lengths changed?

The test is the maximum mean discrepancy of random Fourier features of the directions, with its law under no drift from the features'
own covariance; lengths, missing and invalid rows are judged as any number's. No row is needed, nor a dimension named: a dimension of
an embedding means nothing to a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mlops_obs.collectors.drift.evidence import Evidence
from mlops_obs.collectors.drift.kinds import describe_cells
from mlops_obs.collectors.drift.pairs import Pair
from mlops_obs.collectors.drift.results import Change
from mlops_obs.collectors.drift.sketches.fourier import AMPLITUDE
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch
from mlops_obs.collectors.drift.statistics.mmd import mmd

_BROKEN = (Change.MISSING, Change.INVALID, Change.TYPE)


def weigh_vectors(
    reference: VectorSketch, current: VectorSketch, lengths: Evidence, tolerated: float, statistics: dict[str, float]
) -> Evidence:
    """Return the evidence of lengths and directions together, and add `mmd`, `mmd_relative` and the `p_value` to the statistics."""
    if reference.size != current.size:
        return lengths
    found = mmd((reference.sums, current.sums), reference.products, (reference.vectors, current.vectors), AMPLITUDE)
    p_value = min(1.0, 2 * min(lengths.p_value, found.p_value))
    statistics |= {"mmd": found.mmd_squared, "mmd_relative": found.relative, "p_value": p_value}
    larger = found.relative / tolerated if found.relative > 0 else 0.0
    return replace(lengths, p_value=p_value, size=max(lengths.size, larger))


def describe_vectors(pair: Pair, statistics: Mapping[str, float]) -> tuple[Change, str]:
    """Return the kind of change of a column of embeddings that has drifted, and a line about it."""
    reference, current = pair.reference, pair.current
    if not isinstance(current, VectorSketch) or not isinstance(reference, VectorSketch):
        return Change.TYPE, "the values are no embeddings"
    if reference.size != current.size:
        return Change.TYPE, f"embeddings of {current.size} numbers, {reference.size} in the reference: another model?"
    kind, words = describe_cells(pair.partition, pair.counts)
    if kind in _BROKEN:
        return kind, words
    turned = statistics.get("mmd_relative", 0.0)
    words = f"the embeddings point elsewhere (discrepancy {100 * turned:.2g} % of the spread)"
    if turned <= 0.005:
        words = "the embeddings point where they did, their lengths changed"
    return Change.EMBEDDING, words
