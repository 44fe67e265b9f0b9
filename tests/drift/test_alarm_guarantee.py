"""The promise: the mean number of false alarms is at most the budget, on rows as hostile as the promise allows."""

import numpy as np
import pytest

from mlops_obs.collectors.drift.alarms import Budget, Detector, Normal, Watched
from mlops_obs.collectors.drift.alarms.natural import SECTION, Natural, section_from_blocks
from mlops_obs.collectors.drift.alarms.questions import questions_of
from mlops_obs.collectors.drift.columns import Categories
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import SpecError

EXACT = Normal(z=0.0, tolerance=0.0)


def references():
    rng = np.random.default_rng(0)
    block = {
        "normal": rng.normal(size=20_000),
        "count": rng.poisson(2, 20_000).astype(np.float64),
        "gap": np.where(rng.random(20_000) < 0.2, np.nan, rng.lognormal(size=20_000)),
        "name": Categories(rng.choice(6, 20_000, p=[0.4, 0.3, 0.2, 0.08, 0.015, 0.005]), list("abcdef")),
    }
    return ReferenceProfile.from_block(block)


@pytest.mark.parametrize("name", ["normal", "count", "gap", "name"])
def test_every_question_is_an_e_value_for_the_reference_itself(name):
    partition = references().partition(name)
    shares = partition.expected / partition.expected.sum()

    questions = questions_of(name, partition, EXACT)

    assert sum(one.prior for one in questions) == pytest.approx(1)
    assert max(float(shares @ np.exp(one.log_e)) for one in questions) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["normal", "count", "gap", "name"])
def test_every_question_is_an_e_value_for_every_distribution_that_counts_as_normal(name):
    rng = np.random.default_rng(1)
    partition = references().partition(name)
    expected = partition.expected.astype(float)
    questions = questions_of(name, partition, Normal(z=3.0, tolerance=0.05))

    # as far from the reference as 200 others of 20,000 rows of the same population are
    others = rng.multinomial(20_000, expected / expected.sum(), size=200) / 20_000

    assert max(float((others @ np.exp(one.log_e)).max()) for one in questions) <= 1 + 1e-9


def test_the_mean_number_of_false_alarms_is_at_most_the_budget_for_correlated_features_and_an_exact_reference():
    rng = np.random.default_rng(2)
    partition = references().partition("normal")
    shares = partition.expected / partition.expected.sum()
    budget = Budget(1, rows=5000)
    found, runs = 0, 40
    for _ in range(runs):
        detector = Detector([Watched(f"x{place}", partition) for place in range(10)], budget, EXACT)
        common = rng.choice(shares.size, size=(5000, 1), p=shares)
        own = rng.choice(shares.size, size=(5000, 10), p=shares)
        found += len(detector.update_cells(np.where(rng.random((5000, 10)) < 0.7, common, own), step=10))

    # 40 runs of the budget allow 40; a promise on the mean, so three standard deviations above it would break it
    assert found <= runs + 3 * runs**0.5


def ar1(rng, rows, keep=0.9):
    noise = rng.normal(size=rows) * (1 - keep**2) ** 0.5
    values = np.empty(rows)
    level = rng.normal()
    for place in range(rows):
        level = keep * level + noise[place]
        values[place] = level
    return values


def test_rows_that_depend_on_each_other_are_no_alarm_once_the_reference_knows_it():
    rng = np.random.default_rng(3)
    found = {}
    for knows in (False, True):
        found[knows] = 0
        for _ in range(4):
            block = {"level": ar1(rng, 10_000)}
            reference = ReferenceProfile.from_block(block)
            if knows:
                reference = reference.with_section(SECTION, section_from_blocks(reference, [block], by_time=True))
            detector = Detector.of(reference, Budget(1, rows=100_000))
            cells = cells_of(reference.partition("level"), ar1(rng, 20_000))[:, None]
            found[knows] += len(detector.update_cells(cells))

    assert found[False] > 0
    assert found[True] == 0


def test_natural_variation_is_measured_by_the_design_effect_of_autocorrelation():
    rng = np.random.default_rng(4)
    block = {"level": ar1(rng, 40_000), "alone": rng.normal(size=40_000)}
    reference = ReferenceProfile.from_block(block)
    natural = Natural.from_bytes(section_from_blocks(reference, [block], by_time=True))
    score = np.arange(reference.partition("level").expected.size, dtype=float)

    assert 10 <= natural.variation("level", score).effect <= 35  # (1 + 0.9) / (1 - 0.9) = 19
    assert natural.variation("alone", np.arange(reference.partition("alone").expected.size, dtype=float)).effect < 1.6


def test_a_table_that_is_sorted_is_not_taken_for_one_in_the_order_of_time():
    rng = np.random.default_rng(5)
    block = {"sorted": np.sort(rng.normal(size=5000)), "free": rng.normal(size=5000)}
    reference = ReferenceProfile.from_block(block)

    assert set(Natural.from_bytes(section_from_blocks(reference, [block])).counts) == {"free"}


def test_the_section_does_not_depend_on_how_the_rows_came_in_blocks():
    rng = np.random.default_rng(6)
    values = ar1(rng, 5000)
    reference = ReferenceProfile.from_columns({"level": values})

    whole = section_from_blocks(reference, [{"level": values}], by_time=True)
    parts = section_from_blocks(reference, [{"level": part} for part in np.split(values, [7, 300, 4000])], by_time=True)

    assert whole == parts


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a":1}', b'{"a":[[1,2],"x"]}', b'{"a":[[2,2],""]}', b'{"a":[[99999,99999],""]}'])
def test_a_damaged_section_is_refused(content):
    with pytest.raises(SpecError, match="OBS-ALM-002"):
        Natural.from_bytes(content)
