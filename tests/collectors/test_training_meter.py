import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.training import PHASES, TrainingMeter
from mlops_obs.metric_names import (
    TRAINING_CHECKPOINT_TIME,
    TRAINING_LOSS,
    TRAINING_NONFINITE,
    TRAINING_RESTARTS,
    TRAINING_SAMPLES,
    TRAINING_STEPS,
    TRAINING_TIME,
)


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    return TrainingMeter("credit-risk", "v2", clock)


def seconds(meter):
    spent = {one.labels["phase"]: one.value for one in meter.read() if one.metric is TRAINING_TIME}
    assert tuple(spent) == PHASES
    return {phase: value for phase, value in spent.items() if value}


def value(meter, metric):
    return next((one.value for one in meter.read() if one.metric is metric), None)


def test_an_inner_phase_interrupts_the_one_around_it(meter, clock):
    with meter.phase("compute"):
        clock.now += 3
        with meter.phase("data_wait"):
            clock.now += 2
        clock.now += 1

    assert seconds(meter) == {"compute": 4, "data_wait": 2}


def test_time_between_phases_is_other_and_a_finished_run_stops_counting(meter, clock):
    clock.now += 100
    with meter.phase("compute"):
        clock.now += 3
    clock.now += 5
    with meter.phase("checkpoint"):
        clock.now += 1
    clock.now += 1_000

    assert seconds(meter) == {"compute": 3, "other": 5, "checkpoint": 1}


def test_a_phase_that_hangs_is_seen_while_it_hangs(meter, clock):
    with meter.phase("data_wait"):
        clock.now += 60
        assert seconds(meter) == {"data_wait": 60}
        clock.now += 60
        assert seconds(meter) == {"data_wait": 120}


def test_a_phase_that_raises_is_booked_and_left(meter, clock):
    def fail():
        with meter.phase("compute"):
            clock.now += 3
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    clock.now += 9
    assert seconds(meter) == {"compute": 3}


@given(st.lists(st.tuples(st.sampled_from(["enter", "leave", "read"]), st.sampled_from(PHASES), st.integers(0, 50)), max_size=40))
def test_the_phases_always_sum_to_the_wall_time(events):
    clock = Clock()
    meter = TrainingMeter("credit-risk", "v2", clock)
    opened, first, last = [], None, None
    for action, phase, wait in events:
        clock.now += wait
        if action == "enter":
            opened.append(meter.phase(phase))
            opened[-1].__enter__()
            first, last = clock.now if first is None else first, clock.now
        elif action == "leave" and opened:
            opened.pop(wait % len(opened)).__exit__(None, None, None)  # in any order, as threads do
            last = clock.now
        elif action == "read" and opened:
            seconds(meter)
            last = clock.now
    if opened:
        seconds(meter)
        last = clock.now

    assert sum(seconds(meter).values()) == (0 if first is None else last - first)


def test_a_phase_that_another_thread_leaves_first_does_not_end_the_inner_one(meter, clock):
    outer, inner = meter.phase("compute"), meter.phase("checkpoint")
    outer.__enter__()
    inner.__enter__()
    clock.now += 1
    outer.__exit__(None, None, None)
    clock.now += 10
    inner.__exit__(None, None, None)

    assert seconds(meter) == {"checkpoint": 11}


def test_a_clock_that_steps_back_takes_no_time_away(meter, clock):
    with meter.phase("compute"):
        clock.now += 3
        meter.read()
        clock.now -= 100
        meter.read()
        clock.now += 2

    assert seconds(meter) == {"compute": 5}


def test_steps_samples_and_the_last_loss_are_counted(meter):
    meter.step(0.7, 64)
    meter.step(0.5, 32)

    assert [value(meter, metric) for metric in (TRAINING_STEPS, TRAINING_SAMPLES, TRAINING_LOSS)] == [2, 96, 0.5]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_counted(meter, loss):
    meter.step(0.5, 1)
    meter.step(loss, 1)

    assert (value(meter, TRAINING_NONFINITE), value(meter, TRAINING_STEPS)) == (1, 2)


def test_what_never_happened_has_no_value(meter):
    assert value(meter, TRAINING_LOSS) is None
    assert value(meter, TRAINING_CHECKPOINT_TIME) is None
    assert value(meter, TRAINING_RESTARTS) == 0
    assert all(tuple(one.labels) == one.metric.labels for one in meter.read())


def test_checkpoints_and_restarts_are_noted(meter, clock):
    meter.checkpoint()
    clock.now += 50
    meter.restart()

    assert (value(meter, TRAINING_CHECKPOINT_TIME), value(meter, TRAINING_RESTARTS)) == (1_000.0, 1)


def test_a_misspelt_phase_is_refused_and_never_becomes_a_label(meter):
    with pytest.raises(ValueError, match=r"data_wait"), meter.phase("data-wait"):
        pass

    assert seconds(meter) == {}


def test_with_a_lock_no_step_is_lost_between_threads(clock):
    meter = TrainingMeter("credit-risk", "v2", clock, lock=threading.RLock())

    def work():
        for _ in range(2_000):
            with meter.phase("compute"):
                meter.step(0.5, 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (value(meter, TRAINING_STEPS), value(meter, TRAINING_SAMPLES)) == (8_000, 16_000)
