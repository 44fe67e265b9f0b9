"""What a report is made of, and the arithmetic from raw counters to lines. Pure: the caller reads, this counts.

A revision's errors and latency are counted in a sliding window of exact increases, so a point rests on the requests of a
few seconds, and a window without requests is a gap. The trap is a restarted replica: its counters fall to zero, so each
series is counted on its own before anything is summed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlops_obs import metric_names as names
from mlops_obs.dashboards.charts import Point
from mlops_obs.slo.counters import CounterSource, Series, increase, sum_increase

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StageTiming:
    """One step of the work before serving: name, start and end (Unix seconds), and a note such as `AUC 0.81`."""

    name: str
    start: float
    end: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class PageArrival:
    """A page as it arrived: when (Unix seconds), the Alertmanager payload, and the text that on-call read."""

    received_at: float
    text: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Promise:
    """An SLO as the report shows it: `objective` is a share (0.99), `threshold` seconds for a latency SLO, else None."""

    name: str
    objective: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything a report shows. Times are Unix seconds; counters are raw samples at the ingress."""

    service: str
    started: float
    ended: float
    records: Sequence[Record]
    requests: Sequence[Series]
    durations: Sequence[Series]
    evidence: Sequence[Series] = ()
    pages: Sequence[PageArrival] = ()
    stages: Sequence[StageTiming] = ()
    promises: Sequence[Promise] = ()
    note: str = ""


def collect(
    source: CounterSource,
    service: str,
    started: float,
    ended: float,
    *,
    records: Sequence[Record],
    pages: Sequence[PageArrival] = (),
    stages: Sequence[StageTiming] = (),
    promises: Sequence[Promise] = (),
    note: str = "",
) -> ReportData:
    """Read the counters that a report needs and return its data. `note` is printed at the foot, e.g. that data is synthetic.

    Raises:
        TelemetryUnavailable: the metrics did not answer in full.
    """
    ingress = {names.SERVICE: service, names.STAGE: names.STAGE_INGRESS}
    return ReportData(
        service,
        started,
        ended,
        sorted(records, key=lambda record: float(record["at"])),
        source.series(names.REQUESTS.name, ingress, started, ended),
        source.series(f"{names.REQUEST_DURATION.name}_bucket", ingress, started, ended),
        source.series(names.ROLLOUT_EVIDENCE.name, {names.SERVICE: service}, started, ended),
        pages,
        stages,
        promises,
        note,
    )


@dataclass(frozen=True, slots=True)
class Story:
    """One rollout read out of its records: who, what became of it, when it began and ended, and the record that ended it."""

    canary: str
    stable: str
    phase: str
    began: float
    ended: float
    last: Record
    decisions: tuple[Record, ...]


def stories(records: Sequence[Record]) -> list[Story]:
    """Group records into rollouts, in order of their beginning."""
    by_rollout: dict[str, list[Record]] = {}
    for record in records:
        by_rollout.setdefault(str(record.get("rollout", "")), []).append(record)
    return [_story(group) for group in by_rollout.values()]


def _story(group: list[Record]) -> Story:
    befores = [weights for record in group if (weights := record.get("weights_before"))]
    first = dict(befores[0]) if befores else {}
    stable = max(first, key=lambda revision: first[revision], default="")
    moved = {revision for record in group for revision in (record.get("weights_after") or {})} - {stable}
    canary = str(next((record["canary"] for record in group if record.get("canary")), "") or next(iter(sorted(moved)), ""))
    acted = [record for record in group if record.get("kind") == "result" and canary in (record.get("weights_after") or {})]
    told = tuple(record for record in group if record.get("kind") == "decision" and record.get("action") != "wait")
    over = next((record for record in reversed(group) if record.get("phase") in ("Promoted", "RolledBack", "Aborted")), group[-1])
    began = float(acted[0]["at"]) if acted else float(group[0]["at"])
    return Story(canary, stable, str(over.get("phase", "")), began, float(over["at"]), over, told)


def weight_lines(data: ReportData, start: float) -> dict[str, list[Point]]:
    """Return the share of traffic by revision as steps, from the results of acts: what was applied, not what was wished."""
    moves = [(float(r["at"]), dict(r["weights_after"])) for r in data.records if r.get("kind") == "result" and r.get("weights_after")]
    before = next((dict(r["weights_before"]) for r in data.records if r.get("weights_before")), {})
    steps = [(start, before), *moves, (data.ended, moves[-1][1] if moves else before)]
    revisions = sorted({revision for _, weights in steps for revision in weights})
    return {revision: [(max(at, start), weights.get(revision, 0) / 100) for at, weights in steps] for revision in revisions}


def revisions_seen(series: Iterable[Series]) -> list[str]:
    """Return the revisions that answered anything, sorted."""
    return sorted({one.labels[names.REVISION] for one in series if names.REVISION in one.labels and one.samples and one.samples[-1][1] > 0})


def windows(start: float, end: float) -> tuple[list[float], float]:
    """Return the times at which a line has a point, and the width of the window that ends there (seconds)."""
    step = max(1.0, (end - start) / 160)
    return [start + step * index for index in range(int((end - start) / step) + 1)], max(5.0, (end - start) / 32)


def error_line(data: ReportData, revision: str, start: float) -> list[Point]:
    """Share of a revision's requests that failed, over a sliding window; None where it got no request."""
    own = [one for one in data.requests if one.labels.get(names.REVISION) == revision]
    bad = [one for one in own if one.labels.get(names.OUTCOME) == names.OUTCOME_ERROR]
    times, width = windows(start, data.ended)
    points: list[Point] = []
    for at in times:
        total = sum_increase(own, at - width, at, from_zero_after=data.started)
        points.append((at, sum_increase(bad, at - width, at, from_zero_after=data.started) / total if total else None))
    return points


def latency_lines(data: ReportData, revision: str, quantiles: Sequence[float], start: float) -> list[list[Point]]:
    """Quantiles of a revision's latency in seconds, interpolated in classic buckets; None where it got no request."""
    own = [one for one in data.durations if one.labels.get(names.REVISION) == revision]
    bounds = sorted({float(one.labels["le"]) for one in own})
    by_bound = {bound: [one for one in own if float(one.labels["le"]) == bound] for bound in bounds}
    times, width = windows(start, data.ended)
    counts = [[sum_increase(by_bound[bound], at - width, at, from_zero_after=data.started) for bound in bounds] for at in times]
    return [[(at, bucket_quantile(quantile, bounds, row)) for at, row in zip(times, counts, strict=True)] for quantile in quantiles]


def bucket_quantile(quantile: float, bounds: Sequence[float], cumulative: Sequence[float]) -> float | None:
    """Estimate a quantile as Prometheus does: linear inside a bucket, the last finite bound above all buckets, None without events."""
    if not cumulative or cumulative[-1] <= 0:
        return None
    rank, below, floor = quantile * cumulative[-1], 0.0, 0.0
    for bound, count in zip(bounds, cumulative, strict=True):
        if count >= rank:
            if math.isinf(bound):
                return floor
            return floor + (bound - floor) * ((rank - below) / (count - below) if count > below else 1.0)
        below, floor = count, bound
    return floor


def budget_line(data: ReportData, promise: Promise, start: float) -> list[Point]:
    """Error budget left of the traffic shown: 1 - bad / (allowed share x all requests of the whole time shown)."""
    if promise.threshold is None:
        total, bad = list(data.requests), [one for one in data.requests if one.labels.get(names.OUTCOME) == names.OUTCOME_ERROR]
        good: list[Series] = []
    else:
        total = [one for one in data.durations if one.labels.get("le") == "+Inf"]
        good = [
            one for one in data.durations if one.labels.get("le") not in (None, "+Inf") and float(one.labels["le"]) == promise.threshold
        ]
        bad = []
    everything = sum_increase(total, start, data.ended, from_zero_after=data.started)
    allowed = (1 - promise.objective) * everything
    if allowed <= 0:
        return []
    times, _ = windows(start, data.ended)
    points: list[Point] = []
    for at in times:
        failed = sum_increase(bad, start, at, from_zero_after=data.started)
        if good:
            failed = sum_increase(total, start, at, from_zero_after=data.started) - sum_increase(
                good, start, at, from_zero_after=data.started
            )
        points.append((at, 1 - failed / allowed))
    return points


def counted(data: ReportData, revision: str | None = None, outcome: str | None = None) -> int:
    """Count requests of the whole report, optionally of one revision and outcome."""
    wanted = {key: value for key, value in ((names.REVISION, revision), (names.OUTCOME, outcome)) if value is not None}
    chosen = [one for one in data.requests if all(one.labels.get(key) == value for key, value in wanted.items())]
    return round(sum(increase(one.samples, data.started, data.ended, from_zero_after=data.started) for one in chosen))
