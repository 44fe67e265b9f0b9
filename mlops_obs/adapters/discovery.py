"""Tell Prometheus which processes of this machine to scrape: one `file_sd` file per process.

A process that ends in order takes its file away. One that was killed cannot, so the monitoring side calls `prune_dead`. The
trap is process ids: they are reused, so a file is dead too when its process started after the file was written.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from mlops_obs.adapters.process_table import stat

_NAME = re.compile(r"-(\d+)\.json$")
# Start times come in clock ticks from a boot time that is known to the second.
_SLACK_SECONDS = 3.0


def announce(directory: Path, name: str, target: str, *, pid: int | None = None) -> Path:
    """Write `<directory>/<name>-<pid>.json` atomically, for the HTTP address `target` (`host:port`). Raises OSError.

    The path that is returned is absolute: the process may go to another folder before it takes the file away.
    The only target label is `obs_process`, the name: it never clashes with a label of the metrics themselves.
    """
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
    path = directory / f"{safe}-{os.getpid() if pid is None else pid}.json"
    # Prometheus watches *.json: the temporary name must not match.
    draft = path.with_suffix(".json.tmp")
    try:
        draft.write_text(json.dumps([{"targets": [target], "labels": {"obs_process": safe}}]) + "\n", encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # what a full disk cut short
    return path


def withdraw(path: Path) -> None:
    """Take a discovery file away. Silent if it is gone already or the disk refuses: this runs while a process ends."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return


def prune_dead(directory: Path) -> list[Path]:
    """Remove the files of processes of this machine that no longer run, and return them. A missing directory has none."""
    removed = []
    for path in sorted(directory.glob("*.json")):
        named = _NAME.search(path.name)
        if named and not _alive(int(named[1]), path):
            withdraw(path)
            removed.append(path)
    return removed


def _alive(pid: int, path: Path) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    state, started = _state_and_start(pid)
    if state == "Z":
        return False
    try:
        return started is None or started <= path.stat().st_mtime + _SLACK_SECONDS
    except OSError:
        return True


def _state_and_start(pid: int) -> tuple[str, float | None]:
    """Return the state letter and the start of a process in Unix seconds; unknown where there is no /proc."""
    try:
        fields = stat(pid)
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return fields[0], time.time() - uptime + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return "", None
