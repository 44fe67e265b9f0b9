"""Intervals: the values that an expression's samples can have, and arithmetic on them.

The trap is infinity: `inf - inf` and `0 * inf` are not numbers to Python, and here they mean that nothing is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

_INF = math.inf


@dataclass(frozen=True, slots=True)
class Values:
    """The values that an expression's samples can have, and whether there can be any.

    Attributes:
        low: no sample is below.
        high: no sample is above.
        never: why there is never a sample; empty if there may be one.
        partly: why one of several alternatives never has a sample.
        series: how many series at most.
        copies: how many series at most that differ in nothing but labels of their rules.
        labels: the labels that tell the series apart; None if unknown.
        is_share: it is compared as a share of events (so the alert is about a budget).
        always: it is a condition that holds wherever there is data.
        assumed: what the names were taken to mean.
    """

    low: float = -_INF
    high: float = _INF
    never: str = ""
    partly: str = ""
    series: float = _INF
    copies: float = 1
    labels: frozenset[str] | None = None
    is_share: bool = False
    always: bool = False
    assumed: tuple[str, ...] = ()


def within(shape: Values, ends: tuple[float, float]) -> Values:
    """Return `shape` with these ends; an end that is not a number is unknown."""
    low, high = ends
    return replace(shape, low=-_INF if math.isnan(low) else low, high=_INF if math.isnan(high) else high)


def divided(left: Values, right: Values) -> tuple[float, float]:
    """Return the ends of `left` / `right`."""
    if right.low > 0 or right.high < 0:
        ends = [_over(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
        return min(ends), max(ends)
    return (0, _INF) if left.low >= 0 and right.low >= 0 else (-_INF, _INF)


def _over(a: float, b: float) -> float:
    return 0.0 if math.isinf(b) else a / b


def times(a: float, b: float) -> float:
    """Return a x b; nothing times anything is nothing."""
    return 0.0 if a == 0 or b == 0 else a * b


def power(base: float, exponent: float) -> tuple[float, float]:
    """Return the ends of a power of two numbers, unknown if it is none."""
    try:
        value = base**exponent
    except (OverflowError, ZeroDivisionError):
        return -_INF, _INF
    return (value, value) if isinstance(value, float) else (-_INF, _INF)
