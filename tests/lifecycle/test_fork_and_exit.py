"""Processes are born, forked and end in ways that tests inside one process cannot show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PRELUDE = """
import json, os, pathlib, sys, time, urllib.request
from mlops_obs.lifecycle import instrument
from mlops_obs.adapters import telemetry
folder = pathlib.Path(os.environ["MLOPS_OBS_DISCOVERY_DIR"])
handle = instrument("credit-risk", "v1")
def scrape(path):
    target = json.loads(path.read_text())[0]["targets"][0]
    return urllib.request.urlopen(f"http://{target}/metrics", timeout=10).read().decode()
def ok(text):
    return [float(line.split()[-1]) for line in text.splitlines() if line.startswith('mlops_obs_requests_total{outcome="ok"')]
"""


def _run(program: str, folder: Path) -> list[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "MLOPS_OBS_"))}
    env["MLOPS_OBS_DISCOVERY_DIR"] = str(folder)
    done = subprocess.run([sys.executable, "-c", PRELUDE + program], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_a_process_that_ends_takes_its_discovery_file_along(tmp_path: Path) -> None:
    assert _run("print(len(list(folder.iterdir())))", tmp_path) == ["1"]
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_counts_from_zero_on_a_port_of_its_own(tmp_path: Path) -> None:
    program = """
import multiprocessing
with handle.request(): pass
def child(queue):
    before = len(list(folder.glob("*.json")))
    with handle.request(): pass
    with handle.request(): pass
    mine = [path for path in folder.glob("*.json") if path.stem.endswith(f"-{os.getpid()}")]
    queue.put((before, len(mine), ok(scrape(mine[0]))))
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
print(queue.get(timeout=30))
process.join()
remaining = list(folder.glob("*.json"))
print(len(remaining), ok(scrape(remaining[0])))
"""
    assert _run(program, tmp_path) == ["(1, 1, [2.0])", "1 [1.0]"]


def test_a_fork_while_other_threads_count_never_hangs_the_child(tmp_path: Path) -> None:
    program = """
import threading
stop = threading.Event()
def work():
    while not stop.is_set():
        with handle.request(): pass
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads: thread.start()
codes = []
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        with handle.request(): pass
        os._exit(0 if ok(telemetry.telemetry_text()) == [1.0] else 1)
    codes.append(os.waitpid(pid, 0)[1])
stop.set()
for thread in threads: thread.join()
print(codes == [0] * 20)
"""
    assert _run(program, tmp_path) == ["True"]


def test_a_child_that_observes_nothing_announces_nothing(tmp_path: Path) -> None:
    program = """
pid = os.fork()
if pid == 0:
    os._exit(len(list(folder.glob(f"*-{os.getpid()}.json"))))
print(os.waitpid(pid, 0)[1])
"""
    assert _run(program, tmp_path) == ["0"]


def test_counting_goes_on_while_the_interpreter_shuts_down(tmp_path: Path) -> None:
    program = """
import atexit
def late():
    with handle.request(): pass
    print("late", ok(telemetry.telemetry_text()))
atexit.register(late)
class Last:
    def __del__(self):
        with handle.request(): pass
keep = Last()
"""
    assert _run(program, tmp_path) == ["late [1.0]"]


def test_a_short_job_waits_for_its_last_scrape_where_it_may(tmp_path: Path) -> None:
    program = """
import http.client, subprocess
job = subprocess.Popen([sys.executable, "-c", '''
from mlops_obs.lifecycle import instrument
with instrument("credit-risk", "v1", stage="features").stage() as run: run.rows(7)
'''], env={**os.environ, "MLOPS_OBS_LAST_SCRAPE_SECONDS": "30"})  # not for this process: it would wait as well
while not (found := list(folder.glob("credit-risk-features-*.json"))): time.sleep(0.01)
scrapes = []
while job.poll() is None:
    try: scrapes.append(scrape(found[0]))
    except (OSError, http.client.HTTPException): break
    time.sleep(0.05)
print(job.wait(), "mlops_obs_stage_rows_total" in scrapes[-1], [l.split()[-1] for l in scrapes[-1].splitlines() if "rows_total{" in l])
"""
    assert _run(program, tmp_path) == ["0 True ['7.0']"]
