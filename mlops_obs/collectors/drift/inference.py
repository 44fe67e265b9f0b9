"""What the columns of a table are, as far as its first rows tell; a person can override each of it with a schema.

A column of numbers gets an `origin` where its values vary little for their size (years, timestamps, account numbers): the sketch's
resolution is relative, and without an origin they would share a few buckets.

The trap: two shards of a table that each choose an origin of their own cannot be merged. Infer once, from the first rows in sorted
file order, and give the schema to everybody.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnData, ColumnKind, Numbers, Role, Schema

SAMPLE_ROWS = 4096


def origin_of(values: Numbers) -> float:
    """Return what to subtract from a column of numbers: a round number near the median, or 0 where the values spread enough.

    An origin is chosen when eight tenths of the rows lie within one median: then fewer than about 100 of the 64 buckets to the
    octave would hold them. The first SAMPLE_ROWS decide.
    """
    sample = values[:SAMPLE_ROWS]
    sample = np.sort(sample[np.isfinite(sample)])
    if not sample.size:
        return 0.0
    low, middle, high = (float(sample[int(share * (sample.size - 1))]) for share in (0.1, 0.5, 0.9))
    spread = high - low
    if not 0 < spread < abs(middle) < 1e300:
        return 0.0
    unit = 10.0 ** math.floor(math.log10(spread / 4))
    return round(middle / unit) * unit if unit >= 1 else round(middle / unit) / round(1 / unit)


def kind_of(data: ColumnData) -> ColumnKind:
    """Return what a column in memory is taken for when nobody says more."""
    if isinstance(data, Categories):
        return ColumnKind.CATEGORY
    return ColumnKind.EMBEDDING if data.ndim == 2 else ColumnKind.NUMBER


def infer_schema(block: Block, known: Schema | None = None, *, roles: Mapping[str, Role] | None = None) -> Schema:
    """Return the schema of a block: the columns of `known` as they are, then those beyond it in the block's order."""
    columns = list(known or ())
    told = {one.name for one in columns}
    for name, data in block.items():
        if name in told:
            continue
        kind, role = kind_of(data), (roles or {}).get(name, Role.FEATURE)
        if isinstance(data, Categories):
            columns.append(Column(name, kind, role))
        elif data.ndim == 2:
            columns.append(Column(name, kind, role, size=data.shape[1]))
        else:
            columns.append(Column(name, kind, role, origin_of(np.asarray(data, dtype=np.float64))))
    return Schema(tuple(columns))
