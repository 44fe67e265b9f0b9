"""Files of history: CSV of 5-minute counts, OpenMetrics, and incidents, with every mistake told by its line.

The trap is the row that is wrong in the middle of millions: nothing of such a file is used, and its first twenty mistakes are told at
once.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mlops_obs.errors import ObsError, UsageError
from mlops_obs.slo import windows as span
from mlops_obs.slo.backtest import Incident
from mlops_obs.slo.raw_samples import RawSeries
from mlops_obs.slo.recordings import Group
from mlops_obs.slo.selectors import parse_selector
from mlops_obs.slo.spec import SLO

MISTAKES = 20
_MOST = 2**53  # events that a row can count exactly; sums of much larger ones overflow


class HistoryErrors(UsageError):
    """Every mistake of one file; the text has a line for each."""

    def __init__(self, errors: Sequence[ObsError]) -> None:
        self.errors = tuple(errors)
        first = errors[0]
        super().__init__(first.code, first.what, todo=first.todo, where=first.where)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in getattr(self, "errors", ()))


@dataclass(slots=True)
class Grid:
    """5-minute counts being collected: (slo, group) -> slot number -> bad, all."""

    counts: dict[tuple[str, Group], dict[int, list[float]]]

    def add(self, slo: SLO, group: Group, slot: int, bad: float, total: float) -> None:
        """Add counts to those that are there for the slot that ends at `slot` x 5 minutes."""
        into = self.counts.setdefault((slo.ref, group), {})
        if slot in into:
            into[slot][0] += bad
            into[slot][1] += total
        else:
            into[slot] = [bad, total]


def counts_of_csv(text: Iterable[str], where: str, slos: Sequence[SLO], start: float, end: float) -> Grid:
    """Return the counts in a CSV with the columns time, bad, total and, where needed, service, slo and group labels.

    Counts of shorter steps than 5 minutes are added up; a time is the end of what was counted.

    Raises:
        UsageError: OBS-HIST-002 for the header, HistoryErrors with an OBS-HIST-003 for every wrong row.
    """
    rows = csv.reader(text)
    header = [one.strip().lower() for one in next(rows, [])]
    labels = sorted({label for slo in slos for label in slo.group_by})
    if not {"time", "bad", "total"} <= set(header) or (len(slos) > 1 and "slo" not in header):
        raise UsageError(
            "OBS-HIST-002",
            f"the header is {','.join(header) or 'missing'}",
            where=f"{where}:1",
            todo=f"write time,service,slo,bad,total{''.join(',' + label for label in labels)}",
        )
    place = {name: header.index(name) for name in header}
    by_id = {(slo.service, slo.name): slo for slo in slos} | {("", slo.name): slo for slo in slos}
    time, bad, total = place["time"], place["bad"], place["total"]
    service, name = place.get("service", -1), place.get("slo", -1)
    grid, errors = Grid({}), []
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            if len(row) > len(header):
                raise ValueError("too many columns")
            at = unix_seconds(row[time])
            counts = _number(row[bad]), _number(row[total])
            if not (0 <= counts[0] <= counts[1]):
                raise ValueError("bad is not between 0 and total")
            if counts[1] > _MOST:
                raise ValueError("more events than can be counted")
            slo = by_id.get((row[service] if service >= 0 else "", row[name])) if name >= 0 else slos[0]
        except (ValueError, IndexError) as error:
            errors.append(_wrong_row(f"{where}:{number}", error, row))
            if len(errors) == MISTAKES:
                break
            continue
        if slo is not None and start <= at <= end:
            group = tuple(row[place[label]] if label in place else "" for label in slo.group_by)
            grid.add(slo, group if any(group) else (), math.ceil(at / span.BASE), *counts)
    if errors:
        raise HistoryErrors(errors)
    return grid


def _wrong_row(where: str, error: Exception, row: Sequence[str]) -> UsageError:
    what = "too few columns" if isinstance(error, IndexError) else str(error)
    return UsageError("OBS-HIST-003", f"{','.join(row)[:80]!r}: {what}", where=where, todo="write a time (Unix or ISO 8601) and two counts")


def unix_seconds(text: str) -> float:
    """Return Unix seconds of `1700000000` or `2026-11-23T04:00:00Z`; without a zone it is UTC. ValueError if it is neither."""
    try:
        found = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is no time") from None
        found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(found) or not 0 <= found < 1e11:
        raise ValueError(f"time {text!r} is not in seconds")
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


def open_metrics(text: Iterable[str], where: str, start: float, end: float) -> dict[str, list[RawSeries]]:
    """Return the samples of an OpenMetrics file (timestamps in seconds) by metric name."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    errors: list[ObsError] = []
    for number, line in enumerate(text, start=1):
        if line[0] == "#" or line.isspace():
            continue
        sample = line.split(" # ", 1)[0] if " # " in line else line  # an exemplar follows
        try:
            head, *rest = sample.rsplit(None, 2)
            if len(rest) != 2:
                raise ValueError("a value or its time is missing")
            number_of, moment = (_number(one) for one in rest)
            into = found.get(head)
            if into is None:
                parse_selector(head)
                into = found[head] = ([], [])
            if not 0 <= moment < 1e11:
                raise ValueError("the timestamp is not in seconds")
        except ValueError as error:
            errors.append(
                UsageError(
                    "OBS-HIST-003", f"{line.strip()[:80]!r}: {error}", where=f"{where}:{number}", todo="write name{labels} value seconds"
                )
            )
            if len(errors) == MISTAKES:
                break
            continue
        if start <= moment <= end:
            into[0].append(moment)
            into[1].append(number_of)
    if errors:
        raise HistoryErrors(errors)
    series: dict[str, list[RawSeries]] = {}
    for head, (times, values) in found.items():
        one = parse_selector(head)
        at_ms = np.rint(np.array(times) * 1000).astype(np.int64)
        order = np.argsort(at_ms, kind="stable")
        series.setdefault(one.metric, []).append(RawSeries(dict(one.equal), at_ms[order], np.array(values, dtype=np.float64)[order]))
    return series


def read_incidents(path: Path) -> list[Incident]:
    """Return the incidents in a CSV: start,end and optionally service, slo and note.

    Raises:
        UsageError: OBS-HIST-001 to 003, all wrong rows at once.
    """
    try:
        with path.open(encoding="utf-8", newline="") as text:
            rows = csv.DictReader(text)
            fields = [one.strip().lower() for one in rows.fieldnames or []]
            rows.fieldnames = fields
            if not {"start", "end"} <= set(fields):
                raise UsageError(
                    "OBS-HIST-002",
                    f"the header is {','.join(fields) or 'missing'}",
                    where=f"{path}:1",
                    todo="write start,end,service,slo,note",
                )
            found, errors = [], []
            for row in rows:
                try:
                    one = Incident(
                        unix_seconds(row["start"] or ""),
                        unix_seconds(row["end"] or ""),
                        row.get("service") or "",
                        row.get("slo") or "",
                        row.get("note") or "",
                    )
                    if one.end < one.start:
                        raise ValueError("it ends before it starts")
                    found.append(one)
                except ValueError as error:
                    errors.append(
                        UsageError(
                            "OBS-HIST-003", str(error), where=f"{path}:{rows.line_num}", todo="write times as Unix seconds or ISO 8601"
                        )
                    )
    except OSError as error:
        raise UsageError("OBS-HIST-001", f"incidents cannot be read ({error.strerror})", where=str(path), todo="name a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError("OBS-HIST-001", "incidents are not a CSV in UTF-8", where=str(path), todo="save them as UTF-8") from error
    if errors:
        raise HistoryErrors(errors[:MISTAKES])
    return found
