"""An API server that refuses, lies, answers late or not at all: traffic never rises without evidence, and a bad canary still goes."""

import pytest

from mlops_obs.errors import ObsError
from tests.kubernetes.cluster_world import BAD, ClusterWorld, Leader

FAULTS = ("409", "422", "500", "timeout-before", "timeout-after")
WRITES = {"the status": ("PUT", "/status"), "the records": ("POST", "/rolloutrecords"), "the finalizer": ("PATCH", "/rollouts/")}

QUICK = {"steps": [50, 100], "step_duration_min": "2s", "non_inferiority_margin": 0.3, "slow_margin": 0.3}


def carry_on(world, seconds, until=lambda state: state.over):
    """Look once a second as the queue does: a look that fails is a look later."""
    state, failures = None, []
    for _ in range(seconds):
        try:
            looked = world.second()
            state = looked.state or state
        except ObsError as error:
            failures.append(error.code)
        if state and until(state):
            break
    return state, failures


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_fails_three_times_in_a_row_costs_time_and_nothing_else(proxied, proxy, namespace, write, fault):
    world = ClusterWorld(proxied, namespace)
    world.apply(**QUICK)
    proxy.fail(*WRITES[write], fault, times=3)

    state, failures = carry_on(world, 90)

    assert (state.phase, world.share) == ("Promoted", 100)
    assert [split.get("v2", 0) for split in world.target.history] == [0, 50, 100]
    assert failures or fault == "409"
    assert world.people.broken_record() is None


@pytest.mark.parametrize("fault", FAULTS)
def test_a_rollback_comes_through_whatever_every_third_write_does(proxied, proxy, namespace, fault):
    world = ClusterWorld(proxied, namespace, errors=BAD)
    world.apply()
    state = None
    for second in range(90):
        if second % 3 == 2:
            proxy.fail("PUT", "/status", fault)
        state, _ = carry_on(world, 1)
        if state and state.over:
            break

    assert (state.phase, world.share) == ("RolledBack", 0)
    assert max(split.get("v2", 0) for split in world.target.history) == 20
    assert world.people.broken_record() is None


def test_an_api_server_that_is_away_for_ten_minutes_in_a_rollback_ends_with_the_canary_at_zero(proxied, proxy, namespace, monkeypatch):
    world = ClusterWorld(proxied, namespace, errors=BAD)
    world.apply()
    carry_on(world, 60, until=lambda state: state.weight == 20 and state.step_started_at is not None)
    world.target.fail("set_weights", "down", 2)  # the retreat has begun and is not done
    carry_on(world, 60, until=lambda state: state.goal == "rollback")
    splits = list(world.target.history)
    proxy.down()
    _, failures = carry_on(world, 600)
    assert len(failures) == 600
    assert world.target.history == splits
    proxy.up()

    state, failures = carry_on(world, 30)

    assert (state.phase, world.share) == ("RolledBack", 0)
    assert world.people.broken_record() is None


def test_every_answer_lost_once_leaves_a_log_that_replays(proxied, proxy, namespace):
    from mlops_obs.rollout.log.replay import replay

    world = ClusterWorld(proxied, namespace)
    world.apply(**QUICK)
    for _ in range(90):
        proxy.fail("PUT", "/status", "timeout-after")
        state, _ = carry_on(world, 1)
        state, _ = carry_on(world, 1)
        if state and state.over:
            break

    assert (state.phase, world.share) == ("Promoted", 100)
    assert world.people.broken_record() is None
    assert list(replay(world.people.history(state.id))) == []


def test_a_leader_that_wakes_up_after_another_took_over_changes_nothing(proxied, api, namespace):
    world = ClusterWorld(proxied, namespace)
    world.apply()
    world.leader.outrank = lambda _: None  # somebody else has the Lease
    carry_on(world, 60, until=lambda state: state.weight == 20 and state.step_started_at is not None)
    sleeper, other = world.reconciler, world.operator(Leader(2), api=api)
    for _ in range(60):
        world.second(look=False)
        state = world.look(other).state
        if state.weight == 50:
            break
    history = list(world.target.history)

    for _ in range(3):
        with pytest.raises(ObsError, match="OBS-ROLL-01[23]"):
            world.look(sleeper)

    assert world.target.history == history
