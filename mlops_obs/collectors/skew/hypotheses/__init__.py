"""What the later side would be if a certain thing had gone wrong: one candidate for each, made from the pairs that differ.

A candidate says for every pair what the later side should be (`predicted`), and in which pairs it speaks at all (`applies`). Whether it
is right is judged in `classify.py`, by all pairs together; here only what the pairs suggest is collected.

`cost` is in nats, about what a coder would pay to write the candidate down: a named factor is cheap, a free one dear, and a table of
codes pays for each entry, so that a table with an entry for every row explains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mlops_obs.collectors.skew.hypotheses.candidate import Candidate, fixed
from mlops_obs.collectors.skew.hypotheses.history import late, old, stale
from mlops_obs.collectors.skew.hypotheses.names import defaults, mapping, spelling
from mlops_obs.collectors.skew.hypotheses.numbers import affine, factors, functions, rounded
from mlops_obs.collectors.skew.hypotheses.times import midnight, shifts
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import Mask, Table


def candidates(table: Table, differs: Mask) -> Iterator[Candidate]:
    """Yield every explanation that the differing pairs suggest."""
    left, right = table.left[differs], table.right[differs]
    yield fixed(table, SkewKind.MISSING, "{right} is missing", "", 1.0, np.full(table.left.size, np.nan))
    yield from defaults(table, left, right)
    yield from mapping(table, left, right)
    if table.numeric:
        both = np.isfinite(left) & np.isfinite(right)
        a, b = left[both], right[both]
        if a.size:
            yield from factors(table, a, b)
            yield from functions(table, a, b)
            yield from shifts(table, a, b)
            yield from affine(table, a, b)
            yield from rounded(table)
        yield from midnight(table)
    else:
        yield from spelling(table)
    yield from late(table)
    yield from stale(table)
    yield from old(table, differs)
