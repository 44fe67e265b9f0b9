"""Scraped counters as running sums, process by process, with the stretches in which nothing was seen.

Three traps are answered here. A counter that is seen for the first time carries its whole past, unless the source was seen
to be alive just before: then it was born, and counts from zero. A process that two scrape jobs read is counted twice. And a
process that is not scraped for a while looks idle: the gap is a hole, and what lies in a hole is neither good nor bad.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops_obs.metric_names import REVISION
from mlops_obs.slo.counters import Series

Key = frozenset[tuple[str, str]]
# Labels that the scraper adds and that may differ for one and the same counter; `instance` is what tells processes apart.
_SCRAPER = frozenset({"job", "prometheus", "prometheus_replica", "replica", "monitor", "endpoint"})
_ALIKE = 0.9  # share of the samples of a copy that lie between the neighbouring samples of the original
_PARTS = frozenset({"outcome", "le"})  # labels that divide the counts of one process
_POD, _INSTANCE = "pod", "instance"


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch (start, end) in which the counters of a process were not seen, and why, in words."""

    start: float
    end: float
    words: str


@dataclass(slots=True)
class Track:
    """One counter: `times` of its samples and `sums`, the events up to each; `sums[0]` is 0, before the first sample."""

    labels: Mapping[str, str]
    times: list[float]
    sums: list[float]
    spoilt: list[Hole] = field(default_factory=list)
    last_is_number: bool = True

    def count(self, start: float, end: float) -> float:
        """Return the events in (start, end]."""
        return self.sums[bisect_right(self.times, end)] - self.sums[bisect_right(self.times, start)]

    @property
    def revision(self) -> str:
        """The model revision that it counts."""
        return self.labels.get(REVISION, "")

    @property
    def process(self) -> Key:
        """What tells its process and revision from others."""
        return frozenset((key, value) for key, value in self.labels.items() if key not in _PARTS)

    @property
    def pod(self) -> str:
        """The name of its process for people; empty if the labels do not tell processes apart."""
        return self.labels.get(_POD) or self.labels.get(_INSTANCE, "")


def tracks_of(family: Sequence[Series], known: Mapping[Key, float], alive_within: float) -> list[Track]:
    """Return the running sums of every series of a family.

    Args:
        family: series of one metric, from a while before the first event that is to be counted.
        known: when each series was first seen; one that was seen before its first sample here was not born here.
        alive_within: seconds; a new series is born at zero if any series had a sample so shortly before.
    """
    seen = sorted({at for one in family for at, _ in one.samples})
    out = []
    for one in family:
        good = [(at, value) for at, value in one.samples if math.isfinite(value) and value >= 0]
        if not good:
            if one.samples:
                out.append(Track(one.labels, [], [0.0], [], last_is_number=False))
            continue
        first = good[0][0]
        before = bisect_left(seen, first)
        born = before > 0 and first - seen[before - 1] <= alive_within and known.get(frozenset(one.labels.items()), first) >= first
        sums, previous = [0.0], 0.0 if born else good[0][1]
        for _, value in good:
            sums.append(sums[-1] + (value - previous if value >= previous else value))
            previous = value
        times = [at for at, _ in good]
        bad = [at for at, value in one.samples if not (math.isfinite(value) and value >= 0)] if len(good) < len(one.samples) else []
        spoilt = [_around(at, times) for at in bad]
        if not born:  # what it counted before its first sample is not known, also not within the slice of that sample
            spoilt.append(Hole(first - 1e-6, first, _unseen(one.labels)))
        out.append(Track(one.labels, times, sums, spoilt, last_is_number=one.samples[-1][0] == times[-1]))
    return out


def _around(at: float, times: Sequence[float]) -> Hole:
    """Return the stretch between the good samples around a bad one."""
    after = bisect_left(times, at)
    return Hole(times[max(after - 1, 0)], times[min(after, len(times) - 1)], "a counter was not a number")


def copies_in(family: Sequence[Series]) -> tuple[set[Key], list[str]]:
    """Find what a second scrape job or a second Prometheus reads as well; return it, for `without`, and in words.

    Counters with the same `instance` that differ only in labels which the scraper adds are copies if all of them count alike:
    one that does not is another process behind the same address. Who has more samples stays, of equals the first by name.
    """
    by_instance: dict[str, dict[Key, dict[Key, Series]]] = {}
    for one in family:
        instance = one.labels.get(_INSTANCE)
        if instance:
            own = frozenset((key, value) for key, value in one.labels.items() if key not in _SCRAPER)
            by_instance.setdefault(instance, {}).setdefault(_reader(one), {})[own] = one
    copies: set[Key] = set()
    said = []
    for instance, readers in by_instance.items():
        kept: list[Key] = []
        if len(readers) > 1:
            for reader in sorted(readers, key=lambda one: (-sum(len(series.samples) for series in readers[one].values()), sorted(one))):
                mine = readers[reader]
                same = next((one for one in kept if _all_alike(mine, readers[one])), None)
                if same is None:
                    kept.append(reader)
                else:
                    copies.add(reader)
                    said.append(f"{instance} is counted once: {_words(reader)} scrapes it as well as {_words(same)}")
    return copies, sorted(said)


def without(family: Sequence[Series], copies: set[Key]) -> list[Series]:
    """Return `family` without what `copies_in` has found."""
    return [one for one in family if _reader(one) not in copies] if copies else list(family)


def _reader(one: Series) -> Key:
    """Return what tells who has read a series, and where."""
    return frozenset((key, value) for key, value in one.labels.items() if key in _SCRAPER or key == _INSTANCE)


def _all_alike(copy: Mapping[Key, Series], original: Mapping[Key, Series]) -> bool:
    return copy.keys() <= original.keys() and all(_counts_alike(one, original[key]) for key, one in copy.items())


def _counts_alike(copy: Series, original: Series) -> bool:
    """Say whether `copy` is the same counter, read at other times: a process behind the same address counts otherwise."""
    times, last = [at for at, _ in original.samples], len(original.samples) - 1
    between = 0
    for at, value in copy.samples:
        low, high = max(bisect_left(times, at) - 2, 0), min(bisect_right(times, at) + 1, last)
        values = [one for _, one in original.samples[low : high + 1]]
        # A scrape may last, and a counter may be reset between two readers of it: the value lies somewhere near.
        between += min(values) <= value <= max(values) or not math.isfinite(value)
    return between >= _ALIKE * len(copy.samples)


def _words(reader: Key) -> str:
    return " ".join(f"{key} {value}" for key, value in sorted(reader) if key != _INSTANCE) or "a job without a name"


@dataclass(slots=True)
class Process:
    """One process and revision: when it was seen, and the holes between."""

    labels: Mapping[str, str]
    times: list[float]
    holes: list[Hole] = field(default_factory=list)

    @property
    def revision(self) -> str:
        """The model revision that it serves."""
        return self.labels.get(REVISION, "")

    @property
    def name(self) -> str:
        """What to call it."""
        return _name(self.labels)


def processes_of(tracks: Iterable[Track]) -> list[Process]:
    """Return the processes behind `tracks`, each with the times at which any counter of it was seen."""
    found: dict[Key, Process] = {}
    for one in tracks:
        process = found.setdefault(one.process, Process(one.labels, []))
        process.times = sorted({*process.times, *one.times}) if process.times and process.times != one.times else list(one.times)
        process.holes += one.spoilt
    return [one for one in found.values() if one.times]


def dig(process: Process, now: float, longest: float, gone_after: float, listed_until: Callable[[Process], float | None]) -> None:
    """Add the holes of `process` that are longer than `longest` seconds.

    At its end a process is missed for `gone_after` seconds and then taken for gone. One that its scraper lists no more has
    been taken away on purpose: it is missed only while it was listed and did not answer. `listed_until` tells when it last
    was (Unix seconds), None if nobody can tell.
    """
    for start, end in zip(process.times, process.times[1:], strict=False):
        if end - start > longest:
            process.holes.append(Hole(start, min(end, start + gone_after), _unseen(process.labels)))
            if end - start > gone_after:  # what it counted while it was gone arrives with its first sample
                process.holes.append(Hole(end - 1e-6, end, _unseen(process.labels)))
    last = process.times[-1]
    if now - last <= longest:
        return
    listed = listed_until(process)
    if listed is None or listed - last > longest:
        until = last + gone_after if listed is None else min(last + gone_after, listed + longest)
        process.holes.append(Hole(last, until, _unseen(process.labels)))


def _name(labels: Mapping[str, str]) -> str:
    return labels.get(_POD) or labels.get(_INSTANCE) or f"the process of {labels.get(REVISION, '')}"


def _unseen(labels: Mapping[str, str]) -> str:
    return f"{_name(labels)} was not scraped"
