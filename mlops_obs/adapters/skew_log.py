"""Where a model server leaves what it read and what it fed the model, for a sample of its customers.

The request pays for one hash and one append to a bounded queue; a thread of our own writes. When the disk is slow or full, records
are dropped and counted; the request never waits, and nothing raised here reaches it.

The trap: several replicas that write one file mix their lines. Each process writes a file of its own in a shared folder, and starts
the next one when it is large; the oldest is deleted, so that the folder is bounded.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops_obs.collectors.skew.records import Served, from_line, to_line
from mlops_obs.collectors.skew.sampling import checked_rate, sampled
from mlops_obs.errors import UsageError
from mlops_obs.metric_names import OUTCOME, REVISION, SERVICE, SKEW_RECORDS, Reading

_log = logging.getLogger("mlops_obs")
WRITTEN, DROPPED = "written", "dropped"
LOG_SUFFIX = ".skew.jsonl"


class SkewLog:
    """Writes sampled requests to `folder`.

        skew = SkewLog("skew", service="credit-risk", revision="v2", rate=0.05)
        skew.offer(request_id, customer, time.time(), online=features, inputs=fed, ages=ages)
        telemetry.register_collector("skew", skew.read)

    Args:
        folder: made if it is not there; replicas may share it.
        service: label value.
        revision: of the model; written into each record.
        rate: share of entities to look at.
        salt: another salt picks other entities; the offline side needs neither.
        capacity: records that may wait for the writer; more are dropped and counted.
        file_bytes: a file is closed when it is larger.
        files: how many files this process leaves at most.
        every: seconds between two writes.
        clock: Unix seconds, for the names of files.

    Raises:
        SpecError: OBS-SKW-001 if the rate is no share.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        service: str,
        revision: str = "",
        rate: float = 0.05,
        salt: str = "",
        capacity: int = 4096,
        file_bytes: int = 16_000_000,
        files: int = 8,
        every: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = Path(folder)
        self._labels = {SERVICE: service, REVISION: revision}
        self._revision = revision
        self._rate, self._salt = checked_rate(rate), salt
        self._queue: deque[tuple[str, str, float, Mapping[str, Any], Mapping[str, Any], Mapping[str, float]]] = deque()
        self._capacity, self._file_bytes, self._files = capacity, file_bytes, files
        self._clock = clock
        self._counts = {WRITTEN: 0, DROPPED: 0}
        self._made: deque[Path] = deque()
        self._size = self._number = 0
        self._writing = threading.Lock()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._complained = False
        self._every = every
        self._pid = -1
        self._thread: threading.Thread | None = None

    def offer(
        self,
        request_id: str,
        entity: str,
        at: float,
        online: Mapping[str, Any],
        inputs: Mapping[str, Any] | None = None,
        ages: Mapping[str, float] | None = None,
    ) -> bool:
        """Keep this request if its entity is in the sample; returns whether it was kept. Never raises and never waits.

        The mappings are kept as they are until they are written: give ones that you do not change afterwards.
        """
        try:
            if not sampled(entity, self._rate, self._salt):
                return False
            if len(self._queue) >= self._capacity:
                self._counts[DROPPED] += 1
                return False
            self._queue.append((request_id, entity, at, online, inputs or {}, ages or {}))
            if self._pid != os.getpid():
                self._start()
            elif len(self._queue) == self._capacity // 2:
                self._wake.set()
        except Exception:  # noqa: BLE001 - instrumentation never breaks the model
            self._counts[DROPPED] += 1
            return False
        return True

    def wants(self, entity: str) -> bool:
        """Return whether `entity` is in the sample, for callers who would have to copy before they offer."""
        return sampled(entity, self._rate, self._salt)

    def flush(self) -> None:
        """Write what waits now. The thread does this every so often; tests and short jobs call it themselves."""
        with self._writing:
            waiting = [self._queue.popleft() for _ in range(len(self._queue))]
            if not waiting:
                return
            lines = []
            for record in waiting:
                try:
                    lines.append(to_line(Served(*record, self._revision)))
                except (TypeError, ValueError, RuntimeError):  # RuntimeError: the mapping was changed meanwhile
                    self._counts[DROPPED] += 1
            try:
                self._append("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
                self._counts[WRITTEN] += len(lines)
            except OSError as error:
                self._counts[DROPPED] += len(lines)
                if not self._complained:
                    _log.warning("mlops_obs: the skew log cannot be written: %s", error)
                self._complained = True

    def read(self) -> list[Reading]:
        """Return how many sampled requests were written and dropped."""
        return [Reading(SKEW_RECORDS, {**self._labels, OUTCOME: outcome}, count) for outcome, count in self._counts.items()]

    def close(self) -> None:
        """Write what waits and stop the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(timeout=5)
        self.flush()

    def _start(self) -> None:
        self._pid = os.getpid()  # a forked child has no thread, and a file of its own
        self._writing = threading.Lock()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._made, self._size = deque(), 0
        self._thread = threading.Thread(target=self._run, name="skew-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._every)
            self._wake.clear()
            self.flush()

    def _append(self, content: bytes) -> None:
        if not self._made or self._size + len(content) > self._file_bytes:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._made.append(self._folder / f"{int(self._clock() * 1000)}-{os.getpid()}-{self._number}{LOG_SUFFIX}")
            self._size, self._number = 0, self._number + 1
            while len(self._made) > self._files:
                self._made.popleft().unlink(missing_ok=True)
        with self._made[-1].open("ab") as stream:
            stream.write(content)
        self._size += len(content)


def read_records(path: Path, bad: list[int] | None = None) -> Iterator[Served]:
    """Yield the records of a log: one file, or all files of a folder, oldest first.

    Args:
        path: a file or a folder.
        bad: a counter of one element that is raised by each line that is no record.

    Raises:
        UsageError: OBS-SKW-002 if there is no such file or folder, or it holds no log.
    """
    files = sorted(path.glob(f"*{LOG_SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise UsageError("OBS-SKW-002", f"holds no file that ends in {LOG_SUFFIX}", where=str(path), todo="give the folder of a SkewLog")
    for file in files:
        try:
            with file.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    record = from_line(line)
                    if record is not None:
                        yield record
                    elif bad is not None and line.strip():
                        bad[0] += 1
        except OSError as error:
            raise UsageError("OBS-SKW-002", f"cannot read the log: {error.strerror}", where=str(file), todo="check the path") from error
