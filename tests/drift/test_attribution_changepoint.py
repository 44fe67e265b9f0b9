import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaln
from scipy.stats import norm

from mlops_obs.collectors.drift.attribution.changepoint import Blocks, _log_gamma, since

CUTS = np.array([-np.inf, *norm.ppf(np.arange(1, 10) / 10), np.inf])


def stream(rng, blocks, rows, at, shift):
    """Counts of normal values in deciles, whose mean moves by `shift` at the moment `at` (a block is one unit of time)."""
    moment = np.arange(blocks)[:, None] + rng.random((blocks, rows))
    values = rng.normal(size=(blocks, rows)) + (moment > at) * shift
    cells = np.searchsorted(CUTS[1:-1], values)
    return np.stack([(cells == cell).sum(axis=1) for cell in range(10)], axis=1)


def found(rng, blocks, rows, shift, scale=1.0):
    at = rng.uniform(0.1, 0.95) * blocks
    reference = np.histogram(rng.normal(size=5_000), bins=CUTS)[0]
    times = np.arange(blocks) * scale
    return at * scale, since(Blocks.of(times, times + scale, stream(rng, blocks, rows, at, shift)), reference)


@pytest.mark.parametrize(("blocks", "rows", "shift"), [(50, 20, 0.5), (50, 200, 0.2), (20, 50, 1.0), (30, 100, 3.0), (100, 5, 0.5)])
def test_the_interval_holds_the_true_moment_nine_times_of_ten(blocks, rows, shift):
    rng = np.random.default_rng(11)

    answers = [found(rng, blocks, rows, shift) for _ in range(250)]

    coverage = np.mean([one.earliest <= at <= one.latest for at, one in answers])
    assert 0.85 <= coverage <= 0.97
    assert all(one.earliest <= one.at <= one.latest for _, one in answers)


def test_a_large_change_is_told_to_a_fraction_of_a_block():
    rng = np.random.default_rng(12)

    answers = [found(rng, 50, 200, 2.0, scale=60.0) for _ in range(50)]

    assert np.median([abs(one.at - at) for at, one in answers]) < 15
    assert np.median([one.latest - one.earliest for _, one in answers]) < 60


def test_a_thousand_blocks_and_ten_thousand_are_located_alike():
    rng = np.random.default_rng(13)
    for blocks in (1_000, 10_000):
        counts = stream(rng, blocks, 20, blocks - 40.5, 1.0)
        one = since(Blocks.of(np.arange(blocks), np.arange(blocks) + 1, counts), np.full(10, 500))

        assert one.earliest <= blocks - 40.5 <= one.latest
        assert one.latest - one.earliest < 5


def test_old_blocks_are_merged_first_and_no_row_is_lost():
    counts = np.arange(5_000 * 3).reshape(5_000, 3) + 1
    blocks = Blocks.of(np.arange(5_000), np.arange(5_000) + 1, counts)

    thin = blocks.thinned(200)

    assert len(thin.start) <= 200
    assert thin.counts.sum(axis=0).tolist() == counts.sum(axis=0).tolist()
    assert thin.start[0] == 0
    assert thin.end[-1] == 5_000
    lengths = thin.end - thin.start
    assert lengths[-1] == 1
    assert lengths[0] > lengths[-1]


def test_blocks_come_in_any_order_and_empty_ones_say_nothing():
    rng = np.random.default_rng(14)
    counts = stream(rng, 40, 50, 25.0, 1.0)
    order = rng.permutation(40)
    start = np.arange(40.0)
    reference = np.full(10, 500)

    straight = since(Blocks.of(start, start + 1, counts), reference)
    late = np.append(start[order], 50.0)
    mixed = since(Blocks.of(late, late + 1, np.vstack([counts[order], np.zeros((1, 10))])), reference)

    assert straight == mixed


def test_without_rows_there_is_no_moment():
    assert since(Blocks.of([0.0], [1.0], np.zeros((1, 3))), [1, 1, 1]) is None


def test_repeated_rows_widen_the_interval():
    rng = np.random.default_rng(15)
    blocks = Blocks.of(np.arange(50), np.arange(50) + 1, stream(rng, 50, 50, 25.5, 0.5))

    once, often = (since(blocks, np.full(10, 500), design_effect=effect) for effect in (1.0, 8.0))

    assert often.latest - often.earliest > once.latest - once.earliest


def test_a_change_before_all_that_is_kept_begins_where_that_begins():
    rng = np.random.default_rng(16)

    one = since(Blocks.of(np.arange(20), np.arange(20) + 1, stream(rng, 20, 100, -1.0, 1.0)), np.full(10, 500))

    assert one.earliest == 0
    assert one.latest < 1


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(0.01, 1e9), min_size=1, max_size=20))
def test_the_log_of_gamma_is_that_of_scipy(values):
    assert np.allclose(_log_gamma(values), gammaln(values), rtol=1e-12, atol=1e-10)
