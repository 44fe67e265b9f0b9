"""Is the kind of change named right? Eight kinds injected into twenty features, at several sizes, counted.

A change that is not found (too small for the rows) is not counted for naming, and its share is shown.
"""
# ruff: noqa: ARG005 - every change takes the same arguments

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlops_obs.collectors.drift.columns import INVALID, Block, Categories
from mlops_obs.collectors.drift.compare import compare
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change

Draw = Callable[[np.random.Generator, int], np.ndarray]

FEATURES: dict[str, Draw] = {
    "normal": lambda r, n: r.normal(size=n),
    "normal(45, 12)": lambda r, n: r.normal(45, 12, n),
    "normal(1000, 5)": lambda r, n: r.normal(1000, 5, n),
    "income": lambda r, n: r.lognormal(10, 0.5, n),
    "amount": lambda r, n: r.lognormal(3, 1, n),
    "gamma(2)": lambda r, n: r.gamma(2, 10, n),
    "gamma(8)": lambda r, n: r.gamma(8, 3, n),
    "exponential": lambda r, n: r.exponential(5, n),
    "uniform": lambda r, n: r.uniform(0, 1, n),
    "beta(2, 5)": lambda r, n: r.beta(2, 5, n),
    "t(4)": lambda r, n: r.standard_t(4, n),
    "logistic": lambda r, n: r.logistic(10, 2, n),
    "age in years": lambda r, n: np.floor(r.uniform(18, 90, n)),
    "celsius": lambda r, n: r.normal(12, 8, n),
    "weibull": lambda r, n: 100 * r.weibull(1.5, n),
    "poisson(40)": lambda r, n: r.poisson(40, n).astype(float),
}
NAMES: dict[str, tuple[float, ...]] = {
    "3 names": (0.6, 0.3, 0.1),
    "8 names": (0.3, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05, 0.05),
    "boolean": (0.7, 0.3),
    "20 names": tuple([0.05] * 20),
}
Injected = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _shift(size: float) -> Injected:
    return lambda x, r: x + size * np.std(x)


def _scale(size: float) -> Injected:
    return lambda x, r: (x - np.median(x)) * size + np.median(x)


def _tail(size: float) -> Injected:
    def change(x: np.ndarray, r: np.random.Generator) -> np.ndarray:
        middle, spread = np.median(x), np.subtract(*np.quantile(x, [0.75, 0.25]))
        return np.where(r.random(x.size) < 0.05, middle + size * spread * (1 + r.exponential(1, x.size)), x)

    return change


def _lost(share: float, value: float) -> Injected:
    return lambda x, r: np.where(r.random(x.size) < share, value, x)


CHANGES: dict[str, tuple[Change, Injected]] = {
    "+0.35 sd": (Change.LOCATION, _shift(0.35)),
    "+0.5 sd": (Change.LOCATION, _shift(0.5)),
    "-1 sd": (Change.LOCATION, _shift(-1)),
    "spread x1.5": (Change.SCALE, _scale(1.5)),
    "spread x2": (Change.SCALE, _scale(2)),
    "spread x0.6": (Change.SCALE, _scale(0.6)),
    "tail of 5 %": (Change.TAIL, _tail(6)),
    "far tail of 5 %": (Change.TAIL, _tail(30)),
    "5 % missing": (Change.MISSING, _lost(0.05, np.nan)),
    "40 % missing": (Change.MISSING, _lost(0.4, np.nan)),
    "5 % of another type": (Change.INVALID, _lost(0.05, INVALID)),
    "x100": (Change.UNIT, lambda x, r: x * 100),
    "x1000": (Change.UNIT, lambda x, r: x * 1000),
    "x0.01": (Change.UNIT, lambda x, r: x / 100),
    "x60": (Change.UNIT, lambda x, r: x * 60),
}
NAME_CHANGES: dict[str, Change] = {
    "new name in 3 %": Change.NEW_CATEGORY,
    "new name in 20 %": Change.NEW_CATEGORY,
    "first name renamed": Change.NEW_CATEGORY,
    "other shares": Change.FREQUENCIES,
    "5 % missing": Change.MISSING,
}


def _names(random: np.random.Generator, shares: tuple[float, ...], rows: int, change: str = "") -> Categories:
    weights = np.array([*shares, 0.0])
    if change == "other shares":
        weights[:-1] = weights[:-1] ** 2 + 0.2 * np.arange(len(shares)) / len(shares) ** 2
    if change.startswith("new name"):
        weights[-1] = float(change.split()[-2]) / 100
        weights[:-1] *= 1 - weights[-1]
    if change == "first name renamed":
        weights[-1], weights[0] = weights[0], 0.0
    codes = random.choice(weights.size, rows, p=weights / weights.sum())
    if change == "5 % missing":
        codes = np.where(random.random(rows) < 0.05, -1, codes)
    return Categories(codes.astype(np.int64), [f"name {place}" for place in range(weights.size)])


def named(rows: int, trials: int, seed: int = 0) -> list[tuple[str, str, Change, Change | None, str]]:
    """Return (feature, change, its kind, the kind that was named, the words) of every injection; None if nothing was found."""
    random = np.random.default_rng(seed)
    found = []

    def record(feature: str, change: str, kind: Change, before: Block, now: Block) -> None:
        reference = ReferenceProfile.from_block(before)
        result = compare(reference, ReferenceProfile.from_block(now, reference.schema)).features[0]
        found.append((feature, change, kind, result.kind, result.words))

    for _ in range(trials):
        for feature, draw in FEATURES.items():
            before = {"x": draw(random, 5_000)}
            for change, (kind, inject) in CHANGES.items():
                record(feature, change, kind, before, {"x": inject(draw(random, rows), random)})
        for feature, shares in NAMES.items():
            reference = {"x": _names(random, shares, 5_000)}
            for change, kind in NAME_CHANGES.items():
                record(feature, change, kind, reference, {"x": _names(random, shares, rows, change)})
    return found


def measure(trials: int = 3) -> str:
    """Return the table: for each size of window, what share of the found changes was named right, by kind."""
    lines = ["| rows | " + " | ".join(kind.value for kind in _KINDS) + " | all | found |", "|---|" + "---|" * (len(_KINDS) + 2)]
    for rows in (500, 1_000, 2_000, 5_000):
        results = named(rows, trials)
        seen = [one for one in results if one[3] is not None]
        shares = [np.mean([one[3] is kind for one in seen if one[2] is kind]) for kind in _KINDS]
        right = np.mean([one[3] is one[2] for one in seen])
        lines.append(
            f"| {rows:,} | " + " | ".join(f"{share:.0%}" for share in shares) + f" | {right:.1%} | {len(seen) / len(results):.0%} |"
        )
    return "\n".join(lines)


_KINDS = (
    Change.LOCATION,
    Change.SCALE,
    Change.TAIL,
    Change.MISSING,
    Change.INVALID,
    Change.UNIT,
    Change.NEW_CATEGORY,
    Change.FREQUENCIES,
)

if __name__ == "__main__":
    print(measure())
