"""Every feature, defined once. The batch job and the online store both evaluate these definitions and must agree bit for bit.

How they can: amounts stay integer cents and times integer milliseconds until the last step, so sums and differences are exact in any
order; the one division at the end is the same IEEE operation in Python and in numpy. Logarithms and normalisation, which differ between
libraries by an ulp, belong to the model's own transformation and never to a feature.

The trap: a window is (as_of - days, as_of]. The event at as_of is known, the event one millisecond later is the future.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from feature_train_serve.config import LONGEST_WINDOW_DAYS
from feature_train_serve.features.events import CODES, EVENT_TYPES, KINDS, VIEW_OF_TYPE

Aggregate = Literal["sum", "count", "last_amount", "last_score", "last_kind", "age"]
Unit = Literal["currency", "count", "score", "days", "code", "ratio"]


@dataclass(frozen=True, slots=True)
class Feature:
    """An aggregate over one customer's events of one type.

    Args:
        name: column name, the same offline and online.
        event_type: which events; also decides the feature view.
        aggregate: sum and count use the window; last_* and age use the newest event ever.
        unit: unit of the value; `currency` means whole currency units, never cents.
        categories: which categories of the type; empty means all.
        days: window length; only for sum and count.
        help: what it says, for people.
    """

    name: str
    event_type: str
    aggregate: Aggregate
    unit: Unit
    help: str
    categories: tuple[str, ...] = ()
    days: int = 0

    @property
    def view(self) -> str:
        """The feature view, the unit of freshness."""
        return VIEW_OF_TYPE[self.event_type]

    @property
    def kinds(self) -> frozenset[int]:
        """Codes of the event kinds that count."""
        return frozenset(
            CODES[kind] for kind in KINDS if kind[0] == self.event_type and (not self.categories or kind[1] in self.categories)
        )


@dataclass(frozen=True, slots=True)
class Ratio:
    """One feature divided by another; 0 where the denominator is 0."""

    name: str
    numerator: str
    denominator: str
    help: str
    unit: Unit = "ratio"


SPENDING = ("groceries", "rent", "shopping", "cash", "gambling", "other")

FEATURES: tuple[Feature, ...] = (
    Feature("loan_amount", "application", "last_amount", "currency", "Amount of the newest application."),
    Feature("channel", "application", "last_kind", "code", "Channel of the newest application."),
    Feature("bureau_score", "bureau", "last_score", "score", "Newest bureau score."),
    Feature("bureau_age_days", "bureau", "age", "days", "Age of the newest bureau score."),
    Feature("late_90d", "repayment", "count", "count", "Instalments paid late in 90 days.", ("late",), 90),
    Feature("missed_90d", "repayment", "count", "count", "Instalments missed in 90 days.", ("missed",), 90),
    Feature("last_days_late", "repayment", "last_score", "days", "Days late of the newest instalment."),
    Feature("salary_30d", "transaction", "sum", "currency", "Salary received in 30 days.", ("salary",), 30),
    Feature("spend_30d", "transaction", "sum", "currency", "Money spent in 30 days (negative).", SPENDING, 30),
    Feature("spend_90d", "transaction", "sum", "currency", "Money spent in 90 days (negative).", SPENDING, 90),
    Feature("cash_30d", "transaction", "sum", "currency", "Cash withdrawn in 30 days (negative).", ("cash",), 30),
    Feature("gambling_30d", "transaction", "sum", "currency", "Money gambled in 30 days (negative).", ("gambling",), 30),
    Feature("risky_count_30d", "transaction", "count", "count", "Cash withdrawals and bets in 30 days.", ("cash", "gambling"), 30),
    Feature("transactions_30d", "transaction", "count", "count", "Transactions in 30 days.", (), 30),
    Feature("last_transaction_days", "transaction", "age", "days", "Days since the newest transaction."),
)
RATIOS: tuple[Ratio, ...] = (
    Ratio("risky_share_30d", "risky_count_30d", "transactions_30d", "Share of transactions that are cash or bets."),
    Ratio("spend_to_salary_30d", "spend_30d", "salary_30d", "Spending over salary (negative)."),
)
FEATURE_NAMES: tuple[str, ...] = (*(feature.name for feature in FEATURES), *(ratio.name for ratio in RATIOS))
CURRENCY_FEATURES = frozenset(feature.name for feature in FEATURES if feature.unit == "currency")
CATEGORIES: dict[str, tuple[str, ...]] = {
    feature.name: tuple(category for _, category in KINDS) for feature in FEATURES if feature.unit == "code"
}
"""Names behind the codes of the features that are codes."""
VIEW_OF_FEATURE: dict[str, str] = {feature.name: feature.view for feature in FEATURES}
VIEW_OF_FEATURE |= {ratio.name: VIEW_OF_FEATURE[ratio.numerator] for ratio in RATIOS}
"""The view that a feature is read from."""
VIEWS: tuple[str, ...] = tuple(VIEW_OF_TYPE[event_type] for event_type in EVENT_TYPES)

if any(feature.days > LONGEST_WINDOW_DAYS for feature in FEATURES):
    raise ValueError(f"a feature window is longer than the {LONGEST_WINDOW_DAYS} days that the online store keeps")
