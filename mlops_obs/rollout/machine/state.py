"""What a rollout remembers between two looks, and what it sees at one. All of it is plain data that survives a kill.

The trap: remembering what the target does. Weights are always read from the target; the state holds only what we want
(`desired`), what we wanted before (`previous`, to recognise a change of ours that has not landed), and clocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from mlops_obs.rollout.budget import NO_BUDGET
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.log.phrases import BudgetSaid
from mlops_obs.rollout.ports import Notice, WayBack, Weights
from mlops_obs.rollout.spec.rollout import Rollout

if TYPE_CHECKING:
    from mlops_obs.rollout.gates import GateReading

Phase = Literal["Pending", "Progressing", "Holding", "Paused", "Watching", "Promoted", "RolledBack", "Aborted"]
PHASES: tuple[Phase, ...] = ("Pending", "Progressing", "Holding", "Paused", "Watching", "Promoted", "RolledBack", "Aborted")
TERMINAL = frozenset({"Promoted", "RolledBack", "Aborted"})

# What a decision does, the values of the label `action`.
Verb = Literal["deploy", "advance", "promote", "rollback", "abort", "pause", "resume", "hold", "wait", "finish"]
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
    updated_at: float = 0.0  # of the newest recorded look; a look that is not recorded changes nothing
    ended_at: float | None = None
    goal: Literal["forward", "rollback", "abort"] = "forward"
    why: str = ""  # why the goal is no longer forward
    paused: bool = False
    deployed: bool = False
    finished: bool = False  # the target has carried out what ends a rollout on it
    stable: str = ""
    desired: dict[str, int] = {}
    previous: dict[str, int] = {}
    step: int = -1
    plan: tuple[int, ...] = ()  # weights of the canary by step: those taken, and with `pace: steps` those to come
    waived: int = -1  # a person has let the rollout pass to this step without acceptance
    override: str = ""  # why a digest that was rolled back before may go again, as a person said
    began_at: float | None = None
    step_started_at: float | None = None
    raised_at: float | None = None  # when the newest step up was decided
    watch_started_at: float | None = None
    shown: tuple[tuple[float, int], ...] = ()  # when the target showed which percent of the canary, oldest first
    attempts: int = 0
    retry_at: float = 0.0
    verdict: str = ""  # kind of the newest recorded verdict
    attribution: str = "none"  # whose fault it is
    unknown_since: float | None = None  # since when the evidence could not be read or trusted
    silent_since: float | None = None  # since when the target has not told its weights
    way_back: str = ""  # why all traffic could not return to stable; empty: it could, or nobody has asked yet
    budget: str = ""  # what the error budgets ask for, in words
    policy: dict[str, str] = {}  # the sternest action of a budget policy in force, by SLO
    frozen_at: float | None = None  # since when a budget has held traffic down
    frozen_for: float = 0.0  # seconds of earlier freezes
    held_at: float | None = None  # since when the deadline stands still: freeze, shared incident, no telemetry, pause, manual gate
    held_for: float = 0.0  # seconds for which it stood still before
    foreign: dict[str, int] = {}  # a split that somebody else made and that still lasts
    fights: tuple[float, ...] = ()  # when somebody else was found to have changed the split, newest last
    told: tuple[str, ...] = ()  # keys of the notices of what still lasts, so that each is told once
    outbox: tuple[Notice, ...] = ()  # what nobody has taken yet; decides nothing

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


@dataclass(frozen=True, slots=True)
class Finish:
    """Make the canary, which has all the traffic, the platform's only revision."""

    revision: str


Action = Deploy | SetWeights | Finish


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the world: weights as the target applies them (None and the `problem` if it does not answer), and all that is known."""

    weights: Weights | None
    verdict: Verdict
    requests: tuple[Request, ...] = ()
    problem: str = ""
    budget: BudgetSaid = NO_BUDGET
    way_back: WayBack | None = None  # None: not asked, for there is no stable revision to return to yet
    gates: tuple[GateReading, ...] = ()
    finishes: bool = False  # the target ends a rollout with an act of its own
    known_bad: str = ""  # rollout that rolled this very digest back

    def numbers(self) -> dict[str, Any]:
        """Return what the decision rests on as plain data for a record; budgets only where an SLO has a policy."""
        numbers = self.verdict.numbers() | ({"budget": self.budget.numbers()} if self.budget.watched else {})
        if self.way_back is not None:
            way = self.way_back
            numbers["way_back"] = {"ready": way.ready, "reason": way.reason, "seconds": way.seconds}
        if self.gates:
            numbers["gates"] = {one.name: one.numbers() for one in self.gates}
        return numbers


@dataclass(frozen=True, slots=True)
class Decision:
    """The new state, at most one action to carry out, and what to call it."""

    state: RolloutState
    verb: Verb
    reason: str
    action: Action | None = None
