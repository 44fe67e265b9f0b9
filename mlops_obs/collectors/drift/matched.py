"""References that are like the rows they are compared with: of the same segment, of the same hour of the week.

A segment keeps sketches of its own, at most MOST segments by rows and the rest together. Hours of the week (UTC, 0 is Monday 00:00)
keep only the rows in the cells of the whole reference, and only of columns in which the week is real: the profile over the 168
hours in even weeks must agree with the one in odd weeks. Noise, trends and autocorrelation do not repeat from week to week.

The trap: 168 references of a column without a season are 168 times less certain than one, and say nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import MISSING_CODE, Block, Categories, ColumnData, ColumnKind, Schema, rows_of
from mlops_obs.collectors.drift.partition import CategoryPartition, Partition, cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, Sketch, read_sketch, sketch_bytes
from mlops_obs.collectors.drift.sketches.categories import BUCKETS, bucket_of
from mlops_obs.collectors.drift.sketches.codec import join, pack, split, unpack
from mlops_obs.errors import SpecError

SEGMENTS, SEASONS = "segments", "seasons"
MOST = 32
OTHER = "other segments"
HOURS = 168
LEAST_WEEKS = 3
_MONDAY = 72  # hours from Monday 00:00 to the epoch's Thursday
_AGREEMENT = 0.5  # correlation between even and odd weeks from which a season is real; 168 independent hours reach 0.25 in 1 of 1,000
_SHARE = 0.005  # of the variance of a row's rank that the hour must explain to be worth a reference


def values_of(profile: ReferenceProfile, column: str, least_rows: int = 1) -> list[str]:
    """Return the MOST values of a column of names by rows that have at least `least_rows`: its segments.

    Raises:
        SpecError: OBS-DRF-011 if the column is not there or holds no names.
    """
    known = profile.sketches.get(column)
    if not isinstance(known, CategorySketch):
        todo = "choose a column of categories, or make it one with --schema"
        raise SpecError("OBS-DRF-011", f"{column} holds no names of segments", todo=todo)
    ordered = sorted(known.names.items(), key=lambda one: (-one[1], one[0]))
    return [name for name, rows in ordered[:MOST] if rows >= least_rows]


def profiles_by_segment(blocks: Iterable[Block], schema: Schema, column: str, values: Sequence[str]) -> dict[str, ReferenceProfile]:
    """Profile the rows of each segment: those of `values` that have rows, in that order, and the rest together as OTHER.

    Args:
        blocks: the rows, with the segment's column among them; blocks where it holds no names are "other" as a whole.
        schema: what is profiled.
        column: name of the segment's column.
        values: the segments, as `values_of` or `segments_of` name them.
    """
    whole: dict[str, ReferenceProfile] = {}
    for block in blocks:
        found = block.get(column)
        segment = found if isinstance(found, Categories) else Categories(np.full(rows_of(block), MISSING_CODE, dtype=np.int64), ())
        for value, part in _parts(block, segment, values):
            one = ReferenceProfile.from_block(part, schema)
            whole[value] = whole[value].merge(one) if value in whole else one
    return {value: whole[value] for value in (*values, OTHER) if value in whole}


def segments_section(profile: ReferenceProfile, blocks: Iterable[Block], column: str, *, least_rows: int = 1) -> bytes | None:
    """Return the section `segments`: for each value of a column of names a sketch of every column; None if there are no two values.

    Args:
        profile: of the same rows.
        blocks: the rows, in a second pass.
        column: a category or boolean.
        least_rows: names of fewer rows are kept in hash buckets only, and segments of fewer rows are "other".

    Raises:
        SpecError: OBS-DRF-011 if the column is not there or holds no names.
    """
    values = values_of(profile, column, least_rows)
    if len(values) < 2:
        return None
    found = profiles_by_segment(blocks, profile.schema, column, values)
    header = {"column": column, "values": list(found), "columns": list(profile.schema.names)}
    bodies = [join(sketch_bytes(_private(one.sketches[name], least_rows)) for name in profile.schema.names) for one in found.values()]
    return json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode() + b"\n" + join(bodies)


def segment_column(reference: ReferenceProfile) -> str:
    """Return the name of the column whose segments have references of their own; empty if there is none."""
    return str(_opened(reference, SEGMENTS)[0].get("column", ""))


def segments_of(reference: ReferenceProfile) -> dict[str, ReferenceProfile]:
    """Return the references of all segments by value (OTHER: the rest), in the cells of the whole; empty if there are none.

    Raises:
        SpecError: OBS-DRF-012 if the section is damaged.
    """
    header, body = _opened(reference, SEGMENTS)
    if not header:
        return {}
    try:
        names = [str(name) for name in header["columns"]]
        found = {}
        for value, packed in zip(header["values"], split(body), strict=True):
            blobs = zip(names, split(packed), strict=True)
            sketches = {name: read_sketch(blob, reference.schema[name].kind) for name, blob in blobs}
            found[str(value)] = ReferenceProfile(reference.schema, sketches, whole=reference)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration) as error:
        raise _damaged(SEGMENTS) from error
    return found


def of_segment(reference: ReferenceProfile, value: str) -> ReferenceProfile:
    """Return the reference of a segment; that of the others together, else the whole, if it has none of its own."""
    found = segments_of(reference)
    return found.get(value, found.get(OTHER, reference))


def hour_of_week(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return hours since Monday 00:00 UTC (0 to 167) of moments in Unix seconds; -1 for NaN."""
    hours = np.floor_divide(np.nan_to_num(seconds, nan=0.0, posinf=0.0, neginf=0.0), 3600).astype(np.int64)
    return np.where(np.isfinite(seconds), (hours + _MONDAY) % HOURS, -1)


def seasons_of(profile: ReferenceProfile, blocks: Iterable[Block], time: str) -> tuple[bytes | None, list[str]]:
    """Return the section `seasons` and the columns that have a season; None if none has, or the table spans less than three weeks.

    Args:
        profile: of the same rows.
        blocks: the rows, in a second pass, with the column of time (Unix seconds) among them.
        time: name of that column.
    """
    names = [one.name for one in profile.schema if one.kind is not ColumnKind.EMBEDDING and one.name != time]
    cells = {name: profile.partition(name).expected.size for name in names}
    counts = {name: np.zeros((2, HOURS, size), dtype=np.int64) for name, size in cells.items()}
    first, last = np.inf, -np.inf
    for block in blocks:
        data = block.get(time)
        if data is None or isinstance(data, Categories):
            return None, []
        moments = np.asarray(data, dtype=np.float64)
        hour, finite = hour_of_week(moments), np.isfinite(moments)
        if not finite.any():
            continue
        first, last = min(first, float(moments[finite].min())), max(last, float(moments[finite].max()))
        week = (np.floor_divide(np.where(finite, moments, 0.0), 3600).astype(np.int64) + _MONDAY) // HOURS % 2
        slot = (week * HOURS + hour)[finite]
        for name in names:
            if name in block:
                cell = cells_of(profile.partition(name), block[name])[finite]
                flat = np.bincount(slot * cells[name] + cell, minlength=counts[name].size)
                counts[name] += flat.reshape(counts[name].shape)
    if not last - first >= LEAST_WEEKS * 7 * 86_400:
        return None, []
    seasonal = [name for name in names if is_seasonal(counts[name])]
    if not seasonal:
        return None, []
    header = {"time": time, "columns": {name: cells[name] for name in seasonal}}
    body = pack(np.concatenate([counts[name].sum(axis=0).reshape(-1) for name in seasonal]))
    return json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode() + b"\n" + body, seasonal


def is_seasonal(counts: NDArray[np.int64]) -> bool:
    """Say whether a column has a weekly season, from its rows by (even or odd week, hour of week, cell).

    Rows are scored by the mid-rank of their cell. The covariance over the hours between even and odd weeks estimates the variance that
    the hour explains without the noise of either (a split-half estimate); it must be large enough and the correlation high enough.
    """
    total = counts.sum(axis=(0, 1)).astype(np.float64)
    if total.sum() < HOURS * 2:
        return False
    shares = total / total.sum()
    scores = np.cumsum(shares) - shares / 2
    rows = counts.sum(axis=2)
    filled = (rows > 0).all(axis=0)
    if filled.sum() < HOURS // 2:
        return False
    return any(
        _repeats(counts[:, filled] @ one / rows[:, filled], float(shares @ (one - shares @ one) ** 2))
        for one in (scores, *np.eye(total.size))
    )


def _repeats(means: NDArray[np.float64], variance: float) -> bool:
    even, odd = means - means.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((even @ even) * (odd @ odd)))
    agreed = float(even @ odd)
    return spread > 0 and agreed / spread >= _AGREEMENT and agreed / even.size >= _SHARE * variance


def of_hour(reference: ReferenceProfile, hour: int) -> ReferenceProfile:
    """Return the reference of an hour of the week (0: Monday 00:00 UTC) in the cells of the whole; columns without a season as they are."""
    header, body = _opened(reference, SEASONS)
    if not header:
        return reference
    try:
        numbers, place = unpack(body), 0
        sketches = dict(reference.sketches)
        for name, size in header["columns"].items():
            of_column = numbers[place : place + HOURS * size].reshape(HOURS, size)
            place += HOURS * size
            if of_column[hour % HOURS].any():
                sketches[str(name)] = _coarse(of_column[hour % HOURS], reference.partition(str(name)))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise _damaged(SEASONS) from error
    return ReferenceProfile(reference.schema, sketches, whole=reference)


def _coarse(counts: NDArray[np.int64], partition: Partition) -> Sketch:
    """Return a sketch whose rows lie in the cells as counted; where within a cell is not known."""
    if counts.size != partition.expected.size:
        raise ValueError("cells")
    missing, invalid = int(counts[-2]), int(counts[-1])
    if isinstance(partition, CategoryPartition):
        buckets = np.zeros(BUCKETS, dtype=np.int64)
        names = {name: int(counts[place]) for name, place in partition.names.items() if counts[place]}
        for name, rows in names.items():
            buckets[bucket_of(name)] += rows
        for bucket, place in _one_bucket_each(partition).items():
            buckets[bucket] += counts[place]
        return CategorySketch(dict(sorted(names.items())), buckets, missing, invalid)
    codes = np.append(partition.edges, partition.edges[-1] + 1)
    kept = np.flatnonzero(counts[:-2])
    return NumberSketch(codes[kept], counts[kept], missing, invalid, float("nan"), float("nan"))


def _one_bucket_each(partition: CategoryPartition) -> dict[int, int]:
    """Return a hash bucket for each cell of names that has none of its own name: what lies in it is counted in that cell."""
    cells = partition.hashed or {bucket: partition.cell_of_bucket(bucket) for bucket in range(BUCKETS)}
    first = {place: bucket for bucket, place in reversed(cells.items())}
    return {bucket: place for place, bucket in first.items()}


def _parts(block: Block, segment: Categories, wanted: Sequence[str]) -> Iterator[tuple[str, Block]]:
    numbers = {name: place for place, name in enumerate(wanted)}
    table = np.array([*(numbers.get(name, len(wanted)) for name in segment.names), -1, -1], dtype=np.int64)
    group = table[segment.codes]
    order = np.argsort(group, kind="stable")
    borders = np.searchsorted(group[order], np.arange(len(wanted) + 2))
    for place, value in enumerate((*wanted, OTHER)):
        rows = order[borders[place] : borders[place + 1]]
        if rows.size:
            yield value, {name: _taken(data, rows) for name, data in block.items()}


def _taken(data: ColumnData, rows: NDArray[np.int64]) -> ColumnData:
    return replace(data, codes=data.codes[rows]) if isinstance(data, Categories) else data[rows]


def _private(sketch: Sketch, least_rows: int) -> Sketch:
    return sketch.without_rare(least_rows) if isinstance(sketch, CategorySketch) else sketch


def _opened(reference: ReferenceProfile, section: str) -> tuple[dict[str, Any], bytes]:
    content = reference.sections.get(section)
    if content is None:
        return {}, b""
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError as error:
        raise _damaged(section) from error
    if not isinstance(header, dict):
        raise _damaged(section)
    return header, body


def _damaged(section: str) -> SpecError:
    return SpecError("OBS-DRF-012", f"the section {section} of the reference is damaged", todo="write it again with `obs drift profile`")
