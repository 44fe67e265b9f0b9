"""What the stream remembers of one customer, and every feature evaluated from it.

Bounded: events leave once they are older than the longest window, and of everything older only the newest event per type stays.
Late events are put in their place, so the state depends on the set of events and not on their order of arrival.
"""

from __future__ import annotations

import json
import math
from bisect import insort_right
from dataclasses import dataclass, field

from feature_train_serve.config import DAY_MS, LONGEST_WINDOW_DAYS
from feature_train_serve.features.definitions import FEATURES, RATIOS, Feature
from feature_train_serve.features.events import KINDS, Event

_LONGEST_MS = LONGEST_WINDOW_DAYS * DAY_MS
_KINDS = {feature.name: feature.kinds for feature in FEATURES}
_TYPE = tuple(kind[0] for kind in KINDS)

Recent = tuple[int, int, int]  # time (ms), kind, cents
Newest = tuple[int, int, int, float]  # time (ms), kind, cents, score


def _time(entry: Recent) -> int:
    return entry[0]


@dataclass(slots=True)
class CustomerState:
    """Events of the longest window in time order, and the newest event of each type."""

    recent: list[Recent] = field(default_factory=list)
    newest: dict[str, Newest] = field(default_factory=dict)

    def observe(self, event: Event) -> None:
        """Fold one event in; late events are placed where they belong."""
        entry = (event.time, event.kind, event.cents)
        if self.recent and event.time < self.recent[-1][0]:
            insort_right(self.recent, entry, key=_time)
        else:
            self.recent.append(entry)
        horizon = self.recent[-1][0] - _LONGEST_MS
        if self.recent[0][0] <= horizon:
            self.recent = [kept for kept in self.recent if kept[0] > horizon]
        event_type = _TYPE[event.kind]
        known = self.newest.get(event_type)
        if known is None or event.time >= known[0]:
            self.newest[event_type] = (event.time, event.kind, event.cents, event.score)

    def features(self, as_of: int) -> dict[str, float]:
        """Return every feature at `as_of` (ms). An `as_of` before the newest event is read as the time of that event."""
        as_of = max(as_of, self.recent[-1][0]) if self.recent else as_of
        values = {feature.name: self._value(feature, as_of) for feature in FEATURES}
        for ratio in RATIOS:
            divisor = values[ratio.denominator]
            values[ratio.name] = values[ratio.numerator] / divisor if divisor else 0.0
        return values

    def sequence(self, as_of: int, length: int) -> list[Recent]:
        """Return the last `length` events of the longest window before `as_of` (ms), oldest first."""
        return [entry for entry in self.recent if entry[0] > as_of - _LONGEST_MS][-length:]

    def _value(self, feature: Feature, as_of: int) -> float:
        if feature.aggregate in ("sum", "count"):
            start, kinds = as_of - feature.days * DAY_MS, _KINDS[feature.name]
            amounts = [cents for time, kind, cents in self.recent if time > start and kind in kinds]
            return sum(amounts) / 100 if feature.aggregate == "sum" else float(len(amounts))
        newest = self.newest.get(feature.event_type)
        if newest is None:
            return math.nan
        time, kind, cents, score = newest
        return {"last_amount": cents / 100, "last_score": score, "last_kind": float(kind), "age": (as_of - time) / DAY_MS}[
            feature.aggregate
        ]

    def to_text(self) -> str:
        """Write the state as JSON; floats survive exactly."""
        return json.dumps(
            [self.recent, {name: [*value[:3], None if math.isnan(value[3]) else value[3]] for name, value in self.newest.items()}]
        )

    @classmethod
    def from_text(cls, text: str) -> CustomerState:
        """Read what `to_text` wrote."""
        recent, newest = json.loads(text)
        return cls(
            [(time, kind, cents) for time, kind, cents in recent],
            {name: (time, kind, cents, math.nan if score is None else float(score)) for name, (time, kind, cents, score) in newest.items()},
        )
