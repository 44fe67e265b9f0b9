"""Bytes of sketches: a JSON line of what there is once per column, then the counts as variable-length integers (LEB128).

Counts of a histogram are mostly small, and so are the steps between its bucket numbers: a column is about one kilobyte.

The trap: a file of this kind is read years later, and by somebody who did not write it. Lengths are checked before they are
believed, and whatever is wrong is a `ValueError`, never a crash of another kind or memory without bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.sketches.categories import BUCKETS, CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch

_MOST = 1 << 62


def pack(numbers: NDArray[np.int64]) -> bytes:
    """Return integers >= 0 as LEB128, seven bits to the byte, low bits first."""
    rest = np.ascontiguousarray(numbers, dtype=np.uint64)
    sizes = np.ones(rest.size, dtype=np.int64)
    for bits in range(7, 64, 7):
        sizes += rest >= np.uint64(1 << bits)
    ends = np.cumsum(sizes)
    packed = np.zeros(int(ends[-1]) if rest.size else 0, dtype=np.uint8)
    for place in range(int(sizes.max(initial=0))):
        here = sizes > place
        packed[ends[here] - sizes[here] + place] = (rest[here] >> np.uint64(7 * place)) & np.uint64(0x7F)
    packed += 0x80
    packed[ends - 1] -= 0x80
    return packed.tobytes()


def unpack(packed: bytes) -> NDArray[np.int64]:
    """Return what `pack` was given.

    Raises:
        ValueError: it is cut short or holds a number beyond 2^62.
    """
    raw = np.frombuffer(packed, dtype=np.uint8)
    if not raw.size:
        return np.zeros(0, dtype=np.int64)
    ends = np.flatnonzero(raw < 0x80)
    if not ends.size or ends[-1] != raw.size - 1:
        raise ValueError("numbers cut short")
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(raw.size) - np.repeat(starts, ends - starts + 1)
    if place.max() > 8:
        raise ValueError("a number without end")
    parts = (raw & 0x7F).astype(np.int64) << (7 * place)
    found: NDArray[np.int64] = np.add.reduceat(parts, starts)
    if found.max() > _MOST or found.min() < 0:
        raise ValueError("a number out of range")
    return found


def join(blobs: Iterable[bytes]) -> bytes:
    """Return blobs in one, each after its length."""
    return b"".join(pack(np.array([len(blob)])) + blob for blob in blobs)


def split(joined: bytes) -> Iterator[bytes]:
    """Yield what `join` was given.

    Raises:
        ValueError: it is cut short.
    """
    place = 0
    while place < len(joined):
        end = place
        while end < len(joined) and joined[end] >= 0x80:
            end += 1
        length = int(unpack(joined[place : end + 1])[0])
        place = end + 1 + length
        if place > len(joined):
            raise ValueError("cut short")
        yield joined[end + 1 : place]


def number_bytes(sketch: NumberSketch) -> bytes:
    """Write a sketch of numbers."""
    about = {"min": sketch.minimum.hex(), "max": sketch.maximum.hex(), "missing": sketch.missing, "invalid": sketch.invalid}
    return _line(about) + pack(np.concatenate([np.diff(sketch.codes, prepend=0), sketch.counts]))


def read_numbers(content: bytes) -> NumberSketch:
    """Read what `number_bytes` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    line, _, packed = content.partition(b"\n")
    about, numbers = json.loads(line), unpack(packed)
    steps, counts = numbers[: numbers.size // 2], numbers[numbers.size // 2 :]
    if steps.size != counts.size or (counts < 1).any() or (steps[1:] < 1).any() or steps.sum() >= 1 << 18:
        raise ValueError("bucket numbers and counts do not fit")
    low, high = float.fromhex(about["min"]), float.fromhex(about["max"])
    return NumberSketch(np.cumsum(steps), counts, _count(about["missing"]), _count(about["invalid"]), low, high)


def category_bytes(sketch: CategorySketch) -> bytes:
    """Write a sketch of categories."""
    about = {"names": list(sketch.names), "missing": sketch.missing, "invalid": sketch.invalid, "level": sketch.level}
    return _line(about) + pack(np.concatenate([sketch.buckets, np.fromiter(sketch.names.values(), dtype=np.int64)]))


def read_categories(content: bytes) -> CategorySketch:
    """Read what `category_bytes` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    line, _, packed = content.partition(b"\n")
    about, numbers = json.loads(line), unpack(packed)
    if numbers.size != BUCKETS + len(about["names"]):
        raise ValueError("names and counts do not fit")
    names = {str(name): int(count) for name, count in zip(about["names"], numbers[BUCKETS:].tolist(), strict=True)}
    return CategorySketch(names, numbers[:BUCKETS], _count(about["missing"]), _count(about["invalid"]), _count(about["level"]))


def _line(about: object) -> bytes:
    return json.dumps(about, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
