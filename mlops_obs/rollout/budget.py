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
from mlops_obs.metric_names import REVISION, SERVICE
from mlops_obs.rollout.evidence import Arms, per_slice, slice_edges
from mlops_obs.rollout.sequential import Table, log_e_path
from mlops_obs.rollout.spec import Rollout
from mlops_obs.slo.counters import CounterSource, Series, newest
from mlops_obs.slo.indicators import Selector, counters
from mlops_obs.slo.policy import Rung, in_force, percent, strictest
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.standing import Standing, read_standing
from mlops_obs.slo.tiers import Z

REFRESH = 30.0  # seconds for which a reading of a budget is good enough
_LOOKBACK = 60.0
_CAP = 3.0  # one stall of one process makes a whole slice bad; several slices are asked for


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
                found = own_burn(self._source, slo, rollout, arms, began_at or now, now, might)
            except (ObsError, ValueError, OverflowError) as error:  # a counter may be no number
                unknown.append(f"whose burn it is cannot be told for {slo.name}: {getattr(error, 'what', error)}")
            else:
                own |= {slo.name: found} if found else {}
        return Budget(rungs, own, tuple(unknown), tuple(slo.name for slo in self.slos), unread)


def own_burn(source: CounterSource, slo: SLO, rollout: Rollout, arms: Arms, began_at: float, now: float, tests: int = 1) -> OwnBurn | None:
    """Count the events of `slo` by arm since `began_at` and the warm-up; None where its counters do not tell the two revisions apart.

    `tests` is how many SLOs may ever be asked: they share `rollout.alpha`, so that all of them together turn back a
    canary that is no worse than stable with at most that chance, however often one looks.
    """
    if slo.indicator.type == "training":
        return None  # a training run's revision is no canary: its traffic wastes no GPU time
    try:
        counted = counters(slo)
    except (TypeError, ValueError, ObsError):  # counted by an expression, a gauge or other SLOs: no revision in sight
        return None
    part_selector = counted.bad or counted.good
    assert part_selector is not None  # noqa: S101 - an indicator counts bad events or good ones
    start = began_at - max(_LOOKBACK, 3 * rollout.stale_after)
    # A selector of the user's own may be wider than the service, and another service's v2 is not this one's.
    total, part = (
        [series for series in read(source, one, start, now) if series.labels.get(SERVICE, slo.service) == slo.service]
        for one in (counted.total, part_selector)
    )
    for family in (total,) if counted.bad is not None else (total, part):
        if not {arms.canary, arms.stable} <= {one.labels.get(REVISION) for one in family}:
            return None
    first = began_at + (rollout.warm_up or 0.0)
    edges = [one for one in slice_edges(began_at, min(now, newest(total) or now), rollout.slice) if one >= first - 1e-9]
    columns: dict[str, list[tuple[int, int]]] = {}
    for revision in (arms.canary, arms.stable):
        alls, parts = (per_slice(family, {REVISION: revision}, edges, rollout.stale_after) for family in (total, part))
        bads = parts if counted.bad is not None else [whole - good for whole, good in zip(alls, parts, strict=True)]
        columns[revision] = [(round(min(max(bad, 0.0), whole)), round(whole)) for bad, whole in zip(bads, alls, strict=True)]
    tables = [Table(*canary, *stable) for canary, stable in zip(columns[arms.canary], columns[arms.stable], strict=True)]
    peak = max(log_e_path(tables, 1.0, _CAP), default=0.0)
    return OwnBurn(
        sum(one.canary_bad for one in tables),
        sum(one.canary_total for one in tables),
        sum(one.stable_bad for one in tables),
        sum(one.stable_total for one in tables),
        max(peak, 0.0) / math.log(10),
        math.log10(max(tests, 1) / rollout.alpha),
        float(slo.budget),
    )


def read(source: CounterSource, one: Selector, start: float, end: float) -> list[Series]:
    """Return the samples of `one` in (start, end]. A source matches by equality only, so the other matchers act here."""
    return [series for series in source.series(one.metric, one.equal, start, end) if one.accepts(series.labels)]


def _lower_bound(bad: int, total: int) -> float:
    """Wilson lower bound (one-sided 99 %) of the share of bad events."""
    if total <= 0:
        return 0.0
    z = float(Z)
    centre = bad + z * z / 2
    return (centre - z * math.sqrt(bad * (total - bad) / total + z * z / 4)) / (total + z * z)


def _share(bad: int, total: int) -> str:
    return f"{percent(bad / total)} ({bad}/{total})" if total else "none (0/0)"
