"""What the error budgets said at one look, as plain data: what `decide` needs of a `Budget`, and all that a record keeps of it.

The trap: a budget is made of objects (SLOs, rungs) that a log cannot hold, so that a replay would have to believe instead
of compute. Decisions are therefore made from this plain form in the first place, live and in a replay alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class BudgetSaid(Protocol):
    """What a decision may ask of the budgets; see `budget.Budget` for the meaning of each."""

    @property
    def freeze(self) -> str:
        """Why traffic must not rise; empty if it may."""
        ...

    @property
    def rollback(self) -> str:
        """Why the canary must be turned back; empty if no policy asks for it."""
        ...

    @property
    def warning(self) -> str:
        """The sternest rung in force, in words."""
        ...

    @property
    def actions(self) -> Mapping[str, str]:
        """The sternest action in force by SLO."""
        ...

    @property
    def unknown(self) -> tuple[str, ...]:
        """Why budgets cannot be read."""
        ...

    @property
    def watched(self) -> tuple[str, ...]:
        """SLOs with a policy."""
        ...

    @property
    def unread(self) -> tuple[str, ...]:
        """Those of them whose budget cannot be read."""
        ...

    def numbers(self) -> dict[str, Any]:
        """Return the whole as plain data for a record."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedBudget:
    """A `BudgetSaid` that survives a record: `RecordedBudget.of(b)` and what is read back from its JSON decide alike."""

    freeze: str = ""
    rollback: str = ""
    warning: str = ""
    actions: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    watched: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    left: Mapping[str, float] = field(default_factory=dict)
    """Bad events that may still happen before the budget is spent, by SLO; only where that is known."""
    said: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, budget: BudgetSaid) -> RecordedBudget:
        """Take down what `budget` says."""
        if isinstance(budget, cls):
            return budget
        return cls(
            budget.freeze,
            budget.rollback,
            budget.warning,
            dict(budget.actions),
            tuple(budget.unknown),
            tuple(budget.watched),
            tuple(budget.unread),
            dict(getattr(budget, "left", {})),
            budget.numbers(),
        )

    def numbers(self) -> dict[str, Any]:
        """Return the whole as plain data for a record."""
        return dict(self.said)

    def as_json(self) -> dict[str, Any]:
        """Return every field, for the input of a record."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RecordedBudget:
        """Read back what `as_json` wrote."""
        lists = {name: tuple(data[name]) for name in ("unknown", "watched", "unread")}
        return cls(**{**data, **lists})
