"""Looks at tables that come one after the other (every night, in CI), under one budget of false alarms for all of them.

Half of the budget pays for comparing each table on its own, at a level that grows with the time since the last look; the other half for
a detector that adds up evidence over the looks, so that a small change which no single night shows is found in a week. Both halves
together keep the stated mean number of false alarms, however often one looks.

The traps: the same table looked at twice is no new evidence, and a drift that stays is one incident, not one for every night.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlops_obs.collectors.drift.alarms import Alarm, Budget, Detector
from mlops_obs.collectors.drift.compare import Settings, compare
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Comparison
from mlops_obs.collectors.drift.sketches.categories import CategorySketch
from mlops_obs.collectors.drift.sketches.numbers import NumberSketch
from mlops_obs.errors import StateError

_HALF = 0.5
_STRICTEST, _LOOSEST = 1e-12, 0.01  # level of one comparison
_KEPT = 400  # looks in the state


@dataclass(frozen=True, slots=True)
class Look:
    """One look: when (Unix seconds), at which table (content address), at which level, and the features that had drifted."""

    at: float
    digest: str
    rows: int
    alpha: float
    drifted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """All that one look leaves for the next: plain data, see `to_json`."""

    reference: str = ""
    looks: tuple[Look, ...] = ()
    detector: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        looks = [[one.at, one.digest, one.rows, one.alpha, list(one.drifted)] for one in self.looks]
        return {"format": 1, "reference": self.reference, "looks": looks, "detector": dict(self.detector)}

    @classmethod
    def from_json(cls, data: Any) -> State:
        """Read what `to_json` wrote.

        Raises:
            StateError: OBS-DRF-037 if it is something else.
        """
        try:
            if data["format"] != 1:
                raise ValueError("of another format")
            looks = tuple(
                Look(float(at), str(of), int(n), float(level), tuple(map(str, names))) for at, of, n, level, names in data["looks"]
            )
            return cls(str(data["reference"]), looks, dict(data["detector"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError("OBS-DRF-037", f"not the state of earlier looks: {error}", todo="delete it to begin anew") from error


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look says. `new` and `still`: features that have drifted now, and since an earlier look; `repeated`: the last look's table."""

    comparison: Comparison
    alarms: tuple[Alarm, ...]
    new: tuple[str, ...]
    still: tuple[str, ...]
    alpha: float
    used: float
    notes: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def alarm(self) -> bool:
        """Whether anything has drifted."""
        return bool(self.new or self.still) or self.comparison.alarm


def look(
    state: State,
    reference: ReferenceProfile,
    current: ReferenceProfile,
    *,
    budget: Budget,
    now: float,
    every: float,
    settings: Settings | None = None,
) -> tuple[Seen, State]:
    """Compare a table with the reference, in the light of the looks before.

    Args:
        state: what the last look left.
        reference: what is normal.
        current: the table.
        budget: false alarms that all looks together may raise.
        now: Unix seconds.
        every: seconds that the first look is worth, having none before it.
        settings: how to judge; its `alpha` is replaced by the budget's.
    """
    settings = settings or Settings()
    notes: list[str] = []
    last = state.looks[-1] if state.looks else None
    repeated = bool(last and last.digest == current.digest and state.reference == reference.digest)
    half = replace(budget, alarms=budget.alarms * _HALF)
    elapsed = min(now - last.at if last else every, budget.period if budget.rows is None else now)
    alpha = last.alpha if last and repeated else min(max(half.weight(elapsed, current.rows), _STRICTEST), _LOOSEST)
    comparison = compare(reference, current, replace(settings, alpha=alpha))

    detector = _detector(reference, half, settings, now - every)
    if state.detector and state.reference == reference.digest:
        try:
            detector.restore(state.detector)
        except StateError as error:
            notes.append(error.what)
    elif state.reference and state.reference != reference.digest:
        notes.append("the reference is another one than at the last look: evidence is added up anew")
    alarms: list[Alarm] = []
    if current.rows and not repeated:
        seen_alone = {one.name for one in comparison.features if one.alarm}
        alarms = detector.update(now, _counts(detector, reference, current, seen_alone), current.rows)

    drifted = {one.name for one in comparison.features if one.alarm} | set(detector.active)
    earlier = state.looks[:-1] if repeated else state.looks
    before = set(earlier[-1].drifted) if earlier and state.reference == reference.digest else set()
    looks = state.looks
    if not repeated:
        looks = (*looks, Look(now, current.digest, current.rows, alpha, tuple(sorted(drifted))))[-_KEPT:]
    found = tuple(sorted(drifted - before)), tuple(sorted(drifted & before))
    seen = Seen(comparison, tuple(alarms), *found, alpha, used(looks, budget), tuple(notes), repeated)
    if repeated:
        return seen, state
    return seen, State(reference.digest, looks, detector.to_json())


def used(looks: Sequence[Look], budget: Budget) -> float:
    """Return the share of the budget that the incidents of its last period are; an incident begins when a feature drifts that had not.

    True alarms count too: nobody knows better yet.
    """
    spent, rows = 0, 0
    for place in range(len(looks) - 1, -1, -1):
        one = looks[place]
        if (looks[-1].at - one.at if budget.rows is None else rows) >= budget.period:
            break
        spent += bool(set(one.drifted) - set(looks[place - 1].drifted if place else ()))
        rows += one.rows
    return spent / budget.alarms


def _detector(reference: ReferenceProfile, budget: Budget, settings: Settings, started: float) -> Detector:
    names = [name for name in reference.feature_names if settings.features is None or name in settings.features]
    given = settings.importance
    average = sum(given.values()) / len(given) if given else 1.0
    importance = {name: given.get(name, average) for name in names}
    return Detector.of(reference, budget, importance=importance, started=started, features=names)


def _counts(detector: Detector, reference: ReferenceProfile, current: ReferenceProfile, seen_alone: set[str]) -> dict[str, Any]:
    """Rows by cell of the features that this table alone does not show to have drifted: the detector is for those."""
    found = {}
    for name in detector.names:
        if name in seen_alone:
            continue
        sketch = current.sketches.get(name)
        if isinstance(sketch, NumberSketch | CategorySketch) and isinstance(reference.sketches[name], type(sketch)):
            found[name] = reference.partition(name).count(sketch)  # type: ignore[arg-type]
    return found
