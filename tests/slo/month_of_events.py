"""A month that somebody can check by hand: steady traffic, one incident of a canary, a few failures here and there."""

from __future__ import annotations

from mlops_obs.slo.accounts import SLOT, Act, Fired, Slots, month_bounds
from mlops_obs.slo.spec import SLO

START, END = month_bounds("2026-11", "UTC")
LENGTH = int((END - START) // SLOT)
INCIDENT = 13 * 288 + 109  # 14 November, 09:05


def make(**changes):
    fields = {"service": "shop", "team": "web", "name": "availability", "objective": "0.999", "indicator": {"type": "availability"}}
    return SLO.model_validate({**fields, **changes})


def steady(per_slot=1_000.0, every=0, upto=LENGTH):
    """A failure in every `every`-th slot of `per_slot` events; None from slot `upto` on."""
    bad = [float(bool(every) and index % every == 7) for index in range(upto)]
    return bad + [None] * (LENGTH - upto), [per_slot] * upto + [None] * (LENGTH - upto)


def slots(bad, total):
    return Slots(START, bad, total)


def with_incident(lasts=8, ratio=0.25):
    bad, total = steady(every=97)
    for index in range(INCIDENT, INCIDENT + lasts):
        bad[index] = total[index] * ratio
    return bad, total


class ScriptedHistory:
    """A `History` that answers what it was given."""

    def __init__(self, counts, fired=(), acts=()):
        self._counts, self._fired, self._acts = counts, list(fired), list(acts)

    def counts(self, slo, start, end):
        return self._counts.get(slo.name, {})

    def alerts(self, service, start, end):
        return self._fired

    def acts(self, service, start, end):
        return self._acts


def story():
    """Return SLOs and the history of a month in which a canary spent a budget and on-call was paged."""
    began = START + INCIDENT * SLOT
    slos = [
        make(description="Requests are answered without an error of ours.", group_by=["revision"], objective="0.999"),
        make(name="latency", objective="0.95", indicator={"type": "latency", "threshold": "250ms"}, description="Answers within 250 ms."),
        make(name="freshness", objective="0.99", indicator={"type": "freshness"}),
        make(name="quality", objective="0.9", indicator={"type": "quality", "maturity": "1d", "cohort": "1h"}),
    ]
    bad, total = with_incident(lasts=40)
    canary = [value if INCIDENT <= index < INCIDENT + 40 else 0.0 for index, value in enumerate(bad)]
    slow, timed = steady(every=3)
    slow = [value * 60 + (450.0 if 4_000 <= index < 4_350 else 0.0) for index, value in enumerate(slow)]
    late, reads = steady(200.0, every=400)
    counts = {
        "availability": {(): slots(bad, total), ("v3",): slots(canary, [value / 5 for value in total])},
        "latency": {(): slots(slow, timed)},
        "freshness": {(): slots([None] * 2_000 + late[2_000:], [None] * 2_000 + reads[2_000:])},
    }
    labels = {"service": "shop", "slo": "availability", "severity": "page", "tier": "page-quick", "team": "web"}
    fired = [Fired("AvailabilityBudgetBurn", labels, began + 240, began + 5_000)]
    acts = [Act(began - 100, "advance", "v3"), Act(began + 11_000, "rollback", "v3")]
    return slos, ScriptedHistory(counts, fired, acts)
