"""Pairs of values of one feature on two sides, as arrays.

Names become codes and times seconds, so that one arithmetic serves all: a code is a number that is only ever compared.

The trap: equality. A float32 on one side is the same value, to seven digits; nothing equals nothing; and "12.5" logged as text is 12.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.skew.records import Value

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

EQUAL_WITHIN = 1e-6  # relative; half a float32's last digit is 6e-8
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Pair:
    """One feature of one request on two sides, with what else is known of it.

    `earlier`: values of the left side at earlier times, newest first. `known`: the left side from only the events that had arrived, in
    a tuple of one; empty if that was not computed. `age`: for how many seconds the right side's source was not brought up to date.
    """

    left: Value
    right: Value
    time: float
    entity: str = ""
    earlier: tuple[Value, ...] = ()
    known: tuple[Value, ...] = ()
    age: float = float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Pairs as columns. Nothing is NaN; `names` is empty for numbers; `has_*` say where there is such evidence.

    Shapes: `left`, `right`, `known`, `age`, `time`: (n,); `earlier`: (n, k).
    """

    left: Array
    right: Array
    names: tuple[str, ...]
    time: Array
    age: Array
    earlier: Array
    has_earlier: Mask
    known: Array
    has_known: Mask

    @property
    def numeric(self) -> bool:
        """Whether these are numbers and not codes of names."""
        return not self.names

    def tail(self, start: int) -> Table:
        """Return the pairs from `start` on."""
        return Table(
            self.left[start:],
            self.right[start:],
            self.names,
            self.time[start:],
            self.age[start:],
            self.earlier[start:],
            self.has_earlier[start:],
            self.known[start:],
            self.has_known[start:],
        )


def same(left: Array, right: Array, within: float = EQUAL_WITHIN) -> Mask:
    """Return where two columns hold the same value: both nothing, or equal to a relative difference of `within`."""
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.maximum(np.abs(left), np.abs(right))
        close = (np.abs(left - right) <= within * largest) & np.isfinite(largest)
    found: Mask = close | (left == right) | (np.isnan(left) & np.isnan(right))
    return found


def same_value(left: Value, right: Value) -> bool:
    """Return whether two values are the same, as `same` does for columns."""
    if left is None or right is None or isinstance(left, str) or isinstance(right, str):
        if left == right:
            return True
        if left is None or right is None:
            return False
        one, other = _number(left), _number(right)
        return one is not None and other is not None and same_value(one, other)
    largest = max(abs(left), abs(right))
    return left == right or (largest < math.inf and abs(left - right) <= EQUAL_WITHIN * largest)


def table_of(pairs: Sequence[Pair]) -> Table:
    """Return pairs as columns: numbers if every value on both sides is one (or a time, or a text of one), else codes of names."""
    depth = max((len(pair.earlier) for pair in pairs), default=0)
    columns: list[list[object]] = [[pair.left for pair in pairs], [pair.right for pair in pairs]]
    columns += [[pair.earlier[at] if at < len(pair.earlier) else _ABSENT for pair in pairs] for at in range(depth)]
    columns.append([pair.known[0] if pair.known else _ABSENT for pair in pairs])
    there = [np.array([value is not _ABSENT for value in column], dtype=bool) for column in columns[2:]]
    values, names = _coded([[None if value is _ABSENT else value for value in column] for column in columns])  # type: ignore[misc]
    return Table(
        values[0],
        values[1],
        names,
        np.array([pair.time for pair in pairs]),
        np.array([pair.age for pair in pairs]),
        np.stack(values[2:-1], axis=1) if depth else np.zeros((len(pairs), 0)),
        np.stack(there[:-1], axis=1) if depth else np.zeros((len(pairs), 0), dtype=bool),
        values[-1],
        there[-1],
    )


def _coded(columns: list[list[Value]]) -> tuple[list[Array], tuple[str, ...]]:
    for read in (_number, _moment):
        numbers = [[None if value is None else read(value) for value in column] for column in columns]
        lost = (
            one is None and raw is not None for found, of in zip(numbers, columns, strict=True) for one, raw in zip(found, of, strict=True)
        )
        if not any(lost):
            return [np.array([np.nan if one is None else one for one in column], dtype=np.float64) for column in numbers], ()
    texts = [[None if value is None else _text(value) for value in column] for column in columns]
    names = tuple(sorted({text for column in texts for text in column if text is not None}))
    place = {name: float(number) for number, name in enumerate(names)}
    return [np.array([np.nan if text is None else place[text] for text in column], dtype=np.float64) for column in texts], names


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.12g}"


def _number(value: float | str) -> float | None:
    if not isinstance(value, str):
        return value
    try:
        return float(value) if len(value) < 50 and not value.isalpha() and "_" not in value else None
    except ValueError:
        return None


def moment_of(value: float | str) -> float | None:
    """Return the number that `value` is or says, or the Unix seconds of an ISO 8601 text; None if it is neither."""
    number = _number(value)
    return number if number is not None else _moment(value)


def _moment(value: float | str) -> float | None:
    """Seconds since 1970 of an ISO 8601 text; one without a zone is read as UTC."""
    if not isinstance(value, str):
        return value
    if not 10 <= len(value) <= 35:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
