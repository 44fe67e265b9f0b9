"""Our judge on a trace, through the same functions as `obs rollout judge`; only the text of the table is left out."""

from __future__ import annotations

import math

from mlops_obs.rollout.judging.trace import Cell, judge_trace
from mlops_obs.testing.traces import Trace


def hear(drawn: Trace) -> tuple[tuple[float, str, str], ...]:
    """Return (seconds from the start, verdict, attribution) per interval, until a rollback."""
    cells = [Cell(t, arm, pod, *(float(one) if one != "NaN" else math.nan for one in counts)) for t, arm, pod, *counts in drawn.rows()]
    found = judge_trace(cells, weight=drawn.weight, stop=True)
    return tuple((one.t - drawn.start, one.verdict, one.attribution) for one in found)
