"""A small world of customers and events in which the truth about skew is known: features offline, online and as fed to the model.

Events come at random; features are windows, newest values, ages and codes of them. A fault turns the right values of the online side
into wrong ones in a way that has a name. Everything follows from the seed. The data are synthetic.

The trap that this world is for: a fault is easy to name on smooth numbers that change with every request. Counts that are mostly zero,
flags, codes of three values and customers who come twice are where one fault looks like another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.skew.kinds import SkewKind
from mlops_obs.collectors.skew.records import Recomputed, Served

HOUR, DAY = 3600.0, 86400.0
START = 1_780_000_000.0 - 1_780_000_000.0 % DAY  # a midnight UTC
FAULTS = (
    SkewKind.STALE,
    SkewKind.UNIT,
    SkewKind.DEFAULT_FILLED,
    SkewKind.TIME_ZONE,
    SkewKind.ENCODING_SWAP,
    SkewKind.LATE_ARRIVAL,
    SkewKind.PRECISION,
    SkewKind.MISSING,
)
_NAMES = ("web", "branch", "phone", "partner", "app", "mail", "agent", "kiosk")
_BATCH = 6 * HOUR  # the online store is filled so often where it is stale
_SHAPES: dict[SkewKind, tuple[str, ...]] = {
    SkewKind.STALE: ("sum", "count", "mean", "last", "name", "share", "largest"),
    SkewKind.UNIT: ("sum", "mean", "last", "age", "share", "largest"),
    SkewKind.DEFAULT_FILLED: ("sum", "count", "mean", "last", "age", "name", "code", "share", "flag"),
    SkewKind.TIME_ZONE: ("moment", "hour", "today", "age"),
    SkewKind.ENCODING_SWAP: ("name", "code", "flag"),
    SkewKind.LATE_ARRIVAL: ("sum", "count", "mean", "last", "age", "name"),
    SkewKind.PRECISION: ("sum", "mean", "last", "age", "share"),
    SkewKind.MISSING: ("sum", "count", "mean", "last", "age", "name", "code", "share", "flag"),
}

Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class World:
    """`served` and `recomputed` of the same requests in order, and the `truth`: {feature: the kind of its fault}."""

    served: list[Served]
    recomputed: list[Recomputed]
    truth: dict[str, SkewKind]


class _Events:
    """Events of each request's customer: `time`, `amount`, `code`, `delay` have shape (requests, events)."""

    def __init__(self, seed: np.random.Generator, requests: int, entities: int) -> None:
        count = 60
        time = np.sort(START - 30 * DAY + seed.random((entities, count)) * 40 * DAY, axis=1)
        amount = np.round(np.exp(seed.normal(3.5, 1.2, (entities, count))), 2)
        code = seed.choice(len(_NAMES), (entities, count), p=[0.4, 0.2, 0.12, 0.1, 0.08, 0.05, 0.03, 0.02])
        delay = np.where(seed.random((entities, count)) < 0.25, seed.exponential(30 * HOUR, (entities, count)), 0.0)
        self.entity = seed.integers(0, entities, requests)
        self.at = np.sort(START + seed.random(requests) * 8 * DAY)
        self.time, self.amount, self.code, self.delay = (one[self.entity] for one in (time, amount, code, delay))


def make(
    fault: SkewKind | None,
    seed: int,
    *,
    requests: int = 1000,
    entities: int = 400,
    features: int = 20,
    share: float = 1.0,
    benign: float = 0.003,
) -> World:
    """Return a world.

    Args:
        fault: what is wrong with every feature on the online side; None for a clean day.
        seed: of everything.
        requests: how many, over eight days.
        entities: customers that they come from.
        features: how many; their shapes are drawn from those that can have the fault.
        share: of requests that the fault hits (as if by one bad replica); late and stale values hit what they hit.
        benign: share of values that lack the last day for no fault of anybody.
    """
    random = np.random.default_rng(seed)
    events = _Events(random, requests, entities)
    shapes = _SHAPES[fault] if fault else tuple(dict.fromkeys(shape for of in _SHAPES.values() for shape in of))
    offline: dict[str, Column] = {}
    online: dict[str, Column] = {}
    earlier: list[dict[str, Column]] = [{}, {}, {}]
    known: dict[str, Column] = {}
    slot = np.floor(events.at / _BATCH) * _BATCH
    hit = random.random(requests) < (share if fault else 0.0)
    for number in range(features):
        name = f"f{number:02d}_{shapes[number % len(shapes)]}"
        value = _shape(shapes[number % len(shapes)], random)
        there = events.time <= events.at[:, None]
        offline[name] = value(events, events.at, there, 0.0)
        for back, column in enumerate(earlier):
            moment = slot - back * _BATCH
            column[name] = value(events, moment, events.time <= moment[:, None], 0.0)
        arrived = there & (events.time + events.delay <= events.at[:, None])
        known[name] = value(events, events.at, arrived, 0.0)
        wrong = _wrong(fault, value, offline[name], earlier, known[name], name, events, random)
        old = random.random(requests) < benign
        before = value(events, events.at, events.time <= events.at[:, None] - DAY, 0.0)
        online[name] = np.where(hit, wrong, np.where(old, before, offline[name]))
    return _world(events, offline, online, earlier, known, dict.fromkeys(offline, fault) if fault else {})


def _world(
    events: _Events,
    offline: dict[str, Column],
    online: dict[str, Column],
    earlier: Sequence[dict[str, Column]],
    known: dict[str, Column],
    truth: dict[str, SkewKind],
) -> World:
    served, recomputed = [], []
    for at in range(events.at.size):
        entity = f"customer-{events.entity[at]}"
        served.append(Served(f"r{at}", entity, float(events.at[at]), {name: of[at] for name, of in online.items()}))
        older = tuple({name: of[at] for name, of in column.items()} for column in earlier)
        arrived = {name: of[at] for name, of in known.items()}
        recomputed.append(Recomputed(f"r{at}", {name: of[at] for name, of in offline.items()}, older, arrived))
    return World(served, recomputed, truth)


_Value = Callable[[_Events, Column, Column, float], Column]


def _shape(shape: str, random: np.random.Generator) -> _Value:
    """A feature of that shape with a window and a scale of its own; `shift` (seconds) is added to its clock."""
    window = float(random.choice([3, 7, 14, 30])) * DAY
    scale = float(random.choice([0.01, 1.0, 37.5]))
    size = int(random.choice([2, 3, 5, 8])) if shape != "flag" else 2

    def value(events: _Events, at: Column, there: Column, shift: float) -> Any:
        inside = there & (events.time > (at[:, None] - window))
        count = inside.sum(axis=1)
        newest = np.where(there.any(axis=1), there.shape[1] - 1 - there[:, ::-1].argmax(axis=1), -1)
        row = np.arange(newest.size)
        last_time = events.time[row, newest]
        last_code = events.code[row, newest] % size
        sums = np.round((events.amount * inside).sum(axis=1), 2)
        match shape:
            case "sum":
                return np.round(sums * scale, 6)
            case "count":
                return count.astype(float)
            case "mean":
                return np.where(count > 0, sums * scale / np.maximum(count, 1), np.nan)
            case "largest":
                return np.where(count > 0, (events.amount * inside).max(axis=1), np.nan)
            case "last":
                return events.amount[row, newest] * scale
            case "age":
                return (at + shift - last_time) / DAY
            case "share":
                return ((events.code == 0) & inside).sum(axis=1) / np.maximum(count, 1)
            case "moment":
                return np.floor(last_time + shift)
            case "hour":
                return np.mod(np.floor((last_time + shift) / HOUR), 24)
            case "today":
                day = np.floor((events.time + shift) / DAY) == np.floor((at + shift) / DAY)[:, None]
                return (day & there).sum(axis=1).astype(float)
            case "code":
                return last_code.astype(float)
            case "flag":
                return np.array(["false", "true"])[last_code].astype(object)
            case _:
                return np.array(_NAMES)[last_code].astype(object)

    return value


def _wrong(
    fault: SkewKind | None,
    value: _Value,
    right: Column,
    earlier: Sequence[dict[str, Column]],
    known: Column,
    name: str,
    events: _Events,
    random: np.random.Generator,
) -> Column:
    """The values of the online side under a fault."""
    numbers = right.dtype != object
    match fault:
        case SkewKind.STALE:
            return earlier[int(random.integers(0, len(earlier)))][name]
        case SkewKind.UNIT:
            functions: tuple[Callable[[Column], Column], ...] = (
                lambda x: x * 100,
                lambda x: x / 100,
                lambda x: x * 1000,
                lambda x: x * 60,
                lambda x: x * 2.20462262,
                lambda x: -x,
                np.log1p,
                lambda x: x * 1.0837,
                lambda x: (x - np.nanmean(right)) / np.nanstd(right),
                np.sqrt,
            )
            return functions[int(random.integers(0, len(functions)))](right)
        case SkewKind.DEFAULT_FILLED:
            choice = [0.0, -1.0, -999.0, float(np.nanmean(right))] if numbers else [right[0], "unknown"]
            if "flag" in name:
                choice = ["false"]
            return np.full(right.shape, choice[int(random.integers(0, len(choice)))], dtype=right.dtype)
        case SkewKind.TIME_ZONE:
            hours = float(random.choice([-8, -5, 1, 2, 5.5, 9]) if "today" not in name else random.choice([-8, -5, 1, 2, 9]))
            return value(events, events.at, events.time <= events.at[:, None], hours * HOUR)
        case SkewKind.ENCODING_SWAP:
            codes, counts = np.unique(right.astype(str), return_counts=True)
            ordered = codes[np.argsort(-counts)]
            turned = ordered.copy()
            several = min(ordered.size, int(random.integers(2, 4)))
            turned[:several] = np.roll(ordered[:several], 1)
            table = dict(zip(ordered.tolist(), turned.tolist(), strict=True))
            swapped = np.array([table[str(one)] for one in right], dtype=object)
            return swapped.astype(float) if numbers else swapped
        case SkewKind.LATE_ARRIVAL:
            return known
        case SkewKind.PRECISION:
            roundings: tuple[Callable[[Column], Column], ...] = (
                lambda x: np.round(x, 1),
                lambda x: x.astype(np.float16).astype(float),
                lambda x: np.trunc(x * 10) / 10,
                lambda x: np.round(x, 2),
            )
            fine = [one for one in roundings if (np.abs(one(right) - right) > 1e-5 * np.abs(right)).mean() > 0.2]
            return fine[int(random.integers(0, len(fine)))](right) if fine else right.astype(np.float16).astype(float)
        case SkewKind.MISSING:
            return np.full(right.shape, None, dtype=object) if not numbers else np.full(right.shape, np.nan)
        case _:
            return right
