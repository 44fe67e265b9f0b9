"""Do the offline and the online features agree? Bit for bit, on the same events.

Training-serving skew is the fault that no offline metric shows. Two checks: what the store would serve at the end of the data against
the batch rows of that moment (through the SQLite file), and a replay of the stream that stops at every snapshot of a sample of customers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_train_serve.config import SEQUENCE_LENGTH
from feature_train_serve.features.definitions import FEATURE_NAMES
from feature_train_serve.features.events import Event, events_of
from feature_train_serve.features.online import OnlineStore
from feature_train_serve.features.state import CustomerState


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that differs: where, and both readings."""

    customer_id: str
    as_of: int
    name: str
    offline: object
    online: object


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How much was compared, and what differed."""

    rows: int
    values: int
    mismatches: tuple[Mismatch, ...]

    @property
    def equal(self) -> bool:
        """Whether every compared value has the same bits, and something was compared."""
        return self.values > 0 and not self.mismatches


def check_parity(events: pa.Table, training_set: pa.Table, store: OnlineStore, sample: int = 400) -> ParityReport:
    """Compare the batch `training_set` with the stream over `events` (in time order).

    Args:
        events: the events that both sides were given.
        training_set: what the batch job wrote.
        store: the online store after the last event.
        sample: customers whose whole history is replayed; all customers are compared at the end of the data.
    """
    live = training_set.filter(pc.equal(training_set["split"], "live"))
    states = store.states(live["customer_id"].to_pylist())
    mismatches = _compare(live, [state or CustomerState() for state in states])

    names = sorted(set(training_set["customer_id"].to_pylist()))[:: max(1, len(set(live["customer_id"].to_pylist())) // sample)]
    chosen = pa.array(names, pa.string())
    past = training_set.filter(pc.and_(pc.is_in(training_set["customer_id"], chosen), pc.not_equal(training_set["split"], "live")))
    past = past.sort_by("as_of")
    replayed = _replay(events_of(events.filter(pc.is_in(events["customer_id"], chosen))), past)
    mismatches += _compare(past, replayed)
    rows = live.num_rows + past.num_rows
    return ParityReport(rows, rows * (len(FEATURE_NAMES) + 3 * SEQUENCE_LENGTH), tuple(mismatches))


def _replay(events: list[Event], rows: pa.Table) -> list[CustomerState]:
    """Play the stream and freeze each row's customer at the row's moment; freezing goes through the store's own text form."""
    states: dict[str, CustomerState] = {}
    frozen, position = [], 0
    for customer_id, as_of in zip(rows["customer_id"].to_pylist(), rows["as_of"].to_pylist(), strict=True):
        while position < len(events) and events[position].time <= as_of:
            event = events[position]
            states.setdefault(event.customer_id, CustomerState()).observe(event)
            position += 1
        frozen.append(CustomerState.from_text(states[customer_id].to_text()) if customer_id in states else CustomerState())
    return frozen


def _compare(rows: pa.Table, states: list[CustomerState]) -> list[Mismatch]:
    offline = np.column_stack([rows[name].to_numpy() for name in FEATURE_NAMES])
    customers, moments = rows["customer_id"].to_pylist(), rows["as_of"].to_pylist()
    online = np.empty_like(offline)
    found = []
    sequences = zip(rows["event_kind"].to_pylist(), rows["event_cents"].to_pylist(), rows["event_age_ms"].to_pylist(), strict=True)
    for number, (state, (kinds, cents, ages)) in enumerate(zip(states, sequences, strict=True)):
        values = state.features(moments[number])
        online[number] = [values[name] for name in FEATURE_NAMES]
        batch = [(moments[number] - age, kind, amount) for kind, amount, age in zip(kinds, cents, ages, strict=True) if kind >= 0]
        stream = state.sequence(moments[number], SEQUENCE_LENGTH)
        if batch != stream:
            found.append(Mismatch(customers[number], moments[number], "sequence", batch, stream))
    different = np.argwhere(offline.view(np.int64) != online.view(np.int64))
    return found + [
        Mismatch(customers[row], moments[row], FEATURE_NAMES[column], float(offline[row, column]), float(online[row, column]))
        for row, column in different
    ]
