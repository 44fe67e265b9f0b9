"""Rollouts obey budget policies: warn is told, freeze holds the next step up, rollback needs a burn that is the canary's own."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

from budget_cases import LEFT, POLICY, make_slo
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_world import HEALTHY, SERVICE, World
from typer.testing import CliRunner

from mlops_obs import metric_names as names
from mlops_obs.cli import rollout as rollout_command
from mlops_obs.cli.rollout.view import history_line, tree
from mlops_obs.errors import TargetError
from mlops_obs.rollout.budget import NO_BUDGET, Budget, BudgetWatch
from mlops_obs.rollout.judging.judge import Verdict
from mlops_obs.rollout.machine.decide import decide, settle
from mlops_obs.rollout.machine.state import Deploy, Request, RolloutState, Seen, SetWeights
from mlops_obs.rollout.readings import rollout_readings
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.policy import in_force
from mlops_obs.testing.targets import FakeTarget


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


def test_a_clock_that_is_set_back_during_a_freeze_does_not_bring_the_deadline_nearer():
    spec = Rollout(service=SERVICE, canary="v2", package="/p", deadline=600.0, on_inconclusive="rollback")
    weights = {"v1": 80, "v2": 20}
    state = RolloutState(
        id="x", spec=spec, created_at=0.0, stable="v1", deployed=True, desired=weights, previous=weights, step=0, began_at=1.0,
        step_started_at=1.0, frozen_at=90_000.0, policy={"availability": "freeze"},
    )  # fmt: skip

    decided = decide(state, Seen(weights, Verdict("undecided", "so far"), budget=NO_BUDGET), 120.0)

    assert (decided.state.goal, decided.action) == ("forward", None)
