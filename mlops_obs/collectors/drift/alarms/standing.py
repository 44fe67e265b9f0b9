"""Where the drift of every model stands, from the metrics that its replicas export: what `obs drift watch` shows.

Replicas of a model each see a part of the rows. Rows add up; of evidence, budget and alarms the worst replica counts, because each keeps
a budget of its own.

The trap: a replica that is gone leaves its last sample behind. Samples older than five minutes are no standing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mlops_obs.metric_names import (
    DRIFT_ALARM,
    DRIFT_BUDGET_USED,
    DRIFT_EVIDENCE,
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFT_ROWS_DROPPED,
    FEATURE,
    KIND,
    REVISION,
    SERVICE,
)
from mlops_obs.slo.counters import CounterSource, Series, sum_increase

FRESH = 300.0  # seconds
Model = tuple[str, str]


class State(StrEnum):
    """`idle`: the model exports drift metrics and saw no row lately."""

    STABLE = "stable"
    DRIFTED = "drifted"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Standing:
    """One revision of a model.

    Args:
        rows: seen in the last five minutes.
        dropped: of the rows that came, those overwritten before they were looked at.
        evidence: for a change, of what an alarm needs; None if it is not exported.
        budget_used: share of the budget of false alarms that the last period's alarms are; None if it is not exported.
        alarms: feature -> kind of change, those that are still there.
        scores: feature -> population stability index of its last window, highest first.
    """

    service: str
    revision: str
    rows: float
    dropped: float
    evidence: float | None
    budget_used: float | None
    alarms: Mapping[str, str]
    scores: Mapping[str, float]

    @property
    def state(self) -> State:
        """What it comes to."""
        return State.DRIFTED if self.alarms else State.STABLE if self.rows else State.IDLE

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "service": self.service,
            "revision": self.revision,
            "state": self.state.value,
            "rows": self.rows,
            "dropped": self.dropped,
            "evidence": self.evidence,
            "budget_used": self.budget_used,
            "alarms": dict(self.alarms),
            "psi": dict(self.scores),
        }


def standings(source: CounterSource, now: float, service: str | None = None) -> list[Standing]:
    """Return where every model stands, ordered by name.

    Raises:
        TelemetryUnavailable: the metrics could not be read.
    """
    matchers = {SERVICE: service} if service else {}

    def read(name: str) -> list[Series]:
        return source.series(name, matchers, now - FRESH, now)

    rows, dropped, evidence, used, alarms, scores = (
        read(one.name) for one in (DRIFT_ROWS, DRIFT_ROWS_DROPPED, DRIFT_EVIDENCE, DRIFT_BUDGET_USED, DRIFT_ALARM, DRIFT_PSI)
    )
    found = []
    for model in sorted({_model(one) for group in (rows, evidence, used, alarms, scores) for one in group}):
        mine = [[one for one in group if _model(one) == model] for group in (rows, dropped, evidence, used, alarms, scores)]
        active = {one.labels.get(FEATURE, ""): one.labels.get(KIND, "") for one in mine[4] if one.samples and one.samples[-1][1] > 0}
        psi = {one.labels.get(FEATURE, ""): 0.0 for one in mine[5]}
        for one in mine[5]:
            name = one.labels.get(FEATURE, "")
            psi[name] = max(psi[name], one.samples[-1][1] if one.samples else 0.0)
        found.append(
            Standing(
                *model,
                rows=sum_increase(mine[0], now - FRESH, now),
                dropped=sum_increase(mine[1], now - FRESH, now),
                evidence=_worst(mine[2]),
                budget_used=_worst(mine[3]),
                alarms=dict(sorted(active.items())),
                scores=dict(sorted(psi.items(), key=lambda one: (-one[1], one[0]))),
            )
        )
    return found


def _model(one: Series) -> Model:
    return one.labels.get(SERVICE, ""), one.labels.get(REVISION, "")


def _worst(series: Iterable[Series]) -> float | None:
    return max((one.samples[-1][1] for one in series if one.samples), default=None)
