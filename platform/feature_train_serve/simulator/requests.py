"""Rows as a model would be given them: who asked when, and every feature as of that moment. For trying monitors on, and for tests.

Callers follow the hour of the week, so a feature that moves with the clock moves here too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from feature_train_serve.config import DAY_MS
from feature_train_serve.features.batch import History
from feature_train_serve.features.definitions import FEATURE_NAMES
from feature_train_serve.features.recompute import named
from feature_train_serve.simulator.season import spread


def requests(events: pa.Table, rows: int, seed: int, start_ms: int, first_day: float, last_day: float) -> pa.Table:
    """Return `rows` requests in time order: customer_id, as_of (timestamp, UTC) and every feature; NaN is null, codes are names.

    Args:
        events: of all customers, in time order.
        rows: how many.
        seed: decides who asks when.
        start_ms: first simulated moment (ms, UTC).
        first_day: first day after `start_ms` on which anybody asks.
        last_day: the day before which the last one asks.
    """
    history = History(events)
    rng = np.random.default_rng(seed)
    as_of = np.sort(start_ms + (spread(rng.random(rows), first_day, last_day - first_day, start_ms) * DAY_MS).astype(np.int64))
    customer = rng.integers(0, history.names.size, rows)
    values = history.features(customer, as_of)
    columns = {
        "customer_id": pa.array(history.names[customer], pa.string()),
        "as_of": pa.array(as_of, pa.timestamp("ms", "UTC")),
        **{name: named(name, values[name]) for name in FEATURE_NAMES},
    }
    return pa.table(columns)
