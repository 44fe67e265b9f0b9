"""Sequential tests whose error rates hold although somebody looks after every slice.

Canary and stable are compared within the same seconds. Given how many requests of a slice were bad, and how many each
arm answered, the number of bad ones in the canary is hypergeometric whatever the common error rate is: a shared
incident cancels out. A test value is an e-process: under "the canary's odds are at most the tolerated multiple" it
exceeds 1/alpha with probability at most alpha, at any time (Ville's inequality).

Two traps are answered here. A long healthy history must not shield a late regression: the e-process is a mixture over
its starting slice. And ten failures in one stall of one process are one event, not ten: a slice may multiply the
evidence by `cap` at most, which keeps the error rate (a smaller e-value is still one) and asks for several slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Alternatives, as multiples of the tolerated odds ratio. The mixture learns which one fits.
_MULTIPLES = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
_SHARE = 0.1  # weight that returns to every alternative after each slice, so that the mixture can change its mind

# Prior of a ratio of bad requests: most mass near zero, where services live. Half a pseudo-failure in twenty requests.
_PRIOR_BAD, _PRIOR_GOOD = 0.5, 20.0


@dataclass(frozen=True, slots=True)
class Table:
    """Requests of one slice: bad and all, canary and stable."""

    canary_bad: int
    canary_total: int
    stable_bad: int
    stable_total: int


@lru_cache(maxsize=65_536)
def _likelihood_ratios(table: Table, tolerated: float) -> tuple[float, ...]:
    """Return the likelihood of each alternative over that of the tolerated odds ratio (Fisher's noncentral hypergeometric)."""
    bad = table.canary_bad + table.stable_bad
    low, high = max(0, bad - table.stable_total), min(bad, table.canary_total)
    j = np.arange(low, high, dtype=float)
    steps = np.log((table.canary_total - j) * (bad - j)) - np.log((j + 1) * (table.stable_total - bad + j + 1))
    log_count = np.concatenate(([0.0], np.cumsum(steps)))
    support = np.arange(low, high + 1, dtype=float)

    def log_norm(odds: float) -> float:
        terms = log_count + support * math.log(odds)
        top = float(terms.max())
        return top + math.log(float(np.exp(terms - top).sum()))

    base = log_norm(tolerated)
    return tuple(
        math.exp(min(700.0, table.canary_bad * math.log(multiple) - log_norm(tolerated * multiple) + base)) for multiple in _MULTIPLES
    )


def log_e_path(tables: Sequence[Table], tolerated: float, cap: float) -> Iterator[float]:
    """Yield the natural logarithm of the e-value after each table.

    A slice without a bad request, or without both arms, says nothing about the odds and changes nothing. The k-th
    slice that says something has prior 1/(k(k+1)) of being the one at which a regression began.
    """
    weights = [1.0 / len(_MULTIPLES)] * len(_MULTIPLES)
    log_r, told = -math.inf, 0
    for table in tables:
        bad = table.canary_bad + table.stable_bad
        if bad > 0 and table.canary_total > 0 and table.stable_total > 0 and bad < table.canary_total + table.stable_total:
            ratios = _likelihood_ratios(table, tolerated)
            gain = sum(weight * ratio for weight, ratio in zip(weights, ratios, strict=True))
            told += 1
            log_r = float(np.logaddexp(log_r, -math.log(told * (told + 1)))) + math.log(max(min(gain, cap), 1e-300))
            if gain > 0:
                weights = [(1 - _SHARE) * w * r / gain + _SHARE / len(_MULTIPLES) for w, r in zip(weights, ratios, strict=True)]
        yield float(np.logaddexp(log_r, -math.log(told + 1)))


def confidence_bounds(bad: int, total: int, alpha: float) -> tuple[float, float]:
    """Return the interval that holds the true ratio at all times with probability 1 - alpha (beta-binomial mixture)."""
    if total == 0:
        return 0.0, 1.0
    mixture = _log_beta(bad + _PRIOR_BAD, total - bad + _PRIOR_GOOD) - _log_beta(_PRIOR_BAD, _PRIOR_GOOD)

    def rejected(ratio: float) -> bool:
        likelihood = (bad * math.log(ratio) if bad else 0.0) + ((total - bad) * math.log1p(-ratio) if bad < total else 0.0)
        return mixture - likelihood >= -math.log(alpha)

    middle = bad / total
    lower = 0.0 if bad == 0 else _edge(0.0, middle, rejected_first=True, rejected=rejected)
    upper = 1.0 if bad == total else _edge(middle, 1.0, rejected_first=False, rejected=rejected)
    return lower, upper


def _edge(low: float, high: float, *, rejected_first: bool, rejected: Callable[[float], bool]) -> float:
    for _ in range(60):
        middle = (low + high) / 2
        if not 0.0 < middle < 1.0:
            break
        if rejected(middle) == rejected_first:
            low = middle
        else:
            high = middle
    return low if rejected_first else high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
