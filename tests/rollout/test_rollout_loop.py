"""Whole rollouts on a virtual clock: what is promoted, what is rolled back, and what only waits."""

import pytest
from simulated_world import BAD, HEALTHY, SERVICE, START, World

from mlops_obs.rollout.log.records import first_broken


def test_a_healthy_canary_is_promoted_step_by_step_in_under_a_minute(tmp_path):
    world = World(tmp_path)
    world.start()
    began = world.now

    state = world.run(120)

    assert state.phase == "Promoted", state.reason
    assert [split.get("v2", 0) for split in world.target.history] == [0, 20, 50, 100]
    assert world.now - began < 60


def test_a_canary_that_fails_is_rolled_back_within_seconds_and_never_gets_a_second_step(tmp_path):
    world = World(tmp_path, canary=BAD)
    world.start()
    controller = world.controller()
    world.run(60, controller, until=lambda state: state.began_at is not None)
    exposed = world.now

    state = world.run(120, controller)

    assert state.phase == "RolledBack"
    assert world.now - exposed < 30
    assert max(split.get("v2", 0) for split in world.target.history) == 20
    assert world.share == 0
    assert "failed" in state.reason
    assert "of v1's" in state.reason


def test_a_canary_that_is_only_slow_is_rolled_back_too(tmp_path):
    world = World(tmp_path, canary=(0.0, 0.5))
    world.start()

    state = world.run(120)

    assert state.phase == "RolledBack"
    assert "were slow" in state.reason


def test_an_incident_that_hits_both_arms_rolls_nothing_back_and_raises_nothing_wrongly(tmp_path):
    world = World(tmp_path, canary=(0.3, 0.5), stable=(0.3, 0.5))
    world.start()

    state = world.run(60)

    assert state.phase in ("Progressing", "Promoted")
    assert state.goal == "forward"


def test_when_metrics_are_away_the_rollout_holds_says_why_and_resumes_by_itself(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(8, controller)
    before = world.share

    world.counters.start_outage("connection refused")
    held = world.run(60, controller)
    world.counters.end_outage()
    state = world.run(120, controller)

    assert before == 20
    assert held.phase == "Holding"
    assert "connection refused" in held.reason
    assert [split.get("v2", 0) for split in world.target.history] == [0, 20, 50, 100]
    assert state.phase == "Promoted"


def test_a_gap_in_scraping_is_not_taken_for_an_idle_or_healthy_canary(tmp_path):
    world = World(tmp_path, spec={"stale_after": "5s"})
    world.start()
    controller = world.controller()
    world.run(6, controller)
    world.scraping = False

    held = world.run(40, controller)

    assert held.phase == "Holding"
    assert "old" in held.reason
    assert world.share == 20


def test_a_canary_whose_exporter_is_gone_holds_although_stable_is_still_seen(tmp_path):
    world = World(tmp_path, spec={"stale_after": "5s"})
    world.start()
    controller = world.controller()
    world.counters.silence({"revision": "v2"})

    held = world.run(30, controller)

    assert held.phase == "Holding"
    assert "no request counters of v2" in held.reason
    assert world.share == 20


def test_a_harm_done_during_an_outage_is_found_after_it(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(6, controller)
    world.counters.start_outage()
    world.canary = BAD
    world.run(20, controller)
    world.counters.end_outage()

    state = world.run(20, controller)

    assert state.phase == "RolledBack"


def test_a_service_without_traffic_is_neither_promoted_nor_rolled_back(tmp_path):
    world = World(tmp_path, rps=0)
    world.start()

    state = world.run(60)

    assert state.phase == "Progressing"
    assert world.share == 20
    assert "nothing was counted of v2" in state.reason


def test_weights_changed_by_someone_else_hold_the_rollout_until_they_are_restored(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(6, controller)
    world.target.force({"v1": 40, "v2": 60})

    held = world.run(10, controller)
    world.target.force({"v1": 80, "v2": 20})
    state = world.run(120, controller)

    assert held.phase == "Holding"
    assert "someone else changed the traffic: found v1 40 % v2 60 %" in held.reason
    assert state.phase == "Promoted"


def test_a_condemned_canary_loses_its_traffic_even_if_someone_else_raised_it(tmp_path):
    world = World(tmp_path, canary=BAD)
    world.start()
    controller = world.controller()
    world.run(10, controller, until=lambda state: state.step_started_at is not None)
    world.target.force({"v1": 40, "v2": 60})

    state = world.run(30, controller)

    assert state.phase == "RolledBack"
    assert world.share == 0


@pytest.mark.parametrize("fault", ["timeout-before", "timeout-after", "conflict", "down"])
def test_a_rollback_is_tried_until_the_target_says_that_it_is_done(tmp_path, fault):
    world = World(tmp_path, canary=BAD)
    world.start()
    controller = world.controller()
    world.run(10, controller, until=lambda state: state.step_started_at is not None)
    world.target.fail("set_weights", fault, 3)

    state = world.run(60, controller)

    assert state.phase == "RolledBack"
    assert world.share == 0


def test_a_deadline_without_a_verdict_holds_or_rolls_back_as_the_spec_says(tmp_path):
    for choice, phase in (("hold", "Holding"), ("rollback", "RolledBack")):
        folder = tmp_path / choice
        folder.mkdir()
        world = World(folder, rps=0, spec={"deadline": "30s", "on_inconclusive": choice})
        world.start()

        state = world.run(45)

        assert state.phase == phase
        assert "no verdict within 30 s" in state.reason


def test_a_canary_that_does_not_start_gets_no_traffic_and_is_tried_again(tmp_path):
    world = World(tmp_path)
    world.target.fail("deploy", "down", 2)
    world.start()
    controller = world.controller()

    held = world.run(1, controller)
    state = world.run(120, controller)

    assert held.phase == "Holding"
    assert "could not deploy v2" in held.reason
    assert state.phase == "Promoted"


def test_a_rollout_does_not_start_from_a_split_or_from_its_own_revision(tmp_path):
    for weights, words in (({"v1": 50, "v3": 50}, "split already"), ({"v2": 100}, "has all the traffic already")):
        folder = tmp_path / words.replace(" ", "-")
        folder.mkdir()
        world = World(folder)
        world.target.force(weights)
        world.start()

        state = world.run(3)

        assert state.phase == "Holding"
        assert words in state.reason
        assert "deploy" not in world.target.calls


def test_a_late_regression_is_found_after_a_long_healthy_time(tmp_path):
    world = World(tmp_path, canary=(0.01, 0.02), stable=(0.01, 0.02), spec={"step_duration_min": "10m", "deadline": "1h"})
    world.start()
    controller = world.controller()
    world.run(120, controller)
    world.canary = BAD
    turned = world.now

    state = world.run(120, controller)

    assert state.phase == "RolledBack"
    assert world.now - turned < 90


def test_one_stall_of_the_canarys_process_does_not_roll_it_back(tmp_path):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    world.run(10, controller, until=lambda state: state.step_started_at is not None)
    world.canary = (0.0, 1.0)
    world.run(4, controller)
    world.canary = HEALTHY

    state = world.run(200, controller)

    assert state.phase == "Promoted"


def test_every_action_is_recorded_with_its_intent_its_result_and_its_evidence(tmp_path):
    world = World(tmp_path, canary=BAD)
    world.start()
    world.run(60)
    records = world.store.records(SERVICE)

    turned = [one for one in records if one["action"] == "rollback"]
    errors = turned[0]["evidence"]["tests"]["errors"]

    assert [one["kind"] for one in turned] == ["decision", "intent", "result", "result"]
    assert turned[0]["weights_before"] == {"v1": 80, "v2": 20}
    assert turned[2]["weights_after"] == {"v1": 100, "v2": 0}
    assert errors["log10_e_peak"] >= errors["log10_bound"]
    assert errors["canary_bad"] > 0
    assert first_broken([({k: v for k, v in one.items() if k not in ("seq", "hash")}, one["hash"]) for one in records]) is None
    assert world.store.broken_record() is None
    assert all(one["at"] >= START for one in records)


def test_a_restarted_controller_reaches_the_same_verdict_from_the_same_evidence(tmp_path):
    phases = []
    for restarts in (False, True):
        folder = tmp_path / str(restarts)
        folder.mkdir()
        world = World(folder, canary=(0.06, 0.02))
        world.start()
        controller = world.controller(ttl=0.5)
        for _ in range(90):
            world.pass_second()
            controller = world.controller(ttl=0.5) if restarts else controller
            controller.step()
        state = world.state
        phases.append((state.phase, state.reason, state.ended_at))

    assert phases[0] == phases[1]


def test_a_canary_that_is_scraped_too_seldom_to_be_compared_gets_no_traffic(tmp_path):
    world = World(tmp_path, canary=BAD, spec={"stale_after": "30s"})
    world.counters._samples.clear()
    world.scraping = False
    world.start()
    controller = world.controller()
    for second in range(60):
        world.pass_second()
        if second % 10 == 0:
            world.counters.scrape(world.now)
        controller.step()

    assert world.share == 0
    assert world.state.phase == "Holding"
    assert "samples are 10 s apart" in world.state.reason


def test_a_surprise_in_the_target_is_a_recorded_failure_and_not_tried_every_second(tmp_path, monkeypatch):
    world = World(tmp_path)
    world.start()
    controller = world.controller()
    monkeypatch.setattr(world.target, "deploy", lambda *_: {}["no such key"])

    state = world.run(30, controller)
    failed = [one for one in world.store.records(SERVICE) if not one["ok"]]

    assert state.phase == "Holding"
    assert "could not deploy v2: unexpected KeyError" in state.reason
    assert 1 < len(failed) < 8
