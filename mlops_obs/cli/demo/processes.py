"""Start the processes of the demo and end exactly those, whatever happens.

The trap is in the ending. Ray leaves daemons behind when its driver is killed, so the descendants of a process are
noted before it is asked to stop, and whoever outlives the grace period is ended by id. A child runs in a session
of its own: Ctrl-C reaches the demo alone, which then stops its children in reverse order. A Ctrl-C while a process is
being started, or a second one while all are being stopped, must not leave one behind: it is put off.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlops_obs.adapters.process_table import descendants, started
from mlops_obs.errors import PlatformError

_GRACE_SECONDS = 20.0


@contextlib.contextmanager
def put_off_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take effect, as KeyboardInterrupt, only when the block has ended.

    The signals are noted and not blocked: a blocked signal would stay blocked in a process started meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda received, _: came.append(received)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


@dataclass
class Child:
    """A started process; its output is in `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def log_tail(self, lines: int = 8) -> str:
        """Return the last lines of the log: what a person needs to see when the process has failed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, grace: float = _GRACE_SECONDS) -> None:
        """Ask the process to stop; end it and every descendant that outlives `grace` seconds."""
        family = descendants(self.process.pid)
        if self.running:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        if self.running:
            self.process.kill()
            self.process.wait()
        for pid, since in family.items():
            if started(pid) == since:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@dataclass
class Children:
    """The processes of one demo run, stopped in reverse order of their start."""

    logs: Path
    env: Mapping[str, str]
    running: list[Child] = field(default_factory=list)

    def start(self, name: str, argv: Sequence[str], *, stdout: Path | None = None, **env: str) -> Child:
        """Start `argv`; its log is `<logs>/<name>.log`.

        Raises:
            PlatformError: OBS-DEMO-003 if the program cannot be started.
        """
        log = self.logs / f"{name}.log"
        try:
            with put_off_interrupts(), log.open("ab") as err, (stdout or log).open("ab") as out:
                process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, **self.env, **env},
                    start_new_session=True,
                )
                child = Child(name, process, log)
                self.running.append(child)
        except OSError as error:
            raise PlatformError("OBS-DEMO-003", f"cannot start {name}: {error.strerror}", where=argv[0], todo="run make setup") from error
        return child

    def named(self, name: str) -> Child:
        """Return the newest child called `name`."""
        return next(child for child in reversed(self.running) if child.name == name)

    def kill(self, name: str) -> None:
        """End the newest child called `name` as a crash would (SIGKILL), and no longer expect it to run."""
        child = self.named(name)
        child.process.kill()
        child.process.wait()
        self.running.remove(child)

    def check(self) -> None:
        """Raise PlatformError OBS-DEMO-004 with the end of its log if a process has ended unasked."""
        for child in self.running:
            if not child.running:
                code = child.process.returncode
                raise PlatformError(
                    "OBS-DEMO-004", f"{child.name} ended with code {code}\n{child.log_tail()}", where=str(child.log), todo="read its log"
                )

    def stop_all(self) -> None:
        """Stop every process, newest first."""
        while self.running:
            self.running.pop().stop()


def wait_until(condition: Callable[[], object], *, seconds: float, what: str, children: Children, every: float = 0.25) -> None:
    """Wait until `condition()` is true.

    Raises:
        PlatformError: OBS-DEMO-004 if a process ends meanwhile, OBS-DEMO-005 after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        children.check()
        if time.monotonic() > deadline:
            raise PlatformError(
                "OBS-DEMO-005", f"{what} did not happen within {seconds:.0f} s", where=str(children.logs), todo="read the logs there"
            )
        time.sleep(every)
