"""What people write in `slo/*.yaml`: objectives, periods and indicators of one service.

Objectives are exact decimals. Binary floats would make `1 - 0.999` read 0.0010000000000000009 in every rule, and a
threshold that is off by one bit either pages or does not. The trap for writers is the percentage: 99.9 is refused.
The document around the SLOs is read in `spec_document.py`, indicators are in `indicator_spec.py`,
labels, policies and tiers in `spec_parts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, cast

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mlops_obs.durations import parse_duration
from mlops_obs.slo.calendar import known_zone
from mlops_obs.slo.indicator_spec import Indicator, check_references, group_labels
from mlops_obs.slo.spec_errors import LABEL, NAME, Mistake, SpecErrors, Strict, meant, mistake, mistakes, seconds, share
from mlops_obs.slo.spec_parts import DAY, HOUR, RESERVED_LABELS, Action, BudgetStep, FrozenLabels, Labels, Severity, TierSpec, grid

__all__ = [
    "RESERVED_LABELS", "SLO", "Action", "BudgetStep", "CalendarPeriod", "Indicator", "Severity", "SpecErrors", "TierSpec", "group_labels",
]  # fmt: skip

Budgeting = Literal["occurrences", "timeslices", "ratio_timeslices"]
CalendarPeriod = Literal["week", "month", "quarter"]
NOMINAL_DAYS: dict[str, int] = {"week": 7, "month": 30, "quarter": 90}  # lengths by which alert windows are planned
_TRAFFIC = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([smhd])")
_PER = {"s": 1, "m": 60, "h": 3_600, "d": DAY}


class SLO(Strict):
    """One objective of one service. Durations are Prometheus durations; `objective` is a share of good events.

    `period` rolls (`30d`, 1h to 366d) or follows the calendar of `time_zone` (`week` from Monday, `month`, `quarter`).
    `budgeting` counts events (`occurrences`), 5-minute slices whose share of good events is below `slice_objective`
    (`timeslices`), or the mean of the slices' ratios (`ratio_timeslices`). `severities` says whether it may page or only open
    tickets. `min_bad_events` in the long window keep a handful of failures on an idle service from paging; if it is not
    written, each tier has a number of its own. `replan` stretches alert windows that could never fire, which are an error
    otherwise. `expected_traffic` (`600/h`) says how soon the alerts are sure, and whether they need a statistical bound;
    `statistical_bound` forces it on or off. `upstream` names SLOs whose burn explains this one's. `budget_policy` says what
    happens as the budget shrinks. `labels` go to every rule and alert. `tiers` replace the Workbook's.
    """

    service: str
    team: str
    name: str
    description: str = ""
    objective: Decimal
    period: str = "30d"
    time_zone: str = "UTC"
    budgeting: Budgeting = "occurrences"
    slice_objective: Decimal | None = None
    indicator: Indicator
    group_by: tuple[str, ...] = ()
    severities: tuple[Severity, ...] = ("page", "ticket")
    min_bad_events: int | None = Field(default=None, ge=1, le=1_000_000)
    replan: bool = False
    expected_traffic: str | None = None
    statistical_bound: Literal["auto", "on", "off"] = "auto"
    upstream: tuple[str, ...] = ()
    budget_policy: tuple[BudgetStep, ...] = ()
    labels: Labels = Field(default_factory=FrozenLabels)
    tiers: tuple[TierSpec, ...] | None = None

    @field_validator("service", "team", "name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise mistake("OBS-SLO-005", f"{value!r} is not a plain name", "use at most 63 of a-z, 0-9 and -, ends without -")
        return value

    @field_validator("objective", "slice_objective", mode="before")
    @classmethod
    def _share_not_percentage(cls, value: object, info: ValidationInfo) -> object:
        return None if value is None and info.field_name == "slice_objective" else share(value, info.field_name or "", "0.999")

    @field_validator("period")
    @classmethod
    def _sane_period(cls, value: str) -> str:
        if value in NOMINAL_DAYS:
            return value
        length = seconds(value, "period")
        if not HOUR <= length <= 366 * DAY or length % grid(length):
            what = f"period {value} is not between 1h and 366d, in steps of 5m up to a day and of hours beyond"
            raise mistake("OBS-SLO-007", what, "write for example 30d, or week, month, quarter")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if not known_zone(value):
            raise mistake("OBS-SLO-020", f"time_zone {value!r} is not known", "write a name of the tz database, for example Europe/Berlin")
        return value

    @field_validator("expected_traffic")
    @classmethod
    def _sane_traffic(cls, value: str | None) -> str | None:
        if value is not None and not _per_second(value):
            raise mistake(
                "OBS-SLO-029", f"expected_traffic {value!r} is not events per time", "write for example 600/h, 10/s, 50/m or 1000/d"
            )
        return value

    @field_validator("upstream")
    @classmethod
    def _references(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_references(value, "upstream")
        return value

    @field_validator("budget_policy")
    @classmethod
    def _falling_steps(cls, value: tuple[BudgetStep, ...]) -> tuple[BudgetStep, ...]:
        by_action = {step.action: step.below for step in value}
        if len(by_action) != len(value):
            raise mistake("OBS-SLO-028", "budget_policy has an action twice", "write one step for each of warn, freeze, rollback")
        order = [by_action[action] for action in ("warn", "freeze", "rollback") if action in by_action]
        if order != sorted(order, reverse=True):
            raise mistake(
                "OBS-SLO-028", "a harder step of budget_policy comes before a milder one", "let below fall from warn to freeze to rollback"
            )
        return tuple(sorted(value, key=lambda step: ("warn", "freeze", "rollback").index(step.action)))

    @model_validator(mode="before")
    @classmethod
    def _a_ratio_alone_has_no_events(cls, data: Any) -> Any:
        """An error ratio without counts can only be averaged over slices."""
        indicator = data.get("indicator") if isinstance(data, Mapping) else None
        kind, ratio = (indicator.get("type"), indicator.get("ratio")) if isinstance(indicator, Mapping) else (None, None)
        if isinstance(indicator, Indicator):
            kind, ratio = indicator.type, indicator.ratio
        if kind == "ratio" and ratio is not None and "budgeting" not in data:
            return {**data, "budgeting": "ratio_timeslices"}
        return data

    @model_validator(mode="after")
    def _parts_fit(self) -> SLO:
        found = [*_check_groups(self), *_check_budgeting(self), *_check_tiers(self)]
        if not self.severities:
            found.append(
                Mistake(
                    "OBS-SLO-005", "severities is empty, so the SLO could never alert", "write severities: [page, ticket]", ("severities",)
                )
            )
        if self.time_zone != "UTC" and self.calendar is None:
            found.append(Mistake("OBS-SLO-005", "a rolling period has no time_zone", "remove it, or write period: month", ("time_zone",)))
        if found:
            raise mistakes(found)
        return self

    @property
    def ref(self) -> str:
        """`service/name`, unique among all SLOs."""
        return f"{self.service}/{self.name}"

    @property
    def budget(self) -> Decimal:
        """The share of events that may be bad, exact."""
        return 1 - self.objective

    @property
    def calendar(self) -> CalendarPeriod | None:
        """The calendar period, None if the period rolls."""
        return cast(CalendarPeriod, self.period) if self.period in NOMINAL_DAYS else None

    @property
    def period_seconds(self) -> int:
        """Length of the period in seconds; the nominal one of a calendar period (7, 30 and 90 days)."""
        return NOMINAL_DAYS[self.period] * DAY if self.period in NOMINAL_DAYS else int(parse_duration(self.period))

    @property
    def events_per_second(self) -> Decimal | None:
        """The expected traffic in events per second, exact; None if the spec does not say."""
        return _per_second(self.expected_traffic) if self.expected_traffic else None


def _per_second(text: str) -> Decimal | None:
    found = _TRAFFIC.fullmatch(text.strip())
    rate = Decimal(found[1]) / _PER[found[2]] if found and len(found[1]) < 16 else Decimal(0)
    return rate if rate > 0 else None


def _check_groups(slo: SLO) -> list[Mistake]:
    allowed, kind = group_labels(slo.indicator), slo.indicator.type
    found = []
    for index, label in enumerate(slo.group_by):
        at = ("group_by", index)
        if allowed is not None and label not in allowed:
            advice = meant(label, allowed) if allowed else "remove group_by; its parts may be grouped"
            found.append(Mistake("OBS-SLO-008", f"indicator {kind} cannot be grouped by {label!r}", advice, at))
        elif not LABEL.fullmatch(label) or label.startswith("__") or label in RESERVED_LABELS or label in slo.labels:
            found.append(
                Mistake("OBS-SLO-008", f"{label!r} is no label to group by", "name a label of the counters that the rules do not set", at)
            )
        elif label in slo.group_by[:index]:
            found.append(Mistake("OBS-SLO-008", f"group_by names {label!r} twice", "remove one", at))
    return found


def _check_budgeting(slo: SLO) -> list[Mistake]:
    kind, at = slo.indicator.type, ("budgeting",)
    if slo.indicator.ratio is not None and slo.budgeting != "ratio_timeslices":
        return [
            Mistake(
                "OBS-SLO-023", "an error ratio alone has no events to count", "write bad: and total:, or budgeting: ratio_timeslices", at
            )
        ]
    if kind in ("quality", "composite") and slo.budgeting != "occurrences":
        return [Mistake("OBS-SLO-023", f"a {kind} indicator is counted by events only", "remove budgeting", at)]
    if slo.budgeting == "timeslices" and slo.slice_objective is None:
        return [Mistake("OBS-SLO-023", "timeslices need to know when a slice is good", "write for example slice_objective: 0.99", at)]
    if slo.budgeting != "timeslices" and slo.slice_objective is not None:
        return [
            Mistake(
                "OBS-SLO-023", f"{slo.budgeting} have no slice_objective", "remove it, or write budgeting: timeslices", ("slice_objective",)
            )
        ]
    return []


def _check_tiers(slo: SLO) -> list[Mistake]:
    if slo.tiers is None:
        return []
    if not slo.tiers:
        return [Mistake("OBS-SLO-024", "tiers is empty, so the SLO could never alert", "remove it for the Workbook's tiers", ("tiers",))]
    found = []
    for index, tier in enumerate(slo.tiers):
        at, long = ("tiers", index), int(parse_duration(tier.long))
        factor = tier.factor if tier.factor is not None else (tier.share or Decimal(0)) * slo.period_seconds / long
        if any(tier.name == other.name for other in slo.tiers[:index]):
            found.append(Mistake("OBS-SLO-024", f"tier {tier.name} is there twice", "rename one", (*at, "name")))
        if slo.indicator.type == "quality" and parse_duration(tier.short) < parse_duration(slo.indicator.cohort):
            what = f"short {tier.short} is shorter than a cohort ({slo.indicator.cohort}), which counts at one instant"
            found.append(Mistake("OBS-SLO-024", what, "lengthen it, or count by shorter cohorts", (*at, "short")))
        if long > slo.period_seconds:
            found.append(Mistake("OBS-SLO-024", f"long {tier.long} is longer than the period {slo.period}", "shorten it", (*at, "long")))
        elif factor < 1:
            found.append(
                Mistake(
                    "OBS-SLO-024",
                    f"tier {tier.name} has a factor of {factor:.4g}: it would alert although the objective is met",
                    "raise share or factor, or shorten long",
                    at,
                )
            )
    return found
