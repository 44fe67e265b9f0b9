"""What a model's training rows say about the cost of a feature: counts of cell x score x label, kept in the reference's section `impact`.

From these counts, and no rows, `costs` predicts what a change of the feature does to AUC and to money. `pairs` and `lost` make a
broken feature's cost honest: the model was asked at training time how it would score a sample of rows if this feature were in each
cell. Which bad row then outranks which good one is counted exactly; bins would lose it where a broken feature drives all scores to 1.
The sample is counted in groups, whose differences give the interval.

The trap: money is kept in integer minor units (cents), so that sums do not depend on the order of rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches.codec import join, pack, split, unpack
from mlops_obs.errors import SpecError

SECTION = "impact"
BINS = 20  # of scores
GROUPS = 8
MINOR = 100  # minor units in a unit of money

Counts = NDArray[np.int64]
_NOTHING: Counts = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureImpact:
    """One feature's share in the predictions.

    Args:
        rows: (cells, bins, 2) training rows by the feature's cell, score bin and label.
        money: same shape: money at stake in these rows, in minor units; empty if it is not known.
        pairs: (groups, 1 + cells, 1 + cells) pairs of the sample, counted twice where a bad row scores above a good one and once where
            they tie: the bad row as it is (0) or with the feature in cell k (1 + k), the good one likewise; empty if nobody asked.
        lost: (groups, 1 + cells, 2) money that the decisions on good and bad rows of the sample cost then, in minor units.
        importance: what AUC loses when this feature's values are shuffled among the rows; None if it is not known.
    """

    rows: Counts
    money: Counts = field(default_factory=lambda: _NOTHING)
    pairs: Counts = field(default_factory=lambda: _NOTHING)
    lost: Counts = field(default_factory=lambda: _NOTHING)
    importance: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Impact:
    """The section `impact`.

    Args:
        edges: (bins - 1,) scores between the bins, rising; a score at an edge is in the upper bin.
        cut: rows in this bin and above are flagged (declined, blocked, reviewed).
        features: by name.
        sample: (groups, 2) good and bad rows about which the model was asked; empty if it was not.
        currency: of money, as a person writes it.
    """

    edges: NDArray[np.float64]
    cut: int
    features: Mapping[str, FeatureImpact]
    sample: Counts = field(default_factory=lambda: _NOTHING)
    currency: str = ""

    @property
    def calibration(self) -> Counts:
        """(bins, 2) training rows by score bin and label: `[:, 1] / sum` is the calibrated probability of a score in the bin."""
        table: Counts = next(iter(self.features.values())).rows.sum(axis=0)
        return table

    def bin_of(self, scores: NDArray[np.float64]) -> Counts:
        """Return the bin of each score."""
        return np.searchsorted(self.edges, scores, side="right").astype(np.int64)

    def merge(self, other: Impact) -> Impact:
        """Return the impact of both shards' rows; importances are means weighted by rows.

        Raises:
            SpecError: OBS-ATT-002 if the shards were counted with different edges, cells or features.
        """
        try:
            if not np.array_equal(self.edges, other.edges) or self.cut != other.cut or set(self.features) != set(other.features):
                raise ValueError("edges or features differ")
            merged = {name: _merged(one, other.features[name]) for name, one in self.features.items()}
            return Impact(self.edges, self.cut, merged, self.sample + other.sample, self.currency)
        except ValueError as error:
            raise SpecError("OBS-ATT-002", f"the shards do not fit: {error}", todo="count all shards with one profile") from error

    def to_bytes(self) -> bytes:
        """Serialise; the same counts give the same bytes."""
        about = {
            "version": 1,
            "edges": [float(one).hex() for one in self.edges],
            "cut": self.cut,
            "currency": self.currency,
            "features": [
                {"name": name, "cells": one.rows.shape[0]} | ({} if one.importance is None else {"importance": float(one.importance).hex()})
                for name, one in self.features.items()
            ],
        }
        arrays = [self.sample]
        for one in self.features.values():
            arrays += [one.rows, one.money, one.pairs, one.lost]
        return json.dumps(about, separators=(",", ":")).encode() + b"\n" + join(pack(array.reshape(-1)) for array in arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> Impact:
        """Read what `to_bytes` wrote.

        Raises:
            SpecError: OBS-ATT-003 if it is something else.
        """
        try:
            line, _, packed = content.partition(b"\n")
            about = json.loads(line)
            if about["version"] != 1:
                raise ValueError(f"version {about['version']}")
            edges = np.array([float.fromhex(one) for one in about["edges"]])
            bins, blobs = edges.size + 1, split(packed)
            sample = _shaped(next(blobs), (-1, 2))
            features = {}
            for one in about["features"]:
                shape = (int(one["cells"]), bins, 2)
                features[str(one["name"])] = FeatureImpact(
                    _shaped(next(blobs), shape),
                    _shaped(next(blobs), shape),
                    _shaped(next(blobs), (-1, shape[0] + 1, shape[0] + 1)),
                    _shaped(next(blobs), (-1, shape[0] + 1, 2)),
                    float.fromhex(one["importance"]) if "importance" in one else None,
                )
                if any(len(part) not in (0, len(sample)) for part in (features[str(one["name"])].pairs, features[str(one["name"])].lost)):
                    raise ValueError("groups do not fit")
            return cls(edges, int(about["cut"]), features, sample, str(about["currency"]))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, StopIteration, OverflowError, RecursionError) as error:
            raise SpecError("OBS-ATT-003", f"not an impact section: {error}", todo="write the profile again") from error


def impact_of(reference: ReferenceProfile) -> Impact | None:
    """Return a reference's section `impact`; None if it has none.

    Raises:
        SpecError: OBS-ATT-003 if the section cannot be read.
    """
    content = reference.sections.get(SECTION)
    return _read(content) if content else None


@lru_cache(maxsize=4)
def _read(content: bytes) -> Impact:
    return Impact.from_bytes(content)


def _shaped(blob: bytes, shape: tuple[int, ...]) -> Counts:
    numbers = unpack(blob)
    return numbers.reshape(shape) if numbers.size else numbers


def _merged(one: FeatureImpact, other: FeatureImpact) -> FeatureImpact:
    importance = None
    if one.importance is not None and other.importance is not None:
        n, m = int(one.rows.sum()), int(other.rows.sum())
        importance = (one.importance * n + other.importance * m) / max(n + m, 1)
    return FeatureImpact(
        one.rows + other.rows,
        one.money + other.money,
        one.pairs + other.pairs,
        one.lost + other.lost,
        importance,
    )
