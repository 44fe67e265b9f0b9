"""What a change of a feature costs, predicted from the reference alone: AUC and money, with intervals.

Two things can be behind a change, and they cost differently. The *population* may have changed: more applicants of a kind that the
model knows. Then the reference's rows, weighted by how much more often their cell occurs (importance weighting under covariate
shift, Shimodaira 2000), are the rows of today. Or the *data* may be broken: the customers are the same and the model is told
something else about them. Then labels stay as they were and scores become what the model says of a row in that cell.

Which of the two it is follows from the kind of change: units, types, columns that are gone and values that are missing, invalid or
unseen are broken data; other moves are the population.

The trap: a change of a feature that the model does not use costs nothing, however large it is, and reweighting alone would not say
so, because an unused feature may go along with used ones. An importance of 0 decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.attribution.impact import MINOR, FeatureImpact, Impact, impact_of
from mlops_obs.collectors.drift.building import importances_of
from mlops_obs.collectors.drift.partition import NumberPartition
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, Cost, FeatureResult

Numbers = NDArray[np.float64]

_BROKEN = (Change.UNIT, Change.INVALID, Change.TYPE, Change.GONE)
_ORDINARY = 0.04  # share of the reference's rows, for a cell to tell how many rows are as before
_AS_BEFORE = 0.15  # a cell whose share is within this of what it was
_BY_CHANCE = 0.1  # of a cell's rows may be in it although all rows are broken
_THIN = 20  # rows; a cell with fewer says nothing of its own about scores
_INTERVAL = (0.05, 0.95)


def cost_of(
    reference: ReferenceProfile,
    feature: str,
    counts: NDArray[np.int64],
    change: Change | None = None,
    *,
    replicates: int = 100,
    seed: int = 0,
) -> Cost | None:
    """Predict the cost of a feature's current cells, all other things equal.

    Args:
        reference: with a section `impact`.
        feature: its name.
        counts: (cells,) current rows by cell of `reference.partition(feature)`.
        change: kind of change, if it is known: it tells a broken feature from another population.
        replicates: of the Poisson bootstrap behind the 90 % intervals.
        seed: of the same.

    Returns:
        Differences to the reference: AUC below 0 and money above 0 are losses. The intervals hold what the samples leave open, not
        what the model of the change does. None if the reference has no impact of this feature in these cells, or there are no rows.

    Raises:
        SpecError: OBS-ATT-003 if the section cannot be read, OBS-DRF-004 if the feature is not in the reference.
    """
    impact = impact_of(reference)
    found = impact.features.get(feature) if impact else None
    if impact is None or found is None or counts.sum() < 1 or len(found.rows) != counts.size:  # or counted in other cells
        return None
    has_money = bool(found.money.size)
    if found.importance is not None and found.importance <= 0:
        return Cost(0.0, 0.0, 0.0, *((0.0, 0.0, 0.0) if has_money else ()))
    rng = np.random.default_rng(seed)
    now = np.vstack([counts[None, :], rng.poisson(counts, (replicates, counts.size))]).astype(np.float64)
    now /= np.maximum(now.sum(axis=1, keepdims=True), 1)
    drawn = rng.poisson(found.rows, (replicates, *found.rows.shape))
    rows = np.concatenate([found.rows[None], drawn]).astype(np.float64)
    ordered = isinstance(reference.partition(feature), NumberPartition)
    kept, broken, fixed = _split(found.rows.sum(axis=(1, 2)), now, change, ordered=ordered)
    area, money = _population(impact, found, rows, kept)
    if broken.any():
        more_area, more_money = _broken(impact, found, rows, broken, fixed, rng)
        area, money = area + more_area, money + more_money
    low, high = _interval(area)
    if not has_money:
        return Cost(float(area[0]), low, high)
    return Cost(float(area[0]), low, high, float(money[0]), *_interval(money))


def rank(features: Iterable[FeatureResult]) -> list[FeatureResult]:
    """Return features, the most costly change first: by money, then by AUC lost, then by importance; without a cost last."""

    def worth(one: FeatureResult) -> tuple[bool, float, float, float, str]:
        cost = one.cost
        if cost is None:
            return (True, 0.0, 0.0, -(one.importance or 0.0), one.name)
        return (False, -(cost.money or 0.0), cost.auc, -(one.importance or 0.0), one.name)

    return sorted(features, key=worth)


def importances(reference: ReferenceProfile) -> Mapping[str, float]:
    """Return what each feature is worth to the model; features without a known worth are left out.

    In AUC lost when it is shuffled, from the section `impact`; else as it was given when the reference was made.
    """
    impact = impact_of(reference)
    measured = {name: one.importance for name, one in impact.features.items() if one.importance is not None} if impact else {}
    return {**importances_of(reference), **measured}


def auc(joint: Numbers) -> Numbers:
    """Return the area under the ROC curve of (..., bins, 2) rows by score bin and label, ties half (Mann-Whitney); NaN without both."""
    good, bad = joint[..., 0].astype(np.float64), joint[..., 1].astype(np.float64)
    below = np.cumsum(good, axis=-1) - good
    with np.errstate(invalid="ignore", divide="ignore"):
        area: Numbers = (bad * (below + good / 2)).sum(axis=-1) / (good.sum(axis=-1) * bad.sum(axis=-1))
    return area


def _split(
    expected: NDArray[np.int64], now: Numbers, change: Change | None, *, ordered: bool
) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """Split current shares (replicates, cells).

    Returns:
        The shares of another population, adding to 1; the shares of broken rows by the cell that they are told to be in, adding to the
        share of all rows that is broken; and the cells whose rows are as they were although the feature is broken (0 times 100 is 0).
    """
    before = expected / max(1, expected.sum())
    fixed = np.zeros(before.size, dtype=bool)
    if change in _BROKEN:
        usual = before >= _ORDINARY
        usual[-2:] &= before[-2:] > 0.5
        ratio = now / np.where(usual, before, np.inf)
        if change is Change.UNIT and ordered:
            fixed = usual & (np.abs(ratio[0] - 1) < _AS_BEFORE)
            fixed &= not fixed[usual].all()
        moving = usual & ~fixed
        same = ratio[:, moving].min(axis=1) if moving.any() else np.zeros(len(now))
        same = np.where(same < _BY_CHANCE, 0.0, np.minimum(same, 1))[:, None]
        broken = np.maximum(now - same * before, 0)
        return np.broadcast_to(before, now.shape), broken / np.maximum(broken.sum(axis=1, keepdims=True), 1e-300) * (1 - same), fixed
    outside = _outside(before.size, ordered=ordered)
    faulty = np.zeros(before.size, dtype=bool)
    faulty[-2:] = True
    if not ordered:
        faulty[-3] = True
    elif change is None and now[0][outside].sum() > 0.5:
        faulty[outside] = True  # most rows beyond all that was ever seen: no population moves like that
    broken = np.where(faulty, np.maximum(now - before, 0), 0)
    rest = now - broken
    inner = np.flatnonzero(before[1:-3] > 0) + 1
    if ordered and inner.size:  # the rows beyond the range are like those at its edge
        rest = rest.copy()
        for cell, edge in ((0, inner[0]), (before.size - 3, inner[-1])):
            if not expected[cell]:
                rest[:, edge] += rest[:, cell]
                rest[:, cell] = 0
    return rest / np.maximum(rest.sum(axis=1, keepdims=True), 1e-300), broken, fixed


def _outside(cells: int, *, ordered: bool) -> list[int]:
    return [0, cells - 3] if ordered else [cells - 3]


def _population(impact: Impact, found: FeatureImpact, rows: Numbers, kept: Numbers) -> tuple[Numbers, Numbers]:
    """Return the differences of AUC and money (replicates,) if the feature's cells had the shares `kept`."""
    in_cell = rows.sum(axis=(2, 3))
    weight = np.where(in_cell > 0, kept * in_cell.sum(axis=1, keepdims=True) / np.maximum(in_cell, 1), 0)
    after = np.einsum("rc,rcsy->rsy", weight, rows)
    area = auc(after) - auc(rows.sum(axis=1))
    if not found.money.size:
        return area, np.zeros_like(area)
    each = np.where(found.rows > 0, found.money / np.maximum(found.rows, 1), 0)
    cell = np.einsum("rcsy,csy->rc", rows, _lost(impact, each))
    total = in_cell.sum(axis=1)
    return area, (np.einsum("rc,rc->r", weight - (in_cell > 0), cell)) / total * 1000 / MINOR


def _broken(
    impact: Impact, found: FeatureImpact, rows: Numbers, broken: Numbers, fixed: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Return the differences of AUC and money (replicates,) if `broken` shares of all rows were told to be in these cells."""
    left = 1 - broken.sum(axis=1)
    if found.pairs.size:
        return _asked(impact, found, _told(found, np.column_stack([left, broken]), fixed), rng)
    base, response, base_money, response_money = _by_rank(found, rows, broken[0] > 0)
    after = left[:, None, None] * base + np.einsum("rc,rcsy->rsy", broken, response)
    before = _lost(impact, base_money).sum(axis=(-2, -1))
    money = left * before + np.einsum("rc,rc->r", broken, _lost(impact, response_money).sum(axis=(-2, -1))) - before
    return auc(after) - auc(base), money * 1000 / MINOR


def _told(found: FeatureImpact, mixture: Numbers, fixed: NDArray[np.bool_]) -> Numbers:
    """Return for good and bad rows (2, replicates, 1 + cells) what they are told: those of a fixed cell are told the truth."""
    told = np.stack([mixture, mixture])
    if not fixed.any():
        return told
    moving = np.append(True, ~fixed)
    by_label = found.rows.sum(axis=1).astype(np.float64)
    for label in (0, 1):
        stay = np.append(0.0, np.where(fixed, by_label[:, label], 0) / max(1.0, by_label[:, label].sum()))
        rest = np.where(moving, mixture, 0)
        told[label] = stay + rest / np.maximum(rest.sum(axis=1, keepdims=True), 1e-300) * (1 - stay.sum())
    return told


def _asked(impact: Impact, found: FeatureImpact, told: Numbers, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Use what the model said at training time; the bootstrap weighs the groups of the sample, the same before and after.

    The area under the curve of a mixture is the mean of the areas of its pairs of parts.
    """
    good, bad = told
    replicates, groups = len(good), len(impact.sample)
    weight = np.vstack([np.ones(groups), rng.gamma(1, 1, (replicates - 1, groups))])  # Bayesian bootstrap (Rubin 1981)
    area = np.einsum("rg,gij->rij", weight, found.pairs) / (2 * weight @ impact.sample.prod(axis=1))[:, None, None]
    change = np.einsum("ri,rij,rj->r", bad, area, good) - area[:, 0, 0]
    if not found.lost.size:
        return change, np.zeros(replicates)
    lost = np.einsum("rg,gcy->ryc", weight, found.lost) / (weight @ impact.sample.sum(axis=1))[:, None, None]
    after = np.einsum("ri,ri->r", good, lost[:, 0]) + np.einsum("ri,ri->r", bad, lost[:, 1])
    return change, (after - lost[:, :, 0].sum(axis=1)) * 1000 / MINOR


def _by_rank(found: FeatureImpact, rows: Numbers, wanted: NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Scores as they would be if a row kept its rank among the rows of its cell and got the scores of another: no model is asked."""
    share = rows / np.maximum(rows.sum(axis=(1, 2, 3)), 1)[:, None, None, None]
    base = share.sum(axis=1)
    by_cell = rows.sum(axis=3)
    pooled = by_cell.sum(axis=1, keepdims=True)
    target = np.where(found.rows.sum(axis=(1, 2))[None, :, None] >= _THIN, by_cell, pooled)
    upper, goal = _distribution(by_cell), _distribution(target)
    lower, floor = np.pad(upper, ((0, 0), (0, 0), (1, 0)))[..., :-1], np.pad(goal, ((0, 0), (0, 0), (1, 0)))[..., :-1]
    width = np.maximum(upper - lower, 1e-12)
    response = np.zeros_like(share)
    for cell in np.flatnonzero(wanted):
        overlap = np.minimum(upper[..., None], goal[:, cell, None, None, :]) - np.maximum(lower[..., None], floor[:, cell, None, None, :])
        response[:, cell] = np.einsum("rcsy,rcst->rty", share, np.maximum(overlap, 0) / width[..., None])
    if not found.money.size:
        return base, response, np.zeros_like(base), np.zeros_like(response)
    each = found.money.sum(axis=(0, 1)) / np.maximum(found.rows.sum(axis=(0, 1)), 1)  # by label
    return base, response, base * each, response * each


def _distribution(counts: Numbers) -> Numbers:
    total = np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    found: Numbers = np.cumsum(counts, axis=-1) / total
    return found


def _lost(impact: Impact, money: Numbers) -> Numbers:
    """Keep the money of bad rows that are not flagged and of good rows that are."""
    kept = np.array(money, dtype=np.float64)
    kept[..., impact.cut :, 1] = 0
    kept[..., : impact.cut, 0] = 0
    return kept


def _interval(draws: Numbers) -> tuple[float, float]:
    low, high = np.nanquantile(draws[1:], _INTERVAL) if np.isfinite(draws[1:]).any() else (np.nan, np.nan)
    return min(float(low), float(draws[0])), max(float(high), float(draws[0]))
