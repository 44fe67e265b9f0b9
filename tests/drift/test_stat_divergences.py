import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift.statistics import (
    hellinger,
    holm,
    homogeneity,
    homogeneity_chi_square,
    jensen_shannon_distance,
    jensen_shannon_divergence,
    linf,
    psi,
    total_variation,
)
from mlops_obs.collectors.drift.tails import chi_square_critical, chi_square_tail, excess_tail, gamma_tail, normal_quantile, normal_tail

stats = pytest.importorskip("scipy.stats")
distance = pytest.importorskip("scipy.spatial.distance")

rows = st.integers(0, 500)
cells = st.lists(st.tuples(rows, rows), min_size=1, max_size=15).filter(lambda c: sum(a for a, _ in c) * sum(b for _, b in c) > 0)


def sides(cells):
    return tuple(np.array(side) for side in zip(*cells, strict=True))


@given(st.integers(1, 60), st.floats(0.001, 400))
def test_the_chi_square_tail_agrees_with_scipy(degrees, statistic):
    assert chi_square_tail(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees), rel=1e-8, abs=1e-300)


@given(st.floats(0.05, 80), st.floats(0.001, 300))
def test_the_gamma_tail_agrees_with_scipy(shape, value):
    assert gamma_tail(shape, value) == pytest.approx(stats.gamma.sf(value, shape), rel=1e-8, abs=1e-300)


@given(st.floats(0.0001, 0.9999))
def test_the_normal_quantile_and_tail_agree_with_scipy(level):
    z = normal_quantile(level)

    assert z == pytest.approx(stats.norm.ppf(level), abs=1e-9)
    assert normal_tail(z) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-9)


@given(st.integers(1, 400), st.integers(1, 4000), st.data())
def test_the_excess_tail_agrees_with_scipy(drawn, rest, data):
    marked = data.draw(st.integers(1, drawn + rest))
    observed = data.draw(st.integers(max(0, marked - rest), min(marked, drawn)))

    expected = stats.hypergeom.sf(observed - 1, drawn + rest, marked, drawn)

    assert excess_tail(observed, marked, drawn, rest) == pytest.approx(expected, rel=1e-6, abs=1e-290)


def test_the_critical_value_is_the_inverse_of_the_tail():
    assert chi_square_tail(chi_square_critical(1e-6, 9), 9) == pytest.approx(1e-6)


@given(cells)
def test_the_psi_is_finite_never_negative_and_near_zero_for_equal_shares(cells):
    reference, current = sides(cells)

    assert 0 <= psi(reference, current) < np.inf
    assert psi(reference, reference * 3) < 0.02


@given(cells)
def test_the_psi_is_the_sum_by_hand_over_smoothed_shares(cells):
    reference, current = sides(cells)
    n, m, total = reference.sum(), current.sum(), 0.0
    for before, now in cells:
        if before + now:
            pool = (before + now) / (n + m)
            p, q = (before + pool) / (n + 1), (now + pool) / (m + 1)
            total += (q - p) * np.log(q / p)

    assert psi(reference, current) == pytest.approx(total, rel=1e-9, abs=1e-12)


@given(cells)
def test_the_jensen_shannon_distance_is_scipys_and_the_divergence_its_square(cells):
    reference, current = sides(cells)
    expected = distance.jensenshannon(reference, current, base=2)

    assert jensen_shannon_distance(reference, current) == pytest.approx(expected, abs=1e-7)
    assert jensen_shannon_divergence(reference, current) == pytest.approx(expected**2, abs=1e-12)


@given(cells)
def test_the_other_distances_are_the_sums_that_their_names_say(cells):
    reference, current = sides(cells)
    p, q = reference / reference.sum(), current / current.sum()

    assert total_variation(reference, current) == pytest.approx(distance.cityblock(p, q) / 2)
    assert linf(reference, current) == pytest.approx(distance.chebyshev(p, q))
    assert hellinger(reference, current) == pytest.approx(distance.euclidean(np.sqrt(p), np.sqrt(q)) / np.sqrt(2), abs=1e-12)


@given(cells)
def test_a_table_of_features_gives_what_its_rows_give(cells):
    reference, current = sides(cells)
    table = np.stack([reference, current]), np.stack([current, reference])

    for statistic in (psi, jensen_shannon_distance, total_variation, hellinger, linf):
        alone = [float(statistic(reference, current)), float(statistic(current, reference))]
        assert statistic(*table).tolist() == pytest.approx(alone, abs=1e-9)


@given(cells.filter(lambda c: sum(a + b > 0 for a, b in c) > 1))
def test_the_two_sample_chi_square_is_scipys_test_of_the_contingency_table(cells):
    table = np.array([one for one in cells if sum(one)]).T
    expected = stats.chi2_contingency(table, correction=False)

    statistic, degrees, p_value = homogeneity_chi_square(*sides(cells))

    assert (statistic, degrees) == (pytest.approx(expected.statistic, rel=1e-9, abs=1e-9), expected.dof)
    assert p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-290)


def test_with_well_filled_cells_the_test_for_a_verdict_is_the_chi_square():
    reference, current = np.array([500, 300, 200]), np.array([450, 350, 240])

    assert homogeneity(reference, current)[0] == pytest.approx(homogeneity_chi_square(reference, current)[2])


def test_an_empty_side_is_no_evidence():
    assert homogeneity(np.array([0, 0]), np.array([3, 4])) == (1.0, 0)
    assert np.isnan(total_variation(np.array([0, 0]), np.array([3, 4])))


def test_one_row_where_the_reference_has_none_is_no_evidence_however_large_it_is():
    reference, current = np.array([10_000_000, 0]), np.array([59, 1])

    assert homogeneity(reference, current)[0] < 1e-4
    assert homogeneity(reference, current, spare=1)[0] == 1.0


def test_holm_gives_what_is_left_of_the_level_to_the_others():
    assert holm([0.001, 0.012, 0.04, 0.5], 0.05) == [True, True, False, False]  # Bonferroni would keep 0.0125 for each
    assert holm([0.02, 0.04], 0.05) == [True, True]
    assert holm([0.03, 0.04], 0.05) == [False, False]
    assert holm([], 0.05) == []
