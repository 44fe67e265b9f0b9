"""Whose burn it is: the canary's own only where counts by revision prove it, and read with few short questions."""

from __future__ import annotations

import pytest
from budget_cases import LEFT, POLICY, make_slo
from simulated_world import SERVICE

from mlops_obs import metric_names as names
from mlops_obs.rollout.budget import BudgetWatch
from mlops_obs.rollout.burn import BurnMeter, OwnBurn
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.testing.counters import ScriptedCounters

LATENCY = {"type": "latency", "threshold": "250ms"}


def own_burn(counters, slo, spec, arms, began_at, now) -> OwnBurn | None:
    """Read once whose burn it is since `began_at`."""
    return BurnMeter(slo, spec, arms, began_at).read(counters, now)


class PairOfArms:
    """Two arms with the same share of errors, at 20 % and 80 % of 50 requests per second."""

    def __init__(self, seed, errors):
        import numpy as np

        self.random, self.errors, self.began = np.random.default_rng(seed), errors, 1_000_000.0
        self.counters = ScriptedCounters()

    def answer(self, seconds, look_every):
        for revision in ("v1", "v2"):
            self.counters.add_requests(SERVICE, revision)
        self.counters.scrape(self.began)
        for second in range(1, seconds + 1):
            for revision, rate in (("v1", 40), ("v2", 10)):
                total = int(self.random.poisson(rate))
                self.counters.add_requests(SERVICE, revision, total=total, errors=int(self.random.binomial(total, self.errors)))
            if second % 2 == 0:
                self.counters.scrape(self.began + second)
            if second % look_every == 0:
                yield self.began + second


def burning_canary(*, stable=(40, 1), canary=(40, 20), threshold=0.25, seconds=120, **changes):
    """Return counters and the evidence of a canary whose requests are bad, as (all, bad) in two seconds."""
    counters, began = ScriptedCounters(), 1_000_000.0
    for second in range(0, seconds + 2, 2):
        for revision, (total, bad) in (("v1", stable), ("v2", canary)):
            bound = threshold if revision == "v2" else 0.25
            counters.add_requests(SERVICE, revision, total=total, errors=bad, slow=bad, threshold=bound)
        counters.scrape(began - 2 + second)
    spec = Rollout(service=SERVICE, canary="v2", package="/p", **changes)
    return counters, spec, Arms("v1", "v2", True, began), began


def test_a_healthy_canary_is_turned_back_by_policy_in_fewer_than_one_of_a_hundred_rollouts():
    slo, spec = make_slo(objective="0.999"), Rollout(service=SERVICE, canary="v2", package="/p")
    turned_back = 0
    for seed in range(150):
        world = PairOfArms(seed, errors=0.02)  # both arms burn the budget twenty times too fast

        burns = [
            own_burn(world.counters, slo, spec, Arms("v1", "v2", True, 1.0), world.began, at) for at in world.answer(120, look_every=24)
        ]

        turned_back += any(burn is not None and burn.proven for burn in burns)

    assert turned_back <= 2


def test_after_the_first_look_at_most_one_budget_is_read_per_look():
    slos = [make_slo(name=f"slo-{index}") for index in range(6)]
    counters = ScriptedCounters()
    for slo in slos:
        counters.add(LEFT, {"service": SERVICE, "slo": slo.name}, 0.5)
    counters.scrape(999.0)
    watch = BudgetWatch(SERVICE, [*slos, make_slo(name="without", budget_policy=[]), make_slo(service="other")], counters)
    spec, arms = Rollout(service=SERVICE, canary="v2", package="/p"), Arms("v1", "v2", True, None)

    first, asked = watch.look(spec, arms, None, 1_000.0), counters.queries
    costs = []
    for second in range(1, 60):
        before = counters.queries
        counters.scrape(1_000.0 + second)
        watch.look(spec, arms, None, 1_000.0 + second)
        costs.append(counters.queries - before)

    assert (asked, len(first.watched), max(costs)) == (6, 6, 1)
    assert sum(costs) == 6


@pytest.mark.parametrize("indicator", [{"type": "freshness"}, {"type": "boolean", "metric": "probe_success"}])
def test_a_burn_that_cannot_be_told_by_revision_is_nobodys_own(indicator):
    spec = Rollout(service=SERVICE, canary="v2", package="/p")

    assert own_burn(ScriptedCounters(), make_slo(indicator=indicator), spec, Arms("v1", "v2", True, 1.0), 1.0, 60.0) is None


def test_a_canary_that_is_worse_than_stable_but_within_the_objective_burns_nothing():
    generous, strict = make_slo(objective="0.5"), make_slo(objective="0.95")
    counters, spec, arms, began = burning_canary(canary=(40, 6), seconds=360, warm_up="0s")

    burns = {slo.objective: own_burn(counters, slo, spec, arms, began, began + 358) for slo in (generous, strict)}

    assert {float(objective): burn.proven for objective, burn in burns.items()} == {0.5: False, 0.95: True}
    assert burns[generous.objective].log10_e_peak >= burns[generous.objective].log10_bound, "it is worse than stable for sure"


def test_a_canary_without_the_bucket_of_a_latency_objective_is_not_slow_but_unjudged():
    slo = make_slo(indicator=LATENCY)
    (counters, *slow), (others, *missing) = burning_canary(), burning_canary(canary=(40, 0), threshold=0.5)

    assert own_burn(counters, slo, *slow, slow[-1] + 120).proven
    assert own_burn(others, slo, *missing, missing[-1] + 120) is None


def test_a_revision_of_the_same_name_in_another_service_is_not_the_canary():
    counters, spec, arms, began = burning_canary(canary=(40, 1))
    wide = make_slo(indicator={"type": "availability", "total": "calls_total", "bad": 'calls_total{outcome="error"}'})
    for service, bad in ((SERVICE, 1), ("somebody-else", 30)):
        for revision in ("v1", "v2"):
            for second in range(0, 122, 2):
                labels = {"service": service, "revision": revision, "outcome": "error"}
                counters._samples.setdefault(("calls_total", tuple(sorted(labels.items()))), []).append(
                    (began - 2 + second, float(second * (bad if revision == "v2" else 1)))
                )
                fine = {**labels, "outcome": "ok"}
                counters._samples.setdefault(("calls_total", tuple(sorted(fine.items()))), []).append((began - 2 + second, 40.0 * second))

    burn = own_burn(counters, wide, spec, arms, began, began + 120)

    assert burn.canary_total > 1_000
    assert not burn.proven


def test_what_a_cold_canary_did_while_it_warmed_up_is_not_held_against_it_unless_it_is_gross():
    for warm_up, bad, proven in (("0s", 6, True), ("900s", 4, False), ("900s", 38, True)):
        counters, spec, arms, began = burning_canary(canary=(40, bad), seconds=300, warm_up=warm_up, gross_ratio=10.0)

        assert own_burn(counters, make_slo(), spec, arms, began, began + 298).proven is proven, (warm_up, bad)


def test_whose_burn_it_is_costs_one_short_question_per_look():
    counters, spec, arms, began = burning_canary(seconds=1_000)
    meter = BurnMeter(make_slo(), spec, arms, began)
    before = meter.read(counters, began + 900)
    asked, original = [], counters.series
    counters.series = lambda metric, matchers, start, end: asked.append(end - start) or original(metric, matchers, start, end)

    after = meter.read(counters, began + 910)

    assert before.canary_total < after.canary_total == own_burn(counters, make_slo(), spec, arms, began, began + 910).canary_total
    assert max(asked[:2]) < 120


def test_a_gap_in_the_samples_is_nobodys_burn():
    counters, spec, arms, began = burning_canary(canary=(40, 1))
    for _ in range(30):  # a minute in which only the canary failed, and nobody scraped
        counters.add_requests(SERVICE, "v1", total=40)
        counters.add_requests(SERVICE, "v2", total=40, errors=40)
    for second in range(182, 242, 2):
        for revision in ("v1", "v2"):
            counters.add_requests(SERVICE, revision, total=40, errors=1)
        counters.scrape(began - 2 + second)

    burn = own_burn(counters, make_slo(), spec, arms, began, began + 240)

    assert burn.canary_bad < 120
    assert not burn.proven


def test_how_many_bad_events_are_left_is_told_where_the_pace_asks_for_it():
    counters, spec, arms, began = burning_canary(pace="auto", seconds=300)
    counters.add(LEFT, {"service": SERVICE, "slo": "availability"}, 0.5)
    counters.add(LEFT, {"service": SERVICE, "slo": "declared"}, 0.25)
    counters.scrape(began + 300)
    slos = [make_slo(), make_slo(name="declared", expected_traffic="10/s"), make_slo(name="unread", indicator={"type": "drift"})]

    left = BudgetWatch(SERVICE, slos, counters).look(spec, arms, began, began + 300).left
    steps = BudgetWatch(SERVICE, slos, counters).look(spec.model_copy(update={"pace": "steps"}), arms, began, began + 300).left

    month = 30 * 86_400
    assert left == {"availability": pytest.approx(0.5 * 0.05 * 40 * month, rel=0.02), "declared": pytest.approx(0.25 * 0.05 * 10 * month)}
    assert steps == {}


def test_a_clock_that_is_set_back_makes_no_old_reading_current():
    counters = ScriptedCounters()
    counters.add(LEFT, {"service": SERVICE, "slo": "availability"}, 0.5)
    counters.scrape(999.0)
    counters.scrape(999_990.0)
    watch = BudgetWatch(SERVICE, [make_slo()], counters)
    spec, arms = Rollout(service=SERVICE, canary="v2", package="/p"), Arms("v1", "v2", True, None)

    watch.look(spec, arms, None, 1_000_000.0)
    watch.look(spec, arms, None, 1_000.0)

    assert counters.queries == 2


def test_slos_that_may_roll_back_share_alpha_although_only_one_asks_today():
    counters, spec, arms, began = burning_canary()
    slos = [make_slo(), make_slo(name="second"), make_slo(name="third", budget_policy=POLICY[:2])]
    for slo, left in zip(slos, (-1.0, 0.9, 0.9), strict=True):
        counters.add(LEFT, {"service": SERVICE, "slo": slo.name}, left)
    counters.scrape(began + 120)

    found = BudgetWatch(SERVICE, slos, counters).look(spec, arms, began, began + 120)

    assert found.own["availability"].log10_bound == pytest.approx(2.301, abs=0.001)  # 2 / 0.01


def test_a_counter_that_is_no_number_takes_no_other_budget_with_it():
    counters, spec, arms, began = burning_canary()
    counters.add(LEFT, {"service": SERVICE, "slo": "availability"}, -1.0)
    counters.add_requests(SERVICE, "v2", errors=float("nan"))
    counters.scrape(began + 120)

    found = BudgetWatch(SERVICE, [make_slo()], counters).look(spec, arms, began, began + 120)

    assert (found.freeze != "", found.rollback) == (True, "")
    assert "whose burn it is cannot be told for availability" in found.unknown[0]


def test_gpu_time_that_the_training_of_a_canary_wastes_is_no_reason_to_turn_it_back():
    counters, spec, arms, began = burning_canary()
    for second in range(0, 122, 2):
        for revision, wasted in (("v1", 1.0), ("v2", 1.9)):
            for phase, seconds in (("compute", 2.0 - wasted), ("data_wait", wasted)):
                counters.add(names.TRAINING_TIME.name, {"service": SERVICE, "revision": revision, "phase": phase}, seconds * 100)
        counters.scrape(began + 122 + second)

    assert own_burn(counters, make_slo(indicator={"type": "training"}), spec, arms, began + 122, began + 242) is None
