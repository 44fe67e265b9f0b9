"""Judge a table of counts as a rollout would have been judged: `t,arm,pod,requests,errors,slow`, a row per interval, arm and pod.

The very same judge, told interval by interval. What is not in the table is missing data and not zero: an interval without
a row, an arm without one, a pod that answered a moment ago and is silent now, counts that cannot be (NaN, negative, more
errors than requests). Each of them holds; none of them is evidence.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from mlops_obs.errors import SpecError
from mlops_obs.rollout.evidence.slices import Counts, Slice
from mlops_obs.rollout.judging.hearing import Hearing
from mlops_obs.rollout.judging.judge import Attribution, Verdict, conclude
from mlops_obs.rollout.spec.rollout import Rollout

ARMS = ("stable", "canary")
COLUMNS = ("t", "arm", "requests", "errors", "slow")  # and pod, which may be absent or empty
_HEADER = "write the header t,arm,pod,requests,errors,slow"
_GONE_AFTER = 120.0  # seconds after which a silent pod is gone, not late
_LONGEST_GAP = 10_000  # intervals
_MOST = 1e12  # requests of an interval
_SHOWN = 5  # mistakes of a file that are told one by one

Says = Literal["continue", "promote", "hold", "rollback"]


@dataclass(frozen=True, slots=True)
class Cell:
    """Counts of one interval, arm and pod; NaN where the table has no number."""

    t: float
    arm: str
    pod: str
    requests: float
    errors: float
    slow: float

    @property
    def problem(self) -> str:
        """Why these counts cannot be, in words; empty if they can."""
        values = (self.requests, self.errors, self.slow)
        place = f"the {self.arm}" + (f" (pod {self.pod})" if self.pod else "")
        if any(not math.isfinite(one) for one in values):
            return f"a count of {place} is not a number"
        if max(values) > _MOST:
            return f"a count of {place} is {max(values):g}, which nobody can have counted"
        if min(values) < 0:
            return f"a count of {place} is negative"
        if max(self.errors, self.slow) > self.requests:
            return f"{place} has more bad requests than requests"
        return ""


@dataclass(frozen=True, slots=True)
class Interval:
    """The verdict at the end of the interval that begins at `t` (seconds, as in the table)."""

    t: float
    verdict: Says
    attribution: Attribution
    reason: str
    evidence: Verdict

    def numbers(self) -> dict[str, Any]:
        """Return plain data, ready for JSON: statistics against their bounds, and the power."""
        found = self.evidence.numbers()
        return {
            "t": whole(self.t),
            "verdict": self.verdict,
            "attribution": self.attribution,
            "reason": self.reason,
            "tests": found.get("tests", {}),
            "power": found.get("power", []),
            "traffic": found.get("traffic"),
            "calibration": found.get("calibration"),
        }


def whole(t: float) -> float:
    """Return `t` as people write it: a whole number without a point."""
    return int(t) if t == int(t) else t


def default_spec(alpha: float | None = None) -> Rollout:
    """Return the spec of a trace that comes without one: half an hour at one weight, judged for five minutes at least."""
    given = {} if alpha is None else {"alpha": alpha}
    return Rollout.model_validate(
        {"service": "trace", "canary": "canary", "package": "-", "steps": [100], "step_duration_min": "5m", "deadline": "30m", **given}
    )


def read_trace(lines: Iterable[str], name: str = "") -> list[Cell]:
    """Read a table in CSV with a header; columns in any order, others are left alone.

    Raises:
        SpecError: OBS-ROLL-120 no table, OBS-ROLL-121 rows that are no counts of an interval; with `name:line`.
    """
    rows = csv.reader((line.replace("\0", "\ufffd") for line in lines), skipinitialspace=True)
    try:
        header = [one.strip().lower() for one in next(rows, [])]
    except csv.Error as error:
        raise SpecError("OBS-ROLL-120", f"not a table: {error}", where=f"{name}:1", todo=_HEADER) from error
    header = [one.removeprefix("\ufeff") for one in header]
    absent = [one for one in COLUMNS if one not in header]
    if absent:
        what = "the file is empty" if not any(header) else f"no column {', '.join(absent)}"
        raise SpecError("OBS-ROLL-120", what, where=f"{name}:1", todo=_HEADER)
    twice = [one for one, times in Counter(header).items() if times > 1 and one in (*COLUMNS, "pod")]
    if twice:
        raise SpecError("OBS-ROLL-120", f"column {twice[0]} stands there twice", where=f"{name}:1", todo="leave one of them")
    places = {key: header.index(key) for key in (*COLUMNS, "pod") if key in header}
    cells: list[Cell] = []
    mistakes: list[tuple[int, str]] = []
    seen: dict[tuple[float, str, str], int] = {}
    try:
        for row in rows:
            if not any(one.strip() for one in row):
                continue
            found = _cell(row, places)
            if isinstance(found, Cell):
                key = (found.t, found.arm, found.pod)
                if key in seen:
                    found = f"t {row[places['t']].strip()} of {found.arm} stands there twice, first in line {seen[key]}"
                else:
                    seen[key] = rows.line_num
                    cells.append(found)
            if isinstance(found, str):
                mistakes.append((rows.line_num, found))
    except csv.Error as error:
        mistakes.append((rows.line_num, f"not a row: {error}"))
    if mistakes:
        told = [text if index == 0 else f"line {line}: {text}" for index, (line, text) in enumerate(mistakes[:_SHOWN])]
        what = "; ".join(told) + (f" (and {len(mistakes) - _SHOWN} more)" if len(mistakes) > _SHOWN else "")
        raise SpecError("OBS-ROLL-121", what, where=f"{name}:{mistakes[0][0]}", todo="correct the rows, or leave them out")
    if not cells:
        raise SpecError("OBS-ROLL-120", "no rows", where=f"{name}:1", todo="add a row per interval, arm and pod")
    times = sorted({round(one.t, 6) for one in cells})
    width = interval(times)
    jump = next(((a, b) for a, b in pairwise(times) if (b - a) / width > _LONGEST_GAP), None)
    if jump:
        what = f"t jumps from {jump[0]:g} to {jump[1]:g}, and intervals are {width:g} s"
        raise SpecError("OBS-ROLL-121", what, where=name, todo="give one rollout only, with t in seconds")
    return cells


def _cell(row: list[str], places: Mapping[str, int]) -> Cell | str:
    """Return the counts of a row, or what is wrong with it."""
    text = {key: row[place].strip() if place < len(row) else "" for key, place in places.items()}
    try:
        t = float(text["t"])
    except ValueError:
        t = math.nan
    if not math.isfinite(t):
        return f"t is {text['t'][:40]!r}; write seconds"
    if text["arm"].lower() not in ARMS:
        return f"arm is {text['arm'][:40]!r}; write stable or canary"
    counts = []
    for key in ("requests", "errors", "slow"):
        try:
            counts.append(float(text[key]) if text[key] else math.nan)
        except ValueError:
            return f"{key} is {text[key][:40]!r}; write a count, or leave it empty where it is not known"
    return Cell(t, text["arm"].lower(), text.get("pod", ""), *counts)


def judge_trace(
    cells: Iterable[Cell], spec: Rollout | None = None, weight: float | None = None, *, stop: bool = False
) -> Iterator[Interval]:
    """Yield the verdict at the end of every interval, in the order of time.

    Args:
        cells: the table, in any order.
        spec: what is tolerated; `default_spec()` without it.
        weight: the canary's declared share in percent; without it, only a canary without any traffic is found.
        stop: end at a rollback.
    """
    spec = spec or default_spec()
    slices = list(_slices(list(cells), weight))
    if not slices:
        return
    began = slices[0].start
    hearing, held = Hearing(spec, began), 0.0
    hearing.begin_step(began)
    for one in slices:
        hearing.add(one)
        found = conclude(hearing, "stable", one.end)
        says = _says(found, one.end - began, held, spec)
        held += (one.end - one.start) if says == "hold" else 0.0
        yield Interval(one.start, says, found.attribution, found.reason, found)
        if stop and says == "rollback":
            return


def _says(found: Verdict, elapsed: float, held: float, spec: Rollout) -> Says:
    if found.kind == "condemned":
        return "rollback"
    if found.kind == "unknown" or found.attribution == "shared":
        return "hold"
    if found.kind == "accepted" and elapsed >= spec.step_duration_min:
        return "promote"
    return "hold" if elapsed - held > spec.deadline else "continue"


def _slices(cells: list[Cell], weight: float | None) -> Iterator[Slice]:
    """Yield a slice per interval, also for those without a row."""
    by_time: dict[float, list[Cell]] = {}
    for one in cells:
        by_time.setdefault(round(one.t, 6), []).append(one)
    times = sorted(by_time)
    width = interval(times)
    pods: dict[str, dict[str, float]] = {arm: {} for arm in ARMS}  # when each pod was last seen
    usual: dict[str, int] = dict.fromkeys(ARMS, 0)
    for index, t in enumerate(times):
        rows = by_time[t]
        problem = _problem(rows, t, pods, usual)
        share: Any = weight  # unlike a rollout's, it may be half a percent
        yield Slice(t, t + width, _counts(rows, "canary", problem), _counts(rows, "stable", problem), share, problem)
        gap = round((times[index + 1] - t) / width) if index + 1 < len(times) else 1
        for step in range(1, min(gap, _LONGEST_GAP)):
            yield Slice(t + step * width, t + (step + 1) * width, Counts(), Counts(), None, "there is no row for this interval")


def interval(times: list[float]) -> float:
    """Return the width of an interval in seconds: the most frequent distance of `times` (sorted); a minute if there is only one."""
    gaps = Counter(round(b - a, 6) for a, b in pairwise(times))
    return min(gaps, key=lambda gap: (-gaps[gap], gap)) if gaps else 60.0


def _problem(rows: list[Cell], t: float, pods: dict[str, dict[str, float]], usual: dict[str, int]) -> str:
    """Return what is missing or impossible in an interval; note which pods were there."""
    said = [one.problem for one in rows if one.problem]
    for arm in ARMS:
        names = [one.pod for one in rows if one.arm == arm]
        late = sorted(name for name, seen in pods[arm].items() if name not in names and t - seen <= _GONE_AFTER + 1e-6)
        if not names:
            said.insert(0, f"there is no row of the {arm}")
        elif late and len(names) < usual[arm]:
            said.append(f"there is no row of pod {late[0]} of the {arm}")
        else:
            usual[arm] = len(names)
        pods[arm].update(dict.fromkeys(names, t))
    return said[0] if said else ""


def _counts(rows: list[Cell], arm: str, problem: str) -> Counts:
    mine = [one for one in rows if one.arm == arm]
    if problem:
        return Counts()
    requests, errors, slow = (round(sum(getattr(one, key) for one in mine)) for key in ("requests", "errors", "slow"))
    pods = {one.pod: (round(one.requests), round(one.errors), round(one.slow)) for one in mine if one.pod}
    return Counts(requests, errors, requests, slow, pods=pods)


@dataclass(slots=True)
class Summary:
    """What a whole trace comes to: a rollback if there ever was one, else a promotion if the canary was ever accepted."""

    verdict: Says = "continue"
    t: float | None = None
    attribution: Attribution = "none"
    reason: str = ""
    troubles: Counter[Attribution] = field(default_factory=Counter)

    def add(self, one: Interval) -> None:
        """Take the next interval into account."""
        rank = ("continue", "hold", "promote", "rollback")
        if one.attribution in ("shared", "telemetry"):
            self.troubles[one.attribution] += 1
        settled = self.verdict in ("promote", "rollback")
        if not settled or rank.index(one.verdict) > rank.index(self.verdict):
            self.verdict, self.t, self.reason = one.verdict, one.t, one.reason
        self.attribution = "canary" if self.verdict == "rollback" else max(self.troubles, key=self.troubles.__getitem__, default="none")
