"""The fastest that any honest test could be: one that knows the factor in advance and that there is no noise.

Wald's sequential test of the true factor against the tolerated ratio, on the same counts, at the same error rate. No test
that does not know the factor beforehand finds it sooner at the same error rate on average; what ours takes longer is the
price of not knowing, and of bearing noise and warm-ups.
"""

from __future__ import annotations

import math

import numpy as np

from mlops_obs.rollout.judging.trace import default_spec
from mlops_obs.testing.traces import CANARY, STABLE, Trace


def found_at(drawn: Trace) -> float:
    """Return the seconds from the start at which the oracle rolls a canary with a constant factor back; infinite if never."""
    spec = default_spec()
    bound = math.log(2 / spec.alpha)
    found = math.inf
    for metric, factor in ((1, drawn.story.errors), (2, drawn.story.slow)):
        if factor <= spec.tolerated:
            continue
        canary, stable = drawn.arm(CANARY), drawn.arm(STABLE)
        odds = canary[0] / np.maximum(stable[0], 1)
        true, tolerated = (ratio * odds / (1 + ratio * odds) for ratio in (factor, spec.tolerated))
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = canary[metric] * np.log(true / tolerated) + stable[metric] * np.log((1 - true) / (1 - tolerated))
        path = np.cumsum(np.nan_to_num(gain))
        if (path >= bound).any():
            found = min(found, float(np.argmax(path >= bound) + 1) * drawn.interval)
    return found
