"""What one evaluation of all rules costs a real Prometheus, over thirty days of history and a hundred SLOs.

Prometheus itself evaluates the rules first, so that every recording reads what the others recorded; then each expression
is asked for with the API's statistics. Counts of samples are exact and repeat; seconds are the median of some rounds.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import yaml

from benchmarks.slo.history import Column, steps, traffic, window, write_blocks
from benchmarks.slo.shapes import SERIES
from mlops_obs.adapters.http_client import fetch
from mlops_obs.adapters.processes import Daemon

STEP = 30  # seconds between scrapes and between evaluations
_AHEAD = 3_600  # seconds; the counters go on into the future, so that they are fresh while we measure


@dataclass(frozen=True)
class Cost:
    """One evaluation of all rules of one shape: samples read, seconds in the query engine; and the server's memory in bytes."""

    rules: int
    samples: int
    seconds: float
    memory: int


def write_database(folder: Path, services: Sequence[str], now: int) -> None:
    """Write 31 days of raw counters of `services`, and what our rules and Sloth's had recorded of them until `now`."""
    times = steps(now + _AHEAD, 31, STEP)
    total, bad = traffic(times)
    before_the_hour = (times + 300) % 3_600 <= 300  # when the hour's count is recorded for the long windows
    past = times <= now
    ours = 'slo:events_{}:increase{}{{service="{}",slo="availability",team="t"}}'
    sloth = 'slo:sli_error:ratio_rate5m{{sloth_id="{0}-availability",sloth_service="{0}",sloth_slo="availability",sloth_window="5m"}}'
    recorded = {}
    for kind, counter in (("bad", bad), ("total", total)):
        hour = window(counter, 3_600 // STEP)
        recorded[kind, "5m"], recorded[kind, "1h"] = window(counter, 300 // STEP), hour
        recorded[kind, "1h_hourly"] = np.where(before_the_hour, hour, np.nan)
    ratio = recorded["bad", "5m"] / np.maximum(recorded["total", "5m"], 1)
    columns = []
    for service in services:
        name, outcomes = SERIES
        columns += [Column(name % (service, outcome), total - bad if outcome == "ok" else bad) for outcome in outcomes]
        columns += [Column(ours.format(*key, service), np.where(past, values, np.nan)) for key, values in recorded.items()]
        columns.append(Column(sloth.format(service), np.where(past, ratio, np.nan)))
    write_blocks(folder, times, columns)


def measure(folder: Path, rules: str, *, rounds: int = 5) -> Cost:
    """Let a real Prometheus evaluate `rules` on the database in `folder`, then ask what each expression reads and takes."""
    rule_file, config = folder.with_suffix(".rules.yaml"), folder.with_suffix(".yml")
    rule_file.write_text(rules, encoding="utf-8")
    config.write_text(f"global: {{evaluation_interval: {STEP}s}}\nrule_files: [{json.dumps(str(rule_file))}]\n", encoding="utf-8")
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}", "--storage.tsdb.retention.time=10y"]
    server = Daemon(
        "Prometheus", lambda listen: [*command, f"--web.listen-address={listen}"], "/-/ready", folder.with_suffix(".log"), patience=180
    )
    server.start()
    try:
        _wait_for_two_evaluations(server.url)
        exprs = [rule["expr"] for group in yaml.load(rules, yaml.CSafeLoader)["groups"] for rule in group["rules"]]
        samples, seconds = 0, []
        for _ in range(rounds):
            stats = [_stats(server.url, expr) for expr in exprs]
            samples = sum(one["samples"]["totalQueryableSamples"] for one in stats)
            seconds.append(sum(one["timings"]["evalTotalTime"] for one in stats))
        memory = (
            int(next(line.split()[1] for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmRSS" in line)) * 1024
        )
    finally:
        server.stop()
    return Cost(len(exprs), samples, statistics.median(seconds), memory)


def ask(url: str, expr: str, **parameters: str) -> Any:
    """Return the `data` of an instant query."""
    answer = fetch(f"{url}/api/v1/query?{urlencode({'query': expr, **parameters})}", timeout=120)
    document = json.loads(answer.body)
    if document["status"] != "success":
        raise RuntimeError(f"{expr}: {document}")
    return document["data"]


def _stats(url: str, expr: str) -> Any:
    return ask(url, expr, stats="all")["stats"]


def _wait_for_two_evaluations(url: str) -> None:
    started = time.time()
    while time.time() - started < 300:
        groups = json.loads(fetch(f"{url}/api/v1/rules", timeout=60).body)["data"]["groups"]
        last = [group["lastEvaluation"] for group in groups]
        if groups and all(not one.startswith("0001") for one in last) and time.time() - started > 130:
            return
        time.sleep(2)
    raise RuntimeError("Prometheus did not evaluate its rules twice in five minutes")
