"""From raw counter samples to finished slices; or to Unknown, with the reason in words.

A look must be cheap and must not change the past: slices that are known, from this process or from the records of one
that was killed, are kept as they are, and only newer samples are asked for. The traps: a gap in scraping looks like an idle
service, a process that is gone looks like a healthy one, and a sample that arrives late belongs to a slice that was
already judged. So a slice is finished only when every process has been seen after its end, or has been away for so long
that the slice is marked as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from mlops_obs.errors import ObsError, TelemetryUnavailable
from mlops_obs.metric_names import LATENCY_BUCKETS, REQUEST_DURATION, REQUESTS, SERVICE, STAGE
from mlops_obs.rollout.evidence.counted import Counted, Pods, bound_of
from mlops_obs.rollout.evidence.grid import JITTER, edge_state, missing_in, weight_over
from mlops_obs.rollout.evidence.slices import Arms, Counts, Evidence, Slice, Unknown
from mlops_obs.rollout.evidence.tracks import Key, Process, copies_in, dig, processes_of, tracks_of, without
from mlops_obs.rollout.evidence.trust import live_revisions, too_many, too_sparse, untrusted
from mlops_obs.rollout.gates.counting import CountingGates, place_of
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource
from mlops_obs.slo.counters import newest as newest_of
from mlops_obs.slo.spec import SLO

_OVERLAP = 60.0  # seconds before the first new slice in which the counters' base values are looked for
_FIRST = 900.0  # the same for the first look of a process, which must learn which counters are old
_AHEAD = 300.0  # seconds after now in which samples are looked for: there are some only if the clocks disagree
UP = "up"


class EvidenceReader:
    """Reads the evidence of one rollout, slice by slice; keep one per rollout.

    Args:
        source: where the counters are.
        spec: the rollout; its gates that count are filled into the slices, too.
        slos: objectives that gates of type `slo` name.
    """

    def __init__(self, source: CounterSource, spec: Rollout, slos: Sequence[SLO] = ()) -> None:
        self._source, self._spec = source, spec
        self._gates = CountingGates(source, spec, slos)
        self._whole_latency = any(gate.type == "latency" for gate in spec.gates)
        self._known: dict[Key, float] = {}
        self._newest: dict[str, float] = {}
        self._last: tuple[Arms, float, float, tuple[str, ...]] | None = None  # arms, end of the last slice, newest sample, notes

    @property
    def bounds(self) -> tuple[float, ...]:
        """The bounds in seconds of `Counts.slower`; empty unless a gate asks for whole distributions."""
        return LATENCY_BUCKETS if self._whole_latency else ()

    def read(
        self, arms: Arms, began_at: float | None, known: Sequence[Slice], weights_history: Sequence[tuple[float, int]], now: float
    ) -> Evidence | Unknown:
        """Return all finished slices: `known`, untouched, and those after it.

        Args:
            arms: who is compared.
            began_at: when the canary first got traffic (Unix seconds); None: only check that stable can be seen.
            known: slices from earlier looks or from the records, in order of time.
            weights_history: (Unix seconds, percent) for each change of the canary's declared share.
            now: Unix seconds.
        """
        end = known[-1].end if known else began_at
        if end is not None and self._still_fresh(arms, end, now):
            _, _, until, notes = self._last or (arms, end, now, ())
            return Evidence(tuple(known), until, self.bounds, notes)
        self._last = None
        try:
            return self._read(arms, began_at, known, weights_history, now)
        except TelemetryUnavailable as error:
            return Unknown(f"metrics cannot be read: {error.what}", away=True)

    def _still_fresh(self, arms: Arms, end: float, now: float) -> bool:
        """Say whether no slice can have been finished since the last look, and what was seen then is still young."""
        if self._last is None or self._last[:2] != (arms, end) or now >= end + self._spec.slice:
            return False
        return all(0 <= now - self._newest.get(one, 0.0) <= self._spec.stale_after for one in live_revisions(arms))

    def _read(
        self, arms: Arms, began_at: float | None, known: Sequence[Slice], history: Sequence[tuple[float, int]], now: float
    ) -> Evidence | Unknown:
        spec = self._spec
        end = known[-1].end if known else now if began_at is None else began_at
        reach = max(_OVERLAP if self._known else _FIRST, 3 * spec.stale_after, 2 * spec.slice)
        if not self._known and began_at is not None:  # what lies before the rollout is no evidence
            reach = min(reach, end - began_at + max(_OVERLAP, 3 * spec.stale_after))
        start = end - reach
        matchers = {SERVICE: spec.service, STAGE: spec.stage}
        raw = self._source.series(REQUESTS.name, matchers, start, now + _AHEAD)
        timed_raw = self._source.series(f"{REQUEST_DURATION.name}_count", matchers, start, now)
        le = {} if self._whole_latency else {"le": repr(float(spec.latency_threshold))}
        buckets_raw = self._source.series(f"{REQUEST_DURATION.name}_bucket", {**matchers, **le}, start, now)
        for metric, family in ((REQUESTS.name, raw), (f"{REQUEST_DURATION.name}_bucket", buckets_raw)):
            if problem := too_many(metric, family):
                return Unknown(problem)
        copies, notes = copies_in(raw)
        families = [tracks_of(without(family, copies), self._known, spec.stale_after) for family in (raw, timed_raw, buckets_raw)]
        requests, timed, buckets = families
        for track in (one for family in families for one in family if one.times):
            self._known.setdefault(frozenset(track.labels.items()), track.times[0])
        self._newest = {}
        for track in requests:
            if track.times:
                self._newest[track.revision] = max(track.times[-1], self._newest.get(track.revision, 0.0))
        fast = [one for one in buckets if bound_of(one) == spec.latency_threshold]
        problem = untrusted(requests, timed, fast, spec, arms, self._newest.get, now)
        if not problem and began_at is None:
            problem = too_sparse(raw, spec, arms)
        if problem:
            return Unknown(problem)
        until = min(now, newest_of(raw) or now)
        notes += self._gates.notes
        if began_at is None:
            return Evidence((), until, self.bounds, tuple(notes))
        counted = Counted(spec, arms, requests, timed, buckets, fast, self.bounds)
        new = self._new_slices(arms, began_at, end, history, counted, known, until, now)
        slices = (*known, *new)
        self._last = (arms, slices[-1].end if slices else began_at, until, tuple(notes))
        return Evidence(slices, until, self.bounds, tuple(notes))

    def _new_slices(
        self, arms: Arms, began_at: float, end: float, history: Sequence[tuple[float, int]], counted: Counted, known: Sequence[Slice],
        until: float, now: float,
    ) -> list[Slice]:  # fmt: skip
        spec = self._spec
        longest, jitter = max(spec.stale_after, JITTER * spec.slice), JITTER * spec.slice
        live = set(live_revisions(arms))
        processes = [one for one in processes_of(counted.requests) if one.revision in live]
        for process in processes:
            dig(process, now, longest, max(_OVERLAP, 2 * spec.stale_after), lambda one: self._listed_until(one, now))
        holes = [hole for process in processes for hole in process.holes] + [
            hole for track in (*counted.timed, *counted.fast) if track.revision in live for hole in track.spoilt
        ]
        first = round((end - began_at) / spec.slice)
        edges: list[float] = []
        for index in range(first + 1, int((until - began_at) / spec.slice + 1e-9) + 1):
            edge = began_at + index * spec.slice
            state = edge_state(edge, processes, now, jitter, longest)
            if state == "wait":
                break
            if state == "yes":
                edges.append(edge)
        unseen = {edge: missing_in(start, edge, holes) or counted.contradiction(start, edge) for start, edge in pairwise([end, *edges])}
        slices = [(start, edge) for start, edge in pairwise([end, *edges]) if not unseen[edge]]
        told = next((one.end for one in reversed(known) if not one.missing), began_at)  # what fell due since is told in the next
        gates = self._gates.read(arms, began_at, told, slices, {place_of(one.labels) for one in counted.requests}, now)
        pods = Pods(known)
        out: list[Slice] = []
        start = end
        for edge in edges:
            if missing := unseen[edge]:
                out = _with_missing(out, start, edge, weight_over(start, edge, history), missing)
            else:
                of = gates.get(edge, {})
                canary, stable = (
                    counted.counts(arm, start, edge, pods, {name: both[side] for name, both in of.items()})
                    for side, arm in enumerate((arms.canary, arms.stable))
                )
                out.append(Slice(start, edge, canary, stable, weight_over(start, edge, history)))
            start = edge
        return out

    def _listed_until(self, process: Process, now: float) -> float | None:
        """Return when the scraper last tried to read `process`; None if nobody can tell."""
        instance = process.labels.get("instance")
        if not instance:
            return None
        job = {"job": process.labels["job"]} if "job" in process.labels else {}
        try:
            return newest_of(self._source.series(UP, {"instance": instance, **job}, process.times[-1] - 3 * self._spec.stale_after, now))
        except ObsError:
            return None


def _with_missing(out: list[Slice], start: float, end: float, weight: int | None, missing: str) -> list[Slice]:
    """Append a slice without evidence, as one with the slice before if that misses the same."""
    last = out[-1] if out else None
    if last is not None and last.missing == missing and last.weight == weight:
        return [*out[:-1], Slice(last.start, end, Counts(), Counts(), weight, missing)]
    return [*out, Slice(start, end, Counts(), Counts(), weight, missing)]
