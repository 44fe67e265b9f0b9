"""What the rules of Argo Rollouts, Flagger and Kayenta would have done on the same counts: for replay, and for benchmarks.

Written after their sources: Argo's `analysis/analysis.go` (assessMetricStatus), Flagger's `pkg/controller/scheduler.go` and
`scheduler_metrics.go`, Kayenta's `MannWhitneyClassifier.scala`, `MannWhitney.scala` and `NetflixACAJudge.scala`. They measure
once a minute, as their guides do. Two measurements: the canary's ratio of failed requests (success rate >= 99 % in Argo's
and Flagger's guides) and its ratio of slow ones (p99 within the threshold, which is the same as at most 1 % slow).
The trap: a rule looks worse than it is if its missing data are treated in our way; here each is treated in its own.
Where a source leaves a choice, the rule gets the better one: Flagger's rollback is counted in the minute of the last failed
check, though it acts one interval later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_obs.rollout.evidence.slices import Counts, Slice

MINUTE = 60.0
MAX_BAD = 0.01  # Argo's and Flagger's guides: success rate of 99 %
METRICS = ("errors", "slow")
_CONSECUTIVE_ERROR_LIMIT = 4  # Argo's default: one more measurement without an answer fails the analysis
_KAYENTA_CONFIDENCE, _KAYENTA_TOLERANCE, _KAYENTA_MARGINAL = 0.98, 0.25, 75.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Minutes:
    """Counts per minute as (requests, errors, slow) x minutes, one table per arm; NaN where nothing was measured."""

    canary: Array
    stable: Array

    def ratios(self, arm: Literal["canary", "stable"], metric: str) -> Array:
        """Return bad requests over requests: NaN where there are none, or no measurement."""
        table = self.canary if arm == "canary" else self.stable
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(table[1 + METRICS.index(metric)] / table[0])


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a rule did: `seconds` from the start of the traffic to its rollback, or to the end; `reason` in its own words."""

    verdict: Literal["rollback", "promote"]
    seconds: float
    reason: str = ""


Rule = Callable[[Minutes], Ruling]


def minutes_of(slices: Sequence[Slice]) -> Minutes:
    """Add slices up to minutes from the first slice's start on; a last minute that is not complete is left out."""
    if not slices:
        return Minutes(np.empty((3, 0)), np.empty((3, 0)))
    first = slices[0].start
    whole = int((slices[-1].end - first) / MINUTE + 1e-9)
    tables = {"canary": np.full((3, whole), np.nan), "stable": np.full((3, whole), np.nan)}
    for one in slices:
        minute = int((one.start - first) / MINUTE + 1e-9)
        if minute >= whole or one.missing:
            continue
        for table, counts in ((tables["canary"], one.canary), (tables["stable"], one.stable)):
            table[:, minute] = np.nan_to_num(table[:, minute]) + _three(counts)
    return Minutes(tables["canary"], tables["stable"])


def _three(counts: Counts) -> Array:
    return np.array([counts.total, counts.errors, counts.slow], float)


def fold(table: Array, per_minute: int) -> Array:
    """Add a (3, intervals) table up to minutes of `per_minute` intervals; a minute without any measurement stays NaN."""
    parts = table[:, : table.shape[1] // per_minute * per_minute].reshape(3, -1, per_minute)
    total = np.nansum(parts, axis=2)
    total[:, np.isnan(parts[0]).all(axis=1)] = np.nan
    return np.asarray(total)


def argo(minutes: Minutes, failure_limit: int = 0, max_bad: float = MAX_BAD) -> Ruling:
    """Argo Rollouts' background analysis: a metric fails when more than `failure_limit` measurements ever failed.

    A query without a result is an error, and five errors in a row abort the rollout; a ratio of no requests is NaN, which meets
    no successCondition and counts as a failure.
    """
    failed, errors = dict.fromkeys(METRICS, 0), dict.fromkeys(METRICS, 0)
    ratios = {metric: minutes.ratios("canary", metric) for metric in METRICS}
    for index in range(minutes.canary.shape[1]):
        at = (index + 1) * MINUTE
        for metric in METRICS:
            if math.isnan(minutes.canary[0, index]):
                errors[metric] += 1
                if errors[metric] > _CONSECUTIVE_ERROR_LIMIT:
                    return Ruling("rollback", at, f"{metric}: consecutiveErrors ({errors[metric]}) > {_CONSECUTIVE_ERROR_LIMIT}")
                continue
            errors[metric] = 0
            failed[metric] += not ratios[metric][index] <= max_bad  # NaN fails
            if failed[metric] > failure_limit:
                return Ruling("rollback", at, f"{metric}: failed ({failed[metric]}) > failureLimit ({failure_limit})")
    return Ruling("promote", minutes.canary.shape[1] * MINUTE)


def flagger(minutes: Minutes, threshold: int = 5, max_bad: float = MAX_BAD) -> Ruling:
    """Flagger's analysis: one failed check a minute at most, rollback at `threshold` of them; no data is a failed check."""
    failed = 0
    ratios = [minutes.ratios("canary", metric) for metric in METRICS]
    for index in range(minutes.canary.shape[1]):
        failed += not all(ratio[index] <= max_bad for ratio in ratios)
        if failed >= threshold:
            return Ruling("rollback", (index + 1) * MINUTE, f"failed checks ({failed}) reached threshold ({threshold})")
    return Ruling("promote", minutes.canary.shape[1] * MINUTE)


def kayenta(minutes: Minutes, every: int = 5, allowed_increase: float = 1.0) -> Ruling:
    """Kayenta's judge over a growing window every `every` minutes: a metric that is High takes its share off a score of 100.

    Below the marginal score of 75 the canary fails at once. Missing minutes count as 0, which is Kayenta's default, and no
    correction is made for looking again.
    """
    count = minutes.canary.shape[1]
    ratios = {metric: tuple(np.nan_to_num(minutes.ratios(arm, metric)) for arm in ("canary", "stable")) for metric in METRICS}
    for end in range(every, count + 1, every):
        high = [metric for metric in METRICS if mann_whitney_high(ratios[metric][0][:end], ratios[metric][1][:end], allowed_increase)]
        score = 100 * (1 - len(high) / len(METRICS))
        if score < _KAYENTA_MARGINAL:
            return Ruling("rollback", end * MINUTE, f"score {score:.0f} < {_KAYENTA_MARGINAL:.0f}: {', '.join(high)} High")
    return Ruling("promote", count * MINUTE)


def mann_whitney_high(canary: Array, baseline: Array, allowed_increase: float = 1.0) -> bool:
    """Tell whether Kayenta calls a metric High: the 98 % interval of the shift lies above a quarter of its estimate."""
    if not len(canary) or not len(baseline) or np.array_equal(np.sort(canary), np.sort(baseline)):
        return False
    if len(np.unique(np.concatenate([canary, baseline]))) == 1:
        return False
    lower, estimate = shift(canary, baseline)
    means = float(canary.mean()), float(baseline.mean())
    effect = means[0] / means[1] if all(means) else math.nan
    return bool(lower > _KAYENTA_TOLERANCE * abs(estimate) and not effect < allowed_increase)


def shift(canary: Array, baseline: Array) -> tuple[float, float]:
    """Return the lower end of the 98 % interval of the shift of canary against baseline, and its estimate (Hodges-Lehmann).

    The interval is the one of R's `wilcox.test` by the normal approximation with continuity and ties: where a step function of
    the shift crosses a quantile, which is at one of the ordered pairwise differences.
    """
    differences = np.sort(np.subtract.outer(canary, baseline), axis=None)
    m, n = len(canary), len(baseline)
    ties = float(sum(np.sum(times.astype(float) ** 3 - times) for times in (_times(canary), _times(baseline))))
    if len(_times(canary)) == len(_times(baseline)) == 1:
        ties = 0.0  # Kayenta breaks such ties by a little noise
    spread = math.sqrt(m * n / 12 * (m + n + 1 - ties / ((m + n) * (m + n - 1))))
    above = m * n / 2 + 0.5 + NormalDist().inv_cdf((1 + _KAYENTA_CONFIDENCE) / 2) * spread  # so many differences must be greater
    return float(differences[max(0, m * n - math.ceil(above))]), float(np.median(differences))


def _times(values: Array) -> NDArray[np.int64]:
    found: Any = np.unique(values, return_counts=True)[1]
    return np.asarray(found)


RIVALS: Mapping[str, Rule] = MappingProxyType(
    {
        "Argo failureLimit 0": lambda minutes: argo(minutes, 0),
        "Argo failureLimit 3": lambda minutes: argo(minutes, 3),
        "Flagger threshold 5": lambda minutes: flagger(minutes, 5),
        "Flagger threshold 10": lambda minutes: flagger(minutes, 10),
        "Kayenta every 5 min": lambda minutes: kayenta(minutes, 5),
        "Kayenta at 30 min": lambda minutes: kayenta(minutes, 30),
    }
)
