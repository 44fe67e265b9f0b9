"""Whose burn it is: the events of an SLO by revision, and the evidence that the canary has more bad ones than stable.

The canary is compared with stable itself, not with a tolerated multiple of it: this is asked only when a budget is spent.
A shared incident cancels out, since only events of the same slices are compared. The trap is the read of everything since
the beginning at every look; a meter remembers what it has counted, and a new one counts the same again.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

from mlops_obs.errors import ObsError
from mlops_obs.rollout.evidence.grid import JITTER, edge_state, missing_in, slice_edges
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.evidence.tracks import processes_of
from mlops_obs.rollout.gates.counting import EventTracks, Plan, load, place_of
from mlops_obs.rollout.judging.engine import Row
from mlops_obs.rollout.judging.harm import HarmTest, Null
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.indicators import counters
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.tiers import Z

_LOOKBACK = 60.0  # seconds before the first new slice in which the counters' base values are looked for


@dataclass(frozen=True, slots=True)
class OwnBurn:
    """Counts of an SLO's events since the canary got traffic, and the evidence that the canary is worse than stable."""

    canary_bad: int
    canary_total: int
    stable_bad: int
    stable_total: int
    log10_e_peak: float
    log10_bound: float
    allowed: float
    """The share of bad events that the objective allows."""

    @property
    def proven(self) -> bool:
        """The canary burns, and stable does not do so alike."""
        return self.log10_e_peak >= self.log10_bound and _lower_bound(self.canary_bad, self.canary_total) > self.allowed


class BurnMeter:
    """Whose burn it is, for one SLO in one rollout: asks only for what is new, and never counts a slice twice."""

    def __init__(self, slo: SLO, rollout: Rollout, arms: Arms, began_at: float) -> None:
        self._slo, self._spec, self._arms, self._began = slo, rollout, arms, began_at
        self._end = began_at
        self._sums = [0, 0, 0, 0]
        # Against stable itself, not against a tolerated multiple of it: the budget is spent. A cold cache burns, and is no regression.
        null = Null(1.0, noise=rollout.noise_log_sd, block=rollout.block, warm_up=rollout.warm_up_seconds, gross=rollout.gross_ratio)
        self._test = HarmTest(null, began_at)
        self._plan: Plan | None = None
        if slo.indicator.type != "training":  # a training run's revision is no canary: its traffic wastes no GPU time
            with suppress(TypeError, ValueError, ObsError):  # counted by an expression, a gauge or other SLOs: no revision in sight
                self._plan = Plan(slo.name, counters(slo))

    def read(self, source: CounterSource, now: float, tests: int = 1) -> OwnBurn | None:
        """Count up to `now` (Unix seconds); None where the counters do not tell the two revisions apart.

        `tests` is how many SLOs may ever be asked: they share the rollout's alpha, so that all of them together turn back a
        canary that is no worse than stable with at most that chance, however often one looks.

        Raises:
            TelemetryUnavailable: the source did not answer in full.
            ValueError: a counter is not a number now.
        """
        plan, spec = self._plan, self._spec
        if plan is None:
            return None
        reach = max(_LOOKBACK, 3 * spec.stale_after) + (2 * plan.width if plan.width else 0.0)
        tracks = load(source, plan, spec, self._arms, min(self._end if plan.known else self._began, now) - reach, now)
        if tracks is None:
            return None
        if not tracks.last_is_number:
            raise ValueError("a counter is not a number")
        plan.settle(tracks.total, {place_of(one.labels) for one in tracks.total}, spec)
        self._count(tracks, plan, now)
        bad, total, stable_bad, stable_total = self._sums
        bound = math.log10(max(tests, 1) / spec.alpha)
        return OwnBurn(bad, total, stable_bad, stable_total, max(self._test.peak, 0.0) / math.log(10), bound, float(self._slo.budget))

    def _count(self, tracks: EventTracks, plan: Plan, now: float) -> None:
        jitter = max(JITTER * self._spec.slice, plan.lag)
        longest = max(self._spec.stale_after, jitter, 2 * plan.lag)
        processes, holes = processes_of(tracks.total), tracks.holes(now, longest)
        until = min(now, max((one.times[-1] for one in processes), default=now))
        for edge in slice_edges(self._began, until, plan.width or self._spec.slice):
            state = edge_state(edge, processes, now, jitter, longest)
            if state == "wait":
                return
            if edge <= self._end + 1e-9 or state == "later":
                continue
            start, self._end = self._end, edge
            if missing_in(start, edge, holes):
                continue
            (bad, total), (stable_bad, stable_total) = (
                tracks.bad_total(revision, start, edge) for revision in (self._arms.canary, self._arms.stable)
            )
            self._sums = [a + b for a, b in zip(self._sums, (bad, total, stable_bad, stable_total), strict=True)]
            self._test.push(Row(start, edge, bad, total, stable_bad, stable_total))


def _lower_bound(bad: int, total: int) -> float:
    """Wilson lower bound (one-sided 99 %) of the share of bad events."""
    if total <= 0:
        return 0.0
    z = float(Z)
    centre = bad + z * z / 2
    return (centre - z * math.sqrt(bad * (total - bad) / total + z * z / 4)) / (total + z * z)
