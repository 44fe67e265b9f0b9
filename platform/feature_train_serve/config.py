"""Sizes, windows and limits of the reference stack: one place, with units and the reason for each number.

The trap: `HORIZON_DAYS` is also the age a label must reach before it may be learnt from, so the newest slice that can be judged
lies a whole horizon before the end of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "credit-risk"
REVISIONS = ("v1", "v2", "v3")

DAY_MS = 86_400_000
HORIZON_DAYS = 90
"""A customer defaults if an instalment is missed within this many days after the prediction."""

LONGEST_WINDOW_DAYS = 90
"""No feature looks further back than this, so the online store may forget older events."""

SEQUENCE_LENGTH = 24
"""Newest events of a customer kept for the transformer; more costs latency and gained no AUC."""

FRESHNESS_LIMITS = {"transactions": 60.0, "repayments": 3_600.0, "bureau": 86_400.0, "profile": 86_400.0}
"""Seconds that the online store may lag behind the event stream, by feature view."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much the demo simulates; the default prepares in under two minutes on two cores.

    Args:
        customers: synthetic applicants.
        days: simulated days that end at the moment of preparation.
        partitions: event files, split by customer, one Ray Data task each.
    """

    customers: int = 4_000
    days: int = 360
    partitions: int = 4
