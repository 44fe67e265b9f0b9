"""Pages in 30 days while 99.9 % is exactly met, and seconds from a total outage to the page, simulated as in `false_pages.py`.

Sloth's shape are the Workbook's page tiers with neither evidence nor `for`; Pyrra's have factors 14 and 7 over windows scaled by
30 / 28 days, with a `for` of 2 and 16 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from benchmarks import false_pages
from benchmarks.slo.shapes import OURS, PYRRA, SLOTH
from mlops_obs.slo.low_traffic import Evidence
from mlops_obs.slo.tiers import Tier, bound_is_on, least_bad_events, plan_tiers

SHAPES = (OURS, SLOTH, PYRRA)
_OBJECTIVE, _MONTHS, _OUTAGES = "0.999", 40, 1_000
_PLAIN = Evidence(1, False)


@dataclass(frozen=True)
class Found:
    """At one traffic, per shape: pages in 30 days at the objective, and mean seconds until a total outage pages."""

    per_hour: int
    pages: tuple[float, ...]
    seconds: tuple[float, ...]


def measure() -> list[Found]:
    """Simulate every traffic; all shapes see the same requests."""
    found = []
    for per_hour in false_pages.PER_HOUR:
        slo = false_pages.spec(_OBJECTIVE, f"{per_hour}/h")
        tiers, budget = plan_tiers(slo), float(slo.budget)
        ours = [Evidence(least_bad_events(slo, tier), bound_is_on(slo, tier)) for tier in tiers]
        pyrra = [_pyrra(tier, *shape, slo.budget) for tier, shape in zip(tiers, ((14, 64, 5), (7, 386, 32)), strict=True)]
        rules = ((tiers, ours, (0, 0)), (tiers, [_PLAIN] * 2, (0, 0)), (pyrra, [_PLAIN] * 2, (2, 16)))
        rng = np.random.default_rng(per_hour)
        pages = np.zeros(len(rules))
        for _ in range(_MONTHS // 20):
            total = rng.poisson(per_hour / 60, (20, false_pages.WARM_UP + false_pages.MINUTES)).astype(np.int32)
            bad = rng.binomial(total, budget).astype(np.int32)
            pages += [false_pages.pages(_firing(bad, total, *one)) * 20 / _MONTHS for one in rules]
        before, after = 7 * 60, 60 + 600 * 60 // per_hour
        total = rng.poisson(per_hour / 60, (_OUTAGES, before + after))
        bad = rng.binomial(total, budget)
        bad[:, before:] = total[:, before:]
        fires = [_firing(bad, total, *one) for one in rules]
        quiet = ~np.any([one[:, before - 1] for one in fires], axis=0)
        seconds = [float(np.argmax(one[quiet][:, before:], axis=1).mean() + 0.5) * 60 for one in fires]
        found.append(Found(per_hour, tuple(pages), tuple(seconds)))
    return found


def _pyrra(tier: Tier, factor: int, long: int, short: int, budget: Decimal) -> Tier:
    return replace(tier, factor=Decimal(factor), threshold=factor * budget, long=long * 60, short=short * 60)


def _firing(bad: np.ndarray, total: np.ndarray, tiers: list[Tier], evidence: list[Evidence], holds: tuple[int, ...]) -> np.ndarray:
    """Return per run and minute whether a tier has burned for its `hold` in minutes."""
    found = np.zeros(bad.shape, bool)
    for tier, asked, hold in zip(tiers, evidence, holds, strict=True):
        burns = false_pages.firing(bad, total, [tier], [asked])
        held = burns.copy()
        for minute in range(1, hold + 1):
            held[:, minute:] &= burns[:, :-minute]
        held[:, :hold] = False
        found |= held
    return found
