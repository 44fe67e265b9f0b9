"""Which transformation turns the reference's numbers into the current ones? Units, logarithms, shifts, spreads, from the sketches alone.

A candidate is judged by the distance (Kolmogorov's) between the transformed reference and the current rows, forgiving what the buckets
cannot tell (one bucket to either side), so that whole numbers and heavy single values are judged as well as continuous ones.

The trap: with few rows nearly everything fits, and a shift of +65 % of incomes looks like miles to kilometres. A factor is called a unit
only if it is at least 3 (or at most a third), or one of the named small ones that fits closely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, codes_of, lower_bound
from mlops_obs.collectors.drift.statistics.ordered import representatives

Values = NDArray[np.float64]
_NOISE = 1.63  # Kolmogorov's distribution at 1 %
_SLACK = 0.012
_CLOSE = 0.05  # noise below which small named factors may be told from shifts
_CLEAR = 0.5  # Kolmogorov's distance above which no shift is likelier than a change of unit
_NEAR, _EXACT = 0.3, 0.05  # logarithm of the ratio of two large (small) factors between which the sketches are asked
LEAST_FACTOR = 3.0

FACTORS = {  # likelier ones first: 1000 and 1024 are the same to a sketch
    100: "cents, or percent for shares",
    1000: "thousandths or thousands",
    60: "seconds for minutes, or minutes for hours",
    3600: "seconds for hours",
    1_000_000: "millions or microseconds",
    10: "tenths or tens",
    10_000: "basis points",
    12: "months for years",
    7: "days for weeks",
    24: "hours for days",
    30: "days for months",
    365.25: "days for years",
    1440: "minutes for days",
    86_400: "seconds for days",
    1024: "KiB, MiB or GiB",
    1_000_000_000: "nanoseconds or billions",
    3.28084: "feet for metres",
    2.20462: "pounds for kilograms",
    2.54: "centimetres for inches",
}


@dataclass(frozen=True, slots=True)
class Transformation:
    """`words` complete "every value is ..."; `apply` turns reference values into current ones; `misfit` is the distance left (0..1)."""

    words: str
    apply: Callable[[Values], Values]
    misfit: float
    factor: float | None = None


def unit_change(reference: NumberSketch, current: NumberSketch, origin: float = 0.0) -> Transformation | None:
    """Return the change of unit or encoding that explains the current values, or None.

    Args:
        reference: sketch with at least one value.
        current: sketch with at least one value.
        origin: what was subtracted from the values of both before they were sketched.
    """
    sides = Sides(reference, current, origin)
    allowed = sides.noise + _SLACK
    before = sides.misfit(lambda x: x)
    if before <= allowed:
        return None
    clear = before > _CLEAR
    found = []
    for named in _NAMED:
        if (clear or sides.noise <= _CLOSE) and sides.within(*named.plausible) and (misfit := sides.misfit(named.apply)) <= allowed:
            found.append(Transformation(named.words, named.apply, misfit))
    if found and not clear:  # a log1p of values below one looks like a shift
        moved = min(sides.misfit(apply) for apply in (sides.shifted(), sides.stretched()))
        found = [one for one in found if one.misfit < moved]
    factor = sides.ratio()
    if factor is not None and (by_factor := _by_factor(sides, factor, allowed)) is not None:
        found.append(by_factor)
    return min(found, key=lambda one: one.misfit) if found else None


class Sides:
    """Both distributions, ready to try transformations on. Empty sides are not allowed."""

    def __init__(self, reference: NumberSketch, current: NumberSketch, origin: float = 0.0) -> None:
        n, m = float(reference.counts.sum()), float(current.counts.sum())
        self.noise = _NOISE * sqrt(1 / n + 1 / m)
        self._low = lower_bound(reference.codes) + origin
        self._high = lower_bound(reference.codes + 1) + origin
        self._filled = np.concatenate([[0.0], np.cumsum(reference.counts) / n])
        self._codes = current.codes
        self._current = np.concatenate([[0.0], np.cumsum(current.counts) / m])
        self._origin = origin
        self._spans = [(filled, *_span(sketch, origin)) for filled, sketch in ((self._filled, reference), (self._current, current))]

    def quantiles(self, levels: Values) -> tuple[Values, Values]:
        """Return both sides' quantiles, interpolated within buckets."""
        sides = []
        for filled, low, high in self._spans:
            place = np.clip(np.searchsorted(filled, levels - 1e-12) - 1, 0, low.size - 1)
            part = np.clip((levels - filled[place]) / (filled[place + 1] - filled[place]), 0.0, 1.0)
            width = np.where(np.isfinite(low[place]) & np.isfinite(high[place]), high[place] - low[place], 0.0)
            sides.append(np.where(np.isfinite(low[place]), low[place], high[place]) + part * width)
        return sides[0], sides[1]

    def ratio(self) -> float | None:
        """Return the factor between both sides' quantiles if they have one in common, else None."""
        before, now = self.quantiles(np.linspace(0.04, 0.96, 24))
        with np.errstate(all="ignore"):
            ratios = now / before
        usable = np.isfinite(ratios) & (np.sign(before) == np.sign(now)) & (before != 0)
        if usable.sum() < 3 and not (usable.any() and before.size and np.unique(before[usable]).size == 1):
            return None
        ratios = ratios[usable]
        weights = np.sqrt(np.abs(before[usable]))  # near zero a ratio says little
        order = np.argsort(ratios)
        filled = np.cumsum(weights[order])
        return float(ratios[order][np.searchsorted(filled, filled[-1] / 2)])

    def within(self, low: float, high: float) -> bool:
        """Return whether the middle 90 % of the reference lie between."""
        before, _ = self.quantiles(np.array([0.05, 0.95]))
        return bool(low <= before[0] and before[1] <= high)

    def shifted(self) -> Callable[[Values], Values]:
        """Return the shift that explains the middle of the current rows best."""
        before, now = self.quantiles(np.linspace(0.1, 0.9, 33))
        shift = float(np.median(now - before))
        return lambda x: x + shift

    def stretched(self) -> Callable[[Values], Values]:
        """Return the stretch about the reference's median that explains the current interquartile range; the identity if there is none."""
        before, now = self.quantiles(np.array([0.25, 0.5, 0.75]))
        spread, spread_now, middle = float(before[2] - before[0]), float(now[2] - now[0]), float(before[1])
        factor = spread_now / spread if spread > 0 and spread_now > 0 else 1.0
        return lambda x: (x - middle) * factor + middle

    def misfit(self, apply: Callable[[Values], Values]) -> float:
        """Return Kolmogorov's distance between the transformed reference and the current rows, less what buckets cannot tell."""
        with np.errstate(all="ignore"):
            low, high = apply(self._low), apply(self._high)
        if np.isnan(low).any() or np.isnan(high).any():
            return 1.0
        before = self._filled
        if low[0] > high[-1]:  # decreasing: the reference's buckets come in the other order
            low, high, before = high[::-1], low[::-1], 1 - before[::-1]
        # the rows of a reference bucket lie between low and high now: what of the current rows is surely and possibly below them?
        upto_low = np.searchsorted(self._codes, codes_of(low - self._origin) - 1, side="left")
        upto_high = np.searchsorted(self._codes, codes_of(high - self._origin) + 1, side="right")
        too_few = before[1:] - self._current[upto_high]  # of the current rows up to the upper border
        too_many = self._current[upto_low] - before[:-1]  # below the lower border
        return float(max(0.0, too_few.max(initial=0.0), too_many.max(initial=0.0)))


def _span(sketch: NumberSketch, origin: float) -> tuple[Values, Values]:
    """Return where the values of each bucket begin and end: a single value if the buckets beside it are empty."""
    low, high = lower_bound(sketch.codes) + origin, lower_bound(sketch.codes + 1) + origin
    point = representatives(sketch.codes) + origin
    step = np.diff(sketch.codes) == 1
    alone = ~(np.concatenate([[False], step]) | np.concatenate([step, [False]]))
    low, high = np.maximum(low, sketch.minimum), np.minimum(high, sketch.maximum)
    return np.where(alone | (high < low), point, low), np.where(alone | (high < low), point, high)


def _by_factor(sides: Sides, factor: float, allowed: float) -> Transformation | None:
    size = max(factor, 1 / factor)
    for named, words in FACTORS.items():
        off = abs(log(size / named))
        if off > (_NEAR if named >= 60 else _EXACT) or (named < LEAST_FACTOR and sides.noise > _CLOSE):
            continue
        exact = named if factor > 1 else 1 / named
        misfit = sides.misfit(partial(np.multiply, exact))
        if misfit <= allowed:
            return Transformation(f"{_number(exact)} times the reference's ({words}?)", partial(np.multiply, exact), misfit, exact)
    misfit = sides.misfit(partial(np.multiply, factor))
    if size < LEAST_FACTOR or misfit > allowed:
        return None
    return Transformation(f"about {factor:.3g} times the reference's", partial(np.multiply, factor), misfit, factor)


def _number(factor: float) -> str:
    return f"{factor:,.6g}" if factor >= 1 else f"1/{1 / factor:,.6g}"


def _logarithm(function: Callable[[Values], Values], least: float) -> Callable[[Values], Values]:
    return lambda x: np.where(x >= least, function(np.maximum(x, least)), np.nan)


@dataclass(frozen=True, slots=True)
class _Named:
    words: str
    apply: Callable[[Values], Values]
    plausible: tuple[float, float] = (-inf, inf)  # where the reference's values lie if it is this


_NAMED = (
    _Named("the natural logarithm of the reference's", _logarithm(np.log, 1e-300)),
    _Named("the decimal logarithm of the reference's", _logarithm(np.log10, 1e-300)),
    _Named("the binary logarithm of the reference's", _logarithm(np.log2, 1e-300)),
    _Named("the natural logarithm of one plus the reference's", _logarithm(np.log1p, 0.0)),
    _Named("the exponential of the reference's", np.exp),
    _Named("the exponential of the reference's less one", np.expm1),
    _Named("ten to the power of the reference's", lambda x: 10.0**x),
    _Named("the reference's with the other sign", np.negative),
    _Named("in degrees Fahrenheit where the reference's is in Celsius", lambda x: x * 1.8 + 32, (-90, 120)),
    _Named("in degrees Celsius where the reference's is in Fahrenheit", lambda x: (x - 32) / 1.8, (-130, 250)),
    _Named("in kelvin where the reference's is in degrees Celsius", lambda x: x + 273.15, (-90, 120)),
    _Named("in degrees Celsius where the reference's is in kelvin", lambda x: x - 273.15, (150, 400)),
)
