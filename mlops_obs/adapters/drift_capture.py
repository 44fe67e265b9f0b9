"""The drift part of a telemetry handle: a monitor, the thread that folds it, and what it keeps on disk.

Environment:

    MLOPS_OBS_STATE_DIR       folder for snapshots, so that a replica that was killed goes on where it was; unset: none are kept
    MLOPS_OBS_STATE_SECONDS   between two snapshots (default 30): what a crash may lose
    MLOPS_OBS_DRIFT_BUDGET    false alarms that are tolerated, for example "1 per 90d" (the default); "off": no alarms, scores only
    MLOPS_OBS_DRIFT_SPEC      drift document (YAML) that says the budget, importances and what is tolerated
    MLOPS_OBS_NATIVE_HISTOGRAMS   1: expose every feature's distribution as a native histogram, to a Prometheus that asks for them

Handles with the same labels and reference share one monitor: model code calls `instrument` wherever it likes, and rows captured
through any of them must count. The trap: files may not be touched before the process is known to live on. A forked child that
becomes another program a moment later must not take a slot, so that is done in the first fold.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_obs.adapters.drift_snapshots import FLUSH_SECONDS, Snapshots, clock
from mlops_obs.adapters.telemetry_process import Process
from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.attribution.impact import impact_of
from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import ObsError

if TYPE_CHECKING:
    from mlops_obs.collectors.drift.alarms.document import DriftDocument

_log = logging.getLogger("mlops_obs")
_NAME = "drift"
MOST_ALARMED = 1_000  # features; the detector's questions cost memory and a fold's time
_TOLERANCE = 0.05  # a shift by this many standard deviations is no news

Owner = tuple[str, str, str]


def capture_of(process: Process, owner: Owner, reference: bytes, feature_names: tuple[str, ...], drop: Callable[[], None]) -> DriftCapture:
    """Return what takes rows for the drift monitor of `owner` (service, revision, stage); starts it at the first call.

    Raises:
        ObsError: the reference cannot be read or lacks a feature.
    """
    key = (_NAME, owner)
    shared = process.shared.get(key)
    if isinstance(shared, DriftCapture) and shared.same(reference, feature_names):
        return shared
    live = DriftCapture(process, owner, reference, feature_names, drop)
    process.shared[key] = live
    process.metrics.register(_NAME, owner, live.monitor.read)
    if _native_histograms():
        process.metrics.register_native(key, live.monitor.histograms)
    process.add_fold(key, live.fold)
    process.add_close(key, live.close)
    process.add_after_fork(key, live.abandon)
    return live


class DriftCapture:
    """One monitor of this process. `rows(any)` takes rows in a request, `table(any)` takes many, where time is no matter."""

    def __init__(self, process: Process, owner: Owner, reference: bytes, feature_names: tuple[str, ...], drop: Callable[[], None]) -> None:
        service, revision, _ = owner
        profile = ReferenceProfile.from_bytes(reference)
        self._folder = os.environ.get("MLOPS_OBS_STATE_DIR") or ""
        names = feature_names or profile.feature_names
        document = _document(os.environ.get("MLOPS_OBS_DRIFT_SPEC") or "")
        self._importance = (document.importance if document else None) or _importance(profile, names)
        self._document = document
        self.monitor = DriftMonitor(
            profile,
            service=service,
            revision=revision,
            feature_names=names,
            importance=self._importance,
            keep_profile=bool(self._folder),
            keep_histograms=_native_histograms(),
        )
        self.rows: Callable[[Any], None] = self.monitor.capture
        self._folding = threading.Lock()  # the background thread and a job that gives a table
        self._arguments = (reference, feature_names)
        self._process, self._owner, self._drop = process, owner, drop
        self._snapshots: Snapshots | None = None
        self._first = True
        self._warned = False

    def same(self, reference: bytes, feature_names: tuple[str, ...]) -> bool:
        """Whether this monitor was made with these arguments."""
        return self._arguments == (reference, feature_names)

    def table(self, rows: Any) -> None:
        """Take a table of any form and size, every row of it: for jobs, where nobody waits for an answer.

        Raises:
            ValueError: as `Encoder.put`.
        """
        for part in slices(rows, self.monitor.capacity // 2):
            self.rows(part)
            self.fold()
        with self._folding:  # a worker of a job may be killed as soon as it has handed its block on
            self._flush(force=True)

    def fold(self) -> None:
        """Fold once; never raises."""
        with self._folding:
            self._fold()

    def _fold(self) -> None:
        started = time.thread_time()
        try:
            if self._first:
                self._first = False
                self._open()
            self.monitor.fold(time.time())
            self._flush()
        except Exception:  # noqa: BLE001 - the next window may be readable
            self._drop()
        self._process.metrics.spent(_NAME, self._owner, time.thread_time() - started)

    def close(self) -> None:
        """Write the last snapshot and free the slot; never raises."""
        try:
            self._flush(force=True)
        except Exception:  # noqa: BLE001
            self._drop()
        if self._snapshots is not None:
            self._snapshots.close()
            self._snapshots = None

    def abandon(self) -> None:
        """Let go of the files in a forked child."""
        if self._snapshots is not None:
            self._snapshots.abandon()
            self._snapshots = None

    def _open(self) -> None:
        """Do what may take a while, in the background: make the detector, take up the last snapshot."""
        detector = _detector(self.monitor.reference, self.monitor.feature_names, self._document, self._importance)
        if detector is not None:
            self.monitor.raise_alarms(detector, self._document.tolerance if self._document else _TOLERANCE)
        if not self._folder:
            return
        try:
            self._snapshots = Snapshots(Path(self._folder), *self._owner, seconds=_flush_seconds())
            self._snapshots.restore(self.monitor)
        except ObsError as error:
            _log.warning("mlops_obs: %s; a crash of this process loses its drift state", error)

    def _flush(self, *, force: bool = False) -> None:
        if self._snapshots is None:
            self.monitor.take_finished_days()
            return
        try:
            self._snapshots.flush(self.monitor, clock(), force=force)
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning("mlops_obs: cannot write drift snapshots: %s; trying again", error)


def slices(rows: Any, size: int) -> Iterator[Any]:
    """Cut a table into parts of at most `size` rows: columns by name, or whatever can be sliced or has `iloc` or `slice`."""
    if isinstance(rows, Mapping):
        columns = {name: data for name, data in rows.items() if hasattr(data, "__len__") and not isinstance(data, (str, bytes))}
        count = max((len(data) for data in columns.values()), default=0)
        if len(columns) < len(rows) or count <= size:
            yield rows  # one row, or few
            return
        for start in range(0, count, size):
            yield {name: data[start : start + size] for name, data in columns.items()}
        return
    if not hasattr(rows, "__len__") or len(rows) <= size or getattr(rows, "ndim", 2) == 1:
        yield rows
        return
    for start in range(0, len(rows), size):
        if hasattr(rows, "iloc"):
            yield rows.iloc[start : start + size]
        elif hasattr(rows, "slice"):
            yield rows.slice(start, size)
        else:
            yield rows[start : start + size]


def _detector(
    profile: ReferenceProfile, names: Sequence[str], document: DriftDocument | None, importance: Mapping[str, float] | None
) -> Detector | None:
    """Return what raises alarms, with the budget that the environment states, else the drift document; None if it is off."""
    text = os.environ.get("MLOPS_OBS_DRIFT_BUDGET") or (document.budget if document else "")
    if text.strip().lower() == "off":
        return None
    budget = Budget()  # one in a quarter
    try:
        budget = Budget.parse(text, where="MLOPS_OBS_DRIFT_BUDGET") if text else budget
    except ObsError as error:
        _log.warning("mlops_obs: %s; taking %s", error, budget)
    if len(names) > MOST_ALARMED:
        _log.warning("mlops_obs: %d features; alarms watch the %d most important ones, scores all", len(names), MOST_ALARMED)
        names = sorted(names, key=lambda name: -(importance or {}).get(name, 0.0))[:MOST_ALARMED]
    tolerance = document.tolerance if document else _TOLERANCE
    return Detector.of(profile, budget, importance=importance, tolerance=tolerance, started=time.time(), features=names)


def _document(path: str) -> DriftDocument | None:
    if not path:
        return None
    from mlops_obs.adapters.yaml_documents import read_document
    from mlops_obs.collectors.drift.alarms.document import parse_drift

    try:
        return parse_drift(*read_document(Path(path)))
    except ObsError as error:
        _log.warning("mlops_obs: the drift document is not used: %s", error)
        return None


def _importance(profile: ReferenceProfile, names: Sequence[str]) -> dict[str, float] | None:
    """Return importances that sum to 1, from the reference's section `impact`; what it does not speak of is average."""
    impact = impact_of(profile)
    known = {name: one.importance for name, one in impact.features.items() if one.importance is not None} if impact else {}
    positive = {name: max(value, 0.0) for name, value in known.items()}
    if not any(positive.values()):
        return None
    average = sum(positive.values()) / len(positive)
    shares = {name: positive.get(name, average) for name in names}
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def _native_histograms() -> bool:
    return os.environ.get("MLOPS_OBS_NATIVE_HISTOGRAMS", "").strip().lower() in ("1", "true", "yes", "on")


def _flush_seconds() -> float:
    text = os.environ.get("MLOPS_OBS_STATE_SECONDS") or ""
    try:
        return max(float(text), 0.1) if text else FLUSH_SECONDS
    except ValueError:
        _log.warning("mlops_obs: MLOPS_OBS_STATE_SECONDS=%r is not a number of seconds; taking %g", text, FLUSH_SECONDS)
        return FLUSH_SECONDS
