"""Tables of the rollout benchmark, in Markdown; every share with its 95 % interval (Clopper and Pearson)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.rollout.runs import OURS, RULES, Cell, Outcome


def interval(hits: int, of: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a share: the ratios at which `hits` or more, and `hits` or fewer, are just not unlikely."""
    tail = (1 - confidence) / 2

    def at_most(count: int, ratio: float) -> float:
        if not 0 < ratio < 1:
            return float(ratio == 0)
        logs = (_log_choose(of, k) + k * math.log(ratio) + (of - k) * math.log1p(-ratio) for k in range(count + 1))
        return math.fsum(map(math.exp, logs))

    low = 0.0 if hits == 0 else _root(lambda ratio: (1 - at_most(hits - 1, ratio)) - tail)
    high = 1.0 if hits == of else _root(lambda ratio: tail - at_most(hits, ratio))
    return low, high


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def share(hits: int, of: int) -> str:
    """Write a share with its interval: `0.5 % (0.1-1.8)`."""
    low, high = interval(hits, of)
    return f"{100 * hits / of:.3g} % ({100 * low:.1f}-{100 * high:.1f})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), ["---"] * len(head), *map(list, rows)])


def quantile(values: Sequence[float], level: float) -> float:
    """Return the smallest value that at least the share `level` of `values` do not exceed; infinite ones count."""
    return sorted(values)[max(0, math.ceil(level * len(values)) - 1)]


def minutes(value: float) -> str:
    """Write minutes, or that it never happened."""
    return "never" if math.isinf(value) else f"{value:.1f}"


def _by_speed(cells: Sequence[Cell], write: Callable[[list[Outcome]], str]) -> str:
    speeds = list(dict.fromkeys(cell.rps for cell in cells))
    rows = [
        [family, rule, *(write(next(c for c in cells if (c.family, c.rps) == (family, rps)).outcomes[rule]) for rps in speeds)]
        for family in dict.fromkeys(cell.family for cell in cells)
        for rule in next(cell for cell in cells if cell.family == family).outcomes
    ]
    return markdown(["family", "rule", *(f"{rps:g}/s" for rps in speeds)], rows)


def false_rollbacks(cells: Sequence[Cell]) -> str:
    """Return the table of false rollbacks: one row per family and rule, one column per traffic."""
    return _by_speed(
        [cell for cell in cells if cell.healthy], lambda runs: share(sum(not math.isinf(one.rolled_back) for one in runs), len(runs))
    )


def promotions(cells: Sequence[Cell]) -> str:
    """Return how many good canaries our judge accepts within the trace, and after how many minutes (median, p90)."""
    rows = []
    good = [cell for cell in cells if cell.healthy]
    speeds = list(dict.fromkeys(cell.rps for cell in good))
    for family in dict.fromkeys(cell.family for cell in good):
        row = [family]
        for rps in speeds:
            at = [one.promoted for one in next(c for c in good if (c.family, c.rps) == (family, rps)).outcomes[OURS]]
            done = sum(not math.isinf(one) for one in at)
            row.append(f"{100 * done / len(at):.3g} %; {minutes(median(at))}, {minutes(quantile(at, 0.9))}")
        rows.append(row)
    return markdown(["family", *(f"{rps:g}/s" for rps in speeds)], rows)


def detection(cells: Sequence[Cell]) -> str:
    """Return found share, median and p90 minutes to the rollback, and bad requests served by the canary until then (mean)."""

    def write(runs: list[Outcome]) -> str:
        at = [one.rolled_back for one in runs]
        found = sum(not math.isinf(one) for one in at)
        served = sum(one.served for one in runs) / len(runs)
        return f"{100 * found / len(at):.3g} %; {minutes(quantile(at, 0.5))}, {minutes(quantile(at, 0.9))}; {served:,.0f}"

    return _by_speed([cell for cell in cells if not cell.healthy], write)


def attributions(cells: Sequence[Cell]) -> str:
    """Return the share of wrong attributions of our judge, by family and traffic."""
    speeds = list(dict.fromkeys(cell.rps for cell in cells))
    rows = [
        [family, *(f"{100 * sum(not one.right for one in runs) / len(runs):.3g} %" for rps in speeds for runs in [_of(cells, family, rps)])]
        for family in dict.fromkeys(cell.family for cell in cells)
    ]
    return markdown(["family", *(f"{rps:g}/s" for rps in speeds)], rows)


def _of(cells: Sequence[Cell], family: str, rps: float) -> list[Outcome]:
    return next(cell for cell in cells if (cell.family, cell.rps) == (family, rps)).outcomes[OURS]


def bank(answers: Sequence[tuple[str, float, dict[str, bool]]]) -> str:
    """Return the score of every rule on the labelled bank, by true attribution."""
    kinds = sorted({kind for kind, _, _ in answers})
    rows = []
    for rule in RULES:
        row = [rule]
        for kind in [*kinds, None]:
            mine = [right[rule] for of, _, right in answers if kind in (of, None)]
            row.append(f"{100 * sum(mine) / len(mine):.1f} % of {len(mine)}")
        rows.append(row)
    return markdown(["rule", *kinds, "all"], rows)
