"""How much a feature varies by itself: the section `natural` of a reference, rows by cell for blocks of the training data by time.

Ten thousand rows of an hour may be worth five hundred independent ones (autocorrelation), and a Monday differs from a Sunday without
anything being wrong (wander). Both are read off blocks: the variance between block means beyond what independent rows would show.

    V(b) = D s^2 / b + w^2      b rows in a block, s^2 variance of one row, D design effect (Kish), w wander

Two block sizes (b and 4 b) give D and w by the method of moments; neither is believed unless its chi-square says so at 1 %, for
blocks of independent rows vary too.

The trap: only data in the order of time says this. A table sorted by a feature would show a huge wander and blind its detectors; where
nobody vouches for the order, features that look sorted or grouped are left out.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.columns import Block, ColumnKind, Role, rows_of
from mlops_obs.collectors.drift.partition import Cells, cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError

SECTION = "natural"
BLOCKS = 64
_LEAST_ROWS = 8  # in a block
_SORTED, _STEADY, _GROUPED = 0.95, 0.5, 0.25
_Z = 2.326  # 1 % in one tail


@dataclass(frozen=True, slots=True)
class Variation:
    """`effect`: rows that one independent row was counted as (1 or more); `wander`: standard deviation of a block's mean beyond chance."""

    effect: float = 1.0
    wander: float = 0.0


STILL = Variation()


@dataclass(frozen=True, slots=True, eq=False)
class Natural:
    """Rows by cell of each block, feature by feature: arrays (blocks, cells), blocks in the order of time."""

    counts: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, cells: Mapping[str, Cells], sizes: Mapping[str, int]) -> Natural:
        """Cut rows in the order of time into blocks: `cells` (rows,) by feature, `sizes` the number of cells of each."""
        found = {}
        for name, one in cells.items():
            blocks = min(BLOCKS, one.size // _LEAST_ROWS)
            if blocks < 2:
                continue
            block = np.arange(one.size) * blocks // one.size
            flat = np.bincount(block * sizes[name] + one, minlength=blocks * sizes[name])
            found[name] = flat.reshape(blocks, sizes[name]).astype(np.int64)
        return cls(found)

    def variation(self, feature: str, scores: NDArray[np.float64], given: NDArray[np.bool_] | None = None) -> Variation:
        """Return how the mean of `scores` (cells,) varies between blocks; `given` (cells,) leaves the other cells' rows out."""
        counts = self.counts.get(feature)
        if counts is None or counts.shape[1] != scores.size:
            return STILL
        rows = counts.astype(np.float64) * (1.0 if given is None else given)
        total = rows.sum(axis=0)
        n = float(total.sum())
        if n < 2 * _LEAST_ROWS:
            return STILL
        mean = float(total @ scores) / n
        variance = float(total @ (scores - mean) ** 2) / n
        if variance <= 0:
            return STILL
        fine = _between(rows, scores, mean, 1)
        coarse = _between(rows, scores, mean, 4)
        effect = fine[1] / (variance / fine[2]) if fine[2] else 1.0
        wide = coarse[1] / (variance / coarse[2]) if coarse[2] else effect
        if wide <= _critical(coarse[0]):
            return Variation(max(1.0, effect, wide) if effect > _critical(fine[0]) else 1.0)
        wander = max(0.0, (4 * coarse[1] - fine[1]) / 3)
        short = max(fine[2] * (fine[1] - wander) / variance, sqrt(max(effect, 1.0)))  # never none of it: the two are told apart badly
        wander *= 1 + 2 * sqrt(2 / max(coarse[0], 1))  # of few blocks: it may be larger than it looks
        return Variation(min(max(1.0, short), fine[2]), sqrt(wander))

    def unlikely(self) -> list[str]:
        """Return the features whose order of rows is no order of time: sorted, or grouped.

        Sorted: the blocks go steadily one way (|rank correlation with the block's number| > 0.95). Grouped: they wander by more than a
        quarter of a standard deviation.
        """
        found = []
        for name, counts in self.counts.items():
            places = np.arange(counts.shape[1], dtype=np.float64)
            rows = counts.sum(axis=1)
            centre = (counts @ places) / np.maximum(rows, 1)
            ranks = np.argsort(np.argsort(centre, kind="stable"), kind="stable")
            steady = np.ptp(centre) > _STEADY and abs(float(np.corrcoef(ranks, np.arange(ranks.size))[0, 1])) > _SORTED
            total = counts.sum(axis=0)
            spread = sqrt(float(total @ (places - float(total @ places) / max(total.sum(), 1)) ** 2) / max(total.sum(), 1))
            if (counts.shape[0] >= _LEAST_ROWS and steady) or self.variation(name, places).wander > _GROUPED * spread:
                found.append(name)
        return found

    def to_bytes(self) -> bytes:
        """Serialise; the same counts give the same bytes."""
        body = {
            name: [list(one.shape), base64.b64encode(zlib.compress(one.astype("<i8").tobytes(), 9)).decode("ascii")]
            for name, one in self.counts.items()
        }
        return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Natural:
        """Read what `to_bytes` wrote.

        Raises:
            SpecError: OBS-ALM-002 if it is something else.
        """
        try:
            body = json.loads(data)
            return cls({str(name): _array(shape, packed) for name, (shape, packed) in body.items()})
        except (ValueError, TypeError, AttributeError, zlib.error) as error:
            raise SpecError(
                "OBS-ALM-002",
                f"the section of natural variation is damaged: {error}",
                todo="write the profile again with `obs drift profile`",
            ) from error


def section_from_blocks(profile: ReferenceProfile, blocks: Iterable[Block], *, by_time: bool = False) -> bytes | None:
    """Return the section for a profile from the rows that it was made of, in their order; None if that says nothing.

    Args:
        by_time: whether somebody vouches that this is the order of time. Otherwise features that look sorted or grouped are left out.
    """
    names = [one.name for one in profile.schema if one.kind is not ColumnKind.EMBEDDING and one.role is not Role.LABEL]
    rows = profile.rows
    wanted = min(BLOCKS, rows // _LEAST_ROWS)
    if wanted < 2 or not names:
        return None
    counts = {name: np.zeros((wanted, profile.partition(name).expected.size), dtype=np.int64) for name in names}
    done = 0
    for block in blocks:
        size = rows_of(block)
        place = np.minimum((done + np.arange(size)) * wanted // rows, wanted - 1)
        for name, found in counts.items():
            if name in block:
                flat = place * found.shape[1] + cells_of(profile.partition(name), block[name])
                found += np.bincount(flat, minlength=found.size).reshape(found.shape)
        done += size
    left_out = set() if by_time else set(Natural(counts).unlikely())
    kept = {name: found for name, found in counts.items() if name not in left_out}
    return Natural(kept).to_bytes() if kept else None


def _array(shape: Sequence[int], packed: str) -> NDArray[np.int64]:
    rows, cells = (int(one) for one in shape)
    if not (0 < rows <= 10_000 and 0 < cells <= 10_000):
        raise ValueError(f"shape {rows} x {cells}")
    plain = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), rows * cells * 8 + 1)
    return np.frombuffer(plain, dtype="<i8").reshape(rows, cells).astype(np.int64)


def _between(rows: NDArray[np.float64], scores: NDArray[np.float64], mean: float, merged: int) -> tuple[int, float, float]:
    """Return (blocks, variance of the block means about the whole mean, rows in a block) with `merged` blocks taken together."""
    blocks = rows.shape[0] // merged
    if blocks < 3:
        return 0, 0.0, 0.0
    together = rows[: blocks * merged].reshape(blocks, merged, -1).sum(axis=1)
    size = together.sum(axis=1)
    together, size = together[size > 0], size[size > 0]
    if size.size < 3:
        return 0, 0.0, 0.0
    means = together @ scores / size
    # weighted by rows, so that blocks in which most rows are missing do not count as much
    variance = float((size * (means - mean) ** 2).sum() / size.sum()) * size.size / (size.size - 1)
    return int(size.size), variance, float(size.size / (1 / size).sum())


def _critical(blocks: int) -> float:
    """Return what the variance ratio of `blocks` independent blocks exceeds in 1 % of cases (chi-square/df, Wilson and Hilferty 1931)."""
    df = max(blocks - 1, 1)
    return (1 - 2 / (9 * df) + _Z * sqrt(2 / (9 * df))) ** 3
