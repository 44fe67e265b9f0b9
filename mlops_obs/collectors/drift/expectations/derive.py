"""Expectations that a reference suggests, with slack, for people to edit.

Ranges come from the 0.1 % and 99.9 % quantiles and are widened by half of their distance; a column that was never negative stays so. A
sentinel of 999999999 in a few training rows therefore lies outside, and its share becomes the share that is allowed outside.

Shares get room for chance (five standard errors and five rows) and at least a tenth of a per cent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.columns import Column, ColumnKind, Role
from mlops_obs.collectors.drift.expectations.document import Expectation, parse_expectations
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.sketches import CategorySketch, NumberSketch, Sketch
from mlops_obs.collectors.drift.sketches.numbers import lower_bound
from mlops_obs.errors import SpecError

SECTION = "expectations"
_LEAST = 0.001
_FEW_VALUES = 100  # a column with more names is watched by drift; a list of them would be renewed every day


def derive(profile: ReferenceProfile) -> dict[str, Expectation]:
    """Return expectations for the features and predictions of a reference; labels are not there when they are checked."""
    return {one.name: _derived(one, profile.sketches[one.name]) for one in profile.schema if one.role is not Role.LABEL}


def section_from_profile(profile: ReferenceProfile) -> bytes:
    """Return the section `expectations` of a reference."""
    plain = {name: one.to_json() for name, one in derive(profile).items()}
    return json.dumps({"expectations": plain}, separators=(",", ":")).encode()


def expectations_of(profile: ReferenceProfile) -> dict[str, Expectation]:
    """Return the expectations that a reference carries, else those that it suggests.

    Raises:
        SpecError: OBS-EXP-001 or OBS-EXP-002 if its section is damaged.
    """
    content = profile.sections.get(SECTION)
    if content is None:
        return derive(profile)
    try:
        return parse_expectations(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise SpecError("OBS-EXP-001", f"the reference's section {SECTION} is damaged", todo="write the reference again") from error


def _derived(column: Column, sketch: Sketch) -> Expectation:
    found: dict[str, Any] = {"type": column.kind.value}
    if isinstance(sketch, CategorySketch | NumberSketch) and column.kind is not ColumnKind.EMBEDDING:
        rows = max(1, sketch.rows)
        found |= {"missing": _room(sketch.missing, rows), "invalid": _room(sketch.invalid, rows)}
        if isinstance(sketch, CategorySketch):
            found |= _names(sketch)
        elif column.kind is not ColumnKind.TIMESTAMP:  # time goes on: tomorrow is outside of any range of today
            found |= _numbers(sketch, column.origin)
    return Expectation.model_validate(found)


def _names(sketch: CategorySketch) -> dict[str, Any]:
    names = sorted(sketch.names, key=lambda name: (-sketch.names[name], name))
    if sketch.level or not 0 < len(names) <= _FEW_VALUES:
        return {}
    return {"values": names, "others": _room(0, max(1, sketch.rows))}


def _numbers(sketch: NumberSketch, origin: float) -> dict[str, Any]:
    if not sketch.counts.sum():
        return {}
    low, least, middle, most, high = (_quantile(sketch, share) + origin for share in (0.001, 0.25, 0.5, 0.75, 0.999))
    if not math.isfinite(low) or not math.isfinite(high):
        return {}  # more than one in a thousand is infinite: there is no range
    spread = (high - low) / 2 or abs(middle) / 2 or 1.0
    bottom = low - spread if sketch.minimum < 0 else max(0.0, low - spread)
    top = high + spread if sketch.maximum > 0 else min(0.0, high + spread)
    bounds = (_round(bottom, math.floor), _round(top, math.ceil))
    starts = lower_bound(sketch.codes) + origin
    outside = int(sketch.counts[(starts < bounds[0]) | (starts > bounds[1])].sum())
    middle_half = (_round(least, math.floor), _round(most, math.ceil))
    return {"range": bounds, "outside": _room(outside, sketch.rows), "median": middle_half}


def _room(count: int, rows: int) -> float:
    share = count / rows
    bound = max(_LEAST, share + 5 * math.sqrt(share * (1 - share) / rows) + 5 / rows)
    return min(1.0, _round(bound, math.ceil))


def _quantile(sketch: NumberSketch, share: float) -> float:
    """The value at a share of the sketched numbers, at the near border of its bucket, less the origin."""
    total = np.cumsum(sketch.counts)
    at = int(np.searchsorted(total, share * total[-1]))
    return float(lower_bound(sketch.codes[at : at + 1])[0])


def _round(value: float, toward: Callable[[float], int]) -> float:
    """Round to two digits, outwards."""
    if not value or not math.isfinite(value):
        return value
    scale = 10.0 ** (1 - math.floor(math.log10(abs(value))))
    exact = value * scale
    return float(f"{toward(round(exact, 9)) / scale:.6g}")
