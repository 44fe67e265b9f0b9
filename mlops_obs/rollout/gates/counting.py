"""Gates that count: bad events and all events of both arms, put into the slices for the sequential test.

A gate's counters may live in another process and be scraped more rarely than a slice is long. Canary and stable would
then fall into different slices, and nothing could be compared; such gates are counted once per block, a scrape later, so
that no look has to wait for them. A slice in which a gate has nothing to say has no entry for it: absent is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from mlops_obs.errors import ObsError
from mlops_obs.metric_names import REVISION, SERVICE
from mlops_obs.rollout.evidence.grid import JITTER, missing_in
from mlops_obs.rollout.evidence.slices import Arms
from mlops_obs.rollout.evidence.tracks import Hole, Key, Track, copies_in, dig, processes_of, tracks_of, without
from mlops_obs.rollout.gates.cohorts import Both, read_cohorts
from mlops_obs.rollout.spec.gates import CountersGate, QualityGate, SloGate
from mlops_obs.rollout.spec.rollout import Rollout
from mlops_obs.slo.counters import CounterSource, Series
from mlops_obs.slo.indicators import Counters, Selector, counters
from mlops_obs.slo.selectors import parse_selector
from mlops_obs.slo.spec import SLO

Span = tuple[float, float]


def place_of(labels: Mapping[str, str]) -> tuple[str, str]:
    """Return the process that counters with `labels` come from, as far as the scraper tells."""
    return labels.get("instance", ""), labels.get("job", "")


def read_selector(source: CounterSource, one: Selector, start: float, end: float) -> list[Series]:
    """Return the samples of `one` in (start, end]. A source matches by equality only, so the other matchers act here."""
    return [series for series in source.series(one.metric, one.equal, start, end) if one.accepts(series.labels)]


@dataclass(slots=True)
class Plan:
    """How the events of a gate or an SLO are counted: over how many seconds at a time (None: slice by slice), and how much later."""

    name: str
    counted: Counters
    width: float | None = None
    lag: float = 0.0
    settled: bool = False
    known: dict[Key, float] = field(default_factory=dict)

    def settle(self, total: Sequence[Track], processes: set[tuple[str, str]], spec: Rollout) -> None:
        """Choose, once, to count with the slices, or by the block where samples come otherwise than the requests' of `processes`."""
        gaps = sorted(b - a for one in total for a, b in pairwise(one.times))
        if self.settled or not gaps:
            return
        self.settled = True
        usual = gaps[len(gaps) // 2]
        if {place_of(one.labels) for one in total} <= processes and usual <= spec.slice * JITTER:
            return
        self.lag = usual * JITTER
        self.width = spec.block * max(1, math.ceil(self.lag / spec.block))


@dataclass(slots=True)
class EventTracks:
    """The counters of all events and of the bad (or the good) ones, of both arms."""

    counted: Counters
    total: list[Track]
    parts: list[Track]

    @property
    def last_is_number(self) -> bool:
        """The newest sample of every counter is a number."""
        return all(one.last_is_number for one in (*self.total, *self.parts))

    def holes(self, now: float, longest: float) -> list[Hole]:
        """Return the stretches in which a process was not seen for more than `longest` seconds."""
        found = [hole for track in self.parts for hole in track.spoilt]
        for process in processes_of(self.total):
            dig(process, now, longest, max(60.0, 2 * longest), lambda _: None)
            found += process.holes
        return found

    def bad_total(self, revision: str, start: float, end: float) -> tuple[int, int]:
        """Return (bad, all) events of `revision` in (start, end]."""
        whole, part = (sum(one.count(start, end) for one in family if one.revision == revision) for family in (self.total, self.parts))
        bad = part if self.counted.bad is not None else whole - part
        return round(min(max(bad, 0.0), whole)), round(whole)


def load(source: CounterSource, plan: Plan, spec: Rollout, arms: Arms, start: float, end: float) -> EventTracks | None:
    """Read the counters of `plan` in (start, end]; None where they do not tell both revisions apart.

    A selector of the user's own may be wider than the service, and another service's v2 is not this one's. Where good events
    are counted, a process without that counter would seem all bad: that is no data either.
    """
    part = plan.counted.bad or plan.counted.good
    assert part is not None  # noqa: S101 - bad events are counted, or good ones
    mine = {arms.canary, arms.stable}
    families: list[list[Track]] = []
    copies: set[Key] | None = None
    for selector in (plan.counted.total, part):
        found = [
            one
            for one in read_selector(source, selector, start, end)
            if one.labels.get(REVISION) in mine and one.labels.get(SERVICE, spec.service) == spec.service
        ]
        copies = copies_in(found)[0] if copies is None else copies
        families.append(tracks_of(without(found, copies), plan.known, max(spec.stale_after, plan.lag)))
    total, parts = families
    for track in (*total, *parts):
        if track.times:
            plan.known.setdefault(frozenset(track.labels.items()), track.times[0])
    needed = (total,) if plan.counted.bad is not None else (total, parts)
    if any(mine - {one.revision for one in family} for family in needed):
        return None
    if plan.counted.bad is None and {one.process for one in total} - {one.process for one in parts}:
        return None
    return EventTracks(plan.counted, total, parts)


class CountingGates:
    """Reads the gates of a rollout that count; `notes` names those that cannot."""

    def __init__(self, source: CounterSource, spec: Rollout, slos: Sequence[SLO] = ()) -> None:
        self._source, self._spec = source, spec
        self.notes: tuple[str, ...] = ()
        self._owed: dict[str, float] = {}  # since when a gate could not be read, by its name
        self._plans: list[Plan] = []
        self._quality = [gate for gate in spec.gates if isinstance(gate, QualityGate)]
        by_name = {slo.name: slo for slo in slos if slo.service == spec.service}
        for gate in spec.gates:
            if isinstance(gate, SloGate | CountersGate):
                try:
                    self._plans.append(Plan(gate.name, counters_of(gate, by_name)))
                except ValueError as error:
                    self.notes += (f"gate {gate.name} has no data: {error}",)

    def read(
        self, arms: Arms, began_at: float, told: float, slices: Sequence[Span], processes: set[tuple[str, str]], now: float
    ) -> dict[float, dict[str, Both]]:
        """Return what each gate counted, by the end of the slice that gets it.

        Args:
            arms: who is compared.
            began_at: where the grid of blocks begins (Unix seconds).
            told: end of the last slice that was not missing; blocks and cohorts since then are for the first one that is not.
            slices: start and end of the new slices that are not missing.
            processes: those that the request counters come from.
            now: Unix seconds.
        """
        out: dict[float, dict[str, Both]] = {edge: {} for _, edge in slices}
        if not slices:
            return out
        readers: dict[str, Callable[[float], list[tuple[float, Both]]]] = {
            **{one.name: partial(self._counted, one, arms, began_at, slices, processes, now) for one in self._plans},
            **{one.name: partial(self._cohorts, one, arms, began_at, slices) for one in self._quality},
        }
        for name, read in readers.items():
            try:
                for edge, both in read(self._owed.get(name, told)):
                    out[edge][name] = both
            except ObsError:
                self._owed.setdefault(name, told)  # it has no data in these slices; its blocks and cohorts can wait
            else:
                self._owed.pop(name, None)
        return out

    def _cohorts(self, gate: QualityGate, arms: Arms, began_at: float, slices: Sequence[Span], told: float) -> list[tuple[float, Both]]:
        return read_cohorts(self._source, self._spec, gate, arms, began_at, [told, *(edge for _, edge in slices)])

    def _counted(
        self, plan: Plan, arms: Arms, began_at: float, slices: Sequence[Span], processes: set[tuple[str, str]], now: float, told: float
    ) -> list[tuple[float, Both]]:
        spec = self._spec
        before = max(60.0, 3 * spec.stale_after) + (plan.width + plan.lag if plan.width else 0.0 if plan.settled else 4 * spec.block)
        tracks = load(self._source, plan, spec, arms, told - before, now)
        if tracks is None:
            return []
        plan.settle(tracks.total, processes, spec)
        holes = tracks.holes(now, max(spec.stale_after, JITTER * spec.slice, 2 * plan.lag))
        found: dict[float, Both] = {}
        for edge, start, stop in _stretches(plan, began_at, told, slices):
            if tracks.last_is_number and not missing_in(start, stop, holes):
                canary, stable = (tracks.bad_total(revision, start, stop) for revision in (arms.canary, arms.stable))
                if canary[1] or stable[1]:
                    more = found.get(edge, ((0, 0), (0, 0)))
                    found[edge] = (_sum(more[0], canary), _sum(more[1], stable))
        return list(found.items())


def counters_of(gate: SloGate | CountersGate, slos: Mapping[str, SLO]) -> Counters:
    """Return where the events of `gate` are counted; ValueError, in words, if they are not counted by revision."""
    if isinstance(gate, CountersGate):
        return Counters(total=parse_selector(gate.total), bad=parse_selector(gate.bad))
    slo = slos.get(gate.slo)
    if slo is None:
        raise ValueError(f"the service has no SLO {gate.slo}; known: {', '.join(sorted(slos)) or 'none'}")
    if slo.indicator.type == "training":
        raise ValueError(f"{gate.slo} is about training, whose revision serves nobody yet")
    try:
        return counters(slo)
    except (TypeError, ObsError):
        raise ValueError(f"the events of {gate.slo} are not counted by revision (its indicator is {slo.indicator.type})") from None


def why_uncounted(gate: SloGate | CountersGate, slos: Mapping[str, SLO]) -> str:
    """Return why the events of `gate` can never be counted, in words; empty if they can."""
    try:
        counters_of(gate, slos)
    except ValueError as error:
        return str(error)
    return ""


def _stretches(plan: Plan, began_at: float, told: float, slices: Sequence[Span]) -> list[tuple[float, float, float]]:
    """Return (end of the slice, start, end of what is counted into it): the slice itself, or the blocks that fell due since the last."""
    if plan.width is None:
        return [(edge, start, edge) for start, edge in slices]
    out = []
    for start, edge in pairwise([told, *(edge for _, edge in slices)]):
        first, last = (math.floor((at - plan.lag - began_at) / plan.width + 1e-9) for at in (start, edge))
        for block in range(max(first, 0), last):
            out.append((edge, began_at + block * plan.width, began_at + (block + 1) * plan.width))
    return out


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]
