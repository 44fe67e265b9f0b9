"""Small histories of a service, told minute by minute, on which both engines must agree, and what an SLO has counted in one.

Long windows are told on the grid that they add up, evaluated every 5 minutes or every hour: a month of minutes would take promtool
minutes. Numbers are whole, and changes stand on the grid: Prometheus extrapolates only what it does not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlops_obs.slo.indicators import Expressions, source
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_cohorts import Cohort, ToldCohorts
from mlops_obs.slo.story_counts import MINUTE, Segment, Told, ToldInSlices, ToldOfChain
from mlops_obs.slo.story_records import Given, ToldInRecords
from mlops_obs.slo.story_series import STALE, History, RecordedCounters, histories_of, voices

__all__ = ["MINUTE", "STALE", "History", "RecordedCounters", "Scenario", "Segment", "absent_at", "histories", "told"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A history by group value ("" if the SLO is not grouped) and the minutes at which its alerts are judged.

    `step` is how often the rules are evaluated, in minutes. At `figures_at` everything that is recorded is judged too. `beside` puts
    decoys beside the series: the same metrics of another service or stage, all bad. `labels` compares every label of its alerts.
    """

    name: str
    history: Mapping[str, Sequence[Segment]]
    judged_at: tuple[int, ...]
    step: int = 1
    figures_at: tuple[int, ...] = ()
    beside: bool = False
    labels: bool = False
    pages: bool = False
    """The text of the burn alerts is compared too, at the last minute that is judged."""
    unborn: frozenset[str] = frozenset()
    """Groups whose counter of bad events was never exported, as none has happened yet."""
    stages: Mapping[tuple[str, str], Mapping[str, Sequence[Segment]]] = field(default_factory=dict)
    """Of a chain: the histories of its stages instead, by (service, slo)."""
    cohorts: Mapping[str, Sequence[Cohort]] = field(default_factory=dict)
    """Of late labels: the cohorts of each group instead; they are gone from minute `gone_at` on."""
    gone_at: int | None = None
    given: Given | None = None
    """Told in recorded counts: nothing is exported then."""

    @property
    def length(self) -> int:
        """How many minutes are told."""
        if not self.history:
            return max(self.judged_at)
        return max(sum(part.minutes for part in segments) for segments in self.history.values())

    @property
    def decoys(self) -> Mapping[str, Sequence[Segment]]:
        """What the series beside do meanwhile: they are all bad, so that whoever counts them is seen."""
        groups = [next(iter(self.history)), *([""] if "" in self.history else [])]
        return {group: [Segment(self.length, good=3, bad=977)] for group in groups}


def told(slo: SLO, scenario: Scenario, among: Sequence[SLO] = ()) -> Told:
    """Return what `slo` has counted in `scenario`; `among` holds the stages of a chain."""
    if scenario.given:
        return ToldInRecords(slo, scenario.given)
    if scenario.cohorts:
        return ToldCohorts(slo, scenario.cohorts, scenario.gone_at)
    if scenario.stages:
        known = {(one.service, one.name): one for one in among}
        return ToldOfChain(slo, [Told(known[ref], history, scenario.step) for ref, history in scenario.stages.items()], scenario.step)
    kind = Told if slo.budgeting == "occurrences" else ToldInSlices
    return kind(slo, scenario.history, scenario.step)


def absent_at(slo: SLO, ledger: Told) -> int | None:
    """Return the minute from which TelemetryAbsent fires in a story that ends without telemetry.

    Where PromQL of the user's own counts, its absence is seen in what is recorded: a rate over 5 minutes answers a little longer.
    """
    if ledger.gone_at is None:
        return None
    return ledger.gone_at + (9 if isinstance(source(slo), Expressions) else 5)


def histories(slo: SLO, scenario: Scenario) -> list[History]:
    """Return the raw series that `scenario` leaves behind, as the instrumentation would export them."""
    return list(histories_of(slo, voices(slo), scenario.history))
