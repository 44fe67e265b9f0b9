"""Stories told in recorded counts: what an alert concludes from the counts of its own two windows, and from the budget that is left.

Telling days in raw events takes promtool seconds, and the counts of three days and of thirty are then nearly the same. Here nothing is
exported; the two counts of one tier are there and no other, so an alert that reads another window finds nothing. The trap is a rule that
records the same series: counts of 5 minutes and of an hour are what others are derived from, so tiers that read those are told in events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlops_obs.slo import windows as span
from mlops_obs.slo.scenarios import Scenario
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.stories_of_counters import edge
from mlops_obs.slo.story_counts import GRID, MINUTE
from mlops_obs.slo.story_records import Given
from mlops_obs.slo.tiers import Tier, least_bad_events

_JUST_BELOW = 0.001  # of the budget


def of_records(slo: SLO, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield, for every tier that adds up recorded counts, its edge and the exact threshold of its short window; then the budget's steps."""
    for tier in tiers:
        if {tier.long, tier.short} & {span.BASE, span.HOUR, slo.period_seconds}:
            continue
        judged = (-(-tier.hold // MINUTE) + 1,)
        enough, (bad, total) = edge(slo, tier, sure=True), on_the_threshold(float(tier.threshold))
        fires = Given({tier.long: enough, tier.short: (bad + 1, total)})
        yield Scenario(f"{tier.name} fires on the counts of its own windows", {}, judged, labels=True, given=fires)
        silent = Given({tier.long: enough, tier.short: (bad, total)})
        short_of = float(least_bad_events(slo, tier)) - 0.001
        few = Given({tier.long: (short_of, short_of), tier.short: (bad + 1, total)})
        yield Scenario(f"{tier.name} is silent as long as an event is missing", {}, judged, given=few)
        yield Scenario(f"{tier.name} is silent exactly at the threshold of its short window", {}, judged, given=silent)
    if slo.budget_policy:
        steps = sorted({float(step.below) for step in slo.budget_policy}, reverse=True)
        left = [1.0] * GRID + [value for step in steps for value in (step, step - _JUST_BELOW)]
        minutes = tuple(range(GRID, len(left)))
        yield Scenario("the budget falls below each step of its policy", {}, minutes, labels=True, given=Given(left=left))


def on_the_threshold(threshold: float) -> tuple[float, float]:
    """Return bad and all events of which exactly the share `threshold` is bad, in whole numbers if any are near."""
    for total in (10**power * factor for power in range(8) for factor in (1, 2, 3, 7)):
        if (threshold * total).is_integer():
            return threshold * total, float(total)
    return threshold * 1000, 1000.0
