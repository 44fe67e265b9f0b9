"""The same features over all history at once: vectorised, one Ray Data task per partition of customers, no shuffle.

Point in time: a row is (customer, as_of) and sees only events with event_time <= as_of; its label sees only events after it.
The trap: prefix sums over a sorted column make it easy to reach one row too far, into the future or into the next customer. Both
borders are found by one binary search on a key of customer and time, and tests compare them with a naive fold event by event.
"""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_train_serve.config import DAY_MS, HORIZON_DAYS, LONGEST_WINDOW_DAYS, SEQUENCE_LENGTH
from feature_train_serve.features.definitions import FEATURE_NAMES, FEATURES, RATIOS, Feature
from feature_train_serve.features.events import CODES, kinds_of
from mlops_obs.errors import PlatformError, SpecError

MISSED = CODES["repayment", "missed"]
_STEP_DAYS, _WARM_UP_DAYS, _MOST_TRAIN_SNAPSHOTS = 30, 60, 4
_RECENT_HOURS = 6
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Invalid|Exit|Interrupt)\b.*")
_LABELLED = ("train", "test")


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The moments (ms) at which customers are looked at: `train` to learn, `test` to judge, `live` (the end, no labels yet).

    `recent` are the hours of the last week: each customer at one of them, so that it is known how features move with the clock.
    """

    train: tuple[int, ...]
    test: int
    live: int
    recent: tuple[int, ...] = ()


def snapshots(first_ms: int, last_ms: int) -> Snapshots:
    """Place the snapshots in the history: labels of the test slice end with the data, labels of the train slices before the test slice.

    Raises SpecError OBS-DATA-007 if the history is too short for one train snapshot.
    """
    horizon, step = HORIZON_DAYS * DAY_MS, _STEP_DAYS * DAY_MS
    test = last_ms - horizon
    train = [test - horizon - number * step for number in range(_MOST_TRAIN_SNAPSHOTS)]
    train = [moment for moment in train if moment >= first_ms + _WARM_UP_DAYS * DAY_MS]
    if not train:
        needed, found = 2 * HORIZON_DAYS + _WARM_UP_DAYS, (last_ms - first_ms) / DAY_MS
        raise SpecError("OBS-DATA-007", f"the events span {found:.0f} days", todo=f"give at least {needed} days, so that labels can mature")
    recent = tuple(last_ms - number * _RECENT_HOURS * DAY_MS // 24 for number in reversed(range(7 * 24 // _RECENT_HOURS)))
    return Snapshots(tuple(sorted(train)), test, last_ms, recent)


def build_training_set(partitions: Sequence[Path], moments: Snapshots, out: Path) -> int:
    """Evaluate all features on Ray Data into the Parquet folder `out` and return the number of rows. Ray must be initialised.

    Raises PlatformError OBS-FEAT-001 if the job fails; then `out` is as it was before.
    """
    import ray
    import ray.data
    import ray.exceptions

    ray.data.DataContext.get_current().enable_progress_bars = False
    temporary = out.with_name(f".{out.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        paths = ray.data.from_items([{"path": str(path)} for path in partitions], override_num_blocks=len(partitions))
        paths.map_batches(_evaluate, batch_size=1, batch_format="pyarrow", fn_kwargs={"moments": moments}).write_parquet(str(temporary))
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if _EXCEPTION.match(line.strip())]
        cause = (lines or [type(error).__name__])[-1]  # Ray's advice on retries stands below the exception
        raise PlatformError("OBS-FEAT-001", f"the feature job failed: {cause}", todo="read Ray's worker log", where=str(out)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return int(sum(pq.read_metadata(path).num_rows for path in out.glob("*.parquet")))


def _evaluate(batch: pa.Table, moments: Snapshots) -> pa.Table:
    return pa.concat_tables([evaluate(pq.read_table(path), moments) for path in batch["path"].to_pylist()])


def evaluate(events: pa.Table, moments: Snapshots) -> pa.Table:
    """Return one row per customer and snapshot: customer_id, as_of, split, label, every feature, and the newest events as lists."""
    history = History(events)
    parts = [(moment, "train") for moment in moments.train] + [(moments.test, "test"), (moments.live, "live")]
    parts += [(moment, "recent") for moment in moments.recent]
    turn = np.array([zlib.crc32(f"recent {name}".encode()) % max(1, len(moments.recent)) for name in history.names])
    tables = []
    for place, (as_of, split) in enumerate(parts):
        known = np.flatnonzero(history.first_time <= as_of)
        if split == "recent":
            known = known[turn[known] == len(parts) - 1 - place]
            if not known.size:
                continue
        moment = np.full(known.size, as_of, dtype=np.int64)
        label = (
            history.any_in(known, moment, MISSED, HORIZON_DAYS).astype(np.float64)
            if split in ("train", "test")
            else np.full(known.size, np.nan)
        )
        columns: dict[str, Any] = {
            "customer_id": history.names[known],
            "as_of": moment,
            "split": np.full(known.size, split, dtype=object),
            "label": label,
            **history.features(known, moment),
            **history.sequences(known, moment),
        }
        tables.append(pa.table({name: pa.array(list(column) if column.ndim == 2 else column) for name, column in columns.items()}))
    return pa.concat_tables(tables)


class History:
    """Events of some customers, sorted by customer and time, ready for binary search."""

    def __init__(self, events: pa.Table) -> None:
        dictionary = events["customer_id"].combine_chunks().dictionary_encode()
        self.names = np.asarray(dictionary.dictionary.to_pylist(), dtype=object)
        customer = dictionary.indices.to_numpy().astype(np.int64)
        time = events["event_time"].to_numpy()
        order = np.lexsort((events["event_id"].to_numpy(), time, customer))
        self._zero = int(time.min())
        self._stride = int(time.max()) - self._zero + 2
        self.time = time[order]
        self.kind = kinds_of(events)[order]
        self.cents = events["amount_cents"].to_numpy()[order]
        self.score = events["score"].to_numpy()[order]  # null becomes NaN
        self._key = customer[order] * self._stride + (self.time - self._zero)
        self.first_time = self.time[np.searchsorted(self._key, np.arange(self.names.size) * self._stride)]

    def features(self, customer: np.ndarray, as_of: np.ndarray) -> dict[str, np.ndarray]:
        """Return every feature of each (customer index, as_of in ms) as float64."""
        values = {feature.name: self._value(feature, customer, as_of) for feature in FEATURES}
        for ratio in RATIOS:
            divisor = values[ratio.denominator]
            values[ratio.name] = np.divide(values[ratio.numerator], divisor, out=np.zeros(divisor.size), where=divisor != 0)
        return {name: values[name] for name in FEATURE_NAMES}

    def sequences(self, customer: np.ndarray, as_of: np.ndarray, length: int = SEQUENCE_LENGTH) -> dict[str, np.ndarray]:
        """Return the newest events, oldest first, as (n, length) int64: kind (-1 pads on the left), cents, and age in ms."""
        rows = np.arange(self.time.size)
        start = self._border(rows, customer, as_of - LONGEST_WINDOW_DAYS * DAY_MS)
        end = self._border(rows, customer, as_of)
        index = end[:, None] - np.arange(length, 0, -1)[None, :]
        there = index >= start[:, None]
        index = np.where(there, index, 0)
        return {
            "event_kind": np.where(there, self.kind[index], -1),
            "event_cents": np.where(there, self.cents[index], 0),
            "event_age_ms": np.where(there, as_of[:, None] - self.time[index], 0),
        }

    def any_in(self, customer: np.ndarray, after: np.ndarray, kind: int, days: int) -> np.ndarray:
        """Return whether an event of `kind` falls in (after, after + days]."""
        rows = np.flatnonzero(self.kind == kind)
        return self._border(rows, customer, after + days * DAY_MS) > self._border(rows, customer, after)

    def next_of(self, customer: np.ndarray, after: np.ndarray, kind: int) -> np.ndarray:
        """Return the time (ms) of each customer's first event of `kind` after the moment; the largest int64 where there is none."""
        rows = np.flatnonzero(self.kind == kind)
        place = self._border(rows, customer, after)
        end = self._border(rows, customer, np.full(customer.size, self._zero + self._stride))
        found = np.full(customer.size, np.iinfo(np.int64).max, dtype=np.int64)
        found[place < end] = self.time[rows[place[place < end]]]
        return found

    def _border(self, rows: np.ndarray, customer: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """How many of `rows` belong to earlier customers, or to this one and are not after `moment`."""
        offset = np.clip(moment - self._zero, -1, self._stride - 2)
        border: np.ndarray = np.searchsorted(self._key[rows], customer * self._stride + offset, side="right")
        return border

    def _value(self, feature: Feature, customer: np.ndarray, as_of: np.ndarray) -> np.ndarray:
        rows = np.flatnonzero(np.isin(self.kind, list(feature.kinds)))
        end = self._border(rows, customer, as_of)
        if feature.aggregate in ("sum", "count"):
            start = self._border(rows, customer, as_of - feature.days * DAY_MS)
            if feature.aggregate == "count":
                return (end - start).astype(np.float64)
            prefix = np.concatenate([[0], np.cumsum(self.cents[rows])])
            return (prefix[end] - prefix[start]) / 100
        there = end > self._border(rows, customer, np.full(customer.size, self._zero - 1))
        newest = rows[np.where(there, end - 1, 0)] if rows.size else np.zeros(customer.size, dtype=np.int64)
        value = {
            "last_amount": lambda: self.cents[newest] / 100,
            "last_score": lambda: self.score[newest],
            "last_kind": lambda: self.kind[newest].astype(np.float64),
            "age": lambda: (as_of - self.time[newest]) / DAY_MS,
        }[feature.aggregate]()
        return np.where(there, value, np.nan)
