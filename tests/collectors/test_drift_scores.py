import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift import DriftVerdict, Sketch
from mlops_obs.collectors.drift.scores import Cells, homogeneity, psi, score
from mlops_obs.collectors.drift.sketch import codes_of
from mlops_obs.collectors.drift.tails import chi_square_critical, chi_square_tail, excess_tail

stats = pytest.importorskip("scipy.stats")


def compare(reference, current, alpha=1e-5):
    cells = Cells.of(Sketch.of(reference))
    return score("x", cells.expected, cells.count(codes_of(np.asarray(current, dtype=float))), alpha=alpha)


@given(st.integers(1, 60), st.floats(0.001, 400))
def test_the_chi_square_tail_agrees_with_scipy(degrees, statistic):
    assert chi_square_tail(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees), rel=1e-8, abs=1e-300)


@given(st.integers(1, 400), st.integers(1, 4000), st.data())
def test_the_excess_tail_agrees_with_scipy(drawn, rest, data):
    marked = data.draw(st.integers(1, drawn + rest))
    observed = data.draw(st.integers(max(0, marked - rest), min(marked, drawn)))

    expected = stats.hypergeom.sf(observed - 1, drawn + rest, marked, drawn)

    assert excess_tail(observed, marked, drawn, rest) == pytest.approx(expected, rel=1e-6, abs=1e-290)


def test_the_critical_value_is_the_inverse_of_the_tail():
    assert chi_square_tail(chi_square_critical(1e-6, 9), 9) == pytest.approx(1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=15).filter(
        lambda c: sum(a for a, _ in c) * sum(b for _, b in c)
    )
)
def test_the_psi_is_finite_never_negative_and_zero_for_equal_shares(cells):
    reference, current = (np.array(side) for side in zip(*cells, strict=True))

    assert 0 <= psi(reference, current) < np.inf
    assert psi(reference, reference * 3) < 0.02


def test_cells_are_deciles_and_a_heavy_value_has_a_cell_of_its_own():
    normal = Cells.of(Sketch.of(np.random.default_rng(0).normal(size=10_000)))
    zeros = Cells.of(Sketch.of(np.where(np.arange(10_000) % 10 == 0, np.arange(10_000) + 1.0, 0.0)))

    inner = normal.expected[1:-2]
    assert len(inner) in (9, 10, 11)
    assert inner.min() > 500
    assert zeros.expected[1] == 9_000
    assert normal.expected[[0, -2, -1]].tolist() == [0, 0, 0]


def test_cells_of_a_table_are_counted_alike_from_values_and_from_a_sketch():
    random = np.random.default_rng(0)
    cells = Cells.of(Sketch.of(random.lognormal(size=1_000)))
    current = np.concatenate([random.lognormal(1, 2, 500), [np.nan, np.inf, -np.inf, 0.0]])

    assert cells.count(codes_of(current)).tolist() == cells.count_sketch(Sketch.of(current)).tolist()


CHANGES = {
    "a unit change": (lambda x: x * 100),
    "a constant fill": (lambda x: np.full_like(x, np.median(x))),
    "all missing": (lambda x: np.full_like(x, np.nan)),
    "a sign change": (lambda x: -x),
    "half of it infinite": (lambda x: np.where(np.arange(x.size) % 2, x, np.inf)),
    "three in ten missing": (lambda x: np.where(np.arange(x.size) % 10 < 3, np.nan, x)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_breaks_a_feature_is_drift(change):
    random = np.random.default_rng(5)

    result = compare(random.lognormal(8, 1, 4_000), change(random.lognormal(8, 1, 500)))

    assert result.verdict == DriftVerdict.DRIFTED


def test_a_constant_that_changes_is_drift_although_there_is_nothing_to_bin():
    assert compare(np.ones(4_000), np.full(500, 2.0)).verdict == DriftVerdict.DRIFTED
    assert compare(np.ones(4_000), np.ones(500)).verdict == DriftVerdict.STABLE


def test_a_feature_that_never_had_a_value_drifts_when_it_gets_one():
    nothing = np.full(4_000, np.nan)

    assert compare(nothing, np.zeros(500)).verdict == DriftVerdict.DRIFTED
    assert compare(nothing, nothing[:500]).verdict == DriftVerdict.STABLE


def test_a_new_category_is_drift_once_it_is_common():
    random = np.random.default_rng(5)
    known = random.integers(0, 5, 4_000)

    rare = compare(known, np.where(random.random(500) < 0.004, 9, random.integers(0, 5, 500)))
    common = compare(known, np.where(random.random(500) < 0.3, 9, random.integers(0, 5, 500)))

    assert (rare.verdict, common.verdict) == (DriftVerdict.STABLE, DriftVerdict.DRIFTED)


def test_one_sentinel_row_neither_alarms_nor_blinds():
    random = np.random.default_rng(5)
    reference, current = np.append(random.lognormal(8, 1, 10_000), 999_999_999), random.lognormal(8, 1, 1_000)

    assert compare(reference, current).verdict == DriftVerdict.STABLE
    assert compare(reference[:-1], np.append(current, 999_999_999)).verdict == DriftVerdict.STABLE
    assert compare(reference, current * 4).verdict == DriftVerdict.DRIFTED


def test_few_rows_are_inconclusive_not_alarming_and_not_reassuring():
    random = np.random.default_rng(5)

    same = [compare(random.normal(size=4_000), random.normal(size=40)).verdict for _ in range(50)]

    assert set(same) == {DriftVerdict.INCONCLUSIVE}


def test_a_small_shift_in_many_rows_is_significant_and_yet_stable():
    random = np.random.default_rng(5)

    result = compare(random.normal(size=50_000), random.normal(0.1, 1, size=50_000))

    assert result.p_value < 1e-6
    assert (result.verdict, result.psi < 0.05) == (DriftVerdict.STABLE, True)


def test_an_empty_side_is_no_evidence():
    assert homogeneity(np.array([0, 0]), np.array([3, 4])) == (1.0, 0)
    assert compare(np.arange(100.0), []).verdict == DriftVerdict.INCONCLUSIVE
