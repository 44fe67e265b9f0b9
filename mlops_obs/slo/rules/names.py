"""How one SLO's recorded series are named and selected in PromQL, for every module that writes rules.

The trap is the service as a whole: with `group_by` it is the series whose group labels are empty, and a selector that
forgets them reads every group as well and counts twice.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache, lru_cache

from mlops_obs import metric_names as names
from mlops_obs.durations import format_duration
from mlops_obs.slo.selectors import Selector, quoted
from mlops_obs.slo.spec import SLO

BASE, HOUR, DAY = 300, 3_600, 86_400


@cache
def duration(seconds: int) -> str:
    """Write whole seconds as a Prometheus duration."""
    return format_duration(seconds)


@cache
def just_under(seconds: int) -> str:
    """Write a millisecond less than `seconds`: 2h -> `1h59m59s999ms`. A closed range of `seconds` would count one point more."""
    days, rest = divmod(seconds - 1, DAY)
    hours, rest = divmod(rest, HOUR)
    minutes, rest = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s"), (999, "ms"))
    return "".join(f"{count}{unit}" for count, unit in parts if count)


def number(exact: Decimal) -> str:
    """Write an exact number without an exponent."""
    return f"{exact.normalize():f}"


def indented(text: str) -> str:
    """Shift the lines of an expression after the first, for it to stand inside another one."""
    return text.replace("\n", "\n  ")


def window_name(slo: SLO) -> str:
    """Return how the period is written in the names of its counts: `30d`, or `_month` for a calendar period."""
    return f"_{slo.period}" if slo.calendar else duration(slo.period_seconds)


def with_matchers(one: Selector, more: str) -> str:
    """Write `one` with the matchers `more` on top (PromQL text, may be empty)."""
    text = str(one)
    if not more:
        return text
    return f"{text[:-1]}, {more}}}" if text.endswith("}") else f"{text}{{{more}}}"


class Series:
    """The recorded series of one SLO: `series(name, window)` selects the service as a whole and every group.

    `of` are the matchers that all of them have, in braces; `ungrouped` those of series that belong to no group (empty without
    `group_by`); `grouped` are matchers whose union is every series that belongs to one, as a label at least is not empty.
    """

    __slots__ = ("group_by", "grouped", "ids", "of", "ungrouped")

    def __init__(self, service: str, name: str, labels: tuple[str, ...]) -> None:
        self.group_by = labels
        self.ids = f"{names.SERVICE}={quoted(service)}, {names.SLO}={quoted(name)}"
        self.of = f"{{{self.ids}}}"
        self.ungrouped = ", ".join(f'{label}=""' for label in labels)
        self.grouped = tuple(
            ", ".join([*(f'{before}=""' for before in labels[:index]), f'{label}!=""']) for index, label in enumerate(labels)
        )

    def __call__(self, name: str, window: int) -> str:
        """Select a count by its name with `{window}`."""
        return name.format(window=duration(window)) + self.of

    def named(self, name: str) -> str:
        """Select a series by its whole name."""
        return name + self.of

    def where(self, name: str, matchers: str) -> str:
        """Select a series by its whole name, only where `matchers` hold as well."""
        return f"{name}{{{self.ids}, {matchers}}}" if matchers else name + self.of

    def whole(self, name: str) -> str:
        """Select only the service as a whole, by the whole name."""
        return self.where(name, self.ungrouped)


_series = lru_cache(maxsize=64)(Series)  # every rule of an SLO asks for the same


def series_of(slo: SLO) -> Series:
    """Return the recorded series of `slo`."""
    return _series(slo.service, slo.name, slo.group_by)
