"""Predictions and their labels from tables (Parquet, Arrow, CSV): what `label_store` asks SQLite for, from files.

The trap: a moment may be a date, a text or a number of seconds. A column is read as moments first, and as Unix seconds where that gives
nothing; milliseconds are known by their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlops_obs.adapters.tables import blocks, expand
from mlops_obs.collectors.drift.attribution.build import labels_of
from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnData, ColumnKind, Schema
from mlops_obs.collectors.quality.performance import Predictions
from mlops_obs.collectors.quality.scored import ScoredPredictions
from mlops_obs.errors import UsageError

Numbers = NDArray[np.float64]

_MILLISECONDS = 1e11  # seconds that large are in the year 5138


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Names of the columns: when a prediction was made, its score, its label, when that came; `revision` empty: one model."""

    made_at: str = "made_at"
    score: str = "score"
    label: str = "label"
    labelled_at: str = "labelled_at"
    revision: str = ""


def read_predictions(tables: Sequence[str], columns: LabelColumns) -> ScoredPredictions:
    """Read predictions, labelled or not, from all rows of the tables.

    Raises:
        UsageError: OBS-QLT-006 if a column is not there or holds nothing of its kind; OBS-TAB-001 to 007 of reading.
        SpecError: of reading.
    """
    sources = expand(tables)
    where = ", ".join(tables)
    score = _numbers(sources, columns.score, ColumnKind.NUMBER, where)
    made, came = (_moments(sources, name, where) for name in (columns.made_at, columns.labelled_at))
    label = np.concatenate([labels_of(data) for data in _column(sources, columns.label, (ColumnKind.NUMBER, ColumnKind.CATEGORY), where)])
    known = np.isfinite(label) & np.isfinite(came)
    codes: Numbers = np.zeros(made.size)
    names: tuple[str, ...] = ("",)
    if columns.revision:
        codes, names = _names(_column(sources, columns.revision, (ColumnKind.CATEGORY,), where))
    kept = np.isfinite(score) & np.isfinite(made)
    every = Predictions(made, score, np.where(known, label, np.nan), np.where(known, came, np.nan))
    return ScoredPredictions(every.at(kept), codes[kept], names)


def _moments(sources: Sequence[str], name: str, where: str) -> Numbers:
    found = _numbers(sources, name, ColumnKind.TIMESTAMP, where, must=False)
    if not np.isfinite(found).any():
        found = _numbers(sources, name, ColumnKind.NUMBER, where)
    finite = found[np.isfinite(found)]
    return found / 1000 if finite.size and float(np.median(finite)) > _MILLISECONDS else found


def _numbers(sources: Sequence[str], name: str, kind: ColumnKind, where: str, *, must: bool = True) -> Numbers:
    parts = [np.asarray(data, dtype=np.float64) for data in _column(sources, name, (kind,), where) if not isinstance(data, Categories)]
    found: Numbers = np.concatenate(parts) if parts else np.zeros(0)
    if must and found.size and not np.isfinite(found).any():
        raise UsageError("OBS-QLT-006", f"the column {name} holds no {kind.value}", where=where, todo="name the right column")
    return found


def _column(sources: Sequence[str], name: str, kinds: Sequence[ColumnKind], where: str) -> list[ColumnData]:
    """Return a column as the first of the kinds that gives something."""
    found: list[ColumnData] = []
    for kind in kinds:
        found = []
        for block in _blocks(sources, Schema((Column(name, kind),))):
            if name not in block:
                raise UsageError("OBS-QLT-006", f"there is no column {name}", where=where, todo="name the columns, see --help")
            found.append(block[name])
        if any((data.codes >= 0).any() if isinstance(data, Categories) else np.isfinite(data).any() for data in found):
            break
    return found


def _blocks(sources: Sequence[str], schema: Schema) -> Iterator[Block]:
    for source in sources:
        yield from blocks(source, schema)


def _names(parts: Sequence[ColumnData]) -> tuple[Numbers, tuple[str, ...]]:
    numbers: dict[str, int] = {}
    codes = []
    for data in parts:
        if isinstance(data, Categories):
            table = np.array([*(numbers.setdefault(name, len(numbers)) for name in data.names), -1, -1], dtype=np.float64)
            codes.append(table[data.codes])
    found: Numbers = np.concatenate(codes) if codes else np.zeros(0)
    found[found < 0] = numbers.setdefault("", len(numbers)) if (found < 0).any() else 0
    return found, tuple(numbers)
