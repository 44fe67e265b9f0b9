"""AUC and calibration agree with scikit-learn and with arithmetic done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from feature_train_serve.train.evaluate import auc, metrics
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=60))
def test_auc_equals_the_share_of_pairs_in_the_right_order_ties_counting_half(rows: list[tuple[int, int]]) -> None:
    label, score = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    pairs = [(bad > good) + 0.5 * (bad == good) for bad in score[label == 1] for good in score[label == 0]]

    measured = auc(label, score)

    assert math.isnan(measured) if not pairs else measured == pytest.approx(np.mean(pairs))


def test_auc_agrees_with_scikit_learn() -> None:
    reference = pytest.importorskip("sklearn.metrics", reason="scikit-learn is missing: pip install mlops-obs[dev]")
    rng = np.random.default_rng(1)
    label, score = rng.integers(0, 2, 500), rng.normal(size=500).round(1)

    assert auc(label, score) == pytest.approx(reference.roc_auc_score(label, score))


def test_a_perfectly_calibrated_model_has_no_calibration_error() -> None:
    label = np.tile([1.0, 0.0, 0.0, 0.0], 100)

    assert metrics(label, np.full(400, 0.25), bins=4)["calibration_error"] == pytest.approx(0.0)


def test_predicting_twice_the_rate_is_off_by_the_rate() -> None:
    label = np.tile([1.0, 0.0, 0.0, 0.0], 100)

    judged = metrics(label, np.full(400, 0.5))

    assert (judged["observed_rate"], judged["predicted_rate"]) == (0.25, 0.5)
    assert judged["calibration_error"] == pytest.approx(0.25)
