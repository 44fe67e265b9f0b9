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
RETREATS = {"RolledBack": "rollback", "Aborted": "abort"}  # phase -> the act that leads there
OVER = {"Promoted", *RETREATS}


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
    canary, stable = (next((str(r[role]) for r in reversed(group) if r.get(role)), "") for role in ("canary", "stable"))
    done = [record for record in group if record.get("kind") == "result" and record.get("ok", True)]
    began = next((record for record in done if (record.get("weights_after") or {}).get(canary)), group[0])
    phase = str(group[-1].get("phase", ""))
    over = next((record for record in group if record.get("phase") == phase and phase in OVER), group[-1])
    if phase in RETREATS:  # traffic has gone back when that act succeeded; the target's confirmation comes a look later
        over = next((record for record in done if record.get("action") == RETREATS[phase]), over)
    return Story(canary, stable, phase, float(began["at"]), float(over["at"]), over, tuple(_told(group)))


def _told(group: Sequence[Record]) -> list[Record]:
    """The records worth a line: decisions but waiting, what people asked for, and acts that failed; repetitions once."""
    told: list[Record] = []
    for record in group:
        kind, action = record.get("kind"), record.get("action")
        asked = kind == "request" and action != "start"
        if not (asked or (kind == "decision" and action != "wait") or (kind == "result" and not record.get("ok", True))):
            continue
        same = ("kind", "action", "weights_after", "ok")
        if not told or asked or any(told[-1].get(key) != record.get(key) for key in same):
            told.append(record)
    return told


def evidence_lines(group: Sequence[Record], story: Story) -> dict[str, list[Point]]:
    """Return log10 of the e-value by test over time, as recorded at each look of the controller."""
    lines: dict[str, list[Point]] = {}
    for record in group:
        tests = (record.get("evidence") or {}).get("tests") or {}
        if record.get("canary") == story.canary and record.get("kind") == "decision" and float(record["at"]) <= story.ended + 1:
            for test, numbers in tests.items():
                lines.setdefault(test, [(story.began, 0.0)]).append((float(record["at"]), float(numbers["log10_e"])))
    return {test: [(at, value) for at, value in points if at >= story.began] for test, points in lines.items()}


def weight_lines(data: ReportData, start: float) -> dict[str, list[Point]]:
    """Return the share of traffic by revision as steps, from the results of acts: what was applied, not what was wished."""
    moves = [
        (float(r["at"]), dict(r["weights_after"]))
        for r in data.records
        if r.get("kind") == "result" and r.get("ok", True) and r.get("weights_after")
    ]
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
