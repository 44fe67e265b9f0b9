"""Whether there is a way back, asked before the first step and all along: nobody takes off without brakes.

The trap is to find out during the rollback that the old revision was collected, its package deleted, or its GPU given to
somebody else. What is not ready, or cannot be told, lets no traffic rise; it never stops a retreat that is due.
"""

from __future__ import annotations

from mlops_obs.rollout.machine.state import RolloutState, Seen


def no_way_back(seen: Seen) -> str:
    """Return why traffic must not rise, or an empty string."""
    way = seen.way_back
    return "" if way is None or way.ready else f"there is no way back: {way.reason}"


def note(state: RolloutState, seen: Seen) -> RolloutState:
    """Remember what the target said about the way back; what was not asked changes nothing."""
    if seen.way_back is None:
        return state
    reason = "" if seen.way_back.ready else seen.way_back.reason or "not ready"
    return state if reason == state.way_back else state.model_copy(update={"way_back": reason})
