"""The past of SLOs, from wherever it is kept, as recordings that can be replayed: a Prometheus, an OpenMetrics file, a CSV of counts.

A Prometheus is asked for the 5-minute counts that its rules recorded, and counts them itself where there are none. An OpenMetrics
file holds either those recordings or raw counters. The trap is the grid: every history ends up with one point every 5 minutes (or,
from raw counters, one every evaluation), and what is missing stays missing instead of becoming 0.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlops_obs import metric_names as names
from mlops_obs.adapters.history_files import Grid, HistoryErrors, counts_of_csv, open_metrics
from mlops_obs.adapters.prometheus import PrometheusCounters
from mlops_obs.errors import UsageError
from mlops_obs.slo import windows as span
from mlops_obs.slo.indicators import Cohorts, Counters, Expressions, NativeHistogram, Parts, Samples, Selector, source
from mlops_obs.slo.raw_samples import Floats, RawSeries, Times
from mlops_obs.slo.recordings import Counts, Group, Recordings, composed, from_counts, in_slices
from mlops_obs.slo.replay import record_all
from mlops_obs.slo.spec import SLO

_POINTS = 10_000  # Prometheus answers at most 11,000 points a series
_LONGEST_DAYS = 1_100
_SHORT = 14 * span.DAY  # raw history up to this long is replayed minute by minute


def read_history(
    path: Path, slos: Sequence[SLO], windows: Sequence[int], *, start: float = -math.inf, end: float = math.inf, step: int | None = None
) -> dict[str, Recordings]:
    """Return the recordings of `slos` by reference from a file: `.csv` of counts, else OpenMetrics.

    Args:
        path: the file.
        slos: the objectives that are wanted; the stages of a composite are among them.
        windows: windows up to an hour that the alerts read.
        start: what is older is left out (Unix seconds).
        end: what is younger is left out.
        step: seconds between evaluations of raw counters; by default a minute, or five if the history is longer than two weeks.

    Raises:
        UsageError: OBS-HIST-001 the file cannot be read, 002 it has no header or an unknown one, 003 rows are wrong (all of them),
            004 it holds nothing about an SLO, 005 it spans years.
    """
    try:
        text = path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(
            "OBS-HIST-001", f"history cannot be read ({error.strerror})", where=str(path), todo="name a CSV or OpenMetrics file"
        ) from error
    with text:
        try:
            if path.suffix.lower() == ".csv":
                return _recorded(slos, counts_of_csv(text, str(path), slos, start, end), windows, str(path))
            series = open_metrics(text, str(path), start, end)
        except (UnicodeDecodeError, csv.Error) as error:
            raise UsageError(
                "OBS-HIST-001", f"history is no text of its kind ({error})"[:200], where=str(path), todo="save it as UTF-8"
            ) from error
    recorded = _counts_of_recordings(
        slos, series.get(names.SLO_BAD.format(window="5m"), []), series.get(names.SLO_TOTAL.format(window="5m"), [])
    )
    if recorded.counts:
        return _recorded(slos, recorded, windows, str(path))
    return _raw(slos, series, windows, step, str(path))


def _raw(
    slos: Sequence[SLO], series: Mapping[str, list[RawSeries]], windows: Sequence[int], step: int | None, where: str
) -> dict[str, Recordings]:
    edges = [(one.at_ms[0], one.at_ms[-1]) for found in series.values() for one in found if len(one.at_ms)]
    if not edges:
        raise UsageError("OBS-HIST-004", "the history is empty", where=where, todo="check --start and --end")
    first, last = min(a for a, _ in edges) // 1000, max(z for _, z in edges) // 1000
    _check_length(first, last, where)
    every = step or (60 if last - first <= _SHORT else span.BASE)
    at = np.arange(-(-int(first) // every) * every, int(last) + 1, every, dtype=np.int64)

    def read(one: Selector) -> list[RawSeries]:
        return [raw for raw in series.get(one.metric, []) if one.accepts(raw.labels)]

    found = record_all(slos, read, at, more_windows=windows)
    _complain([slo for slo in slos if not found[slo.ref].groups()], where)
    return found


def _check_length(first: float, last: float, where: str) -> None:
    days = (last - first) / span.DAY
    if days > _LONGEST_DAYS:
        raise UsageError(
            "OBS-HIST-005", f"the history spans {days:.0f} days", where=where, todo="check its times, or cut it with --start and --end"
        )


def read_prometheus(
    url: str, slos: Sequence[SLO], windows: Sequence[int], start: float, end: float, *, timeout: float = 120.0, recorded_only: bool = False
) -> dict[str, Recordings]:
    """Return the recordings of `slos` by reference from a Prometheus: what its rules recorded, else what it counts now.

    Raises:
        TelemetryUnavailable: the server did not answer in full.
        UsageError: OBS-HIST-004 it knows nothing about an SLO, 005 years are asked for.
    """
    _check_length(start, end, url)
    server = PrometheusCounters(url, timeout=timeout)
    slots = range(math.ceil(start / span.BASE), math.floor(end / span.BASE) + 1)

    def ask(promql: str) -> list[RawSeries]:
        parts: dict[frozenset[tuple[str, str]], list[tuple[float, float]]] = {}
        for first in range(slots.start, slots.stop, _POINTS):
            last = min(first + _POINTS, slots.stop) - 1
            for one in server.query_range(promql, first * span.BASE, last * span.BASE, span.BASE):
                parts.setdefault(frozenset(one.labels.items()), []).extend(one.samples)
        return [
            RawSeries(
                dict(labels), np.array([round(at) * 1000 for at, _ in samples], dtype=np.int64), np.array([value for _, value in samples])
            )
            for labels, samples in parts.items()
        ]

    services = "|".join(re.escape(service).replace("\\", "\\\\") for service in sorted({slo.service for slo in slos}))
    bad, total = (f'{name.format(window="5m")}{{{names.SERVICE}=~"{services}"}}' for name in (names.SLO_BAD, names.SLO_TOTAL))
    grid = _counts_of_recordings(slos, ask(bad), ask(total))
    known = {ref for ref, _ in grid.counts}
    for slo in slos:
        if slo.ref not in known and not recorded_only:
            _counted_by(ask, slo, grid)
    return _recorded(slos, grid, windows, url)


def _counted_by(ask: Callable[[str], list[RawSeries]], slo: SLO, grid: Grid) -> None:
    """Have the server count every 5 minutes of `slo`, group by group and as a whole."""
    kind = source(slo)
    if isinstance(kind, Parts | Cohorts):
        return
    for by in dict.fromkeys([(), slo.group_by]):
        queries = _queries(kind, f" by ({', '.join(by)})" if by else "")
        if queries is None:
            continue
        found = [{_group(by, one.labels): one for one in ask(query)} for query in queries]
        for group, totals in found[1].items():
            if bool(by) != any(group):
                continue
            bads = dict(zip(found[0][group].at_ms.tolist(), found[0][group].values.tolist(), strict=True)) if group in found[0] else {}
            for at, value in zip(totals.at_ms.tolist(), totals.values.tolist(), strict=True):
                grid.add(slo, group, at // 1000 // span.BASE, max(bads.get(at, 0.0), 0.0), value)


def _queries(kind: Counters | Samples | NativeHistogram | Expressions, by: str) -> tuple[str, str] | None:
    """Return what counts bad and all events of 5 minutes."""
    match kind:
        case Counters():
            total = f"sum{by} (increase({kind.total}[5m]))"
            if kind.bad is not None:
                return f"sum{by} (increase({kind.bad}[5m]))", total
            return f"clamp_min({total} - sum{by} (increase({kind.good}[5m])), 0)", total
        case Samples():
            total = f"sum{by} (count_over_time({kind.selector}[299999ms]))"
            return f"{total} - sum{by} (sum_over_time({kind.selector}[299999ms]))", total
        case NativeHistogram():
            every = f"sum{by} (increase({kind.selector}[5m]))"
            total = f"histogram_count({every})"
            return f"({total} > 0) * (1 - histogram_fraction(-Inf, {kind.threshold:f}, {every}))", total
        case Expressions():
            if kind.ratio is not None:
                ratio = f"clamp_max(avg{by} (({kind.at(kind.ratio, span.BASE)}) >= 0), 1)"
                return ratio, f"{ratio} * 0 + 1"
            assert kind.bad is not None and kind.total is not None  # noqa: S101, PT018 - the spec has both or a ratio
            times = f" * {span.BASE}" if kind.per_second else ""
            return f"sum{by} (({kind.at(kind.bad, span.BASE)}) >= 0){times}", f"sum{by} (({kind.at(kind.total, span.BASE)}) >= 0){times}"


def _counts_of_recordings(slos: Sequence[SLO], bad: Iterable[RawSeries], total: Iterable[RawSeries]) -> Grid:
    grid = Grid({})
    by_id = {(slo.service, slo.name): slo for slo in slos}
    for one, place in [*((one, 1) for one in total), *((one, 0) for one in bad)]:
        slo = by_id.get((one.labels.get(names.SERVICE, ""), one.labels.get(names.SLO, "")))
        if slo is None:
            continue
        into = grid.counts.setdefault((slo.ref, _group(slo.group_by, one.labels)), {})
        for at, value in zip(one.at_ms.tolist(), one.values.tolist(), strict=True):
            if at % (span.BASE * 1000) == 0 and value == value:
                into.setdefault(at // 1000 // span.BASE, [0.0, 0.0])[place] = value
    return grid


def _group(group_by: Sequence[str], labels: Mapping[str, str]) -> Group:
    group = tuple(labels.get(label, "") for label in group_by)
    return group if any(group) else ()


def _recorded(slos: Sequence[SLO], grid: Grid, windows: Sequence[int], where: str) -> dict[str, Recordings]:
    """Put the collected counts on one grid of evaluations, a point every 5 minutes."""
    slots = [slot for counts in grid.counts.values() for slot in (min(counts), max(counts)) if counts]
    if not slots:
        raise UsageError(
            "OBS-HIST-004", "the history holds nothing about these SLOs", where=where, todo="check the names, --start and --end"
        )
    _check_length(min(slots) * span.BASE, max(slots) * span.BASE, where)
    at = np.arange(min(slots), max(slots) + 1, dtype=np.int64) * span.BASE
    found: dict[str, Recordings] = {}
    wanted = sorted(slos, key=lambda slo: isinstance(source(slo), Parts))
    for slo in wanted:
        mine = {group: _filled(counts, at) for (ref, group), counts in grid.counts.items() if ref == slo.ref}
        kind = source(slo)
        if mine:
            if () not in mine:
                mine[()] = _whole(list(mine.values()))
            events = from_counts(slo, at, mine, windows)
            found[slo.ref] = events if slo.budgeting == "occurrences" or _is_sliced(mine) else in_slices(events)
        elif isinstance(kind, Parts) and all("/".join(one) in found for one in kind.of):
            found[slo.ref] = composed(slo, [found["/".join(one)] for one in kind.of], windows)
    _complain([slo for slo in slos if slo.ref not in found], where)
    return found


def _is_sliced(counts: Mapping[Group, Counts]) -> bool:
    """Say whether the counts are slices already, as the rules of a budget of slices record them: 0 or 1 each."""
    return all(bool(np.all(np.isnan(total) | (total == 0) | (total == 1))) for _, total in counts.values())


def _filled(counts: Mapping[int, list[float]], at: Times) -> Counts:
    bad, total = np.full(len(at), np.nan), np.full(len(at), np.nan)
    place = np.fromiter(counts, dtype=np.int64, count=len(counts)) - int(at[0]) // span.BASE
    values = np.array(list(counts.values()), dtype=np.float64).reshape(-1, 2)
    bad[place], total[place] = values[:, 0], values[:, 1]
    return bad, total


def _whole(groups: Sequence[Counts]) -> Counts:
    def summed(place: int) -> Floats:
        stack = np.stack([one[place] for one in groups])
        return np.where(np.isnan(stack).all(axis=0), np.nan, np.nansum(stack, axis=0))

    return summed(0), summed(1)


def _complain(missing: Sequence[SLO], where: str) -> None:
    if missing:
        raise HistoryErrors(
            [
                UsageError(
                    "OBS-HIST-004",
                    f"the history holds nothing about {slo.ref}",
                    where=where,
                    todo="check its name and service, or leave it out",
                )
                for slo in missing
            ]
        )
