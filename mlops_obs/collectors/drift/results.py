"""What a comparison or an alarm says: data only, so that the command line, reports, metrics and pages tell the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mlops_obs.collectors.drift.columns import ColumnKind, Role


class Verdict(StrEnum):
    """`inconclusive`: too few rows to see a drift of the size that matters."""

    STABLE = "stable"
    DRIFTED = "drifted"
    INCONCLUSIVE = "inconclusive"


class Change(StrEnum):
    """What kind of change a feature shows; the values of `kind` in JSON and of the label of the same name."""

    LOCATION = "location"
    SCALE = "scale"
    TAIL = "tail"
    SHAPE = "shape"
    MISSING = "missing"
    INVALID = "invalid"  # values of another type
    NEW_CATEGORY = "new_category"
    FREQUENCIES = "frequencies"  # known categories in other shares
    UNIT = "unit"  # every value multiplied by one factor
    CORRELATION = "correlation"  # margins as before, the features move together in another way
    EMBEDDING = "embedding"
    CONCEPT = "concept"  # features as before, errors up
    GONE = "gone"  # the column is not there any more
    TYPE = "type"  # the column is of another type


@dataclass(frozen=True, slots=True)
class Since:
    """When a change began: the likeliest moment and the interval that holds it with 90 % (Unix seconds)."""

    at: float
    earliest: float
    latest: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What a change is predicted to cost, with 90 % intervals: difference of AUC; money per 1,000 predictions (reference's currency)."""

    auc: float
    auc_low: float
    auc_high: float
    money: float | None = None
    money_low: float | None = None
    money_high: float | None = None


@dataclass(frozen=True, slots=True)
class FeatureResult:
    """One feature compared with its reference.

    `statistics` by the literature's names: psi, ks, jensen_shannon, wasserstein, total_variation, chi_square, p_value, missing,
    invalid, unseen (shares of the current rows), and *_reference where the reference's own share is worth showing.
    """

    name: str
    column: ColumnKind
    verdict: Verdict
    kind: Change | None
    statistics: Mapping[str, float]
    words: str = ""  # one line that a person reads first
    role: Role = Role.FEATURE
    importance: float | None = None
    cost: Cost | None = None
    since: Since | None = None

    @property
    def alarm(self) -> bool:
        """Whether this feature has drifted."""
        return self.verdict is Verdict.DRIFTED


@dataclass(frozen=True, slots=True)
class Comparison:
    """A window or table against its reference. `problems`: what could not be compared, a line each; `segment`: empty for all rows."""

    verdict: Verdict
    features: tuple[FeatureResult, ...]
    rows_reference: int
    rows_current: int
    problems: tuple[str, ...] = ()
    joint: Mapping[str, float] = field(default_factory=dict)  # statistics of the rows as a whole: correlation, mmd, domain_auc
    segment: str = ""

    @property
    def alarm(self) -> bool:
        """Whether anything has drifted."""
        return self.verdict is Verdict.DRIFTED
