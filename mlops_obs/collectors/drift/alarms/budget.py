"""The budget of false alarms that a team states in words, and the ledger of what was spent of it.

"1 per 90d": on a service whose data stays normal, at most one alarm in 90 days on average, over all features and looks together.
Without a clock, rows are time: "1 per 100000 rows".

The trap: a budget is not a threshold. Looking twice as often does not double it, because a look is paid for by the time
(or the rows) since the last one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError

_WORDS = re.compile(r"\s*(?P<alarms>[0-9]+(?:\.[0-9]+)?)\s*(?:per|/|in)\s*(?P<span>.+?)\s*")
_ROWS = re.compile(r"(?P<rows>[0-9][0-9_,]*(?:\.[0-9]+)?(?:[eE][0-9]+)?)\s*(?P<unit>k|m|)\s*rows?", re.IGNORECASE)
_SPANS = {"day": 86_400.0, "week": 604_800.0, "month": 30 * 86_400.0, "quarter": 90 * 86_400.0, "year": 365 * 86_400.0}
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6}
ROWS = 100_000  # rows without a clock for one false alarm, unless somebody says otherwise


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `alarms` false alarms on average per `seconds`, or per `rows` where there is no clock."""

    alarms: float = 1.0
    seconds: float | None = None
    rows: float | None = None

    @classmethod
    def parse(cls, text: str, where: str = "") -> Budget:
        """Read "1 per 90d", "0.5 per quarter" or "1 per 100000 rows".

        Raises:
            SpecError: OBS-ALM-001 if it is something else.
        """
        found = _WORDS.fullmatch(text)
        alarms = float(found["alarms"]) if found else 0.0
        if found and alarms > 0:
            span = found["span"].strip()
            if of_rows := _ROWS.fullmatch(span):
                rows = float(re.sub("[_,]", "", of_rows["rows"])) * _UNITS[of_rows["unit"].lower()]
                if rows >= 1:
                    return cls(alarms, rows=rows)
            elif seconds := _SPANS.get(span.removeprefix("1 ").rstrip("s").lower()):
                return cls(alarms, seconds=seconds)
            else:
                try:
                    return cls(alarms, seconds=float(parse_duration(span.replace(" ", ""))))
                except SpecError:
                    pass
        raise SpecError(
            "OBS-ALM-001",
            f"{text!r} is not a budget of false alarms",
            todo='write for example "1 per 90d" or "1 per 100000 rows"',
            where=where,
        )

    def weight(self, seconds: float, rows: float) -> float:
        """Return what a look may spend that comes `seconds` and `rows` after the last one; never negative."""
        if self.rows is not None:
            return self.alarms * max(rows, 0.0) / self.rows
        return self.alarms * max(seconds, 0.0) / (self.seconds or _SPANS["quarter"])

    @property
    def period(self) -> float:
        """Length of the budget's period: rows where rows are time, else seconds."""
        return self.rows if self.rows is not None else self.seconds or _SPANS["quarter"]

    def __str__(self) -> str:
        span = f"{self.rows:,.0f} rows" if self.rows is not None else format_duration(round(self.period))
        return f"{self.alarms:g} per {span}"


@dataclass(slots=True)
class Ledger:
    """When alarms were raised: Unix seconds, or row numbers where rows are time. True alarms count too: nobody knows better yet."""

    budget: Budget
    spent: list[float] = field(default_factory=list)

    def record(self, at: float) -> None:
        """Add an alarm and forget what is older than a period."""
        self.spent = [one for one in self.spent if one > at - self.budget.period] + [at]

    def used(self, at: float) -> float:
        """Return the share of the budget that the alarms of the last period are: 1 is all of it, more is possible."""
        return sum(at - self.budget.period < one <= at for one in self.spent) / self.budget.alarms

    def to_json(self) -> list[float]:
        """Return plain data."""
        return list(self.spent)

    @classmethod
    def from_json(cls, budget: Budget, data: Any) -> Ledger:
        """Read what `to_json` wrote."""
        return cls(budget, [float(one) for one in data])
