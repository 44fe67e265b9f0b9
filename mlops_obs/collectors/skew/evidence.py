"""When differences are more than what is tolerated: a test that may be looked at after every pair.

For each alternative share of differing pairs above the tolerated one, the likelihood ratio of the pairs seen is an e-value for "at most
the tolerated share differs". M <- (M + w) * ratio is an e-detector of Shiryaev-Roberts type (Shin, Ramdas, Rinaldo 2023): M minus the sum
of the w paid in is a supermartingale while nothing is wrong, so that the mean number of false findings is at most the sum of w, however
often one looks and however the features depend on each other. It finds a difference that begins after months of equality as fast as one
that begins at once.

The trap: one customer asked for a hundred times is one observation. The caller passes distinct pairs only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mlops_obs.collectors.skew.pairs import Mask

_ALTERNATIVES = (0.03, 0.1, 0.3, 0.9)


def alternatives(tolerated: float) -> tuple[float, ...]:
    """Return the shares of differing pairs that are looked for, all above twice the tolerated one."""
    return tuple(share for share in _ALTERNATIVES if share >= 2 * tolerated) or (min(0.999, (1 + tolerated) / 2),)


@dataclass(slots=True)
class Detector:
    """Watches one feature between two sides.

    Args:
        tolerated: share of pairs that may differ, in (0, 1).
        weight: false findings that may be spent per pair.
    """

    tolerated: float
    weight: float
    value: dict[float, float] = field(default_factory=dict)

    def add(self, differs: bool) -> bool:
        """Take one distinct pair; return whether more differ than tolerated."""
        shares = alternatives(self.tolerated)
        for share in shares:
            ratio = share / self.tolerated if differs else (1 - share) / (1 - self.tolerated)
            self.value[share] = min(1e100, (self.value.get(share, 0.0) + self.weight / len(shares)) * ratio)
        return sum(self.value.values()) >= 1

    def reset(self) -> None:
        """Forget; after a finding was made or has ended."""
        self.value.clear()


def onset(differs: Mask, tolerated: float) -> int:
    """Return the index of the pair at which the differences likeliest began: the start of the suffix whose likelihood, with its own
    share of differing pairs, exceeds that of the tolerated share most."""
    count = differs[::-1].cumsum()[::-1].astype(float)
    rows = np.arange(differs.size, 0, -1, dtype=float)
    share = np.clip(count / rows, tolerated, 1 - 1e-9)
    gain = count * np.log(share / tolerated) + (rows - count) * np.log((1 - share) / (1 - tolerated))
    return int(gain.argmax()) if differs.size else 0


def binomial_log_likelihood(hits: int, misses: int) -> float:
    """Return the largest log likelihood of so many hits and misses over all probabilities of a hit."""
    total = hits + misses
    return sum(count * math.log(count / total) for count in (hits, misses) if count)
