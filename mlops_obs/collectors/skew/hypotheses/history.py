"""Values that were right once: stale, or served before an event had arrived. Both need evidence beyond the pair itself."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mlops_obs.collectors.skew.hypotheses.candidate import UNTOLD, Candidate, fixed
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import Mask, Table, same


def late(table: Table) -> Iterator[Candidate]:
    """Yield "right = left from the events that had arrived", where that was recomputed."""
    if table.has_known.any():
        predicted = np.where(table.has_known, table.known, table.left)
        note = "events arrived after the value was served"
        yield fixed(table, SkewKind.LATE_ARRIVAL, "{right} = {left} without events that had not arrived", note, 1.0, predicted)


def stale(table: Table) -> Iterator[Candidate]:
    """Yield "right = an older value of left": one of the same age in every pair, or any of them."""
    depth = table.earlier.shape[1]
    if not depth or not table.has_earlier.any():
        return
    older = np.where(table.has_earlier, table.earlier, table.left[:, None])
    changed = ~same(older, np.repeat(table.left[:, None], depth, axis=1))
    matched = same(older, np.repeat(table.right[:, None], depth, axis=1)) & changed & table.has_earlier
    applies: Mask = np.any(changed, axis=1)
    any_matched: Mask = np.any(matched, axis=1)
    for at in range(depth):
        if matched[:, at].any():
            formula, note = "{right} = an older value of {left}", "not brought up to date"
            yield fixed(table, SkewKind.STALE, formula, note, 1.0 + math.log(depth), older[:, at])
    if matched.any():
        # each pair may choose among so many older values: the choice is paid for
        choice = math.log(depth) if depth > 1 else 0.0
        formula, note = "{right} = an older value of {left}", "not brought up to date"
        yield Candidate(SkewKind.STALE, formula, note, 1.0, None, applies, hit=any_matched, per_hit=choice)


def old(table: Table, differs: Mask) -> Iterator[Candidate]:
    """Yield "differs only where the right side's source is old": its age tells stale where no older value was recomputed."""
    age = table.age
    if not np.isfinite(age).any() or not np.isfinite(age[differs]).any():
        return
    for share in (0.0, 0.05):
        limit = float(np.nanquantile(age[differs], share))
        aged: Mask = np.nan_to_num(age, nan=-1.0) >= limit
        fresh = age < limit
        if int(fresh.sum()) >= 10 and limit > 2 * float(np.median(age[fresh])):
            formula = f"{{right}} differs only where its source is older than {limit:.0f} s"
            yield Candidate(SkewKind.STALE, formula, "not brought up to date", 6.0, None, aged, hit=aged, per_hit=UNTOLD)
