"""A model's own transformation, part of its package: units, peers, scaling. The same code runs offline and online.

Two steps, because two readers need different things: `columns` gives the values a person understands, which drift is measured on;
`tensors` squashes and scales them for the network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from feature_train_serve.features.definitions import CURRENCY_FEATURES, FEATURES
from feature_train_serve.train.rows import RawRows

PEER_RATE = "peer_default_rate"
PEER_CHANNEL, PEER_SPEND = "channel", "spend_30d"
_SQUASHED = frozenset(feature.name for feature in FEATURES if feature.unit in ("currency", "count", "days"))


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What a package says about its inputs.

    Args:
        features: columns read, in order.
        amount_unit: unit of money in the rows it is given; `cents` are turned into currency units.
        sequence_length: newest events read.
        mean: of each squashed column over the training slice.
        scale: its standard deviation.
        peers: name of the lookup table of peer rates; empty if not used.
    """

    features: tuple[str, ...]
    amount_unit: str
    sequence_length: int
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    peers: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's columns."""
        return (*self.features, PEER_RATE) if self.peers else self.features

    def to_currency(self, rows: RawRows) -> RawRows:
        """Return `rows` with all money in currency units."""
        if self.amount_unit == "currency":
            return rows
        columns = {name: values / 100 if name in CURRENCY_FEATURES else values for name, values in rows.columns.items()}
        return RawRows(columns, rows.kind, rows.amount / 100, rows.age_days)

    def columns(self, rows: RawRows, peer_rate: np.ndarray | None) -> np.ndarray:
        """Return the model's columns as float64 (n, F) from rows in currency units."""
        values = [rows.columns[name] for name in self.features]
        return np.column_stack(values if peer_rate is None else [*values, peer_rate])

    def fitted(self, columns: np.ndarray) -> Preprocess:
        """Return a copy scaled to the training slice's `columns`."""
        squashed = self._squash(columns)
        squashed = np.where(np.isnan(squashed).all(axis=0), 0.0, squashed)  # a column without any value has no mean to warn about
        scale = np.nanstd(squashed, axis=0)
        means = tuple(float(value) for value in np.nan_to_num(np.nanmean(squashed, axis=0)))
        return replace(self, mean=means, scale=tuple(float(value) for value in np.where(scale > 0, scale, 1.0)))

    def tensors(self, columns: np.ndarray, rows: RawRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what the network reads: statics (n, F) float32, event kinds (n, L) int64 (0 pads), event values (n, L, 2) float32."""
        static = np.nan_to_num((self._squash(columns) - self.mean) / self.scale).clip(-6, 6).astype(np.float32)
        last = slice(-self.sequence_length, None)
        values = np.stack([_signed_log(rows.amount[:, last]) / 4, np.log1p(np.maximum(rows.age_days[:, last], 0)) / 2], axis=-1)
        return static, rows.kind[:, last] + 1, values.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the form that stands in package.json."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Preprocess:
        """Read what `to_json` wrote."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
        return cls(**values)

    def _squash(self, columns: np.ndarray) -> np.ndarray:
        squashed = np.array([name in _SQUASHED for name in self.names])
        return np.where(squashed, _signed_log(columns), columns)


def _signed_log(values: np.ndarray) -> np.ndarray:
    logs: np.ndarray = np.sign(values) * np.log1p(np.abs(values))
    return logs
