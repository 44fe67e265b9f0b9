"""When a label becomes known: 30 to 180 days after the prediction, and never sooner than what it tells of.

A missed instalment is reported by the collections desk 30 to 90 days after it was due. That nothing was missed is known once the horizon
of 90 days is over, and is booked with the monthly and quarterly closings, up to 90 days later. So early labels are nearly all bad ones:
who trains or judges on the labels that happen to be in sees far too many defaults. That is the trap this table is made for.
"""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa

from feature_train_serve.config import DAY_MS, HORIZON_DAYS
from feature_train_serve.features.batch import MISSED, History

BAD_LAG_DAYS = (30.0, 90.0)  # after the missed instalment
GOOD_LAG_DAYS = (0.0, 90.0)  # after the horizon


def labels(events: pa.Table, customer_id: np.ndarray, predicted_at: np.ndarray, exposure_cents: np.ndarray, seed: int) -> pa.Table:
    """Return one row per prediction: customer_id, predicted_at, label (0 or 1), known_at (ms, UTC) and exposure_cents.

    Args:
        events: what happened, at least the horizon beyond each prediction.
        customer_id: (n,) of customers that are in `events`.
        predicted_at: (n,) in ms, UTC.
        exposure_cents: (n,) what is lost at default.
        seed: decides the lags, each from the prediction alone, so that a row's lag does not depend on the others.
    """
    history = History(events)
    index = {name: place for place, name in enumerate(history.names.tolist())}
    customer = np.array([index[name] for name in customer_id], dtype=np.int64)
    due = history.next_of(customer, predicted_at, MISSED)
    bad = due <= predicted_at + HORIZON_DAYS * DAY_MS
    keys = [f"{seed}:{name}:{moment}" for name, moment in zip(customer_id.tolist(), predicted_at.tolist(), strict=True)]
    draw = np.array([zlib.crc32(key.encode()) for key in keys]) / 2**32
    low, high = np.where(bad, BAD_LAG_DAYS[0], GOOD_LAG_DAYS[0]), np.where(bad, BAD_LAG_DAYS[1], GOOD_LAG_DAYS[1])
    base = np.where(bad, due, predicted_at + HORIZON_DAYS * DAY_MS)
    known = base + ((low + draw * (high - low)) * DAY_MS).astype(np.int64)
    return pa.table(
        {
            "customer_id": pa.array(customer_id, pa.string()),
            "predicted_at": predicted_at,
            "label": bad.astype(np.int64),
            "known_at": known,
            "exposure_cents": exposure_cents,
        }
    )
