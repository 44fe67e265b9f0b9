"""How long until a regression of a given size would be seen at this traffic: told before and during a rollout.

A test that has not condemned says nothing if it could not have. The growth of the evidence per block is computed for a
regression of the declared size, under the same model as the test: at low traffic the few bad requests limit it (a
binomial divergence), at high traffic the noise of whole minutes does (a normal divergence). Simulation agrees within a
factor of about 1.5 (`tests/rollout/test_judge_power.py`).
"""

from __future__ import annotations

import math

TYPICAL_NOISE = 0.3  # log standard deviation from minute to minute that a healthy service has
_COST = 2.0  # nats that the mixture over sizes, noises and beginnings costs
_LONGEST = 7 * 86_400.0


def growth(
    ratio: float, tolerated: float, canary_bad: float, stable_bad: float, stable_share: float, *, noise: float, largest_noise: float
) -> float:
    """Return the nats of evidence per block that a canary `ratio` times as bad brings against the best tolerated one.

    `canary_bad` and `stable_bad` are the bad requests expected in a block, the canary's already `ratio` times as many;
    `stable_share` is stable requests / canary requests; noises are log standard deviations per block.
    """
    if ratio <= tolerated or canary_bad <= 0 or stable_bad <= 0:
        return 0.0
    there, allowed = ratio / (ratio + stable_share), tolerated / (tolerated + stable_share)
    counts = (canary_bad + stable_bad) * (there * math.log(there / allowed) + (1 - there) * math.log((1 - there) / (1 - allowed)))
    spread = 1 / canary_bad + 1 / stable_bad
    variance, best = noise**2 + spread, math.inf
    for tau in (0.0625 * largest_noise, 0.125 * largest_noise, *(largest_noise * one / 8 for one in range(2, 9))):
        null = tau**2 + spread
        gap = math.log(ratio / tolerated) - noise**2 / 2 + tau**2 / 2
        best = min(best, 0.5 * math.log(null / variance) + (variance + gap**2) / (2 * null) - 0.5)
    return max(0.0, min(counts, best))


def time_to_see(
    ratio: float,
    base_ratio: float,
    canary_rps: float,
    stable_rps: float,
    *,
    tau: float = TYPICAL_NOISE,
    alpha: float = 0.01,
    tests: int = 2,
    block: float = 60.0,
    tolerated: float | None = None,
    largest_noise: float = 0.8,
) -> float | None:
    """Return the seconds until a canary `ratio` times as bad would typically be condemned; None if not within a week.

    Args:
        base_ratio: share of bad requests of stable.
        canary_rps: requests per second of the canary, `stable_rps` of stable.
        tau: noise that is expected, `largest_noise` the one the error rate must survive (log standard deviations per block).
        alpha: error rate of the rollout, shared by `tests`.
        tolerated: ratio that is no harm; None means the square root of `ratio`.
    """
    if canary_rps <= 0 or stable_rps <= 0 or base_ratio <= 0:
        return None
    bad = min(base_ratio * ratio, 1.0) * canary_rps * block
    gain = growth(
        min(ratio, 1.0 / base_ratio),
        tolerated if tolerated is not None else math.sqrt(ratio),
        bad,
        base_ratio * stable_rps * block,
        stable_rps / canary_rps,
        noise=min(tau, largest_noise),
        largest_noise=max(largest_noise, 0.02),
    )
    if gain <= 0:
        return None
    seconds = block * (math.log(tests / alpha) + _COST) / gain
    # Less than a block is counted with the noise of a short block.
    seconds = max(seconds, block * min(1.0, math.sqrt(seconds / block)) if seconds < block else seconds)
    return seconds if seconds <= _LONGEST else None


def least_useful_weight(
    ratio: float,
    base_ratio: float,
    rps: float,
    within: float,
    *,
    tau: float = TYPICAL_NOISE,
    alpha: float = 0.01,
    tests: int = 2,
    block: float = 60.0,
    tolerated: float | None = None,
    largest_noise: float = 0.8,
) -> int | None:
    """Return the smallest percent of `rps` at which `time_to_see` is at most `within` seconds; None if no share does."""
    for percent in range(1, 100):
        seconds = time_to_see(
            ratio,
            base_ratio,
            rps * percent / 100,
            rps * (1 - percent / 100),
            tau=tau,
            alpha=alpha,
            tests=tests,
            block=block,
            tolerated=tolerated,
            largest_noise=largest_noise,
        )
        if seconds is not None and seconds <= within:
            return percent
    return None
