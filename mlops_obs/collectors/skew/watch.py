"""Watches the features of a service on all sides and names what differs.

    watch = SkewWatch("credit-risk", ["income", "channel"])
    watch.served(record); watch.recomputed(offline)      # in any order
    watch.findings()                                     # what differs now, and how
    telemetry.register_collector("skew", watch.read)

The trap: a difference that is named too early is named wrongly, and one that is named by eye pages on the few requests whose events
came late. So a share of differing pairs is tolerated, and a finding needs evidence beyond it, with a stated number of false findings.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlops_obs.collectors.skew.classify import Explanation, explain
from mlops_obs.collectors.skew.evidence import Detector, onset
from mlops_obs.collectors.skew.join import Joined, Joiner
from mlops_obs.collectors.skew.kinds import Between, Finding, SkewKind
from mlops_obs.collectors.skew.pairs import Pair, same, same_value, table_of
from mlops_obs.collectors.skew.records import Recomputed, Served, Values, value_of
from mlops_obs.errors import SpecError
from mlops_obs.metric_names import BETWEEN, FEATURE, KIND, REVISION, SERVICE, SIDE, SKEW_NAMED, SKEW_PAIRS, SKEW_UNJOINED, Reading

_KEPT = 2_000  # distinct pairs kept of a feature
_REMEMBERED = 20_000  # pairs remembered to tell repeats
_RECENT = 200  # pairs whose equality ends a finding
_REVISIONS = 8
_MANY = "other revisions"


@dataclass(frozen=True, slots=True)
class Settings:
    """Args:
        tolerated: share of pairs that may differ without a word, in (0, 1): events that come late, replays.
        false_findings: mean number of features that may be named wrongly as differing in every `pairs` requests.
        pairs: see `false_findings`.

    Raises:
        SpecError: OBS-SKW-004 if one of them is out of range.
    """

    tolerated: float = 0.01
    false_findings: float = 0.01
    pairs: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.tolerated < 0.5 or not 0 < self.false_findings <= 10 or self.pairs < 1:
            raise SpecError(
                "OBS-SKW-004",
                f"tolerated {self.tolerated}, false findings {self.false_findings} in {self.pairs} pairs",
                todo="tolerate a share above 0 and below 0.5, and give a small positive number of false findings",
            )


@dataclass(slots=True)
class _Column:
    """One feature between two sides of one revision."""

    detector: Detector
    pairs: deque[Pair] = field(default_factory=lambda: deque(maxlen=_KEPT))
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=_RECENT))
    repeats: OrderedDict[Any, None] = field(default_factory=OrderedDict)
    counts: dict[SkewKind, int] = field(default_factory=lambda: {SkewKind.EQUAL: 0})
    unsorted: int = 0  # differing requests since the last look; their kind is told at the next one
    differs: bool = False
    finding: Finding | None = None
    looked: int = -1


class SkewWatch:
    """See the module. Not thread-safe without `lock`.

    Args:
        service: label value.
        features: the features to compare, a bounded number; others are ignored. Empty: those of the first joined request.
        settings: what is tolerated.
        joiner: how long one side waits for the other.
        lock: pass a `threading.RLock()` where several threads feed it.
    """

    def __init__(
        self,
        service: str,
        features: Sequence[str] = (),
        settings: Settings | None = None,
        *,
        joiner: Joiner | None = None,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._service = service
        self._features = tuple(dict.fromkeys(features))
        self._settings = settings or Settings()
        self._joiner = joiner or Joiner()
        self._lock = lock or nullcontext()
        self._columns: dict[tuple[str, str, Between], _Column] = {}
        self._revisions: list[str] = []
        self.joined = 0

    def served(self, record: Served) -> None:
        """Take one served request."""
        with self._lock:
            self._compare_inputs(record)
            self._take(self._joiner.served(record))

    def recomputed(self, offline: Recomputed) -> None:
        """Take one offline recomputation."""
        with self._lock:
            self._take(self._joiner.recomputed(offline))

    def close(self) -> None:
        """Give up what still waits for its other side."""
        with self._lock:
            self._joiner.close()

    @property
    def given_up(self) -> dict[str, int]:
        """Requests of which only one side was seen, by that side."""
        return dict(self._joiner.given_up)

    def findings(self) -> list[Finding]:
        """Return what differs now, in the order of the features, upstream pair of sides first."""
        with self._lock:
            return [finding for key, column in self._columns.items() if (finding := self._look(key, column)) is not None]

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return how many requests were compared: {feature: {between: {kind: requests}}}, all revisions together."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        with self._lock:
            for key, column in self._columns.items():
                self._look(key, column)
                of = found.setdefault(key[1], {}).setdefault(key[2].value, {})
                for kind, count in column.counts.items():
                    of[kind.value] = of.get(kind.value, 0) + count
        return found

    def read(self) -> list[Reading]:
        """Return the readings; what differs is named anew if there are new pairs."""
        with self._lock:
            readings = []
            for key, column in self._columns.items():
                finding = self._look(key, column)
                revision, feature, between = key
                labels = {SERVICE: self._service, REVISION: revision, FEATURE: feature, BETWEEN: between.value}
                readings += [Reading(SKEW_PAIRS, {**labels, KIND: kind.value}, count) for kind, count in column.counts.items()]
                if finding is not None:
                    readings.append(Reading(SKEW_NAMED, {**labels, KIND: finding.kind.value}, 1.0))
            lost = self._joiner.given_up.items()
            return readings + [Reading(SKEW_UNJOINED, {SERVICE: self._service, SIDE: side}, count) for side, count in lost]

    def _compare_inputs(self, record: Served) -> None:
        """Online and input need no offline side: they are compared at once."""
        if record.online and record.inputs:
            # an older online value of the entity says nothing here: both were read in the same request
            self._compare(record, Between.ONLINE_INPUT, record.online, record.inputs, lambda _feature: ((), ()))

    def _take(self, joined: Joined | None) -> None:
        if joined is None:
            return
        self.joined += 1
        record, offline = joined.served, joined.offline

        def history(feature: str) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            earlier = tuple(value_of(values[feature]) for values in offline.earlier if feature in values)
            known = offline.known
            return earlier, (value_of(known[feature]),) if known is not None and feature in known else ()

        if record.online:
            self._compare(record, Between.OFFLINE_ONLINE, offline.values, record.online, history)
        elif record.inputs:
            self._compare(record, Between.OFFLINE_INPUT, offline.values, record.inputs, history)

    def _compare(
        self,
        record: Served,
        between: Between,
        left: Values,
        right: Values,
        history: Callable[[str], tuple[tuple[Any, ...], tuple[Any, ...]]],
    ) -> None:
        if not self._features:
            self._features = tuple(left)
        revision = self._revision(record.revision)
        for feature in self._features:
            if feature not in left or feature not in right:  # not logged; what is logged as nothing is None
                continue
            one, other = value_of(left[feature]), value_of(right[feature])
            column = self._column(revision, feature, between)
            equal = same_value(one, other)
            if equal:
                column.counts[SkewKind.EQUAL] += 1
            else:
                column.unsorted += 1
            if _seen(column.repeats, (record.entity or record.request_id, one, other)):
                continue
            earlier, known = history(feature)
            age = record.ages.get(feature, float("nan"))
            column.pairs.append(Pair(one, other, record.time, record.entity, earlier, known, age))
            column.recent.append(not equal)
            column.differs = column.detector.add(not equal) or column.differs
            column.looked = -1

    def _column(self, revision: str, feature: str, between: Between) -> _Column:
        key = (revision, feature, between)
        if key not in self._columns:
            streams = 2 * max(1, len(self._features))
            weight = self._settings.false_findings / (self._settings.pairs * streams)
            self._columns[key] = _Column(Detector(self._settings.tolerated, weight))
        return self._columns[key]

    def _revision(self, name: str) -> str:
        if name not in self._revisions:
            if len(self._revisions) >= _REVISIONS:
                return _MANY
            self._revisions.append(name)
        return name

    def _look(self, key: tuple[str, str, Between], column: _Column) -> Finding | None:
        if column.differs and len(column.recent) == _RECENT and sum(column.recent) <= self._settings.tolerated * _RECENT:
            column.differs, column.finding = False, None
            column.detector.reset()
        if column.differs and column.looked < 0:
            column.finding = _finding(key, column.pairs, self._settings.tolerated)
            column.looked = len(column.pairs)
        if column.unsorted:
            kind = column.finding.kind if column.differs and column.finding else SkewKind.OTHER
            column.counts[kind] = column.counts.get(kind, 0) + column.unsorted
            column.unsorted = 0
        return column.finding if column.differs else None


def _seen(repeats: OrderedDict[Any, None], key: Any) -> bool:
    if key in repeats:
        repeats.move_to_end(key)
        return True
    repeats[key] = None
    if len(repeats) > _REMEMBERED:
        repeats.popitem(last=False)
    return False


def _finding(key: tuple[str, str, Between], pairs: Iterable[Pair], tolerated: float) -> Finding:
    revision, feature, between = key
    table = table_of(list(pairs))
    start = onset(~same(table.left, table.right), tolerated)
    table = table.tail(start)
    differs = ~same(table.left, table.right)
    found = explain(table, differs)
    left, right = between.sides
    formula = found.formula.format(left=left, right=right) if found.formula else ""
    count, rows = int(differs.sum()), int(differs.size)
    words = _words(feature, found, formula, left, right, count, rows)
    since = float(table.time[differs].min()) if count else float("nan")
    return Finding(
        feature, between, found.kind, formula, words, rows, count, found.explained, since, found.odds / float(np.log(10)), revision
    )


def _words(feature: str, found: Explanation, formula: str, left: str, right: str, count: int, rows: int) -> str:
    share = f"{count} of {rows} pairs"
    if found.kind is SkewKind.OTHER and not formula:
        return f"{feature}: {right} differs from {left} in {share}; no single transformation explains it"
    note = f" ({found.note})" if found.note else ""
    rest = "" if found.explained > 0.995 else f"; explains {found.explained:.0%} of them"
    return f"{feature}: {formula}{note}, {found.kind.value.replace('_', ' ')}, in {share}{rest}"
