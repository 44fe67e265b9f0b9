"""What a window adds up: every 5-minute point of it once, whatever grid it is read on."""

import random

import numpy as np
import pytest

from mlops_obs.slo import windows as span
from mlops_obs.slo.counters import Series, Tally, increase
from mlops_obs.slo.recordings import from_counts
from mlops_obs.slo.spec import SLO

MOMENTS = [0, 1, 299, 300, 3_599, 3_600, 3_601, 86_400, 1_700_000_123, 1_700_002_800]


def points(parts: list[span.Part[int]]) -> list[int]:
    """Return the 5-minute points that are read, an hourly count as its twelve."""
    return [
        at - part.step + fine
        for part in parts
        for at in range(part.first, part.last + 1, part.step)
        for fine in range(300, part.step + 1, 300)
    ]


@pytest.mark.parametrize("now", MOMENTS)
@pytest.mark.parametrize("window", [3_900, 86_400, 90_000, 95_100, 3 * 86_400, 30 * 86_400])
def test_a_window_takes_every_5_minute_point_in_it_once(now, window):
    assert points(span.parts(now, window)) == [at for at in range((now - window) // 300 * 300, now + 1, 300) if now - window < at <= now]


@pytest.mark.parametrize("now", MOMENTS)
def test_30_days_are_about_743_points(now):
    assert 730 <= sum(len(range(part.first, part.last + 1, part.step)) for part in span.parts(now, 30 * 86_400)) <= 743


@pytest.mark.parametrize(("start", "whole"), [(1_699_999_200, True), (1_700_001_000, False)])
def test_a_calendar_period_begins_where_it_begins(start, whole):
    now = start + 40_000

    assert points(span.calendar_parts(now, start, whole_hours=whole)) == list(range(start + 300, now + 1, 300))


def test_what_is_counted_is_what_the_points_cover():
    assert (span.counted_since(1_000_000, 7_200), span.counted_until(1_000_000, 7_200)) == (992_700, 999_900)
    assert (span.counted_since(1_000_000, 3_600), span.counted_until(1_000_000, 3_600)) == (996_400, 1_000_000)


def test_a_slice_is_the_shortest_window_of_a_budget_of_slices():
    assert [span.is_raw(window, sliced=True) for window in (300, 900, 3_600)] == [True, False, False]
    assert [span.is_raw(window) for window in (300, 900, 3_600, 3_900)] == [True, True, True, False]


def test_a_tally_counts_what_increase_counts():
    rng = random.Random(5)
    for _ in range(200):
        at, value, samples = 0.0, 0.0, []
        for _ in range(rng.randint(0, 30)):
            at, value = at + rng.randint(1, 90), 0.0 if rng.random() < 0.1 else value + rng.randint(0, 9)
            samples.append((at, value))
        tally, start, end = Tally(Series({}, samples)), rng.randint(-50, 900), rng.randint(0, 1_500)

        assert tally.count(start, max(start, end)) == increase(samples, start, max(start, end))


def test_the_replay_of_a_calendar_period_begins_with_a_full_budget_and_not_with_an_unknown_one():
    one = SLO(service="shop", team="web", name="a", objective="0.99", period="week", indicator={"type": "availability"})
    monday = 4 * 86_400
    at = np.arange(monday - 3_600, monday + 901, 300)

    left = from_counts(one, at, {(): (np.full(len(at), 10.0), np.full(len(at), 100.0))}, ()).remaining(())

    assert left[at == monday] == 1
    assert left[at == monday + 300] < 1
