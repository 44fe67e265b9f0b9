"""Small event tables for the tests of this folder."""

from __future__ import annotations

import pyarrow as pa
from feature_train_serve.config import DAY_MS
from feature_train_serve.features.events import KINDS
from feature_train_serve.simulator.lender import EVENT_COLUMNS
from hypothesis import strategies as st

START = 1_700_000_000_000

Row = tuple[str, int, int, int, float | None]  # customer, ms after START, kind, cents, score


def table(rows: list[Row]) -> pa.Table:
    """Build an event table in time order; ids follow the order of `rows` where times are equal."""
    ordered = sorted(enumerate(rows), key=lambda pair: (pair[1][1], pair[0]))
    columns = {
        "event_id": [number for number, _ in ordered],
        "customer_id": [row[0] for _, row in ordered],
        "event_time": [START + row[1] for _, row in ordered],
        "event_type": [KINDS[row[2]][0] for _, row in ordered],
        "category": [KINDS[row[2]][1] for _, row in ordered],
        "amount_cents": [row[3] for _, row in ordered],
        "score": [row[4] for _, row in ordered],
    }
    return pa.table(columns, schema=EVENT_COLUMNS)


# Times stand on a coarse grid, so that equal times and window borders are hit often.
GRID = DAY_MS * 15
rows = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 24).map(lambda step: step * GRID) | st.integers(0, 24 * GRID),
    st.integers(0, len(KINDS) - 1),
    st.integers(-10_000_000, 10_000_000),
    st.none() | st.integers(0, 900).map(float),
)
