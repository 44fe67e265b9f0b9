"""The log is enough: every decision and every statistic is computed again from it, byte for byte."""

from __future__ import annotations

import copy

import pytest
from simulated_world import BAD, HEALTHY, SERVICE, World

from mlops_obs.errors import StateError
from mlops_obs.rollout.log.replay import decisions, replay, what_if


def rollout(folder, *, canary=HEALTHY, ask=(), trouble=None, seconds=150, restarts=False, **spec):
    folder.mkdir(exist_ok=True)
    world = World(folder, canary=canary, spec=spec)
    world.start()
    controller = world.controller(ttl=0.5)
    for second in range(seconds):
        world.pass_second()
        if trouble:
            trouble(world, second)
        for at, kind in ask:
            if at == second:
                world.ask(kind, "because")
        controller = world.controller(ttl=0.5) if restarts else controller
        controller.step()
        if world.state.over:
            break
    return world


def meddle(world, second):
    if second == 12:
        world.counters.start_outage("503")
    if second == 20:
        world.counters.end_outage()
    if second == 24:
        world.target.fail("set_weights", "timeout-after", 2)
    if second == 30:
        world.target.force({"v1": 70, "v2": 30})
    if second == 36:
        world.target.force({"v1": 80, "v2": 20})


@pytest.mark.parametrize(
    "story",
    [
        {"canary": HEALTHY},
        {"canary": BAD},
        {"canary": (0.06, 0.02), "restarts": True},
        {"canary": HEALTHY, "trouble": meddle},
        {"canary": HEALTHY, "ask": ((8, "pause"), (20, "resume"), (30, "promote"), (40, "abort"))},
        {"canary": HEALTHY, "watch": "20s", "watch_weight": 5},
        {"canary": BAD, "trouble": lambda world, second: world.target.fail("set_weights", "down") if second % 3 else None},
    ],
    ids=["healthy", "bad", "restarts", "trouble", "people", "watch", "refusals"],
)
def test_every_decision_of_a_rollout_is_reproduced_byte_for_byte(tmp_path, story):
    world = rollout(tmp_path / "whole", **story)
    records = world.store.history(world.state.id)

    assert decisions(records) > 3
    assert replay(records) == []


def test_a_number_that_was_changed_in_the_log_is_found_by_the_replay_too(tmp_path):
    world = rollout(tmp_path / "bad", canary=BAD)
    forged = copy.deepcopy(world.store.history(world.state.id))
    index, turned = next((index, one) for index, one in enumerate(forged) if one["action"] == "rollback")
    turned["evidence"]["tests"]["errors"]["canary_bad"] += 1

    found = replay(forged)

    assert [(one.seq, one.field) for one in found] == [(forged[index]["seq"], "evidence.tests.errors.canary_bad")]


def test_a_log_without_its_beginning_cannot_be_replayed(tmp_path):
    world = rollout(tmp_path / "short", seconds=10)

    with pytest.raises(StateError, match="OBS-ROLL-025"):
        replay(world.store.history(world.state.id)[1:])


def test_another_alpha_is_answered_from_the_same_log(tmp_path):
    world = rollout(tmp_path / "alpha", canary=BAD)
    records = world.store.history(world.state.id)

    stricter = what_if(records, alpha=1e-12)

    assert what_if(records) == []
    assert {"action", "verdict"} <= {one.field for one in stricter}
    assert ("rollback", "wait") in [(one.recorded, one.replayed) for one in stricter if one.field == "action"]


def test_the_service_of_the_log_is_in_every_record(tmp_path):
    world = rollout(tmp_path / "one", seconds=20)

    assert {one["service"] for one in world.store.history(world.state.id)} == {SERVICE}
