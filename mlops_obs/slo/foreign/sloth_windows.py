"""Sloth's alert windows: its two catalogues, and people's own (`kind: AlertWindows`).

Factors are floats on purpose: Sloth computes them so, and the digits of `5.6000000000000005` are part of the rules that
existing dashboards and recordings compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from mlops_obs.durations import format_duration, parse_duration
from mlops_obs.errors import SpecError
from mlops_obs.slo.foreign.fields import Fields, Report

_HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Pair:
    """A quick or slow condition: `percent` of the budget within `long`; windows in seconds."""

    percent: Decimal
    short: int
    long: int

    def factor(self, period: int) -> float:
        """Return the burn rate above which it fires, with Sloth's own rounding."""
        return float(self.percent) * (period / _HOUR) / 100 / (self.long / _HOUR)


@dataclass(frozen=True, slots=True)
class Windows:
    """The four conditions of one period (seconds)."""

    period: int
    page_quick: Pair
    page_slow: Pair
    ticket_quick: Pair
    ticket_slow: Pair

    @property
    def lengths(self) -> list[int]:
        """Every window in seconds, shortest first."""
        pairs = (self.page_quick, self.page_slow, self.ticket_quick, self.ticket_slow)
        return sorted({window for pair in pairs for window in (pair.short, pair.long)})


def workbook(period: int) -> Windows:
    """Return the windows that Sloth has built in for 28 and 30 days, for any `period` in seconds."""
    two, five, ten = Decimal(2), Decimal(5), Decimal(10)
    return Windows(period, Pair(two, 300, 3_600), Pair(five, 1_800, 21_600), Pair(ten, 7_200, 86_400), Pair(ten, 21_600, 259_200))


def windows_for(period: int, catalogue: dict[int, Windows]) -> Windows:
    """Return the windows for `period` seconds.

    Raises:
        SpecError: OBS-IMP-005 if neither Sloth nor the catalogue has windows for it.
    """
    if period in catalogue:
        return catalogue[period]
    if period in (28 * 86_400, 30 * 86_400):
        return workbook(period)
    raise SpecError(
        "OBS-IMP-005",
        f"Sloth has no alert windows for a period of {format_duration(period)}",
        todo="write --period 28d or 30d, or name your catalogue with --windows FILE",
    )


def read_windows(document: object, report: Report) -> Windows | None:
    """Read a `kind: AlertWindows` document; mistakes go to `report`, and then the result is None."""
    top = Fields(document, (), report)
    if top.take("apiVersion") != "sloth.slok.dev/v1" or top.take("kind") != "AlertWindows":
        report.wrong("OBS-IMP-001", "is not a catalogue of alert windows", "write apiVersion: sloth.slok.dev/v1 and kind: AlertWindows", ())
        return None
    before = len(report.errors)
    spec = top.fields("spec")
    period = _seconds(spec, "sloPeriod")
    pairs = [_pair(spec.fields(severity).fields(speed)) for severity in ("page", "ticket") for speed in ("quick", "slow")]
    if len(report.errors) > before:
        return None
    return Windows(period, *(pair for pair in pairs if pair is not None))


def _pair(fields: Fields) -> Pair | None:
    percent, short, long = fields.number("errorBudgetPercent"), _seconds(fields, "shortWindow"), _seconds(fields, "longWindow")
    if percent is None or not 0 < percent <= 100:
        fields.wrong("errorBudgetPercent", "is not a percentage above 0 and up to 100", "write for example 2")
        return None
    return Pair(percent, short, long)


def _seconds(fields: Fields, key: str) -> int:
    text = fields.text(key, required=True)
    if not text:
        return 1
    try:
        return max(1, int(parse_duration(text)))
    except SpecError as error:
        fields.wrong(key, error.what, error.todo)
        return 1
