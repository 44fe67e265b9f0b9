"""How much of an error budget is left right now, read as cheaply as it can be, for readers that ask every few seconds.

The traps: counting a period of 30 days from raw samples reads a million of them for one number. Where rules run, that
number is recorded, so the recording is asked first; without one (the embedded engine, a server without our rules) the
samples are counted. And a budget that nobody recorded, or that is no number, must not be taken for a full one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlops_obs import metric_names as names
from mlops_obs.errors import ObsError
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.counting import readable
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.verdict import Verdict, slo_status

RECORDED_WITHIN = 300.0  # seconds; an older recording is none, as in Prometheus


@dataclass(frozen=True, slots=True)
class Standing:
    """The share of an SLO's budget that is left; None if nobody can tell, and then `problem` says why."""

    slo: SLO
    remaining: float | None
    problem: str = ""


def read_standing(slo: SLO, source: CounterSource, now: float, others: Sequence[SLO] = ()) -> Standing:
    """Read what the service as a whole has left at `now` (Unix seconds). Never raises for a source that does not answer.

    `others` are the SLOs among which the stages of a composite are found.
    """
    try:
        recorded = source.series(names.SLO_BUDGET_REMAINING, {names.SERVICE: slo.service, names.SLO: slo.name}, now - RECORDED_WITHIN, now)
        whole = [one.samples[-1] for one in recorded if one.samples and not any(one.labels.get(label) for label in slo.group_by)]
        if whole:
            left = min(value for _, value in whole)  # two servers may record it: the emptier budget is the safe one
            return Standing(slo, left) if math.isfinite(left) else Standing(slo, None, f"the error budget of {slo.name} is no number")
        by_ref = {(one.service, one.name): one for one in others}
        for one in slo_status(slo, source, now, others) if readable(slo, by_ref) else ():
            if not one.group and one.verdict is not Verdict.UNKNOWN:
                return Standing(slo, one.budget_remaining)
    except ObsError as error:
        return Standing(slo, None, f"the error budget of {slo.name} cannot be read: {error.what}")
    return Standing(slo, None, f"nothing is counted for {slo.name}, so nobody can tell how much of its error budget is left")
