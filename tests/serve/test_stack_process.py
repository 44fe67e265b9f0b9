"""`python -m feature_train_serve` says what it does and leaves nothing behind. Preparation is replaced by a double."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from mlops_obs.adapters.process_table import descendants, started

pytestmark = pytest.mark.stack
HERE = Path(__file__).parent
PATHS = os.pathsep.join((str(HERE.parents[1] / "platform"), str(HERE.parents[1]), str(HERE)))

_STACK = """
import functools, sys, time, types
from pathlib import Path
from feature_train_serve.__main__ import main, say

def prepare(out, seed, progress, data, recipes=()):
    from feature_train_serve.serve import ray_app
    from serving_double import DoubleScorer
    ray_app.predictor_app = functools.partial(ray_app.predictor_app, opener=DoubleScorer)
    progress({"step": "double", "status": "start"})
    time.sleep(600 if seed == 99 else 0)
    return types.SimpleNamespace(packages={"v1": Path("/p/v1")}, online_store=out / "s", customers=out / "c")

double = types.ModuleType("feature_train_serve.prepare")
double.prepare = prepare
sys.modules[double.__name__] = double
sys.exit(main())
"""


def start(out, *arguments):
    argv = [sys.executable, "-c", _STACK, "--out", str(out), *arguments]
    env = {**os.environ, "PYTHONPATH": PATHS, "MLOPS_OBS_DISCOVERY_DIR": str(out / "discovery")}
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def read_until(process, step, status):
    for line in process.stdout:
        said = json.loads(line)
        if (said["step"], said["status"]) == (step, status):
            return said
    raise AssertionError(f"the stack ended with {process.wait()} before it said {step} {status}")


def left_of(family):
    return [pid for pid, since in family.items() if started(pid) == since]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_stack_leaves_no_process_and_no_discovery_file(tmp_path, number):
    process = start(tmp_path)
    ready = read_until(process, "serving", "ready")
    answer = httpx.post(f"{ready['url']}/v1/models/credit-risk:predict", json={"instances": [{"customer_id": "c64"}]}, timeout=20)
    family = descendants(process.pid)
    announced = list((tmp_path / "discovery").iterdir())

    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]

    assert (answer.status_code, answer.headers["x-revision"]) == (200, "v1")
    assert ready["address"].startswith("127.0.0.1:")
    assert (process.returncode, json.loads(rest.splitlines()[-1])["step"]) == (0, "stopped")
    assert len(family) > 4
    assert announced
    assert (left_of(family), list((tmp_path / "discovery").iterdir())) == ([], [])


def test_a_stack_stopped_while_it_prepares_leaves_no_process(tmp_path):
    process = start(tmp_path, "--seed", "99")
    read_until(process, "double", "start")
    family = descendants(process.pid)

    process.terminate()

    process.communicate(timeout=60)
    assert (process.returncode, left_of(family)) == (0, [])


def test_a_port_that_is_taken_is_one_line_with_a_code(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        process = start(tmp_path, "--http-port", str(taken.getsockname()[1]))
        said = read_until(process, "stack", "error")

        process.communicate(timeout=60)
    assert "OBS-STK-001" in said["note"]
    assert process.returncode == 1
