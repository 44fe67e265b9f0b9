"""Whether expectations are met: not by chance, and not said of a handful of rows.

A share is too large when so many rows would be unlikely at the agreed share: P(K >= k) <= exp(-n KL(k/n || p)) (Chernoff's bound;
Hoeffding 1963), below one in ten thousand. Between "within the bound" and "surely beyond it" the answer is inconclusive, which is
never an alarm. A bound of 0 means none: one row fails it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlops_obs.collectors.drift.expectations.document import Expectation
from mlops_obs.collectors.drift.expectations.observe import Observed
from mlops_obs.metric_names import EXPECTATION, EXPECTATION_CHECKS, FEATURE, OUTCOME, REVISION, SERVICE, Reading

CHANCE = 1e-4


class Outcome(StrEnum):
    """The values of the label `outcome`."""

    MET = "met"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation of one column: its `name` (present, type, missing, range, median, values), the outcome, words for people."""

    column: str
    name: str
    outcome: Outcome
    words: str
    share: float
    bound: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "column": self.column,
            "expectation": self.name,
            "outcome": self.outcome.value,
            "share": self.share,
            "at_most": self.bound,
            "words": self.words,
        }


def check(expectations: Mapping[str, Expectation], observed: Mapping[str, Observed]) -> list[Check]:
    """Return every check, in the order of the expectations. A column that was not seen at all has failed to be present."""
    found: list[Check] = []
    rows = max((one.rows for one in observed.values()), default=0)
    for column, of in expectations.items():
        seen = observed.get(column)
        if seen is None:
            outcome = Outcome.FAILED if rows else Outcome.INCONCLUSIVE
            found.append(Check(column, "present", outcome, f"{column}: the column is not there", 1.0, 0.0))
        else:
            found += _of(column, of, seen)
    return found


def failures(checks: list[Check]) -> dict[str, str]:
    """Return {column: words} of the columns with a failed check, its most telling one first (for `causes.cause_of`)."""
    words: dict[str, str] = {}
    for one in checks:
        if one.outcome is Outcome.FAILED:
            words.setdefault(one.column, one.words)
    return words


def _of(column: str, of: Expectation, seen: Observed) -> Iterator[Check]:
    n, present = seen.rows, seen.rows - seen.missing - seen.invalid
    yield Check(column, "present", Outcome.MET if n else Outcome.INCONCLUSIVE, f"{column}: {n} rows", 0.0, 0.0)
    if of.invalid is not None:
        yield _share(column, "type", seen.invalid, n, of.invalid, f"are no {of.type}")
    if of.missing is not None:
        yield _share(column, "missing", seen.missing, n, of.missing, "are missing")
    if of.range is not None and of.outside is not None:
        yield _share(column, "range", seen.outside, n, of.outside, f"are outside of {of.range[0]:g} to {of.range[1]:g}")
    if of.values is not None and of.others is not None:
        yield _share(column, "values", seen.others, n, of.others, "have a name that is not agreed")
    if of.median is not None:
        low = _share(column, "median", seen.below, present, 0.5, f"are below {of.median[0]:g}, and so is the median")
        high = _share(column, "median", seen.above, present, 0.5, f"are above {of.median[1]:g}, and so is the median")
        yield high if high.share > low.share else low


def _share(column: str, name: str, count: int, rows: int, bound: float, what: str) -> Check:
    share = count / rows if rows else 0.0
    words = f"{column}: {_percent(share)} of {rows} values {what}; agreed is at most {_percent(bound)}"
    if not rows:
        return Check(column, name, Outcome.INCONCLUSIVE, f"{column}: no rows", 0.0, bound)
    if share <= bound:
        return Check(column, name, Outcome.MET, words, share, bound)
    sure = bound == 0 or -rows * _divergence(share, bound) < math.log(CHANCE)
    return Check(column, name, Outcome.FAILED if sure else Outcome.INCONCLUSIVE, words, share, bound)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _divergence(share: float, bound: float) -> float:
    """Kullback-Leibler divergence of two coins, in nats."""
    terms = ((share, bound), (1 - share, 1 - bound))
    return sum(p * math.log(p / q) for p, q in terms if p > 0)


class ExpectationMeter:
    """Counts checks of a served model; `read` is registered with the drift collector.

    Args:
        service: label value.
        revision: label value.
        expectations: as agreed; only their columns become labels.
    """

    def __init__(self, service: str, revision: str, expectations: Mapping[str, Expectation]) -> None:
        self._labels = {SERVICE: service, REVISION: revision}
        self.expectations = dict(expectations)
        self._counts: dict[tuple[str, str, Outcome], int] = {}
        self.failed: dict[str, str] = {}

    def look(self, observed: Mapping[str, Observed]) -> list[Check]:
        """Check one window; returns its checks. A window without rows is no check."""
        if not any(one.rows for one in observed.values()):
            return []
        checks = check(self.expectations, observed)
        for one in checks:
            key = (one.column, one.name, one.outcome)
            self._counts[key] = self._counts.get(key, 0) + 1
        self.failed = failures(checks)
        return checks

    def read(self) -> list[Reading]:
        """Return the counts of all checks made so far."""
        return [
            Reading(EXPECTATION_CHECKS, {**self._labels, FEATURE: column, EXPECTATION: name, OUTCOME: outcome.value}, count)
            for (column, name, outcome), count in self._counts.items()
        ]
