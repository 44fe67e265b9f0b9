"""`obs demo` as a person runs it: without Prometheus, and interrupted at any stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlops_obs.adapters.process_table import descendants, started

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

DEMO = [sys.executable, "-m", "mlops_obs.cli.main", "demo"]


def processes_of(out: Path) -> list[str]:
    """Command lines of processes that name `out` in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(out).encode() in command + environment:
            found.append(command.replace(b"\0", b" ").decode()[:120])
    return found


def test_without_prometheus_the_embedded_engine_tells_the_same_story_and_says_so(embedded_demo):
    out, done = embedded_demo

    assert done.returncode == 0, done.stdout + done.stderr
    assert "embedded engine: Prometheus and Alertmanager are not installed" in " ".join(done.stdout.split())
    assert "All of it held." in done.stdout
    assert (out / "report.html").stat().st_size > 10_000
    assert processes_of(out) == []


@pytest.mark.parametrize("stage", ["monitoring", "parity", "callers"])
def test_ctrl_c_at_any_stage_ends_everything_and_leaves_no_half_file(tmp_path, stage):
    out, log = tmp_path / "run", tmp_path / "log"
    with log.open("w") as stream:
        demo = subprocess.Popen([*DEMO, "--out", str(out)], stdout=stream, stderr=stream, start_new_session=True)
    try:
        deadline = time.monotonic() + 400
        while f"✔ {stage}" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        time.sleep(2)

        demo.send_signal(signal.SIGINT)

        assert demo.wait(60) == 130
    finally:
        family = descendants(demo.pid)
        demo.kill()
        for pid, since in family.items():
            if started(pid) == since:
                os.kill(pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text()
    assert log.read_text().rstrip().endswith("obs: interrupted")
    deadline = time.monotonic() + 15
    while (left := processes_of(out)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    assert [path for path in out.rglob("*") if ".partial" in path.name or ".tmp" in path.name] == []
