"""What is kept of a column of embeddings: sums of random Fourier features of their directions, and a histogram of their lengths.

Direction and length are kept apart because they fail apart: a model that is fed other content turns its vectors, one that is fed
nothing, or whose last layer changed, shortens them. A reference of any number of rows takes about 40 kB.

The trap: two embedding models of one size give vectors that compare well formed and mean nothing to each other. The comparison says so
only as a very large discrepancy; keep the name of the embedding model in the column's name.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID, MISSING, Numbers, Vectors
from mlops_obs.collectors.drift.sketches.codec import join, number_bytes, pack, read_numbers, split, unpack
from mlops_obs.collectors.drift.sketches.fourier import AMPLITUDE, FEATURES, UNIT, Integers, fourier_sums
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch

_CHUNK = 65_536
_TRIANGLE = np.triu_indices(FEATURES)


@dataclass(frozen=True, slots=True, eq=False)
class VectorSketch:
    """`lengths` (Euclidean; its missing and invalid rows are the column's), `sums` (128,) and `products` (128, 128) of Fourier features.

    `size` is the number of coordinates.
    """

    lengths: NumberSketch
    sums: Integers
    products: Integers
    size: int

    @classmethod
    def empty(cls, size: int) -> VectorSketch:
        """Return the sketch of no rows."""
        return cls(NumberSketch.of(np.zeros(0)), np.zeros(FEATURES, dtype=np.int64), np.zeros((FEATURES, FEATURES), dtype=np.int64), size)

    @classmethod
    def of(cls, vectors: Vectors) -> VectorSketch:
        """Sketch embeddings (rows, size). A row of NaN is missing; a row with some NaN or an infinity is invalid."""
        found = cls.empty(vectors.shape[1])
        for start in range(0, len(vectors), _CHUNK):
            found = found.merge(cls._of(vectors[start : start + _CHUNK]))
        return found

    @classmethod
    def _of(cls, vectors: Vectors) -> VectorSketch:
        lengths = lengths_of(vectors)
        finite = ~np.isnan(lengths)
        norms = lengths[finite]
        scale = np.divide(UNIT * np.sqrt(vectors.shape[1]), norms, out=np.zeros_like(norms), where=norms > 0)
        sums, products = fourier_sums(np.rint(vectors[finite] * scale[:, None]))
        return cls(NumberSketch.of(lengths), sums, products, vectors.shape[1])

    @property
    def rows(self) -> int:
        """All rows, those without a vector included."""
        return self.lengths.rows

    @property
    def missing(self) -> int:
        """Rows without a vector."""
        return self.lengths.missing

    @property
    def invalid(self) -> int:
        """Rows whose vector is not finite."""
        return self.lengths.invalid

    @property
    def vectors(self) -> int:
        """Rows with a vector."""
        return int(self.lengths.counts.sum())

    def merge(self, other: VectorSketch) -> VectorSketch:
        """Return the sketch of both sets of rows: exact, commutative and associative.

        Raises:
            ValueError: the embeddings are of another size.
        """
        if self.size != other.size:
            raise ValueError(f"embeddings of {self.size} and of {other.size} numbers")
        return VectorSketch(self.lengths.merge(other.lengths), self.sums + other.sums, self.products + other.products, self.size)

    def to_bytes(self) -> bytes:
        """Write the sketch; sums are shifted to be no less than zero, products are symmetric."""
        rows = self.vectors
        head = np.array([self.size, rows], dtype=np.int64)
        numbers = np.concatenate([head, self.sums + AMPLITUDE * rows, self.products[_TRIANGLE] + AMPLITUDE**2 * rows])
        return join([number_bytes(self.lengths), pack(numbers)])

    @classmethod
    def from_bytes(cls, content: bytes) -> VectorSketch:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        lengths, packed = split(content)
        numbers = unpack(packed)
        if numbers.size != 2 + FEATURES + _TRIANGLE[0].size:
            raise ValueError("not a sketch of embeddings")
        size, rows = (int(one) for one in numbers[:2])
        products = np.zeros((FEATURES, FEATURES), dtype=np.int64)
        products[_TRIANGLE] = numbers[2 + FEATURES :] - AMPLITUDE**2 * rows
        products = products + products.T - np.diag(np.diag(products))
        return cls(read_numbers(lengths), numbers[2 : 2 + FEATURES] - AMPLITUDE * rows, products, size)


def lengths_of(vectors: NDArray[np.float32] | NDArray[np.float64]) -> Numbers:
    """Return the Euclidean length of each row: MISSING for a row of NaN, INVALID for one with some NaN or an infinity."""
    values = vectors.astype(np.float64)
    found: Numbers = np.sqrt(np.square(values).sum(axis=1))
    found[~np.isfinite(found)] = INVALID
    found[np.isnan(values).all(axis=1)] = MISSING
    return found
