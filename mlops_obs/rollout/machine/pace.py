"""Which weight comes next: the steps as written, or with `pace: auto` the boldest that the error budget can afford.

The trap of big steps is what a bad canary spends before it is found; the trap of small ones is that they decide nothing,
and the rollout waits for a verdict that cannot come. So a step must be affordable *and* able to find the declared
regression in time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.judging.power import least_useful_weight, time_to_see
from mlops_obs.rollout.machine.obey import FULL
from mlops_obs.rollout.machine.state import RolloutState, Seen
from mlops_obs.rollout.spec.rollout import Rollout

LADDER = (1, 2, 5, 10, 20, 35, 50, 75, 100)
_PRIOR_EXCESS = 0.05  # before any evidence: one canary in ten fails half of its requests
_HALF_FAILS, _TYPICAL_BAD = 0.5, 0.005  # shares of bad requests: of a broken canary, and of a service as they are
_BOLD = 2.0  # without a budget to measure by, a step at most doubles, and is at least one rung


def full_weight(spec: Rollout) -> int:
    """Return the canary's percent at the last step: all, less what stable keeps during the watch."""
    return 100 - (spec.watch_weight if spec.watch is not None else 0)


def plan_of(spec: Rollout) -> tuple[int, ...]:
    """Return the weights that are planned at the start; none with `pace: auto`, which chooses them one by one."""
    return tuple(min(one, full_weight(spec)) for one in spec.steps) if spec.pace == "steps" else ()


def next_weight(state: RolloutState, seen: Seen) -> tuple[int | None, str]:
    """Return the weight after the present one (None: the canary has all it can get), and why there is none that helps yet.

    A manual gate is never jumped over: the next weight is the gate's own.
    """
    spec, here = state.spec, state.plan[state.step] if 0 <= state.step < len(state.plan) else 0
    top = full_weight(spec)
    if here >= top:
        return None, ""
    if state.waived >= FULL:
        return top, ""
    if spec.pace == "steps":
        return state.plan[state.step + 1], useless(spec, state.plan[state.step + 1])
    weight, why = _choose(spec, here, top, seen)
    gates = [gate for gate in spec.manual_gates if here < gate <= weight]
    return min([weight, *gates]), why


def _choose(spec: Rollout, here: int, top: int, seen: Seen) -> tuple[int, str]:
    rungs = [min(one, top) for one in LADDER if one > here] or [top]
    left = budget_left(getattr(seen.budget, "left", {}))
    able = [one for one in rungs if can_decide(seen.verdict, spec, here, one) and not useless(spec, one)]
    if not able:
        least = rungs[-1]
        return least, f"no weight can find a regression of {spec.least_detectable_ratio:g}x within the deadline at this traffic"
    if left is None or spec.max_budget_spend is None:
        bold = [one for one in able if one <= max(here * _BOLD, rungs[0])]
        return (bold or able)[-1 if bold else 0], ""
    affordable = [one for one in able if harm(spec, seen, here, one) <= spec.max_budget_spend * left]
    if affordable:
        return affordable[-1], ""
    spend = harm(spec, seen, here, able[0]) / left if left else math.inf
    why = f"{able[0]} % may spend {spend:.0%} of what is left of the error budget (at most {spec.max_budget_spend:.0%})"
    return able[0], why


def useless(spec: Rollout, weight: int) -> str:
    """Return why a step at `weight` percent could decide nothing at all at the expected traffic; empty if it could, or nothing is expected.

    What is asked for is little: to find a canary that fails half of its requests within the deadline.
    """
    rps = spec.requests_per_second
    if rps is None or weight >= 100:
        return ""
    ratio = max(_HALF_FAILS / _TYPICAL_BAD, spec.least_detectable_ratio)
    able, least = _power(ratio, rps, weight, spec.deadline, spec.alpha, spec.block, spec.tolerated, spec.noise_log_sd)
    if able:
        return ""
    advice = f"the least useful weight is {least} %" if least is not None else "no weight is of use: give it more time or traffic"
    return f"at {spec.expected_requests} a step at {weight} % could not even find a canary that fails half of its requests; {advice}"


@lru_cache(maxsize=1024)
def _power(
    ratio: float, rps: float, weight: int, within: float, alpha: float, block: float, tolerated: float, noise: float
) -> tuple[bool, int | None]:
    """Return whether `ratio` would be seen at `weight` in time, and else the smallest weight at which it would; asked at every look."""
    canary, stable = rps * weight / 100, rps * (1 - weight / 100)
    seconds = time_to_see(ratio, _TYPICAL_BAD, canary, stable, alpha=alpha, block=block, tolerated=tolerated, largest_noise=noise)
    if seconds is not None and seconds <= within:
        return True, None
    return False, least_useful_weight(ratio, _TYPICAL_BAD, rps, within, alpha=alpha, block=block, tolerated=tolerated, largest_noise=noise)


def budget_left(left: Mapping[str, float]) -> float | None:
    """Return how many bad events the scarcest budget still allows; None where no SLO tells it."""
    return min(left.values()) if left else None


def harm(spec: Rollout, seen: Seen, here: int, weight: int) -> float:
    """Return the bad requests to expect from the canary at `weight` percent before it would be found, beyond those of stable.

    The excess is the largest that the evidence has not ruled out; the time is what the slowest test needs, or the step.
    """
    excess = [one.difference_upper for one in seen.verdict.findings if one.canary_total]
    share = min(max([0.0, *excess]), 1.0) if excess else _PRIOR_EXCESS
    seconds = max([spec.step_duration_min, *(one for one in _seconds(seen.verdict, here, weight) if one is not None)])
    return share * _rate(spec, seen) * weight / 100 * seconds


def can_decide(verdict: Verdict, spec: Rollout, here: int, weight: int) -> bool:
    """Tell whether some test would find the declared regression at `weight` within the deadline; where nothing is known, it might."""
    times = _seconds(verdict, here, weight)
    return not times or any(one is not None and one <= spec.deadline for one in times)


def _seconds(verdict: Verdict, here: int, weight: int) -> list[float | None]:
    """Scale what the tests need at the present weight to another: evidence comes with the requests of the smaller arm."""
    if not here:
        return []
    now, then = here * max(100 - here, 1), weight * max(100 - weight, 1)
    return [None if one.seconds is None else one.seconds * now / then for one in verdict.power]


def _rate(spec: Rollout, seen: Seen) -> float:
    """Return the service's requests per second: as seen, or as the spec expects."""
    found = next((one for one in seen.verdict.findings if one.test == "errors"), None)
    slices = seen.verdict.slices * spec.slice
    if found is not None and slices > 0 and found.canary_total:
        return (found.canary_total + found.stable_total) / slices
    return spec.requests_per_second or 0.0
