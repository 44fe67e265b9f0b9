"""What an alarm says: data only, so that the stream, metrics, pages and reports tell the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.collectors.drift.results import Change, Cost, Since


@dataclass(frozen=True, slots=True)
class RowSpan:
    """When a change began, in rows counted from 0: the likeliest row and the interval that holds it with 90 %."""

    row: int
    earliest: int
    latest: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """A change that the budget of false alarms does not explain.

    Args:
        at: when it was raised (Unix seconds; the row number where rows are time).
        row: rows seen until then.
        feature: the feature that contributes most evidence.
        change: what kind of change it looks like.
        since: when it began; None where there is no clock.
        rows: when it began, in rows.
        evidence: the e-value in units of the budget: 1 is just enough, 100 is a hundred times enough.
        shares: each feature's part of the evidence, largest first, in 0..1.
        before: share of the rows (or mean score in standard deviations) that was normal, lowest and highest.
        after: the same since the change.
        words: one line that a person reads first.
    """

    at: float
    row: int
    feature: str
    change: Change
    since: Since | None
    rows: RowSpan
    evidence: float
    shares: Mapping[str, float]
    question: str
    before: tuple[float, float]
    after: float
    words: str = ""
    segment: str = ""
    cost: Cost | None = field(default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the alarm as plain data; `at` is None where rows are time."""
        since = None if self.since is None else {"at": self.since.at, "earliest": self.since.earliest, "latest": self.since.latest}
        return {
            "alarm": True,
            "row": self.row,
            "at": self.at if self.since else None,
            "feature": self.feature,
            "kind": self.change.value,
            "since": {"row": self.rows.row, "earliest_row": self.rows.earliest, "latest_row": self.rows.latest} | (since or {}),
            "evidence": float(f"{self.evidence:.3g}"),
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
            "question": self.question,
            "normal": [round(one, 4) for one in self.before],
            "now": round(self.after, 4) if math.isfinite(self.after) else None,
            "words": self.words,
            **({"segment": self.segment} if self.segment else {}),
        }
