"""How many predictions were wrong, once their labels are there, counted in the cohort in which they were made.

A label tells of the past: whether a loan was repaid is known months after the score. Counting errors when the label arrives
would burn today's budget for a model that was replaced last month, and a counter cannot be corrected. So each cohort of
predictions (an hour of them) has gauges of its own, and a late label raises the gauges of its cohort. The trap is the young
cohort: the first labels to arrive are not a fair sample (a default is known before a repayment), so whoever judges waits until
a cohort is mature. Nothing is withheld here, because only the SLO knows the maturity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mlops_obs.errors import SpecError
from mlops_obs.metric_names import COHORT, QUALITY_BAD, QUALITY_EVENTS, QUALITY_START, REVISION, SERVICE, Reading

OTHER = "other"  # the revision of predictions by models that are no longer among the newest
_HOUR, _DAY = 3_600, 86_400


class Cohorts:
    """Labelled predictions by revision and cohort.

    Args:
        service: label value.
        cohort_seconds: length of a cohort, the `cohort` of the SLO.
        keep_seconds: how long a cohort is exported after it ended: the period of the SLO and its maturity, at least.
        revisions: how many models, the ones used last, are told apart; older ones are counted together as `other`.

    Raises:
        SpecError: OBS-QLT-001 if a length is no positive number or there are more than 20,000 cohorts to keep.
    """

    def __init__(self, service: str, cohort_seconds: int = _HOUR, keep_seconds: int = 33 * _DAY, revisions: int = 8) -> None:
        if not (cohort_seconds >= 1 and keep_seconds >= cohort_seconds and revisions >= 1) or keep_seconds / cohort_seconds > 20_000:
            raise SpecError(
                "OBS-QLT-001",
                f"cohorts of {cohort_seconds} s kept for {keep_seconds} s cannot be counted",
                todo="keep 1 to 20,000 cohorts, for example 1h for 33d",
            )
        self._service = service
        self._length = int(cohort_seconds)
        self._keep = keep_seconds
        self._revisions = revisions
        self._counts: dict[tuple[str, int], list[float]] = {}

    def add(self, revision: str, made_at: float, labelled: float, wrong: float) -> None:
        """Count predictions of `revision` made at `made_at` (Unix seconds) of which `labelled` are known and `wrong` were wrong.

        Raises:
            ValueError: a number is negative or none at all, or more were wrong than are known.
        """
        if not (math.isfinite(made_at) and 0 <= wrong <= labelled < math.inf):
            raise ValueError(f"{labelled} labelled and {wrong} wrong predictions at {made_at} are no counts")
        counts = self._counts.setdefault((revision, math.floor(made_at / self._length) * self._length), [0.0, 0.0])
        counts[0] += labelled
        counts[1] += wrong

    def readings(self, now: float) -> list[Reading]:
        """Return the gauges of every cohort that began by `now` (Unix seconds) and is kept, and forget the rest."""
        oldest = now - self._keep - self._length
        self._counts = {key: counts for key, counts in self._counts.items() if key[1] > oldest}
        last: dict[str, int] = {}
        for revision, start in self._counts:
            last[revision] = max(start, last.get(revision, start))
        named = set(sorted(last, key=lambda revision: (-last[revision], revision))[: self._revisions])
        summed: dict[tuple[str, int], list[float]] = {}
        for (revision, start), (labelled, wrong) in self._counts.items():
            if start <= now:
                counts = summed.setdefault((revision if revision in named else OTHER, start), [0.0, 0.0])
                counts[0] += labelled
                counts[1] += wrong
        found = []
        for (revision, start), (labelled, wrong) in sorted(summed.items()):
            labels = {SERVICE: self._service, REVISION: revision, COHORT: str(start)}
            found.append(Reading(QUALITY_EVENTS, labels, labelled))
            found.append(Reading(QUALITY_BAD, labels, wrong))
            found.append(Reading(QUALITY_START, labels, start))
        return found


class QualityMeter:
    """Counts labels as they arrive in a process: `register_collector("quality", meter.read)`.

    Args:
        cohorts: where they are counted.
        clock: returns Unix seconds.
        lock: pass a `threading.RLock()` where several threads deliver labels.
    """

    def __init__(self, cohorts: Cohorts, clock: Callable[[], float], *, lock: AbstractContextManager[Any] | None = None) -> None:
        self._cohorts = cohorts
        self._clock = clock
        self._lock = lock or nullcontext()

    def labelled(self, revision: str, made_at: float, *, wrong: bool) -> None:
        """Count the label of one prediction that `revision` made at `made_at` (Unix seconds)."""
        with self._lock:
            self._cohorts.add(revision, made_at, 1, int(wrong))

    def read(self) -> list[Reading]:
        """Return the gauges of every cohort that is kept."""
        with self._lock:
            return self._cohorts.readings(self._clock())
