"""The alarm of a whole model: one Shiryaev-Roberts e-detector over every question of every feature, which spends a stated budget.

For each question the evidence is M_t = e_t (M_(t-1) + w_t), with e_t the e-value of the rows since the last look, and w_t the part of the
budget that this look may spend: B dt / T x share of the feature x prior of the question. While rows are normal, M_t - sum of w is a
supermartingale, so the sum of all M has a mean of at most the budget spent, however often one looks and however the features depend on each
other. An alarm is raised when that sum reaches 1; what it used is taken away. So the mean number of false alarms in T is at most B
(Shin, Ramdas, Rinaldo 2024, "E-detectors"; Shiryaev 1963; Roberts 1966).

The trap: a change that stays would raise an alarm again and again. A feature that raised one is *active*: it has no further part in the sum
until its rows have been normal again for some time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_obs.collectors.drift.alarms.alarm import Alarm, RowSpan
from mlops_obs.collectors.drift.alarms.budget import Budget, Ledger
from mlops_obs.collectors.drift.alarms.history import History
from mlops_obs.collectors.drift.alarms.natural import SECTION, Natural
from mlops_obs.collectors.drift.alarms.normal import Normal
from mlops_obs.collectors.drift.alarms.questions import Question, questions_of
from mlops_obs.collectors.drift.alarms.words import kind_and_words
from mlops_obs.collectors.drift.attribution.costs import importances
from mlops_obs.collectors.drift.columns import ColumnKind, Role
from mlops_obs.collectors.drift.partition import Partition
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import Change
from mlops_obs.errors import StateError

Floats = NDArray[np.float64]
Cells = NDArray[np.int64]
_FLOOR, _CEILING = -600.0, 300.0  # nats of one look
_MOST = 1e150  # evidence; times the most of one look it is still a float64
_CALM = 5  # an active feature is normal again after this many times the rows that its alarm took ...
_LEAST_CALM = 500  # ... and at least this many
_TOGETHER = 3  # looks of a block of history
_WORTH_NAMING = 0.02  # of the evidence


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A feature under watch: its cells, and its part of the budget (0: watched, never alarms)."""

    name: str
    partition: Partition
    share: float = 1.0


@dataclass(slots=True)
class _Active:
    last_row: int
    calm: int  # rows without evidence after which it is over


class Detector:
    """Raises alarms on the rows of a model within a budget of false ones.

    Args:
        features: what is watched; shares are relative.
        budget: see `Budget`.
        normal: what counts as normal.
        started: time of the first row (Unix seconds), from which the budget accrues.
        outside: shares of e-values that others compute (labels, embeddings), by name.

    `cells` is the largest number of cells of a feature: counts may be given as an array (features, cells), padded with zeros.
    """

    def __init__(
        self,
        features: Sequence[Watched],
        budget: Budget,
        normal: Normal | None = None,
        *,
        started: float | None = None,
        outside: Mapping[str, float] | None = None,
        segment: str = "",
    ) -> None:
        self.budget, self.segment = budget, segment
        self.features = tuple(features)
        self.names = tuple(one.name for one in features)
        self.cells = max((one.partition.expected.size for one in features), default=1)
        self.ledger = Ledger(budget)
        self.rows = 0
        self._at = started
        self._outside = dict(outside or {})
        given = sum(max(one.share, 0.0) for one in features) + sum(self._outside.values())
        self._questions: list[Question] = []
        owner, prior, self._groups = [], [], []
        by_size: dict[int, list[int]] = {}
        asked = [questions_of(one.name, one.partition, normal or Normal()) for one in features]
        for index, one in enumerate(features):
            by_size.setdefault(one.partition.expected.size, []).append(index)
        for size, members in by_size.items():
            width = max(len(asked[index]) for index in members)
            log_e = np.zeros((len(members), size, width))
            real = np.zeros((len(members), width), dtype=np.bool_)
            for place, index in enumerate(members):
                for column, question in enumerate(asked[index]):
                    log_e[place, :, column] = question.log_e
                    real[place, column] = True
                    owner.append(index)
                    prior.append(max(features[index].share, 0.0) / given * question.prior if given else 0.0)
                    self._questions.append(question)
            self._groups.append((np.array(members), size, log_e, np.flatnonzero(real)))
        self._owner = np.array(owner, dtype=np.int64)
        self._prior: Floats = np.array(prior)
        self._wealth: Floats = np.zeros(len(prior))
        self._armed: Floats = np.ones(len(prior))
        self._beyond = dict.fromkeys(self._outside, 0.0)
        self._beyond_share = {name: share / given for name, share in self._outside.items()} if given else {}
        self._active: dict[str, _Active] = {}
        self.history = History()

    @classmethod
    def of(
        cls,
        reference: ReferenceProfile,
        budget: Budget,
        *,
        importance: Mapping[str, float] | None = None,
        z: float = 2.5,
        tolerance: float = 0.05,
        started: float | None = None,
        features: Sequence[str] | None = None,
        outside: Mapping[str, float] | None = None,
    ) -> Detector:
        """Watch the features and predictions of a reference.

        Args:
            importance: {feature: part of the budget}, any scale; what is not in it gets the average, 0 never alarms. By default what the
                reference knows of its model (section `impact`), else equal parts.
            features: only these.
        """
        natural = Natural.from_bytes(reference.sections[SECTION]) if SECTION in reference.sections else None
        names = [
            one.name
            for one in reference.schema
            if one.kind is not ColumnKind.EMBEDDING and one.role is not Role.LABEL and (features is None or one.name in features)
        ]
        shares = _shares(reference, names) if importance is None else importance
        average = sum(shares.values()) / len(shares) if shares else 1.0
        watched = [Watched(name, reference.partition(name), shares.get(name, average)) for name in names]
        return cls(watched, budget, Normal(z, tolerance, natural), started=started, outside=outside)

    @property
    def evidence(self) -> float:
        """What there is now of the evidence that an alarm needs: 1 is enough."""
        quiet = sum(value for name, value in self._beyond.items() if name not in self._active)
        return float(self._wealth @ self._armed) + quiet

    @property
    def active(self) -> tuple[str, ...]:
        """The features whose change is still there."""
        return tuple(self._active)

    def evidence_by_feature(self) -> dict[str, float]:
        """Return each feature's evidence now, the active ones' too."""
        sums = np.bincount(self._owner, weights=self._wealth, minlength=len(self.names))
        return {**dict(zip(self.names, sums.tolist(), strict=True)), **self._beyond}

    def update(
        self,
        now: float,
        counts: Mapping[str, NDArray[Any]],
        rows: int,
        weights: Mapping[str, float] | None = None,
        outside: Mapping[str, float] | None = None,
    ) -> list[Alarm]:
        """Look at the rows since the last look.

        Args:
            now: Unix seconds; ignored where rows are time.
            counts: by feature, rows by cell (cells,); a feature that is not there says nothing.
            rows: how many they are.
            weights: by feature, how many rows one independent row was counted as (Kish's design effect); 1 by default.
            outside: log e-values of these rows that others computed, by the names given to the constructor.
        """
        table = np.zeros((1, len(self.names), self.cells))
        for place, name in enumerate(self.names):
            if name in counts:
                one = np.asarray(counts[name], dtype=np.float64)
                table[0, place, : one.size] = one / max(1.0, (weights or {}).get(name, 1.0))
        return self._look(table, np.array([rows]), None if self.budget.rows is not None else np.array([now]), outside)

    def update_cells(self, cells: Cells, times: Floats | None = None, step: int = 4) -> list[Alarm]:
        """Look at rows one small batch after the other.

        Args:
            cells: (rows, features) the cell of each value, features in the order of `names`; below 0: says nothing.
            times: (rows,) Unix seconds; None where rows are time.
            step: rows of a batch; an alarm comes at most this much later than row by row.
        """
        rows, width = cells.shape
        if not rows:
            return []
        batches = -(-rows // step)
        place = (np.arange(rows) // step)[:, None] * width + np.arange(width)
        size = self.cells + 1  # the last one is for cells that say nothing
        flat = np.bincount((place * size + np.where(cells < 0, self.cells, cells)).ravel(), minlength=batches * width * size)
        sizes = np.full(batches, step)
        sizes[-1] = rows - step * (batches - 1)
        ends = None if times is None else np.asarray(times, dtype=np.float64)[np.cumsum(sizes) - 1]
        return self._look(flat.reshape(batches, width, size)[:, :, :-1].astype(np.float64), sizes, ends, None)

    def _look(self, counts: Floats, sizes: NDArray[np.int64], times: Floats | None, outside: Mapping[str, float] | None) -> list[Alarm]:
        e_values = np.exp(np.clip(self._log_e(counts), _FLOOR, _CEILING))
        alarms: list[Alarm] = []
        wealth, kept = self._wealth, 0
        for place in range(len(sizes)):
            size = int(sizes[place])
            before = float(self.rows) if times is None else self._at
            self.rows += size
            now = float(self.rows) if times is None else max(float(times[place]), self._at or -np.inf)
            spend = self.budget.weight(now - before if before is not None else 0.0, size)
            self._at = now
            wealth += spend * self._prior
            wealth *= e_values[place]
            np.minimum(wealth, _MOST, out=wealth)
            for name, log_e in (outside or {}).items():
                grown = self._beyond.get(name, 0.0) + spend * self._beyond_share.get(name, 0.0)
                self._beyond[name] = min(_MOST, float(np.exp(np.clip(log_e, _FLOOR, _CEILING))) * grown)
            if self._active:
                self._calm()
            if wealth @ self._armed >= 1 or (self._beyond and self.evidence >= 1):
                self._remember(counts, sizes, times, kept, place + 1)
                kept = place + 1
                while self.evidence >= 1:
                    alarms.append(self._raise(now))
        self._remember(counts, sizes, times, kept, len(sizes))
        return alarms

    def _log_e(self, counts: Floats) -> Floats:
        """Return the evidence (looks, questions) of counts (looks, features, cells)."""
        parts = []
        for members, size, log_e, real in self._groups:
            found = np.matmul(counts[:, members, :size].transpose(1, 0, 2), log_e)  # (features, looks, questions)
            parts.append(found.transpose(1, 0, 2).reshape(len(counts), -1)[:, real])
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(counts), 0))

    def _remember(self, counts: Floats, sizes: NDArray[np.int64], times: Floats | None, first: int, last: int) -> None:
        """Put looks `first` to `last` into the history, a few at a time: its blocks decide how exactly a start can be told."""
        if last <= first:
            return
        row = self.rows - int(sizes[first:last].sum())
        for place in np.split(np.arange(first, last), np.arange(_TOGETHER, last - first, _TOGETHER)):
            rows = int(sizes[place].sum())
            end = float(row + rows) if times is None else float(times[place[-1]])
            start = self.history.blocks[-1].end if self.history.blocks else float(row) if times is None else float(times[place[0]])
            self.history.add(start, end, row, rows, counts[place].sum(axis=0))
            row += rows

    def _raise(self, now: float) -> Alarm:
        """Raise one alarm; what is taken away of the evidence is at least the 1 that it costs."""
        evidence = self.evidence_by_feature()
        evidence = {name: value for name, value in evidence.items() if name not in self._active}
        total = sum(evidence.values())
        ordered = sorted(evidence, key=lambda name: -evidence[name])
        shares = {name: evidence[name] / total for name in ordered if evidence[name] >= _WORTH_NAMING * total}
        alarm = self._alarm(now, ordered[0], total, shares)
        self.ledger.record(now)
        taken = 0.0
        for name in ordered:
            if taken >= 1:
                break
            taken += evidence[name]
            self._forget(name)
        rows = max(_LEAST_CALM, _CALM * (self.rows - alarm.rows.row))
        self._active[alarm.feature] = _Active(self.rows, rows)
        self._arm()
        return alarm

    def _alarm(self, now: float, name: str, total: float, shares: Mapping[str, float]) -> Alarm:
        clock = self.budget.rows is None
        if name in self._outside:
            span, since = RowSpan(self.rows, 0, self.rows), None
            return Alarm(
                now, self.rows, name, Change.CONCEPT, since, span, total, shares, "errors", (0.0, 0.0), 0.0, f"{name}: errors are up"
            )
        index = self.names.index(name)
        mine = np.flatnonzero(self._owner == index)
        best = self._questions[int(mine[np.argmax(self._wealth[mine])])]
        span, since, after = self.history.since(index, self.features[index].partition.expected, clock)
        change, words = kind_and_words(name, self.features[index].partition, best, after)
        return Alarm(
            now, self.rows, name, change, since, span, total, shares, best.name, best.normal, best.mean(after), words, self.segment
        )

    def _forget(self, name: str) -> None:
        if name in self._beyond:
            self._beyond[name] = 0.0
        else:
            self._wealth[self._owner == self.names.index(name)] = 0.0

    def _calm(self) -> None:
        evidence = self.evidence_by_feature()
        for name, one in list(self._active.items()):
            if evidence[name] >= 1:
                one.last_row = self.rows
                self._forget(name)
            elif self.rows - one.last_row >= one.calm:
                del self._active[name]
                self._forget(name)
                self._arm()

    def _arm(self) -> None:
        active = [self.names.index(name) for name in self._active if name in self.names]
        self._armed = np.where(np.isin(self._owner, active), 0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as plain data; it is read back by a detector of the same reference and settings."""
        return {
            "version": 1,
            "shape": self._shape(),
            "rows": self.rows,
            "at": self._at,
            "wealth": self._wealth.tolist(),
            "beyond": dict(self._beyond),
            "ledger": self.ledger.to_json(),
            "active": {name: [one.last_row, one.calm] for name, one in self._active.items()},
            "history": self.history.to_json(),
        }

    def restore(self, state: Any) -> None:
        """Go on where `to_json` stopped.

        Raises:
            StateError: OBS-ALM-003 if the state is damaged, or of another reference; this detector is then as it was.
        """
        try:
            if state["version"] != 1 or state["shape"] != self._shape():
                raise ValueError("it is of another reference or version")
            wealth = np.array(state["wealth"], dtype=np.float64)
            if wealth.shape != self._wealth.shape or not np.all(wealth >= 0):
                raise ValueError("its evidence is not numbers")
            rows, at = int(state["rows"]), None if state["at"] is None else float(state["at"])
            beyond = {name: float(state["beyond"].get(name, 0.0)) for name in self._beyond}
            ledger = Ledger.from_json(self.budget, state["ledger"])
            active = {str(name): _Active(int(last), int(calm)) for name, (last, calm) in state["active"].items()}
            history = History.from_json(state["history"], (len(self.names), self.cells))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError("OBS-ALM-003", f"the state of the alarms cannot be read: {error}", todo="start without it") from error
        self.rows, self._at, self._wealth, self._beyond, self.ledger = rows, at, wealth, beyond, ledger
        self._active, self.history = {name: one for name, one in active.items() if name in (*self.names, *self._outside)}, history
        self._arm()

    def _shape(self) -> list[Any]:
        return [[one.name, one.partition.expected.tolist()] for one in self.features]


def _shares(reference: ReferenceProfile, names: Sequence[str]) -> dict[str, float]:
    found = {name: max(0.0, value) for name, value in importances(reference).items() if name in names}
    return found if any(found.values()) else {}
