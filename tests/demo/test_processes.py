"""What the demo starts, it ends: grandchildren too, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from mlops_obs.adapters.process_table import descendants, started
from mlops_obs.cli.demo.processes import Children, put_off_interrupts, wait_until
from mlops_obs.errors import PlatformError

GRANDCHILD = """
import subprocess, sys, time, pathlib
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""


@pytest.fixture
def children(tmp_path):
    started = Children(tmp_path, {"GREETING": "hello"})
    yield started
    started.stop_all()


def test_a_daemon_left_by_a_child_is_ended_with_it(children, tmp_path):
    note = tmp_path / "pid"
    child = children.start("parent", [sys.executable, "-c", GRANDCHILD, str(note)])
    wait_until(lambda: note.exists() and note.read_text(), seconds=20, what="a grandchild", children=children)
    grandchild = int(note.read_text())

    assert grandchild in descendants(child.process.pid)
    children.stop_all()

    deadline = time.monotonic() + 10
    while started(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not started(grandchild)
    assert not child.running


def test_a_process_that_ends_unasked_is_said_with_the_end_of_its_log(children):
    child = children.start("stack", [sys.executable, "-c", "import sys; sys.exit('no disk')"])
    child.process.wait()

    with pytest.raises(PlatformError, match=r"stack ended with code 1\nno disk.*OBS-DEMO-004"):
        children.check()


def test_a_missing_program_is_an_error_with_advice(children):
    with pytest.raises(PlatformError, match="cannot start prometheus.*make setup.*OBS-DEMO-003"):
        children.start("prometheus", ["/nowhere/prometheus"])


def test_waiting_has_an_end(children):
    with pytest.raises(PlatformError, match="rain did not happen within 0 s.*OBS-DEMO-005"):
        wait_until(lambda: False, seconds=0.1, what="rain", children=children)


def test_the_environment_reaches_the_child(children, tmp_path):
    out = tmp_path / "out"
    children.start(
        "echo", [sys.executable, "-c", "import os; print(os.environ['GREETING'], os.environ['NAME'])"], stdout=out, NAME="v3"
    ).process.wait()

    assert out.read_text() == "hello v3\n"
    assert "GREETING" not in os.environ


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_a_process_is_being_started_leaves_none_behind(children, monkeypatch, number):
    popen = subprocess.Popen

    def interrupted(*args, **kwargs):
        process = popen(*args, **kwargs)
        os.kill(os.getpid(), number)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        children.start("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"])
    (child,) = children.running
    children.stop_all()

    assert child.process.returncode == -signal.SIGTERM


def test_a_second_ctrl_c_does_not_stop_the_stopping():
    done = []

    def stop():
        with put_off_interrupts():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("stopped")

    # A shell starts background jobs with SIGINT ignored, and the suite may be one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stop()
        after = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert done == ["stopped"]
    assert after is signal.default_int_handler
