"""A histogram over the bits of float64: what remains of a feature when the data may not be kept.

The top 18 bits of a float64 (sign, exponent, six bits of mantissa) are a bucket number: 64 buckets to the octave, no
edges to agree on, no sorting, and one sentinel of 999999999 cannot stretch a scale. Merging is integer addition, so
the shards of a table give the same bytes in any order.

The trap: resolution is relative (about 1.1 %). Values that vary little far from zero, such as Unix timestamps, all
fall into one bucket. `ReferenceProfile.blind()` names such features; subtract a constant before profiling them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_obs.errors import SpecError

Codes = NDArray[np.int64]
Counts = NDArray[np.int64]

_SHIFT = 46
_SIGN = 1 << (63 - _SHIFT)
_ALL = (1 << (64 - _SHIFT)) - 1
MISSING = -1  # the bucket number of NaN
_MAGIC = b"mlops-obs reference 1\n"


def codes_of(values: NDArray[np.float64]) -> Codes:
    """Return the bucket number of each value: ordered as the values are, MISSING for NaN."""
    bits = ((values + 0.0).view(np.uint64) >> np.uint64(_SHIFT)).astype(np.int64)  # + 0.0 turns -0.0 into 0.0
    codes = np.where(bits & _SIGN, bits ^ _ALL, bits | _SIGN)
    codes[np.isnan(values)] = MISSING
    return codes


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """One feature: sorted bucket numbers with their row counts, the missing rows, and the extremes (NaN if no value)."""

    codes: Codes
    counts: Counts
    missing: int
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: ArrayLike) -> Sketch:
        """Sketch a column of numbers; NaN and None count as missing, infinities as values."""
        column = np.ascontiguousarray(np.asarray(values, dtype=np.float64)).reshape(-1)
        present = column[~np.isnan(column)]
        codes, counts = np.unique(codes_of(present), return_counts=True)
        low, high = (float(present.min()) + 0.0, float(present.max()) + 0.0) if present.size else (np.nan, np.nan)
        return cls(codes, counts.astype(np.int64), int(column.size - present.size), low, high)

    @property
    def rows(self) -> int:
        """All rows, the missing ones included."""
        return int(self.counts.sum()) + self.missing

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of both sets of rows: exact, commutative and associative."""
        codes, place = np.unique(np.concatenate([self.codes, other.codes]), return_inverse=True)
        counts = np.zeros(codes.size, dtype=np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        low, high = np.fmin(self.minimum, other.minimum), np.fmax(self.maximum, other.maximum)
        return Sketch(codes, counts, self.missing + other.missing, float(low), float(high))


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """The sketches of a model's features at training time, in the model's feature order; stored with the model."""

    sketches: Mapping[str, Sketch]

    @classmethod
    def from_columns(cls, columns: Mapping[str, ArrayLike]) -> ReferenceProfile:
        """Profile a table given as {feature: numbers}.

        Raises:
            SpecError: OBS-DRF-002 if there is no column or no row, or a column is not numeric.
        """
        sketches = {}
        for name, values in columns.items():
            try:
                sketches[str(name)] = Sketch.of(values)
            except (TypeError, ValueError) as error:
                raise SpecError("OBS-DRF-002", f"column {name!r} is not numeric: {error}", todo="encode it as the model does") from error
        if not sketches or not any(sketch.rows for sketch in sketches.values()):
            raise SpecError("OBS-DRF-002", "the reference has no rows", todo="profile the table that the model was trained on")
        return cls(sketches)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names in the model's order."""
        return tuple(self.sketches)

    def merge(self, other: ReferenceProfile) -> ReferenceProfile:
        """Return the profile of both tables.

        Raises:
            SpecError: OBS-DRF-003 if the features differ.
        """
        if set(self.sketches) != set(other.sketches):
            different = sorted(set(self.sketches) ^ set(other.sketches))
            raise SpecError("OBS-DRF-003", f"the profiles differ in {', '.join(different)}", todo="merge profiles of one model only")
        return ReferenceProfile({name: sketch.merge(other.sketches[name]) for name, sketch in self.sketches.items()})

    def blind(self) -> list[str]:
        """Features whose different values all share one bucket: drift within their range cannot be seen."""
        return [name for name, sketch in self.sketches.items() if sketch.codes.size == 1 and sketch.minimum < sketch.maximum]

    def to_bytes(self) -> bytes:
        """Serialise; the same rows give the same bytes on every machine, in whatever order they were merged."""
        features = [
            {"name": name, "buckets": one.codes.size, "missing": one.missing, "min": one.minimum.hex(), "max": one.maximum.hex()}
            for name, one in self.sketches.items()
        ]
        body = json.dumps(features, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        body += b"".join(_varints(_interleave(one)) for one in self.sketches.values())
        return _MAGIC + body + zlib.crc32(body).to_bytes(4, "big")

    @classmethod
    def from_bytes(cls, data: bytes) -> ReferenceProfile:
        """Read what `to_bytes` wrote.

        Raises:
            SpecError: OBS-DRF-001 if `data` is something else, cut short or damaged.
        """
        body = data[len(_MAGIC) : -4]
        if not data.startswith(_MAGIC) or zlib.crc32(body).to_bytes(4, "big") != data[-4:]:
            raise SpecError("OBS-DRF-001", "not an intact reference profile", todo="write it again with `obs drift profile`")
        header, _, packed = body.partition(b"\n")
        numbers = _unpack(packed)
        return cls({one["name"]: _read_sketch(one, numbers) for one in json.loads(header)})


def _interleave(sketch: Sketch) -> Iterator[int]:
    steps = np.diff(sketch.codes, prepend=0)  # small steps pack into one byte
    for step, count in zip(steps.tolist(), sketch.counts.tolist(), strict=True):
        yield step
        yield count


def _read_sketch(feature: dict[str, Any], numbers: Iterator[int]) -> Sketch:
    pairs = np.fromiter((next(numbers) for _ in range(2 * feature["buckets"])), dtype=np.int64).reshape(-1, 2)
    low, high = float.fromhex(feature["min"]), float.fromhex(feature["max"])
    return Sketch(np.cumsum(pairs[:, 0]), pairs[:, 1].copy(), feature["missing"], low, high)


def _varints(numbers: Iterable[int]) -> bytes:
    packed = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            packed.append(rest & 0x7F | 0x80)
            rest >>= 7
        packed.append(rest)
    return bytes(packed)


def _unpack(packed: bytes) -> Iterator[int]:
    number, shift = 0, 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number, shift = 0, 0
