"""From whatever a model is given to the float64 values of the ring: one row in about a microsecond, and no row is an error.

Names become numbers by a dictionary that was filled from the reference; a name that it never had gets the next number, up to a cap.
What is not there is MISSING, what is of a wrong type is INVALID: both are data. Vendors' tables are known by the module of their
type, so that nothing is imported that the program has not imported itself.

The trap: a check per value costs more than the copy. So the fast path assumes that all is well, and only a row that
cannot be packed is looked at value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import (
    INVALID,
    INVALID_CODE,
    MISSING,
    MISSING_CODE,
    Block,
    Categories,
    Column,
    ColumnData,
    ColumnKind,
    Numbers,
    Vectors,
    is_invalid,
)
from mlops_obs.collectors.drift.payload_rows import columns_of_payload
from mlops_obs.collectors.drift.ring import Drained, Ring
from mlops_obs.collectors.drift.values import NameTable, number, seconds, text_length

_CONVERTERS: dict[ColumnKind, Callable[[Any], float]] = {
    ColumnKind.NUMBER: number,
    ColumnKind.TIMESTAMP: seconds,
    ColumnKind.TEXT: text_length,
}
_TABLE_TYPES = (list, tuple, np.ndarray, Categories)
_NAMES = (ColumnKind.CATEGORY, ColumnKind.BOOLEAN)


class Encoder:
    """Puts rows of any shape into a ring, in the order of `columns`.

    Args:
        columns: what a row is made of, in the model's order.
        known: the names that the reference knows, by column; others are numbered as they come.
        ring: where the rows go; made by `Encoder.ring` for the same columns.
    """

    def __init__(self, columns: Sequence[Column], known: Mapping[str, Iterable[str]], ring: Ring) -> None:
        self.columns = tuple(columns)
        self.names = tuple(one.name for one in columns)
        self.ignored: set[str] = set()  # keys of rows that are no column of the model, a few of them
        self._ring = ring
        self._place = {name: place for place, name in enumerate(self.names)}
        self._get: Callable[[Mapping[str, Any]], Sequence[Any]] = (
            itemgetter(*self.names) if len(self.names) > 1 else lambda row: (row[self.names[0]],)
        )
        self._tables = {
            place: NameTable(known.get(one.name, ()), boolean=one.kind is ColumnKind.BOOLEAN)
            for place, one in enumerate(columns)
            if one.kind in _NAMES
        }
        self._embeddings = {place: one.size for place, one in enumerate(columns) if one.kind is ColumnKind.EMBEDDING}
        self._converted = [
            (place, _CONVERTERS[one.kind]) for place, one in enumerate(columns) if one.kind in (ColumnKind.TIMESTAMP, ColumnKind.TEXT)
        ]
        self._scalar = next((place for place in range(len(columns)) if place not in self._embeddings), 0)
        self._looked_up = list(self._tables.items())
        self._plain = not (self._tables or self._converted or self._embeddings)  # numbers only

    @staticmethod
    def ring(columns: Sequence[Column], capacity: int) -> Ring:
        """Return a ring for rows of `columns`."""
        return Ring(len(columns), capacity, [one.size for one in columns if one.kind is ColumnKind.EMBEDDING])

    def put(self, rows: Any) -> None:
        """Keep a row or a table of rows: an array, a list, a dict, a list of dicts, a pandas, Arrow or torch table, a KServe payload.

        Raises:
            ValueError: it has another number of columns, or no form that is known. Nothing is kept then.
        """
        kind = type(rows)
        if kind is dict:
            self._put_dict(rows)
        elif kind is np.ndarray:
            self._put_ndarray(rows)
        else:
            self._put_other(rows)

    def block(self, drained: Drained) -> Block:
        """Return drained rows as columns; codes of categories refer to all names seen so far."""
        found: dict[str, ColumnData] = {}
        vectors = iter(drained.vectors)
        for place, name in enumerate(self.names):
            values = np.ascontiguousarray(drained.rows[:, place])
            if place in self._tables:
                found[name] = Categories(codes_of_names(values), self._tables[place].names())
            elif place in self._embeddings:
                vector = next(vectors)
                vector[np.isnan(values)] = np.nan
                found[name] = vector
            else:
                found[name] = values
        return found

    # --- one row --------------------------------------------------------------------------------------------
    def _put_dict(self, row: Mapping[str, Any]) -> None:
        try:
            values = list(self._get(row))
        except KeyError:
            if self._put_payload(row):
                return
            values = [row.get(name) for name in self.names]
        if len(row) > len(self.names):
            self._ignore(row)
        if type(values[self._scalar]) in _TABLE_TYPES and self._holds_columns(values):
            self._put_columns(row)
        else:
            self._put_values(values)

    def _put_values(self, values: list[Any]) -> None:
        """Keep one row given as a list that may be changed."""
        if len(values) != len(self.names):
            raise ValueError(f"a row of {len(values)} values for {len(self.names)} columns")
        vectors = self._take_vectors(values) if self._embeddings else ()
        for place, table in self._looked_up:
            try:
                values[place] = table[values[place]]
            except TypeError:  # a list or a dict where a name should be
                values[place] = INVALID
        for place, convert in self._converted:
            values[place] = convert(values[place])
        try:
            self._ring.put(values, vectors)
            return
        except Exception:  # noqa: BLE001 - a value's own __float__ may raise anything; each is looked at below
            values = [MISSING if value is None else value for value in values]
        try:
            self._ring.put(values, vectors)
        except Exception:  # noqa: BLE001
            self._ring.put([value if type(value) is float else number(value) for value in values], vectors)

    def _take_vectors(self, values: list[Any]) -> list[Vectors]:
        vectors = []
        for place, size in self._embeddings.items():
            vector, values[place] = _vector(values[place], size)
            vectors.append(vector)
        return vectors

    # --- tables ---------------------------------------------------------------------------------------------
    def _put_ndarray(self, rows: NDArray[Any]) -> None:
        width = len(self.names)
        if rows.dtype.names:
            self._put_columns({name: np.atleast_1d(rows[name]) for name in rows.dtype.names})
            return
        if self._embeddings and width == 1 and rows.shape[-1:] == (self.columns[0].size,) and rows.ndim <= 2:
            vectors = np.atleast_2d(rows).astype(np.float32)
            self._ring.put_block(np.zeros((len(vectors), 1)), [vectors])
            return
        if rows.ndim not in (1, 2) or rows.shape[-1] != width:
            raise ValueError(f"rows of shape {rows.shape} for {width} columns")
        if self._plain and rows.dtype.kind in "fiub":
            if rows.ndim == 1:
                self._ring.put_array(rows)
            elif len(rows) == 1:
                self._ring.put_array(rows[0])
            else:
                self._ring.put_block(np.asarray(rows, dtype=np.float64))
            return
        for row in [rows.tolist()] if rows.ndim == 1 else rows.tolist():
            self._put_values(row)

    def _put_other(self, rows: Any) -> None:
        module = type(rows).__module__.partition(".")[0]
        if module == "pandas":
            self._put_pandas(rows)
        elif module == "pyarrow":
            self._put_columns({name: _from_arrow(rows.column(name)) for name in rows.schema.names})
        elif module == "torch":
            tensor = rows.detach().cpu()
            self._put_ndarray((tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy())
        elif isinstance(rows, Mapping):
            self._put_dict(rows)
        elif isinstance(rows, np.ndarray):
            self._put_ndarray(np.asarray(rows))
        elif isinstance(rows, (list, tuple)):
            self._put_list(rows)
        elif hasattr(rows, "__array__"):
            self._put_ndarray(np.asarray(rows))
        elif hasattr(rows, "__iter__") and not isinstance(rows, (str, bytes)):
            self._put_list(list(rows))
        else:
            raise ValueError(f"no row: {type(rows).__name__}")

    def _put_list(self, rows: Sequence[Any]) -> None:
        if not rows:
            return
        first = rows[0]
        many = isinstance(first, Mapping) or (isinstance(first, (list, tuple, np.ndarray)) and np.ndim(first) > 0)
        if many and 0 in self._embeddings and len(rows) == len(self.names):  # a row that begins with a vector
            many = isinstance(first, Mapping) or len(first) != self._embeddings[0]
        if not many:
            if len(rows) != len(self.names):
                raise ValueError(f"a row of {len(rows)} values for {len(self.names)} columns")
            self._put_values(list(rows))
            return
        for one in rows:
            if isinstance(one, Mapping):
                self._put_dict(one)
            elif isinstance(one, np.ndarray):
                self._put_ndarray(one)
            else:
                if len(one) != len(self.names):
                    raise ValueError(f"a row of {len(one)} values for {len(self.names)} columns")
                self._put_values(list(one))

    def _put_pandas(self, rows: Any) -> None:
        if rows.ndim == 1:  # a Series: one row, by name
            self._put_dict(rows.to_dict())
            return
        values = rows.to_numpy() if len(rows) < 64 or self._plain else None
        if values is None or (len(values) >= 64 and values.dtype.kind not in "fiub"):
            self._put_columns({name: _from_pandas(rows[name]) for name in rows.columns})
            return
        columns = list(rows.columns)
        if columns == list(self.names):
            self._put_ndarray(values)
            return
        for row in values.tolist():
            self._put_dict(dict(zip(columns, row, strict=True)))

    def _put_payload(self, row: Mapping[str, Any]) -> bool:
        found = columns_of_payload(row, self.names)
        if found is None:
            return False
        if isinstance(found, Mapping):
            self._put_columns(found)
        else:
            self._put_list(found)
        return True

    def _holds_columns(self, values: Sequence[Any]) -> bool:
        """Whether a dict is a table given by columns: all that it has of the model's columns are lists or arrays, of one length."""
        if self._scalar in self._embeddings:
            return isinstance(values[self._scalar], np.ndarray) and values[self._scalar].ndim == 2  # nothing but embeddings
        return all(
            value is None or isinstance(value, (list, tuple, Categories)) or (isinstance(value, np.ndarray) and value.ndim > 0)
            for value in values
        )

    def _put_columns(self, columns: Mapping[str, Any]) -> None:
        """Keep a table given by columns; one that is not there is missing in every row."""
        rows = max((_length(data) for name, data in columns.items() if name in self._place and data is not None), default=0)
        if not rows:
            return
        if len(columns) > len(self.names):
            self._ignore(columns)
        table = np.full((rows, len(self.names)), MISSING)
        vectors: list[Vectors] = []
        for place, name in enumerate(self.names):
            data = columns.get(name)
            if place in self._embeddings:
                vector, table[:, place] = _vectors(data, rows, self._embeddings[place], name)
                vectors.append(vector)
            elif data is not None:
                if _length(data) != rows:
                    raise ValueError(f"column {name!r} has {_length(data)} rows, others have {rows}")
                table[:, place] = self._column(place, data)
        self._ring.put_block(table, vectors)

    def _column(self, place: int, data: Any) -> Numbers:
        kind = self.columns[place].kind
        if isinstance(data, Categories):  # codes of a few names
            if place not in self._tables:
                return np.where(data.codes == MISSING_CODE, MISSING, INVALID)
            lookup = np.array([*(self._tables[place][name] for name in data.names), INVALID, MISSING])
            return lookup[data.codes]
        array = data if isinstance(data, np.ndarray) else None
        if array is not None and kind is ColumnKind.NUMBER and array.dtype.kind in "fiub":
            return array.astype(np.float64)
        if array is not None and kind is ColumnKind.TIMESTAMP and array.dtype.kind == "M":
            stamps = array.astype("datetime64[us]")
            return np.where(np.isnat(stamps), MISSING, stamps.astype(np.int64) / 1e6)
        values = array.tolist() if array is not None and array.dtype.kind != "M" else list(data)
        if place in self._tables:
            return np.array([self._value_of_name(place, value) for value in values])
        return np.array([_CONVERTERS[kind](value) for value in values])

    def _value_of_name(self, place: int, value: Any) -> float:
        try:
            return self._tables[place][value]
        except TypeError:
            return INVALID

    def _ignore(self, row: Mapping[str, Any]) -> None:
        if len(self.ignored) < 20:
            self.ignored.update(str(name)[:100] for name in list(row)[:100] if name not in self._place)


def codes_of_names(values: Numbers) -> NDArray[np.int64]:
    """Return ring values of a category column as codes: MISSING_CODE and INVALID_CODE where there is no name."""
    lacking = np.isnan(values)
    codes = np.where(lacking, 0.0, values).astype(np.int64)
    if lacking.any():
        codes[lacking] = np.where(is_invalid(values)[lacking], INVALID_CODE, MISSING_CODE)
    return codes


def _vectors(data: Any, rows: int, size: int, name: str) -> tuple[Vectors, Numbers]:
    """Return a column of vectors (rows, size), and for each row what the ring says about it."""
    if isinstance(data, np.ndarray) and data.shape == (rows, size) and data.dtype.kind in "fiub":
        vectors = data.astype(np.float32)
        return vectors, np.where(np.isnan(vectors).any(axis=1), MISSING, 0.0)
    values = data if data is not None else [None] * rows
    if _length(values) != rows:
        raise ValueError(f"column {name!r} has {_length(values)} rows, others have {rows}")
    pairs = [_vector(value, size) for value in values]
    return np.stack([vector for vector, _ in pairs]), np.array([state for _, state in pairs])


def _length(data: Any) -> int:
    return len(data.codes) if isinstance(data, Categories) else len(data)


def _vector(value: Any, size: int) -> tuple[Vectors, float]:
    """Return a vector of `size` and what the ring says about it: 0 if it is one, MISSING or INVALID (and NaNs) if not."""
    if value is None:
        return np.full(size, np.nan, dtype=np.float32), MISSING
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite
            vector = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        vector = np.empty(0, dtype=np.float32)
    if vector.size != size or np.isnan(vector).any():
        return np.full(size, np.nan, dtype=np.float32), MISSING if isinstance(value, float) else INVALID
    return vector, 0.0


def _from_arrow(column: Any) -> Any:
    """Return an Arrow array or chunked array as something that `_column` takes; nulls of numbers are NaN."""
    column = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if hasattr(column, "num_chunks"):  # combined to several chunks (too large for one)
        return column.to_pylist()
    kind = str(column.type)
    if kind.startswith("dictionary"):
        codes = np.where(column.is_null(), MISSING_CODE, column.indices.fill_null(0)).astype(np.int64)
        return Categories(codes, column.dictionary.to_pylist())
    if kind.startswith(("int", "uint", "float", "double", "halffloat", "timestamp", "date")):
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


def _from_pandas(series: Any) -> Any:
    if str(series.dtype) == "category":
        return Categories(series.cat.codes.to_numpy().astype(np.int64), series.cat.categories.tolist())
    return series.to_numpy()
