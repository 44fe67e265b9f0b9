"""What kind of change is it? One word for machines and one line for the person who is woken.

First what is broken (missing, of another type, never seen), then a change of unit, then what moved: the place, the spread, the tails or
the shape. Several can be true at once; the one that explains most of the difference is named.

The trap: a fifth of the rows missing also moves no decile and every share. Values are therefore compared among the rows that have one.
"""

from __future__ import annotations

from math import log, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.partition import CategoryPartition, NumberPartition, Partition
from mlops_obs.collectors.drift.results import Change
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch, codes_of
from mlops_obs.collectors.drift.statistics.divergences import Counts, psi_by_cell
from mlops_obs.collectors.drift.statistics.ordered import quantiles, representatives
from mlops_obs.collectors.drift.transforms import Sides, unit_change

Sketch = NumberSketch | CategorySketch
_CONSTANT = 0.9  # share of one bucket, for a fill value
_INFINITE = 0.01  # more infinite values than this are a change of themselves
_HEAVY = 0.2  # share of zeros from which they are looked at on their own
_MOVED, _NOISE = 0.05, 1.5  # change of the share of zeros that is a change of itself
_SEEN = 0.3  # new names are the change unless known ones changed more than three times as much


def change_of(reference: Sketch, current: Sketch, partition: Partition, *, origin: float = 0.0) -> Change:
    """Return the kind of change between two sketches of a column that differ; see `describe`."""
    counts = partition.count(current) if _same_kind(reference, current) else np.zeros_like(partition.expected)  # type: ignore[arg-type]
    return describe(reference, current, partition, counts, origin=origin)[0]


def describe(reference: Sketch, current: Sketch, partition: Partition, counts: Counts, *, origin: float = 0.0) -> tuple[Change, str]:
    """Return the kind of change and a line about it.

    Args:
        reference: the column's sketch in the reference.
        current: the column's sketch now; the change is taken for granted.
        partition: the column's cells.
        counts: current rows by cell.
        origin: of the column.
    """
    if not _same_kind(reference, current):
        return Change.TYPE, f"the values are {_kind_words(current)}, the reference's {_kind_words(reference)}"
    broken = _broken(partition, counts)
    if broken is not None:
        return broken
    if isinstance(reference, NumberSketch) and isinstance(current, NumberSketch):
        with np.errstate(over="ignore", invalid="ignore"):  # differences of values near the largest float; no model fits them then
            return _numbers(reference, current, origin)
    assert isinstance(partition, CategoryPartition)  # noqa: S101 - the kinds of sketch and partition go together
    return _names(partition, counts, current if isinstance(current, CategorySketch) else None)


def describe_cells(partition: Partition, counts: Counts) -> tuple[Change, str]:
    """Return the kind of change and a line about it from rows by cell alone: coarser than from sketches, enough for a window."""
    broken = _broken(partition, counts)
    if broken is not None:
        return broken
    if isinstance(partition, CategoryPartition):
        return _names(partition, counts, None)
    return _cells(partition, counts)


def _same_kind(reference: Sketch, current: Sketch) -> bool:
    return isinstance(reference, NumberSketch) == isinstance(current, NumberSketch) or current.rows == current.missing


def _kind_words(sketch: Sketch) -> str:
    return "numbers" if isinstance(sketch, NumberSketch) else "names"


def _broken(partition: Partition, counts: Counts) -> tuple[Change, str] | None:
    """Missing and invalid rows, if they are more of the change than the values are."""
    by_cell = psi_by_cell(partition.expected, counts)
    missing, invalid = float(by_cell[-2]), float(by_cell[-1])
    n, m = max(1.0, float(partition.expected.sum())), max(1.0, float(counts.sum()))
    present = 1 - float(counts[-2:].sum()) / m
    values = (
        float(psi_by_cell(partition.expected[:-2], counts[:-2]).sum()) * present if present > 0 and partition.expected[:-2].any() else 0.0
    )
    if not values <= max(missing, invalid):
        return None
    if missing >= invalid:
        return Change.MISSING, f"missing in {_percent(counts[-2] / m)} of the rows, {_percent(partition.expected[-2] / n)} in the reference"
    words = f"{_percent(counts[-1] / m)} of the values are of another type, {_percent(partition.expected[-1] / n)} in the reference"
    return (Change.TYPE if counts[-1] >= _CONSTANT * (m - counts[-2]) else Change.INVALID), words


def _numbers(reference: NumberSketch, current: NumberSketch, origin: float) -> tuple[Change, str]:
    if not reference.codes.size or not current.codes.size:
        return Change.SHAPE, "the reference has no values" if current.codes.size else "no values"
    infinite, infinite_now = _share_of_infinities(reference), _share_of_infinities(current)
    if infinite_now > infinite + _INFINITE or infinite_now == 1 or infinite == 1:
        return Change.SHAPE, f"{_percent(infinite_now)} of the values are infinite, {_percent(infinite)} in the reference"
    if infinite or infinite_now:
        reference, current = _finite(reference), _finite(current)
    share = float(current.counts.max() / current.counts.sum())
    if share >= _CONSTANT and reference.counts.max() < 0.5 * reference.counts.sum():
        # far from the column's origin a bucket is wide: what looks like one value may be all values divided by a hundred
        if origin and current.minimum < current.maximum and (unit := unit_change(reference, current, origin)) is not None:
            return Change.UNIT, f"every value is {unit.words}: a unit change"
        value = float(quantiles(current, np.array([0.5]))[0]) + origin
        return Change.SHAPE, f"{_percent(share)} of the values are {value:.6g}: filled with a default?"
    zeros, zeros_now = _share_of_zeros(reference, origin), _share_of_zeros(current, origin)
    if zeros >= _HEAVY:  # zero has no unit and does not move: the other values say what happened
        if abs(zeros_now - zeros) > max(_MOVED, _NOISE / sqrt(current.counts.sum())) or zeros == 1 or zeros_now == 1:
            return Change.SHAPE, f"{_percent(zeros_now)} of the values are 0, {_percent(zeros)} in the reference"
        kind, words = _moved_or_converted(_without_zeros(reference, origin), _without_zeros(current, origin), origin)
        return kind, f"{words} (zeros left out)"
    return _moved_or_converted(reference, current, origin)


def _moved_or_converted(reference: NumberSketch, current: NumberSketch, origin: float) -> tuple[Change, str]:
    unit = unit_change(reference, current, origin)
    if unit is not None:
        return Change.UNIT, f"every value is {unit.words}: a unit change"
    return _moved(Sides(reference, current, origin))


def _share_of_zeros(sketch: NumberSketch, origin: float) -> float:
    return float(sketch.counts[sketch.codes == codes_of(np.array([-origin]))].sum() / sketch.counts.sum())


def _share_of_infinities(sketch: NumberSketch) -> float:
    return float(sketch.counts[~np.isfinite(representatives(sketch.codes))].sum() / sketch.counts.sum())


def _finite(sketch: NumberSketch) -> NumberSketch:
    values = representatives(sketch.codes)
    kept = np.isfinite(values)
    return NumberSketch(sketch.codes[kept], sketch.counts[kept], 0, 0, float(values[kept].min()), float(values[kept].max()))


def _without_zeros(sketch: NumberSketch, origin: float) -> NumberSketch:
    kept = sketch.codes != codes_of(np.array([-origin]))
    return NumberSketch(sketch.codes[kept], sketch.counts[kept], 0, 0, sketch.minimum, sketch.maximum)


def _moved(sides: Sides) -> tuple[Change, str]:
    """Place, spread, tails or shape: the simplest model that explains the difference."""
    before, now = sides.quantiles(np.array([0.02, 0.25, 0.5, 0.75, 0.98]))
    spread, spread_now = before[3] - before[1], now[3] - now[1]
    reach, reach_now = before[4] - before[0], now[4] - now[0]
    middle, middle_now = float(before[2]), float(now[2])
    unit = spread if spread > 0 else reach if reach > 0 else max(abs(middle), 1e-12)
    words = f"median {middle:.4g} -> {middle_now:.4g}"
    stretch = float(spread_now / spread) if spread > 0 and spread_now > 0 else nan
    outer = float(reach_now / reach) if reach > 0 and reach_now > 0 else 1.0
    steady = abs(middle_now - middle) < 0.2 * unit and 0.75 <= stretch <= 1.33
    if steady and not 0.8 <= outer / stretch <= 1.25:
        return Change.TAIL, f"the middle is as before, the outer 4 % reach {outer:.3g} times as far"
    shifted = sides.shifted()
    candidates = [(sides.misfit(shifted), Change.LOCATION, f"values moved by {float(shifted(np.zeros(1))[0]):+.4g}, {words}")]
    if np.isfinite(stretch) and abs(log(stretch)) > 0.05:
        spreads = f"the spread is {stretch:.3g} times the reference's"
        candidates.append((sides.misfit(sides.stretched()), Change.SCALE, spreads))
        misfit = sides.misfit(lambda x: (x - middle) * stretch + middle_now)
        kind = Change.LOCATION if abs(middle_now - middle) / unit > abs(log(stretch)) / 2 else Change.SCALE
        candidates.append((misfit + 0.02, kind, f"{words}, {spreads}"))
    factor = sides.ratio()
    if factor is not None and before[0] * before[4] >= 0:  # of values that straddle zero a factor is a spread
        times = f"values are {factor:.3g} times the reference's, {words}"
        candidates.append((sides.misfit(lambda x: x * factor) + 0.001, Change.LOCATION, times))
    misfit, kind, line = min(candidates, key=lambda one: one[0])
    if misfit <= max(sides.noise + 0.02, 0.35 * sides.misfit(lambda x: x)):
        return kind, line
    return Change.SHAPE, f"another shape, {words}"


def _cells(partition: NumberPartition, counts: Counts) -> tuple[Change, str]:
    p, q = _shares(partition.expected[:-2]), _shares(counts[:-2])
    outside = {"below": q[0] - p[0], "above": q[-1] - p[-1]}
    side = max(outside, key=lambda one: outside[one])
    words = f"{_percent(q[0])} of the values are below and {_percent(q[-1])} above all that the reference has"
    if outside[side] >= 0.6:
        return Change.UNIT, f"{words}: a unit change?"
    apart = np.cumsum(q - p)[:-1]  # above zero: smaller values than before
    total = float(np.abs(apart).sum()) or 1.0
    outer = float(np.abs(q - p)[[0, 1, -2, -1]].sum()) / (float(np.abs(q - p).sum()) or 1.0)
    middle = apart.size // 2
    low, high = float(apart[:middle].sum()), float(apart[middle:].sum())
    if abs(float(apart.sum())) >= 0.6 * total:
        return Change.LOCATION, f"values are {'smaller' if apart.sum() > 0 else 'larger'} than the reference's"
    if outer > 0.8:
        return Change.TAIL, "the middle is as before, the tails are not"
    if low * high < 0 and min(abs(low), abs(high)) > 0.2 * total:
        return Change.SCALE, f"the spread is {'larger' if low > 0 else 'smaller'} than the reference's"
    return Change.SHAPE, "another shape"


def _names(partition: CategoryPartition, counts: Counts, current: CategorySketch | None) -> tuple[Change, str]:
    by_cell = psi_by_cell(partition.expected[:-2], counts[:-2])
    p, q = _shares(partition.expected[:-2]), _shares(counts[:-2])
    if q[-1] - p[-1] > 0.005 and by_cell[-1] >= _SEEN * float(by_cell[:-1].sum()):
        return (
            Change.NEW_CATEGORY,
            f"{_percent(q[-1])} of the rows have a name that the reference does not know{_examples(partition, current)}",
        )
    moved = np.argsort(-np.abs(q - p), kind="stable")[:2]
    changes = ", ".join(f"{_quoted(partition.labels[place])} {_percent(p[place])} -> {_percent(q[place])}" for place in moved)
    return Change.FREQUENCIES, f"other shares: {changes}"


def _examples(partition: CategoryPartition, current: CategorySketch | None) -> str:
    if current is None:
        return ""
    unseen = [(-rows, name) for name, rows in current.names.items() if name not in partition.known]
    alike = {known.strip().casefold(): known for known in sorted(partition.known)}
    words = []
    for _, name in sorted(unseen)[:3]:
        known = alike.get(name.strip().casefold())
        words.append(_quoted(name) + (f" (written {_quoted(known)} in the reference)" if known is not None else ""))
    more = f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""
    return f": {', '.join(words)}{more}" if words else ""


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= 40 else f"{name[:37]}...")


def _shares(counts: Counts) -> NDArray[np.float64]:
    found: NDArray[np.float64] = counts / max(1.0, float(counts.sum()))
    return found


def _percent(share: float) -> str:
    return f"{100 * float(share):.3g} %"
