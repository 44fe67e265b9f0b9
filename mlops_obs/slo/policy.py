"""What a team has agreed to do as an error budget runs out: warn, freeze promotions, roll a canary back.

A policy is a ladder: `{below: 0.25, action: warn}`, `{below: 0.10, action: freeze}`, `{below: 0, action: rollback}`. A rung is in
force while less of the budget is left than its `below`, and a sterner rung keeps the milder ones in force. The trap is
ignorance: a budget that cannot be read has no rung in force, and readers must not take that for a budget that is full.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from mlops_obs.slo.annotations import period_words
from mlops_obs.slo.spec import SLO, Action

ACTIONS: tuple[Action, ...] = ("warn", "freeze", "rollback")  # mildest first


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a policy that is in force: `remaining` is the share of the budget that is left, negative once overspent."""

    slo: SLO
    action: Action
    below: Decimal
    remaining: float

    @property
    def words(self) -> str:
        """Why, in one clause: `6 % of the 30d error budget of availability is left (freeze below 10 %)`."""
        left = f"{percent(self.remaining)} of" if self.remaining > 0 else "nothing of"
        limit = f"{self.action} below {percent(float(self.below))}"
        return f"{left} the {period_words(self.slo)} error budget of {self.slo.name} is left ({limit})"


def in_force(slo: SLO, remaining: float | None) -> tuple[Rung, ...]:
    """Return the rungs of the policy of `slo` that are in force, mildest first; none for an unknown budget."""
    if remaining is None:
        return ()
    rungs = [Rung(slo, one.action, one.below, remaining) for one in slo.budget_policy if remaining < float(one.below)]
    return tuple(sorted(rungs, key=lambda one: (ACTIONS.index(one.action), -one.below)))


def strictest(rungs: Iterable[Rung]) -> Rung | None:
    """Return the sternest rung; of equal ones that of the emptiest budget."""
    return max(rungs, key=lambda one: (ACTIONS.index(one.action), -one.remaining), default=None)


def percent(share: float) -> str:
    """Write a share as a whole percentage, or with one digit below 10 %: `42 %`, `6.5 %`."""
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 10 else f"{value:.1f}".removesuffix(".0") + " %"
