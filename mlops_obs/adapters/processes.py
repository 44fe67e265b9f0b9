"""Starts a server program on a loopback port, waits until it is ready, and ends exactly that process.

Two traps. A free port found by binding port 0 can be taken before the program binds it, so a start that fails for that
reason is tried again on another port. And Ctrl-C in a terminal reaches every process of the foreground group: programs
get their own session, so that the order in which they stop stays ours.
"""

from __future__ import annotations

import atexit
import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.errors import PlatformError

_ATTEMPTS = 5
_POLL_SECONDS = 0.05


def try_port(port: int) -> int:
    """Bind the loopback TCP `port` (0: any) and let it go; return its number. Raises OSError if it cannot be listened on."""
    with socket.socket() as probe:
        # A port whose last connections still time out may be used again; one that has a listener may not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def free_port() -> int:
    """Return a loopback TCP port that is free at this moment."""
    return try_port(0)


def is_free(port: int) -> bool:
    """Say whether nothing listens on the loopback TCP `port`."""
    try:
        try_port(port)
    except OSError:
        return False
    return True


class Daemon:
    """One server program on 127.0.0.1.

    Args:
        name: what to call it in errors.
        command: returns the command line for a listen address such as `127.0.0.1:9090`.
        ready_path: path that answers 200 once the program is ready, e.g. `/-/ready`.
        log: file that receives its stdout and stderr.
        port: the port to use; 0 finds a free one. A restart uses the same port.
        patience: seconds until the program must be ready.
    """

    def __init__(
        self, name: str, command: Callable[[str], Sequence[str]], ready_path: str, log: Path, port: int = 0, patience: float = 30.0
    ) -> None:
        self.name = name
        self._command = command
        self._ready_path = ready_path
        self._log = log
        self._port = port
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address; valid once started."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the program and wait until it is ready; does nothing while it runs.

        Raises:
            PlatformError: OBS-PLAT-001 the program is missing, 002 its port is taken, 003 it ended or never became ready.
        """
        if self.pid is not None:
            return
        chosen = self._port
        for attempt in range(1, _ATTEMPTS + 1):
            self._port = chosen or free_port()
            # Asked before the start: else the readiness of the server that holds the port would pass for ours.
            if not is_free(self._port):
                raise self._taken()
            offset = self._log.stat().st_size if self._log.exists() else 0
            self._launch()
            problem = self._wait_until_ready()
            if problem is None:
                return
            self.stop()
            tail = self._tail(offset)
            if "address already in use" in tail:
                if not chosen and attempt < _ATTEMPTS:
                    continue
                raise self._taken()
            self._port = chosen
            raise PlatformError("OBS-PLAT-003", f"{self.name} {problem}: {tail or 'it wrote no log'}", where=str(self._log))

    def _taken(self) -> PlatformError:
        return PlatformError("OBS-PLAT-002", f"{self.name} cannot listen: port {self._port} is taken", todo="free it or use port 0")

    def stop(self, patience: float = 10.0) -> None:
        """End the process: ask, and after `patience` seconds insist. Does nothing if it has ended."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                # A suspended process cannot obey; wake it first.
                process.send_signal(signal.SIGCONT)
                process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    def _launch(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        command = list(self._command(f"127.0.0.1:{self._port}"))
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        except FileNotFoundError:
            raise PlatformError(
                "OBS-PLAT-001", f"{command[0]} is not installed", todo="apt-get install prometheus prometheus-alertmanager"
            ) from None
        atexit.register(self.stop)

    def _wait_until_ready(self) -> str | None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return f"ended with code {self._process.returncode if self._process else '?'} while starting"
            with contextlib.suppress(Unreachable):
                if fetch(f"{self.url}{self._ready_path}", timeout=2).status == 200:
                    # Another server on the same port may have answered while ours was failing to bind.
                    time.sleep(_POLL_SECONDS)
                    if self._process.poll() is None:
                        return None
            time.sleep(_POLL_SECONDS)
        return f"was not ready after {self._patience:g} s"

    def _tail(self, offset: int, lines: int = 5) -> str:
        with self._log.open("rb") as log:
            log.seek(offset)
            written = log.read().decode(errors="replace").strip().splitlines()
        # The cause is rarely the last line: a server logs its orderly shutdown after it.
        telling = [line for line in written if "level=error" in line or "level=warn" in line or "rror" in line]
        return " | ".join((telling or written)[-lines:])
