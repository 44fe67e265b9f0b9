"""Slices of a rollout drawn from a seed, and the verdict on them, for the tests of the judge."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlops_obs.rollout.evidence.slices import Counts, Evidence, Slice
from mlops_obs.rollout.judging.judge import Verdict, judge
from mlops_obs.rollout.spec.rollout import Rollout

BEGAN = 1_800_000_000.0


def spec(**fields: Any) -> Rollout:
    """A rollout with a step of a minute and no warm-up."""
    known = {"service": "credit-risk", "canary": "v2", "package": "p", "step_duration_min": "1m", "warm_up": "0s", "deadline": "30m"}
    return Rollout.model_validate({**known, **fields})


def counts(random: np.random.Generator, requests: int, errors: float, slow: float = 0.0, pods: int = 0) -> Counts:
    """Counts of an arm that fails and is slow with these shares; evenly over pods, if there are any."""
    bad, late = int(random.binomial(requests, errors)), int(random.binomial(requests, slow))
    each = {f"pod-{index}": (requests // pods, bad // pods, late // pods) for index in range(pods)}
    return Counts(requests, bad, requests, late, pods=each)


def slices(
    minutes: int,
    canary: tuple[float, float] = (0.005, 0.005),
    stable: tuple[float, float] = (0.005, 0.005),
    *,
    requests: int = 12_000,
    share: float = 0.1,
    seconds: float = 60.0,
    seed: int = 1,
    weight: int | None = 10,
    began: float = BEGAN,
) -> list[Slice]:
    """Slices with these shares of (errors, slow) and `requests` a minute, of which the canary answers `share`."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(round(minutes * 60 / seconds)):
        total = int(random.poisson(requests * seconds / 60))
        mine = int(random.binomial(total, share))
        start = began + index * seconds
        found.append(Slice(start, start + seconds, counts(random, mine, *canary), counts(random, total - mine, *stable), weight))
    return found


def verdict(of: list[Slice], rollout: Rollout | None = None, step_started_at: float | None = BEGAN) -> Verdict:
    """Judge slices as a controller does."""
    until = of[-1].end if of else BEGAN
    return judge(Evidence(tuple(of), until), rollout or spec(), "v1", BEGAN, step_started_at)
