"""The calendar rules at real dates: what they must record around every change of clocks and every turn of a period.

promtool's clock begins in 1970, long before the first change of clocks that is compiled into a rule, so no generated test can tell a
wrong one. A real Prometheus answers at any instant, and the rules read nothing but the clock and each other: in the place of what was
recorded stands what Python's calendar says.
"""

from __future__ import annotations

from datetime import UTC, datetime

from mlops_obs import metric_names as names
from mlops_obs.slo.calendar import FIRST_YEAR, LAST_YEAR, next_period_start, period_start, zone_offsets
from mlops_obs.slo.mutants import Mutant
from mlops_obs.slo.rules.names import series_of
from mlops_obs.slo.spec import SLO

LOCAL_START = names.SLO_PERIOD_START.replace("start", "local_start")
_RECORDED = (names.SLO_ZONE_OFFSET, LOCAL_START, names.SLO_PERIOD_START, names.SLO_PERIOD_SECONDS)
_OF_THE_PERIOD = (names.SLO_PERIOD_START, names.SLO_PERIOD_SECONDS)


def judged_at_real_dates(mutant: Mutant) -> bool:
    """Say whether what `mutant` records is a matter of the date: a calendar rule with another number, operator, function or matcher.

    A wrong matcher finds nothing where other services have no calendar period, or too much where they have: no number either way.
    """
    return mutant.rule in _RECORDED and mutant.kind in ("number", "operator", "function", "matcher")


def instants(slo: SLO) -> list[int]:
    """Return the first second of every period, of every month and of every change of clocks in the compiled years, and the one before.

    Every period is among them with every offset of the zone that it sees.
    """
    if slo.calendar is None:
        return []
    end = int(datetime(LAST_YEAR, 12, 1, tzinfo=UTC).timestamp())
    turns = [since for since, _ in zone_offsets(slo.time_zone)[1:]]
    at = next_period_start(slo.calendar, slo.time_zone, datetime(FIRST_YEAR, 1, 10, tzinfo=UTC).timestamp())
    while at < end:
        turns.append(at)
        at = min(next_period_start(slo.calendar, slo.time_zone, at), next_period_start("month", slo.time_zone, at))
    return sorted({instant for turn in turns if turn < end for instant in (turn - 1, turn)})


def recorded_at(slo: SLO, now: int) -> dict[str, int]:
    """Return what the calendar rules of `slo` have to record at the Unix second `now`, by the record's name."""
    kind = slo.calendar
    assert kind is not None  # noqa: S101 - asked for calendar periods only
    start = period_start(kind, slo.time_zone, now)
    return {
        names.SLO_ZONE_OFFSET: _offset(slo, now),
        LOCAL_START: start + _offset(slo, start),
        names.SLO_PERIOD_START: start,
        names.SLO_PERIOD_SECONDS: next_period_start(kind, slo.time_zone, now) - start,
    }


def filled_in(slo: SLO, expr: str, now: int) -> str:
    """Return the expression of a calendar rule with the numbers that were recorded at `now` in the place of their series."""
    for name, value in recorded_at(slo, now).items():
        expr = expr.replace(f"scalar({series_of(slo).named(name)})", f"({value})")
    return expr


def equal_at_all_dates(mutant: Mutant) -> str:
    """Return why a mutant that records the right number at all `instants` means the same; empty if that is no proof.

    It is one for rules that read nothing but the period's start and the offset. One that reads the clock may be wrong in between.
    """
    if mutant.rule in _OF_THE_PERIOD and "time()" not in mutant.expr:
        return f"it records the same in every period and at every offset of the zone, {FIRST_YEAR} to {LAST_YEAR}: all were asked for"
    return ""


def _offset(slo: SLO, at: int) -> int:
    changes = zone_offsets(slo.time_zone)
    return [changes[0][1], *(offset for since, offset in changes if since <= at)][-1]
