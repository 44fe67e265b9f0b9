"""What people asked, folded into the state in order. A request that makes no sense any more is left without effect.

The trap is the race with the controller: an abort that crosses a promotion, a pause that crosses a rollback. Requests are
answered before anything else is thought about, in the order in which they were written; a retreat is never taken back by
one; and whatever a request changed is recorded with who asked.
"""

from __future__ import annotations

from typing import Any

from mlops_obs.rollout.machine.state import Request, RolloutState, Verb

FULL = 1_000  # `waived` after `promote --full`: every step
END = 2_000  # `waived` after a promote during the watch: the watch too
REFUSALS = 5  # failures after which a person may give up a retreat from a canary that has most of the traffic


def obey(state: RolloutState, requests: tuple[Request, ...]) -> tuple[RolloutState, Verb | None]:
    """Return the state after `requests`, and what to call the decision if one of them had an effect."""
    verb: Verb | None = None
    for one in requests:
        words = f"{one.kind} asked by {one.actor}" + (f": {one.reason}" if one.reason else "")
        if one.kind == "rollback" and state.phase == "Promoted":
            state, verb = turn_back(with_(state, phase="Progressing", ended_at=None), "rollback", words), "rollback"
        elif one.kind == "abort" and refused(state):
            reason = f"{words}; {state.spec.canary} keeps the traffic, for the target did not take it back"
            state, verb = with_(state, phase="Aborted", reason=reason, desired=state.previous, ended_at=one.at), "abort"
        elif state.over:
            continue
        elif state.goal != "forward":
            if one.kind not in ("abort", "rollback"):
                continue
            state = with_(state, retry_at=0.0)  # asked again during a retreat: do not wait for the next attempt
        elif one.kind in ("abort", "rollback"):
            verb = "abort" if one.kind == "abort" else "rollback"
            state = turn_back(state, verb, words)
        elif one.kind == "pause":
            state, verb = with_(state, paused=True, phase="Paused", reason=words), "pause"
        elif one.kind == "resume":
            state, verb = with_(state, paused=False, fights=(), reason=words), "resume"
        else:
            state, verb = _promote(state, one, words), "promote"
        state = with_(state, actor=one.actor)
    return state, verb


def _promote(state: RolloutState, one: Request, words: str) -> RolloutState:
    if state.watch_started_at is not None:
        waived = END
    elif one.kind == "promote-full":
        waived = FULL
    else:
        waived = max(state.waived, state.step + 1)
    override = state.override or ("" if state.deployed else words)
    return with_(state, paused=False, fights=(), waived=waived, override=override, reason=words)


def refused(state: RolloutState) -> bool:
    """The target will not take back most of the traffic, e.g. for want of the old revision; nothing else could ever end the rollout."""
    return state.goal != "forward" and state.attempts >= REFUSALS and state.previous.get(state.spec.canary, 0) > 50


def turn_back(state: RolloutState, goal: Verb, why: str) -> RolloutState:
    """Return the state in which everything left to do is to give the traffic back."""
    return with_(state, goal=goal, why=why, attempts=0, retry_at=0.0, paused=False)


def with_(state: RolloutState, **changes: Any) -> RolloutState:
    """Return a copy of `state` with `changes`."""
    return state.model_copy(update=changes)


def text(weights: Any) -> str:
    """Return a split in words, e.g. `v1 80 % v2 20 %`."""
    return " ".join(f"{revision} {percent} %" for revision, percent in sorted(weights.items())) or "no traffic"
