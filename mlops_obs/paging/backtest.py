"""A stretch of history through the whole chain: recordings, alerts with their `for`, grouping and inhibition, pages, and their score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops_obs.paging.plan import plan_of
from mlops_obs.paging.replay import Page, Stretch, pages
from mlops_obs.paging.routing import Delays
from mlops_obs.slo.backtest import Incident, Score, score
from mlops_obs.slo.recordings import Recordings
from mlops_obs.slo.replay import alerts_of
from mlops_obs.slo.spec import SLO


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a set of tiers would have done: everything people were told, and how good that was."""

    tiers: str
    pages: tuple[Page, ...]
    score: Score


def backtest(tiers: str, slos: Sequence[SLO], recorded: Mapping[str, Recordings], delays: Delays, incidents: Sequence[Incident]) -> Outcome:
    """Replay `slos` on what was recorded of them, by reference, and judge the pages by `incidents`.

    Args:
        tiers: what the set of tiers is called.
        slos: the objectives with their tiers; windows up to an hour must be among the recorded ones.
        recorded: their recordings on one grid of evaluations.
        delays: how long notifications wait.
        incidents: what really happened.
    """
    at = next(iter(recorded.values())).at
    step = float(at[1] - at[0]) if len(at) > 1 else 0.0
    fired = [
        Stretch({**one.labels, "alertname": one.name}, float(first), float(last) + step)
        for one in alerts_of(slos, recorded)
        for first, last in one.stretches(at)
    ]
    until = float(at[-1]) + step
    told = pages(fired, plan_of(slos), delays, until)
    return Outcome(tiers, tuple(told), score(told, incidents, until - float(at[0])))
