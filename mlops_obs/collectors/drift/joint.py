"""The rows as a whole: columns whose margins stay while they begin to move together in another way.

A reference's section `joint` says how a value becomes a score (the normal quantile of its rank in the reference, in sixteenths of a
standard deviation, missing is 0) and keeps integer sums of the scores' powers and of their random Fourier features. A window or table is
summed by the same scores. Everything is a whole number, so that shards merge to the same bytes in any order.

The trap: a change of one margin moves every correlation of that column. Correlations are only judged among columns whose margins are as
before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution.costs import importances
from mlops_obs.collectors.drift.columns import Block, Categories, ColumnKind, Role, rows_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches.codec import join, pack, split, unpack
from mlops_obs.collectors.drift.sketches.fourier import AMPLITUDE, FEATURES, UNIT, fourier_sums
from mlops_obs.collectors.drift.sketches.numbers import NO_VALUE, NumberSketch, codes_of
from mlops_obs.collectors.drift.statistics.correlation import PowerSums, correlation_change, correlations
from mlops_obs.collectors.drift.statistics.mmd import Discrepancy, mmd
from mlops_obs.errors import SpecError

SECTION = "joint"
MOST_COLUMNS = 64
_LARGEST = 3 * UNIT  # scores beyond three standard deviations are three
_CHUNK = 16_384  # rows at a time: bounded memory
_STEPS = np.array([erfc(-(step - 0.5) / UNIT / sqrt(2)) / 2 for step in range(-_LARGEST + 1, _LARGEST + 1)])

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """`borders` and `scores` say what each column's values count as; the rest are sums over `power.rows` rows."""

    columns: tuple[str, ...]
    borders: tuple[NDArray[np.int64], ...]
    scores: tuple[NDArray[np.int64], ...]
    origins: tuple[float, ...]
    power: PowerSums
    sums: NDArray[np.int64]
    products: NDArray[np.int64]

    @classmethod
    def empty(cls, profile: ReferenceProfile, importance: Sequence[str] = ()) -> Joint | None:
        """Return the sums of no rows, with the scores of a reference; None if it has fewer than two columns of numbers that are used.

        Args:
            profile: the reference.
            importance: names, the most important first; decides which columns are kept if there are more than 64.
        """
        unused = {name for name, share in importances(profile).items() if share <= 0}
        known = [
            one.name
            for one in profile.schema
            if one.kind is ColumnKind.NUMBER
            and one.role is not Role.LABEL
            and _varies(profile.sketches[one.name])
            and one.name not in unused
        ]
        ranks = {name: rank for rank, name in enumerate(importance)}
        kept = sorted(known, key=lambda name: ranks.get(name, len(ranks)))[:MOST_COLUMNS]
        names = tuple(name for name in known if name in kept)
        if len(names) < 2:
            return None
        tables = [_scores_of(sketch) for sketch in (profile.sketches[name] for name in names) if isinstance(sketch, NumberSketch)]
        nothing = np.zeros((len(names), len(names)), dtype=np.int64)
        return cls(
            names,
            tuple(borders for borders, _ in tables),
            tuple(scores for _, scores in tables),
            tuple(profile.schema[name].origin for name in names),
            PowerSums(0, nothing, nothing, nothing),
            np.zeros(FEATURES, dtype=np.int64),
            np.zeros((FEATURES, FEATURES), dtype=np.int64),
        )

    def add(self, block: Block) -> Joint:
        """Return these sums with the rows of a block added. Columns that it lacks count as missing."""
        found = self
        for start in range(0, rows_of(block), _CHUNK):
            found = found._add(self._score(block, slice(start, start + _CHUNK)))
        return found

    def merge(self, other: Joint) -> Joint:
        """Return the sums over the rows of both: exact, commutative and associative; both must be of one reference."""
        return replace(self, power=self.power + other.power, sums=self.sums + other.sums, products=self.products + other.products)

    def matches(self, other: Joint) -> bool:
        """Return whether both score values in the same way."""
        return (self.columns, self.origins) == (other.columns, other.origins) and all(
            np.array_equal(mine, theirs) for mine, theirs in zip(self.borders + self.scores, other.borders + other.scores, strict=True)
        )

    def _score(self, block: Block, rows: slice) -> Scores:
        some = next(iter(block.values()))
        count = len(range(*rows.indices(len(some.codes) if isinstance(some, Categories) else len(some))))
        found = np.zeros((count, len(self.columns)))
        for place, name in enumerate(self.columns):
            data = block.get(name)
            if data is None or isinstance(data, Categories) or data.ndim != 1:
                continue
            values = np.asarray(data[rows], dtype=np.float64)
            codes = codes_of(values - self.origins[place] if self.origins[place] else values)
            scores = self.scores[place][np.searchsorted(self.borders[place], codes, side="right")]
            found[:, place] = np.where(codes == NO_VALUE, 0, scores)
        return found

    def _add(self, scores: Scores) -> Joint:
        squares = scores**2
        power = PowerSums(
            len(scores),
            (scores.T @ scores).astype(np.int64),
            (squares.T @ squares).astype(np.int64),
            ((squares * scores).T @ scores).astype(np.int64),
        )
        sums, products = fourier_sums(scores)
        return replace(self, power=self.power + power, sums=self.sums + sums, products=self.products + products)

    def to_bytes(self) -> bytes:
        """Write the section."""
        header = {"columns": self.columns, "origins": [one.hex() for one in self.origins], "rows": self.power.rows}
        tables = [pack(one) for one in self.borders] + [pack(one + 4 * _LARGEST) for one in self.scores]
        matrices = (self.power.products, self.power.squares, self.power.cubes, self.sums, self.products)
        return join([json.dumps(header, separators=(",", ":")).encode(), *tables, *(pack(_zigzag(one.reshape(-1))) for one in matrices)])

    @classmethod
    def from_bytes(cls, content: bytes) -> Joint:
        """Read what `to_bytes` wrote.

        Raises:
            SpecError: OBS-STAT-001 if it is something else.
        """
        try:
            head, *rest = split(content)
            header = json.loads(head)
            columns = tuple(str(name) for name in header["columns"])
            k = len(columns)
            tables, matrices = [unpack(one) for one in rest[: 2 * k]], [_unzigzag(unpack(one)) for one in rest[2 * k :]]
            products, squares, cubes = (one.reshape(k, k) for one in matrices[:3])
            found = cls(
                columns,
                tuple(tables[:k]),
                tuple(one - 4 * _LARGEST for one in tables[k:]),
                tuple(float.fromhex(one) for one in header["origins"]),
                PowerSums(int(header["rows"]), products, squares, cubes),
                matrices[3].reshape(FEATURES),
                matrices[4].reshape(FEATURES, FEATURES),
            )
            if len(matrices) != 5 or any(b.size + 1 != s.size for b, s in zip(found.borders, found.scores, strict=True)):
                raise ValueError("sizes")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SpecError(
                "OBS-STAT-001", f"the section `{SECTION}` is damaged: {error}", todo="write it again with `obs drift profile`"
            ) from error
        return found


def section_from_blocks(profile: ReferenceProfile, blocks: Iterable[Block], importance: Sequence[str] = ()) -> bytes | None:
    """Return the section of a reference from a second pass over its rows; None if it has fewer than two columns of numbers."""
    found = Joint.empty(profile, importance)
    if found is None:
        return None
    for block in blocks:
        found = found.add(block)
    return found.to_bytes()


def current_section(reference: ReferenceProfile, blocks: Iterable[Block]) -> bytes | None:
    """Return the section of a window or table, scored as its reference says; None if the reference has no such section."""
    found = joint_of(reference)
    if found is None:
        return None
    found = without_rows(found)
    for block in blocks:
        found = found.add(block)
    return found.to_bytes()


def joint_of(profile: ReferenceProfile) -> Joint | None:
    """Return a profile's section, if it has one.

    Raises:
        SpecError: OBS-STAT-001 if it is damaged.
    """
    content = profile.sections.get(SECTION)
    return None if content is None else Joint.from_bytes(content)


@dataclass(frozen=True, slots=True)
class PairChange:
    """A pair of columns, its correlation before and now, and the p-value of no change (of this pair alone)."""

    first: str
    second: str
    before: float
    now: float
    p_value: float


def changed_pairs(
    reference: Joint, current: Joint, among: Sequence[str], alpha: float, tolerated: float, effects: Mapping[str, float] | None = None
) -> tuple[list[PairChange], float, float]:
    """Return the pairs whose correlation changed by more than `tolerated`, the largest change, and the smallest p-value (Bonferroni).

    Args:
        reference: sums of the reference.
        current: sums of the window, of the same scores.
        among: columns whose margins are as before.
        alpha: chance that any pair is named without a change.
        tolerated: difference of correlations that is too small to matter.
        effects: rows of a column that one independent row was counted as; of a pair, their geometric mean counts (Bartlett 1935 has the
            product of autocorrelations, which is less).
    """
    places = [place for place, name in enumerate(reference.columns) if name in among]
    pairs = len(places) * (len(places) - 1) // 2
    if not pairs or current.power.rows < 8:
        return [], 0.0, 1.0
    design = np.sqrt([(effects or {}).get(name, 1.0) for name in reference.columns])
    change, z = correlation_change(reference.power, current.power, np.outer(design, design))
    before = correlations(reference.power)
    found, largest, smallest = [], 0.0, 1.0
    for rank, i in enumerate(places):
        for j in places[rank + 1 :]:
            p_value = erfc(abs(float(z[i, j])) / sqrt(2))
            largest, smallest = max(largest, abs(float(change[i, j])), key=abs), min(smallest, p_value)
            if p_value * pairs <= alpha and abs(float(change[i, j])) > tolerated:
                r = float(before[i, j])
                found.append(PairChange(reference.columns[i], reference.columns[j], r, r + float(change[i, j]), p_value))
    return sorted(found, key=lambda one: (one.p_value, one.first, one.second)), largest, min(1.0, smallest * pairs)


def discrepancy(reference: Joint, current: Joint, effect: float = 1.0) -> Discrepancy:
    """Return the maximum mean discrepancy of the rows' scores; `effect` are the rows that one independent row was counted as."""
    return mmd((reference.sums, current.sums), reference.products, (reference.power.rows, current.power.rows), AMPLITUDE, effect)


def _varies(sketch: object) -> bool:
    return isinstance(sketch, NumberSketch) and sketch.codes.size > 1


def _scores_of(sketch: NumberSketch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first buckets of all runs but the first, and the score of each run, centred so that the reference's mean is near 0."""
    filled = np.cumsum(sketch.counts)
    rank = (filled - sketch.counts / 2) / filled[-1]
    scores = np.searchsorted(_STEPS, rank, side="right") - _LARGEST
    scores = scores - int(np.rint((scores * sketch.counts).sum() / filled[-1]))
    starts = np.flatnonzero(np.diff(scores)) + 1
    return sketch.codes[starts], np.concatenate([scores[:1], scores[starts]]).astype(np.int64)


def without_rows(joint: Joint) -> Joint:
    """Return the scores of a section with the sums of no rows: what shards of a table start from."""
    nothing = np.zeros_like(joint.power.products)
    return replace(
        joint, power=PowerSums(0, nothing, nothing, nothing), sums=np.zeros_like(joint.sums), products=np.zeros_like(joint.products)
    )


def _zigzag(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)


def _unzigzag(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.where(numbers % 2 == 1, -(numbers + 1) // 2, numbers // 2)
