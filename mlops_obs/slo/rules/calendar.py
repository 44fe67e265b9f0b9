"""Where a calendar period began, in PromQL, which knows UTC only.

The zone's offset changes are compiled in as numbers. The clock of the zone is the time shifted by the offset; its midnight on the
first day of the period is shifted back by the offset that held then, not by the one that holds now.
"""

from __future__ import annotations

from mlops_obs import metric_names as names
from mlops_obs.slo.calendar import zone_offsets
from mlops_obs.slo.rules.counts import Recording
from mlops_obs.slo.rules.names import DAY, series_of
from mlops_obs.slo.spec import SLO

LONGEST_HOURS = {"week": 7 * 24 + 1, "month": 31 * 24 + 1, "quarter": 92 * 24 + 1}  # clocks may be set back meanwhile


def calendar_rules(slo: SLO) -> list[Recording]:
    """Return the recordings of the period's start and length in seconds; nothing for a rolling period."""
    if slo.calendar is None:
        return []
    series, changes = series_of(slo), zone_offsets(slo.time_zone)
    if len(changes) == 1 and changes[0][1] == 0:
        clock = "time()"
        start = [(names.SLO_PERIOD_START, f"{_midnight(clock)} - {_days_since(slo.calendar, clock)} * {DAY}")]
        first = f"scalar({series.named(names.SLO_PERIOD_START)})"
        return [*start, (names.SLO_PERIOD_SECONDS, f"{_days_of(slo.calendar, first)} * {DAY}")]
    offset = f"scalar({series.named(names.SLO_ZONE_OFFSET)})"
    clock = f"(time() + {offset})"
    begin = f"scalar({series.named(names.SLO_PERIOD_START)})"
    # The start is recorded twice: first on the clock of the zone, then in Unix time, with the offset of that moment.
    local = names.SLO_PERIOD_START.replace("start", "local_start")
    local_start = f"scalar({series.named(local)})"
    length = f"{_days_of(slo.calendar, local_start)} * {DAY}"
    end = f"({local_start} + scalar({length}) - {offset})"
    return [
        (names.SLO_ZONE_OFFSET, f"vector({_offset('time()', changes)})"),
        (local, f"{_midnight(clock)} - {_days_since(slo.calendar, clock)} * {DAY}"),
        (names.SLO_PERIOD_START, f"vector({local_start} - ({_offset(f'({local_start} - {offset})', changes)}))"),
        (names.SLO_PERIOD_SECONDS, f"vector({local_start} + scalar({length}) - ({_offset(end, changes)}) - {begin})"),
    ]


def _midnight(clock: str) -> str:
    return f"vector({clock} - {clock} % {DAY})"


def _days_since(kind: str, clock: str) -> str:
    """Return the days that have passed since the first of the period."""
    at = f"vector({clock})"
    if kind == "week":
        return f"((day_of_week({at}) + 6) % 7)"
    if kind == "month":
        return f"(day_of_month({at}) - 1)"
    return f"(day_of_month({at}) - 1 + {_days_before_month(at)})"


def _days_before_month(at: str) -> str:
    """Return the days of the quarter's months before the one at `at`. Every fourth year leaps until 2100."""
    month = f"month({at})"
    before = ((2, 31), (3, 59), (5, 30), (6, 61), (8, 31), (9, 62), (11, 31), (12, 61))
    whole = " + ".join(f"({month} == bool {number}) * {days}" for number, days in before)
    return f"{whole} + ({month} == bool 3) * (year({at}) % 4 == bool 0)"


def _days_of(kind: str, first: str) -> str:
    """Return the days of the period that begins at the instant `first` of the zone's clock."""
    if kind == "week":
        return "vector(7)"
    if kind == "month":
        return f"days_in_month(vector({first}))"
    # 90 days from January (91 in a leap year), 91 from April, 92 from July and October.
    month = f"month(vector({first}))"
    return f"(90 + ({month} == bool 1) * (year(vector({first})) % 4 == bool 0) + ({month} == bool 4) + ({month} >= bool 7) * 2)"


def _offset(at: str, changes: tuple[tuple[int, int], ...]) -> str:
    """Return the zone's offset from UTC in seconds at the instant `at`, a scalar."""
    terms, before = [str(changes[0][1])], changes[0][1]
    for since, offset in changes[1:]:
        step = offset - before
        terms.append(f"{'+' if step > 0 else '-'} ({at} >= bool {since}) * {abs(step)}")
        before = offset
    return "\n  ".join(terms)
