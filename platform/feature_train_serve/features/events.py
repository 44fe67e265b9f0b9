"""One event, as the feature code sees it, and the closed list of event kinds.

Categories come from outside, so they are mapped to a closed list here: what is not known becomes `other` of its type. A feature, an
embedding row or a label value can then never be created by input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

KINDS: tuple[tuple[str, str], ...] = (
    ("application", "branch"), ("application", "web"), ("application", "partner"), ("application", "other"),
    ("bureau", "pull"), ("bureau", "other"),
    ("transaction", "salary"), ("transaction", "groceries"), ("transaction", "rent"), ("transaction", "shopping"),
    ("transaction", "cash"), ("transaction", "gambling"), ("transaction", "other"),
    ("repayment", "on_time"), ("repayment", "late"), ("repayment", "missed"), ("repayment", "other"),
)  # fmt: skip
CODES = {kind: code for code, kind in enumerate(KINDS)}
EVENT_TYPES = ("application", "bureau", "transaction", "repayment")
VIEW_OF_TYPE = {"application": "profile", "bureau": "bureau", "transaction": "transactions", "repayment": "repayments"}


class Event(NamedTuple):
    """Something that happened: `time` in milliseconds UTC, `kind` an index into KINDS, `cents` signed, `score` NaN if there is none."""

    customer_id: str
    time: int
    kind: int
    cents: int
    score: float


def kind_of(event_type: str, category: str | None) -> int:
    """Return the code of an event kind; an unknown category is `other` of its type. Raises KeyError for an unknown type."""
    return CODES.get((event_type, category or "other"), CODES[event_type, "other"])


def kinds_of(table: pa.Table) -> np.ndarray:
    """Return the kind codes of an event table (int64)."""
    dictionary = pc.binary_join_element_wise(
        table["event_type"].combine_chunks(), pc.fill_null(table["category"].combine_chunks(), "other"), "\x1f"
    ).dictionary_encode()
    values = [kind_of(*text.split("\x1f", 1)) for text in dictionary.dictionary.to_pylist()]
    codes: np.ndarray = np.asarray(values, dtype=np.int64)[dictionary.indices.to_numpy(zero_copy_only=False)]
    return codes


def events_of(table: pa.Table) -> list[Event]:
    """Return the events of a table in its order."""
    score = pc.fill_null(table["score"], float("nan")).to_pylist()
    columns = (
        table["customer_id"].to_pylist(),
        table["event_time"].to_pylist(),
        kinds_of(table).tolist(),
        table["amount_cents"].to_pylist(),
        score,
    )
    return list(map(Event, *columns))
