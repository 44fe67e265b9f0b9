"""Counts of names in bounded memory, whatever the order in which shards are merged.

Up to `NAMES` different names are counted exactly. Beyond that a name is kept only if its hash has enough leading zero bits
(adaptive sampling, Wegman): which names stay depends on the set of names alone, never on the order, so merging stays exact and
associative; the rows of the others are still counted in hash buckets.

The trap: the usual heavy-hitter sketches (Misra-Gries, Space-Saving) depend on the order of the rows, and two shards merged
either way would give different bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Categories

NAMES = 20_000  # names kept at most
BUCKETS = 256
_LONGEST = 120  # characters of a name that are kept; longer ones end in a digest


def short_name(name: str) -> str:
    """Return `name`, or a bounded stand-in for a name that is too long to keep."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{name[: _LONGEST - 20]}...{digest}"


def hash_of(name: str) -> int:
    """Return 64 bits that depend on the name alone, on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True, eq=False)
class CategorySketch:
    """Rows by name (`names`, sorted), by hash bucket (`buckets`, (256,), every name's rows), and the rows without one.

    `level`: only names whose hash has that many leading zero bits are in `names`; 0 while all of them fit.
    """

    names: Mapping[str, int]
    buckets: NDArray[np.int64]
    missing: int
    invalid: int
    level: int = 0

    @classmethod
    def of(cls, data: Categories) -> CategorySketch:
        """Count a column of categories."""
        present = data.codes[data.codes >= 0]
        counts = np.bincount(present, minlength=len(data.names))
        named: dict[str, int] = {}
        for code in np.flatnonzero(counts).tolist():
            name = short_name(data.names[code])
            named[name] = named.get(name, 0) + int(counts[code])
        buckets = np.zeros(BUCKETS, dtype=np.int64)
        for name, count in named.items():
            buckets[hash_of(name) % BUCKETS] += count
        missing, invalid = (int((data.codes == code).sum()) for code in (MISSING_CODE, INVALID_CODE))
        return cls(*_bounded(named, 0, buckets, missing, invalid))

    @property
    def rows(self) -> int:
        """All rows, those without a name included."""
        return int(self.buckets.sum()) + self.missing + self.invalid

    def merge(self, other: CategorySketch) -> CategorySketch:
        """Return the sketch of both sets of rows: exact, commutative and associative."""
        named = dict(self.names)
        for name, count in other.names.items():
            named[name] = named.get(name, 0) + count
        level = max(self.level, other.level)
        return CategorySketch(
            *_bounded(named, level, self.buckets + other.buckets, self.missing + other.missing, self.invalid + other.invalid)
        )


def _bounded(
    named: dict[str, int], level: int, buckets: NDArray[np.int64], missing: int, invalid: int
) -> tuple[dict[str, int], NDArray[np.int64], int, int, int]:
    if level or len(named) > NAMES:
        zeros = {name: 64 - hash_of(name).bit_length() for name in named}
        while sum(found >= level for found in zeros.values()) > NAMES:
            level += 1
        named = {name: count for name, count in named.items() if zeros[name] >= level}
    return dict(sorted(named.items())), buckets, missing, invalid, level
