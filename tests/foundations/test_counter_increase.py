"""Counting events from raw counter samples: exact, additive, blind to nothing but what was never sampled."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.slo.counters import Series, increase, newest, sum_increase


@st.composite
def lives(draw):
    """A counter's life: samples at rising times, and how many events happened between each sample and the one before, resets included."""
    steps = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 50), st.booleans()), min_size=1, max_size=20))
    times = list(accumulate(step[0] for step in steps))
    value, samples, events = 0, [], []
    for time, (_, grown, restarted) in zip(times, steps, strict=True):
        # A restart shows only if fewer events came since than were counted before it; else nobody can tell.
        value = grown if restarted and grown < value else value + grown
        samples.append((float(time), float(value)))
        events.append((time, grown))
    return samples, events


BORDERS = st.lists(st.integers(-5, 700), min_size=3, max_size=3).map(sorted)
BIRTH = st.none() | st.integers(-5, 700)


def test_the_value_at_the_start_is_the_last_sample_at_or_before_it():
    samples = [(10.0, 100.0), (20.0, 103.0), (30.0, 110.0)]

    assert increase(samples, 10, 20) == 3
    assert increase(samples, 15, 29) == 3
    assert increase(samples, 20, 30) == 7


def test_the_window_is_open_at_its_start_and_closed_at_its_end():
    samples = [(10.0, 0.0), (20.0, 1.0)]

    assert (increase(samples, 20, 30), increase(samples, 10, 20)) == (0, 1)


def test_a_restarted_process_counts_from_zero():
    assert increase([(0.0, 90.0), (10.0, 100.0), (20.0, 4.0), (30.0, 6.0)], 0, 30) == 16


def test_a_series_that_ends_keeps_what_it_counted():
    assert increase([(0.0, 0.0), (10.0, 5.0)], 0, 10_000) == 5


def test_a_series_that_nobody_saw_begin_counts_from_its_first_sample():
    assert increase([(10.0, 100.0), (20.0, 103.0)], 0, 30) == 3


def test_a_series_born_after_the_given_moment_counts_from_zero():
    samples = [(10.0, 100.0), (20.0, 103.0)]

    assert increase(samples, 0, 30, from_zero_after=9) == 103
    assert increase(samples, 0, 30, from_zero_after=10) == 3


def test_what_lies_wholly_outside_the_window_counts_nothing():
    samples = [(10.0, 100.0), (20.0, 103.0)]

    assert [increase(samples, *window, from_zero_after=0) for window in ((0, 5), (25, 30))] == [0, 0]
    assert increase([], 0, 30, from_zero_after=0) == 0


@given(lives(), st.integers(0, 700))
def test_every_event_after_the_first_sample_is_counted_exactly(life, end):
    samples, events = life

    assert increase(samples, samples[0][0], end) == sum(count for time, count in events[1:] if time <= end)
    assert increase(samples, -1, end, from_zero_after=-1) == sum(count for time, count in events if time <= end)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e12)), max_size=20).map(sorted), BORDERS, BIRTH)
def test_a_count_of_events_is_never_negative(samples, borders, birth):
    assert increase(samples, borders[0], borders[1], from_zero_after=birth) >= 0


@given(lives(), BORDERS, BIRTH)
def test_adjacent_windows_share_no_event_and_lose_none(life, borders, birth):
    samples, _ = life
    start, middle, end = borders

    parts = increase(samples, start, middle, from_zero_after=birth) + increase(samples, middle, end, from_zero_after=birth)

    assert increase(samples, start, end, from_zero_after=birth) == parts


@given(st.lists(lives(), max_size=4), BORDERS, BIRTH)
def test_resets_are_taken_out_of_each_series_before_the_sum(many, borders, birth):
    series = [Series({"pid": str(number)}, samples) for number, (samples, _) in enumerate(many)]

    total = sum_increase(series, borders[0], borders[1], from_zero_after=birth)

    assert total == sum(increase(one.samples, borders[0], borders[1], from_zero_after=birth) for one in series)


def test_one_replicas_restart_never_hides_behind_anothers_growth():
    steady = Series({"pid": "1"}, [(0.0, 0.0), (10.0, 100.0)])
    restarted = Series({"pid": "2"}, [(0.0, 50.0), (10.0, 2.0)])

    assert sum_increase([steady, restarted], 0, 10) == 102


@pytest.mark.parametrize(
    ("series", "time"), [([], None), ([Series({}, [])], None), ([Series({}, [(1.0, 0.0), (7.0, 0.0)]), Series({}, [(3.0, 1.0)])], 7.0)]
)
def test_the_newest_sample_of_all_tells_how_fresh_the_evidence_is(series, time):
    assert newest(series) == time
