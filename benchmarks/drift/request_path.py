"""What watching a row costs in the request, beside what people do instead.

Alone: the fastest of seven loops, thread CPU per call, all in one process after another in random order. Peers are what one finds in
serving code: a JSON line for each row, a prometheus_client histogram for each feature, whylogs' `log(row=...)`; a deque that keeps a
reference is the floor (it copies nothing). In a predictor: the same function asked in turn plain, plain again (what the machine does by
itself) and watched, in short blocks in random order, with the background thread folding, scoring and sketching.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from mlops_obs.collectors.drift.alarms import Budget, Detector
from mlops_obs.collectors.drift.columns import Categories, Column, ColumnKind, Schema
from mlops_obs.collectors.drift.monitor import DriftMonitor
from mlops_obs.collectors.drift.reference import ReferenceProfile

SIZES = (10, 50, 200)
REFERENCE_ROWS = 4_000
MILLISECONDS = 5.0
BLOCK = 10
CHANNELS = ["web", "branch", "partner"]


def reference(features: int, *, mixed: bool) -> ReferenceProfile:
    """Return a reference of `features` columns, three in ten of them categories if `mixed`."""
    rng = np.random.default_rng(3)
    columns, block = [], {}
    for place in range(features):
        name = f"feature_{place}"
        if mixed and place % 10 < 3:
            columns.append(Column(name, ColumnKind.CATEGORY))
            block[name] = Categories(rng.integers(0, 3, REFERENCE_ROWS), CHANNELS)
        else:
            columns.append(Column(name))
            block[name] = rng.normal(size=REFERENCE_ROWS)
    return ReferenceProfile.from_block(block, Schema(tuple(columns)))


def monitor(features: int, *, mixed: bool = False, watched: bool = False) -> DriftMonitor:
    """Return a monitor; with alarms if `watched`."""
    profile = reference(features, mixed=mixed)
    detector = Detector.of(profile, Budget.parse("1 per 90d"), started=0.0) if watched else None
    return DriftMonitor(profile, service="bench", revision="v1", detector=detector, keep_profile=watched)


def cost(call: Callable[[], Any], count: int) -> float:
    """Return microseconds of thread CPU per call, the fastest of seven loops."""
    best = float("inf")
    for _ in range(7):
        started = time.thread_time_ns()
        for _ in range(count):
            call()
        best = min(best, (time.thread_time_ns() - started) / count / 1000)
    return best


def calls(features: int) -> dict[str, Callable[[], Any]]:
    """Return what is measured for rows of `features` values."""
    from prometheus_client import CollectorRegistry, Histogram

    rng = np.random.default_rng(5)
    values = rng.normal(size=features)
    plain, mixed = monitor(features), monitor(features, mixed=True)
    numbers = dict(zip(plain.feature_names, values.tolist(), strict=True))
    names = {name: "web" if place % 10 < 3 else value for place, (name, value) in enumerate(numbers.items())}
    nulls = {name: None if place % 10 == 9 else value for place, (name, value) in enumerate(names.items())}
    payload = {"instances": [values.tolist()]}
    kept: deque[Any] = deque(maxlen=4096)
    histograms = Histogram("h", "h", ["feature"], registry=CollectorRegistry())
    bound = [(histograms.labels(name), value) for name, value in numbers.items()]

    def observe() -> None:
        for histogram, value in bound:
            histogram.observe(value)

    def observe_by_label() -> None:
        for name, value in numbers.items():
            histograms.labels(name).observe(value)

    def json_line() -> None:
        json.dumps(numbers)

    return {
        "floor: a reference to the row in a deque": lambda: kept.append(values),
        "**ours**, numpy row": lambda: plain.capture(values),
        "**ours**, dict of numbers": lambda: plain.capture(numbers),
        "**ours**, dict, 3 in 10 are categories": lambda: mixed.capture(names),
        "**ours**, the same, 1 in 10 is null": lambda: mixed.capture(nulls),
        "**ours**, KServe v1 payload": lambda: plain.capture(payload),
        "json.dumps of the row": json_line,
        "prometheus_client histogram per feature": observe,
        "the same, looked up by label": observe_by_label,
    }


WHYLOGS = """
import sys, time
from whylogs.core import DatasetProfile
row = {f"feature_{i}": float(i) for i in range(int(sys.argv[1]))}
profile = DatasetProfile()
best = 1e9
for _ in range(3):
    started = time.thread_time_ns()
    for _ in range(60): profile.track(row=row)
    best = min(best, (time.thread_time_ns() - started) / 60 / 1000)
print(best)
"""


def whylogs(features: int) -> str:
    """Return microseconds of whylogs' track(row=), in its own environment, or why there is no figure."""
    from benchmarks.drift.batch import interpreter

    python, why = interpreter("whylogs")
    if why:
        return why
    done = subprocess.run([python, "-c", WHYLOGS, str(features)], capture_output=True, text=True, check=False)
    return f"{float(done.stdout):,.0f}" if not done.returncode else f"fails: {(done.stderr.splitlines() or ['?'])[-1][:80]}"


def folding(features: int = 50, rows: int = 20_000) -> tuple[float, float]:
    """Return microseconds a row of the background thread: windows only, and with alarms and the day's profile."""
    rng = np.random.default_rng(7)
    table = rng.normal(size=(rows, features))
    found = []
    for watched in (False, True):
        one = monitor(features, watched=watched)
        started = time.thread_time_ns()
        for start in range(0, rows, 2_000):
            one.capture(table[start : start + 2_000])
            one.fold(1e9 + start)
        one.profile()
        found.append((time.thread_time_ns() - started) / rows / 1000)
    return found[0], found[1]


def predictor(requests: int) -> str:
    """Compare a predictor with and without a watched row; a table of latencies in milliseconds."""
    import threading

    rng = np.random.default_rng(9)
    matrix = rng.normal(size=(160, 160)) / 160
    rows = rng.normal(size=(256, 50))
    watched = monitor(50, watched=True)
    dicts = [dict(zip(watched.feature_names, row.tolist(), strict=True)) for row in rows]

    def predict(row: np.ndarray[Any, Any], work: int) -> float:
        vector = np.resize(row, 160)
        for _ in range(work):
            vector = np.tanh(matrix @ vector)
        return float(vector[0])

    probe = 400
    fastest = min(_timed(lambda: predict(rows[0], probe)) for _ in range(20))
    work = max(1, round(probe * MILLISECONDS / 1000 / fastest))
    variants: dict[str, Callable[[int], Any]] = {
        "plain": _nothing,
        "plain again": _nothing,
        "watched, numpy row": lambda place: watched.capture(rows[place]),
        "watched, dict": lambda place: watched.capture(dicts[place]),
    }
    stop = threading.Event()

    def fold() -> None:
        while not stop.wait(1.0):
            watched.fold(time.time())

    thread = threading.Thread(target=fold, daemon=True)
    thread.start()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    order = random.Random(1)
    for number in range(-2, requests // BLOCK):
        for name in order.sample(list(variants), len(variants)):
            for place in range(BLOCK):
                row = (number * BLOCK + place) % len(rows)
                started = time.perf_counter()
                variants[name](row)
                predict(rows[row], work)
                if number >= 0:
                    seconds[name].append(time.perf_counter() - started)
    stop.set()
    thread.join()
    lines = ["| predictor | p50 ms | p99 ms | p50 against plain |", "|---|---|---|---|"]
    base = float(np.median(seconds["plain"]))
    for name, found in seconds.items():
        p50, p99 = np.percentile(found, [50, 99])
        lines.append(f"| {name} | {p50 * 1e3:.3f} | {p99 * 1e3:.3f} | {(p50 - base) / base:+.2%} |")
    return "\n".join(lines)


def _nothing(place: int) -> None:
    del place


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(*, quick: bool = False) -> str:
    """Return the tables as Markdown."""
    sizes = SIZES[:2] if quick else SIZES
    found: dict[str, list[str]] = {}
    for features in sizes:
        todo = list(calls(features).items())
        random.Random(features).shuffle(todo)
        timed = {name: cost(call, 300 if quick else 3_000) for name, call in todo}
        for name in calls(features):
            found.setdefault(name, []).append(f"{timed[name]:.2f}")
    if not quick:
        found["whylogs track(row=)"] = [whylogs(features) for features in sizes]
    head = ["us of thread CPU per request", *(f"{features} features" for features in sizes)]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    lines += [f"| {' | '.join([name, *row])} |" for name, row in found.items()]
    windows, everything = folding(rows=4_000 if quick else 20_000)
    background = f"{windows:.1f} us for windows and scores, {everything:.1f} us with alarms and the day's profile too"
    lines += [
        "",
        f"In the background, for each row of 50 numbers: {background}.",
        "",
        f"A prediction of about {MILLISECONDS:g} ms with 50 features, {60 if quick else 1_500} requests each:",
        "",
        predictor(60 if quick else 1_500),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(measure(quick="--quick" in sys.argv))
