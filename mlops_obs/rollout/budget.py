"""What the error budgets of the service say about a rollout: warn, hold the next step up, or turn the canary back.

Being out of budget proves nothing against a canary: the month may have been spent before it was trained. So a freeze
only stops traffic from rising, and a policy rolls back only on proof that the burn is the canary's own: its requests
fail more often than the objective allows, *and* a sequential test says that they fail more often than stable's did in
the same seconds. A shared incident cancels out in that test; a canary alone in the world is never condemned by it.

No budget is not a full budget: what cannot be read starts nothing, and lifts nothing either (see `decide`). Nor is a
counter that is missing a failure: a canary without the bucket of a latency objective is not slow, it cannot be judged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.errors import ObsError
from mlops_obs.rollout.burn import BurnMeter, OwnBurn
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates.counting import read_selector
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource, sum_increase
from mlops_obs.slo.indicators import counters
from mlops_obs.slo.policy import Rung, in_force, percent, strictest
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.standing import Standing, read_standing

REFRESH = 30.0  # seconds for which a reading of a budget is good enough
_TRAFFIC = 300.0  # seconds over which the traffic is measured, to tell how many events a budget is


@dataclass(frozen=True, slots=True)
class Budget:
    """What the policies ask for at one look.

    `watched` are the SLOs that have one, `unread` those of them whose budget cannot be read; `unknown` says why, in words.
    """

    rungs: tuple[Rung, ...] = ()
    own: Mapping[str, OwnBurn] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    left: Mapping[str, float] = field(default_factory=dict)
    """Bad events that may still happen before the budget is spent, by SLO; only where that is known and asked for."""

    @property
    def warning(self) -> str:
        """The sternest rung in force, in words; empty if there is none."""
        rung = strictest(self.rungs)
        return rung.words if rung else ""

    @property
    def freeze(self) -> str:
        """Why traffic must not rise; empty if it may."""
        rung = strictest(one for one in self.rungs if one.action in ("freeze", "rollback"))
        return f"promotions are frozen: {rung.words}" if rung else ""

    @property
    def rollback(self) -> str:
        """Why the canary must be turned back; empty if no policy asks for it or the burn is not proven to be the canary's own."""
        for rung in self.rungs:
            burn = self.own.get(rung.slo.name)
            if rung.action == "rollback" and burn is not None and burn.proven:
                canary, stable = (
                    _share(bad, total) for bad, total in ((burn.canary_bad, burn.canary_total), (burn.stable_bad, burn.stable_total))
                )
                return f"{rung.words}, and the canary burns it: {canary} of its events are bad against {stable} of stable's"
        return ""

    @property
    def actions(self) -> dict[str, str]:
        """The sternest action in force by SLO."""
        return {rung.slo.name: rung.action for rung in self.rungs}  # rungs of one SLO stand mildest first

    def numbers(self) -> dict[str, Any]:
        """Return the whole as plain data for a record."""
        return {
            "in_force": [
                {"slo": one.slo.name, "action": one.action, "below": float(one.below), "remaining": round(one.remaining, 6)}
                for one in self.rungs
            ],
            "own_burn": {
                name: {
                    "canary_bad": one.canary_bad,
                    "canary_total": one.canary_total,
                    "stable_bad": one.stable_bad,
                    "stable_total": one.stable_total,
                    "log10_e_peak": round(one.log10_e_peak, 6),
                    "log10_bound": round(one.log10_bound, 6),
                    "allowed": one.allowed,
                    "proven": one.proven,
                }
                for name, one in sorted(self.own.items())
            },
            "unknown": list(self.unknown),
        }


NO_BUDGET = Budget()


class BudgetWatch:
    """Reads the budgets of the SLOs of `service` that have a policy; keeps each reading for half a minute.

    A look at a slow Prometheus must not delay the protection of the service: after the first look, which reads all, at
    most one budget is read anew per look.
    """

    def __init__(self, service: str, slos: Sequence[SLO], source: CounterSource) -> None:
        self.slos = tuple(slo for slo in slos if slo.service == service and slo.budget_policy)
        self._others, self._source = tuple(slos), source  # a chain has stages in other services
        self._known: dict[str, tuple[float, Standing]] = {}
        self._events: dict[str, tuple[float, float]] = {}  # events per second by SLO, as measured when
        self._burns: dict[tuple[str, Arms, float], BurnMeter] = {}

    def look(self, rollout: Rollout, arms: Arms, began_at: float | None, now: float) -> Budget:
        """Return what the policies ask for at `now`; `began_at` is when the canary first got traffic (Unix seconds, None: not yet)."""
        due = [slo for slo in self.slos if slo.name not in self._known]
        # A clock that was set back must not make a reading current for the rest of the day.
        old = [slo for slo in self.slos if slo.name in self._known and not 0 <= now - self._known[slo.name][0] < REFRESH]
        for slo in due or sorted(old, key=lambda one: self._known[one.name][0])[:1]:
            self._known[slo.name] = (now, read_standing(slo, self._source, now, self._others))
        standings = [self._known[slo.name][1] for slo in self.slos]
        rungs = tuple(rung for one in standings for rung in in_force(one.slo, one.remaining))
        deciding = [rung.slo for rung in rungs if rung.action == "rollback"]
        # All that may ever decide share alpha, not only those that decide today.
        might = sum(any(step.action == "rollback" for step in slo.budget_policy) for slo in self.slos)
        own: dict[str, OwnBurn] = {}
        unread = tuple(one.slo.name for one in standings if one.remaining is None)
        unknown = [one.problem for one in standings if one.remaining is None]
        for slo in deciding if began_at is not None else ():
            try:
                found = self._meter(slo, rollout, arms, began_at or now).read(self._source, now, might)
            except (ObsError, ValueError, OverflowError) as error:  # a counter may be no number
                unknown.append(f"whose burn it is cannot be told for {slo.name}: {getattr(error, 'what', error)}")
            else:
                own |= {slo.name: found} if found else {}
        left = {} if rollout.pace != "auto" else {one.slo.name: left for one in standings if (left := self._left(one, now)) is not None}
        return Budget(rungs, own, tuple(unknown), tuple(slo.name for slo in self.slos), unread, left)

    def _meter(self, slo: SLO, rollout: Rollout, arms: Arms, began_at: float) -> BurnMeter:
        key = (slo.name, Arms(arms.stable, arms.canary, True, None), began_at)
        if key not in self._burns:
            self._burns = {one: meter for one, meter in self._burns.items() if one[1:] == key[1:]}  # those of earlier rollouts go
            self._burns[key] = BurnMeter(slo, rollout, arms, began_at)
        return self._burns[key]

    def _left(self, standing: Standing, now: float) -> float | None:
        """Return how many bad events the rest of a budget is, at the declared traffic or that of the last five minutes."""
        slo = standing.slo
        if standing.remaining is None:
            return None
        if slo.events_per_second is not None:
            rate = float(slo.events_per_second)
        else:
            measured = self._events.get(slo.name)
            if measured is None or not 0 <= now - measured[0] < REFRESH:
                try:
                    total = read_selector(self._source, counters(slo).total, now - _TRAFFIC, now)
                except (ObsError, TypeError, ValueError):
                    return None
                measured = self._events[slo.name] = (now, sum_increase(total, now - _TRAFFIC, now) / _TRAFFIC)
            rate = measured[1]
        left = standing.remaining * float(slo.budget) * rate * slo.period_seconds
        return max(left, 0.0) if math.isfinite(left) else None


def _share(bad: int, total: int) -> str:
    return f"{percent(bad / total)} ({bad}/{total})" if total else "none (0/0)"
