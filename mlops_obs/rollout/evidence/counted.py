"""Both arms' counters over any stretch of time: requests, errors, slow ones, by pod and by latency bound.

The trap is the part that is missing from the whole. A process without a bucket seems all slow, a pod beyond the bound on
names would vanish from the sums: the first has no distribution at all, the second is counted with the others.
"""

from __future__ import annotations

from collections.abc import Iterable

from mlops_obs.metric_names import OUTCOME, OUTCOME_ERROR
from mlops_obs.rollout.evidence.slices import Arms, Counts, Slice
from mlops_obs.rollout.evidence.tracks import Track
from mlops_obs.rollout.spec.rollout import Rollout

_MOST_PODS = 50  # of an arm in a slice; more are counted together
OTHERS = "(others)"


class Counted:
    """The counters of both arms, ready to be counted over any stretch of time."""

    def __init__(
        self, spec: Rollout, arms: Arms, requests: list[Track], timed: list[Track], buckets: list[Track], fast: list[Track],
        bounds: tuple[float, ...],
    ) -> None:  # fmt: skip
        mine = {arms.canary, arms.stable}
        self.requests, self.timed, self.fast = ([one for one in family if one.revision in mine] for family in (requests, timed, fast))
        self.bounds, self.spec = bounds, spec
        self._by_bound: dict[str, dict[float, list[Track]]] = {}
        for one in buckets if bounds else ():
            self._by_bound.setdefault(one.revision, {}).setdefault(bound_of(one), []).append(one)

    def counts(self, revision: str, start: float, end: float, pods: Pods, gates: dict[str, tuple[int, int]]) -> Counts:
        """Count what `revision` answered in (start, end]."""
        total, errors, timed, fast = 0.0, 0.0, 0.0, 0.0
        by_pod: dict[str, list[float]] = {}
        for one in (track for track in self.requests if track.revision == revision):
            count = one.count(start, end)
            bad = count if one.labels.get(OUTCOME) == OUTCOME_ERROR else 0.0
            total, errors = total + count, errors + bad
            _add(by_pod, one.pod, count, bad, 0.0)
        for family, sign in ((self.timed, 1), (self.fast, -1)):
            for one in (track for track in family if track.revision == revision):
                count = one.count(start, end)
                timed, fast = (timed + count, fast) if sign > 0 else (timed, fast + count)
                _add(by_pod, one.pod, 0.0, 0.0, sign * count)
        slow = round(max(timed - fast, 0.0))
        return Counts(
            round(total), round(errors), round(timed), slow, self._slower(revision, start, end, timed), gates, pods.named(revision, by_pod)
        )

    def _slower(self, revision: str, start: float, end: float, timed: float) -> tuple[int, ...]:
        """Count the requests slower than each bound; nothing if a process has not all bounds, for it would seem slow."""
        processes = {one.process for one in self.timed if one.revision == revision}
        out = []
        for bound in self.bounds:
            family = self._by_bound.get(revision, {}).get(bound, [])
            if {one.process for one in family} != processes:
                return ()
            out.append(round(max(timed - sum(one.count(start, end) for one in family), 0.0)))
        return tuple(out)

    def contradiction(self, start: float, end: float) -> str:
        """Return what the counters say that cannot be, or an empty string."""
        within = {one.process: one for one in self.timed}
        for one in self.fast:
            whole = within.get(one.process)
            if whole is not None and one.count(start, end) > whole.count(start, end) + 0.5:
                return (
                    f"the histogram of {one.pod or one.revision} counts more requests below {self.spec.latency_threshold:g} s than in all"
                )
        return ""


class Pods:
    """Names at most fifty pods of an arm, the same ones in every slice; the rest are counted together."""

    def __init__(self, known: Iterable[Slice]) -> None:
        self._names: dict[str, set[str]] = {}
        self._known = known
        self._read = False

    def named(self, revision: str, counts: dict[str, list[float]]) -> dict[str, tuple[int, int, int]]:
        """Return requests, errors and slow ones by pod."""
        counts = {name: numbers for name, numbers in counts.items() if name and any(numbers)}
        if len(counts) >= _MOST_PODS or revision in self._names:
            names = self._names.setdefault(revision, set())
            if not self._read:
                self._read = True
                for one in self._known:
                    for arm in (one.canary, one.stable):
                        names |= set(arm.pods) & set(counts)
            for name in sorted(set(counts) - names):
                if len(names) >= _MOST_PODS - 1:
                    break
                names.add(name)
            merged: dict[str, list[float]] = {}
            for name, numbers in counts.items():
                _add(merged, name if name in names else OTHERS, *numbers)
            counts = merged
        return {name: (round(total), round(bad), round(max(slow, 0.0))) for name, (total, bad, slow) in sorted(counts.items())}


def _add(table: dict[str, list[float]], name: str, *numbers: float) -> None:
    row = table.setdefault(name, [0.0, 0.0, 0.0])
    for index, number in enumerate(numbers):
        row[index] += number


def bound_of(track: Track) -> float:
    """Return the bound of a histogram's bucket in seconds; NaN, which equals nothing, if it has none."""
    try:
        return float(track.labels.get("le", "nan"))
    except ValueError:
        return float("nan")
