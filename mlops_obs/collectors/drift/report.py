"""A comparison as people and programs read it: one plain document, from which JSON, the terminal's table and the HTML page are made.

The traps: NaN and infinity are not JSON, so they become null; names come from the data, so a terminal gets them escaped and cut (a
category may hold a megabyte, or the escape sequence that clears the screen).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlops_obs.collectors.drift.causes import cause_of
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Comparison, FeatureResult, Verdict
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.collectors.drift.statistics.performance import Performance

_LONGEST = 60
_NAMED = 3  # features that the first sentence names


def printable(text: str, longest: int = _LONGEST) -> str:
    """Return `text` for a terminal or a page: control and other invisible characters escaped, cut after `longest` characters."""
    cut = text if len(text) <= longest else text[: longest - 3]
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in cut)
    return shown if cut is text else f"{shown}..."


def ranked(features: Iterable[FeatureResult]) -> list[FeatureResult]:
    """Return the features as a person should read them: drifted ones first, by what they cost, by importance, then by evidence and size."""
    order = {Verdict.DRIFTED: 0, Verdict.INCONCLUSIVE: 1, Verdict.STABLE: 2}

    def key(one: FeatureResult) -> tuple[float, ...]:
        cost = 0.0 if one.cost is None else one.cost.auc if one.cost.money is None else one.cost.money
        evidence = _finite(one.statistics.get("p_value"), 1.0), -_finite(one.statistics.get("psi"))
        return (order[one.verdict], -abs(_finite(cost)), -_finite(one.importance), *evidence)

    return sorted(features, key=key)


def to_plain(
    comparison: Comparison, segments: Sequence[Comparison] = (), performance: tuple[Performance, Performance] | None = None
) -> dict[str, Any]:
    """Return the document of `obs drift score -o json`; every number in it is finite or null.

    Args:
        comparison: all rows.
        segments: the same tables, a segment each (`Comparison.segment` names it); left out of the document if there are none.
        performance: of the reference and of the current rows, estimated from scores; left out if there is none.
    """
    found: dict[str, Any] = {
        "alarm": comparison.alarm or any(one.alarm for one in segments),
        "verdict": comparison.verdict.value,
        "rows": {"reference": comparison.rows_reference, "current": comparison.rows_current},
        "features": [_feature(one) for one in ranked(comparison.features)],
        "joint": {name: _number(value) for name, value in comparison.joint.items()},
        "problems": list(comparison.problems),
    }
    if performance:
        before, now = performance
        for name in ("auc", "accuracy", "brier", "positives"):
            found.setdefault("performance", {})[name] = {
                "reference": _number(getattr(before, name).value),
                "estimated": _number(getattr(now, name).value),
                "low": _number(getattr(now, name).low),
                "high": _number(getattr(now, name).high),
            }
    if segments:
        found["segments"] = [{"segment": one.segment, **to_plain(one)} for one in segments]
    return found


def finite(value: Any) -> Any:
    """Return plain data with NaN and infinities as None, which JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list | tuple) else value


def headline(document: Mapping[str, Any]) -> str:
    """Return the sentence that is read first: what has drifted, of how many, or why nothing can be said."""
    features, rows = document["features"], document["rows"]["current"]
    drifted = [one for one in features if one["alarm"]]
    if drifted:
        named = ", ".join(printable(one["name"], 40) for one in drifted[:_NAMED])
        named += f" and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
        return f"{len(drifted)} of {len(features)} {_columns(len(features))} {'has' if len(drifted) == 1 else 'have'} drifted: {named}"
    if document["alarm"]:
        segments = [one["segment"] for one in document.get("segments", ()) if one["alarm"]]
        if segments:
            return f"drift in {', '.join(printable(one, 40) for one in segments[:_NAMED])} only, not in the rows as a whole"
        return "the columns are distributed as before; how they move together has drifted"
    if not rows:
        return "no rows: nothing was compared"
    open_ones = sum(one["verdict"] == Verdict.INCONCLUSIVE for one in features)
    if open_ones == len(features):
        return f"inconclusive: {rows:,} rows are too few to see a drift of the size that matters"
    rest = f"; {open_ones} {_columns(open_ones)} had too few rows to say" if open_ones else ""
    return f"no drift in {len(features) - open_ones} {_columns(len(features) - open_ones)}{rest}"


def cells_by_name(reference: ReferenceProfile, current: ReferenceProfile, name: str) -> dict[str, Any] | None:
    """Return the `labels` of a column's cells and the rows of either side in them; None for what has no cells (gone, an embedding)."""
    now = current.sketches.get(name)
    if not isinstance(now, NumberSketch | CategorySketch) or not isinstance(reference.sketches.get(name), type(now)):
        return None
    partition = reference.partition(name)
    rows = partition.count(now)  # type: ignore[arg-type]
    return {"labels": list(partition.labels), "reference": partition.expected.tolist(), "current": rows.tolist()}


def _columns(count: int) -> str:
    return "column" if count == 1 else "columns"


def _feature(one: FeatureResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "alarm": one.alarm,
        "kind": one.kind.value if one.kind else None,
        "type": one.column.value,
        "role": one.role.value,
        "verdict": one.verdict.value,
        "statistics": {name: _number(value) for name, value in one.statistics.items()},
        "cause": cause_of(one.name, one.kind)[0].value if one.alarm else None,
        "words": one.words,
        "importance": _number(one.importance),
        "since": {name: _number(value) for name, value in asdict(one.since).items()} if one.since else None,
        "cost": {name: _number(value) for name, value in asdict(one.cost).items()} if one.cost else None,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else int(value) if isinstance(value, int) else float(value)


def _finite(value: float | None, otherwise: float = 0.0) -> float:
    return value if value is not None and math.isfinite(value) else otherwise
