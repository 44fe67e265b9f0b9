"""The last minutes of a rollout: its deadline, its end, and the looks after it."""

from __future__ import annotations

import pytest
from decision_desk import ACCEPTED, UNDECIDED, Desk
from simulated_world import World

from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.gates import GateReading
from mlops_obs.rollout.log.replay import replay


def gate(ok: bool | None) -> GateReading:
    return GateReading("model-quality", None, None, ok, "no labels yet")


def promoted(folder) -> tuple[World, Controller]:
    world = World(folder, spec={"steps": (20, 100), "step_duration_min": "6s", "slice": "2s", "block": "2s", "warm_up": "0s"})
    world.start()
    controller = world.controller()
    assert world.run(300, controller).phase == "Promoted", world.state.reason
    return world, controller


def test_a_canary_that_is_accepted_on_evidence_is_not_turned_back_by_the_deadline():
    desk = Desk(deadline=60.0, on_inconclusive="rollback").at(20)
    desk.looks(40, UNDECIDED, gates=(gate(False),))  # 80 s held by a gate that is bad at first

    state = desk.look(ACCEPTED, gates=(gate(True),))

    assert (state.goal, desk.share) == ("forward", 50)


def test_the_deadline_stands_still_while_a_gate_cannot_be_told():
    desk = Desk(deadline=60.0, on_inconclusive="rollback").at(20)
    desk.looks(100, UNDECIDED, gates=(gate(None),))

    state = desk.looks(3, UNDECIDED, gates=(gate(True),))

    assert (state.goal, desk.share) == ("forward", 20)
    assert desk.looks(60, UNDECIDED, gates=(gate(True),)).phase == "RolledBack"


def test_no_verdict_in_time_turns_nobody_back_to_a_revision_that_is_gone():
    desk = Desk(deadline=60.0, on_inconclusive="rollback").at(20)
    desk.target.lose_way_back("v1", "the revision was collected")

    held = desk.looks(60, UNDECIDED)

    assert (held.phase, held.goal, desk.share) == ("Holding", "forward", 20)
    assert "there is no way back: the revision was collected; no verdict within" in held.reason
    desk.target.restore_way_back("v1")
    assert desk.looks(4, UNDECIDED).phase == "RolledBack"


def test_an_abort_that_left_the_canary_its_traffic_is_not_undone_by_the_guard():
    desk = Desk(watch="1h").at(100)
    desk.target.fail("set_weights", "denied", 1000)
    desk.look(UNDECIDED, "rollback")
    desk.looks(40, UNDECIDED)
    desk.look(UNDECIDED, "abort")
    desk.target._faults.clear()

    after = desk.looks(20, UNDECIDED)

    assert (after.phase, desk.share) == ("Aborted", 100)
    assert "keeps the traffic" in after.reason


def test_a_promoted_rollout_is_looked_at_for_a_while_and_nothing_is_written(tmp_path):
    world, controller = promoted(tmp_path)
    records = len(world.store.history(world.state.id))
    world.target.calls.clear()

    world.run(20, controller, until=lambda _: False)
    early = world.target.calls.count("weights")
    world.now += 3600.0
    world.target.calls.clear()
    world.run(5, controller, until=lambda _: False)

    assert world.state.phase == "Promoted"
    assert (early, world.target.calls.count("weights")) == (20, 0)
    assert len(world.store.history(world.state.id)) == records


@pytest.mark.parametrize("back", [True, False])
def test_a_rollback_after_promotion_asks_first_whether_the_old_revision_can_still_answer(tmp_path, back):
    world, controller = promoted(tmp_path)
    if not back:
        world.target.lose_way_back("v1", "its cluster was deleted")
    world.ask("rollback")

    world.run(1, controller)

    assert world.state.goal == "rollback"
    assert world.share == (0 if back else 100)
    if not back:
        assert "v1 could not take the traffic: its cluster was deleted" in world.state.reason
    assert replay(world.store.history(world.state.id)) == []


def test_the_seconds_in_which_all_traffic_arrives_are_no_mismatch_that_never_ends(tmp_path):
    world, _ = promoted(tmp_path)

    reasons = [one["reason"] for one in world.store.history(world.state.id)]

    assert any("of the requests instead of" in one for one in reasons)  # the target shows a split a look after it splits so
    assert world.share == 100


@pytest.mark.parametrize("method", ["deploy", "set_weights"])
def test_a_target_that_refuses_the_way_up_for_ten_minutes_is_told_of_once(method):
    desk = Desk(deadline=1e6)
    desk.target.fail(method, "denied", 1000)

    desk.looks(60, ACCEPTED, seconds=5.0)
    early = [one for one in desk.notices if one.startswith("refused/")]
    desk.looks(600, ACCEPTED, seconds=5.0)

    assert early == []
    assert len([one for one in desk.notices if one.startswith("refused/")]) == 1
    assert desk.share == 0
