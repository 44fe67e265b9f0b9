"""One value for many, and names or codes that stand for one another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mlops_obs.collectors.skew.hypotheses.candidate import Candidate, fixed, modes, shown
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import Array, Table

_MOST_CODES = 64


def defaults(table: Table, left: Array, right: Array) -> Iterator[Candidate]:
    """Yield "right = one value", for all rows and for those where the left side is missing."""
    present = right[np.isfinite(right)]
    reference = table.left[np.isfinite(table.left)]
    for value in modes(present, 12, 2):
        note, cost = "a default", 4.0
        if table.numeric and reference.size:
            if value in (0.0, -1.0, -999.0, -9999.0, 999.0, 9999.0, 999999999.0):
                cost = 1.0
            elif np.ptp(reference) and abs(value - reference.mean()) < 0.02 * reference.std():
                note, cost = "about the mean", 3.0
            elif value == np.median(reference):
                note, cost = "the median", 3.0
        yield fixed(table, SkewKind.DEFAULT_FILLED, f"{{right}} = {shown(table, value)}", note, cost, np.full(table.left.size, value))
        if np.isnan(left).any():
            filled = np.where(np.isnan(table.left), value, table.left)
            formula = f"{{right}} = {shown(table, value)} where {{left}} is missing"
            yield fixed(table, SkewKind.DEFAULT_FILLED, formula, "missing values are filled", cost + 1, filled)


def mapping(table: Table, left: Array, right: Array) -> Iterator[Candidate]:
    """Yield a table of codes: each value of the left side always becomes the same one on the right."""
    kept = np.isfinite(left) & np.isfinite(right)
    sources = np.unique(left[kept])
    known = np.unique(table.left[np.isfinite(table.left)])
    if not 0 < sources.size <= _MOST_CODES or known.size > 4 * _MOST_CODES:
        return
    entries: dict[float, float] = {}
    for source in sources.tolist():
        targets, counts = np.unique(right[kept][left[kept] == source], return_counts=True)
        best = int(counts.argmax())
        if counts[best] >= 2 and counts[best] >= 0.9 * counts.sum():
            entries[source] = float(targets[best])
    if not entries:
        return
    swaps = [(a, b) for a, b in entries.items() if entries.get(b) == a and a < b]
    permutes = set(entries) == set(entries.values())
    if table.numeric and not permutes:
        return  # numbers become other numbers in many ways; codes are known by changing places
    if len(entries) == 1 and known.size < 3:
        return  # one of two values that becomes the other one is a default
    arrow = [f"{shown(table, a)} <-> {shown(table, b)}" for a, b in swaps]
    paired = {code for swap in swaps for code in swap}
    arrow += [f"{shown(table, a)} -> {shown(table, b)}" for a, b in entries.items() if a not in paired]
    predicted = table.left.copy()
    for source, target in entries.items():
        predicted[table.left == source] = target
    listed = ", ".join(arrow[:6]) + (f" and {len(arrow) - 6} more" if len(arrow) > 6 else "")
    note = "swapped" if permutes and len(swaps) * 2 == len(entries) else "changed places" if permutes else "named differently"
    yield fixed(table, SkewKind.ENCODING_SWAP, f"{{left}} -> {{right}}: {listed}", note, 3.0 * len(entries), predicted)


def spelling(table: Table) -> Iterator[Candidate]:
    """Yield names that are written in another way."""
    place = {name: float(number) for number, name in enumerate(table.names)}
    changes: dict[str, Callable[[str], str]] = {
        "in lower case": str.lower, "in upper case": str.upper, "without outer spaces": str.strip, "capitalised": str.capitalize,
    }  # fmt: skip
    for words, change in changes.items():
        target = np.array([*(place.get(change(name), -1.0) for name in table.names), np.nan])
        codes = np.where(np.isnan(table.left), len(table.names), table.left).astype(np.int64)
        yield fixed(table, SkewKind.ENCODING_SWAP, f"{{right}} = {{left}} {words}", "spelled differently", 2.0, target[codes])
