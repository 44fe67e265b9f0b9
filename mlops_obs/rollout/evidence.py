"""From raw counter samples to requests per slice and arm; or to Unknown, with the reason in words.

The traps: a gap in scraping looks like an idle service, a process that is gone looks like a healthy one, and a counter
that is seen for the first time after a gap carries its whole past. So the age of the newest sample of each arm is
checked, and a new counter counts from zero only if the source was seen to be alive just before it was born.

Slices are cut on a grid anchored at the start of the rollout: a restarted controller, or a replay, cuts the same ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mlops_obs.durations import humanize_duration
from mlops_obs.errors import TelemetryUnavailable
from mlops_obs.metric_names import OUTCOME, OUTCOME_ERROR, REQUEST_DURATION, REQUESTS, REVISION, SERVICE, STAGE
from mlops_obs.rollout.spec import Rollout
from mlops_obs.slo.counters import CounterSource, Series, increase, newest

_LOOKBACK = 60.0  # seconds before the start in which the counters' base values are looked for
_AHEAD = 300.0  # seconds after now in which samples are looked for: there are some only if the clocks disagree


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one arm in one slice: all, failed, timed, and slower than the threshold."""

    total: int = 0
    errors: int = 0
    timed: int = 0
    slow: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """What both arms answered in (start, end]."""

    start: float
    end: float
    canary: Counts
    stable: Counts


@dataclass(frozen=True, slots=True)
class Evidence:
    """All complete slices so far; `until` is the time of the newest sample."""

    slices: tuple[Slice, ...]
    until: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """The evidence cannot be read or trusted now. Never a reason to raise traffic, never a reason to roll back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Arms:
    """Who is compared; whether stable should be answering requests now, and since when the canary should (None: not yet)."""

    stable: str
    canary: str
    stable_live: bool
    canary_since: float | None


def read_evidence(source: CounterSource, rollout: Rollout, arms: Arms, began_at: float | None, now: float) -> Evidence | Unknown:
    """Read everything since `began_at` (Unix seconds); with None, only check that the stable arm can be seen."""
    start = (now if began_at is None else began_at) - max(_LOOKBACK, 3 * rollout.stale_after)
    matchers = {SERVICE: rollout.service, STAGE: rollout.stage}
    bound = repr(float(rollout.latency_threshold))
    try:
        requests = source.series(REQUESTS.name, matchers, start, now + _AHEAD)
        timed = source.series(f"{REQUEST_DURATION.name}_count", matchers, start, now)
        fast = source.series(f"{REQUEST_DURATION.name}_bucket", {**matchers, "le": bound}, start, now)
    except TelemetryUnavailable as error:
        return Unknown(f"metrics cannot be read: {error.what}")
    problem = _untrusted(requests, timed, fast, rollout, arms, now) or (
        "" if began_at is not None else _too_sparse(requests, rollout, arms)
    )
    if problem:
        return Unknown(problem)
    until = min(now, newest(requests) or now)
    if began_at is None:
        return Evidence((), until)
    edges = slice_edges(began_at, until, rollout.slice)
    columns: dict[tuple[str, str], list[float]] = {}
    for revision in (arms.canary, arms.stable):
        for name, family in (("total", requests), ("timed", timed), ("fast", fast)):
            columns[revision, name] = per_slice(family, {REVISION: revision}, edges, rollout.stale_after)
        columns[revision, "errors"] = per_slice(requests, {REVISION: revision, OUTCOME: OUTCOME_ERROR}, edges, rollout.stale_after)

    def counts(revision: str, index: int) -> Counts:
        total, errors, timed_, fast_ = (round(columns[revision, name][index]) for name in ("total", "errors", "timed", "fast"))
        return Counts(total, min(errors, total), timed_, min(max(timed_ - fast_, 0), timed_))

    return Evidence(
        tuple(Slice(a, b, counts(arms.canary, index), counts(arms.stable, index)) for index, (a, b) in enumerate(pairwise(edges))),
        until,
    )


def _untrusted(
    requests: Sequence[Series], timed: Sequence[Series], fast: Sequence[Series], rollout: Rollout, arms: Arms, now: float
) -> str:
    """Return why the samples cannot be trusted, or an empty string."""
    place = f"{rollout.service} at stage {rollout.stage}"
    if not requests:
        return f"there are no request counters of {place}; is it instrumented there, or does the spec need another `stage`?"
    if any(not math.isfinite(value) for one in (*requests, *timed, *fast) for _, value in one.samples):
        return f"a counter of {place} is not a number"
    for revision, live in ((arms.stable, arms.stable_live), (arms.canary, arms.canary_since is not None)):
        if not live:
            continue
        own = [one for one in requests if one.labels.get(REVISION) == revision]
        last = newest(own)
        if last is None:
            if revision == arms.canary and now - (arms.canary_since or 0.0) <= rollout.stale_after:
                continue  # it has only just been given traffic
            return f"there are no request counters of {revision} ({place})"
        if now - last > rollout.stale_after:
            return f"the newest sample of {revision} is {humanize_duration(now - last)} old"
        if last - now > rollout.slice:  # what happened before a step would count as evidence of that step
            return f"samples of {revision} are {humanize_duration(last - now)} in the future: check the clocks"
        if not any(one.labels.get(REVISION) == revision for one in timed):
            return f"there is no latency histogram of {revision} ({place})"
        if not any(one.labels.get(REVISION) == revision for one in fast):
            return f"the latency histogram of {revision} has no bound {rollout.latency_threshold:g} s"
    return ""


def _too_sparse(requests: Sequence[Series], rollout: Rollout, arms: Arms) -> str:
    """Return why slices cannot hold both arms, or an empty string. To be asked before the canary gets any traffic.

    A scrape brings the requests since the one before. If that is longer than a slice, canary and stable fall into
    different slices, nothing can be compared, and a canary would be free to fail.
    """
    gaps = sorted(b - a for one in requests if one.labels.get(REVISION) == arms.stable for (a, _), (b, _) in pairwise(one.samples))
    if not gaps:
        return f"{arms.stable} has been scraped only once so far"
    if gaps[len(gaps) // 2] <= rollout.slice * 1.1:
        return ""
    gap = math.ceil(gaps[len(gaps) // 2])
    todo = f"abort, and start again with slice: {2 * gap}s and stale_after: {3 * gap}s or more"
    return f"samples are {gap} s apart and slices only {rollout.slice:g} s; {todo}"


def slice_edges(began_at: float, until: float, width: float) -> list[float]:
    """Return the edges of all complete slices from `began_at` on: the same ones for every reader, and at every look."""
    return [began_at + index * width for index in range(int((until - began_at) / width + 1e-9) + 1)]


def per_slice(family: Sequence[Series], labels: Mapping[str, str], edges: Sequence[float], stale_after: float) -> list[float]:
    """Count events per slice over the series with `labels`. Resets are taken out series by series, before the sum."""
    seen = sorted({at for one in family for at, _ in one.samples})
    totals = [0.0] * (len(edges) - 1)
    for one in family:
        if not one.samples or any(one.labels.get(key) != value for key, value in labels.items()):
            continue
        times = [at for at, _ in one.samples]
        before = bisect_left(seen, times[0])
        witnessed = before > 0 and times[0] - seen[before - 1] <= stale_after
        born_after = times[0] - 1e-6 if witnessed else None
        for index, (start, end) in enumerate(pairwise(edges)):
            low, high = bisect_right(times, start), bisect_right(times, end)
            if high > low:
                totals[index] += increase(one.samples[max(low - 1, 0) : high], start, end, from_zero_after=born_after)
    return totals
