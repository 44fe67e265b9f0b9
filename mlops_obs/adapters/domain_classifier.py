"""Can a classifier tell the current rows from the reference's? The strongest test of the rows as a whole, and the one that needs rows.

Gradient-boosted trees learn on some rows which table they are from and are asked about others (Lopez-Paz and Oquab 2017). An AUC of 0.5
says that no combination of columns tells the tables apart; the columns that the trees lean on are where to look.

The trap: an AUC on rows that the trees have learned from is far above 0.5 without any drift. Every row is scored by trees that have not
seen it. With a million rows 0.51 is significant; 0.55 is where it begins to matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.statistics.performance import auc_interval
from mlops_obs.collectors.drift.tails import normal_tail
from mlops_obs.errors import UsageError

_FOLDS = 3
_LEAST_ROWS = 30  # of each table
_MOST_RANKED = 200  # columns whose share is measured by permutation


@dataclass(frozen=True, slots=True)
class DomainClassifier:
    """`auc` with its 90 % interval, the `p_value` of no difference, and `features`: what the AUC loses without each, largest first."""

    auc: float
    auc_low: float
    auc_high: float
    p_value: float
    features: tuple[tuple[str, float], ...]


def domain_classifier(reference: Mapping[str, NDArray[Any]], current: Mapping[str, NDArray[Any]], seed: int = 0) -> DomainClassifier | None:
    """Train and ask the classifier.

    Args:
        reference: sampled rows: {column: values (rows,)}, numbers or names; NaN or None is missing.
        current: sampled rows; columns that it lacks are left out.
        seed: of the split and the trees; the same gives the same answer.

    Returns:
        None with fewer than 30 rows in a table, or without a common column.

    Raises:
        UsageError: OBS-STAT-002 if scikit-learn is not installed.
    """
    try:
        import sklearn  # noqa: F401
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise UsageError("OBS-STAT-002", "scikit-learn is not installed", todo='pip install "mlops-obs[drift]"') from error
    names = [name for name in reference if name in current]
    sizes = tuple(len(next(iter(side.values()), ())) for side in (reference, current))
    if not names or min(sizes) < _LEAST_ROWS:
        return None
    rows = np.column_stack([_numbers(reference[name], current[name]) for name in names])
    origin = np.repeat([0, 1], sizes)
    with threadpool_limits(1, "openmp"):  # small trees wait for their threads on a busy machine: 100 times slower
        areas, variances, lost = _asked(rows, origin, seed)
    area = float(np.mean(areas))
    interval = auc_interval(area, sizes[1], sizes[0])
    z = (area - 0.5) / np.sqrt(np.mean(variances) / _FOLDS)
    p_value = normal_tail(z) / 2 if z > 0 else 1 - normal_tail(z) / 2
    ranked = sorted(zip(names, lost, strict=True), key=lambda one: (-one[1], one[0]))
    return DomainClassifier(area, interval.low, interval.high, p_value, tuple(ranked))


def _asked(rows: NDArray[np.float64], origin: NDArray[np.int64], seed: int) -> tuple[list[float], list[float], list[float]]:
    """Return AUC and its variance under no difference of each fold, and what the first loses when a column is shuffled."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    random = np.random.default_rng(seed)
    areas, variances, lost = [], [], [0.0] * rows.shape[1]
    for fold, (learned, asked) in enumerate(StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(rows, origin)):
        trees = HistGradientBoostingClassifier(
            max_iter=60, max_leaf_nodes=15, min_samples_leaf=20, class_weight="balanced", early_stopping=False, random_state=seed + fold
        )
        trees.fit(rows[learned], origin[learned])
        test, truth = rows[asked], origin[asked]
        areas.append(float(roc_auc_score(truth, trees.predict_proba(test)[:, 1])))
        n, m = int((truth == 0).sum()), int(truth.sum())
        variances.append((n + m + 1) / (12 * n * m))  # Mann and Whitney 1947
        if fold == 0 and rows.shape[1] <= _MOST_RANKED:
            for place in range(rows.shape[1]):
                shuffled = test.copy()
                shuffled[:, place] = random.permutation(test[:, place])
                lost[place] = areas[0] - float(roc_auc_score(truth, trees.predict_proba(shuffled)[:, 1]))
    return areas, variances, lost


def _numbers(before: NDArray[Any], now: NDArray[Any]) -> NDArray[np.float64]:
    """Return both tables' values as numbers: names by how often they occur, the most common first."""
    both = np.concatenate([before.astype(object) if before.dtype != now.dtype else before, now])
    if both.dtype.kind in "fiub":
        return both.astype(np.float64)
    codes: dict[str, int] = {}
    labels = [None if one is None or one != one else str(one) for one in both.tolist()]
    counts: dict[str, int] = {}
    for one in labels:
        if one is not None:
            counts[one] = counts.get(one, 0) + 1
    for place, one in enumerate(sorted(counts, key=lambda name: (-counts[name], name))):
        codes[one] = place
    return np.array([np.nan if one is None else codes[one] for one in labels], dtype=np.float64)
