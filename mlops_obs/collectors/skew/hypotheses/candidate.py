"""A candidate: one explanation of the differing pairs of a feature, and how its parts are found.

`cost` is in nats, about what a coder would pay to write the candidate down: a named factor is cheap, a free one dear, and a table of
codes pays for each entry, so that a table with an entry for every row explains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import EQUAL_WITHIN, Array, Mask, Table, same

UNTOLD = 6.0  # nats of a value that nothing predicts


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One explanation.

    Args:
        kind: what it would mean.
        formula: for people; `{left}` and `{right}` stand for the sides.
        note: what that usually is.
        cost: of writing it down, in nats.
        predicted: (n,) the later side's value, NaN for nothing; None if only *where* pairs differ is told, not how.
        applies: (n,) pairs in which the explanation says that they differ, if it is at work.
        within: how far off a prediction may be, relative to the value; above EQUAL_WITHIN relative to the difference that it explains.
        hit: (n,) pairs that it explains, where that is not `predicted` met.
        distinct: how many different values of the left side must be explained.
        per_hit: nats of what the candidate leaves open in each pair that it explains.
    """

    kind: SkewKind
    formula: str
    note: str
    cost: float
    predicted: Array | None
    applies: Mask
    within: float = EQUAL_WITHIN
    hit: Mask | None = None
    distinct: int = 1
    per_hit: float = 0.0


def fixed(
    table: Table,
    kind: SkewKind,
    formula: str,
    note: str,
    cost: float,
    predicted: Array,
    *,
    within: float = EQUAL_WITHIN,
    distinct: int = 1,
    per_hit: float = 0.0,
) -> Candidate:
    """Return a candidate that tells every pair's value; it speaks where that is not the left side's value anyway."""
    return Candidate(kind, formula, note, cost, predicted, ~same(predicted, table.left), within, None, distinct, per_hit)


def modes(values: Array, digits: int, most: int) -> list[float]:
    """Return the most frequent values, those that agree to so many digits taken together, most frequent first."""
    values = values[np.isfinite(values)]
    if not values.size:
        return []
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        scale = 10.0 ** (digits - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.where((values == 0) | ~np.isfinite(scale), 0.0, np.rint(values * scale) / scale)
    _, place, counts = np.unique(rounded, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    found = [float(np.median(values[place == number])) for number in order if counts[number] >= min(2, values.size)]
    return [value for value in found if np.isfinite(value)]


def shown(table: Table, value: float) -> str:
    """Write one value of the table for people."""
    return repr(table.names[int(value)]) if table.names else f"{value:.10g}"


def signed(value: float) -> str:
    """Write `+ 2` or `- 2`."""
    return f"{'+' if value >= 0 else '-'} {abs(value):.10g}"
