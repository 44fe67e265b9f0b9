"""What is kept of a column instead of its rows: counts that merge exactly, in any order, to the same bytes."""

from __future__ import annotations

import numpy as np

from mlops_obs.collectors.drift.columns import (
    INVALID,
    INVALID_CODE,
    MISSING,
    MISSING_CODE,
    Categories,
    Column,
    ColumnData,
    ColumnKind,
    is_invalid,
)
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.codec import category_bytes, number_bytes, read_categories, read_numbers
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch

Sketch = NumberSketch | CategorySketch | VectorSketch
_NAMED = (ColumnKind.CATEGORY, ColumnKind.BOOLEAN)


def sketch_of(data: ColumnData, column: Column) -> Sketch:
    """Sketch a column's rows. Data of another type than the column's is invalid in every row that is not missing."""
    if column.kind in _NAMED:
        return CategorySketch.of(data if isinstance(data, Categories) else _no_names(data))
    if column.kind is ColumnKind.EMBEDDING:
        return _vectors(data, column.size)
    if isinstance(data, Categories):
        missing = int((data.codes == MISSING_CODE).sum())
        nothing = np.zeros(0, dtype=np.int64)
        return NumberSketch(nothing, nothing, missing, data.codes.size - missing, np.nan, np.nan)
    return NumberSketch.of(np.ascontiguousarray(data, dtype=np.float64), column.origin)


def sketch_bytes(sketch: Sketch) -> bytes:
    """Write a sketch."""
    if isinstance(sketch, VectorSketch):
        return sketch.to_bytes()
    return number_bytes(sketch) if isinstance(sketch, NumberSketch) else category_bytes(sketch)


def read_sketch(content: bytes, kind: ColumnKind) -> Sketch:
    """Read the sketch of a column of some kind.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
    """
    if kind is ColumnKind.EMBEDDING:
        return VectorSketch.from_bytes(content)
    return read_categories(content) if kind in _NAMED else read_numbers(content)


def _vectors(data: ColumnData, size: int) -> VectorSketch:
    """Sketch embeddings of `size` numbers; anything else is invalid in every row that is not missing."""
    if not isinstance(data, Categories) and data.ndim == 2 and (data.shape[1] == size or not size):
        return VectorSketch.of(data.astype(np.float32, copy=False))
    names = data if isinstance(data, Categories) else _no_names(data)
    lengths = np.where(names.codes == MISSING_CODE, MISSING, INVALID)
    empty = VectorSketch.empty(size)
    return VectorSketch(NumberSketch.of(lengths), empty.sums, empty.products, size)


def _no_names(data: ColumnData) -> Categories:
    if isinstance(data, Categories):
        return data
    values = np.asarray(data, dtype=np.float64)
    lacking = np.isnan(values) & ~is_invalid(values)
    missing = lacking if lacking.ndim == 1 else np.logical_or.reduce(lacking, axis=1)
    return Categories(np.where(missing, MISSING_CODE, INVALID_CODE).astype(np.int64), ())


__all__ = ["CategorySketch", "NumberSketch", "Sketch", "VectorSketch", "read_sketch", "sketch_bytes", "sketch_of"]
