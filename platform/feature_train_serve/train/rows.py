"""Rows on their way into a model: raw values as a table or the online store gives them, before any model's own transformation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_train_serve.config import DAY_MS, SEQUENCE_LENGTH
from feature_train_serve.features.definitions import CURRENCY_FEATURES, FEATURE_NAMES
from feature_train_serve.features.state import CustomerState


@dataclass(frozen=True, slots=True)
class RawRows:
    """`columns` in the units of the definitions; `kind` (-1 pads), `amount` and `age_days` are (n, length), oldest event first."""

    columns: dict[str, np.ndarray]
    kind: np.ndarray
    amount: np.ndarray
    age_days: np.ndarray

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.kind.shape[0])

    def take(self, rows: np.ndarray) -> RawRows:
        """Return some of the rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return RawRows(columns, self.kind[rows], self.amount[rows], self.age_days[rows])


def of_states(states: Sequence[CustomerState], as_of: int) -> RawRows:
    """Return what the online store serves for customers at `as_of` (ms): money in currency units."""
    values = [state.features(as_of) for state in states]
    kind = np.full((len(states), SEQUENCE_LENGTH), -1, dtype=np.int64)
    amount, age = np.zeros(kind.shape), np.zeros(kind.shape)
    for row, state in enumerate(states):
        events = state.sequence(as_of, SEQUENCE_LENGTH)
        if events:
            time, kinds, cents = np.array(events, dtype=np.int64).T
            kind[row, -time.size :], amount[row, -time.size :], age[row, -time.size :] = kinds, cents / 100, (as_of - time) / DAY_MS
    return RawRows({name: np.array([value[name] for value in values]) for name in FEATURE_NAMES}, kind, amount, age)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A slice of the offline table with its labels (NaN where they are not known yet)."""

    rows: RawRows
    label: np.ndarray


def read_slice(folder: Path, split: str, *, amount_unit: str = "currency") -> TrainingSet:
    """Read one slice of the training set as the feature job wrote it, or as the warehouse extract of it, which keeps money in cents."""
    table = pq.read_table(folder).filter(pc.field("split") == split).sort_by([("as_of", "ascending"), ("customer_id", "ascending")])
    scale = 100.0 if amount_unit == "cents" else 1.0
    columns = {name: table[name].to_numpy() * (scale if name in CURRENCY_FEATURES else 1.0) for name in FEATURE_NAMES}
    rows = RawRows(
        columns, _matrix(table, "event_kind"), _matrix(table, "event_cents") / 100 * scale, _matrix(table, "event_age_ms") / DAY_MS
    )
    return TrainingSet(rows, table["label"].to_numpy())


def _matrix(table: pa.Table, name: str) -> np.ndarray:
    values: np.ndarray = table[name].combine_chunks().values.to_numpy().reshape(table.num_rows, -1)
    return values
