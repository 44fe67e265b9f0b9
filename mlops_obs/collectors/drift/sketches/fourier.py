"""Random Fourier features in whole numbers: how rows of many columns are summed so that two tables can be compared by one kernel.

A Gaussian kernel's mean over a table is approximated by the means of cos(w.x + b) over random w and b (Rahimi and Recht 2007). Here
coordinates, w and b are integers, the phase is counted in 1/65,536 turns and the cosine comes from a table, so that every sum is
exact: no order of rows, shards or matrix products changes a bit.

The trap: numpy may change what a seed gives from one release to the next. The frequencies come from BLAKE2 digests instead, so that a
reference made today can be compared in years.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
FEATURES = 128
AMPLITUDE = 64  # the integer that stands for cos = 1
UNIT = 16  # the integer that stands for one standard deviation of a coordinate
_TURN = 1 << 16
_CHUNK = 8192  # rows at a time: bounded memory
_TABLE = np.rint(AMPLITUDE * np.cos(2 * np.pi * np.arange(_TURN) / _TURN))
_TABLE.flags.writeable = False


@lru_cache(maxsize=64)
def frequencies(size: int, widths: tuple[float, ...] = (1.0, 0.35)) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return whole-number frequencies (size, 128) and offsets (128,) for rows of `size` coordinates.

    The kernels' widths are `widths` x sqrt(size) standard deviations, an equal share of the features each: wide ones see shifts, narrow
    ones see what rows cluster.
    """
    uniform = _uniform(f"{size}", 2 * size * FEATURES + FEATURES)
    radius, angle = np.sqrt(-2 * np.log(uniform[: size * FEATURES])), 2 * np.pi * uniform[size * FEATURES : 2 * size * FEATURES]
    normal = (radius * np.cos(angle)).reshape(size, FEATURES)
    width = np.resize(np.asarray(widths), FEATURES) * np.sqrt(size)
    return np.rint(normal / width * (_TURN / (2 * np.pi * UNIT))), np.floor(uniform[-FEATURES:] * _TURN)


def fourier_features(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (rows, 128) whole numbers from -64 to 64 for `rows` (rows, size) of whole numbers, UNIT to the standard deviation."""
    weights, offsets = frequencies(rows.shape[1])
    phase = (rows @ weights + offsets).astype(np.int64) & (_TURN - 1)
    found: NDArray[np.float64] = _TABLE[phase]
    return found


def fourier_sums(rows: NDArray[np.float64]) -> tuple[Integers, Integers]:
    """Return the sums (128,) and the sums of products (128, 128) of the rows' features; exact below 10^12 rows."""
    total, products = np.zeros(FEATURES), np.zeros((FEATURES, FEATURES))
    for start in range(0, len(rows), _CHUNK):
        found = fourier_features(rows[start : start + _CHUNK])
        total += found.sum(axis=0)
        products += found.T @ found
    return total.astype(np.int64), products.astype(np.int64)


def _uniform(seed: str, number: int) -> NDArray[np.float64]:
    """Numbers between 0 and 1, both excluded, that depend on the seed alone, in every release of everything."""
    blocks = (hashlib.blake2b(f"mlops-obs {seed} {place}".encode(), digest_size=64).digest() for place in range(-(-number // 16)))
    return (np.frombuffer(b"".join(blocks), dtype="<u4")[:number].astype(np.float64) + 0.5) / 2.0**32
