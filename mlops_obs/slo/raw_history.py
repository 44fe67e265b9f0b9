"""The past of an SLO, five minutes by five minutes, read from any source of samples.

Counters are counted from their raw samples; what only recording rules can count (expressions, native histograms) is read
from what they recorded. The trap: a counter that was away for a day comes back with a day's events. They are counted in the
five minutes in which they were seen, and the time in between stays uncounted: nobody knows when they happened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from mlops_obs import metric_names as names
from mlops_obs.slo.accounts import SLOT, Act, Fired, Group, Slots
from mlops_obs.slo.counters import CounterSource, Series
from mlops_obs.slo.indicators import Cohorts, Counters, Parts, Samples, Selector, source
from mlops_obs.slo.spec import SLO

_BEFORE = 600.0  # seconds before the start in which the counters' base values are looked for
_BREAK = 120.0  # a firing alert is sampled at every evaluation; a longer pause is another firing
_DAY = 86_400.0  # read at once, so that no answer grows beyond what a server sends
Number = Callable[[Sequence[tuple[float, float]], float, int], list[tuple[int, float]]]


class RawHistory:
    """A `History` on any source of raw samples. `slos` are those that a composite may refer to; `now` in Unix seconds."""

    def __init__(self, samples: CounterSource, slos: Sequence[SLO], now: float) -> None:
        self._source, self._now = samples, now
        self._slos = {(slo.service, slo.name): slo for slo in slos}

    def counts(self, slo: SLO, start: float, end: float) -> dict[Group, Slots]:
        """Return the counts of `slo` in [start, end); empty if nothing was ever counted."""
        kind = source(slo)
        if isinstance(kind, Counters):
            total = self._sum(slo, kind.total, start, end, increases)
            part = self._sum(slo, kind.bad or kind.good or kind.total, start, end, increases)
            return _bad_and_total(start, total, part, good=kind.bad is None)
        if isinstance(kind, Samples):
            total = self._sum(slo, kind.selector, start, end, lambda samples, begin, length: _each(samples, begin, length, lambda _: 1.0))
            good = self._sum(slo, kind.selector, start, end, lambda samples, begin, length: _each(samples, begin, length, bool))
            return _bad_and_total(start, total, good, good=True)
        if isinstance(kind, Cohorts):
            return self._cohorts(slo, kind, start, end)
        if isinstance(kind, Parts):
            stages = [self._slos[one] for one in kind.of if one in self._slos]
            found = [self.counts(one, start, end).get(()) for one in stages]
            return composed(found) if len(stages) == len(kind.of) else self._recorded(slo, start, end)
        return self._recorded(slo, start, end)

    def alerts(self, service: str, start: float, end: float) -> list[Fired]:
        """Return what fired, where an engine recorded it (Prometheus does, as `ALERTS`)."""
        found = self._source.series("ALERTS", {names.SERVICE: service, "alertstate": "firing"}, start, min(end, self._now))
        return firings(found)

    def acts(self, service: str, start: float, end: float) -> list[Act]:
        """Return what rollout controllers did, from the times that they export."""
        return acts_in(
            self._source.series(names.ROLLOUT_ACTION_TIME.name, {names.SERVICE: service}, start, min(end, self._now)), start, end
        )

    def _sum(self, slo: SLO, one: Selector, start: float, end: float, number: Number) -> dict[Group, dict[int, float]]:
        """Add up `number` over the series of each group and of all, by slot; a slot that no series knows is not there."""
        length = int((end - start) // SLOT)
        sums: dict[Group, dict[int, float]] = {}
        last: dict[tuple[tuple[str, str], ...], tuple[float, float]] = {}
        for begin, until in _days(start, min(end, self._now)):
            for series in self._source.series(one.metric, one.equal, begin - (0.0 if last else _BEFORE), until):
                if not one.accepts(series.labels):
                    continue
                key = tuple(sorted(series.labels.items()))
                samples = [*([last[key]] if key in last else []), *series.samples]
                last[key] = samples[-1]
                values = [(slot, value) for slot, value in number(samples, start, length) if start + slot * SLOT >= begin - 1e-6]
                for group in groups_of(slo, series.labels):
                    into = sums.setdefault(group, {})
                    for slot, value in values:
                        into[slot] = into.get(slot, 0.0) + value
        return sums

    def _cohorts(self, slo: SLO, kind: Cohorts, start: float, end: float) -> dict[Group, Slots]:
        """Count each mature cohort where its predictions were made, by the newest that is known of it."""
        length, wide = int((end - start) // SLOT), max(kind.cohort // SLOT, 1)
        until = min(end + kind.cohort + kind.maturity + _DAY, self._now)
        out: dict[str, dict[Group, dict[int, float]]] = {"bad": {}, "total": {}}
        for name, one in (("total", kind.events), ("bad", kind.bad)):
            for series in self._source.series(one.metric, one.equal, start, until):
                made = _number(series.labels.get("cohort", ""))
                if made is None or not start <= made < end or self._now < made + kind.cohort + kind.maturity or not series.samples:
                    continue
                first = int((made - start) // SLOT)
                for group in groups_of(slo, series.labels):
                    into = out[name].setdefault(group, {})
                    for slot in range(first, min(first + wide, length)):
                        into[slot] = into.get(slot, 0.0)
                    into[first] += series.samples[-1][1]
        return _bad_and_total(start, out["total"], out["bad"], good=False, length=length)

    def _recorded(self, slo: SLO, start: float, end: float) -> dict[Group, Slots]:
        """Read the counts that the rules recorded, at the ends of the five minutes that they cover."""
        found: dict[str, list[Series]] = {"bad": [], "total": []}
        at = {names.SERVICE: slo.service, names.SLO: slo.name}
        for begin, until in _days(start, min(end, self._now)):
            for name, recorded in (("bad", names.SLO_BAD), ("total", names.SLO_TOTAL)):
                found[name] += self._source.series(recorded.format(window="5m"), at, begin, until)
        return from_recordings(slo, found["bad"], found["total"], start, end)


def from_recordings(slo: SLO, bad: Iterable[Series], total: Iterable[Series], start: float, end: float) -> dict[Group, Slots]:
    """Return counts by group from recorded five-minute counts: of each slot the newest sample up to its end."""
    length = int((end - start) // SLOT)
    sums: list[dict[Group, dict[int, float]]] = [{}, {}]
    for into, family in zip(sums, (bad, total), strict=True):
        for series in family:
            group = tuple(series.labels.get(label, "") for label in slo.group_by)
            slots = into.setdefault(group if any(group) else (), {})
            for at, value in series.samples:
                slot = math.ceil((at - start) / SLOT - 1e-6) - 1
                if 0 <= slot < length and math.isfinite(value):
                    slots[slot] = value  # samples come in time order: the newest wins
    return _bad_and_total(start, sums[1], sums[0], good=False, length=length)


def composed(stages: Sequence[Slots | None]) -> dict[Group, Slots]:
    """Return the counts of a chain: as many events as its last stage, good if every stage was; a stage without events harms none."""
    if not stages or stages[-1] is None:
        return {}
    last = stages[-1]
    bad: list[float | None] = []
    for index, total in enumerate(last.total):
        good = 1.0
        for stage in stages:
            failed, everything = (stage.bad[index], stage.total[index]) if stage else (None, None)
            good *= 1 - (failed or 0.0) / everything if everything else 1.0
        bad.append(None if total is None else total * (1 - good))
    return {(): Slots(last.start, bad, last.total)}


def groups_of(slo: SLO, labels: Mapping[str, str]) -> list[Group]:
    """Return the groups that a series counts for: the service as a whole, and its own."""
    group = tuple(labels.get(label, "") for label in slo.group_by)
    return [(), group] if any(group) else [()]


def increases(samples: Sequence[tuple[float, float]], start: float, length: int) -> list[tuple[int, float]]:
    """Return (slot, events) of a counter series: what came with each sample counts when it was seen, resets start from zero."""
    found: dict[int, float] = {}
    for (_, before), (at, value) in pairwise(samples):
        slot = math.ceil((at - start) / SLOT) - 1
        if 0 <= slot < length:
            found[slot] = found.get(slot, 0.0) + (value - before if value >= before else value)
    return list(found.items())


def firings(found: Iterable[Series]) -> list[Fired]:
    """Cut the samples of `ALERTS` into stretches in which an alert fired."""
    out: list[Fired] = []
    for one in found:
        labels = {key: value for key, value in one.labels.items() if key != "alertstate"}
        name = labels.pop("alertname", "")
        times = [at for at, _ in one.samples]
        edges = [0, *(index for index in range(1, len(times)) if times[index] - times[index - 1] > _BREAK), len(times)]
        out += [Fired(name, labels, times[first], times[last - 1]) for first, last in pairwise(edges) if last > first]
    return sorted(out, key=lambda fired: (fired.start, fired.name))


def acts_in(found: Iterable[Series], start: float, end: float) -> list[Act]:
    """Return the acts whose times the samples hold; each value is the time of an act, told again and again."""
    acts = {Act(value, one.labels.get(names.ACTION, ""), one.labels.get(names.REVISION, "")) for one in found for _, value in one.samples}
    return sorted((act for act in acts if start <= act.at < end), key=lambda act: (act.at, act.action, act.revision))


def _bad_and_total(
    start: float, total: Mapping[Group, Mapping[int, float]], part: Mapping[Group, Mapping[int, float]], *, good: bool, length: int = 0
) -> dict[Group, Slots]:
    """Join the counts by slot. A slot without a total is not counted; a part that is not there is no event of its kind."""
    length = length or 1 + max((slot for slots in total.values() for slot in slots), default=-1)
    out: dict[Group, Slots] = {}
    for group, counted in total.items():
        if good and group not in part:
            continue  # a bucket that is not there is no evidence that every request was slow
        parts = part.get(group, {})
        alls = [counted.get(slot) for slot in range(length)]
        bads = [
            None if whole is None else max(whole - parts.get(slot, 0.0), 0.0) if good else min(parts.get(slot, 0.0), whole)
            for slot, whole in enumerate(alls)
        ]
        out[group] = Slots(start, bads, alls)
    return out


def _each(samples: Sequence[tuple[float, float]], start: float, length: int, worth: Callable[[float], float]) -> list[tuple[int, float]]:
    found: dict[int, float] = {}
    for at, value in samples:
        slot = math.ceil((at - start) / SLOT) - 1
        if 0 <= slot < length and math.isfinite(value):
            found[slot] = found.get(slot, 0.0) + worth(value)
    return list(found.items())


def _days(start: float, end: float) -> list[tuple[float, float]]:
    edges = [start + day * _DAY for day in range(max(math.ceil((end - start) / _DAY), 0))]
    return list(pairwise([*edges, end])) if edges else []


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
