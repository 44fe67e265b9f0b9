"""What can be wrong between two sides of a request, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class SkewKind(StrEnum):
    """How a value differs between two sides; the values of the label `kind`."""

    EQUAL = "equal"
    MISSING = "missing"  # the later side has nothing where the earlier one has a value
    DEFAULT_FILLED = "default_filled"  # one value stands in for many
    UNIT = "unit"  # a factor, a scale or a function: cents for euros, a logarithm, standardised twice
    PRECISION = "precision"  # rounded, cut off, or kept in fewer bits
    TIME_ZONE = "time_zone"  # whole hours apart, or days that begin whole hours apart
    ENCODING_SWAP = "encoding_swap"  # names or codes stand for one another
    LATE_ARRIVAL = "late_arrival"  # offline has events that had not arrived when the value was served
    STALE = "stale"  # an older value of the same entity
    OTHER = "other"


class Between(StrEnum):
    """Which two sides are compared, the earlier one first; the values of the label `between`."""

    OFFLINE_ONLINE = "offline_online"
    ONLINE_INPUT = "online_input"
    OFFLINE_INPUT = "offline_input"  # where the online side was not logged

    @property
    def sides(self) -> tuple[str, str]:
        """Names of the two sides, as people read them."""
        left, _, right = self.value.partition("_")
        return left, right


@dataclass(frozen=True, slots=True)
class Finding:
    """One feature that differs between two sides beyond what is tolerated.

    Args:
        feature: its name.
        between: the two sides.
        kind: how it differs; `other` while no transformation explains the differences.
        transformation: the formula, such as "online = offline x 100"; empty for `other`.
        words: one line that a person reads first.
        pairs: distinct pairs looked at since the difference began.
        differing: how many of them differ.
        explained: share of the differing ones that the transformation gives exactly.
        since: when the first pair of the difference was served (Unix seconds).
        evidence: log10 of the odds of this kind against an unexplained difference.
        revision: of the model that was served; empty for all.
    """

    feature: str
    between: Between
    kind: SkewKind
    transformation: str
    words: str
    pairs: int
    differing: int
    explained: float
    since: float
    evidence: float
    revision: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "feature": self.feature,
            "between": self.between.value,
            "kind": self.kind.value,
            "transformation": self.transformation,
            "words": self.words,
            "pairs": self.pairs,
            "differing": self.differing,
            "explained": round(self.explained, 4),
            "since": self.since,
            "evidence": round(self.evidence, 2),
            "revision": self.revision,
        }
