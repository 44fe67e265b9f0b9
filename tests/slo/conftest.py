"""Running promtool on rules and cases."""

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def promtool():
    """Return a function that runs `promtool ARGS` and gives (exit code, output)."""
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is missing: apt-get install prometheus")

    def run(*args: str | Path) -> tuple[int, str]:
        done = subprocess.run([binary, *map(str, args)], capture_output=True, text=True, timeout=240, check=False)
        return done.returncode, done.stdout + done.stderr

    return run
