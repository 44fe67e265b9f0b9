"""Running promtool, Prometheus' own judge of rule files and of their tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mlops_obs.errors import PlatformError

_TIMEOUT_SECONDS = 1_800.0


def promtool_program() -> str:
    """Return the path of promtool.

    Raises:
        PlatformError: OBS-SLO-052 if it is not there.
    """
    found = shutil.which("promtool")
    if found is None:
        raise PlatformError(
            "OBS-SLO-052",
            "promtool is missing, which judges rules as Prometheus does",
            todo="install Prometheus: apt-get install prometheus, brew install prometheus, or prometheus.io/download",
        )
    return found


def check_rules(files: Sequence[Path]) -> tuple[bool, str]:
    """Say whether Prometheus would load the rule files, and what promtool said. Raises OBS-SLO-052 without promtool."""
    return _run("check", "rules", *map(str, files))


def run_rule_tests(file: Path) -> tuple[bool, str]:
    """Say whether every case in `file` passes, and what promtool said. Raises OBS-SLO-052 without promtool."""
    return _run("test", "rules", str(file))


def create_blocks(file: Path, data: Path) -> None:
    """Make blocks of an OpenMetrics file in Prometheus' data folder.

    Raises:
        PlatformError: OBS-SLO-052 without promtool, OBS-SLO-054 if it made none.
    """
    # Blocks of a month instead of one for every two hours: thousands of small ones slow Prometheus down until it has merged them.
    made, said = _run("tsdb", "create-blocks-from", "--max-block-duration=744h", "openmetrics", str(file), str(data))
    if not made:
        last = said.splitlines()[-1] if said else "it gave no reason"
        raise PlatformError("OBS-SLO-054", f"promtool made no blocks: {last}", where=str(data), todo="check the folder and its owner")


def _run(*arguments: str) -> tuple[bool, str]:
    done = subprocess.run(
        [promtool_program(), *arguments], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS, check=False
    )
    return done.returncode == 0, (done.stdout + done.stderr).strip()
