"""`increase` as Prometheus computes it, before and since version 3."""

import numpy as np
import pytest

from mlops_obs.slo.raw_samples import RawSeries, RunningSum, count_over_time, increase, instant, present

MINUTE = 60_000


def series(values: list[float | None], step: int = MINUTE) -> RawSeries:
    there = [(index * step, value) for index, value in enumerate(values) if value is not None]
    at, numbers = zip(*there, strict=True)
    return RawSeries({}, np.array(at, dtype=np.int64), np.array(numbers, dtype=np.float64))


def at(minute: float) -> np.ndarray:
    return np.array([minute * MINUTE], dtype=np.int64)


def test_a_range_has_a_closed_left_end_before_prometheus_3_and_an_open_one_since():
    counter = series([100 + 10.0 * minute for minute in range(20)])

    before, since = (increase(counter, at(10), 5 * MINUTE, flavour)[0] for flavour in ("prometheus-2", "prometheus-3"))

    assert before == 50  # six samples, nothing to extrapolate
    assert since == pytest.approx(50)  # five samples over four minutes, extrapolated by one


def test_a_reset_counts_from_zero_and_two_samples_are_needed():
    counter = series([90, 100, 5, 15])

    assert increase(counter, at(3), 3 * MINUTE)[0] == 25
    assert np.isnan(increase(counter, at(0), 5 * MINUTE)[0])


def test_a_young_counter_is_not_extrapolated_to_before_it_was_zero():
    counter = series([None, None, 1, 11, 21])

    assert increase(counter, at(4), 5 * MINUTE)[0] == pytest.approx(20 * (120 + 6) / 120)


def test_a_gap_at_the_edge_counts_for_half_a_distance_between_samples():
    counter = series([1000.0 + 10 * minute if minute < 8 else None for minute in range(20)])

    assert increase(counter, at(10), 5 * MINUTE)[0] == pytest.approx(20 * (120 + 0 + 30) / 120)


def test_an_instant_sees_a_series_for_five_minutes_unless_it_is_marked_as_ended():
    silent, ended = series([1.0, 2.0]), series([1.0, float("nan")])

    assert [bool(present(silent, at(minute))[0]) for minute in (1, 6, 6.1)] == [True, True, False]
    assert bool(present(silent, at(6), "prometheus-3")[0]) is False
    assert np.isnan(instant(ended, at(1))[0])


def test_samples_are_counted_in_a_half_open_range():
    assert count_over_time(series([1.0] * 10), at(5), 5 * MINUTE)[0] == 5


def test_five_bad_events_are_five_whatever_was_added_up_before():
    running = RunningSum(np.array([7 * 350 / 240] * 1000 + [1.0] * 5 + [np.nan]))

    total, there = running.between(np.array([1000]), np.array([1005]))

    assert (total[0], there[0]) == (5.0, 5)
