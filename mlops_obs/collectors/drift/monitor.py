"""Watches the rows that a model is really given, at the cost of one copy per request.

The request thread leaves its row in a ring (`ring`, `encode`). A background thread folds the ring: it finds the cells of the rows
and gives them to all who count: windows with a verdict (`windows`), the alarms with a budget, and the day's profile.

The trap: the folding thread shares its interpreter with the model. Whatever is done for each row is done for a block of rows in
numpy; whatever is slow is done for a window or a flush, never for a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from mlops_obs.collectors.drift.alarms import Alarm, Detector, Normal
from mlops_obs.collectors.drift.alarms.natural import SECTION as NATURAL
from mlops_obs.collectors.drift.alarms.natural import Natural
from mlops_obs.collectors.drift.columns import Block
from mlops_obs.collectors.drift.encode import Encoder
from mlops_obs.collectors.drift.live_alarms import LiveAlarms
from mlops_obs.collectors.drift.live_checks import LiveChecks
from mlops_obs.collectors.drift.live_profile import LiveProfile
from mlops_obs.collectors.drift.live_vectors import LiveVectors
from mlops_obs.collectors.drift.monitor_readings import alarm_readings, readings_of
from mlops_obs.collectors.drift.native import FeatureHistograms, NativeHistogram
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.collectors.drift.results import FeatureResult, Verdict
from mlops_obs.collectors.drift.sketches import CategorySketch
from mlops_obs.collectors.drift.windows import LOOKS, CellCounter, Celled, Windows
from mlops_obs.errors import SpecError, StateError
from mlops_obs.metric_names import FEATURE, FEATURE_VALUES, REVISION, SERVICE, Metric, Reading

PSI_LIMIT = 0.2  # "significant change" in the credit industry's rule of thumb
ALPHA = 0.001  # chance that a window without drift is called drifted, over all features
SECTION = "monitor"
_MIN_CAPACITY = 4096
_MOST_VALUES = 4_194_304  # in the ring: 32 MiB
_ALARMS_KEPT = 100  # until somebody takes them


class DriftMonitor:
    """Scores windows of `window_rows` rows against the model's reference.

    Args:
        reference: profile of the training table; may have columns that are not watched.
        service: label value.
        revision: label value.
        feature_names: the order of the values in a row; by default (None or empty) the reference's order.
        window_rows: rows in a window.
        capacity: rows the ring holds between two folds; default is enough for 4096 rows or four windows, in at most 32 MiB.
        alpha: chance that a window without drift is called drifted, over all features and looks.
        psi_limit: population stability index that is too small to matter.
        importance: of features, where it is known: 0 never alarms, and the most important ones are exported first.
        detector: raises alarms within a budget of false ones; None: windows and scores only.
        keep_profile: sketch the day's rows, for snapshots; costs about 2 us a row at 50 features, in the background.
        keep_histograms: count whole distributions, for native histograms.

    Raises:
        SpecError: OBS-DRF-004 if a feature is not in the reference, OBS-DRF-005 if `window_rows` is below 8.
    """

    def __init__(
        self,
        reference: ReferenceProfile,
        *,
        service: str,
        revision: str,
        feature_names: Sequence[str] | None = None,
        window_rows: int = 500,
        capacity: int | None = None,
        alpha: float = ALPHA,
        psi_limit: float = PSI_LIMIT,
        importance: Mapping[str, float] | None = None,
        detector: Detector | None = None,
        keep_profile: bool = True,
        keep_histograms: bool = False,
    ) -> None:
        names = tuple(feature_names or reference.feature_names)
        unknown = [name for name in names if name not in reference.sketches]
        if unknown:
            raise SpecError(
                "OBS-DRF-004",
                f"the reference lacks {', '.join(unknown)}",
                todo="profile the table with exactly the features that the model is given",
            )
        if window_rows < LOOKS[0]:
            raise SpecError("OBS-DRF-005", f"window_rows is {window_rows}", todo=f"use at least {LOOKS[0]}, for example 500")
        self.feature_names = names
        self.reference = reference
        self._labels = {SERVICE: service, REVISION: revision}
        self._importance = dict(importance or {})
        by_name = {one.name: one for one in reference.schema}
        columns = [by_name[name] for name in names]
        known = {name: one.names for name, one in reference.sketches.items() if isinstance(one, CategorySketch)}
        capacity = capacity or max(64, min(max(_MIN_CAPACITY, 4 * window_rows), _MOST_VALUES // max(1, len(columns))))
        self.capacity = capacity
        self._ring = Encoder.ring(columns, capacity)
        self._encoder = Encoder(columns, known, self._ring)
        self._counter = CellCounter(reference, columns)
        self._watched = tuple(one.name for one in self._counter.columns)
        self._windows = Windows(self._counter, window_rows, alpha, psi_limit, self._importance)
        self._vectors = LiveVectors(reference, columns, window_rows, alpha, self._importance)
        self._checks = LiveChecks(reference, names, service, revision, window_rows, self._importance)
        self._live = LiveProfile(columns, self._encoder.block)
        self._histograms = FeatureHistograms(columns) if keep_histograms else None
        self._keep_profile = keep_profile
        self._live_alarms: LiveAlarms | None = None
        if detector is not None:
            self.raise_alarms(detector)
        self._alarms: list[Alarm] = []
        self._raised: dict[tuple[str, str], int] = {}  # alarms by feature and kind of change
        self._kinds: dict[str, str] = {}  # of each feature's last alarm
        self._rows = 0
        self._dropped = 0
        self._now = 0.0
        self._readings = self._read()
        self.capture = self._encoder.put  # one call less in the request

    def raise_alarms(self, detector: Detector, tolerance: float = 0.05) -> None:
        """Raise alarms with `detector` from the next fold on; it need not be made before the first request is answered.

        `tolerance` is what it was made with: it is made anew if it turns out that few customers make the traffic.
        """
        content = self.reference.sections.get(NATURAL)
        normal = Normal(tolerance=tolerance, natural=Natural.from_bytes(content) if content is not None else None)
        self._live_alarms = LiveAlarms(self.reference, self._counter, detector, normal)

    def fold(self, now: float = 0.0) -> int:
        """Take captured rows in and judge what is due; returns how many. Call from one thread only.

        `now` (Unix seconds) dates the rows: the day's profile and the alarms need it.
        """
        self._now = now
        drained = self._ring.drain()
        self._dropped += drained.lost
        size = len(drained.rows)
        self._rows += size
        if size:
            block = self._encoder.block(drained)
            celled = self._counter.of(block)
            self._windows.add(celled, now)
            if self._vectors.look(block, dict(zip(self._watched, self._windows.weights, strict=True))):
                self._windows.verdicts[Verdict.DRIFTED] += 1
            self._checks.look(block)
            if self._histograms is not None:
                self._histograms.add(block)
            if self._live_alarms is not None:
                self._detect(self._live_alarms, block, celled)
        if self._keep_profile:
            self._live.add(drained, now)
        self._readings = self._read()
        return size

    def _detect(self, alarms: LiveAlarms, block: Block, rows: Celled) -> None:
        for alarm in alarms.look(self._now, block, rows, self._counter.counts(rows.cells)):
            self._alarms = [*self._alarms[-_ALARMS_KEPT:], alarm]
            self._kinds[alarm.feature] = alarm.change.value
            key = (alarm.feature, alarm.change.value)
            self._raised[key] = self._raised.get(key, 0) + 1

    def read(self) -> list[Reading]:
        """Return the readings as of the last fold. Safe from any thread."""
        return list(self._readings)

    def histograms(self) -> list[tuple[Metric, Mapping[str, str], NativeHistogram]]:
        """Return the native histograms as of the last fold; none unless they are kept. Safe from any thread."""
        if self._histograms is None:
            return []
        return [(FEATURE_VALUES, {**self._labels, FEATURE: name}, one) for name, one in self._histograms.read().items()]

    @property
    def scores(self) -> tuple[FeatureResult, ...]:
        """The features as last scored, in finished windows; empty before there is one."""
        return tuple((self._windows.scores | self._vectors.scores).values())

    @property
    def windows(self) -> Mapping[Verdict, int]:
        """Windows finished, by verdict."""
        return dict(self._windows.verdicts)

    @property
    def failed_expectations(self) -> Mapping[str, str]:
        """What the last window failed of the reference's expectations, in words, by feature."""
        return self._checks.failed

    @property
    def ignored(self) -> tuple[str, ...]:
        """Keys of captured rows that are no column of the model (the first few)."""
        return tuple(sorted(self._encoder.ignored))

    def take_alarms(self) -> list[Alarm]:
        """Return the alarms raised since the last call."""
        alarms, self._alarms = self._alarms, []
        return alarms

    def profile(self) -> ReferenceProfile | None:
        """Return the profile of today's rows, or None before there are any. Call from the folding thread."""
        return self._live.profile()

    def take_finished_days(self) -> list[tuple[str, ReferenceProfile]]:
        """Return the days that ended since the last call and their profiles. Call from the folding thread."""
        return self._live.take_finished()

    def snapshot(self) -> bytes | None:
        """Return what must survive a crash: today's profile, counters and the state of the alarms; None before there are rows.

        Call from the folding thread.
        """
        profile = self._live.profile()
        if profile is None:
            return None
        state = {
            "version": 1,
            "day": self._live.day,
            "reference": self.reference.digest,
            "rows": self._rows,
            "dropped": self._dropped,
            "windows": {verdict.value: count for verdict, count in self._windows.verdicts.items()},
            "raised": [[feature, kind, count] for (feature, kind), count in self._raised.items()],
            "kinds": self._kinds,
            "alarms": self._live_alarms.to_json() if self._live_alarms is not None else None,
        }
        return profile.with_section(SECTION, json.dumps(state, separators=(",", ":")).encode()).to_bytes()

    def restore(self, content: bytes) -> None:
        """Take up what `snapshot` returned. The alarms' state is taken only if the reference is the same.

        Raises:
            SpecError: OBS-DRF-001 or OBS-CAP-001 if it is damaged, OBS-DRF-003 if it has other columns. Nothing is taken then.
        """
        profile = ReferenceProfile.from_bytes(content)
        try:
            state = json.loads(profile.sections[SECTION])
            rows, dropped, day = int(state["rows"]), int(state["dropped"]), str(state["day"])
            windows = {Verdict(name): int(count) for name, count in state["windows"].items()}
            raised = {(str(feature), str(kind)): int(count) for feature, kind, count in state["raised"]}
            kinds = {str(feature): str(kind) for feature, kind in state["kinds"].items()}
            alarms = state["alarms"] if state["reference"] == self.reference.digest else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError("OBS-CAP-001", "a profile, but no snapshot of a replica", todo="remove the file") from error
        self._live.resume(day, ReferenceProfile(profile.schema, profile.sketches))
        if alarms is not None and self._live_alarms is not None:
            with suppress(StateError, KeyError, TypeError, ValueError):  # of another version: its budget starts anew
                self._live_alarms.restore(alarms)
        self._kinds = kinds | self._kinds
        self._raised |= {key: count + self._raised.get(key, 0) for key, count in raised.items()}
        self._rows += rows
        self._dropped += dropped
        for verdict, count in windows.items():
            self._windows.verdicts[verdict] += count
        self._readings = self._read()

    def _read(self) -> tuple[Reading, ...]:
        windows, detector = self._windows, self._live_alarms.detector if self._live_alarms is not None else None
        readings = readings_of(self._labels, self._rows, self._dropped, windows.verdicts, list(self.scores), self._importance)
        if detector is not None:
            active = {name: self._kinds.get(name, "") for name in detector.active}
            readings += alarm_readings(self._labels, active, self._raised, detector.evidence, detector.ledger.used(self._now))
        return (*readings, *self._checks.read())
