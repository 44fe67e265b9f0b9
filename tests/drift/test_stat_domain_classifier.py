import numpy as np
import pytest

from mlops_obs.adapters.domain_classifier import domain_classifier

pytest.importorskip("sklearn")


def rows(random, number, correlation=0.6):
    x, y, z = (random.normal(size=number) for _ in range(3))
    return {"x": x, "y": correlation * x + np.sqrt(1 - correlation**2) * y, "z": z, "channel": random.choice(["web", "phone"], number)}


def test_a_sign_flip_of_a_correlation_is_told_apart_and_its_columns_come_first():
    random = np.random.default_rng(0)

    found = domain_classifier(rows(random, 2_000), rows(random, 1_500, -0.6))

    assert found.auc_low > 0.6
    assert found.p_value < 1e-6
    assert {name for name, _ in found.features[:2]} == {"x", "y"}


def test_names_and_missing_values_take_part():
    random = np.random.default_rng(1)
    before, now = rows(random, 1_000), rows(random, 1_000)
    now["channel"] = np.where(random.random(1_000) < 0.4, "kiosk", now["channel"].astype(object))
    now["z"] = np.where(random.random(1_000) < 0.1, np.nan, now["z"])

    found = domain_classifier(before, now)

    assert found.p_value < 1e-6
    assert found.features[0][0] == "channel"


def test_two_samples_of_one_population_are_not_told_apart():
    random = np.random.default_rng(2)

    p_values = [domain_classifier(rows(random, 300), rows(random, 200)).p_value for _ in range(4)]

    assert min(p_values) > 0.003


def test_too_few_rows_or_no_common_column_say_nothing():
    random = np.random.default_rng(3)

    assert domain_classifier(rows(random, 20), rows(random, 500)) is None
    assert domain_classifier({"a": np.ones(100)}, {"b": np.ones(100)}) is None
