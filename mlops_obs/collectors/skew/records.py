"""The three sides of one request: what the offline store computes, what the online store gave, what the model was fed.

A record is a line of JSON, because people read it when they look for a fault and every language can write it. Numbers, texts, booleans
and nothing (null) are values; NaN is nothing, infinities are the texts JSON has no number for.

The trap: a log whose writer was killed ends in half a line. A line that cannot be read is counted, never fatal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Value = float | str | None
Values = Mapping[str, Value]

_INFINITIES = {"Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Served:
    """One answered request: `online` is what was read, `inputs` what the model was fed under the same names.

    Args:
        request_id: joins the sides.
        entity: whose features these are; sampling and history go by it.
        time: when the features were read, Unix seconds.
        online: features as read; empty if they were not logged.
        inputs: features as fed to the model; empty if they were not logged.
        ages: by feature, for how many seconds its source had not been brought up to date; what is not known is left out.
        revision: of the model that answered.
    """

    request_id: str
    entity: str
    time: float
    online: Values
    inputs: Values = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The same request computed offline, point in time.

    Args:
        request_id: joins the sides.
        values: the features as of the request's time, from all events known by now.
        earlier: the features at earlier times, newest first; they tell a stale value from a wrong one.
        known: the features from only those events that had arrived at the request's time; they tell late events.
    """

    request_id: str
    values: Values
    earlier: tuple[Values, ...] = ()
    known: Values | None = None


def value_of(raw: object) -> Value:
    """Return `raw` as a value: numbers and numpy scalars as float, True and False as texts, NaN as nothing, the rest as its text."""
    if isinstance(raw, float):
        return None if raw != raw else float(raw)
    if raw is None:
        return None
    if isinstance(raw, str):
        return _INFINITIES.get(raw, raw)
    item = getattr(raw, "item", None)
    if item is not None and not isinstance(raw, int | float | bool):
        try:
            return value_of(item())
        except (TypeError, ValueError):
            return str(raw)
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int):
        return float(raw) if abs(raw) < 2**1000 else str(raw)
    return str(raw)


def to_line(record: Served) -> str:
    """Return one line of JSON, without its line end; valid JSON whatever the values."""
    plain: dict[str, Any] = {"request_id": record.request_id, "entity": record.entity, "time": record.time}
    if record.revision:
        plain["revision"] = record.revision
    plain["online"] = _plain(record.online)
    if record.inputs:
        plain["inputs"] = _plain(record.inputs)
    if record.ages:
        plain["ages"] = {name: age for name, age in record.ages.items() if math.isfinite(age)}
    return json.dumps(plain, separators=(",", ":"), allow_nan=False)


def from_line(line: str) -> Served | None:
    """Read a line that `to_line` (or another writer) wrote; None if it is none."""
    try:
        plain = json.loads(line)
        ages = {str(name): float(age) for name, age in (plain.get("ages") or {}).items() if age is not None}
        online, inputs = ({str(k): value_of(v) for k, v in (plain.get(side) or {}).items()} for side in ("online", "inputs"))
        record = Served(
            str(plain["request_id"]),
            str(plain.get("entity", "")),
            float(plain["time"]),
            online,
            inputs,
            ages,
            str(plain.get("revision", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return record if math.isfinite(record.time) else None


def _plain(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, raw in values.items():
        value = value_of(raw)
        found[name] = ("Infinity" if value > 0 else "-Infinity") if isinstance(value, float) and math.isinf(value) else value
    return found
