"""From a look to what a decision sees: the one way from evidence to verdict, live and in a replay.

The trap is a surprise in the judge itself. It must not keep a person's abort from the target: whatever goes wrong here is
`unknown`, which neither raises traffic nor takes it away.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops_obs.rollout.evidence.slices import Arms, Evidence, Slice
from mlops_obs.rollout.judging.judge import Verdict, judge
from mlops_obs.rollout.machine.clocks import on_time
from mlops_obs.rollout.machine.inputs import Look
from mlops_obs.rollout.machine.state import RolloutState, Seen


def see(state: RolloutState, look: Look, slices: Sequence[Slice]) -> Seen:
    """Judge all `slices` so far (those of the look included) and return what `decide` is given."""
    return Seen(
        weights=look.weights,
        verdict=_verdict(on_time(state, look.now), look, slices),
        requests=look.requests,
        problem=look.problem,
        budget=look.budget,
        way_back=look.way_back,
        gates=look.gates,
        finishes=look.finishes,
        known_bad=look.known_bad,
    )


def arms_of(state: RolloutState) -> Arms:
    """Return who is compared: until the target has shown the first step, the canary may have no traffic and owes us no samples."""
    since = state.step_started_at or (state.began_at if state.step > 0 else None)
    return Arms(state.stable, state.spec.canary, bool(state.desired.get(state.stable)), since)


def since_start(state: RolloutState, slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Return the slices since the canary first got traffic; a clock that was set back may have moved that moment."""
    if state.began_at is None:
        return ()
    return tuple(one for one in slices if one.start >= state.began_at - 1e-9)


def _verdict(state: RolloutState, look: Look, slices: Sequence[Slice]) -> Verdict:
    if not look.looked:
        return Verdict("undecided", "nothing has been looked at yet")
    if look.unknown:
        return Verdict("unknown", look.unknown, attribution="telemetry")
    evidence = Evidence(since_start(state, slices), look.until, look.bounds)
    try:
        return judge(evidence, state.spec, state.stable, state.began_at, state.step_started_at)
    except Exception as error:  # noqa: BLE001 - see above
        return Verdict("unknown", f"the evidence cannot be judged: unexpected {type(error).__name__}: {error}", attribution="telemetry")
