"""Makes a reference's section `impact`, in training, where rows, labels and the model are at hand.

Money follows cost-sensitive classification (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001): a row is flagged if
its score reaches the threshold; a bad row that is not flagged costs its `money`, a good row that is flagged costs its
`false_alarm_money`. Who does not know the latter has told it by his threshold: at a threshold where p of the rows are bad, flagging
pays only if a false alarm costs money x p / (1 - p).

The trap: without `predict` the cost of a *broken* feature is read from the ranks of scores within cells, which knows nothing of what
the model does with values it never saw, and is too low by far for a unit change. Give `predict` where the model is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlops_obs.collectors.drift.attribution.asked import Asked, Predict
from mlops_obs.collectors.drift.attribution.impact import BINS, MINOR, Counts, FeatureImpact, Impact
from mlops_obs.collectors.drift.columns import Block, Categories, Column, ColumnData, ColumnKind, Role, rows_of
from mlops_obs.collectors.drift.partition import cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch
from mlops_obs.collectors.drift.sketches.numbers import codes_of, lower_bound
from mlops_obs.errors import SpecError

Numbers = NDArray[np.float64]


def section_from_block(
    profile: ReferenceProfile,
    block: Block,
    *,
    prediction: ArrayLike,
    label: ArrayLike,
    money: ArrayLike | None = None,
    false_alarm_money: ArrayLike | None = None,
    importance: Mapping[str, float] | None = None,
    predict: Predict | None = None,
    threshold: float | None = None,
    sample: int = 5000,
    currency: str = "EUR",
    seed: int = 0,
) -> bytes:
    """Return the section `impact` of a profile: `profile.with_section("impact", section_from_block(profile, ...))`.

    Args:
        profile: of the same rows.
        block: the features, (rows,) each, and whatever else `predict` reads; columns of the profile that it lacks are left out.
        prediction: (rows,) scores; higher means that a bad label is more likely. Rows without a score or label are left out.
        label: (rows,) 1 for bad (default, fraud, churn), 0 for good.
        money: (rows,) or a number: what a bad row costs that is not flagged, in units of `currency`.
        false_alarm_money: (rows,) or a number: what a good row costs that is flagged; by default what the threshold implies.
        importance: by feature, in AUC lost; by default asked of `predict` by permutation (Breiman 2001), else not known.
        predict: the model: a block of the same columns -> (rows,) scores. Asked once per cell and feature about `sample` rows.
        threshold: score from which a row is flagged; by default as many rows are flagged as are bad.
        sample: rows about which `predict` is asked, evenly spaced.
        currency: of money, as a person writes it.
        seed: of the permutation.

    Raises:
        SpecError: OBS-ATT-001 if scores, labels or money do not fit the rows, or there are not both good and bad rows.
    """
    scores, labels, miss, alarm = _checked(block, prediction, label, money, false_alarm_money)
    rows = np.flatnonzero(np.isfinite(scores) & np.isin(labels, (0.0, 1.0)))
    truth = labels[rows].astype(np.int64)
    if not 0 < truth.sum() < rows.size:
        raise SpecError("OBS-ATT-001", f"{int(truth.sum())} of {rows.size} labels are bad", todo="give rows of both, labelled 0 and 1")
    if threshold is None:
        threshold = float(np.quantile(scores[rows], 1 - truth.mean()))
    edges = np.unique([*np.quantile(scores[rows], np.arange(1, BINS) / BINS), threshold])
    stake = truth[:0]
    if miss is not None:
        near = np.abs(np.searchsorted(edges, scores[rows], side="right") - np.searchsorted(edges, threshold) - 0.5) < 1
        bad, good = int(truth[near].sum()), int(near.sum()) - int(truth[near].sum())  # the rows about which the threshold decides
        wrongly = miss * (bad / max(1, good)) if alarm is None else alarm
        stake = np.rint(np.where(truth == 1, miss[rows], wrongly[rows]) * MINOR).astype(np.int64)
    features = _features(profile, block)
    if not features:
        raise SpecError("OBS-ATT-001", "the block has none of the profile's features", todo="give the rows that were profiled")
    found = _counted(profile, features, block, rows, scores[rows], truth, stake, edges, importance or {})
    about: Counts = truth[:0]
    if predict is not None:
        picked = np.unique(np.linspace(0, rows.size - 1, min(sample, rows.size)).astype(np.int64))
        asked = Asked(predict, block, rows[picked], truth[picked], stake[picked] if stake.size else stake, threshold)
        about = asked.sample
        for column in features:
            one = found[column.name]
            pairs, lost = asked.about(column.name, profile.partition(column.name))
            worth = asked.importance(column.name, seed) if one.importance is None else one.importance
            found[column.name] = FeatureImpact(one.rows, one.money, pairs, lost, worth)
    return Impact(edges, int(np.searchsorted(edges, threshold)) + 1, found, about, currency if stake.size else "").to_bytes()


def section_from_blocks(
    profile: ReferenceProfile,
    blocks: Iterable[Block],
    *,
    prediction: str,
    label: str,
    importance: Mapping[str, float] | None = None,
    money: str | None = None,
    currency: str = "EUR",
) -> bytes | None:
    """Return the section `impact` of a table in blocks, the same bytes in any order; None if scores and labels do not suffice for one.

    Args:
        profile: of the same table, with `prediction` and `label` among its columns: it gives the score bins and the threshold, at which
            as many rows are flagged as are bad. Scores are taken as probabilities of a bad label.
        blocks: the rows, in a second pass.
        prediction: name of the column of scores.
        label: name of the column of labels: 0 and 1, or false and true.
        importance: by feature, in AUC lost when it is shuffled.
        money: name of the column of what a bad row costs that is not flagged; amounts that are missing or below 0 count as 0.
        currency: of money.
    """
    scores, known = profile.sketches.get(prediction), profile.sketches.get(label)
    if not isinstance(scores, NumberSketch) or known is None or not scores.counts.sum():
        return None
    bad, rows = _labelled(known)
    if not 0 < bad < rows:
        return None
    filled = np.cumsum(scores.counts) / scores.counts.sum()
    borders = lower_bound(scores.codes + 1) + profile.schema[prediction].origin
    places = np.searchsorted(filled, np.append(np.arange(1, BINS) / BINS, 1 - bad / rows))
    threshold = float(borders[min(int(places[-1]), borders.size - 1)])
    edges = np.unique(borders[np.minimum(places, borders.size - 1)])
    odds = threshold / (1 - threshold) if 0 < threshold < 1 else bad / (rows - bad)
    total: Impact | None = None
    for block in blocks:
        given = np.asarray(block[prediction], dtype=np.float64)
        labels = labels_of(block[label])
        kept = np.flatnonzero(np.isfinite(given) & np.isin(labels, (0.0, 1.0)))
        truth = labels[kept].astype(np.int64)
        stake = truth[:0]
        if money:
            amounts = np.asarray(block[money], dtype=np.float64)[kept]
            amounts = np.where(np.isfinite(amounts), amounts, 0).clip(min=0)
            stake = np.rint(np.where(truth == 1, amounts, amounts * odds) * MINOR).astype(np.int64)
        features = [one for one in _features(profile, profile.sketches) if one.name not in (prediction, label, money)]
        found = _counted(profile, features, block, kept, given[kept], truth, stake, edges, importance or {})
        part = Impact(edges, int(np.searchsorted(edges, threshold)) + 1, found, currency=currency if money else "")
        total = part if total is None else total.merge(part)
    return total.to_bytes() if total and total.features else None


def _features(profile: ReferenceProfile, names: Iterable[str]) -> list[Column]:
    known = set(names)
    return [one for one in profile.schema if one.name in known and one.kind is not ColumnKind.EMBEDDING and one.role is Role.FEATURE]


def _counted(
    profile: ReferenceProfile,
    features: Iterable[Column],
    block: Block,
    rows: Counts,
    scores: Numbers,
    truth: Counts,
    stake: Counts,
    edges: Numbers,
    importance: Mapping[str, float],
) -> dict[str, FeatureImpact]:
    bins = np.searchsorted(edges, scores, side="right")
    found = {}
    for column in features:
        partition = profile.partition(column.name)
        missing = np.full(rows_of(block), partition.expected.size - 2)
        cells = cells_of(partition, block[column.name]) if column.name in block else missing
        shape = (partition.expected.size, edges.size + 1, 2)
        place = (cells[rows] * shape[1] + bins) * 2 + truth
        counts = np.bincount(place, minlength=shape[0] * shape[1] * 2).astype(np.int64).reshape(shape)
        value = stake[:0]
        if stake.size or not truth.size:
            value = np.zeros(counts.size, dtype=np.int64)
            np.add.at(value, place, stake)
            value = value.reshape(shape)
        found[column.name] = FeatureImpact(counts, value, importance=importance.get(column.name))
    return found


def _labelled(sketch: NumberSketch | CategorySketch | object) -> tuple[int, int]:
    """Return how many labels are bad, and how many there are."""
    if isinstance(sketch, CategorySketch):
        return sketch.names.get("true", 0) + sketch.names.get("1", 0), sum(sketch.names.values())
    if isinstance(sketch, NumberSketch):
        return int(sketch.counts[sketch.codes == codes_of(np.ones(1))[0]].sum()), int(sketch.counts.sum())
    return 0, 0


def labels_of(data: ColumnData) -> Numbers:
    """Return labels as numbers, (rows,): 1 for bad, "true" or "1"; NaN where there is none."""
    if not isinstance(data, Categories):
        return np.asarray(data, dtype=np.float64)
    values = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
    table = np.array([*(values.get(name, np.nan) for name in data.names), np.nan, np.nan])
    found: Numbers = table[data.codes]
    return found


def _checked(
    block: Block, prediction: ArrayLike, label: ArrayLike, money: ArrayLike | None, false_alarm_money: ArrayLike | None
) -> tuple[Numbers, Numbers, Numbers | None, Numbers | None]:
    rows = rows_of(block)
    wrong: list[str] = []
    scores, labels = _column("prediction", prediction, rows, wrong), _column("label", label, rows, wrong)
    miss = None if money is None else _column("money", money, rows, wrong)
    alarm = None if false_alarm_money is None else _column("false_alarm_money", false_alarm_money, rows, wrong)
    for name, amounts in (("money", miss), ("false_alarm_money", alarm)):
        if amounts is not None and not (np.isfinite(amounts).all() and (amounts >= 0).all()):
            wrong.append(f"{name} has amounts that are negative or missing")
    if wrong:
        raise SpecError("OBS-ATT-001", "; ".join(wrong), todo="give one number a row, and 0 where nothing is at stake")
    return scores, labels, miss, alarm


def _column(name: str, given: ArrayLike, rows: int, wrong: list[str]) -> Numbers:
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        wrong.append(f"{name} is not numeric")
        return np.zeros(rows)
    array = np.broadcast_to(array, (rows,)) if array.ndim == 0 else array.reshape(-1)
    if array.size != rows:
        wrong.append(f"{name} has {array.size} values for {rows} rows")
    return array
