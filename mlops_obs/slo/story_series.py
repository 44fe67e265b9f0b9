"""The raw series that a story leaves behind, for every kind of source, as an exporter would have written them.

A spec says which series it counts by matchers, so labels are looked for that satisfy them: one set that is bad, one that is not. The
trap is the neighbour: a rule that forgot `stage="ingress"` is right as long as nobody else exports the metric, so a story can be told
beside decoys, series that differ in one label and must not be counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from mlops_obs.slo.counters import Series
from mlops_obs.slo.indicator_checks import WINDOW
from mlops_obs.slo.indicators import Counters, Expressions, Samples, Selector, source
from mlops_obs.slo.selectors import parse_selector
from mlops_obs.slo.spec import SLO
from mlops_obs.slo.story_counts import MINUTE, Segment

STALE = float("nan")  # Prometheus' mark for "this series ended"
ELSEWHERE = "elsewhere"
PROBE = "probe"
GROUPS = ("v1", "v2", "v3")  # what groups of stories are called
_SUM = re.compile(r"\s*sum\s*\(\s*(?P<function>increase|rate)\s*\(\s*(?P<selector>[^()\[\]]*)\[(?P<window>[^\]]*)\]\s*\)\s*\)\s*")


@dataclass(frozen=True, slots=True)
class History:
    """One raw series: one value per minute from 0; None is no sample, NaN is the end of the series."""

    metric: str
    labels: Mapping[str, str]
    values: Sequence[float | None]


class RecordedCounters:
    """A CounterSource that replays histories of one value a minute; used by tests and by backtests of one's own numbers."""

    def __init__(self, histories: Sequence[History]) -> None:
        self._histories = histories

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        """Return samples with start < t <= end, as `CounterSource` demands."""
        found = []
        for one in self._histories:
            if one.metric != metric or any(one.labels.get(key, "") != value for key, value in matchers.items()):
                continue
            timed = ((float(minute * MINUTE), value) for minute, value in enumerate(one.values) if value is not None and value == value)
            samples = [(at, value) for at, value in timed if start < at <= end]
            if samples:
                found.append(Series(one.labels, samples))
        return found


@dataclass(frozen=True, slots=True)
class Voice:
    """One series of a story: which of the events it counts (`good`, `bad`, `total`), or `sample` for a gauge of 0 and 1."""

    metric: str
    labels: Mapping[str, str]
    counts: str


def voices(slo: SLO) -> tuple[Voice, ...]:
    """Return the series that count the events of `slo`; none where only Prometheus could say which they are.

    Neither where a selector asks for values of a label to group by: the groups of the stories have other ones.
    """
    found = _voices(slo)
    grouped = [dict.fromkeys(slo.group_by, value) for value in GROUPS]
    asked = [(one, voice) for one in selectors_of(slo) for voice in found if one.metric == voice.metric]
    same = all(one.accepts({**voice.labels, **labels}) is one.accepts(voice.labels) for one, voice in asked for labels in grouped)
    return found if same else ()


def _voices(slo: SLO) -> tuple[Voice, ...]:
    found = source(slo)
    if isinstance(found, Expressions):
        found_counters = _plain(found)
        return () if found_counters is None else _of_counters(found_counters)
    if isinstance(found, Counters):
        return _of_counters(found)
    if isinstance(found, Samples):
        labels = _labels(found.selector, None)
        return () if labels is None else (Voice(found.selector.metric, labels, "sample"),)
    return ()


def selectors_of(slo: SLO) -> list[Selector]:
    """Return what `slo` reads, as far as stories can tell it."""
    found = source(slo)
    if isinstance(found, Expressions):
        found = _plain(found) or found
    if isinstance(found, Counters):
        return [one for one in (found.total, found.bad, found.good) if one is not None]
    return [found.selector] if isinstance(found, Samples) else []


def decoys(slo: SLO) -> tuple[Voice, ...]:
    """Return series beside those of `slo` that differ in one label and must not be counted."""
    out: dict[tuple[str, tuple[tuple[str, str], ...]], Voice] = {}
    selectors = selectors_of(slo)
    for voice in voices(slo):
        for selector in selectors:
            changes = [(key, ELSEWHERE) for key in (*selector.equal, *selector.matching)] + list(selector.unequal.items())
            for key, value in changes:
                labels = {**voice.labels, key: value}
                if selector.metric == voice.metric and not any(one.accepts(labels) for one in selectors if one.metric == voice.metric):
                    out[(voice.metric, tuple(sorted(labels.items())))] = replace(voice, labels=labels)
    return tuple(out.values())


def histories_of(slo: SLO, told: Sequence[Voice], history: Mapping[str, Sequence[Segment]]) -> Iterator[History]:
    """Yield the series of `history` (segments by value of the first group label, "" if the SLO is not grouped)."""
    for value, segments in history.items():
        group = dict.fromkeys(slo.group_by, value) if value else {}
        for voice in told:
            if voice.counts == "sample":
                yield from _probes(voice, group, segments)
            else:
                yield History(voice.metric, {**voice.labels, **group}, _running(segments, voice.counts))


def spoken(
    told: Sequence[Voice], group_by: Sequence[str], history: Mapping[str, Sequence[Segment]], unborn: frozenset[str] = frozenset()
) -> Iterator[tuple[str, Mapping[str, str], str]]:
    """Yield (metric, labels, values in promtool's shorthand) of the same series: `0+10x60` is 61 values, `_x3` are three gaps."""
    for value, segments in history.items():
        group = dict.fromkeys(group_by, value) if value else {}
        for voice in told:
            labels = {**voice.labels, **group}
            if voice.counts == "bad" and value in unborn:
                continue
            if voice.counts != "sample":
                yield voice.metric, labels, _spoken_counter(segments, voice.counts)
                continue
            for number in range(_probe_count(segments)):
                yield voice.metric, {**labels, PROBE: str(number)}, _spoken_probe(segments, number)


def _spoken_counter(segments: Sequence[Segment], counts: str) -> str:
    words, level, first = [], 0, True
    for one in segments:
        if not one.minutes:
            continue
        if one.reset:
            level = 0
        if one.gone:
            words.append("stale" if one.minutes == 1 else f"stale _x{one.minutes - 1}")
            continue
        step = _step(one, counts)
        start, repeats = (0, one.minutes) if first else (level + step, one.minutes - 1)
        words.append(f"{start}+{step}x{repeats}" if repeats else str(start))
        level, first = level + step * one.minutes, False
    return " ".join(words)


def _spoken_probe(segments: Sequence[Segment], number: int) -> str:
    words = ["_"]
    for one in segments:
        if one.gone:
            words.append("stale" if one.minutes == 1 else f"stale _x{one.minutes - 1}")
        elif one.minutes and number >= one.good + one.bad:
            words.append(f"_x{one.minutes}")
        elif one.minutes:
            value = 0 if number < one.bad else 1
            words.append(f"{value}+0x{one.minutes - 1}" if one.minutes > 1 else str(value))
    return " ".join(words)


def _step(one: Segment, counts: str) -> int:
    return one.good if counts == "good" else one.bad if counts == "bad" else one.good + one.bad


def _probe_count(segments: Sequence[Segment]) -> int:
    return max((one.good + one.bad for one in segments if not one.gone), default=0)


def _running(segments: Sequence[Segment], counts: str) -> list[float | None]:
    values: list[float | None] = [0.0]
    level = 0.0
    for one in segments:
        if one.reset:
            level = 0.0
        if one.gone:
            values += [STALE, *[None] * (one.minutes - 1)]
            continue
        step = _step(one, counts)
        values += [level + step * minute for minute in range(1, one.minutes + 1)]
        level += step * one.minutes
    return values


def _probes(voice: Voice, group: Mapping[str, str], segments: Sequence[Segment]) -> Iterator[History]:
    """As many probes as there are samples in a minute; of each minute's samples the first ones are bad."""
    for number in range(_probe_count(segments)):
        values: list[float | None] = [None]
        for one in segments:
            if one.gone:
                values += [STALE, *[None] * (one.minutes - 1)]
            elif number >= one.good + one.bad:
                values += [None] * one.minutes
            else:
                values += [0.0 if number < one.bad else 1.0] * one.minutes
        yield History(voice.metric, {**voice.labels, **group, PROBE: str(number)}, values)


def _of_counters(found: Counters) -> tuple[Voice, ...]:
    total = found.total
    part = found.bad or found.good
    assert part is not None  # noqa: S101 - an indicator counts bad events or good ones
    inside, outside = ("bad", "good") if found.bad is not None else ("good", "bad")
    whole = _labels(total, None)
    if part.metric != total.metric:
        some = _labels(part, None)
        return () if whole is None or some is None else (Voice(total.metric, whole, "total"), Voice(part.metric, some, inside))
    among, rest = _labels(total, part), _labels(total, part, outside=True)
    if among is None or rest is None:
        return ()
    return Voice(total.metric, rest, outside), Voice(part.metric, among, inside)


def _labels(selector: Selector, part: Selector | None, *, outside: bool = False) -> dict[str, str] | None:
    """Return labels that `selector` accepts, and `part` too (or not, if `outside`); None if none were found."""
    both = [selector, part] if part is not None else [selector]
    keys = list(dict.fromkeys(key for one in both for key in (*one.equal, *one.unequal, *one.matching, *one.not_matching)))
    choices: list[list[str]] = []
    for key in keys:
        values = [one.equal[key] for one in both if key in one.equal]
        for one in both:
            if key in one.matching:
                values += _examples(one.matching[key])
        values += [one.unequal[key] for one in both if key in one.unequal]
        choices.append(list(dict.fromkeys([*values, "ok", "other", "200", ""])))
    for chosen in product(*choices):
        labels = dict(zip(keys, chosen, strict=True))
        if selector.accepts(labels) and (part is None or part.accepts(labels) is not outside):
            return {key: value for key, value in labels.items() if value}
    return None


def _examples(expression: str) -> list[str]:
    """Return texts that `expression` may match, by simple means: the caller tries them."""
    found = []
    for one in expression.replace("(?:", "(").strip("^$").split("|"):
        text = one.strip("()")
        for pattern, example in ((r"\(.*?\)\?", ""), (r"\.\+|\[[^\]]*\]\+|\\d\+|\\w\+", "0"), (r"\.\*", ""), (r"\\d|\.", "0")):
            text = re.sub(pattern, example, text)
        text = re.sub(r"\[\^?(.)[^\]]*\]", r"\1", text)
        found += [text, text.replace("\\", ""), re.sub(r".\?", "", text)]
    return found


def _plain(found: Expressions) -> Counters | None:
    """Read `sum(increase(selector[{{.window}}]))` of an expression as counters; None if it says anything else."""
    parts = []
    for text in (found.total, found.bad):
        match = _SUM.fullmatch(text or "")
        if not match or not WINDOW.fullmatch(match["window"].strip()) or (match["function"] == "rate") is not found.per_second:
            return None
        try:
            parts.append(parse_selector(match["selector"]))
        except ValueError:
            return None
    return Counters(parts[0], bad=parts[1])
