"""Clocks of a rollout: the deadline stands still while nothing could be decided, and no clock ever points into the future.

The trap is the clock itself. NTP sets it back, a paused machine leaps forward, a controller is away for ten minutes. A
step that began "in the future" would wait for an hour, a retry with it; and a leap past the deadline would turn back a
healthy canary for want of time that never passed. So a gap in which nobody looked is nobody's time, in both directions.
"""

from __future__ import annotations

from typing import Any

from mlops_obs.rollout.machine.state import RolloutState

_SILENCE = 60.0  # seconds without a recorded look after which the time between does not count (records come every 10 s or slice)
_TOLERANCE = 1.0  # seconds that clocks of two processes may differ
LONGEST_PAUSE = 60.0  # no retry waits longer
_POINTS = ("began_at", "step_started_at", "raised_at", "watch_started_at", "held_at", "frozen_at", "unknown_since", "silent_since")


def on_time(state: RolloutState, now: float) -> RolloutState:
    """Return `state` with clocks that are possible at `now`; the same state if they are. Applying it twice changes nothing more."""
    changes: dict[str, Any] = {}
    for name in _POINTS:
        value = getattr(state, name)
        if value is not None and value > now + _TOLERANCE:
            changes[name] = now
    if state.retry_at > now + LONGEST_PAUSE:
        changes["retry_at"] = now
    if any(at > now + _TOLERANCE for at, _ in state.shown):
        changes["shown"] = tuple((min(at, now), percent) for at, percent in state.shown)
    gap = now - state.updated_at
    if state.updated_at and abs(gap) > max(_SILENCE, 6 * state.spec.slice):
        if state.held_at is None:
            changes["held_for"] = state.held_for + gap
        elif "held_at" in changes:
            changes["held_for"] = state.held_for + state.updated_at - state.held_at + gap
        changes["updated_at"] = now
    return state.model_copy(update=changes) if changes else state


def hold_clock(state: RolloutState, excused: bool, now: float) -> RolloutState:
    """Stop the clock of the deadline while `excused`, let it run otherwise."""
    if excused and state.held_at is None:
        return state.model_copy(update={"held_at": now})
    if not excused and state.held_at is not None:
        return state.model_copy(update={"held_at": None, "held_for": state.held_for + now - state.held_at})
    return state


def used(state: RolloutState, now: float) -> float:
    """Return the seconds of the deadline that are used up."""
    return now - state.created_at - state.held_for - (now - state.held_at if state.held_at is not None else 0.0)
