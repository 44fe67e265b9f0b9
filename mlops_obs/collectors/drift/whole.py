"""The rows as a whole, in a comparison: correlations between columns whose margins are as before, and a kernel test of all of them.

The trap: a pair of columns that comes apart does not say which of the two broke. A column that is in several such pairs is named, with a
single pair both are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlops_obs.collectors.drift.alarms.natural import Natural
from mlops_obs.collectors.drift.columns import ColumnKind
from mlops_obs.collectors.drift.dependence import design_effects
from mlops_obs.collectors.drift.evidence import Tolerances
from mlops_obs.collectors.drift.joint import PairChange, changed_pairs, discrepancy, joint_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change, FeatureResult, Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """Features with changed correlations marked; `extra` is a result for the rows as a whole, if no feature explains it."""

    features: tuple[FeatureResult, ...]
    statistics: dict[str, float]
    extra: tuple[FeatureResult, ...] = ()
    problems: tuple[str, ...] = ()


def judge_rows(
    reference: ReferenceProfile,
    current: ReferenceProfile,
    results: Sequence[FeatureResult],
    alpha: float,
    tolerances: Tolerances,
    natural: Natural | None = None,
) -> Judged:
    """Compare the rows as a whole, at level `alpha`, half for correlations and half for the kernel test.

    Args:
        reference: with a section `joint`.
        current: with a section `joint` of the same scores.
        results: the features one by one.
        alpha: chance of an alarm of the rows as a whole without a change of them.
        tolerances: what is too small to matter.
        natural: the reference's section, if it has one: rows that resemble their neighbours count for what they are worth.
    """
    before, now = joint_of(reference), joint_of(current)
    if before is None or now is None:
        return Judged(tuple(results), {})
    if not before.matches(now):
        return Judged(tuple(results), {}, problems=("the rows as a whole: the table was not scored by this reference",))
    steady = [one.name for one in results if not one.alarm and one.importance != 0]
    judged = {one.name for one in results if one.importance != 0}
    effects = {}
    if natural is not None:
        rows = float(now.power.rows)
        effects = {name: max(design_effects(natural, name, reference.partition(name), rows)) for name in before.columns}
    pairs, largest, p_value = changed_pairs(before, now, steady, alpha / 2, tolerances.correlation, effects)
    whole = discrepancy(before, now, max(effects.values(), default=1.0))
    statistics = {
        "correlation": largest,
        "correlation_p_value": p_value,
        "mmd": whole.mmd_squared,
        "mmd_relative": whole.relative,
        "mmd_p_value": whole.p_value,
    }
    features = _marked(results, pairs)
    unjudged = [name for name in before.columns if name not in judged]  # a margin of theirs would speak for all rows
    if unjudged or whole.p_value > alpha / 2 or whole.relative <= tolerances.discrepancy or any(one.alarm for one in features):
        return Judged(features, statistics)
    words = "the rows as a whole differ, although no column and no pair of columns does"
    extra = FeatureResult("rows", ColumnKind.NUMBER, Verdict.DRIFTED, Change.CORRELATION, statistics, words)
    return Judged(features, statistics, (extra,), (words,))


def _marked(results: Sequence[FeatureResult], pairs: Sequence[PairChange]) -> tuple[FeatureResult, ...]:
    lines: dict[str, list[PairChange]] = {}
    rest = list(pairs)
    while rest:
        often: dict[str, int] = {}
        for one in rest:
            for name in (one.first, one.second):
                often[name] = often.get(name, 0) + 1
        most = max(often.values())
        named = [name for name, count in often.items() if count == most] if most == 1 else [max(often, key=lambda name: often[name])]
        for name in named:
            lines[name] = [one for one in rest if name in (one.first, one.second)]
        rest = [one for one in rest if one.first not in named and one.second not in named]
    return tuple(_changed(one, lines[one.name]) if one.name in lines else one for one in results)


def _changed(result: FeatureResult, pairs: Sequence[PairChange]) -> FeatureResult:
    lines = [f"{one.second if one.first == result.name else one.first} {one.before:+.2f} -> {one.now:+.2f}" for one in pairs[:3]]
    words = f"its values are as before, its correlations are not: with {', '.join(lines)}"
    change = max((one.now - one.before for one in pairs), key=abs)
    statistics = {**result.statistics, "correlation_change": change}
    return replace(result, verdict=Verdict.DRIFTED, kind=Change.CORRELATION, statistics=statistics, words=words)
