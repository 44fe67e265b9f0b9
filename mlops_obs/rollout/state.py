"""What a rollout remembers between two looks, and what it sees at one. All of it is plain data that survives a kill.

The trap: remembering what the target does. Weights are always read from the target; the state holds only what we want
(`desired`), what we wanted before (`previous`, to recognise a change of ours that has not landed), and clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mlops_obs.rollout.budget import NO_BUDGET, Budget
from mlops_obs.rollout.judge import Verdict
from mlops_obs.rollout.ports import Weights
from mlops_obs.rollout.spec import Rollout

Phase = Literal["Pending", "Progressing", "Holding", "Paused", "Promoted", "RolledBack", "Aborted"]
PHASES: tuple[Phase, ...] = ("Pending", "Progressing", "Holding", "Paused", "Promoted", "RolledBack", "Aborted")
TERMINAL = frozenset({"Promoted", "RolledBack", "Aborted"})

# What a decision does, the values of the label `action`.
Verb = Literal["deploy", "advance", "promote", "rollback", "abort", "pause", "resume", "hold", "wait"]
Kind = Literal["pause", "resume", "promote", "promote-full", "abort", "rollback"]


class RolloutState(BaseModel):
    """The whole memory of one rollout. Times are Unix seconds, weights percent by revision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    spec: Rollout
    phase: Phase = "Pending"
    reason: str = "waiting for the controller"
    actor: str = ""
    created_at: float
    updated_at: float = 0.0
    ended_at: float | None = None
    goal: Literal["forward", "rollback", "abort"] = "forward"
    why: str = ""  # why the goal is no longer forward
    paused: bool = False
    deployed: bool = False
    stable: str = ""
    desired: dict[str, int] = {}
    previous: dict[str, int] = {}
    step: int = -1
    waived: int = -1  # a person has let the rollout pass to this step without acceptance
    began_at: float | None = None
    step_started_at: float | None = None
    attempts: int = 0
    retry_at: float = 0.0
    budget: str = ""  # what the error budgets ask for, in words
    policy: dict[str, str] = {}  # the sternest action of a budget policy in force, by SLO
    frozen_at: float | None = None  # since when a budget has held traffic down
    frozen_for: float = 0.0  # seconds of earlier freezes; they do not count against the deadline

    @property
    def over(self) -> bool:
        """Nothing is left to do unless a person asks."""
        return self.phase in TERMINAL

    @property
    def weight(self) -> int:
        """Percent of traffic that the canary should get now."""
        return self.desired.get(self.spec.canary, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """Something a person asked for; `id` orders requests and is acknowledged with the state that answers it."""

    id: int
    kind: Kind
    actor: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make the canary ready at weight 0."""

    revision: str
    package: str


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Replace `expected` by `weights`."""

    weights: Mapping[str, int]
    expected: Mapping[str, int]


Action = Deploy | SetWeights


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the world: weights as the target applies them (None and the `problem` if it does not answer), and all that is known."""

    weights: Weights | None
    verdict: Verdict
    requests: tuple[Request, ...] = ()
    problem: str = ""
    budget: Budget = NO_BUDGET

    def numbers(self) -> dict[str, Any]:
        """Return what the decision rests on as plain data for a record; budgets only where an SLO has a policy."""
        return self.verdict.numbers() | ({"budget": self.budget.numbers()} if self.budget.watched else {})


@dataclass(frozen=True, slots=True)
class Decision:
    """The new state, at most one action to carry out, and what to call it."""

    state: RolloutState
    verb: Verb
    reason: str
    action: Action | None = None


def compact(weights: Mapping[str, int]) -> dict[str, int]:
    """Drop revisions without traffic: {v1: 100, v2: 0} and {v1: 100} route alike."""
    return {revision: percent for revision, percent in sorted(weights.items()) if percent}
