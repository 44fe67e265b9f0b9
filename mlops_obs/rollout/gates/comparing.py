"""Gates that compare a number of canary with stable's over the same minutes: drift of inputs, GPU time of a request, labels.

A model's inputs drift for everybody when the world changes, and GPU time falls for everybody at night; only the
difference between the arms says something about the canary. The trap is the gauge that keeps its last value: a drift job
that died an hour ago still reports the calm of an hour ago. So something must have been scored since the step began.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mlops_obs.durations import humanize_duration
from mlops_obs.metric_names import (
    DRIFT_ALARM,
    DRIFT_PSI,
    DRIFT_WINDOWS,
    FEATURE,
    GPU_SECONDS,
    KIND,
    QUALITY_BAD,
    QUALITY_EVENTS,
    REQUESTS,
    REVISION,
    SERVICE,
    STAGE,
    VERDICT,
)
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.gates.cohorts import GAUGE_AGE, cohort_counts, cohorts_due
from mlops_obs.rollout.gates.reading import GateReading
from mlops_obs.rollout.spec.gates import DriftGate, GpuCostGate, QualityGate
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource, Series, sum_increase

_FEW = 30  # requests of each arm under which a cost per request is noise


def read_drift(gate: DriftGate, source: CounterSource, spec: Rollout, arms: Arms, since: float, now: float) -> GateReading:
    """Compare the drift of the canary's windows with stable's; `since` is when the step began (Unix seconds)."""

    def reading(ok: bool | None, words: str, canary: float | None = None, stable: float | None = None) -> GateReading:
        return GateReading(gate.name, canary, stable, ok, words, dry_run=gate.dry_run)

    at = {SERVICE: spec.service}
    scored = [
        one for one in source.series(DRIFT_WINDOWS.name, {**at, REVISION: arms.canary}, since - GAUGE_AGE, now)
        if one.labels.get(VERDICT) != "inconclusive"
    ]  # fmt: skip
    if not sum_increase(scored, since, now, from_zero_after=since):
        ago = humanize_duration(max(now - since, 0.0))
        return reading(None, f"no window of {arms.canary} has been scored since the step began {ago} ago")
    features = {**at, FEATURE: gate.feature} if gate.feature else at
    if alarm := _own_alarm(source, features, arms, now):
        return reading(False, alarm)
    gauges = source.series(DRIFT_PSI.name, features, now - gate.for_ - GAUGE_AGE, now)
    mine = [one for one in gauges if one.labels.get(REVISION) == arms.canary]
    moments = sorted({when for one in mine for when, _ in one.samples if when > now - gate.for_})
    worst = [(when, *_excess(gauges, arms, when)) for when in (*moments, now)]
    told = [(when, excess, feature, pair) for when, excess, feature, pair in worst if excess is not None]
    if not told or told[-1][0] != now:
        return reading(None, f"the drift of {arms.canary} and {arms.stable} cannot be compared: one of them has none now")
    _, excess, feature, (canary, stable) = told[-1]
    beside = f"{stable:.3f} of {arms.stable}" if stable is not None else f"its own reference; {arms.stable} does not read it"
    words = f"{feature} of {arms.canary} is at PSI {canary:.3f} against {beside}"
    if excess <= gate.max_psi:
        return reading(True, words, canary, stable)
    early, _, _ = _excess(gauges, arms, now - gate.for_)
    if early is not None and early > gate.max_psi and all(one > gate.max_psi for _, one, _, _ in told):
        return reading(False, f"{words}, more than {gate.max_psi:g} above for {humanize_duration(gate.for_)}", canary, stable)
    return reading(None, f"{words}, more than {gate.max_psi:g} above, for less than {humanize_duration(gate.for_)} so far", canary, stable)


def _own_alarm(source: CounterSource, features: Mapping[str, str], arms: Arms, now: float) -> str:
    """Say which feature the canary's detector has raised an alarm for while stable's has not; empty if there is none."""
    raised: dict[tuple[str, str], str] = {}
    for one in source.series(DRIFT_ALARM.name, features, now - GAUGE_AGE, now):
        if one.samples and one.samples[-1][1] == 1:
            raised[one.labels.get(REVISION, ""), one.labels.get(FEATURE, "")] = one.labels.get(KIND, "")
    own = sorted(name for arm, name in raised if arm == arms.canary and (arms.stable, name) not in raised)
    named = ", ".join(f"{name} ({raised[arms.canary, name]})" for name in own[:3])
    return f"drift alarm of {arms.canary} and not of {arms.stable}: {named}" if own else ""


def _excess(gauges: Sequence[Series], arms: Arms, at: float) -> tuple[float | None, str, tuple[float, float | None]]:
    """Return by how much the canary's worst feature is above stable's at `at`, which one, and both values.

    A feature that stable does not read is judged by the canary's own reference: a new model often reads more.
    """
    values: dict[str, dict[str, float]] = {arms.canary: {}, arms.stable: {}}
    for one in gauges:
        arm = values.get(one.labels.get(REVISION, ""))
        fresh = [value for when, value in one.samples if at - GAUGE_AGE < when <= at]
        if arm is not None and fresh:
            if not math.isfinite(fresh[-1]):
                return None, "", (0.0, None)
            feature = one.labels.get(FEATURE, "")
            arm[feature] = max(fresh[-1], arm.get(feature, -math.inf))  # of several replicas the worst
    mine, theirs = values[arms.canary], values[arms.stable]
    if not set(mine) & set(theirs):
        return None, "", (0.0, None)
    feature = max(sorted(mine), key=lambda name: mine[name] - theirs.get(name, 0.0))
    return mine[feature] - theirs.get(feature, 0.0), feature, (mine[feature], theirs.get(feature))


def read_gpu_cost(gate: GpuCostGate, source: CounterSource, spec: Rollout, arms: Arms, since: float, now: float) -> GateReading:
    """Compare the GPU-seconds that a request costs over the last `for`, which must lie within the step that began at `since`."""

    def reading(ok: bool | None, words: str, canary: float | None = None, stable: float | None = None) -> GateReading:
        return GateReading(gate.name, canary, stable, ok, words, dry_run=gate.dry_run)

    start = max(now - gate.for_, since)
    costs: dict[str, float] = {}
    for revision in (arms.canary, arms.stable):
        at = {SERVICE: spec.service, REVISION: revision}
        gpu = source.series(GPU_SECONDS.name, at, start - spec.stale_after, now)
        requests = source.series(REQUESTS.name, {**at, STAGE: spec.stage}, start - spec.stale_after, now)
        seconds, count = sum_increase(gpu, start, now), sum_increase(requests, start, now)
        if not gpu or now - max(one.samples[-1][0] for one in gpu) > max(spec.stale_after, 60.0) or not (math.isfinite(seconds)):
            return reading(None, f"{GPU_SECONDS.name} of {revision} is not there, is old or no number")
        if not count >= _FEW:
            return reading(None, f"{count:.0f} requests of {revision} in {humanize_duration(now - start)} are too few")
        costs[revision] = seconds / count
    canary, stable = costs[arms.canary], costs[arms.stable]
    words = f"a request costs {canary:.4g} GPU-seconds on {arms.canary} and {stable:.4g} on {arms.stable}"
    if stable <= 0:
        return reading(None, f"{words}; without a cost of stable there is no ratio", canary, stable)
    if canary / stable <= gate.max_ratio:
        return reading(True, words, canary, stable)
    limit = f"more than {gate.max_ratio:g} times"
    if start > now - gate.for_:
        return reading(None, f"{words}: {limit}, for less than {humanize_duration(gate.for_)} so far", canary, stable)
    return reading(False, f"{words}: {limit}", canary, stable)


def read_quality(gate: QualityGate, source: CounterSource, spec: Rollout, arms: Arms, began_at: float, now: float) -> GateReading:
    """Say how many cohorts have spoken, and when the next will; what they said is for the sequential test."""

    def reading(ok: bool | None, words: str, shares: Mapping[str, float | None] | None = None) -> GateReading:
        mine = shares or {}
        return GateReading(gate.name, mine.get(arms.canary), mine.get(arms.stable), ok, words, dry_run=gate.dry_run)

    matured = gate.cohort + gate.maturity
    following = (cohorts_due(gate, began_at, now, now + gate.cohort + matured + 1.0) or [now])[0] + matured - now
    due = cohorts_due(gate, began_at, began_at, now)
    if not due:
        return reading(None, f"no cohort of this rollout is mature; the first will be in {humanize_duration(following)}")
    at = {SERVICE: spec.service}
    events, bad = (source.series(metric.name, at, due[0] + matured - GAUGE_AGE, now) for metric in (QUALITY_EVENTS, QUALITY_BAD))
    sums, spoke = {arms.canary: [0, 0], arms.stable: [0, 0]}, 0
    for start in due:
        pairs = {revision: cohort_counts(events, bad, revision, start, start + matured) for revision in sums}
        if all(pair is not None and pair[1] >= gate.min_labels for pair in pairs.values()):
            spoke += 1
            for revision, pair in pairs.items():
                sums[revision] = [a + b for a, b in zip(sums[revision], pair or (0, 0), strict=True)]
    if not spoke:
        few = f"{len(due)} mature cohorts, none with {gate.min_labels} labels of both {arms.canary} and {arms.stable}"
        return reading(None, f"{few}; the next will be mature in {humanize_duration(following)}")
    shares = {revision: wrong / labelled for revision, (wrong, labelled) in sums.items()}
    words = " against ".join(f"{shares[one]:.1%} ({sums[one][0]}/{sums[one][1]}) of {one}'s" for one in (arms.canary, arms.stable))
    return reading(True, f"{words} labelled predictions were wrong in {spoke} cohorts", {**shares})
