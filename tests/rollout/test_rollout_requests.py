"""What people ask of a running rollout: a pause, a step, an abort, a rollback; and a target or metrics that fail meanwhile."""

import pytest
from simulated_world import BAD, World

from mlops_obs.testing.targets import FakeTarget


def test_a_pause_stops_promotion_but_not_protection(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(6, controller)
    world.ask("pause")
    paused = world.run(40, controller)
    world.canary = BAD

    state = world.run(30, controller)

    assert paused.phase == "Paused"
    assert paused.actor == "ada"
    assert world.target.history[-2].get("v2") == 20
    assert state.phase == "RolledBack"


def test_a_paused_rollout_goes_on_after_resume(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(4, controller)
    world.ask("pause")
    world.run(5, controller)
    world.ask("resume")

    assert world.run(90, controller).phase == "Promoted"


def test_promote_passes_one_step_and_promote_full_goes_to_the_end(tmp_path):
    world = World(tmp_path, rps=0)
    world.start()
    controller = world.controller()
    world.run(6, controller)
    world.ask("promote")
    world.run(6, controller)
    one_step = world.share
    world.ask("promote-full")

    state = world.run(10, controller)

    assert one_step == 50
    assert world.share == 100
    assert state.phase == "Promoted"


def test_abort_gives_the_traffic_back_and_says_who_asked(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(8, controller)
    world.ask("abort", "wrong package")

    state = world.run(10, controller)

    assert (state.phase, world.share) == ("Aborted", 0)
    assert state.reason == "abort asked by ada: wrong package"


def test_a_promoted_canary_can_be_rolled_back_by_hand(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(90, controller)
    world.ask("rollback", "customers complain")

    state = world.run(5, controller, until=lambda one: one.phase == "RolledBack")

    assert (state.phase, world.share) == ("RolledBack", 0)
    assert world.target._weights["v1"] == 100


class Lagging(FakeTarget):
    """Accepts a change at once and shows it five looks later, as KServe does; a change accepted meanwhile replaces it."""

    def __init__(self) -> None:
        super().__init__({"v1": 100}, {"v1": "/packages/v1"})
        self.accepted: dict[str, int] | None = None
        self.looks = 0

    def weights(self):
        self.looks += 1
        if self.accepted and self.looks >= 5:
            self.force(self.accepted)
            self.accepted = None
        return super().weights()

    def set_weights(self, weights, expected):
        self.accepted, self.looks = dict(weights), 0


@pytest.mark.parametrize("killed", [False, True])
def test_an_abort_while_the_first_step_is_on_its_way_leaves_no_traffic_on_the_canary(tmp_path, killed):
    world = World(tmp_path)
    world.target = Lagging()
    world.start()
    controller = world.controller(ttl=0.5)
    world.run(10, controller, until=lambda state: state.step == 0)
    asked = world.share
    world.ask("abort", "wrong package")
    if killed:
        world.target.set_weights = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            controller.step()
        del world.target.set_weights
        controller = world.controller(ttl=0.5)

    state = world.run(30, controller)
    for _ in range(10):
        world.target.weights()

    assert asked == 0
    assert state.phase == "Aborted"
    assert world.share == 0


def test_a_pause_also_stops_a_step_that_the_target_has_not_taken_yet(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.target.fail("set_weights", "timeout-before")
    world.run(10, controller, until=lambda state: state.step == 0)
    world.ask("pause", "look first")

    paused = world.run(30, controller)
    while_paused = world.share
    world.ask("resume")
    state = world.run(90, controller)

    assert (paused.phase, while_paused) == ("Paused", 0)
    assert state.phase == "Promoted"


def test_an_abort_is_carried_out_although_the_metrics_adapter_breaks_in_an_unforeseen_way(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(8, controller)
    monkeypatch.setattr(world.counters, "series", lambda *_: {}["no such key"])
    held = world.run(3, controller)
    world.ask("abort")

    state = world.run(10, controller)

    assert held.phase == "Holding"
    assert "unexpected KeyError" in held.reason
    assert (state.phase, world.share) == ("Aborted", 0)


def test_an_abort_before_any_traffic_needs_no_answer_of_the_target(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.target.fail("weights", "down", 100)
    world.run(3, controller)
    world.ask("abort", "wrong address in obs.yaml")

    state = world.run(3, controller)

    assert state.phase == "Aborted"
    assert world.target.history == [{"v1": 100}]


def test_a_rollback_that_the_target_refuses_for_good_can_be_given_up_so_that_the_old_package_can_be_shipped(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(90, controller)
    world.target.fail("set_weights", "down", 1000)  # as KServe, which remembers no way back after a promotion
    world.ask("rollback", "customers complain")
    world.run(2, controller)
    world.ask("abort", "typed twice in a panic")
    trying = world.run(4, controller)
    stuck = world.run(30, controller)
    world.ask("abort", "v1 is shipped anew")

    state = world.run(5, controller)

    assert trying.goal == "rollback"
    assert not trying.over
    assert "`obs rollout abort` gives up and leaves the traffic as it is" in stuck.reason
    assert (state.phase, world.share) == ("Aborted", 100)
    assert "v2 keeps the traffic" in state.reason
    assert world.start().phase == "Pending"


def test_a_rollback_from_a_part_of_the_traffic_is_never_given_up(tmp_path):
    world = World(tmp_path, canary=BAD)
    world.start()
    controller = world.controller()
    world.run(10, controller, until=lambda state: state.step_started_at is not None)
    world.target.fail("set_weights", "down", 12)
    world.run(40, controller)
    world.ask("abort", "impatient")

    state = world.run(60, controller)

    assert (state.phase, world.share) == ("RolledBack", 0)
