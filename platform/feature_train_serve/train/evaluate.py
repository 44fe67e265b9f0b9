"""How good a model is on the later slice: ranking (AUC) and calibration. Plain numpy, exact under ties."""

from __future__ import annotations

import numpy as np


def auc(label: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve: how often a default is scored above a non-default, ties counting half. NaN with one class."""
    order = np.argsort(score, kind="stable")
    values, start, count = np.unique(score[order], return_index=True, return_counts=True)
    rank = np.empty(score.size)
    rank[order] = np.repeat(start + (count + 1) / 2, count)
    bad = label == 1
    goods = int((~bad).sum())
    if not goods or goods == label.size or not values.size:
        return float("nan")
    return float((rank[bad].sum() - bad.sum() * (bad.sum() + 1) / 2) / (bad.sum() * goods))


def metrics(label: np.ndarray, probability: np.ndarray, bins: int = 10) -> dict[str, float]:
    """Return auc, brier, calibration_error (mean gap over equal-count bins), observed and predicted default rates, and rows."""
    groups = np.array_split(np.argsort(probability, kind="stable"), min(bins, label.size))
    gap = sum(abs(float(label[group].mean()) - float(probability[group].mean())) * group.size for group in groups) / label.size
    return {
        "auc": auc(label, probability),
        "brier": float(np.mean((probability - label) ** 2)),
        "calibration_error": gap,
        "observed_rate": float(label.mean()),
        "predicted_rate": float(probability.mean()),
        "rows": float(label.size),
    }
