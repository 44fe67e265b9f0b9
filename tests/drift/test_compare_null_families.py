"""A small slice of benchmarks/drift: the claims hold on every family and kind before the long run says how well."""

import numpy as np
import pytest

from benchmarks.drift.false_alarms import LEVEL, rates
from benchmarks.drift.families import DEPENDENT, FAMILIES, _autocorrelated, block_of, schema_of
from benchmarks.drift.kinds_of_change import named
from mlops_obs.collectors.drift.alarms.natural import section_from_blocks
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.reference import ReferenceProfile


@pytest.mark.parametrize("size", [(1_000, 60), (1_000, 1_000), (5_000, 500)])
def test_two_samples_of_one_population_alarm_no_more_often_than_they_may(size):
    results = rates(8, (size,), ("ours",))  # 20 trials of each of the 25 families

    alarms = {row["family"]: row["ours"] for row in results}
    assert len(alarms) == 25
    assert max(count for count, _ in alarms.values()) <= 5  # 1 expected; 6 of 20 happen once in 3,000 times
    assert sum(count for count, _ in alarms.values()) <= LEVEL * 20 * 25 * 1.6


def test_the_level_is_that_of_the_p_values_too_and_not_owed_to_the_effect_alone():
    random = np.random.default_rng(0)
    p_values = []
    for family, draw in FAMILIES.items():
        if family in DEPENDENT:
            continue
        for _ in range(8):
            reference, current = (ReferenceProfile.from_block(block_of(family, draw(random, 800)), schema_of(family)) for _ in range(2))
            p_values.append(compare(reference, current).features[0].statistics["p_value"])

    assert np.mean(np.array(p_values) <= 0.05) <= 0.1  # 184 p-values: 0.05 expected at most


def test_strongly_autocorrelated_rows_alarm_without_the_natural_section_and_not_with_it():
    random, draw = np.random.default_rng(1), _autocorrelated(0.9)
    plain = aware = 0
    for _ in range(25):
        rows = {"x": draw(random, 5_000)}
        reference = ReferenceProfile.from_block(rows)
        current = ReferenceProfile.from_block({"x": draw(random, 500)}, reference.schema)
        plain += compare(reference, current, Settings(alpha=LEVEL)).alarm
        knowing = reference.with_section("natural", section_from_blocks(reference, [rows], by_time=True))
        aware += compare(knowing, current, Settings(alpha=LEVEL)).alarm

    assert plain >= 8
    assert aware <= 4


@pytest.mark.parametrize("rows", [500, 2_000])
def test_of_eight_kinds_of_change_in_twenty_features_nearly_all_are_found_and_named_right(rows):
    results = named(rows, 1)

    found = [one for one in results if one[3] is not None]
    wrong = [one for one in found if one[3] is not one[2]]
    assert len(found) >= 0.95 * len(results)
    assert len(wrong) <= 0.05 * len(found), wrong
