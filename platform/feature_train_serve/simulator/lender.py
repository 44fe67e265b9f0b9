"""A synthetic lender: applications, bureau pulls, card transactions and instalments of people who do not exist.

Why simulate: only a generator owns the truth (who was under stress, and when), so the tests can ask whether the platform noticed.
A hidden monthly stress drives three things at once: where the money goes (cash, gambling), whether salary arrives, and whether the
next instalments are paid. The bureau score sees it late and blurred: behaviour beats the bureau here, as it does in practice.
People spend by the hour of the week; who earns more spends more. What may break stands in `faults.py`.

The trap: train days and horizon may not overlap the test day's labels. Snapshot + horizon must lie before the end of the data, and the
stress must be stationary, or a later slice is easier or harder than an earlier one by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_train_serve.config import DAY_MS
from feature_train_serve.simulator.faults import Fault, FaultName, Faults
from feature_train_serve.simulator.season import spread

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

_MONTH_DAYS, _PULL_DAYS = 30, 90
_SPEND_FOLLOWS_INCOME = 0.6
_APPLIES_AGAIN = 0.08  # of the customers, each month


@dataclass(frozen=True, slots=True)
class Simulation:
    """Events in time order, and the truth that no pipeline may read: one row per customer and month."""

    events: pa.Table
    truth: pa.Table


@dataclass(frozen=True, slots=True)
class _People:
    """What lasts: `weakness` is the part of the credit risk that the bureau knows; income and loan are in currency units."""

    weakness: np.ndarray
    activity: np.ndarray
    earning: np.ndarray
    thrift: np.ndarray
    income: np.ndarray
    loan: np.ndarray


@dataclass(frozen=True, slots=True)
class _Part:
    customer: np.ndarray
    day: np.ndarray
    kind: str
    category: np.ndarray
    cents: np.ndarray
    score: np.ndarray


def simulate(seed: int, customers: int, days: int, end_ms: int, faults: Sequence[Fault] = ()) -> Simulation:
    """Simulate `customers` over `days` that end at `end_ms` (milliseconds, UTC). The same arguments give the same bytes.

    What happened before the first fault's start is the same with it and without it.
    """
    rng = np.random.default_rng(seed)
    broken = Faults(faults)
    months = days // _MONTH_DAYS
    start_ms = end_ms - days * DAY_MS
    who = np.arange(customers)
    weakness, earning = rng.normal(size=(2, customers))
    people = _People(
        weakness,
        np.where(rng.random(customers) < 0.15, 1.0, rng.gamma(4.0, 2.6, customers)),  # events per month; some are dormant
        earning,
        rng.normal(size=customers),
        np.exp(7.9 + 0.4 * earning - 0.12 * weakness),
        np.exp(rng.normal(8.3, 0.6, customers)),
    )
    stress = np.empty((customers, months))
    stress[:, 0] = rng.normal(size=customers)
    for month in range(1, months):
        stress[:, month] = 0.92 * stress[:, month - 1] + 0.392 * rng.normal(size=customers)

    first = rng.uniform(0, 1, customers)
    parts = [_applications(rng, broken, who, first, people.loan), *_bureau(rng, broken, who, people.weakness, stress, days)]
    for month in range(months):
        parts += _month(np.random.default_rng([seed, month]), broken, month, people, stress[:, month], start_ms)
    middle = (np.arange(months) + 0.5) * _MONTH_DAYS
    stress = stress + broken.total(FaultName.MACRO_SHOCK, middle)
    truth = pa.table(
        {
            "customer_id": np.repeat(customer_ids(customers), months),
            "month": np.tile(np.arange(months), customers),
            "weakness": np.repeat(weakness, months),
            "stress": stress.ravel(),
            "p_missed": _p_missed(weakness[:, None], stress, broken.total(FaultName.CONCEPT_CHANGE, middle)).ravel(),
            "exposure_cents": np.repeat((people.loan * 100).astype(np.int64), months),
        }
    )
    return Simulation(_table(_recorded(np.random.default_rng([seed, months]), broken, parts), customers, days, end_ms), truth)


def customer_ids(customers: int) -> np.ndarray:
    """Return the ids of the synthetic customers: `c00000`, `c00001`, ..."""
    return np.array([f"c{number:05d}" for number in range(customers)], dtype=object)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    odds: np.ndarray = np.exp(-x)
    return 1.0 / (1.0 + odds)


def _p_missed(weakness: np.ndarray, stress: np.ndarray, concept: np.ndarray) -> np.ndarray:
    return _sigmoid(-4.3 + 0.6 * weakness + 1.7 * stress + concept)


def _applications(rng: np.random.Generator, broken: Faults, who: np.ndarray, day: np.ndarray, loan: np.ndarray) -> _Part:
    channel = np.array(CHANNELS, dtype=object)[rng.choice(3, who.size, p=[0.5, 0.35, 0.15])]
    draw = rng.random(who.size)
    for one in broken.faults:
        if one.name is FaultName.NEW_CHANNEL:
            channel = np.where(one.active(day) & (draw < one.strength), one.how, channel)
    return _Part(who, day, "application", channel, np.round(loan * 100).astype(np.int64), np.full(who.size, np.nan))


def _bureau(rng: np.random.Generator, broken: Faults, who: np.ndarray, weakness: np.ndarray, stress: np.ndarray, days: int) -> list[_Part]:
    pulls = []
    phase = rng.uniform(0, _PULL_DAYS, who.size)  # each customer's own, so that ages of scores are the same on every day
    for start in range(1, days, _PULL_DAYS):
        noise = rng.normal(0, 40, who.size)
        due = np.flatnonzero(start + phase < days)
        day, customer = start + phase[due], who[due]
        month = np.minimum(day.astype(int) // _MONTH_DAYS, stress.shape[1] - 1)
        seen = stress[customer, month] + broken.total(FaultName.MACRO_SHOCK, day)
        score = np.round(640 - 45 * weakness[customer] - 18 * seen + noise[due])
        pulls.append(_Part(customer, day, "bureau", np.full(due.size, "pull", dtype=object), np.zeros(due.size, np.int64), score))
    return pulls


def _month(rng: np.random.Generator, broken: Faults, month: int, people: _People, calm: np.ndarray, start_ms: int) -> list[_Part]:
    """One month of spending, salaries, instalments and new applications. Draws do not depend on faults, only what is made of them."""
    first = 1 + month * _MONTH_DAYS - (month > 0)
    span = _MONTH_DAYS - (month == 0)
    everyone = np.arange(calm.size)
    weakness = people.weakness

    def stress(customer: np.ndarray, day: np.ndarray) -> np.ndarray:
        shocked: np.ndarray = calm[customer] + broken.total(FaultName.MACRO_SHOCK, day)
        return shocked

    who = np.repeat(everyone, rng.poisson(people.activity))
    draw, day = rng.random(who.size), spread(rng.random(who.size), first, span, start_ms)
    risky = _sigmoid(-1.7 + 0.2 * weakness[who] + 1.3 * stress(who, day))
    category = np.select(
        [draw < 0.3 * risky, draw < risky, draw < risky + 0.2 * (1 - risky), draw < risky + 0.55 * (1 - risky)],
        ["gambling", "cash", "rent", "groceries"],
        "shopping",
    ).astype(object)
    follows = _SPEND_FOLLOWS_INCOME * (1 - 2 * broken.total(FaultName.CORRELATION_FLIP, day))
    level = follows * people.earning[who] + np.sqrt(1 - _SPEND_FOLLOWS_INCOME**2) * people.thrift[who]
    spent = np.exp(3.3 + level + 1.0 * rng.normal(size=who.size))
    spend = _Part(who, day, "transaction", category, -np.round(spent * 100).astype(np.int64), np.full(who.size, np.nan))

    day = first + rng.uniform(0, span, everyone.size)
    strained = stress(everyone, day)
    wage = people.income * np.exp(rng.normal(0, 0.05, everyone.size)) * (1 - 0.12 * np.clip(strained, 0, 2))
    paid = np.flatnonzero(rng.random(everyone.size) > _sigmoid(-4.2 + 1.1 * strained))
    salary = _Part(
        paid, day[paid], "transaction", np.full(paid.size, "salary", dtype=object),
        np.round(wage[paid] * 100).astype(np.int64), np.full(paid.size, np.nan),
    )  # fmt: skip

    day = first + rng.uniform(0, span, everyone.size)
    strained = stress(everyone, day)
    missed = rng.random(everyone.size) < _p_missed(weakness, strained, broken.total(FaultName.CONCEPT_CHANGE, day))
    late = ~missed & (rng.random(everyone.size) < _sigmoid(-2.4 + 0.4 * weakness + 0.8 * strained))
    status = np.select([missed, late], ["missed", "late"], "on_time").astype(object)
    instalment = np.where(missed, 0, np.round(people.loan * 100 / 24)).astype(np.int64)
    days_late = np.where(late, np.ceil(rng.exponential(6.0, everyone.size)), 0.0)
    due = _Part(everyone, day, "repayment", status, instalment, np.where(missed, 30.0, days_late))

    again = np.flatnonzero(rng.random(everyone.size) < _APPLIES_AGAIN)
    loan = np.exp(rng.normal(8.3, 0.6, everyone.size))[again]
    return [spend, salary, due, _applications(rng, broken, again, first + rng.uniform(0, span, everyone.size)[again], loan)]


def _recorded(rng: np.random.Generator, broken: Faults, parts: list[_Part]) -> list[_Part]:
    """Return what the lender's systems write down of what happened."""
    kept = []
    for part in parts:
        lost, silent = rng.random((2, part.day.size))
        there = ~broken.hit(FaultName.LATE_TABLE, part.day, lost, part.kind)
        score, cents = part.score, part.cents
        if part.kind == "bureau":
            there &= ~broken.hit(FaultName.BUREAU_OUTAGE, part.day, silent, "stale")
            score = np.where(broken.hit(FaultName.BUREAU_OUTAGE, part.day, silent, "nulls"), np.nan, score)
        cents = np.round(cents * broken.factor(part.day, part.kind)).astype(np.int64)
        kept.append(_Part(part.customer[there], part.day[there], part.kind, part.category[there], cents[there], score[there]))
    return kept


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
