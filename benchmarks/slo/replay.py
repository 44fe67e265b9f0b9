"""How long `obs slo backtest` takes over 90 days of five-minute counts, from reading the file to the table of tiers and proposals."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.slo.history import DAY, traffic

_DAYS = 90
_RUN = """
import sys, time
from benchmarks.slo.rendering import peak_memory
from mlops_obs.cli.main import main
try:
    main()
finally:
    print(time.process_time(), peak_memory(), file=sys.stderr)
"""


@dataclass(frozen=True)
class Took:
    """Rows of the file, seconds on the wall and of CPU, peak memory of the process in bytes."""

    rows: int
    wall: float
    cpu: float
    memory: int


def measure(slos: int) -> Took:
    """Write the counts and run the command on them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = _write(folder, slos)
        command = ["slo", "backtest", folder / "specs", "--from", folder / "counts.csv", "--incidents", folder / "incidents.csv"]
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", _RUN, *map(str, command)], capture_output=True, text=True, check=True)
        wall = time.perf_counter() - began
    cpu, memory = done.stderr.split()[-2:]
    return Took(rows, wall, float(cpu), int(memory))


def _write(folder: Path, slos: int) -> int:
    """Write specs, counts and incidents: each SLO has one outage of 40 minutes."""
    (folder / "specs").mkdir()
    end = int(time.time()) // DAY * DAY
    times = np.arange(end - _DAYS * DAY, end + 1, 300)
    rows = 0
    with (folder / "counts.csv").open("w") as counts, (folder / "incidents.csv").open("w") as incidents:
        counts.write("time,service,slo,bad,total\n")
        incidents.write("start,end,service,slo,note\n")
        for index in range(slos):
            spec = f"service: s{index}\nteam: t\nslos: [{{name: a, objective: 0.999, indicator: {{type: availability}}}}]\n"
            (folder / "specs" / f"s{index}.yaml").write_text(spec)
            begin = end - (10 + index % 70) * DAY + 10 * 3_600
            total, bad = traffic(times, outage=(begin, begin + 2_400))
            incidents.write(f"{begin},{begin + 2_400},s{index},a,outage\n")
            each = zip(times[1:].tolist(), np.diff(bad).tolist(), np.diff(total).tolist(), strict=True)
            counts.writelines(f"{at},s{index},a,{lost:.0f},{all_:.0f}\n" for at, lost, all_ in each)
            rows += len(times) - 1
    return rows
