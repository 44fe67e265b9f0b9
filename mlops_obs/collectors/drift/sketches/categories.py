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
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Categories

NAMES = 20_000  # names kept at most
BUCKETS = 256
_CHUNK = 1 << 15  # rows counted at once
_LONGEST = 120  # characters of a name that are kept; longer ones end in a digest


def short_name(name: str) -> str:
    """Return `name`, or a bounded stand-in for a name that is too long to keep."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{name[: _LONGEST - 20]}...{digest}"


@lru_cache(maxsize=1 << 14)
def hash_of(name: str) -> int:
    """Return 64 bits that depend on the name alone, on every machine and in every year."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def bucket_of(name: str) -> int:
    """Return the hash bucket of a (short) name."""
    return hash_of(name) % BUCKETS


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
        counts = np.zeros(len(data.names), dtype=np.int64)
        missing = invalid = 0
        for start in range(0, data.codes.size, _CHUNK):
            codes = data.codes[start : start + _CHUNK]
            if codes.min() < 0:
                missing += int(np.count_nonzero(codes == MISSING_CODE))
                invalid += int(np.count_nonzero(codes == INVALID_CODE))
                codes = codes[codes >= 0]
            counted = np.bincount(codes)
            counts[: counted.size] += counted
        named: dict[str, int] = {}
        for code in np.flatnonzero(counts).tolist():
            name = short_name(data.names[code])
            named[name] = named.get(name, 0) + int(counts[code])
        buckets = np.zeros(BUCKETS, dtype=np.int64)
        hashes = {name: hash_of(name) for name in named}
        for name, count in named.items():
            buckets[hashes[name] % BUCKETS] += count
        return cls(*_bounded(named, 0, buckets, missing, invalid, hashes))

    @property
    def rows(self) -> int:
        """All rows, those without a name included."""
        return int(self.buckets.sum()) + self.missing + self.invalid

    def unnamed(self) -> NDArray[np.int64]:
        """Return the rows by hash bucket (256,) whose names are not kept."""
        rest = self.buckets.copy()
        if sum(self.names.values()) == rest.sum():
            return np.zeros_like(rest)
        for name, count in self.names.items():
            rest[bucket_of(name)] -= count
        return rest

    def merge(self, other: CategorySketch) -> CategorySketch:
        """Return the sketch of both sets of rows: exact, commutative and associative."""
        named = dict(self.names)
        for name, count in other.names.items():
            named[name] = named.get(name, 0) + count
        level = max(self.level, other.level)
        return CategorySketch(
            *_bounded(named, level, self.buckets + other.buckets, self.missing + other.missing, self.invalid + other.invalid)
        )

    def without_rare(self, least_rows: int) -> CategorySketch:
        """Return the sketch without the names of fewer than `least_rows` rows; hash buckets keep their rows."""
        named = {name: count for name, count in self.names.items() if count >= least_rows}
        return CategorySketch(named, self.buckets, self.missing, self.invalid, self.level)


def _bounded(
    named: dict[str, int], level: int, buckets: NDArray[np.int64], missing: int, invalid: int, hashes: Mapping[str, int] | None = None
) -> tuple[dict[str, int], NDArray[np.int64], int, int, int]:
    if level or len(named) > NAMES:
        zeros = {name: 64 - (hashes[name] if hashes else hash_of(name)).bit_length() for name in named}
        while sum(found >= level for found in zeros.values()) > NAMES:
            level += 1
        named = {name: count for name, count in named.items() if zeros[name] >= level}
    return dict(sorted(named.items())), buckets, missing, invalid, level
