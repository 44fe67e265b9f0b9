"""How often does each detector cry wolf on *your* data? Measured by resampling the reference, where by construction nothing has drifted.

The rows are split at random: one part is the reference, from the other windows and streams are drawn. Whatever alarms is wrong. The same
windows are then given a change of a known size, and what does not alarm is blind. Beside our detectors stand the rules that common tools
use by default: PSI > 0.2 on the reference's deciles, KS p < 0.05, and the one-sample chi-square that treats the reference as exact.

Where rows are in the order of time the parts are contiguous: rows of one hour resemble each other, and a random split would hide that.

The trap: a rate of 0 in 20 trials is not a rate of 0. Every rate has Wilson's 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.budget import Budget
from mlops_obs.collectors.drift.alarms.detector import Detector
from mlops_obs.collectors.drift.alarms.natural import SECTION, section_from_blocks
from mlops_obs.collectors.drift.columns import MISSING_CODE, Block, Categories, ColumnData, ColumnKind, Role, Schema, rows_of
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.partition import CategoryPartition, cells_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.collectors.drift.statistics.divergences import psi
from mlops_obs.collectors.drift.statistics.ordered import kolmogorov_smirnov, kolmogorov_smirnov_p_value
from mlops_obs.collectors.drift.tails import chi_square_tail

WINDOWS = (100, 500, 2_000)
_Z = 1.96
_PSI_RULE, _P_RULE = 0.2, 0.05
_GOOD_POWER = 0.8
Rows = NDArray[np.int64]
Judge = Callable[[ReferenceProfile, ReferenceProfile], set[str]]


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `trials`, and Wilson's 95 % interval of their rate."""

    hits: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        """The rates that agree with what was seen."""
        if not self.trials:
            return 0.0, 1.0
        p, n = self.hits / self.trials, self.trials
        centre, half = p + _Z * _Z / (2 * n), _Z * sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n))
        return max(0.0, (centre - half) / (1 + _Z * _Z / n)), min(1.0, (centre + half) / (1 + _Z * _Z / n))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        low, high = self.interval
        return {
            "hits": self.hits,
            "trials": self.trials,
            "rate": self.hits / max(self.trials, 1),
            "low": low,
            "high": high,
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured.

    Args:
        rows: rows of the reference that was resampled.
        false_alarms: detector -> rows of a window -> windows without drift in which any column alarmed.
        power: change -> rows of a window -> windows with that change in which our batch comparison named the column.
        stream_rows: rows without drift that were streamed.
        stream_alarms: alarms in them.
        delays: change -> rows until the stream named the column, one number a trial; None: not within the rows that were left.
        budget: of the stream.
        recommendation: what to do with it, a line each.
    """

    rows: int
    false_alarms: Mapping[str, Mapping[int, Rate]]
    power: Mapping[str, Mapping[int, Rate]]
    stream_rows: int
    stream_alarms: int
    delays: Mapping[str, Sequence[int | None]]
    budget: Budget
    recommendation: tuple[str, ...]


def judges() -> dict[str, Judge]:
    """Return our batch comparison and the rules of others, by name; each says which columns alarm."""
    return {
        "obs drift score": lambda reference, current: {one.name for one in compare(reference, current, Settings()).features if one.alarm},
        "PSI > 0.2": _psi_rule,
        "KS p < 0.05": _ks_rule,
        "one-sample chi-square p < 0.05": _chi_square_rule,
    }


def calibrate(
    block: Block,
    schema: Schema,
    rng: np.random.Generator,
    *,
    trials: int = 20,
    windows: Sequence[int] = WINDOWS,
    budget: Budget | None = None,
    by_time: bool = False,
    others: Mapping[str, Callable[[Block, Block], set[str]]] | None = None,
    step: Callable[[], None] = lambda: None,
) -> Calibration:
    """Resample a reference and count.

    Args:
        block: the reference's rows; in the order of time if `by_time`.
        schema: its columns.
        rng: where randomness comes from; the same state gives the same result.
        trials: splits.
        windows: rows of a window; those larger than a third of the rows are left out.
        budget: of the stream; 1 per 100,000 rows by default.
        by_time: keep neighbours together.
        others: detectors that need rows (Evidently), by name.
        step: told after each trial.
    """
    rows = rows_of(block)
    budget = budget or Budget(1.0, rows=100_000)
    sizes = [size for size in windows if size <= rows // 3] or [max(1, rows // 3)]
    ours, seen = judges(), {name: dict.fromkeys(sizes, 0) for name in (*judges(), *(others or {}))}
    changes = list(_changes(schema, block))
    found = {name: dict.fromkeys(sizes, 0) for name, _, _ in changes}
    delays: dict[str, list[int | None]] = {name: [] for name, _, _ in changes}
    stream_rows = stream_alarms = 0
    for _ in range(trials):
        first, second = _split(rows, rng, by_time=by_time)
        before = _take(block, first)
        reference = ReferenceProfile.from_block(before, schema)
        if by_time and (section := section_from_blocks(reference, [before], by_time=True)):
            reference = reference.with_section(SECTION, section)
        for size in sizes:
            window = _take(block, _draw(second, size, rng, by_time=by_time))
            current = ReferenceProfile.from_block(window, schema)
            for name, judge in ours.items():
                seen[name][size] += bool(judge(reference, current))
            for name, other in (others or {}).items():
                seen[name][size] += bool(other(before, window))
            for name, column, change in changes:
                changed = ReferenceProfile.from_block({**window, column: change(window[column], rng)}, schema)
                found[name][size] += column in ours["obs drift score"](reference, changed)
        stream_rows += len(second)
        stream_alarms += len(_stream(reference, budget, _take(block, second)))
        for name, column, change in changes:
            rest = _take(block, second[len(second) // 3 :])
            alarms = _stream(reference, budget, {**rest, column: change(rest[column], rng)})
            delays[name].append(next((row for row, feature in alarms if feature == column), None))
        step()
    false_alarms = {name: {size: Rate(hits, trials) for size, hits in by_size.items()} for name, by_size in seen.items()}
    power = {name: {size: Rate(hits, trials) for size, hits in by_size.items()} for name, by_size in found.items()}
    advice = tuple(_advice(false_alarms, power, delays, stream_rows, stream_alarms, budget))
    return Calibration(rows, false_alarms, power, stream_rows, stream_alarms, delays, budget, advice)


def _stream(reference: ReferenceProfile, budget: Budget, block: Block) -> list[tuple[int, str]]:
    detector = Detector.of(reference, budget)
    cells = np.stack([cells_of(reference.partition(name), block[name]) for name in detector.names], axis=1)
    return [(one.row, one.feature) for one in detector.update_cells(cells)]


def _split(rows: int, rng: np.random.Generator, *, by_time: bool) -> tuple[Rows, Rows]:
    if not by_time:
        order = rng.permutation(rows)
        return np.sort(order[: rows // 2]), order[rows // 2 :]
    start = int(rng.integers(0, rows - rows // 3))
    inside = np.arange(start, start + rows // 3)
    return np.concatenate([np.arange(start), np.arange(start + rows // 3, rows)]), inside


def _draw(rows: Rows, size: int, rng: np.random.Generator, *, by_time: bool) -> Rows:
    start = int(rng.integers(0, max(1, len(rows) - size + 1)))
    return rows[start : start + size] if by_time else rng.choice(rows, min(size, len(rows)), replace=False)


def _take(block: Block, rows: Rows) -> dict[str, ColumnData]:
    return {name: Categories(data.codes[rows], data.names) if isinstance(data, Categories) else data[rows] for name, data in block.items()}


Change = Callable[[ColumnData, np.random.Generator], ColumnData]


def _changes(schema: Schema, block: Block) -> Iterator[tuple[str, str, Change]]:
    """Yield changes of known sizes: (name, column, how). The columns are the first of their kind that vary."""
    number = next((one.name for one in schema if _varies(one.kind, one.role, block.get(one.name))), None)
    if number is not None:
        spread = float(np.nanstd(np.asarray(block[number], dtype=np.float64)))
        yield f"{number} + 0.5 sd", number, lambda data, _: np.asarray(data) + 0.5 * spread
        yield f"{number} x 1.5", number, lambda data, _: np.asarray(data) * 1.5
        yield f"{number} x 100", number, lambda data, _: np.asarray(data) * 100.0
        yield (
            f"{number} 10 % missing",
            number,
            lambda data, rng: np.where(rng.random(len(np.asarray(data))) < 0.1, np.nan, np.asarray(data)),
        )
    name = next((one.name for one in schema if one.kind is ColumnKind.CATEGORY and one.name in block and one.role is not Role.LABEL), None)
    if name is not None:
        yield f"{name} 5 % new", name, lambda data, rng: _some(data, rng, 0.05)


def _varies(kind: ColumnKind, role: Role, data: ColumnData | None) -> bool:
    if kind is not ColumnKind.NUMBER or role is Role.LABEL or data is None or isinstance(data, Categories):
        return False
    present = data[np.isfinite(data)]
    return present.size > 0 and bool(np.unique(present[:1000]).size > 10)


def _some(data: ColumnData, rng: np.random.Generator, share: float) -> ColumnData:
    assert isinstance(data, Categories)  # noqa: S101 - chosen by its kind
    names = [*data.names, "a name that nobody has seen"]
    hit = (rng.random(len(data.codes)) < share) & (data.codes != MISSING_CODE)
    return Categories(np.where(hit, len(names) - 1, data.codes), names)


def _psi_rule(reference: ReferenceProfile, current: ReferenceProfile) -> set[str]:
    return {name for name, (before, now) in _counted(reference, current).items() if psi(before, now) > _PSI_RULE}


def _ks_rule(reference: ReferenceProfile, current: ReferenceProfile) -> set[str]:
    found = set()
    for name, before in reference.sketches.items():
        now = current.sketches[name]
        if isinstance(before, NumberSketch) and isinstance(now, NumberSketch):
            n, m = float(before.counts.sum()), float(now.counts.sum())
            if n and m and kolmogorov_smirnov_p_value(kolmogorov_smirnov(before, now), n, m) < _P_RULE:
                found.add(name)
    return found


def _chi_square_rule(reference: ReferenceProfile, current: ReferenceProfile) -> set[str]:
    found = set()
    for name, (before, now) in _counted(reference, current).items():
        if isinstance(reference.partition(name), CategoryPartition) and before.sum() and now.sum():
            expected = before / before.sum() * now.sum()
            kept = expected > 0
            statistic = float(((now[kept] - expected[kept]) ** 2 / expected[kept]).sum())
            if chi_square_tail(statistic, int(kept.sum()) - 1) < _P_RULE:
                found.add(name)
    return found


def _counted(reference: ReferenceProfile, current: ReferenceProfile) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    names = [one.name for one in reference.schema if one.kind is not ColumnKind.EMBEDDING]
    return {name: (reference.partition(name).expected, reference.partition(name).count(current.sketches[name])) for name in names}  # type: ignore[arg-type]


def _advice(
    false_alarms: Mapping[str, Mapping[int, Rate]],
    power: Mapping[str, Mapping[int, Rate]],
    delays: Mapping[str, Sequence[int | None]],
    stream_rows: int,
    stream_alarms: int,
    budget: Budget,
) -> Iterator[str]:
    worst = {name: max(by_size.values(), key=lambda one: one.hits) for name, by_size in false_alarms.items()}
    loud = [name for name, one in worst.items() if one.interval[0] > _P_RULE]
    if loud:
        yield f"do not page on {', '.join(loud)}: on this table they alarm without drift in more than 5 % of windows"
    sizes = next(iter(power.values()), {})
    good = [size for size in sizes if all(one[size].hits >= _GOOD_POWER * one[size].trials for one in power.values())]
    if good:
        yield f"windows of {good[0]:,} rows see every change that was tried in at least 80 % of trials"
    elif power:
        yield "no window that was tried sees every change; use larger ones, or the stream"
    allowed = budget.weight(0, stream_rows) if budget.rows else 0.0
    yield f"{stream_alarms} false alarms in {stream_rows:,} rows of stream; {allowed:.2g} were allowed by {budget}"
    seen = {name: sorted(one for one in rows if one is not None) for name, rows in delays.items()}
    slow = {name: rows[len(rows) // 2] for name, rows in seen.items() if rows}
    if slow:
        last = max(slow, key=lambda name: slow[name])
        yield f"the stream names every change that it finds within {slow[last]:,} rows (median, {last})"
