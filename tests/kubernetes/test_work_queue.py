"""The queue: each key at most once, never twice at once, later after failures."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.adapters.kubernetes.work_queue import WorkQueue
from tests.kubernetes.conftest import Clock


@pytest.fixture
def queue(clock):
    return WorkQueue(clock=clock)


def drain(queue):
    out = []
    while (key := queue.get(timeout=0)) is not None:
        out.append(key)
        queue.done(key)
    return out


def test_a_key_that_is_added_twice_is_looked_at_once(queue):
    for key in ("a", "b", "a"):
        queue.add(key)

    assert drain(queue) == ["a", "b"]


def test_a_key_added_while_it_is_looked_at_is_looked_at_again_and_not_by_two_at_once(queue):
    queue.add("a")
    assert queue.get(timeout=0) == "a"
    queue.add("a")

    assert queue.get(timeout=0) is None
    queue.done("a")
    assert drain(queue) == ["a"]


def test_a_key_comes_when_it_is_due_and_not_before(queue, clock):
    queue.add_after("a", 5.0)
    assert drain(queue) == []
    clock.now += 5.0

    assert drain(queue) == ["a"]


def test_the_earlier_of_two_due_times_counts_and_only_once(queue, clock):
    queue.add_after("a", 5.0)
    queue.add_after("a", 1.0)
    queue.add_after("a", 9.0)
    clock.now += 1.0
    first = drain(queue)
    clock.now += 100.0

    assert (first, drain(queue)) == (["a"], [])


def test_a_key_added_now_is_not_looked_at_again_when_it_was_due(queue, clock):
    queue.add_after("a", 5.0)
    queue.add("a")
    first = drain(queue)
    clock.now += 10.0

    assert (first, drain(queue)) == (["a"], [])


def test_pauses_double_up_to_the_longest_and_start_over_after_a_success(clock):
    queue = WorkQueue(clock=clock, first=1.0, longest=10.0)
    pauses = [queue.failed("a") for _ in range(6)]
    queue.succeeded("a")

    assert pauses == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert queue.failed("a") == 1.0


def test_jitter_spreads_a_pause_between_its_half_and_its_whole(clock):
    assert WorkQueue(clock=clock, jitter=lambda: 0.0, first=1.0).failed("a") == 0.5
    assert WorkQueue(clock=clock, jitter=lambda: 1.0, first=1.0).failed("a") == 1.0


def test_a_thousand_failures_at_once_are_tried_again_at_the_rate_of_the_bucket(clock):
    queue = WorkQueue(clock=clock, first=0.1, rate=50.0, burst=100)

    pauses = [queue.failed(key) for key in range(1000)]

    assert max(pauses[:100]) == 0.1
    assert pauses[-1] == pytest.approx((1000 - 100) / 50)
    assert pauses == sorted(pauses)


def test_depth_and_age_tell_of_keys_that_wait(queue, clock):
    queue.add("a")
    clock.now += 3.0
    queue.add("b")

    assert (queue.depth(), queue.age()) == (2, 3.0)
    drain(queue)
    assert (queue.depth(), queue.age()) == (0, 0.0)


def test_closing_lets_every_worker_go():
    queue = WorkQueue()
    workers = [threading.Thread(target=queue.get) for _ in range(3)]
    for one in workers:
        one.start()
    queue.close()
    for one in workers:
        one.join(10.0)

    assert not any(one.is_alive() for one in workers)


@given(st.lists(st.tuples(st.sampled_from(["add", "after", "get", "done", "failed", "tick"]), st.sampled_from("abc"))))
def test_no_key_is_ever_lost_or_handed_out_twice(moves):
    clock = Clock()
    queue = WorkQueue(clock=clock)
    held, owed = [], set()
    for move, key in moves:
        if move == "add":
            queue.add(key)
            owed.add(key)
        elif move == "after":
            queue.add_after(key, 2.0)
            owed.add(key)
        elif move == "failed":
            queue.failed(key)
            owed.add(key)
        elif move == "tick":
            clock.now += 1.0
        elif move == "get":
            got = queue.get(timeout=0)
            assert got not in held
            if got is not None:
                held.append(got)
                owed.discard(got)
        elif held:
            queue.done(held.pop())
    while held:
        queue.done(held.pop())
    clock.now += 1000.0

    assert owed <= set(drain(queue))
