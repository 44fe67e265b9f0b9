"""What the next minutes would decide, if they were like the last ones, or if the canary did as stable does: for `explain`.

It asks the very judge that decides, with made-up slices behind the recorded ones; so it is right about the rule and wrong
about the future, and says "if". The trap is the quiet minute: a pattern of a few requests repeated for half an hour looks
like certainty. Two minutes of evidence are asked for before anything is foretold.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.judging.hearing import Hearing
from mlops_obs.rollout.judging.judge import conclude
from mlops_obs.rollout.machine.look import since_start
from mlops_obs.rollout.machine.state import RolloutState

_PATTERN = 120.0  # seconds of the newest evidence that are repeated
_LEAST = 60.0  # seconds of it that must be there
_GROWTH = 1.25  # how exactly the time is told
Scenario = Literal["as now", "as stable"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would be decided in a scenario, and after how many seconds; None: still open at the horizon."""

    scenario: Scenario
    outcome: Literal["accepted", "condemned"] | None
    seconds: float


def forecast(
    state: RolloutState, slices: Sequence[Slice], *, horizon: float = 1800.0, memory: dict[str, Hearing] | None = None
) -> list[Forecast]:
    """Return what each scenario would lead to within `horizon` seconds; empty where there is too little to go by.

    Args:
        state: the one before the decision.
        slices: all that were recorded until then.
        memory: kept from one forecast of a rollout to the next, so that only what is new is judged.
    """
    known = since_start(state, slices)
    began = state.step_started_at
    if not known or began is None or state.began_at is None or state.goal != "forward":
        return []
    recent = [one for one in known if one.start >= max(began, known[-1].end - _PATTERN) - 1e-9 and not one.missing]
    if not recent or sum(one.end - one.start for one in recent) < _LEAST - 1e-9:
        return []
    heard = (memory or {}).get(state.id) or Hearing(state.spec, state.began_at)
    if not heard.hear(known, began):
        heard.forget()
        heard.hear(known, began)
    if memory is not None:
        memory[state.id] = heard
    out = [_run(state, heard, recent, "as now", horizon)]
    if sum(one.stable.total for one in recent):
        out.append(_run(state, heard, list(_as_stable(recent)), "as stable", horizon))
    return out


def _run(state: RolloutState, heard: Hearing, pattern: Sequence[Slice], scenario: Scenario, horizon: float) -> Forecast:
    hearing = copy.deepcopy(heard, {id(heard.slices): list(heard.slices)})  # slices never change: the list alone is copied
    at, next_look, end = 0.0, 15.0, heard.slices[-1].end
    while at < horizon:
        for one in pattern:
            width = one.end - one.start
            hearing.add(replace(one, start=end, end=end + width))
            at, end = at + width, end + width
            if at >= next_look:
                next_look = at * _GROWTH
                verdict = conclude(hearing, state.stable, end)
                if verdict.kind in ("accepted", "condemned"):
                    return Forecast(scenario, "accepted" if verdict.kind == "accepted" else "condemned", at)
    return Forecast(scenario, None, horizon)


def _as_stable(pattern: Sequence[Slice]) -> Iterator[Slice]:
    """Give the canary stable's shares of bad requests; what is left of a whole request is carried to the next slice."""
    total = sum(one.stable.total for one in pattern)
    timed = sum(one.stable.timed for one in pattern)
    errors = sum(one.stable.errors for one in pattern) / total
    slow = sum(one.stable.slow for one in pattern) / timed if timed else 0.0
    bounds = len(pattern[0].stable.slower)
    slower = [sum(one.stable.slower[k] for one in pattern) / timed if timed else 0.0 for k in range(bounds)]
    owed_errors = owed_slow = 0.0
    for one in pattern:
        owed_errors += errors * one.canary.total
        owed_slow += slow * one.canary.timed
        failed, late = int(owed_errors), int(owed_slow)
        owed_errors, owed_slow = owed_errors - failed, owed_slow - late
        counts = Counts(
            one.canary.total, failed, one.canary.timed, late, tuple(round(share * one.canary.timed) for share in slower), one.canary.gates
        )
        yield replace(one, canary=counts)
