"""Twenty-five kinds of feature on which nothing changes, and what can happen to them: the common ground of the drift benchmarks.

A family draws (rows,) numbers, or category codes, from one generator; every draw is an independent sample. The autocorrelated and
seasonal families draw a *stretch of time*: their rows depend on each other, which is what breaks the usual tests.
"""
# ruff: noqa: ARG005 - every family and change takes the same arguments

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnKind, Schema

Draw = Callable[[np.random.Generator, int], np.ndarray]
_WEEK = 168  # hours


def _autocorrelated(phi: float) -> Draw:
    def draw(random: np.random.Generator, rows: int) -> np.ndarray:
        noise = random.normal(size=rows + 200)
        values = np.empty(rows + 200)
        last = 0.0
        for place, one in enumerate(noise * np.sqrt(1 - phi**2)):
            last = values[place] = phi * last + one
        return values[200:]

    return draw


def _seasonal(size: float) -> Draw:
    def draw(random: np.random.Generator, rows: int) -> np.ndarray:
        hours = np.floor(np.arange(rows) * _WEEK * 4 / rows) % _WEEK  # four weeks of traffic
        return random.normal(size=rows) + size * np.sin(2 * np.pi * hours / 24)

    return draw


def _categories(number: int, skew: float = 0.0) -> Draw:
    shares = (1.0 / np.arange(1, number + 1)) ** skew
    shares /= shares.sum()
    return lambda random, rows: random.choice(number, size=rows, p=shares)


def _with_missing(share: float, draw: Draw) -> Draw:
    def drawn(random: np.random.Generator, rows: int) -> np.ndarray:
        values = draw(random, rows)
        return np.where(random.random(rows) < share, np.nan, values)

    return drawn


NUMBERS: dict[str, Draw] = {
    "normal": lambda random, rows: random.normal(size=rows),
    "normal far from 0": lambda random, rows: random.normal(1000, 1, size=rows),
    "lognormal": lambda random, rows: random.lognormal(8, 1, size=rows),
    "pareto(1.5)": lambda random, rows: random.pareto(1.5, size=rows) + 1,
    "cauchy": lambda random, rows: random.standard_cauchy(size=rows),
    "t(3)": lambda random, rows: random.standard_t(3, size=rows),
    "uniform": lambda random, rows: random.uniform(size=rows),
    "beta(.3, .3)": lambda random, rows: random.beta(0.3, 0.3, size=rows),
    "exponential": lambda random, rows: random.exponential(size=rows),
    "two modes": lambda random, rows: np.where(random.random(rows) < 0.5, random.normal(-3, 1, rows), random.normal(3, 1, rows)),
    "poisson(3)": lambda random, rows: random.poisson(3, rows).astype(float),
    "poisson(0.05)": lambda random, rows: random.poisson(0.05, rows).astype(float),
    "negative binomial": lambda random, rows: random.negative_binomial(1, 0.05, rows).astype(float),
    "90 % zeros": lambda random, rows: np.where(random.random(rows) < 0.9, 0.0, random.lognormal(3, 1, rows)),
    "boolean": lambda random, rows: (random.random(rows) < 0.1).astype(float),
    "constant": lambda random, rows: np.ones(rows),
    "30 % missing": _with_missing(0.3, lambda random, rows: random.lognormal(8, 1, size=rows)),
    "1 % sentinels": lambda random, rows: np.where(random.random(rows) < 0.01, 999_999_999.0, random.lognormal(8, 1, rows)),
    "heaped on tens": lambda random, rows: np.where(
        random.random(rows) < 0.6, np.round(random.normal(50, 15, rows), -1), random.normal(50, 15, rows)
    ),
}
DEPENDENT: dict[str, Draw] = {"autocorrelated .5": _autocorrelated(0.5), "hour-of-week seasonal": _seasonal(1.0)}
NAMES: dict[str, Draw] = {
    "5 categories": _categories(5),
    "30 categories": _categories(30, 0.5),
    "60 even categories": _categories(60),
    "500 categories": _categories(500, 0.8),
}
FAMILIES = {**NUMBERS, **NAMES, **DEPENDENT}


def block_of(family: str, values: np.ndarray) -> Block:
    """Return the values as a table of one column, "x"."""
    if family in NAMES:
        return {"x": Categories(values.astype(np.int64), [f"name {place}" for place in range(501)])}
    return {"x": values}


def schema_of(family: str) -> Schema:
    """Return the table's schema."""
    return Schema((Column("x", ColumnKind.CATEGORY if family in NAMES else ColumnKind.NUMBER),))


def _new_name(values: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    return np.where(random.random(values.size) < share, 500, values)


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CHANGES: dict[str, Change] = {
    "mean +0.5 sd": lambda values, random: values + 0.5 * np.nanstd(values),
    "scale x1.5": lambda values, random: (values - np.nanmean(values)) * 1.5 + np.nanmean(values),
    "median +65 %": lambda values, random: values * 1.65,
    "5 % of rows x10": lambda values, random: np.where(random.random(values.size) < 0.05, values * 10, values),
    "5 % missing": lambda values, random: np.where(random.random(values.size) < 0.05, np.nan, values),
    "40 % missing": lambda values, random: np.where(random.random(values.size) < 0.4, np.nan, values),
    "unit x100": lambda values, random: values * 100,
    "unit log1p": lambda values, random: np.log1p(np.maximum(values, 0)),
}
NAME_CHANGES: dict[str, Change] = {
    "new name in 2 %": lambda values, random: _new_name(values, random, 0.02),
    "new name in 20 %": lambda values, random: _new_name(values, random, 0.2),
}
