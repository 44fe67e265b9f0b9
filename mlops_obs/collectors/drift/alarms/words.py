"""An alarm's kind and the line that a person reads first, from the cells alone; whoever has the values can say more (a unit's factor)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.questions import Question
from mlops_obs.collectors.drift.partition import CategoryPartition, Partition
from mlops_obs.collectors.drift.results import Change

_MOST = 0.5
_LACKING = {Change.MISSING: "missing", Change.INVALID: "of another type", Change.NEW_CATEGORY: "a category never seen before"}


def kind_and_words(feature: str, partition: Partition, question: Question, after: NDArray[np.float64]) -> tuple[Change, str]:
    """Return the kind of change and a line about it.

    Args:
        question: the one with most evidence.
        after: (cells,) rows since the change.
    """
    rows = float(after.sum())
    now = question.mean(after) if rows else float("nan")
    low, high = question.normal
    change = question.change
    if change in _LACKING:
        return change, f"{feature}: {now:.1%} of rows {_LACKING[change]}, normally {low:.1%} to {high:.1%}"
    if change is Change.FREQUENCIES:
        label = partition.labels[int(np.argmax(question.score))]
        return change, f"{feature}: {label!r} is {now:.1%} of rows, normally {low:.1%} to {high:.1%}"
    if not isinstance(partition, CategoryPartition):
        outside = float(after[0] + after[-3]) / max(rows, 1.0)
        if outside >= _MOST:
            return Change.UNIT, f"{feature}: {outside:.0%} of rows outside of all that the reference has seen; has its unit changed?"
    if change is Change.LOCATION:
        way = "higher" if now > (low + high) / 2 else "lower"
        return change, f"{feature}: values are {way}, by about {abs(now - (low + high) / 2):.2g} standard deviations of the reference"
    if change is Change.SCALE:
        wide = "narrower" if question.name.startswith(("spread x0.5", "spread x0.7")) else "wider"
        return change, f"{feature}: values spread {wide} than in the reference"
    label = partition.labels[int(np.argmax(question.score))]
    return change, f"{feature}: {now:.1%} of rows in {label}, normally {low:.1%} to {high:.1%}"
