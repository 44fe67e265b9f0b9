"""Compare tables by their profiles, and windows by their cells: the one place where drift of a feature is judged.

A family of tests keeps one promise: the chance that a comparison without drift alarms at all is at most `alpha`, over all features
(Holm) and the rows as a whole, which get a tenth of it. Statistics are shown for every feature; only significance and an effect that
matters together make an alarm, see `evidence`.

The trap: features that the model does not use drift every week. If importances are known, importance 0 never alarms and costs the others
nothing of their level; features above the average are judged more strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np

from mlops_obs.collectors.drift.alarms.natural import SECTION, Natural
from mlops_obs.collectors.drift.columns import Column, ColumnKind
from mlops_obs.collectors.drift.dependence import design_effects
from mlops_obs.collectors.drift.evidence import ALONE, Evidence, Tolerances, reference_counts, table_of, weigh
from mlops_obs.collectors.drift.kinds import describe, describe_cells
from mlops_obs.collectors.drift.measures import cell_statistics, number_statistics
from mlops_obs.collectors.drift.pairs import Pair, as_time_goes_on, pair_of
from mlops_obs.collectors.drift.partition import Partition
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.repeats import Weight
from mlops_obs.collectors.drift.results import Change, Comparison, FeatureResult, Verdict
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.collectors.drift.sketches.vectors import VectorSketch
from mlops_obs.collectors.drift.statistics.divergences import Counts
from mlops_obs.collectors.drift.statistics.multiplicity import holm
from mlops_obs.collectors.drift.turned import describe_vectors, weigh_vectors
from mlops_obs.collectors.drift.whole import judge_rows

ALPHA = 0.01
_STRICTEST = 0.25  # of the tolerance is left for a feature that carries nearly all of the importance
_WHOLE = 0.1  # share of alpha for the rows as a whole, where both profiles can say something of them


@dataclass(frozen=True, slots=True)
class Settings:
    """How a comparison judges.

    Args:
        alpha: chance that a comparison without drift alarms at all.
        tolerances: what is too small to matter.
        features: only these; None for all that the reference has and that are not labels.
        importance: {feature: importance}, any scale; features that are not in it count as average.
        weights: {feature: rows that one independent current row was counted as}, where rows are known to repeat.
    """

    alpha: float = ALPHA
    tolerances: Tolerances = field(default_factory=Tolerances)
    features: Sequence[str] | None = None
    importance: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, Weight] = field(default_factory=dict)


def compare(reference: ReferenceProfile, current: ReferenceProfile, settings: Settings | None = None) -> Comparison:
    """Compare two tables by their profiles.

    Columns that only one of the tables has, or that changed their type, are results or problems, never errors. Where both profiles have a
    section `joint` (see `joint.current_section`), the rows as a whole are compared too; where the reference has a section `natural`, rows
    that resemble their neighbours count for what they are worth.
    """
    settings = settings or Settings()
    names = [name for name in reference.feature_names if settings.features is None or name in settings.features]
    problems = [f"{name}: the reference has no such column" for name in settings.features or () if name not in reference.sketches]
    problems += [f"{name}: the reference does not know this column" for name in current.sketches if name not in reference.sketches]
    columns = {column.name: column for column in reference.schema}
    theirs = {column.name: column for column in current.schema}
    together = "joint" in reference.sections and "joint" in current.sections
    alpha = settings.alpha * (1 - _WHOLE if together else 1)
    found: dict[str, FeatureResult] = {}
    pairs: dict[str, Pair] = {}
    for name in names:
        now = current.sketches.get(name)
        if now is None:
            found[name] = _gone(columns[name], current.rows, settings)
        else:
            pairs[name] = pair_of(columns[name], reference.partition(name), reference.sketches[name], now, theirs[name].origin)
    natural = Natural.from_bytes(reference.sections[SECTION]) if SECTION in reference.sections else None
    found |= _judge(pairs, settings, alpha, natural)
    results = tuple(found[name] for name in names)
    comparison = Comparison(combine(results), results, reference.rows, current.rows, tuple(problems))
    if not together:
        return comparison
    judged = judge_rows(reference, current, results, settings.alpha * _WHOLE, settings.tolerances, natural)
    verdict = combine([*judged.features, *judged.extra])
    return replace(comparison, verdict=verdict, features=judged.features, joint=judged.statistics, problems=(*problems, *judged.problems))


def score_cells(
    column: Column,
    partition: Partition,
    current: Counts,
    *,
    alpha: float,
    tolerances: Tolerances | None = None,
    weight: Weight = ALONE,
    importance: float | None = None,
) -> FeatureResult:
    """Judge one feature's window from its rows by cell; see `score_windows`."""
    importances = {} if importance is None else {column.name: importance}
    return score_windows([column], [partition], [current], alpha=alpha, tolerances=tolerances, weights=[weight], importance=importances)[0]


def score_windows(
    columns: Sequence[Column],
    partitions: Sequence[Partition],
    current: Sequence[Counts],
    *,
    alpha: float,
    tolerances: Tolerances | None = None,
    weights: Sequence[Weight] | None = None,
    importance: Mapping[str, float] | None = None,
) -> list[FeatureResult]:
    """Judge features' windows from their rows by cell, each at level `alpha` (already divided among the features and looks).

    Args:
        columns: the features.
        partitions: their cells.
        current: rows of the window by cell, of each.
        alpha: chance of a false alarm that a feature and look may have.
        tolerances: what is too small to matter.
        weights: how many rows one independent row was counted as, see `repeats`.
        importance: shown in the results; 0 never alarms.
    """
    if not columns:
        return []
    importance = importance or {}
    weights = weights or [ALONE] * len(columns)
    factors = strictness(importance, [one.name for one in columns])
    cells = [
        as_time_goes_on(partition, counts) if column.kind is ColumnKind.TIMESTAMP else (partition, counts)
        for column, partition, counts in zip(columns, partitions, current, strict=True)
    ]
    asked, rows = [one for one, _ in cells], [one for _, one in cells]
    statistics, evidences = _weigh_cells(asked, rows, weights, list(factors.values()), tolerances or Tolerances())
    results = []
    for column, partition, counts, found, evidence in zip(columns, asked, rows, statistics, evidences, strict=True):
        mine = importance.get(column.name)
        verdict = Verdict.STABLE if mine == 0 else evidence.verdict(alpha)
        kind, words = describe_cells(partition, counts) if verdict is Verdict.DRIFTED else (None, "")
        results.append(FeatureResult(column.name, column.kind, verdict, kind, found, words, column.role, mine))
    return results


def combine(results: Sequence[FeatureResult]) -> Verdict:
    """One drifted feature makes the whole drifted; only if every feature is stable is the whole stable."""
    verdicts = {one.verdict for one in results}
    for verdict in (Verdict.DRIFTED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.STABLE if verdicts else Verdict.INCONCLUSIVE


def strictness(importance: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return what each feature's tolerance is multiplied by: 1 up to average importance, then falling with its root, at least 0.25."""
    known = [importance[name] for name in names if importance.get(name, 0.0) > 0]
    average = sum(known) / len(known) if known else 0.0
    factors = {}
    for name in names:
        mine = importance.get(name, 0.0)
        factors[name] = min(1.0, max(_STRICTEST, sqrt(average / mine))) if mine > 0 else 1.0
    return factors


def _weigh_cells(
    partitions: Sequence[Partition],
    current: Sequence[Counts],
    weights: Sequence[Weight],
    strict: Sequence[float],
    tolerances: Tolerances,
    effects: Sequence[tuple[float, float]] = (),
) -> tuple[list[dict[str, float]], list[Evidence]]:
    before, sizes = table_of([reference_counts(*one) for one in zip(partitions, current, strict=True)])
    now, _ = table_of(current)
    statistics = cell_statistics(partitions, before, now, np.array([one.mean for one in weights]))
    psi = np.array([one["psi"] for one in statistics])
    design = (np.array([one[0] for one in effects]), np.array([one[1] for one in effects])) if effects else None
    evidences = weigh(partitions, before, now, sizes, psi, np.array(strict), tolerances, weights, design)
    for found, evidence in zip(statistics, evidences, strict=True):
        found["p_value"] = evidence.p_value
    return statistics, evidences


def _judge(pairs: Mapping[str, Pair], settings: Settings, alpha: float, natural: Natural | None) -> dict[str, FeatureResult]:
    if not pairs:
        return {}
    names = list(pairs)
    factors = strictness(settings.importance, names)
    weights = [settings.weights.get(name, ALONE) for name in names]
    found, weighed = _weigh_cells(
        [one.partition for one in pairs.values()],
        [one.counts for one in pairs.values()],
        weights,
        list(factors.values()),
        settings.tolerances,
    )
    statistics, evidences = dict(zip(names, found, strict=True)), dict(zip(names, weighed, strict=True))
    for name, pair in pairs.items():
        before, now = pair.reference, pair.current
        if isinstance(before, VectorSketch) and isinstance(now, VectorSketch):
            evidences[name] = weigh_vectors(before, now, evidences[name], settings.tolerances.discrepancy * factors[name], statistics[name])
        elif isinstance(before, NumberSketch) and isinstance(now, NumberSketch):
            statistics[name] |= number_statistics(before, now)
    counted = [name for name in names if settings.importance.get(name) != 0]
    doubtful = [name for name in counted if natural is not None and name in natural.counts and evidences[name].p_value < alpha]
    for name in doubtful:  # only these need to know how much their rows depend on each other
        pair = pairs[name]
        effect = design_effects(natural, name, pair.partition, float(pair.counts.sum())) if natural is not None else (1.0, 1.0)
        weight = settings.weights.get(name, ALONE)
        again = _weigh_cells([pair.partition], [pair.counts], [weight], [factors[name]], settings.tolerances, [effect])
        evidences[name] = again[1][0]
        statistics[name] |= {"p_value": evidences[name].p_value, "design_effect": effect[1]}
    rejected = dict(zip(counted, holm([evidences[name].p_value for name in counted], alpha), strict=True))
    return {
        name: _result(pair, statistics[name], evidences[name], rejected.get(name), alpha / max(1, len(counted)), settings)
        for name, pair in pairs.items()
    }


def _result(
    pair: Pair, statistics: Mapping[str, float], evidence: Evidence, rejected: bool | None, alpha: float, settings: Settings
) -> FeatureResult:
    column, importance = pair.column, settings.importance.get(pair.column.name)
    verdict = Verdict.STABLE if rejected is None else evidence.verdict(alpha, rejected=rejected)
    kind, words = None, ""
    if verdict is Verdict.DRIFTED:
        kind, words = _described(pair, statistics)
    return FeatureResult(column.name, column.kind, verdict, kind, statistics, words, column.role, importance)


def _described(pair: Pair, statistics: Mapping[str, float]) -> tuple[Change, str]:
    if isinstance(pair.reference, VectorSketch):
        return describe_vectors(pair, statistics)
    if isinstance(pair.current, VectorSketch):
        return Change.TYPE, "the values are embeddings, the reference's are not"
    return describe(pair.reference, pair.current, pair.partition, pair.counts, origin=pair.column.origin)


def _gone(column: Column, rows: int, settings: Settings) -> FeatureResult:
    importance = settings.importance.get(column.name)
    if not rows:
        return FeatureResult(column.name, column.kind, Verdict.INCONCLUSIVE, None, {}, "there are no rows", column.role, importance)
    verdict = Verdict.STABLE if importance == 0 else Verdict.DRIFTED
    return FeatureResult(column.name, column.kind, verdict, Change.GONE, {}, "the column is not there any more", column.role, importance)
