"""Rollouts obey budget policies: warn is told, freeze holds the next step up, rollback needs a burn that is the canary's own."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_world import HEALTHY, SERVICE, World
from typer.testing import CliRunner

from mlops_obs import metric_names as names
from mlops_obs.cli import rollout as rollout_command
from mlops_obs.cli.rollout.view import history_line, tree
from mlops_obs.errors import TargetError
from mlops_obs.rollout.budget import NO_BUDGET, Budget, BudgetWatch
from mlops_obs.rollout.burn import BurnMeter, own_burn
from mlops_obs.rollout.decide import decide, settle
from mlops_obs.rollout.evidence import Arms
from mlops_obs.rollout.judge import Verdict
from mlops_obs.rollout.readings import rollout_readings
from mlops_obs.rollout.spec import Rollout
from mlops_obs.rollout.state import Deploy, Request, RolloutState, Seen, SetWeights
from mlops_obs.slo.policy import in_force
from mlops_obs.slo.spec import SLO
from mlops_obs.testing.counters import ScriptedCounters
from mlops_obs.testing.targets import FakeTarget

POLICY = [{"below": "0.25", "action": "warn"}, {"below": "0.10", "action": "freeze"}, {"below": "0.02", "action": "rollback"}]
LEFT = names.SLO_BUDGET_REMAINING


def make_slo(**changes):
    fields = {"service": SERVICE, "team": "risk", "name": "availability", "objective": "0.95", "indicator": {"type": "availability"}}
    return SLO.model_validate({**fields, "budget_policy": POLICY, **changes})


def spend(world, left, name="availability"):
    """Let the rules record that `left` of a budget is left, from the next scrape on."""
    labels = {"service": SERVICE, "slo": name}
    now = world.counters._values.get((LEFT, tuple(sorted(labels.items()))), 0.0)
    world.counters.add(LEFT, labels, left - now)


def world_of(folder, left, *, slos=None, **changes):
    world = World(folder, slos=slos or [make_slo()], **changes)
    spend(world, left)
    world.start()
    return world


def records(world):
    return world.store.records(SERVICE)


def test_a_full_budget_changes_nothing(tmp_path):
    world = world_of(tmp_path, 0.9)

    assert world.run(240).phase == "Promoted"
    assert (world.state.budget, world.state.policy) == ("", {})


def test_warn_is_told_and_the_rollout_goes_on(tmp_path):
    world = world_of(tmp_path, 0.2)

    state = world.run(240)

    assert state.phase == "Promoted"
    told = [one["evidence"].get("budget", {}).get("in_force") for one in records(world) if one["kind"] == "decision"]
    assert [{"slo": "availability", "action": "warn", "below": 0.25, "remaining": 0.2}] in told
    assert any("budget of availability: 20.0% left, below 25.0%: warn" in history_line(one) for one in records(world))


def test_freeze_holds_the_next_step_up_and_says_why_until_the_budget_is_back(tmp_path):
    world = world_of(tmp_path, 0.9, spec={"step_duration_min": "40s"})
    controller = world.controller()
    world.run(60, controller, until=lambda one: one.step == 0 and one.step_started_at is not None)
    spend(world, 0.06)
    frozen = world.run(120, controller)
    shown = "\n".join(tree(frozen, None, None, world.now))
    readings = rollout_readings(frozen, [], None)
    spend(world, 0.5)
    thawed = world.run(240, controller)

    assert (frozen.phase, frozen.step, world.target.history[2:3]) == ("Holding", 0, [{"v1": 50, "v2": 50}])
    assert "promotions are frozen: 6 % of the 30d error budget of availability is left (freeze below 10 %)" in frozen.reason
    assert "Budget:      promotions are frozen" in shown
    assert {tuple(one.labels.items()): one.value for one in readings if one.metric is names.ROLLOUT_POLICY} == {
        (("service", SERVICE), ("slo", "availability"), ("action", "freeze")): 1.0
    }
    assert thawed.phase == "Promoted"


def test_the_first_step_is_frozen_too_and_the_canary_is_only_made_ready(tmp_path):
    world = world_of(tmp_path, 0.05)

    state = world.run(60)

    assert (state.phase, state.deployed, world.share) == ("Holding", True, 0)


def test_a_frozen_rollout_does_not_run_into_its_deadline(tmp_path):
    world = world_of(tmp_path, 0.05, spec={"deadline": "60s", "on_inconclusive": "rollback"})
    controller = world.controller()
    world.run(90, controller)
    spend(world, 0.9)

    state = world.run(55, controller)

    assert state.phase == "Promoted"
    assert state.frozen_for > 85


def test_a_person_may_pass_a_frozen_step_and_is_recorded(tmp_path):
    world = world_of(tmp_path, 0.05)
    controller = world.controller()
    world.run(30, controller)
    world.ask("promote", "the fix for what spent the budget")

    state = world.run(20, controller)

    assert (state.step, world.share) == (0, 20)
    assert any(one["action"] == "promote" and one["actor"] == "ada" for one in records(world))


def test_an_unknown_budget_starts_no_freeze_and_ends_none(tmp_path):
    watched = make_slo(name="drift", indicator={"type": "drift"})
    world = World(tmp_path, slos=[watched])
    world.start()
    never_seen = world.run(240)

    state = RolloutState(
        id="x", spec=never_seen.spec, created_at=0.0, stable="v1", deployed=True, desired={"v1": 100}, previous={"v1": 100}, frozen_at=5.0,
        policy={"drift": "freeze"}, plan=never_seen.spec.steps,
    )  # fmt: skip
    unknown = Budget(unknown=("the error budget of drift cannot be read: 503",), watched=("drift", "latency"), unread=("drift",))
    kept = decide(state, Seen({"v1": 100}, Verdict("undecided", "no traffic yet"), budget=unknown), 9.0)
    still = decide(kept.state, Seen({"v1": 100}, Verdict("undecided", "no traffic yet"), budget=unknown), 10.0)
    others = replace(unknown, unread=("latency",))
    thawed = decide(still.state, Seen({"v1": 100}, Verdict("undecided", "no traffic yet"), budget=others), 11.0)

    assert (still.action, still.state.policy) == (None, {"drift": "freeze"})
    assert thawed.state.frozen_at is None, "drift can be read again and asks for nothing; latency never asked for a freeze"
    assert isinstance(thawed.action, SetWeights)
    assert never_seen.phase == "Promoted"
    assert "nothing is counted for drift" in never_seen.budget
    assert (kept.action, kept.state.phase) == (None, "Holding")
    assert "promotions stay frozen" in kept.reason


def test_a_spent_budget_alone_never_rolls_back_a_canary_that_is_as_good_as_stable(tmp_path):
    for seed, both in ((1, HEALTHY), (2, (0.3, 0.3))):  # a healthy pair, and an incident that both share
        (tmp_path / str(seed)).mkdir()
        world = world_of(tmp_path / str(seed), 0.9, stable=both, canary=both, seed=seed, spec={"step_duration_min": "40s"})
        controller = world.controller()
        world.run(40, controller, until=lambda one: one.step == 0 and one.step_started_at is not None)
        spend(world, -3.0)

        state = world.run(100, controller)

        assert (state.goal, state.over, world.share) == ("forward", False, 20)


def test_a_canary_that_burns_the_spent_budget_itself_is_turned_back_although_its_spec_would_tolerate_it(tmp_path):
    tolerant = {"least_detectable_ratio": 30.0, "non_inferiority_margin": 0.9, "slow_margin": 0.9, "step_duration_min": "500s"}
    for left, phase in ((0.9, "Progressing"), (-0.2, "RolledBack")):
        folder = tmp_path / phase
        folder.mkdir()
        world = world_of(folder, 0.9, canary=(0.2, 0.01), stable=(0.02, 0.01), spec=tolerant)
        controller = world.controller()
        world.run(40, controller, until=lambda one: one.step == 0 and one.step_started_at is not None)
        spend(world, left)

        state = world.run(150, controller)

        assert state.phase == phase
        if phase == "RolledBack":
            assert "nothing of the 30d error budget of availability is left (rollback below 2 %), and the canary burns it" in state.why
            decided = next(one for one in records(world) if one["action"] == "rollback" and one["kind"] == "decision")
            assert decided["evidence"]["budget"]["own_burn"]["availability"]["proven"] is True
            assert world.share == 0


def test_no_policy_asks_for_a_rollback_unless_the_spec_says_so(tmp_path):
    slo = make_slo(budget_policy=POLICY[:2])
    tolerant = {"least_detectable_ratio": 30.0, "step_duration_min": "500s"}
    world = world_of(tmp_path, 0.9, canary=(0.2, 0.01), stable=(0.02, 0.01), spec=tolerant, slos=[slo])
    controller = world.controller()
    world.run(40, controller, until=lambda one: one.step == 0 and one.step_started_at is not None)
    spend(world, -2.0)

    assert world.run(100, controller).goal == "forward"


def test_unknown_evidence_turns_no_canary_back_whatever_a_policy_says():
    (rung,) = in_force(make_slo(budget_policy=POLICY[2:]), -1.0)
    burn = type("Burn", (), {"proven": True, "canary_bad": 9, "canary_total": 10, "stable_bad": 0, "stable_total": 10})()
    budget = Budget((rung,), {"availability": burn}, (), ("availability",))
    spec = Rollout(service=SERVICE, canary="v2", package="/p")
    weights = {"v1": 80, "v2": 20}
    state = RolloutState(
        id="x", spec=spec, created_at=0.0, stable="v1", deployed=True, desired=weights, previous=weights, step=0, began_at=1.0,
        step_started_at=1.0,
    )  # fmt: skip

    blind = decide(state, Seen(weights, Verdict("unknown", "metrics are away"), budget=budget), 5.0)
    seeing = decide(state, Seen(weights, Verdict("undecided", "so far"), budget=budget), 5.0)

    assert (blind.action, blind.state.goal) == (None, "forward")
    assert isinstance(seeing.action, SetWeights)
    assert seeing.state.goal == "rollback"


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


def test_a_surprise_in_the_budgets_does_not_keep_a_bad_canary_from_being_rolled_back(tmp_path, monkeypatch):
    world = world_of(tmp_path, 0.9, canary=(0.45, 0.4))
    monkeypatch.setattr(BudgetWatch, "look", lambda *_: 1 / 0)

    state = world.run(120)

    assert state.phase == "RolledBack"
    assert "unexpected ZeroDivisionError" in state.budget


def test_the_controller_says_which_policies_it_obeys(tmp_path, monkeypatch):
    (tmp_path / "slo.yaml").write_text(
        f"service: {SERVICE}\nteam: risk\nslos:\n- {{name: availability, objective: 0.99, indicator: {{type: availability}}, "
        "budget_policy: [{below: 0.1, action: freeze}, {below: 0, action: rollback}]}\n"
        "- {name: latency, objective: 0.95, indicator: {type: latency, threshold: 250ms}}\n"
    )
    (tmp_path / "obs.yaml").write_text(
        f"service: {SERVICE}\nstate: s.db\nslos: [slo.yaml]\nmetrics: {{embedded: m.db}}\ntarget: {{kserve: {{namespace: n, name: n}}}}\n"
    )
    seen = {}
    module = importlib.import_module("mlops_obs.cli.rollout.controller")
    monkeypatch.setattr(module.wiring, "traffic_target", lambda _: None)
    monkeypatch.setattr(module, "run", lambda running, *_: seen.update(slos=running._budgets.slos))

    done = CliRunner().invoke(rollout_command.app, ["controller", "--env", str(tmp_path / "obs.yaml")])

    assert done.exit_code == 0, done.exception
    assert "budget policy of availability: freeze below 10 %, rollback below 0 %" in done.stderr
    assert [slo.name for slo in seen["slos"]] == ["availability"]


def test_the_whole_look_at_the_budgets_is_plain_data():
    budget = Budget(in_force(make_slo(), 0.01), {}, ("nobody knows",), ("availability",))

    assert json.loads(json.dumps(budget.numbers()))["unknown"] == ["nobody knows"]
    assert [one["action"] for one in budget.numbers()["in_force"]] == ["warn", "freeze", "rollback"]
    assert budget.actions == {"availability": "rollback"}


@pytest.mark.parametrize("indicator", [{"type": "freshness"}, {"type": "boolean", "metric": "probe_success"}])
def test_a_burn_that_cannot_be_told_by_revision_is_nobodys_own(indicator):
    spec = Rollout(service=SERVICE, canary="v2", package="/p")

    assert own_burn(ScriptedCounters(), make_slo(indicator=indicator), spec, Arms("v1", "v2", True, 1.0), 1.0, 60.0) is None


AWAY = Budget(unknown=("away",), watched=("availability",), unread=("availability",))
frozen_weather = st.tuples(
    st.sampled_from(("undecided", "accepted", "unknown")),
    st.sampled_from(("open", "frozen", "unknown")),
    st.sampled_from((None, None, None, None, "promote", "pause", "resume")),
    st.sampled_from((None, None, "timeout-before", "timeout-after")),
)


@given(st.lists(frozen_weather, min_size=5, max_size=60))
@settings(max_examples=200, deadline=None)
def test_traffic_never_rises_while_a_budget_is_frozen_unless_a_person_says_so(days):
    spec = Rollout(service=SERVICE, canary="v2", package="/p", step_duration_min=2.0, deadline=500.0)
    state, target, now, frozen = RolloutState(id="x", spec=spec, created_at=0.0), FakeTarget({"v1": 100}), 0.0, False
    rungs = in_force(make_slo(), 0.05)
    for verdict, sky, request, fault in days:
        now += 1.0
        # What cannot be read leaves a freeze as it was.
        frozen = sky == "frozen" or (frozen and sky == "unknown")
        budget = {"open": NO_BUDGET, "frozen": Budget(rungs, watched=("a",)), "unknown": AWAY}[sky]
        requests = (Request(int(now), request, "ada", "", now),) if request else ()
        share = target._weights.get("v2", 0)
        decision = decide(state, Seen(target.weights(), Verdict(verdict, verdict), requests, budget=budget), now)
        state, action = decision.state, decision.action
        if action is not None:
            rises = isinstance(action, SetWeights) and action.weights.get("v2", 0) > share
            assert not (rises and frozen) or state.waived >= state.step
            error = None
            try:
                if fault:
                    target.fail("deploy" if isinstance(action, Deploy) else "set_weights", fault)
                if isinstance(action, Deploy):
                    target.deploy(action.revision, action.package)
                else:
                    target.set_weights(action.weights, action.expected)
            except TargetError as raised:
                error = raised
            state = settle(state, action, error, now)


def test_a_canary_that_is_worse_than_stable_but_within_the_objective_burns_nothing():
    generous, strict = make_slo(objective="0.5"), make_slo(objective="0.95")
    counters, spec, arms, began = burning_canary(canary=(40, 6), seconds=360, warm_up="0s")

    burns = {slo.objective: own_burn(counters, slo, spec, arms, began, began + 358) for slo in (generous, strict)}

    assert {float(objective): burn.proven for objective, burn in burns.items()} == {0.5: False, 0.95: True}
    assert burns[generous.objective].log10_e_peak >= burns[generous.objective].log10_bound, "it is worse than stable for sure"


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


LATENCY = {"type": "latency", "threshold": "250ms"}


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


def test_a_clock_that_is_set_back_during_a_freeze_does_not_bring_the_deadline_nearer():
    spec = Rollout(service=SERVICE, canary="v2", package="/p", deadline=600.0, on_inconclusive="rollback")
    weights = {"v1": 80, "v2": 20}
    state = RolloutState(
        id="x", spec=spec, created_at=0.0, stable="v1", deployed=True, desired=weights, previous=weights, step=0, began_at=1.0,
        step_started_at=1.0, frozen_at=90_000.0, policy={"availability": "freeze"},
    )  # fmt: skip

    decided = decide(state, Seen(weights, Verdict("undecided", "so far"), budget=NO_BUDGET), 120.0)

    assert (decided.state.goal, decided.action) == ("forward", None)


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
