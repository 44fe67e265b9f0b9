"""One value of a request as the float64 that the ring keeps; what is no value of its column's kind is INVALID, never an error.

The trap: a caller sends anything. A name of a megabyte, a million different names, NaT (which is a datetime that equals nothing,
not even itself), an integer beyond all floats: each has its value here, in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.columns import INVALID, MISSING
from mlops_obs.collectors.drift.sketches.categories import BUCKETS, NAMES, bucket_of, short_name


def number(value: Any) -> float:
    """Return a number: MISSING for null, INVALID for what is none (text that looks like a number is text)."""
    if value is None:
        return MISSING
    if isinstance(value, (str, bytes, bytearray)):
        return INVALID
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except Exception:  # noqa: BLE001 - __float__ of a stranger may raise anything
        return MISSING if _is_null(value) else INVALID


def seconds(value: Any) -> float:
    """Return seconds since 1970-01-01 UTC of a date, a datetime (UTC if it names no zone), ISO 8601 text, or seconds already."""
    if value is None or _is_null(value):
        return MISSING
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
        if isinstance(value, np.datetime64):
            return float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
    except (ValueError, OverflowError):
        return INVALID
    return number(value)


def text_length(value: Any) -> float:
    """Return the number of characters of a text."""
    if isinstance(value, (str, bytes)):
        return float(len(value))
    return MISSING if value is None or _is_null(value) else INVALID


class NameTable(dict[Any, float]):
    """Names of one column as numbers: `table[value]` is the name's number, MISSING or INVALID.

    Known names have numbers from the start; others get the next one, until there are as many names as a sketch keeps; beyond
    that they share a stand-in with all names of their hash bucket, so that a caller who invents names costs no memory.

    Raises:
        TypeError: the value cannot be a key (a list, a dict): it is no name.
    """

    def __init__(self, known: Iterable[str], *, boolean: bool = False) -> None:
        super().__init__()
        self._by_number: dict[int, str] = {}
        self._next = count()  # next() is atomic: two threads never give one number to two names
        self._list: list[str] = []
        for name in ("false", "true") if boolean else known:
            self._add(name, name)
        if boolean:  # one spelling for what Python, numpy and JSON call true and false; 0 and 1 are the same keys
            for spelling, name in ((False, "false"), ("False", "false"), (True, "true"), ("True", "true")):
                self[spelling] = self[name]
        self[None] = MISSING

    def __missing__(self, value: Any) -> float:
        if isinstance(value, np.generic):
            value = value.item()
        name = _name(value)
        if name is None:
            return MISSING if _is_null(value) else INVALID
        name = short_name(name)
        found = self.get(name)
        if found is None:
            if len(self._by_number) >= NAMES:
                name = _stand_in(bucket_of(name))
                found = self.get(name)
                return self._add(name, name) if found is None else found
            found = self._add(name, name)
        if value is not name and not isinstance(value, str) and len(self) < 2 * NAMES:
            self[value] = found
        return found

    def names(self) -> list[str]:
        """Return the names by number; grows, and what was there keeps its place."""
        known = len(self._list)
        newest = max(self._by_number, default=-1) if len(self._by_number) > known else known - 1
        # a number that another thread has taken and not yet filled is in no row yet
        self._list.extend(self._by_number.get(place, "") for place in range(known, newest + 1))
        return self._list

    def _add(self, key: Any, name: str) -> float:
        place = next(self._next)
        self._by_number[place] = name
        self[key] = float(place)
        return float(place)


def _name(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None


@lru_cache(maxsize=BUCKETS)
def _stand_in(bucket: int) -> str:
    """Return a name for the names of a hash bucket; it falls into the same bucket."""
    return next(name for name in (f"(more names, {bucket}.{number})" for number in count()) if bucket_of(name) == bucket)


def _is_null(value: Any) -> bool:
    """Whether this is NaN, NaT or pandas.NA, none of which equals itself."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    try:
        return bool(value != value)
    except Exception:  # noqa: BLE001 - arrays and strangers cannot say
        return False
