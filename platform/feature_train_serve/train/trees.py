"""Boosted trees as plain arrays: what scikit-learn has learnt, without the pickle that it would have to be stored in.

A pickle runs whatever its author put in, so a package that came over a network must never hold one. The trees of a
`HistGradientBoostingClassifier` are a handful of arrays; they are written as `.npz` (read with pickling off), checked, and evaluated
here in numpy, so that serving needs no scikit-learn either. Tests compare every prediction with scikit-learn's own.

The trap: a child index that points backwards makes an evaluation that never ends. Children must come after their parent; that is checked.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_obs.errors import PlatformError

_NODES = ("feature", "threshold", "missing_left", "left", "right", "value")
_MOST_BYTES = 64 << 20
# Whatever numpy, zipfile and zlib raise on bytes that nobody wrote on purpose.
_MALFORMED = (ValueError, KeyError, TypeError, EOFError, RuntimeError, SyntaxError, OverflowError, MemoryError)
_UNREADABLE = (*_MALFORMED, OSError, struct.error, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """T trees of at most N nodes, padded with leaves; node 0 is the root, and a leaf is its own child.

    Args:
        feature: (T, N) column that a node looks at.
        threshold: (T, N) a value at most this goes left.
        missing_left: (T, N) whether NaN goes left.
        left: (T, N) index of the left child.
        right: (T, N) index of the right child.
        value: (T, N) log-odds that a leaf adds.
        baseline: log-odds before any tree.
        depth: steps from a root to the deepest leaf.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    baseline: float
    depth: int

    @classmethod
    def of(cls, classifier: Any) -> Trees:
        """Copy the trees out of a fitted binary `HistGradientBoostingClassifier` without categorical features."""
        trees = [predictors[0].nodes for predictors in classifier._predictors]
        shape = (len(trees), max(len(nodes) for nodes in trees))
        own = np.broadcast_to(np.arange(shape[1]), shape)
        found: dict[str, np.ndarray] = {
            name: np.zeros(shape, dtype=kind) for name, kind in zip(_NODES[:3], (np.int64, np.float64, np.bool_), strict=True)
        }
        found |= {"left": own.copy(), "right": own.copy(), "value": np.zeros(shape)}
        for row, nodes in enumerate(trees):
            inner = np.flatnonzero(nodes["is_leaf"] == 0)
            found["feature"][row, inner] = nodes["feature_idx"][inner]
            found["threshold"][row, inner] = nodes["num_threshold"][inner]
            found["missing_left"][row, inner] = nodes["missing_go_to_left"][inner] != 0
            found["left"][row, inner], found["right"][row, inner] = nodes["left"][inner], nodes["right"][inner]
            found["value"][row, : len(nodes)] = nodes["value"]
        depth = max(int(nodes["depth"].max()) for nodes in trees)
        return cls(**found, baseline=float(np.ravel(classifier._baseline_prediction)[0]), depth=depth)

    def log_odds(self, columns: np.ndarray) -> np.ndarray:
        """Return the (n,) log-odds of `columns` (n, F) float64, summed tree after tree as scikit-learn does."""
        rows = np.arange(len(columns))[:, None]
        trees = np.arange(len(self.left))[None, :]
        node = np.zeros((len(columns), len(self.left)), dtype=np.int64)
        for _ in range(self.depth):
            values = columns[rows, self.feature[trees, node]]
            goes_left = np.where(np.isnan(values), self.missing_left[trees, node], values <= self.threshold[trees, node])
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        steps = np.concatenate([np.full((len(columns), 1), self.baseline), self.value[trees, node]], axis=1)
        total: np.ndarray = np.cumsum(steps, axis=1)[:, -1]  # one addition after the other: the same rounding
        return total

    def probabilities(self, columns: np.ndarray) -> np.ndarray:
        """Return P(default), float64 (n,)."""
        result: np.ndarray = 1.0 / (1.0 + np.exp(-self.log_odds(columns)))
        return result

    @property
    def used(self) -> frozenset[int]:
        """Columns that any node looks at."""
        inner = self.left != np.arange(self.left.shape[1])
        return frozenset(np.unique(self.feature[inner]).tolist())

    def to_bytes(self) -> bytes:
        """Write the arrays as an `.npz` archive."""
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _NODES}
        np.savez_compressed(buffer, **arrays, baseline=np.float64(self.baseline), depth=np.int64(self.depth))
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, features: int) -> Trees:
        """Read what `to_bytes` wrote, for a model of `features` columns.

        Raises:
            PlatformError: OBS-PKG-005 if it is something else, or trees that cannot be walked.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES >> 20} MiB")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in _NODES}
                trees = cls(**found, baseline=float(arrays["baseline"]), depth=int(arrays["depth"]))
            trees._check(features)
        except _UNREADABLE as error:
            raise PlatformError("OBS-PKG-005", f"not an archive of boosted trees: {error}", todo="train the revision again") from error
        return trees

    def _check(self, features: int) -> None:
        shape = self.left.shape
        for name, kind in zip(_NODES, (np.int64, np.float64, np.bool_, np.int64, np.int64, np.float64), strict=True):
            array = getattr(self, name)
            if array.ndim != 2 or 0 in shape or array.shape != shape or array.dtype != kind:
                raise ValueError(f"{name} has a wrong shape or type")
        own = np.arange(shape[1])
        leaf = (self.left == own) & (self.right == own)
        forward = (self.left > own) & (self.right > own) & (self.left < shape[1]) & (self.right < shape[1])
        if not (leaf | forward).all() or not ((self.feature >= 0) & (self.feature < features)).all() or not 0 <= self.depth < shape[1]:
            raise ValueError("a node points to where there is nothing")
