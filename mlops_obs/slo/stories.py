"""Every story of an SLO, by its kind of source: counters and probes, chains of stages, cohorts whose labels come late.

Nine of them are what people ask about: healthy, fast burn, slow burn, recovery, idle, absent, low traffic, low objective, counter
reset. The others stand right beside a threshold. A story without given minutes is judged at its turns: the minute in which something
begins or ceases to fire, and the one before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlops_obs.slo import windows as span
from mlops_obs.slo.indicators import Cohorts, Counters, Expressions, Parts, source
from mlops_obs.slo.scenarios import Scenario, absent_at, told
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.stories_of_counters import PLENTY, Teller, edge, edges, everyday, long_windows, recorded, short_windows, teller
from mlops_obs.slo.stories_of_records import of_records
from mlops_obs.slo.story_cohorts import Cohort, cohorts_of
from mlops_obs.slo.story_counts import HOUR, MINUTE, Segment, firing
from mlops_obs.slo.story_series import voices
from mlops_obs.slo.tiers import Tier


def stories(slo: SLO, tiers: Sequence[Tier], among: Sequence[SLO] = ()) -> list[Scenario]:
    """Return every story of `slo`, each with the minutes at which it is judged; none if its series are not known.

    Args:
        slo: the objective.
        tiers: its alert tiers.
        among: the SLOs that are known; a chain finds its stages there.
    """
    kind = source(slo)
    if isinstance(kind, Cohorts):
        return [*_of_cohorts(slo, tiers), *of_records(slo, tiers)]
    if isinstance(kind, Parts):
        stages = stages_of(slo, among)
        found = [*_of_chain(slo, tiers, stages), *of_records(slo, tiers)] if stages else []
        return [_judged(slo, tiers, one, stages) for one in found]
    by = teller(slo)
    if by is None:
        return []
    found = [*everyday(by, tiers), *edges(by, tiers), *short_windows(by, tiers), *long_windows(by, tiers), *recorded(by, tiers)]
    return [_judged(slo, tiers, one) for one in (*found, *of_records(slo, tiers))]


def _judged(slo: SLO, tiers: Sequence[Tier], one: Scenario, among: Sequence[SLO] = ()) -> Scenario:
    """Add the turns to the minutes at which `one` is judged, unless they are given."""
    if one.judged_at:
        return one
    ledger = told(slo, one, among)
    before: tuple[tuple[str, str], ...] = ()
    turns: list[int] = []
    for minute in range(one.step, one.length + 1, one.step):
        now = firing(ledger, tiers, minute)
        if now != before:
            turns += [minute - one.step, minute]
        before = now
    gone = absent_at(slo, ledger)
    if gone is not None:
        turns += [gone - (2 if isinstance(source(slo), Expressions) else 1), gone]
    return replace(one, judged_at=tuple(sorted({minute for minute in (*turns, one.length) if minute > 0})))


def stages_of(slo: SLO, among: Sequence[SLO]) -> list[SLO]:
    """Return the stages of the chain `slo`, upstream first; none if stories of one of them cannot be told."""
    kind = source(slo)
    known = {(one.service, one.name): one for one in among}
    found = [known[ref] for ref in kind.of if ref in known] if isinstance(kind, Parts) else []
    plain = [one for one in found if one.budgeting == "occurrences" and isinstance(source(one), Counters | Expressions) and voices(one)]
    return plain if isinstance(kind, Parts) and len(plain) == len(kind.of) else []


def _of_chain(slo: SLO, tiers: Sequence[Tier], stages: Sequence[SLO]) -> Iterator[Scenario]:
    """Yield stories in which one stage fails, and one in which all do."""
    by = Teller(slo, math.ceil(PLENTY / slo.budget), "")
    wanted = ("healthy", "an idle", "a total outage", "a slow burn")
    plain = [one for one in everyday(by, tiers) if one.name.startswith(wanted)]
    for one in [*plain, *short_windows(by, tiers), *long_windows(by, tiers)]:
        yield _at_stages(one, stages, {stages[-1].name: one.history[""]})
    for stage in stages[:-1]:
        broken = Scenario(
            f"a fault at the stage {stage.name} alone burns the chain", {"": by.mix(8, 0.5, 100)}, (8,), figures_at=(8,), labels=True
        )
        yield _at_stages(broken, stages, {stage.name: broken.history[""]})
    everywhere = Scenario("faults of several stages add up", {"": by.mix(12, 0.2, 100)}, (12,), figures_at=(12,), labels=True)
    yield _at_stages(
        everywhere, stages, {stage.name: by.mix(12, 0.1 * (index + 1), 100 * (index + 1)) for index, stage in enumerate(stages)}
    )


def _at_stages(one: Scenario, stages: Sequence[SLO], told_at: Mapping[str, Sequence[Segment]]) -> Scenario:
    calm = [Segment(one.length, good=50)]
    return replace(
        one, stages={(stage.service, stage.name): {"v1" if stage.group_by else "": told_at.get(stage.name, calm)} for stage in stages}
    )  # fmt: skip


def _of_cohorts(slo: SLO, tiers: Sequence[Tier]) -> Iterator[Scenario]:
    """Yield stories of mature and of young cohorts; their ages are put before the story begins."""
    kind, name = cohorts_of(slo), "v1" if slo.group_by else ""
    wait, budget = (kind.cohort + kind.maturity) // MINUTE, float(slo.budget)
    every = math.ceil(PLENTY / slo.budget)

    def aged(minutes: int, share: float, events: int = every) -> Cohort:
        """Return a cohort that became mature `minutes` before the story began."""
        return Cohort(-wait - minutes, events, round(events * share))

    yield Scenario("healthy cohorts stay silent", {}, (3,), cohorts={name: [aged(hour * HOUR, budget / 2) for hour in range(4)]})
    yield Scenario("a cohort that is not mature stays silent until it is", {}, (4, 5, 9, 10), cohorts={name: [aged(-5, 1)]}, labels=True)
    yield Scenario(
        "labels that come late count in the window of their prediction", {}, (3, 4), cohorts={name: [Cohort(-wait - 1, every, 0, every, 4)]}
    )
    yield Scenario("telemetry that is gone is said to be gone", {}, (15, 16), cohorts={name: [aged(100, 0)]}, gone_at=11, labels=True)
    for tier in tiers:
        for sure in (True, False):
            bad, total = edge(slo, tier, sure=sure)
            name_of = f"{'just enough' if sure else 'just not enough'} evidence for {tier.name}"
            yield Scenario(name_of, {}, (2,), cohorts={name: [Cohort(-wait - 1, total, bad)]})
        long, short, thr = tier.long // MINUTE, tier.short // MINUTE, float(tier.threshold)
        over = [aged(short - 4, 1), aged(1, 0.0, round(every * 0.5))]
        yield Scenario(f"{tier.name} ends when the burn leaves its short window", {}, (3, 4), cohorts={name: over})
        left = [aged(long - 4, 1), aged(1, min(thr * 1.2, 1.0), math.ceil(every * 0.01))]
        yield Scenario(
            f"only what is in its long window counts for {tier.name}", {}, (3, 4), cohorts={name: [*left, aged(short, 0.0, every * 5)]}
        )
    windows = sorted({*(window for tier in tiers for window in (tier.long, tier.short)), span.BASE, span.HOUR, slo.period_seconds})
    ladder = [Cohort(-wait - window // MINUTE + 5 - index, 1000 + 100 * index, 30 * index + 7) for index, window in enumerate(windows)]
    beyond = [Cohort(one.start - 60, 5000, 4000) for one in ladder[-1:]]
    yield Scenario(
        "what is recorded of cohorts is what became mature in the window",
        {},
        (1,),
        figures_at=(1,),
        labels=True,
        cohorts={name: [*ladder, *beyond]},
    )
    if slo.group_by:
        pair = {"v1": [aged(2, 0.1)], "v2": [aged(1, 0.5), aged(90, 0.2)]}
        yield Scenario("groups are counted apart and together", {}, (2,), figures_at=(2,), cohorts=pair)
