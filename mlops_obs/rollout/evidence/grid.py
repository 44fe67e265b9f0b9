"""The grid of slices, anchored at the first traffic of the canary: where a slice may end, and what its declared weight was.

A restarted controller or a replay must cut the same slices, so nothing here depends on when somebody looked: a slice ends
at the first edge after which every process has been seen again. The trap is the late scrape: what it brings was counted
before it. An edge inside such a gap is skipped, so that canary and stable are never compared over different seconds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from mlops_obs.rollout.evidence.tracks import Hole, Process

JITTER = 1.1  # a scrape may be late by a tenth of a slice


def slice_edges(began_at: float, until: float, width: float) -> list[float]:
    """Return the edges of all complete slices from `began_at` on: the same ones for every reader, and at every look."""
    return [began_at + index * width for index in range(int((until - began_at) / width + 1e-9) + 1)]


def edge_state(edge: float, processes: Sequence[Process], now: float, jitter: float, longest: float) -> str:
    """Say whether a slice may end at `edge`: "yes", "later" (inside a gap), or "wait" for samples that are still to come.

    A gap of up to `jitter` seconds is how scraping is; one of more than `longest` is a hole, and waits for nobody.
    """
    answer = "yes"
    for one in processes:
        after = bisect_left(one.times, edge)
        before = bisect_right(one.times, edge) - 1
        if before < 0 or one.times[before] == edge:
            continue
        if after == len(one.times):
            if now - one.times[before] <= longest:
                return "wait"
        elif jitter < one.times[after] - one.times[before] <= longest:
            answer = "later"
    return answer


def missing_in(start: float, end: float, holes: Sequence[Hole]) -> str:
    """Return in words what was not seen in (start, end]; empty if all was."""
    said = sorted({hole.words for hole in holes if start < hole.end and end > hole.start})
    return "; ".join(said[:3]) + (f" and {len(said) - 3} more" if len(said) > 3 else "")


def weight_over(start: float, end: float, history: Sequence[tuple[float, int]]) -> int | None:
    """Return the canary's share in percent that held over the whole of (start, end]; None if it changed inside or is not known.

    `history` has (Unix seconds, percent) for each change, in order of time.
    """
    times = [at for at, _ in history]
    at_start = bisect_right(times, start) - 1
    if at_start < 0:
        return None
    weight = history[at_start][1]
    inside = history[at_start + 1 : bisect_left(times, end)]
    return weight if all(share == weight for _, share in inside) else None
