"""Labels against scores, in tables: has the law that the model learned changed, or only the people it is applied to?

Where current rows have labels, each bin of scores should have the share of bad ones that it had in the reference (section `impact`). The
Mantel-Haenszel test asks whether the odds rose at all scores together, Cochran's sum of chi-squares whether they changed in any way; both
are tests of two samples, since the reference's shares are estimates too. A population that moves from bin to bin changes neither.

The trap: labels of young rows are no fair sample, because a default is known before a repayment. Give rows whose labels have all had
the time to come; `collectors.quality` weighs those that have not.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution.build import labels_of
from mlops_obs.collectors.drift.attribution.costs import auc
from mlops_obs.collectors.drift.attribution.impact import Impact, impact_of
from mlops_obs.collectors.drift.columns import Block, Categories, ColumnKind, Role
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, FeatureResult, Verdict
from mlops_obs.collectors.drift.tails import chi_square_tail

Counts = NDArray[np.int64]

ALPHA = 0.001
_MATTERS_ODDS = 0.2  # natural logarithm: risks a fifth higher or lower
_MATTERS_SHARE = 0.03  # of all rows have another label than their score would have meant
_LEAST = 5.0  # expected rows of each label in a bin, for its chi-square


class LabelLook:
    """Counts labels of current rows by score; blocks come in any order.

    Args:
        reference: with a section `impact`, a column of numbers with the role prediction and one with the role label.
    """

    def __init__(self, reference: ReferenceProfile) -> None:
        roles = {one.role: one.name for one in reversed(reference.schema.columns)}
        self._impact = impact_of(reference)
        self.prediction, self.label = roles.get(Role.PREDICTION, ""), roles.get(Role.LABEL, "")
        self.counts = np.zeros((len(self._impact.edges) + 1 if self._impact else 0, 2), dtype=np.int64)

    @property
    def possible(self) -> bool:
        """Whether the reference knows enough."""
        return bool(self._impact and self._impact.features and self.prediction and self.label)

    def add(self, block: Block) -> None:
        """Count a block; rows without score or label, and blocks without these columns, are left out."""
        scores = block.get(self.prediction)
        if self._impact is None or scores is None or self.label not in block or isinstance(scores, Categories) or scores.ndim != 1:
            return
        values, labels = np.asarray(scores, dtype=np.float64), labels_of(block[self.label])
        known = np.isfinite(values) & np.isin(labels, (0.0, 1.0))
        np.add.at(self.counts, (self._impact.bin_of(values[known]), labels[known].astype(np.int64)), 1)

    def result(self, alpha: float = ALPHA) -> FeatureResult | None:
        """Return what the labels say; None if there are none or the reference does not know what to expect."""
        if self._impact is None or not self.possible or not self.counts.sum():
            return None
        return concept_result(self.label, self._impact, self.counts, alpha)


def concept_result(label: str, impact: Impact, counts: Counts, alpha: float = ALPHA) -> FeatureResult:
    """Return the result of the column of labels.

    Args:
        label: its name.
        impact: of the reference.
        counts: (bins, 2) current rows by score bin and label.
        alpha: chance of a false alarm.

    Returns:
        Drifted, of the kind `concept`, if it is neither chance nor too small to matter. `statistics`: log_odds_ratio (Mantel-Haenszel),
        p_value, misplaced (share of the rows, less what is chance), auc and auc_reference, bad and expected_bad (shares).
    """
    before = impact.calibration
    odds, chance = mantel_haenszel(before, counts)
    apart, degrees = cochran(before, counts)
    p_value = min(1.0, 2 * min(chance, chi_square_tail(apart, degrees)))
    rows = counts.sum(axis=1)
    rate = np.where(before.sum(axis=1) > 0, before[:, 1] / np.maximum(before.sum(axis=1), 1), np.nan)
    usable = np.isfinite(rate) & (rows > 0)
    expected = float((rows * np.where(usable, rate, 0)).sum() / max(int(rows[usable].sum()), 1))
    misplaced = _misplaced(before[usable], counts[usable])
    known = {
        "p_value": p_value,
        "log_odds_ratio": odds,
        "misplaced": misplaced,
        "bad": float(counts[:, 1].sum() / max(int(rows.sum()), 1)),
        "expected_bad": expected,
        "auc": float(auc(counts.astype(np.float64))),
        "auc_reference": float(auc(before.astype(np.float64))),
    }
    matters = abs(odds) >= _MATTERS_ODDS or misplaced >= _MATTERS_SHARE
    resolved = 2 * _error(before, counts) < _MATTERS_ODDS
    verdict = Verdict.DRIFTED if matters and p_value < alpha else Verdict.STABLE if resolved else Verdict.INCONCLUSIVE
    found = verdict is Verdict.DRIFTED
    return FeatureResult(
        label, ColumnKind.BOOLEAN, verdict, Change.CONCEPT if found else None, known, _words(known) if found else "", Role.LABEL
    )


def mantel_haenszel(before: Counts, now: Counts) -> tuple[float, float]:
    """Return the common log odds ratio of a bad label, now against before, over all bins, and the p-value that it is 0.

    Sum of (a - E a) over bins, squared, by the sum of hypergeometric variances: chi-square with one degree (Mantel and Haenszel 1959),
    without continuity correction. The ratio is Mantel and Haenszel's, with half a row added where a side has none.
    """
    a, b = now[:, 1].astype(np.float64), now[:, 0].astype(np.float64)
    c, d = before[:, 1].astype(np.float64), before[:, 0].astype(np.float64)
    total = a + b + c + d
    usable = (a + b > 0) & (c + d > 0)
    a, b, c, d, total = (one[usable] for one in (a, b, c, d, total))
    if not total.size:
        return 0.0, 1.0
    spread = ((a + b) * (c + d) * (a + c) * (b + d) / (total**2 * np.maximum(total - 1, 1))).sum()
    statistic = float((a - (a + b) * (a + c) / total).sum() ** 2 / spread) if spread > 0 else 0.0
    above, below = float((a * d / total).sum()), float((b * c / total).sum())
    ratio = (above + 0.5) / (below + 0.5) if min(above, below) <= 0 else above / below
    return log(ratio), chi_square_tail(statistic, 1)


def cochran(before: Counts, now: Counts) -> tuple[float, int]:
    """Return the sum over bins of two-sample chi-squares of the label, and its degrees (Cochran 1954); thin bins are left out."""
    statistic, degrees = 0.0, 0
    for one, other in zip(before.astype(np.float64), now.astype(np.float64), strict=True):
        total = one.sum() + other.sum()
        expected = np.outer([one.sum(), other.sum()], one + other) / max(total, 1.0)
        if expected.min() >= _LEAST:
            statistic += float(((np.stack([one, other]) - expected) ** 2 / expected).sum())
            degrees += 1
    return statistic, degrees


def _misplaced(before: Counts, now: Counts) -> float:
    """Return the share of current rows whose label is another than their score would have meant, less its expectation by chance."""
    rows = now.sum(axis=1).astype(np.float64)
    if not rows.sum():
        return 0.0
    old, new = before[:, 1] / np.maximum(before.sum(axis=1), 1), now[:, 1] / np.maximum(rows, 1)
    pooled = (before[:, 1] + now[:, 1]) / np.maximum(before.sum(axis=1) + rows, 1)
    chance = np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / np.maximum(rows, 1) + 1 / np.maximum(before.sum(axis=1), 1)))
    return max(0.0, float((rows * (np.abs(new - old) - chance)).sum() / rows.sum()))


def _error(before: Counts, now: Counts) -> float:
    """Return the standard error of a log odds ratio from these rows, pooled over the bins."""
    cells = [float(side[:, place].sum()) for side in (before, now) for place in (0, 1)]
    return float("inf") if min(cells) <= 0 else sum(1 / one for one in cells) ** 0.5


def _words(known: dict[str, float]) -> str:
    shares = f"{known['bad']:.1%} bad labels where the scores say {known['expected_bad']:.1%}"
    if abs(known["log_odds_ratio"]) >= _MATTERS_ODDS:
        return shares
    return f"the scores no longer separate good from bad as they did: AUC {known['auc']:.3f}, was {known['auc_reference']:.3f} ({shares})"
