"""A synthetic lender: applications, bureau pulls, card transactions and instalments of people who do not exist.

Why simulate: only a generator owns the truth (who was under stress, and when), so the tests can ask whether the platform noticed.
A hidden monthly stress drives three things at once: where the money goes (cash, gambling), whether salary arrives, and whether the
next instalments are paid. The bureau score sees it late and blurred: behaviour beats the bureau here, as it does in practice.

The trap: train days and horizon may not overlap the test day's labels. Snapshot + horizon must lie before the end of the data, and the
stress must be stationary, or a later slice is easier or harder than an earlier one by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_train_serve.config import DAY_MS

CHANNELS = ("branch", "web", "partner")
EVENT_COLUMNS = pa.schema(
    [
        pa.field("event_id", pa.int64(), nullable=False, metadata={"help": "unique; orders events of the same millisecond"}),
        pa.field("customer_id", pa.string(), nullable=False, metadata={"help": "who"}),
        pa.field("event_time", pa.int64(), nullable=False, metadata={"help": "milliseconds since 1970-01-01 UTC"}),
        pa.field("event_type", pa.string(), nullable=False, metadata={"help": "application, bureau, transaction or repayment"}),
        pa.field("category", pa.string(), metadata={"help": "channel, merchant category, or on_time | late | missed"}),
        pa.field("amount_cents", pa.int64(), nullable=False, metadata={"help": "signed, in cents; 0 where there is none"}),
        pa.field("score", pa.float64(), metadata={"help": "bureau score, or days late of an instalment; null where there is none"}),
    ]
)
"""The documented columns of every event table, the simulator's and a user's own (`--data FILE`)."""

_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True)
class Simulation:
    """Events in time order, and the truth that no pipeline may read: one row per customer and month."""

    events: pa.Table
    truth: pa.Table


@dataclass(frozen=True, slots=True)
class _Part:
    customer: np.ndarray
    day: np.ndarray
    kind: str
    category: np.ndarray
    cents: np.ndarray
    score: np.ndarray


def simulate(seed: int, customers: int, days: int, end_ms: int) -> Simulation:
    """Simulate `customers` over `days` that end at `end_ms` (milliseconds, UTC). The same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    months = days // _MONTH_DAYS
    who = np.arange(customers)
    weakness = rng.normal(size=customers)  # lasting credit weakness, the part the bureau knows
    spend_level = rng.normal(0.0, 1.0, customers)
    activity = np.where(rng.random(customers) < 0.15, 1.0, rng.gamma(4.0, 2.6, customers))  # events per month; some are dormant
    income = np.exp(rng.normal(7.9, 0.4, customers) - 0.12 * weakness)  # currency units per month
    channel = rng.choice(3, customers, p=[0.5, 0.35, 0.15])
    loan = np.exp(rng.normal(8.3, 0.6, customers))

    stress = np.empty((customers, months))
    stress[:, 0] = rng.normal(size=customers)
    for month in range(1, months):
        stress[:, month] = 0.92 * stress[:, month - 1] + 0.392 * rng.normal(size=customers)

    parts = [_applications(rng, who, channel, loan), *_bureau(rng, who, weakness, stress, days)]
    for month in range(months):
        parts += _month(rng, month, weakness, stress[:, month], spend_level, activity, income, loan)
    truth = pa.table(
        {
            "customer_id": np.repeat(customer_ids(customers), months),
            "month": np.tile(np.arange(months), customers),
            "weakness": np.repeat(weakness, months),
            "stress": stress.ravel(),
            "p_missed": _p_missed(weakness[:, None], stress).ravel(),
            "exposure_cents": np.repeat((loan * 100).astype(np.int64), months),
        }
    )
    return Simulation(_table(parts, customers, days, end_ms), truth)


def customer_ids(customers: int) -> np.ndarray:
    """Return the ids of the synthetic customers: `c00000`, `c00001`, ..."""
    return np.array([f"c{number:05d}" for number in range(customers)], dtype=object)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.exp(-x)
    return 1.0 / (1.0 + odds)


def _p_missed(weakness: np.ndarray, stress: np.ndarray) -> np.ndarray:
    return _sigmoid(-4.3 + 0.6 * weakness + 1.7 * stress)


def _applications(rng: np.random.Generator, who: np.ndarray, channel: np.ndarray, loan: np.ndarray) -> _Part:
    cents = np.round(loan * 100).astype(np.int64)
    return _Part(
        who, rng.uniform(0, 1, who.size), "application", np.array(CHANNELS, dtype=object)[channel], cents, np.full(who.size, np.nan)
    )


def _bureau(rng: np.random.Generator, who: np.ndarray, weakness: np.ndarray, stress: np.ndarray, days: int) -> list[_Part]:
    pulls = []
    for start in range(1, days, 90):
        day = start + rng.uniform(0, min(89, days - start), who.size)
        seen = stress[who, np.minimum(day.astype(int) // _MONTH_DAYS, stress.shape[1] - 1)]
        score = np.round(640 - 45 * weakness - 18 * seen + rng.normal(0, 40, who.size))
        pulls.append(_Part(who, day, "bureau", np.full(who.size, "pull", dtype=object), np.zeros(who.size, np.int64), score))
    return pulls


def _month(
    rng: np.random.Generator,
    month: int,
    weakness: np.ndarray,
    stress: np.ndarray,
    spend_level: np.ndarray,
    activity: np.ndarray,
    income: np.ndarray,
    loan: np.ndarray,
) -> list[_Part]:
    first = 1 + month * _MONTH_DAYS - (month > 0)
    span = _MONTH_DAYS - (month == 0)
    who = np.repeat(np.arange(weakness.size), rng.poisson(activity))
    draw = rng.random(who.size)
    risky = _sigmoid(-1.7 + 0.2 * weakness[who] + 1.3 * stress[who])
    category = np.select(
        [draw < 0.3 * risky, draw < risky, draw < risky + 0.2 * (1 - risky), draw < risky + 0.55 * (1 - risky)],
        ["gambling", "cash", "rent", "groceries"],
        "shopping",
    ).astype(object)
    spent = np.exp(3.3 + spend_level[who] + 1.0 * rng.normal(size=who.size))
    spend = _Part(
        who,
        first + rng.uniform(0, span, who.size),
        "transaction",
        category,
        -np.round(spent * 100).astype(np.int64),
        np.full(who.size, np.nan),
    )

    paid = np.flatnonzero(rng.random(weakness.size) > _sigmoid(-4.2 + 1.1 * stress))
    wage = income[paid] * np.exp(rng.normal(0, 0.05, paid.size)) * (1 - 0.12 * np.clip(stress[paid], 0, 2))
    salary = _Part(
        paid, first + rng.uniform(0, span, paid.size), "transaction", np.full(paid.size, "salary", dtype=object),
        np.round(wage * 100).astype(np.int64), np.full(paid.size, np.nan),
    )  # fmt: skip

    everyone = np.arange(weakness.size)
    missed = rng.random(everyone.size) < _p_missed(weakness, stress)
    late = ~missed & (rng.random(everyone.size) < _sigmoid(-2.4 + 0.4 * weakness + 0.8 * stress))
    status = np.select([missed, late], ["missed", "late"], "on_time").astype(object)
    instalment = np.where(missed, 0, np.round(loan * 100 / 24)).astype(np.int64)
    days_late = np.where(late, np.ceil(rng.exponential(6.0, everyone.size)), 0.0)
    due = _Part(everyone, first + rng.uniform(0, span, everyone.size), "repayment", status, instalment, np.where(missed, 30.0, days_late))
    return [spend, salary, due]


def _table(parts: list[_Part], customers: int, days: int, end_ms: int) -> pa.Table:
    start_ms = end_ms - days * DAY_MS
    who = np.concatenate([part.customer for part in parts])
    time = start_ms + np.minimum((np.concatenate([part.day for part in parts]) * DAY_MS).astype(np.int64), days * DAY_MS)
    order = np.lexsort((who, time))
    columns = {
        "event_id": np.arange(order.size, dtype=np.int64),
        "customer_id": customer_ids(customers)[who[order]],
        "event_time": time[order],
        "event_type": np.concatenate([np.full(part.customer.size, part.kind, dtype=object) for part in parts])[order],
        "category": np.concatenate([part.category for part in parts])[order],
        "amount_cents": np.concatenate([part.cents for part in parts])[order],
    }
    score = np.concatenate([part.score for part in parts])[order]
    arrays = [pa.array(columns[name], EVENT_COLUMNS.field(name).type) for name in columns]
    return pa.Table.from_arrays([*arrays, pa.array(score, pa.float64(), mask=np.isnan(score))], schema=EVENT_COLUMNS.remove_metadata())
