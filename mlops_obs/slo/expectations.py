"""What must fire and be recorded in every story of an SLO, computed once for all SLOs of one shape.

A shape is what the numbers depend on: how events are counted, the budget, the tiers. Names, teams and labels are not part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mlops_obs.slo.scenarios import Scenario, absent_at, told
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.stories import stories
from mlops_obs.slo.story_counts import firing
from mlops_obs.slo.story_figures import Figure, figures, sloth_figures
from mlops_obs.slo.story_pages import Page, pages
from mlops_obs.slo.tiers import Tier


@dataclass(frozen=True, slots=True)
class Expected:
    """One story with what fires, as (tier, group), at each judged minute, and what is recorded at others."""

    scenario: Scenario
    firing: tuple[tuple[int, tuple[tuple[str, str], ...]], ...]
    figures: tuple[tuple[int, tuple[Figure, ...]], ...]
    sloth: tuple[tuple[int, tuple[tuple[str, str, float], ...]], ...]
    pages: tuple[Page, ...]
    """What the burn alerts say at the last judged minute, where the story is about that."""
    absent_at: int | None
    """The minute from which TelemetryAbsent fires, if the story ends without telemetry."""


def expectations(slo: SLO, tiers: Sequence[Tier], among: Sequence[SLO] = ()) -> tuple[Expected, ...]:
    """Return the stories of `slo` with their expectations; none if its series are not known. `among` holds the stages of a chain."""
    if slo.indicator.type == "composite":
        return _compute(slo, tiers, among)
    plain = slo.model_copy(update={"service": "s", "team": "t", "name": "n", "description": "", "labels": {}, "upstream": ()})
    return _of_shape(_Shape(plain, tuple(tiers)))


class _Shape:
    """An SLO without its names, as a key."""

    __slots__ = ("_key", "slo", "tiers")

    def __init__(self, slo: SLO, tiers: tuple[Tier, ...]) -> None:
        self.slo, self.tiers = slo, tiers
        self._key = (
            *(slo.indicator, slo.budget, slo.period, slo.time_zone, slo.budgeting, slo.slice_objective, slo.group_by),
            *(slo.min_bad_events, slo.statistical_bound, slo.expected_traffic, slo.budget_policy, tiers),
        )

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shape) and self._key == other._key


@lru_cache(maxsize=512)
def _of_shape(shape: _Shape) -> tuple[Expected, ...]:
    return _compute(shape.slo, shape.tiers, ())


def _compute(slo: SLO, tiers: Sequence[Tier], among: Sequence[SLO]) -> tuple[Expected, ...]:
    found = []
    for one in stories(slo, tiers, among):
        ledger = told(slo, one, among)
        fires = tuple((minute, firing(ledger, tiers, minute)) for minute in one.judged_at)
        recorded = tuple((minute, tuple(figures(ledger, tiers, minute))) for minute in one.figures_at)
        sloth = tuple((minute, tuple(sloth_figures(ledger, tiers, minute))) for minute in one.figures_at)
        told_in_words = pages(ledger, tiers, fires[-1][1], fires[-1][0]) if one.pages else ()
        found.append(Expected(one, fires, recorded, sloth, told_in_words, absent_at(slo, ledger)))
    return tuple(found)
