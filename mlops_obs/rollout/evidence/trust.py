"""Whether what the metrics say can be believed now, in words for the person who must repair it.

A rollout on evidence it does not have is the field's commonest false rollback. So a source that answered is not yet
evidence: counters must be there for each revision that should be answering, young enough, numbers, and scraped at least
once per slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from mlops_obs.durations import humanize_duration
from mlops_obs.metric_names import REVISION
from mlops_obs.rollout.evidence.grid import JITTER
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.evidence.tracks import Track
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import Series

MOST_SERIES = 5_000  # of one metric; more is a label without bounds, and no answer in time


def live_revisions(arms: Arms) -> list[str]:
    """Return the revisions that should be answering requests now."""
    return [one for one, live in ((arms.stable, arms.stable_live), (arms.canary, arms.canary_since is not None)) if live]


def place_of(spec: Rollout) -> str:
    """Return whose requests are judged, in words."""
    return f"{spec.service} at stage {spec.stage}"


def too_many(metric: str, family: Sequence[Series]) -> str:
    """Return that a metric has more series than can be judged, or an empty string."""
    if len(family) <= MOST_SERIES:
        return ""
    return f"{metric} has {len(family)} series, more than {MOST_SERIES}; drop the label that has no bound (see relabelling)"


Tracks = Sequence[Track]


def untrusted(
    requests: Tracks, timed: Tracks, fast: Tracks, spec: Rollout, arms: Arms, newest: Callable[[str], float | None], now: float
) -> str:
    """Return why the samples cannot be trusted now, or an empty string; `newest` tells when a revision was last seen."""
    place = place_of(spec)
    if not requests:
        return f"there are no request counters of {place}; is it instrumented there, or does the spec need another `stage`?"
    mine = {arms.stable, arms.canary}
    if any(not one.last_is_number for one in (*requests, *timed, *fast) if one.revision in mine):
        return f"a counter of {place} is not a number"
    for revision in live_revisions(arms):
        last = newest(revision)
        if last is None:
            if revision == arms.canary and now - (arms.canary_since or 0.0) <= spec.stale_after:
                continue  # it has only just been given traffic
            return f"there are no request counters of {revision} ({place})"
        if now - last > spec.stale_after:
            return f"the newest sample of {revision} is {humanize_duration(now - last)} old"
        if last - now > spec.slice:  # what happened before a step would count as evidence of that step
            return f"samples of {revision} are {humanize_duration(last - now)} in the future: check the clocks"
        problem = _without_latency(revision, requests, timed, fast, spec, now)
        if problem:
            return problem
    return ""


def _without_latency(revision: str, requests: Tracks, timed: Tracks, fast: Tracks, spec: Rollout, now: float) -> str:
    """Return which process has no latency to compare. A bucket that is missing would read as if every request was slow."""
    place, young = place_of(spec), now - spec.stale_after
    fresh = {one.process: one for one in requests if one.revision == revision and one.times and one.times[-1] >= young}
    counted = {one.process for one in timed if one.revision == revision}
    bounded = {one.process for one in fast if one.revision == revision}
    if not counted:
        return f"there is no latency histogram of {revision} ({place})"
    if not bounded:
        return f"the latency histogram of {revision} has no bound {spec.latency_threshold:g} s"
    for process, one in fresh.items():
        where = f"{revision} at {one.pod}" if one.pod else revision
        if process not in counted:
            return f"there is no latency histogram of {where} ({place})"
        if process not in bounded:
            return f"the latency histogram of {where} has no bound {spec.latency_threshold:g} s"
    return ""


def too_sparse(requests: Sequence[Series], spec: Rollout, arms: Arms) -> str:
    """Return why slices cannot hold both arms, or an empty string. To be asked before the canary gets any traffic.

    A scrape brings the requests since the one before. If that is longer than a slice, canary and stable fall into
    different slices, nothing can be compared, and a canary would be free to fail.
    """
    gaps = sorted(b - a for one in requests if one.labels.get(REVISION) == arms.stable for (a, _), (b, _) in pairwise(one.samples))
    if not gaps:
        return f"{arms.stable} has been scraped only once so far"
    if gaps[len(gaps) // 2] <= spec.slice * JITTER:
        return ""
    gap = math.ceil(gaps[len(gaps) // 2])
    todo = f"abort, and start again with slice: {2 * gap}s and stale_after: {3 * gap}s or more"
    return f"samples are {gap} s apart and slices only {spec.slice:g} s; {todo}"
