"""How long rules and their tests take to render, from 1 to 10,000 SLOs; each size in a process of its own, for its memory.

The SLOs are of services of five SLOs each, with five objectives and all indicators of the instrumentation, written as YAML and
read back: reading specs is part of what a user waits for, and is shown by itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

SIZES = (1, 10, 100, 1_000, 10_000)
_INDICATORS = (
    "{type: availability, stage: ingress}",
    "{type: latency, stage: ingress, threshold: 250ms}",
    "{type: freshness}",
    "{type: drift}",
    "{type: availability, stage: serve}",
)
_OBJECTIVES = ("0.999", "0.99", "0.995", "0.95", "0.9")


@dataclass(frozen=True)
class Rendered:
    """Of `slos` SLOs: CPU seconds to read the specs, to render rules and tests, peak memory in bytes, bytes written, and their digest."""

    slos: int
    read: float
    rules: float
    tests: float
    memory: int
    size: int
    digest: str


def measure(size: int) -> Rendered:
    """Render `size` SLOs in a fresh process."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.slo.rendering", str(size)], capture_output=True, text=True, check=True)
    return Rendered(**json.loads(done.stdout))


def peak_memory() -> int:
    """Return the most bytes this process ever held. Not ru_maxrss: that one counts what the parent held when it forked."""
    return int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))) * 1024


def _specs(folder: Path, size: int) -> None:
    for service in range((size + 4) // 5):
        lines = [f"service: service-{service}", "team: team", "slos:"]
        for index in range(min(5, size - service * 5)):
            objective = _OBJECTIVES[(service + index) % 5]
            lines.append(f"  - {{name: slo-{index}, objective: {objective}, replan: true, indicator: {_INDICATORS[index]}}}")
        (folder / f"service-{service}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _render(size: int) -> Rendered:
    from mlops_obs.adapters.files import load_slos
    from mlops_obs.slo.rule_tests import render_test_files
    from mlops_obs.slo.rules.prometheus_rules import render_rules

    with tempfile.TemporaryDirectory() as name:
        _specs(Path(name), size)
        start = time.process_time()
        slos = load_slos(Path(name))
        read = time.process_time() - start
    services = [list(group) for _, group in groupby(sorted(slos, key=lambda slo: slo.service), key=lambda slo: slo.service)]
    digest, written, spent = hashlib.sha256(), 0, [0.0, 0.0]
    for mine in services:
        for index, render in enumerate((render_rules, lambda group: "".join(render_test_files(group, ["rules.yaml"]).values()))):
            start = time.process_time()
            text = render(mine)
            spent[index] += time.process_time() - start
            digest.update(text.encode())
            written += len(text)
    return Rendered(size, read, spent[0], spent[1], peak_memory(), written, digest.hexdigest()[:12])


if __name__ == "__main__":
    print(json.dumps(_render(int(sys.argv[1])).__dict__))
