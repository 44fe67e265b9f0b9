"""Which explanation fits: every candidate is scored on all pairs, the equal ones included, and must beat "differs somehow".

The score is a log likelihood less the candidate's cost (a two-part code; minimum description length, Rissanen 1978). A candidate says in
which pairs the sides would differ if it were at work. With q the share of those pairs that it hits (fitted; a fault of one replica
hits a third of them) each hit gives log q, each such pair that is equal nonetheless log(1 - q), and a difference that it does not
explain more than an unexplained difference costs. So a default of 0 is not confused with an older value that happens to be 0: the default
would have hit the other pairs as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlops_obs.collectors.skew.evidence import binomial_log_likelihood
from mlops_obs.collectors.skew.hypotheses import candidates
from mlops_obs.collectors.skew.hypotheses.candidate import UNTOLD, Candidate
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import EQUAL_WITHIN, Mask, Table, same

_MISS = 8.0  # of a difference that a candidate leaves unexplained: more, or anything would do for a third of the rows
_LEAST_SHARE = 0.8  # of the differing pairs that a named transformation explains
_LEAST_HITS = 3
LEAST_ODDS = math.log(1000)


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The best explanation: `explained` is the share of differing pairs it gives, `odds` its log odds (natural) against `other`."""

    kind: SkewKind
    formula: str
    note: str
    explained: float
    odds: float
    hits: Mask


def explain(table: Table, differs: Mask) -> Explanation:
    """Return what explains the differing pairs of `table` best; kind `other` if nothing is likely enough."""
    count = int(differs.sum())
    unexplained = binomial_log_likelihood(count, int(differs.size) - count) - UNTOLD * count
    none = Explanation(SkewKind.OTHER, "", "", 0.0, 0.0, np.zeros_like(differs))
    best, best_score = none, -math.inf
    if not count:
        return none
    for candidate in candidates(table, differs):
        hits = _hits(candidate, table) & differs & candidate.applies
        hit = int(hits.sum())
        share = hit / count
        if hit < _LEAST_HITS or share < _LEAST_SHARE or _distinct(table, hits, candidate.distinct) < candidate.distinct:
            continue
        quiet = int((candidate.applies & ~differs).sum())
        score = binomial_log_likelihood(hit, quiet) - _MISS * (count - hit) - candidate.cost - candidate.per_hit * hit
        if score > best_score and score - unexplained >= LEAST_ODDS:
            best_score = score
            best = Explanation(candidate.kind, candidate.formula, candidate.note, share, score - unexplained, hits)
    return best


def _hits(candidate: Candidate, table: Table) -> Mask:
    if candidate.predicted is None:
        return candidate.hit if candidate.hit is not None else np.zeros(table.left.size, dtype=bool)
    if candidate.within <= EQUAL_WITHIN:
        return same(candidate.predicted, table.right, candidate.within)
    # a looser match must explain the difference, not only come near the value: every value is near a Unix time
    with np.errstate(invalid="ignore", over="ignore"):
        found: Mask = np.abs(candidate.predicted - table.right) <= candidate.within * np.abs(table.right - table.left)
    return found | same(candidate.predicted, table.right)


def _distinct(table: Table, hits: Mask, enough: int) -> int:
    if enough <= 1:
        return enough
    values = table.left[hits]
    return int(np.unique(values[np.isfinite(values) & (values != 0)]).size)
