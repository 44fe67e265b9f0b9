"""Columns of Arrow tables as blocks, and what each Arrow type is taken for.

Numbers without nulls are not copied. Names are dictionary-encoded by Arrow (12 ns a row); a column that is a dictionary already
costs nothing.

The trap: a type that nobody thought of (nested, binary) must neither stop the reading nor vanish: it is left out by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.adapters.tables.words import NOT_NAMES, kind_of_names, names_are_times
from mlops_obs.collectors.drift.columns import (
    INVALID,
    INVALID_CODE,
    MISSING_CODE,
    Categories,
    Column,
    ColumnData,
    ColumnKind,
    Numbers,
    Vectors,
)

_EPOCH_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_NO = np.zeros(0, dtype=np.int64)


class Unreadable(Exception):
    """A column whose type is none of ours; the text says which."""


def kind_of_arrow(data: Any) -> tuple[ColumnKind, int]:
    """Return what an Arrow column is taken for, and the length of an embedding, from its type and its first rows.

    Raises:
        Unreadable: nested, binary or otherwise no column of ours.
    """
    import pyarrow as pa

    types, kind = pa.types, data.type
    if types.is_dictionary(kind):
        kind = kind.value_type
    if types.is_boolean(kind):
        return ColumnKind.BOOLEAN, 0
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        return ColumnKind.NUMBER, 0
    if types.is_duration(kind) or types.is_time(kind):
        return ColumnKind.NUMBER, 0
    if types.is_timestamp(kind) or types.is_date(kind):
        return ColumnKind.TIMESTAMP, 0
    if _is_text(kind):
        return kind_of_names(names_of(data)), 0
    size = _vector_size(data)
    if size:
        return ColumnKind.EMBEDDING, size
    raise Unreadable(f"{kind} is nested or binary")


def read_column(data: Any, column: Column) -> ColumnData:
    """Return an Arrow column (ChunkedArray or Array) as its column's kind; what is of another type is invalid, row by row.

    Raises:
        Unreadable: nested, binary or otherwise no column of ours.
    """
    import pyarrow as pa

    kind = data.type.value_type if pa.types.is_dictionary(data.type) else data.type
    if column.kind is ColumnKind.EMBEDDING:
        return _vectors(data, column.size)
    if _is_text(kind):
        return _lengths(data) if column.kind is ColumnKind.TEXT else _from_names(names_of(data), column.kind)
    if pa.types.is_boolean(kind):
        numbers = _floats(data, pa.uint8())
        if column.kind is ColumnKind.NUMBER:
            return numbers
        codes = np.where(np.isnan(numbers), MISSING_CODE, np.nan_to_num(numbers)).astype(np.int64)
        return Categories(codes, ("false", "true"))
    if kind_of_arrow(data)[0] is ColumnKind.EMBEDDING:
        return _all_invalid(data)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        numbers = _seconds(data, kind)
    else:
        numbers = _floats(data)
    if column.kind in (ColumnKind.CATEGORY, ColumnKind.BOOLEAN) and column.coded:
        return _coded(numbers)
    return numbers


def names_of(data: Any) -> Categories:
    """Return a column of text as codes into its names; "" is missing."""
    import pyarrow as pa

    if not pa.types.is_dictionary(data.type):
        data = data.dictionary_encode()
    if isinstance(data, pa.ChunkedArray):
        array = data.chunk(0) if data.num_chunks == 1 else data.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # no chunk, or more text than fits into one
            array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    else:
        array = data
    try:
        names = array.dictionary.to_pylist()
    except UnicodeDecodeError:  # bytes that are no UTF-8 under a type that says so: names nevertheless, with the bytes escaped
        plain = array.dictionary.cast(pa.large_binary()).to_pylist()
        names = [None if one is None else one.decode("utf-8", "backslashreplace") for one in plain]
    raw = array.indices
    codes = np.asarray(raw.fill_null(MISSING_CODE) if raw.null_count else raw, dtype=np.int64)
    if codes.size and not (codes.max() < len(names) and codes.min() >= MISSING_CODE):
        raise ValueError("a dictionary lacks a name that rows ask for")  # Arrow does not look; a damaged file can say anything
    lacking = [place for place, name in enumerate(names) if name is None or name in NOT_NAMES]
    if lacking:
        table = np.append(np.arange(len(names)), MISSING_CODE)
        table[lacking] = MISSING_CODE
        codes = table[codes]
        names = ["" if name is None else name for name in names]
    return Categories(codes, names)


def _lengths(data: Any) -> Numbers:
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = data.cast(data.type.value_type) if hasattr(data.type, "value_type") else data
    try:
        lengths = _floats(pc.utf8_length(plain))
    except pa.ArrowInvalid:  # no UTF-8
        names = names_of(data)
        lengths = np.array([*map(len, names.names), np.nan], dtype=np.float64)[names.codes]
    return np.where(lengths == 0, np.nan, lengths)  # "" is missing


def _from_names(names: Categories, kind: ColumnKind) -> ColumnData:
    if kind in (ColumnKind.CATEGORY, ColumnKind.BOOLEAN):
        return names
    table = np.full(len(names.names) + 1, np.nan)
    if kind is ColumnKind.TIMESTAMP:
        table[:-1] = names_are_times(names.names)
    else:
        table[:-1] = INVALID  # text where a number is expected is another type, even if it could be read as one
    found: Numbers = table[names.codes]
    return found


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or view(kind))


def _floats(data: Any, via: Any = None) -> Numbers:
    import pyarrow as pa

    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if pa.types.is_null(data.type):
        return np.full(len(data), np.nan)
    if via is not None:
        data = data.cast(via)
    if not pa.types.is_float64(data.type):
        try:
            data = data.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # half floats, and decimals that are too large for the fast way
            return np.array([np.nan if one is None else float(one) for one in data.to_pylist()], dtype=np.float64)
    if isinstance(data, pa.ChunkedArray):
        if data.num_chunks != 1:
            return np.ascontiguousarray(data.to_numpy(), dtype=np.float64)
        data = data.chunk(0)  # not copied, which the conversion of a chunked array always is
    return np.ascontiguousarray(data.to_numpy(zero_copy_only=False), dtype=np.float64)


def _seconds(data: Any, kind: Any) -> Numbers:
    import pyarrow as pa

    if pa.types.is_date(kind):
        data, unit = data.cast(pa.timestamp("ms")), "ms"
    else:
        unit = kind.unit
    wide = pa.int32() if pa.types.is_time32(kind) else pa.int64()
    return _floats(data.cast(wide)) / _EPOCH_UNITS[unit]


def _vector_size(data: Any) -> int:
    import pyarrow as pa

    kind = data.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        return 0
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    lengths = {len(one) for one in data[:1000].to_pylist() if one is not None}
    return lengths.pop() if len(lengths) == 1 else 0


def _vectors(data: Any, size: int) -> Vectors:
    rows = np.full((len(data), size), np.nan, dtype=np.float32)
    if not _is_list(data.type):
        rows[:] = np.float32(np.nan)
        return rows
    for place, one in enumerate(data.to_pylist()):
        if one is not None and len(one) == size:
            rows[place] = [np.nan if value is None else value for value in one]
    return rows


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _all_invalid(data: Any) -> Categories:
    missing = np.asarray(data.is_null(), dtype=bool)
    codes: NDArray[np.int64] = np.where(missing, MISSING_CODE, INVALID_CODE).astype(np.int64)
    return Categories(codes, ())


def _coded(numbers: Numbers) -> Categories:
    values, codes = np.unique(numbers[~np.isnan(numbers)], return_inverse=True)
    found = np.full(numbers.size, MISSING_CODE, dtype=np.int64)
    found[~np.isnan(numbers)] = codes
    return Categories(found, [str(int(one)) if one == int(one) else repr(float(one)) for one in values.tolist()] if values.size else ())
