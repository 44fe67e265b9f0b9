"""What the telemetry handles of one process share: metrics, server, discovery file, tracing, one background thread.

The trap is `fork`. A child inherits counts that its parent still exports, locks that a thread it does not have may hold, and a
listening socket. So it starts from zero, silent: most children never observe anything, and many become another program at once.
The first observation wakes it.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from mlops_obs.adapters.discovery import announce, withdraw
from mlops_obs.adapters.metrics_server import MetricsServer
from mlops_obs.adapters.process_metrics import ProcessMetrics
from mlops_obs.adapters.tracing import Tracing, configure, reseed
from mlops_obs.errors import PlatformError

FOLD_SECONDS = 1.0
LAST_FOLD_SECONDS = 2.0  # how long a process that ends waits for a fold that is running

_log = logging.getLogger("mlops_obs")


class Attached(Protocol):
    """A handle that binds itself to the process it lives in."""

    def attach(self, process: Process) -> None:
        """Bind to `process`: at birth, and again in a forked child."""
        ...


class Process:
    """Shared by all handles of a process; replaced as a whole in a forked child."""

    def __init__(self) -> None:
        self.metrics = ProcessMetrics()
        self.lock = threading.RLock()
        self._tracing: Tracing | None = None
        self.server: MetricsServer | None = None
        self.announced: Path | None = None
        self.folds: dict[object, Callable[[], None]] = {}
        self.closers: dict[object, Callable[[], None]] = {}
        self.after_fork: dict[object, Callable[[], None]] = {}
        self.shared: dict[object, object] = {}  # what handles with the same labels share, by whoever puts it there
        self.folder: threading.Thread | None = None
        self.stopping = threading.Event()
        # True in a forked child until it observes something: most children never do, and many become another program.
        self.asleep = False
        self.name = ""

    def start(self, name: str, *, directory: Path | None = None, port: int | None = None, strict: bool = False) -> MetricsServer | None:
        """Start the server, once. Without `strict`, a taken port or an unwritable folder is a warning, never a failure."""
        with self.lock:
            if self.asleep:
                self.asleep = False
                _close_with_multiprocessing()
            self.name = self.name or name
            directory = directory or _directory()
            if self.server is None and (directory is not None or port is not None or os.environ.get("MLOPS_OBS_METRICS_PORT")):
                self.server = self._serve(_port() if port is None else port, strict)
            if self.server is not None and self.announced is None and directory is not None:
                self._announce(self.server, directory, strict)
            self._wake_folder()
            return self.server

    def tracing(self, service: str) -> Tracing:
        """Return the tracing of this process, set up at the first call; `service` names it unless OTEL_SERVICE_NAME does."""
        with self.lock:
            if self._tracing is None:
                self._tracing = configure(service)
            return self._tracing

    def add_fold(self, owner: object, fold: Callable[[], None]) -> None:
        """Call `fold` every FOLD_SECONDS from the one background thread. It must not raise. The same owner again replaces it."""
        with self.lock:
            self.folds[owner] = fold
            self._wake_folder()

    def close(self) -> None:
        """Leave nothing behind: the target is withdrawn first, so that nobody scrapes a closed port and calls us down."""
        self.stopping.set()
        self._fold_last()
        self._await_last_scrape()
        with self.lock:
            announced, self.announced = self.announced, None
            server, self.server = self.server, None
        if announced is not None:
            withdraw(announced)
        if server is not None:
            server.close()

    def add_close(self, owner: object, close: Callable[[], None]) -> None:
        """Call `close` once when the process ends, after the last fold. It must not raise. The same owner again replaces it."""
        with self.lock:
            self.closers[owner] = close

    def add_after_fork(self, owner: object, forget: Callable[[], None]) -> None:
        """Call `forget` in a forked child, to let go of what only the parent may hold. It must not raise."""
        with self.lock:
            self.after_fork[owner] = forget

    def _fold_last(self) -> None:
        """Take in what came since the last fold, so that a short job's rows are counted, and let everybody write what he keeps."""
        folder = self.folder
        if folder is not None and folder is not threading.current_thread():
            folder.join(LAST_FOLD_SECONDS)
            if folder.is_alive():
                return  # it hangs in a fold; two at once would count rows twice
        with self.lock:
            folds, closers = list(self.folds.values()), list(self.closers.values())
            self.closers.clear()
        if not self.asleep:
            for one in [*folds, *closers]:
                one()

    def _await_last_scrape(self) -> None:
        """Let a job that is about to end be scraped once more, where MLOPS_OBS_LAST_SCRAPE_SECONDS allows it to wait."""
        server, seconds = self.server, _last_scrape_seconds()
        if server is not None and seconds > 0:
            server.await_scrape(seconds)

    def _announce(self, server: MetricsServer, directory: Path, strict: bool) -> None:
        try:
            self.announced = announce(directory, self.name, f"{_advertised(server.host)}:{server.port}")
        except OSError as error:
            what = f"cannot write the discovery file: {error}"
            problem = PlatformError("OBS-TEL-002", what, where=str(directory), todo="make the folder writable")
            if strict:
                raise problem from error
            _log.warning("mlops_obs: %s", problem)

    def _serve(self, port: int, strict: bool) -> MetricsServer | None:
        host = os.environ.get("MLOPS_OBS_METRICS_HOST") or "127.0.0.1"
        try:
            return MetricsServer(self.metrics.text, host, port)
        except PlatformError as error:
            if strict:
                raise
            # Two replicas on one machine with one fixed port: discovery still finds both.
            _log.warning("mlops_obs: %s; taking a free port", error)
        try:
            return MetricsServer(self.metrics.text, host, 0)
        except PlatformError as error:
            _log.warning("mlops_obs: %s; this process serves no metrics", error)
            return None

    def _wake_folder(self) -> None:
        if self.folds and self.folder is None and not self.asleep:
            self.folder = threading.Thread(target=self._fold_forever, name="mlops-obs-fold", daemon=True)
            self.folder.start()

    def _fold_forever(self) -> None:
        while not self.stopping.wait(FOLD_SECONDS):
            with self.lock:
                folds = list(self.folds.values())
            for fold in folds:
                fold()


_guard = threading.RLock()
_process: Process | None = None
_handles: weakref.WeakSet[Attached] = weakref.WeakSet()


def current() -> Process:
    """Return the state of this process, made at the first call."""
    global _process
    with _guard:
        if _process is None:
            _process = Process()
            atexit.register(_close)
        return _process


def remember(handle: Attached) -> None:
    """Attach `handle` again in every forked child, for as long as it lives."""
    _handles.add(handle)


def _directory() -> Path | None:
    text = os.environ.get("MLOPS_OBS_DISCOVERY_DIR")
    return Path(text) if text else None


def _port() -> int:
    text = os.environ.get("MLOPS_OBS_METRICS_PORT") or "0"
    try:
        return int(text)
    except ValueError:
        _log.warning("mlops_obs: MLOPS_OBS_METRICS_PORT=%r is not a port; taking a free one", text)
        return 0


def _last_scrape_seconds() -> float:
    text = os.environ.get("MLOPS_OBS_LAST_SCRAPE_SECONDS") or "0"
    try:
        return min(max(float(text), 0.0), 600.0)
    except ValueError:
        _log.warning("mlops_obs: MLOPS_OBS_LAST_SCRAPE_SECONDS=%r is not a number of seconds; not waiting", text)
        return 0.0


def _advertised(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not bound


def _close() -> None:
    with _guard:
        process = _process
    if process is not None:
        process.close()


def _close_with_multiprocessing() -> None:
    """Children of multiprocessing leave by os._exit, which skips atexit; it clears this list when it starts one, so not at the fork."""
    if "multiprocessing.util" in sys.modules:
        sys.modules["multiprocessing.util"].Finalize(None, _close, exitpriority=0)


def _after_fork_in_child() -> None:
    """Start from zero: new locks, because a thread that no longer exists may hold the old ones; no server until something is observed."""
    global _process, _guard
    _guard = threading.RLock()
    parent, _process = _process, None
    if parent is None:
        return
    if parent.server is not None:
        parent.server.abandon()
    for forget in list(parent.after_fork.values()):
        forget()
    reseed()
    child = Process()
    child.asleep = True
    child._tracing = parent._tracing
    _process = child
    for handle in list(_handles):
        handle.attach(child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
