"""The folder of one demo run: claimed before anything starts, so that every bad start is one clear line.

A run empties only a folder that an earlier run made. Anything else that is not empty is somebody's data.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from mlops_obs.adapters.processes import try_port
from mlops_obs.errors import PlatformError, UsageError

_MARK = ".obs-demo"
_NEEDED_BYTES = 1 << 30


def claim(out: Path) -> IO[str]:
    """Make `out` an empty folder of ours and hold it; keep the returned file open for as long as the run lasts.

    Raises:
        UsageError: OBS-DEMO-001 if it holds something that no demo wrote.
        PlatformError: OBS-DEMO-002 if it cannot be written, has too little space, or another run is using it.
    """
    mark = out / _MARK
    if out.exists() and not out.is_dir():
        raise UsageError("OBS-DEMO-001", "this is a file", where=str(out), todo="pass another folder with --out")
    if out.is_dir() and any(out.iterdir()) and not mark.exists():
        raise UsageError(
            "OBS-DEMO-001", "the folder holds something that no demo wrote", where=str(out), todo="pass another folder with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = mark.open("a+")
    except OSError as error:
        raise PlatformError(
            "OBS-DEMO-002", f"cannot write here: {error.strerror}", where=str(out), todo="pass another folder with --out"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise PlatformError("OBS-DEMO-002", "another demo is running here", where=str(out), todo="stop it, or pass --out") from error
    free = shutil.disk_usage(out).free
    if free < _NEEDED_BYTES:
        what = f"only {free >> 20} MiB are free and the demo needs {_NEEDED_BYTES >> 20}"
        raise PlatformError("OBS-DEMO-002", what, where=str(out), todo="free space, or pass --out on another disk")
    try:
        for entry in out.iterdir():
            if entry != mark:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:
        what = f"the earlier run cannot be removed: {error.strerror}"
        raise PlatformError("OBS-DEMO-002", what, where=str(error.filename or out), todo="remove it, or pass another --out") from error
    return lock


def check_port(port: int, option: str) -> None:
    """Raise PlatformError OBS-DEMO-007 if `port` cannot be listened on. 0 is always fine."""
    try:
        try_port(port)
    except OSError as error:
        what = f"port {port} cannot be used: {os.strerror(error.errno or 0)}"
        raise PlatformError("OBS-DEMO-007", what, where=option, todo="choose another, or 0") from error


def repository() -> Path:
    """Return the checkout that holds slo/, runbooks/ and platform/.

    Raises:
        UsageError: OBS-DEMO-008 if `obs` runs from an installed package without them.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / "platform" / "feature_train_serve").is_dir():
        raise UsageError(
            "OBS-DEMO-008",
            "the demo needs a checkout of mlops-obs, for its reference stack",
            where=str(root),
            todo="git clone it and run make demo",
        )
    return root
