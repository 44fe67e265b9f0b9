"""Many tests, one promise: the chance of any false alarm among them."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Return which hypotheses are rejected with a family-wise error of at most `alpha`, however the tests depend on each other.

    The smallest p-value is compared with alpha / k, the next with alpha / (k - 1), and so on, until one is not below (Holm 1979). Never
    weaker than Bonferroni: features that have plainly drifted leave their share of the level to the others.
    """
    rejected = [False] * len(p_values)
    ordered = sorted(range(len(p_values)), key=lambda place: p_values[place])
    for rank, place in enumerate(ordered):
        if not p_values[place] <= alpha / (len(p_values) - rank):
            break
        rejected[place] = True
    return rejected
