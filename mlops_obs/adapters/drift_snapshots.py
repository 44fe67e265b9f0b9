"""What a replica knows about drift, kept on disk: a crash loses at most what came since the last flush.

In the folder, for each replica of a (service, revision, stage): `NAME.SLOT.snapshot` is today so far, rewritten whole at every
flush; `NAME.SLOT.2026-11-22.profile` is a day that ended, kept for a week. A replica takes the first slot that nobody holds, so a
process that was killed is succeeded by the next one, and replicas on one machine or one shared volume never write the same file.

The trap: a lock file that is a file outlives its killed owner. These are `flock` locks: the kernel drops them with the process. A
forked child inherits the descriptor and with it the lock, so it must let go of it (`abandon`).
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile
from mlops_obs.errors import ObsError, PlatformError, StateError

FLUSH_SECONDS = 30.0
_DAYS_KEPT = 8
_SLOTS = 4096

_log = logging.getLogger("mlops_obs")


class Snapshots:
    """The files of one replica; takes its slot when made.

    Args:
        folder: made if it is not there.
        service, revision, stage: whose rows they are; any text.
        seconds: between two flushes.

    Raises:
        PlatformError: OBS-CAP-002 if the folder cannot be written.
    """

    def __init__(self, folder: Path, service: str, revision: str, stage: str, *, seconds: float = FLUSH_SECONDS) -> None:
        self._folder = folder.absolute()
        self._seconds = seconds
        self._flushed = -float("inf")
        name = name_of(service, revision, stage)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock, slot = _take_slot(self._folder, name)
        except OSError as error:
            raise PlatformError(
                "OBS-CAP-002", f"cannot keep drift snapshots: {error}", where=str(folder), todo="make MLOPS_OBS_STATE_DIR writable"
            ) from error
        self._stem = f"{name}.{slot}"

    @property
    def path(self) -> Path:
        """The snapshot of the running day."""
        return self._folder / f"{self._stem}.snapshot"

    def restore(self, monitor: DriftMonitor) -> bool:
        """Give `monitor` what the last holder of this slot kept; says whether there was something.

        What is damaged or made for other columns is set aside as `.damaged`, with a warning: a model must start without it.
        """
        try:
            monitor.restore(self.path.read_bytes())
        except FileNotFoundError:
            return False
        except (ObsError, OSError) as error:
            _log.warning("mlops_obs: the drift snapshot %s is set aside: %s", self.path, error)
            with suppress(OSError):
                self.path.replace(self.path.with_suffix(".damaged"))
            return False
        return True

    def flush(self, monitor: DriftMonitor, now: float, *, force: bool = False) -> bool:
        """Write what `monitor` knows, if it is time; says whether it was. `now` is any clock in seconds that does not jump.

        Raises:
            OSError: the disk refuses. The last snapshot is intact.
        """
        if not force and now - self._flushed < self._seconds:
            return False
        self._flushed = now
        for day, profile in monitor.take_finished_days():
            self._finish(day, profile)
        content = monitor.snapshot()
        if content is not None:
            _write(self.path, content)
        return True

    def abandon(self) -> None:
        """Let go of the slot in a forked child; the parent goes on holding it."""
        with suppress(OSError):
            os.close(self._lock)

    def close(self) -> None:
        """Free the slot for a successor."""
        self.abandon()

    def _finish(self, day: str, profile: ReferenceProfile) -> None:
        path = self._folder / f"{self._stem}.{day}.profile"
        if path.exists():  # a replica that was restarted around midnight
            with suppress(ObsError):
                profile = ReferenceProfile.from_bytes(path.read_bytes()).merge(profile)
        _write(path, profile.to_bytes())
        for old in sorted(self._folder.glob(f"{_literal(self._stem)}.*.profile"))[:-_DAYS_KEPT]:
            old.unlink(missing_ok=True)


def name_of(service: str, revision: str, stage: str) -> str:
    """Return the start of the file names of a (service, revision, stage)."""
    return ".".join(quote(part, safe="-_")[:80] for part in (service, revision, stage))


def merged(folder: Path, service: str, revision: str, stage: str = "serve", *, day: str | None = None) -> ReferenceProfile:
    """Return the profile of all replicas' rows: of a day (UTC, e.g. 2026-11-23), or of the running snapshots.

    Exactly what one replica would have that had seen all rows.

    Raises:
        StateError: OBS-CAP-003 if there is none, or one cannot be read.
    """
    pattern = f"{_literal(name_of(service, revision, stage))}.*.{'snapshot' if day is None else f'{day}.profile'}"
    return merge_files(sorted(folder.glob(pattern)), str(folder))


def merge_files(paths: Iterable[Path], where: str) -> ReferenceProfile:
    """Return the merged profile of some files. Raises StateError OBS-CAP-003 if there is none, or one cannot be read."""
    found: ReferenceProfile | None = None
    for path in paths:
        try:
            profile = ReferenceProfile.from_bytes(path.read_bytes())
            found = ReferenceProfile(profile.schema, profile.sketches) if found is None else found.merge(profile)
        except (OSError, ObsError) as error:
            raise StateError("OBS-CAP-003", f"cannot be read: {error}", where=str(path), todo="remove or restore it") from error
    if found is None:
        raise StateError("OBS-CAP-003", "no snapshot of that service and revision", where=where, todo="look at the file names in it")
    return found


def clock() -> float:
    """Return the clock that `flush` is called with."""
    return time.monotonic()


def _take_slot(folder: Path, name: str) -> tuple[int, int]:
    for slot in range(_SLOTS):
        lock = os.open(folder / f"{name}.{slot}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:
            os.close(lock)
            raise
        return lock, slot
    raise OSError(f"all of {_SLOTS} slots are taken")


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".part")  # one writer for each slot, so one name is enough
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _literal(text: str) -> str:
    return text.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
