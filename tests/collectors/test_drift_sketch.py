import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_obs.collectors.drift import ReferenceProfile, Sketch
from mlops_obs.collectors.drift.sketch import codes_of
from mlops_obs.errors import SpecError

numbers = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=60)


def profile(*columns):
    return ReferenceProfile.from_columns({f"f{place}": values for place, values in enumerate(columns)})


@given(st.lists(numbers, min_size=1, max_size=6), st.randoms())
def test_shards_merged_in_any_order_give_the_bytes_of_the_whole(shards, random):
    whole = profile([0.0], [value for shard in shards for value in shard])
    parts = [profile([0.0] if place == 0 else [], shard) for place, shard in enumerate(shards) if shard or place == 0]
    random.shuffle(parts)

    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)

    assert merged.to_bytes() == whole.to_bytes()


@given(numbers.filter(bool))
def test_a_profile_survives_its_bytes_and_keeps_every_row(values):
    reference = profile(values)

    again = ReferenceProfile.from_bytes(reference.to_bytes())

    assert again.to_bytes() == reference.to_bytes()
    assert again.sketches["f0"].rows == len(values)
    assert again.sketches["f0"].missing == sum(value != value for value in values)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_buckets_are_ordered_as_the_values_are(a, b):
    low, high = codes_of(np.array(sorted([a, b])))

    assert low <= high


def test_a_bucket_is_never_wider_than_two_percent_and_zero_has_no_sign():
    values = np.geomspace(1e-6, 1e6, 10_001)

    assert (codes_of(values * 1.02) > codes_of(values)).all()
    assert codes_of(np.array([-0.0])) == codes_of(np.array([0.0]))


def test_missing_values_of_every_spelling_are_counted():
    sketch = Sketch.of([None, float("nan"), 1.0, np.inf])

    assert (sketch.rows, sketch.missing, sketch.maximum) == (4, 2, np.inf)


def test_the_order_of_the_features_is_the_models():
    reference = ReferenceProfile.from_columns({"income": [1.0], "age": [2.0]})

    assert ReferenceProfile.from_bytes(reference.to_bytes()).feature_names == ("income", "age")


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[:30], lambda b: b"PAR1" + b, lambda b: b[:-9] + b"x" + b[-8:], lambda _: b""]
)
def test_a_damaged_profile_is_refused_with_its_code(damage):
    content = profile(np.arange(100)).to_bytes()

    with pytest.raises(SpecError, match="OBS-DRF-001"):
        ReferenceProfile.from_bytes(damage(content))


@pytest.mark.parametrize("columns", [{}, {"a": []}, {"a": ["red", "blue"]}])
def test_a_reference_without_numbers_is_refused(columns):
    with pytest.raises(SpecError, match="OBS-DRF-002"):
        ReferenceProfile.from_columns(columns)


def test_profiles_of_different_features_do_not_merge():
    with pytest.raises(SpecError, match="f1"):
        profile([1.0], [1.0]).merge(profile([1.0]))


def test_a_feature_that_falls_into_one_bucket_is_named_and_a_constant_is_not():
    reference = ReferenceProfile.from_columns({"timestamp": 1.7e9 + np.arange(1000.0), "constant": np.ones(1000), "age": np.arange(1000.0)})

    assert reference.blind() == ["timestamp"]
