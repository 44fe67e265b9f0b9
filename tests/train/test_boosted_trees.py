"""Boosted trees as arrays predict what scikit-learn predicts, and nothing that is not trees is ever walked."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from feature_train_serve.train.trees import Trees
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from mlops_obs.errors import PlatformError


def fitted(seed: int, rows: int = 900, features: int = 5) -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(rows, features)) * 10.0 ** rng.integers(-3, 6, features)
    columns[rng.random(columns.shape) < 0.1] = np.nan
    label = (np.nan_to_num(columns[:, 0]) + rng.normal(size=rows) * np.nanstd(columns[:, 0]) > 0).astype(float)
    return HistGradientBoostingClassifier(max_iter=25, max_leaf_nodes=9, random_state=seed).fit(columns, label), columns


@pytest.mark.parametrize("seed", range(4))
def test_every_log_odds_has_scikit_learns_own_bits(seed: int) -> None:
    classifier, columns = fitted(seed)

    trees = Trees.from_bytes(Trees.of(classifier).to_bytes(), columns.shape[1])

    assert np.array_equal(trees.log_odds(columns), classifier.decision_function(columns))
    assert np.allclose(trees.probabilities(columns), classifier.predict_proba(columns)[:, 1], rtol=1e-14, atol=0)


def test_values_that_training_never_saw_go_where_scikit_learn_sends_them() -> None:
    classifier, columns = fitted(1)
    strange = np.array([[np.inf] * 5, [-np.inf] * 5, [np.nan] * 5, [0.0] * 5, [1e300] * 5])

    assert np.array_equal(Trees.of(classifier).log_odds(strange), classifier.decision_function(strange))
    assert columns.shape[1] == 5


def test_the_columns_that_no_node_looks_at_are_known() -> None:
    rng = np.random.default_rng(2)
    columns = np.column_stack([rng.normal(size=500), np.zeros(500)])  # the second can split nothing
    classifier = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(columns, (columns[:, 0] > 0).astype(float))

    assert Trees.of(classifier).used == {0}


def arrays_of(trees: Trees, **changes: np.ndarray) -> bytes:
    names = ("feature", "threshold", "missing_left", "left", "right", "value")
    buffer = io.BytesIO()
    np.savez(buffer, **{name: changes.get(name, getattr(trees, name)) for name in names}, baseline=trees.baseline, depth=trees.depth)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["left", "right"])
def test_a_child_that_points_backwards_is_refused_before_anybody_walks_in_circles(name: str) -> None:
    trees = Trees.of(fitted(1)[0])
    looped = getattr(trees, name).copy()
    looped[0, int(trees.left[0, 0])] = 0

    with pytest.raises(PlatformError, match="OBS-PKG-005"):
        Trees.from_bytes(arrays_of(trees, **{name: looped}), 5)


def test_a_feature_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(PlatformError, match="OBS-PKG-005"):
        Trees.from_bytes(Trees.of(fitted(1)[0]).to_bytes(), 1)


def test_a_pickle_in_the_place_of_an_array_is_not_opened() -> None:
    trees = Trees.of(fitted(1)[0])
    evil = np.empty(trees.value.shape, dtype=object)

    with pytest.raises(PlatformError, match="OBS-PKG-005"):
        Trees.from_bytes(arrays_of(trees, value=evil), 5)
    with pytest.raises(PlatformError, match="OBS-PKG-005"):
        Trees.from_bytes(pickle.dumps(trees.value), 5)


WHOLE = Trees.of(fitted(1, rows=300)[0]).to_bytes()


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_damaged_bytes_are_refused_or_still_trees_that_end(place: int, byte: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] = byte

    try:
        answer = Trees.from_bytes(bytes(damaged), 5).log_odds(np.zeros((1, 5))).shape
    except PlatformError as error:
        answer = error.code

    assert answer in {(1,), "OBS-PKG-005"}
