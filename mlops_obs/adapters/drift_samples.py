"""Rows for those who need rows: a uniform sample of tables that do not fit into memory, or rows drawn from a profile that has none.

A sample is repeatable: each row gets a random number from a seeded generator, and the smallest ones stay.

The trap: a reference profile holds no rows. Each of its columns is drawn from its sketch on its own: right for pictures of single
columns, meaningless for anything across columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import INVALID_CODE, MISSING_CODE, Block, Categories, Column, ColumnKind, rows_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.report import printable
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, lower_bound

SAMPLE_ROWS = 10_000
_LONGEST = 60
_NAMES = 30  # names of a column that pictures tell apart


def sampled(blocks: Iterable[Block], columns: Iterable[Column], rows: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return a uniform sample of at most `rows` rows by column: float64 with NaN, or objects: names and None. Embeddings are left out.

    The same blocks and seed give the same sample, and memory holds no more than it and a block.
    """
    random = np.random.default_rng(seed)
    names = [one.name for one in columns if one.kind is not ColumnKind.EMBEDDING]
    ranks: NDArray[np.float64] = np.zeros(0)
    kept: dict[str, NDArray[Any]] = {}
    for block in blocks:
        count = rows_of(block)
        drawn = random.random(count)
        both = np.concatenate([ranks, drawn])
        chosen = np.argsort(both, kind="stable")[:rows]
        old, new = chosen[chosen < ranks.size], chosen[chosen >= ranks.size] - ranks.size
        for name in names:
            before = kept[name][old] if name in kept else np.full(old.size, np.nan)
            values = _values(block[name], new) if name in block else np.full(new.size, np.nan)
            kept[name] = np.concatenate([before, values])
        ranks = np.concatenate([ranks[old], drawn[new]])
    return kept


def drawn(profile: ReferenceProfile, names: Iterable[str], rows: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return `rows` rows drawn from the sketches of a profile, each column on its own; embeddings are left out."""
    random = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        sketch, column = profile.sketches.get(name), profile.schema[name]
        if isinstance(sketch, NumberSketch):
            low, high = lower_bound(sketch.codes), lower_bound(sketch.codes + 1)
            low, high = np.clip([low, high], -1e300, 1e300)
            counts = np.array([*sketch.counts, sketch.missing + sketch.invalid], dtype=np.float64)
            place = random.choice(counts.size, rows, p=counts / counts.sum())
            values = np.append(low, np.nan)[place] + random.random(rows) * np.append(high - low, np.nan)[place] + column.origin
            found[name] = np.clip(values, sketch.minimum, sketch.maximum)
        elif isinstance(sketch, CategorySketch):
            rest = int(sketch.buckets.sum()) - sum(sketch.names.values())
            counts = np.array([*sketch.names.values(), rest, sketch.missing + sketch.invalid], dtype=np.float64)
            table = np.array([*(printable(one, _LONGEST) for one in sketch.names), "(other)", None], dtype=object)
            found[name] = table[random.choice(counts.size, rows, p=counts / counts.sum())]
    return found


def common_names(reference: dict[str, NDArray[Any]], current: dict[str, NDArray[Any]]) -> None:
    """Let both samples tell the same 30 names apart, in place: a picture has a bar for each name, and a table a million of them."""
    for name in reference.keys() & current.keys():
        if reference[name].dtype == object or current[name].dtype == object:
            sides = [np.asarray(side[name], dtype=object) for side in (reference, current)]
            present = [one for side in sides for one in side.tolist() if isinstance(one, str)]
            names, counts = np.unique(np.array(present, dtype=str), return_counts=True) if present else (np.array([]), np.array([]))
            most = set(names[np.argsort(-counts, kind="stable")[:_NAMES]].tolist())
            for whole, side in zip((reference, current), sides, strict=True):
                short = [one if one in most else "(other)" if isinstance(one, str) else None for one in side.tolist()]
                whole[name] = np.array(short, dtype=object)


def _values(data: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    if not isinstance(data, Categories):
        return np.asarray(data, dtype=np.float64)[rows]
    codes = data.codes[rows]
    used = {code: printable(data.names[code], _LONGEST) for code in np.unique(codes).tolist() if code not in (MISSING_CODE, INVALID_CODE)}
    return np.array([used.get(code) for code in codes.tolist()], dtype=object)
