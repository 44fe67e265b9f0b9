"""The parts of an SLO that are more than a word: labels, steps of the budget policy, alert tiers of one's own.

Traps kept out: a label that the rules set themselves (it would split series or break routes), a tier that would alert although
the objective is met, a window that the recorded counts cannot be added up to, and a policy whose steps are in the wrong order.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator

from mlops_obs import metric_names as names
from mlops_obs.durations import parse_duration
from mlops_obs.slo.spec_errors import LABEL, NAME, Mistake, Strict, mistake, mistakes, seconds, share

Severity = Literal["page", "ticket"]
Action = Literal["warn", "freeze", "rollback"]
HOUR, DAY = 3_600, 86_400
# Labels that rules and alerts set themselves; one of the user's own by that name would split series or break routes.
RESERVED_LABELS = frozenset(
    {"alertname", "alertstate", "le", "quantile", "cohort", names.SERVICE, names.SLO, names.TEAM, names.SEVERITY, names.TIER, names.WINDOW}
)


def grid(window: Decimal) -> int:
    """Return the grid of recorded counts that a window longer than an hour is added up from."""
    return 300 if window <= DAY else HOUR


class FrozenLabels(dict[str, str]):
    """A dict of labels that can be hashed, so that an SLO can be a key. Nobody writes to it."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _plain_labels(value: Mapping[str, str]) -> Mapping[str, str]:
    wrong = [
        Mistake("OBS-SLO-025", f"label {label!r} is set by the rules themselves", "choose another name", (label,))
        if label in RESERVED_LABELS or label.startswith("sloth_")
        else Mistake("OBS-SLO-025", f"{label!r} is not a label name", "use letters, digits and _, not __ in front", (label,))
        for label in value
        if label in RESERVED_LABELS or label.startswith(("__", "sloth_")) or not LABEL.fullmatch(label)
    ]
    wrong += [
        Mistake("OBS-SLO-025", f"label {label} is empty or too long", "write 1 to 200 characters", (label,))
        for label, text in value.items()
        if not 0 < len(text) <= 200
    ]
    if wrong:
        raise mistakes(wrong)
    return FrozenLabels(value)


Labels = Annotated[Mapping[str, str], AfterValidator(_plain_labels)]


class BudgetStep(Strict):
    """One step of the budget policy: what happens once less than `below` (a share) of the period's budget is left.

    `warn` tells, `freeze` holds rollouts where they are, `rollback` also turns back a canary that burns the budget itself.
    """

    below: Decimal
    action: Action

    @field_validator("below", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        # 0 is allowed: act once the budget is gone.
        return Decimal(0) if str(value).strip() in ("0", "0.0", "0%") else share(value, "below", "0.25")


class TierSpec(Strict):
    """An alert tier of one's own: it burns while more than `factor` budgets' worth of errors are in `long` and in `short`.

    `share` of the period's budget that may go within `long` says the same: factor = share x period / long. `hold` is how long the
    condition must last (`for`).
    """

    name: str
    severity: Severity
    share: Decimal | None = None
    factor: Decimal | None = None
    long: str
    short: str
    hold: str | None = None

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value) or value == "absent" or value.startswith("policy-"):
            raise mistake("OBS-SLO-024", f"{value!r} is not a name for a tier", "use a-z, 0-9 and -, not absent, not policy-...")
        return value

    @field_validator("share", mode="before")
    @classmethod
    def _share(cls, value: object) -> object:
        return None if value is None else share(value, "share", "0.02")

    @field_validator("long", "short", "hold")
    @classmethod
    def _durations(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and seconds(value, info.field_name or "") % 60:
            raise mistake("OBS-SLO-024", f"{info.field_name} {value} is not in whole minutes", "write for example 1h")
        return value

    @model_validator(mode="after")
    def _windows_fit(self) -> TierSpec:
        long, short = parse_duration(self.long), parse_duration(self.short)
        found = []
        if (self.share is None) == (self.factor is None):
            found.append(Mistake("OBS-SLO-024", f"tier {self.name} needs one of share and factor", "write for example share: 0.02"))
        if self.factor is not None and not (self.factor.is_finite() and 0 < self.factor <= 1_000_000):
            found.append(
                Mistake("OBS-SLO-024", f"factor {self.factor} is not a positive number", "write for example factor: 14.4", ("factor",))
            )
        if not 300 <= short < long:
            found.append(Mistake("OBS-SLO-024", f"short {self.short} is not between 5m and long", "write about long / 12", ("short",)))
        for name, window in (("long", long), ("short", short)):
            if window > HOUR and window % grid(window):
                found.append(
                    Mistake(
                        "OBS-SLO-024",
                        f"{name} is over an hour and no multiple of 5m, or over a day and not in hours",
                        "longer windows add up recorded counts",
                        (name,),
                    )
                )
        if found:
            raise mistakes(found)
        return self
