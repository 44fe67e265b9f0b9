"""Times that are whole hours apart, and days that begin at another midnight."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from mlops_obs.collectors.skew.hypotheses.candidate import UNTOLD, Candidate, fixed, modes, signed
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import Array, Table, same

# An hour in the units that times are kept in. Not in minutes or hours: a shift of 60 or of 2 may be anything.
_HOURS: dict[str, float] = {"s": 3600.0, "ms": 3.6e6, "us": 3.6e9, "ns": 3.6e12, "days": 1 / 24}


def shifts(table: Table, a: Array, b: Array) -> Iterator[Candidate]:
    """Yield "right = left + constant"; a time zone if the constant is quarters of an hour, also with summer time and around the clock."""
    shifts = np.where(same(a, b), np.nan, b - a)
    found = [(shift, _hours(table, shift)) for shift in modes(shifts, 6, 3)]
    for shift, zone in found:
        if zone is None:
            formula, predicted = f"{{right}} = {{left}} {signed(shift)}", table.left + shift
            yield fixed(table, SkewKind.OTHER, formula, "shifted by a constant", 5.0, predicted, distinct=3)
            continue
        hours, exact = zone
        formula, predicted = f"{{right}} = {{left}} {signed(hours)} h", table.left + exact
        yield fixed(table, SkewKind.TIME_ZONE, formula, "another time zone", 3.0, predicted, distinct=3)
        for _, beside in found:
            if beside is not None and beside[0] - hours == 1:
                either = np.where(same(table.left + beside[1], table.right), table.left + beside[1], predicted)
                formula = f"{{right}} = {{left}} {signed(hours)} h or {signed(beside[0])} h"
                yield fixed(table, SkewKind.TIME_ZONE, formula, "another time zone, with summer time", 6.0, either, distinct=3)
    for size, unit in ((24.0, "h"), (7.0, "days")):
        values = np.concatenate([a, b])
        if len(found) > 1 and ((values >= 0) & (values < size)).all():
            yield from _around(table, np.mod(b - a, size), size, unit)


def _around(table: Table, turns: Array, size: float, unit: str) -> Iterator[Candidate]:
    """Hours of the day and days of the week, which begin again; half-hour zones and summer time give two neighbouring shifts."""
    found = [shift for shift in modes(turns, 6, 2) if abs(shift * 4 - round(shift * 4)) < 1e-6]
    for turned in (found[:1], sorted(found)):
        if not turned or turned == [0.0] or (len(turned) == 2 and turned[1] - turned[0] > 1):
            continue
        predicted = np.mod(table.left + turned[0], size)
        if len(turned) == 2:
            other = np.mod(table.left + turned[1], size)
            predicted = np.where(same(other, table.right), other, predicted)
        said = " or ".join(signed(shift if shift <= size / 2 else shift - size) for shift in turned)
        formula = f"{{right}} = {{left}} {said} {unit}, modulo {size:g}"
        yield fixed(table, SkewKind.TIME_ZONE, formula, "another time zone", 3.0 * len(turned), predicted, distinct=3)


def _hours(table: Table, shift: float) -> tuple[float, float] | None:
    """Hours of a shift in the column's unit, and the exact shift, if it is one that time zones have: quarters of an hour, at most 14."""
    values = table.left[np.isfinite(table.left)]
    size = float(np.median(np.abs(values))) if values.size else 0.0
    for unit, hour in _HOURS.items():
        if abs(shift / hour) > 14.1:
            continue
        hours = round(shift / hour * 4) / 4
        if not hours or abs(shift / hour - hours) > 1e-4:
            continue
        if unit == "days" and abs(shift - round(shift)) < 1e-6:
            continue
        if unit in ("ms", "us", "ns") and size < 1e9:
            continue
        return hours, hours * hour
    return None


def midnight(table: Table) -> Iterator[Candidate]:
    """Counts and sums of calendar days that begin at another midnight.

    Where the day begins earlier, the later side has more (last evening's events), except between the two midnights, where its day has
    only just begun: there it has less. The other way round where it begins later. Values are not told, only which side has more.
    """
    hour = np.mod(table.time / 3600.0, 24.0)
    more, less = table.right > table.left, table.right < table.left
    if min(int(more.sum()), int(less.sum())) < 5:
        return
    for hours in range(1, 15):
        for ahead, inside in ((True, hour >= 24 - hours), (False, hour < hours)):
            hit = np.where(inside, less, more) if ahead else np.where(inside, more, less)
            note = f"its days begin {hours} h {'earlier' if ahead else 'later'} than UTC's"
            formula = f"{{right}} counts by days of UTC{'+' if ahead else '-'}{hours}"
            everywhere = np.ones(hour.size, dtype=bool)
            yield Candidate(SkewKind.TIME_ZONE, formula, note, 6.0, None, everywhere, hit=hit, per_hit=UNTOLD - math.log(2))
