"""What a gate that compares a number with a threshold says at one look.

Such a gate proves no harm: it has no error rate. So it holds a step up, and only a gate that was told so turns a canary
back. The trap of every threshold is the query without an answer: None holds, it is neither good nor bad.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class GateReading:
    """One gate at one look: what was measured of each arm, and whether that is good (None: there is no data).

    Args:
        name: of the gate in the rollout's spec.
        value_canary: what was compared, in the gate's own unit; None without data.
        value_stable: the same of stable, where it was asked for.
        ok: True good, False bad for as long as the gate's `for`, None no data or not long enough: hold.
        words: the reason for a person, with the numbers in it.
        on_fail: what a False is for: "hold", or "rollback" where the spec says so.
        dry_run: measured and recorded, decides nothing.
    """

    name: str
    value_canary: float | None
    value_stable: float | None
    ok: bool | None
    words: str
    on_fail: Literal["hold", "rollback"] = "hold"
    dry_run: bool = False

    def numbers(self) -> dict[str, Any]:
        """Return the reading as plain data for a record: `GateReading(**numbers)` is it again. What is not finite is None."""
        return asdict(replace(self, value_canary=_finite(self.value_canary), value_stable=_finite(self.value_stable)))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
