"""What a rollout does beside its steps: waits for people, paces itself, watches after the end, runs dry, and tells people once."""

from __future__ import annotations

import pytest
from decision_desk import ACCEPTED, CONDEMNED, SHARED, UNDECIDED, UNKNOWN, Desk
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulated_world import BAD, World

from mlops_obs.adapters.background import while_renewing
from mlops_obs.errors import StateError, TelemetryUnavailable
from mlops_obs.rollout.gates import GateReading
from mlops_obs.rollout.judging.judge import Power, Verdict
from mlops_obs.rollout.log.phrases import RecordedBudget
from mlops_obs.rollout.machine.pace import harm, next_weight
from mlops_obs.rollout.machine.state import Seen


def test_a_manual_gate_waits_for_a_person_and_its_time_is_not_the_deadlines():
    desk = Desk(manual_gates=(50,), deadline=60.0, on_inconclusive="rollback").at(20)

    held = desk.looks(60, ACCEPTED)
    desk.look(ACCEPTED, "promote")

    assert "50 % is a manual gate" in held.reason
    assert (held.phase, desk.share, desk.state.goal) == ("Holding", 50, "forward")


def test_after_the_last_step_the_old_revision_is_kept_for_the_watch_and_then_the_target_finishes():
    desk = Desk(finishes=True, watch="20s", watch_weight=5).at(20)
    desk.at(50).at(95)

    watching = desk.looks(3, ACCEPTED)
    phases = [desk.look(ACCEPTED).phase for _ in range(14)]

    assert (watching.phase, desk.target.finished) == ("Watching", "v2")
    assert phases[-1] == "Promoted"
    assert desk.share == 100


def test_a_regression_in_the_watch_is_rolled_back():
    desk = Desk(watch="1h").at(100)
    desk.looks(4, ACCEPTED)
    watching = desk.state.phase

    state = desk.looks(4, CONDEMNED)

    assert (watching, state.phase, desk.share) == ("Watching", "RolledBack", 0)


def test_a_rollback_right_after_a_step_up_knows_which_split_its_requests_came_from():
    desk = Desk().at(20)
    while desk.share == 20:
        desk.look(ACCEPTED)
    state = desk.look(CONDEMNED)

    assert (state.goal, state.shown[-1][1]) == ("rollback", 50)


def test_a_watch_in_which_nothing_could_be_seen_does_not_end_well_by_itself():
    desk = Desk(watch="20s").at(100)
    desk.looks(3, ACCEPTED)

    blind = desk.looks(40, UNKNOWN)

    assert blind.phase == "Watching"
    assert "not known" in blind.reason
    assert desk.looks(2, ACCEPTED).phase == "Promoted"


@pytest.mark.parametrize(("verdict", "words"), [(SHARED, "both arms fail"), (UNKNOWN, "503")])
def test_a_shared_incident_and_blindness_hold_and_extend_the_deadline(verdict, words):
    desk = Desk(deadline=60.0, on_inconclusive="rollback").at(20)

    held = desk.looks(100, verdict)
    after = desk.looks(3, UNDECIDED)

    assert (held.phase, held.goal, held.reason) == ("Holding", "forward", words)
    assert after.goal == "forward"
    assert desk.looks(40, UNDECIDED).phase == "RolledBack", "its own time is used up in the end"


def test_people_are_told_once_of_two_minutes_of_blindness_and_again_of_the_next():
    desk = Desk().at(20)
    for _ in range(2):
        desk.looks(90, UNKNOWN)
        desk.look(ACCEPTED)

    assert sum(one.startswith("telemetry/") for one in desk.notices) == 2


@pytest.mark.parametrize(
    ("ok", "on_fail", "dry_run", "phase"),
    [
        (None, "hold", False, "Holding"),
        (False, "hold", False, "Holding"),
        (False, "rollback", False, "RolledBack"),
        (False, "rollback", True, "Progressing"),
        (True, "rollback", False, "Progressing"),
    ],
)
def test_a_gate_with_a_threshold_holds_or_rolls_back_as_it_was_told_and_no_data_holds(ok, on_fail, dry_run, phase):
    desk = Desk().at(20)
    reading = GateReading("psi", 0.4, 0.1, ok, "psi 0.4 > 0.2", on_fail=on_fail, dry_run=dry_run)

    desk.looks(3, UNDECIDED, gates=(reading,))

    assert desk.state.phase == phase


def test_a_dry_run_follows_the_traffic_of_others_and_never_touches_it():
    desk = Desk(dry_run=True)
    desk.target.packages["v2"] = "/p"
    waiting = desk.look().reason
    desk.target.force({"v1": 80, "v2": 20})
    desk.looks(3, ACCEPTED)
    would = desk.state.reason
    state = desk.looks(2, CONDEMNED)

    assert "waiting for somebody to give v2 traffic" in waiting
    assert "would go on to 50 %" in would
    assert (state.phase, desk.share) == ("RolledBack", 20)
    assert "the traffic was not touched" in state.reason
    assert {"set_weights", "deploy"}.isdisjoint(desk.target.calls)


def verdict_with(seconds):
    return Verdict("accepted", "good", power=(Power("errors", 2.0, seconds),))


def test_pace_auto_starts_small_and_never_jumps_over_a_manual_gate():
    desk, shares = Desk(pace="auto", manual_gates=(10,)), []
    for _ in range(60):
        desk.look(verdict_with(30.0))
        shares.append(desk.share)

    assert max(shares) < 10
    assert "10 % is a manual gate" in desk.state.reason
    desk.look(verdict_with(30.0), "promote")
    assert desk.share == 10
    assert desk.at(100).share == 100


def test_pace_auto_takes_the_boldest_step_whose_harm_the_budget_can_afford():
    desk = Desk(pace="auto", max_budget_spend=0.1, expected_requests="100/s").at(1)
    rich, poor = (RecordedBudget(left={"availability": left}) for left in (1e6, 50.0))
    seen = {name: Seen({"v1": 99, "v2": 1}, verdict_with(60.0), budget=budget) for name, budget in (("rich", rich), ("poor", poor))}

    bold, careful = next_weight(desk.state, seen["rich"])[0], next_weight(desk.state, seen["poor"])[0]

    assert bold == 100
    assert careful < bold
    assert harm(desk.state.spec, seen["poor"], 1, careful) <= 0.1 * 50 or careful == 2


def test_a_step_that_no_test_can_decide_is_said_to_be_useless():
    desk = Desk(deadline=100.0).at(20)

    state = desk.looks(4, Verdict("undecided", "too few", power=(Power("errors", 2.0, None),)))

    assert "cannot find a regression of 2x in time" in state.reason


def test_a_step_that_could_not_even_find_a_broken_canary_is_not_taken_and_the_least_useful_weight_is_named():
    desk = Desk(steps=(1, 50, 100), expected_requests="1/m", deadline="10m")

    held = desk.looks(4)
    share = desk.share
    desk.look(UNDECIDED, "promote")

    assert "at 1/m a step at 1 % could not even find a canary that fails half of its requests" in held.reason
    assert (held.phase, share, desk.share) == ("Holding", 0, 1)
    assert Desk(steps=(20, 100), expected_requests="30/s").at(20).share == 20


class Pager:
    def __init__(self):
        self.down, self.taken, self.tries = False, [], 0

    def deliver(self, notice):
        self.tries += 1
        if self.down:
            raise TelemetryUnavailable("OBS-TEST-002", "the pager is down")
        self.taken.append(notice)


def test_a_rollback_is_told_with_its_reason_value_bound_and_revision_after_it_was_done_although_the_pager_was_down(tmp_path):
    world, pager = World(tmp_path, canary=BAD), Pager()
    world.start()
    pager.down = True
    controller = world.controller(notifier=pager)
    rolled_back = world.run(120, controller)
    waiting, share = [one.kind for one in rolled_back.outbox], world.share
    pager.down = False
    for _ in range(80):
        world.pass_second()
        controller.step()
    page = next(one for one in pager.taken if one.kind == "rollback")

    assert (rolled_back.phase, share) == ("RolledBack", 0)
    assert "rollback" in waiting
    assert [one.kind for one in pager.taken].count("rollback") == 1
    assert page.labels["revision"] == "v2"
    assert float(page.labels["value"]) >= float(page.labels["bound"])
    assert "of v2's requests" in page.text
    assert world.state.outbox == ()


def test_a_receiver_that_refuses_one_notice_for_ever_keeps_no_page_from_the_others(tmp_path):
    class Picky(Pager):
        def deliver(self, notice):
            if notice.kind == "step":
                raise TelemetryUnavailable("OBS-TEST-003", "no such board")
            super().deliver(notice)

    world, pager = World(tmp_path, canary=BAD), Picky()
    world.start()

    state = world.run(120, world.controller(notifier=pager))

    assert [one.kind for one in pager.taken] == ["rollback"]
    assert [one.kind for one in state.outbox] == ["step"]


def test_a_look_that_is_not_recorded_leaves_nothing_behind(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(6, controller)
    versions = []
    for _ in range(8):
        world.pass_second()
        controller.step()
        versions.append(world.store.load("credit-risk").version)

    assert len(set(versions)) <= 3, "about every ten seconds"


def test_the_lease_is_renewed_while_an_act_lasts_and_an_act_that_fails_is_told():
    renewed, go = [], []

    def act():
        while len(renewed) < 3:
            pass
        go.append("done")

    while_renewing(act, lambda: renewed.append(1), every=0.005)
    with pytest.raises(KeyError):
        while_renewing(lambda: {}["x"], lambda: None)

    assert (len(renewed) >= 3, go) == (True, ["done"])


def test_a_controller_that_loses_its_lease_during_a_long_deploy_does_not_write_its_result(tmp_path):
    world = World(tmp_path)
    world.start()
    successor = world.controller(ttl=60)

    def slow(act, renew):
        act()
        world.now += 100.0
        successor.step()
        renew()

    controller = world.controller(ttl=5, carry_out=slow)
    world.pass_second()

    with pytest.raises(StateError, match="OBS-ROLL-013"):
        controller.step()
    assert world.run(90, successor).phase == "Promoted"


class Weather(RuleBasedStateMachine):
    """Any order of looks, verdicts, requests, faults, meddling and clocks."""

    def __init__(self):
        super().__init__()
        self.desk = Desk(watch="10s", finishes=True)
        self.was_over = self.was_retreating = False

    @rule(
        verdict=st.sampled_from([ACCEPTED, ACCEPTED, UNDECIDED, UNKNOWN, SHARED]),
        kind=st.sampled_from(["", "", "", "", "pause", "resume", "promote", "promote-full", "abort"]),
        seconds=st.sampled_from([0.5, 2.0, 2.0, 70.0]),
        fault=st.sampled_from(["", "", "", "timeout-before", "timeout-after", "conflict", "denied"]),
    )
    def look(self, verdict, kind, seconds, fault):
        before, state = self.desk.share, self.desk.state
        if fault:
            self.desk.target.fail("set_weights", fault)
        self.desk.look(verdict, *([kind] if kind else []), seconds=seconds)
        if self.desk.share > before:
            assert state.goal == "forward"
            assert verdict.kind != "unknown" or self.desk.state.waived >= self.desk.state.step

    @rule(leap=st.sampled_from([-4000.0, -30.0, 30.0, 4000.0]))
    def clock(self, leap):
        self.desk.now += leap

    @precondition(lambda self: self.desk.state.step >= 0)
    @rule(share=st.sampled_from([0, 20, 50, 70]))
    def meddle(self, share):
        self.desk.target.force({"v1": 100 - share, "v2": share})

    @rule(gone=st.booleans())
    def way_back(self, gone):
        if gone:
            self.desk.target.lose_way_back("v1", "gone")
        else:
            self.desk.target.restore_way_back("v1")

    @invariant()
    def terminal_states_stay_and_a_retreat_is_never_taken_back(self):
        state = self.desk.state
        assert state.over or not self.was_over
        assert state.goal != "forward" or not self.was_retreating
        self.was_over, self.was_retreating = state.over, state.goal != "forward"

    def teardown(self):
        """Whatever the weather was: when it clears, proven harm ends at 0 %."""
        self.desk.target.restore_way_back("v1")
        self.desk.target._faults.clear()
        deployed = self.desk.state.step >= 0
        self.desk.looks(40, CONDEMNED)
        assert self.desk.state.over
        if deployed and self.desk.state.phase == "RolledBack" and self.desk.state.step_started_at and len(self.desk.state.fights) < 3:
            assert self.desk.share == 0


Weather.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestWeather = Weather.TestCase
