"""Reads the numeric columns of a table file: Parquet through pyarrow, CSV with the standard library.

The drift commands take whatever table the model was trained on. Text columns are left out and named to the caller: a
category must be encoded as the model encodes it before its drift means anything.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.errors import SpecError, UsageError

_EMPTY = {"", "na", "nan", "null", "none"}


@dataclass(frozen=True, slots=True)
class NumericTable:
    """Numeric columns by name, missing values as NaN; `skipped` are the columns that are not numeric."""

    columns: dict[str, NDArray[np.float64]]
    skipped: tuple[str, ...]


def read_table(path: Path) -> NumericTable:
    """Read a `.parquet` or `.csv` file.

    Raises:
        UsageError: OBS-TAB-001 if the file is missing or of another kind.
        SpecError: OBS-TAB-002 if it cannot be read as what its name says, or has no numeric column.
    """
    if not path.is_file():
        raise UsageError("OBS-TAB-001", "there is no such table", where=str(path), todo="give a .parquet or .csv file")
    if path.suffix == ".parquet":
        columns, skipped = _parquet(path)
    elif path.suffix == ".csv":
        columns, skipped = _csv(path)
    else:
        raise UsageError(
            "OBS-TAB-001", f"{path.suffix or 'no suffix'} is not a table format we read", where=str(path), todo="write .parquet or .csv"
        )
    if not columns:
        raise SpecError("OBS-TAB-002", "no column is numeric", where=str(path), todo="encode the features as the model does")
    return NumericTable(columns, tuple(skipped))


def _parquet(path: Path) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(
            "OBS-TAB-003", "pyarrow is not installed", where=str(path), todo="pip install 'mlops-obs[drift]' or use .csv"
        ) from error
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise SpecError(
            "OBS-TAB-002", f"not readable as Parquet: {str(error).splitlines()[0]}", where=str(path), todo="write it again"
        ) from error
    columns: dict[str, NDArray[np.float64]] = {}
    skipped = []
    for field in table.schema:
        kind: Any = field.type
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            columns[field.name] = table.column(field.name).cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        else:
            skipped.append(field.name)
    return columns, skipped


def _csv(path: Path) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise SpecError(
            "OBS-TAB-002", f"not readable as CSV: {error}", where=str(path), todo="write it as UTF-8 CSV with a header"
        ) from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            what = f"{len(row)} values under {len(header)} column names"
            raise SpecError("OBS-TAB-002", what, where=f"{path}:{number}", todo="give every row as many values as the header")
    columns: dict[str, NDArray[np.float64]] = {}
    skipped = []
    for place, name in enumerate(header):
        try:
            columns[name] = np.array([np.nan if row[place].strip().lower() in _EMPTY else float(row[place]) for row in rows])
        except ValueError:
            skipped.append(name)
    return columns, skipped
