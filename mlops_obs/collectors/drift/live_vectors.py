"""Embeddings of live rows, judged a window at a time: have their directions turned? Their lengths have cells and are judged as numbers are.

The trap: the covariance of Fourier features is 128 x 128 for each column; it is summed for a window, never for a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.repeats import Weight
from mlops_obs.collectors.drift.results import FeatureResult
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch


class LiveVectors:
    """Compares windows of embeddings with the reference.

    Args:
        reference: with sketches of the embeddings.
        columns: the watched columns; those that are no embeddings are not looked at.
        rows: rows of a window, at least.
        alpha: chance that a window without drift is called drifted, over all watched columns.
        importance: of features, where it is known.
    """

    def __init__(
        self, reference: ReferenceProfile, columns: Sequence[Column], rows: int, alpha: float, importance: Mapping[str, float]
    ) -> None:
        self._reference = reference
        self._columns = [
            one for one in columns if one.kind is ColumnKind.EMBEDDING and isinstance(reference.sketches.get(one.name), VectorSketch)
        ]
        self._rows = rows
        self._alpha = alpha * len(self._columns) / max(1, len(columns))
        self._importance = importance
        self._sketches: dict[str, VectorSketch] = {}
        self.scores: dict[str, FeatureResult] = {}

    def look(self, block: Block, weights: Mapping[str, Weight]) -> bool:
        """Take rows in; judge them if there are enough, and say whether a column has drifted."""
        if not self._columns:
            return False
        for column in self._columns:
            data = block[column.name]
            if not isinstance(data, Categories):
                fresh = VectorSketch.of(np.asarray(data, dtype=np.float32))
                self._sketches[column.name] = self._sketches[column.name].merge(fresh) if column.name in self._sketches else fresh
        if max((one.rows for one in self._sketches.values()), default=0) < self._rows:
            return False
        current = ReferenceProfile(Schema(tuple(one for one in self._columns if one.name in self._sketches)), self._sketches)
        names = list(self._sketches)
        settings = Settings(self._alpha, features=names, importance=self._importance, weights=weights)
        self._sketches = {}
        self.scores = {one.name: one for one in compare(self._reference, current, settings).features}
        return any(one.alarm for one in self.scores.values())
