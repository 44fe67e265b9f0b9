"""Numbers that are scaled, transformed, standardised or rounded on one side only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mlops_obs.collectors.skew.hypotheses.candidate import Candidate, fixed, modes, signed
from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.pairs import Array, Table, same

NAMED_FACTORS: dict[float, str] = {
    100.0: "hundredths for wholes, such as cents or per cent",
    1000.0: "thousandths for wholes, such as grams for kilograms or milliseconds",
    1e6: "millionths for wholes",
    1e9: "billionths for wholes",
    10.0: "tenths for wholes",
    1e4: "basis points for shares",
    60.0: "minutes and hours, or seconds and minutes",
    3600.0: "seconds for hours",
    24.0: "hours for days",
    1440.0: "minutes for days",
    86400.0: "seconds for days",
    86400e3: "milliseconds for days",
    3600e3: "milliseconds for hours",
    7.0: "days for weeks",
    30.0: "days for months",
    12.0: "months for years, or monthly for yearly",
    52.0: "weeks for years",
    365.0: "days for years",
    365.25: "days for years",
    1024.0: "kibibytes",
    1048576.0: "mebibytes",
    2.0: "counted twice",
    2.20462262: "pounds for kilograms",
    1.609344: "kilometres for miles",
    0.3048: "metres for feet",
    2.54: "centimetres for inches",
    57.29577951: "degrees for radians",
}
_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "log({})": np.log,
    "log(1 + {})": np.log1p,
    "log10({})": np.log10,
    "log2({})": np.log2,
    "exp({})": np.exp,
    "exp({}) - 1": np.expm1,
    "square root of {}": np.sqrt,
    "{} squared": np.square,
    "1 / {}": np.reciprocal,
    "absolute value of {}": np.abs,
    "1 - {}": lambda x: 1 - x,
    "100 - {}": lambda x: 100 - x,
}


def factors(table: Table, a: Array, b: Array) -> Iterator[Candidate]:
    """Yield "right = factor x left" for the commonest ratios of differing numbers `a` (left) and `b` (right)."""
    there = (a != 0) & (b != 0)
    if not there.any():
        return
    ratios = b[there] / a[there]
    integers = bool((b == np.rint(b)).all() and np.median(np.abs(b)) >= 20)
    for ratio in modes(ratios, 4, 2):
        if abs(ratio - 1) < 1e-3:
            continue  # no unit is that near to another one
        factor, note, named = _named(ratio)
        predicted = factor * table.left
        if integers:  # 12.345 euros sent as 1234 cents
            near = np.abs(table.right - predicted) <= 0.5 + 1e-9
            predicted = np.where(near, table.right, predicted)
        cost = 2.0 if named else 5.0
        yield fixed(table, SkewKind.UNIT, f"{{right}} = {{left}} {_times(factor)}", note, cost, predicted, within=1e-4, distinct=3)
    center = float(np.median(ratios))
    if abs(center - 1) > 0.05 and np.median(np.abs(ratios / center - 1)) < min(0.02, 0.2 * abs(center - 1)):
        formula, moves = f"{{right}} = about {{left}} {_times(float(f'{center:.3g}'))}", "a rate that moves, such as a currency's"
        yield fixed(table, SkewKind.UNIT, formula, moves, 7.0, center * table.left, within=0.25, distinct=5, per_hit=2.0)


def _named(ratio: float) -> tuple[float, str, bool]:
    for sign in (1.0, -1.0):
        for factor, note in NAMED_FACTORS.items():
            for exact, said in ((factor, note), (1 / factor, f"the other way round: {note}")):
                if abs(ratio - sign * exact) <= 2e-4 * exact:
                    return sign * exact, said if sign > 0 else f"{said}; and the sign is turned", True
    if abs(ratio + 1) <= 1e-4:
        return -1.0, "the sign is turned", True
    return ratio, "another unit", False


def _times(factor: float) -> str:
    return f"/ {1 / factor:.6g}" if 0 < factor < 1 and abs(1 / factor - round(1 / factor)) < 1e-6 / factor else f"x {factor:.6g}"


def functions(table: Table, a: Array, b: Array) -> Iterator[Candidate]:
    """Yield "right = f(left)" for the functions that features are commonly transformed with."""
    with np.errstate(all="ignore"):
        for name, function in _FUNCTIONS.items():
            if same(function(a), b, 1e-4).mean() >= 0.3:
                formula, note = "{right} = " + name.format("{left}"), "transformed on one side only"
                yield fixed(table, SkewKind.UNIT, formula, note, 2.0, function(table.left), within=1e-4, distinct=3)


def affine(table: Table, a: Array, b: Array) -> Iterator[Candidate]:
    """Yield "right = slope x left + intercept", fitted to the pairs that agree on the commonest slope."""
    order = np.argsort(a, kind="stable")
    x, y = a[order], b[order]
    half = x.size // 2
    if half < 3:
        return
    run = x[half:] - x[: x.size - half]
    slopes = (y[half:] - y[: x.size - half])[run > 0] / run[run > 0]
    for slope in modes(slopes, 4, 1):
        for intercept in modes(y - slope * x, 3, 1):
            fine = np.abs(y - slope * x - intercept) <= 1e-3 * np.maximum(np.abs(y), np.abs(intercept))
            if fine.sum() < 4 or np.ptp(x[fine]) == 0:
                continue
            slope, intercept = np.polyfit(x[fine], y[fine], 1).tolist()
            if abs(slope - 1) < 1e-6 or abs(intercept) < 1e-9 * np.abs(y).max():
                continue
            note = "scaled and shifted, such as standardised on one side only"
            if abs(slope - 1.8) < 1e-3 and abs(intercept - 32) < 0.1:
                note = "degrees Fahrenheit for Celsius"
            formula = f"{{right}} = {slope:.6g} x {{left}} {signed(float(f'{intercept:.6g}'))}"
            yield fixed(table, SkewKind.UNIT, formula, note, 8.0, slope * table.left + intercept, within=1e-3, distinct=5)


def rounded(table: Table) -> Iterator[Candidate]:
    """Yield the ways in which digits are lost."""
    left, kind = table.left, SkewKind.PRECISION
    with np.errstate(all="ignore"):
        for digits in range(8, -5, -1):
            place, scale = f"{digits} decimals" if digits > 0 else f"whole {10**-digits}s", 10.0**digits
            yield fixed(table, kind, f"{{right}} = {{left}} rounded to {place}", "", 2.0, np.round(left, digits), within=1e-12, distinct=3)
            cut = np.trunc(left * scale) / scale
            yield fixed(table, kind, f"{{right}} = {{left}} cut off to {place}", "", 3.0, cut, within=1e-12, distinct=3)
        yield fixed(table, kind, "{right} = {left} rounded down to whole numbers", "", 3.0, np.floor(left), distinct=3)
        half = left.astype(np.float16).astype(np.float64)
        yield fixed(table, kind, "{right} = {left} as float16", "kept in 16 bits", 2.0, half, distinct=3)
        bits = left.astype(np.float32).view(np.uint32)
        brain = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
        widened = brain.view(np.float32).astype(np.float64)
        yield fixed(table, kind, "{right} = {left} as bfloat16", "kept in 16 bits", 2.0, widened, distinct=3)
    yield _near(table)


def _near(table: Table) -> Candidate:
    """Small relative differences of any kind: another order of summation, another library."""
    spread = float(np.nanstd(table.left[np.isfinite(table.left)])) if np.isfinite(table.left).any() else 0.0
    near = same(table.left, table.right, 1e-3) & (np.abs(table.right - table.left) <= 1e-3 * spread)
    return Candidate(
        SkewKind.PRECISION,
        "{right} = about {left}, to three digits",
        "computed in another way",
        9.0,
        None,
        ~np.isnan(table.left),
        hit=near,
        distinct=3,
        per_hit=3.0,
    )
