import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift.sketches import NumberSketch
from mlops_obs.collectors.drift.sketches.numbers import codes_of
from mlops_obs.collectors.drift.statistics import kolmogorov_smirnov, kolmogorov_smirnov_p_value, quantiles, wasserstein_1
from mlops_obs.collectors.drift.statistics.ordered import representatives

stats = pytest.importorskip("scipy.stats")

values = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80).map(np.array)
whole = st.lists(st.integers(-64, 64), min_size=1, max_size=80).map(lambda some: np.array(some, dtype=float))
RESOLUTION = 1 / 64  # of a value's magnitude


def to_buckets(data):
    return representatives(codes_of(data))


@given(values)
def test_a_bucket_stands_for_its_value_nearest_to_zero_within_a_64th(data):
    found = to_buckets(data)

    assert np.all(np.abs(found) <= np.abs(data))
    assert np.all(np.abs(found - data) <= RESOLUTION * np.abs(data) + 1e-300)


@given(whole, whole)
def test_of_small_whole_numbers_ks_and_wasserstein_are_exactly_scipys(before, now):
    reference, current = NumberSketch.of(before), NumberSketch.of(now)

    assert kolmogorov_smirnov(reference, current) == pytest.approx(stats.ks_2samp(before, now).statistic, abs=1e-12)
    assert wasserstein_1(reference, current) == pytest.approx(stats.wasserstein_distance(before, now), abs=1e-9)


@given(values, values)
def test_of_any_numbers_both_are_within_the_resolution_of_the_buckets(before, now):
    reference, current = NumberSketch.of(before), NumberSketch.of(now)
    rounded = to_buckets(before), to_buckets(now)
    error = RESOLUTION * (np.abs(before).mean() + np.abs(now).mean())

    assert kolmogorov_smirnov(reference, current) == pytest.approx(stats.ks_2samp(*rounded).statistic, abs=1e-12)
    assert kolmogorov_smirnov(reference, current) <= stats.ks_2samp(before, now).statistic + 1e-12
    assert wasserstein_1(reference, current) == pytest.approx(stats.wasserstein_distance(before, now), abs=error + 1e-6)


def test_on_ten_thousand_rows_the_difference_to_the_rows_own_statistics_is_small():
    random = np.random.default_rng(0)
    before, now = random.normal(size=10_000), random.normal(0.2, 1.1, size=10_000)
    reference, current = NumberSketch.of(before), NumberSketch.of(now)

    assert kolmogorov_smirnov(reference, current) == pytest.approx(stats.ks_2samp(before, now).statistic, abs=0.0005)
    assert wasserstein_1(reference, current) == pytest.approx(stats.wasserstein_distance(before, now), rel=0.02)


@given(st.floats(0.001, 1), st.integers(1, 10_000), st.integers(1, 10_000))
def test_the_ks_p_value_is_kolmogorovs_distribution(statistic, n, m):
    expected = stats.kstwobign.sf(statistic * np.sqrt(n * m / (n + m)))

    assert kolmogorov_smirnov_p_value(statistic, n, m) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(values, st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_quantiles_are_numpys_of_the_bucketed_values(data, levels):
    expected = np.quantile(to_buckets(data), levels, method="inverted_cdf")

    found = quantiles(NumberSketch.of(data), np.array(levels))

    # at a level that is a whole number of rows, either neighbour is a quantile
    neighbours = np.quantile(to_buckets(data), np.clip(np.array(levels) - 1e-9, 0, 1), method="inverted_cdf")
    assert all(value in (one, other) for value, one, other in zip(found, expected, neighbours, strict=True))


def test_infinite_values_count_for_ks_and_not_for_wasserstein():
    before, now = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, np.inf, np.inf])
    reference, current = NumberSketch.of(before), NumberSketch.of(now)

    assert kolmogorov_smirnov(reference, current) == 0.5
    assert wasserstein_1(reference, current) == stats.wasserstein_distance(before, [1.0, 2.0])


def test_without_values_there_is_no_statistic():
    nothing, some = NumberSketch.of(np.full(3, np.nan)), NumberSketch.of(np.ones(3))

    assert np.isnan(kolmogorov_smirnov(nothing, some))
    assert np.isnan(wasserstein_1(some, nothing))
    assert np.isnan(quantiles(nothing, np.array([0.5]))).all()
    assert kolmogorov_smirnov_p_value(float("nan"), 0, 3) == 1.0
