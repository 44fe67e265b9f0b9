"""Profile and score a table that is in memory: ours beside Evidently, whylogs and NannyML, and the floor: reading every byte once.

35 columns of numbers with 5 % NaN and 15 of names (5, 30 and 100 different ones). Each tool runs in a process of its own, those whose
pins clash with ours in an environment of their own that is made once in a cache folder; what cannot be installed is left out with the
reason. Medians of CPU seconds of all threads.

Not like for like, and on the safe side of it: the others get their tables as pandas frames before the clock starts; Evidently reads both
tables in each run, because it keeps no reference, and its preset draws plots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

TOOL = Path(__file__).with_name("batch_tools.py")
CACHE = Path(os.environ.get("MLOPS_OBS_BENCH_CACHE", Path.home() / ".cache" / "mlops-obs-bench"))
ENVIRONMENTS = {
    "whylogs": ["whylogs==1.6.4", "numpy<2", "pandas<3", "pyarrow<20", "scipy", "ipython"],
    "nannyml": ["nannyml==0.13.1", "statsmodels", "pyarrow"],  # it does not name statsmodels itself
}
TITLES = {
    "floor": "floor: every byte read once",
    "ours": "ours, dictionary columns",
    "ours-strings": "ours, plain strings",
    "nannyml": "NannyML 0.13.1 univariate Jensen-Shannon, fitted before",
    "whylogs": "whylogs 1.6.4, profile and drift",
    "evidently-bare": "Evidently 0.7.23, ValueDrift of each column",
    "evidently-preset": "Evidently 0.7.23, DataDriftPreset",
}
REPEATS = {"evidently-preset": 1, "evidently-bare": 1, "whylogs": 1, "nannyml": 3}
_INSTALL_SECONDS, _RUN_SECONDS = 1200, 1800


def table(rows: int, seed: int) -> object:
    """Return an Arrow table of 50 columns."""
    import pyarrow as pa

    random = np.random.default_rng(seed)
    draws = (
        lambda: random.lognormal(8, 1, rows),
        lambda: random.normal(0, 1, rows),
        lambda: random.integers(0, 90, rows).astype(np.float64),
        lambda: random.exponential(3, rows),
        lambda: random.normal(50, 3, rows),
    )
    columns = {f"number_{place}": pa.array(np.where(random.random(rows) < 0.05, np.nan, draws[place % 5]())) for place in range(35)}
    names = np.array([f"category_{place}" for place in range(100)])
    columns |= {f"name_{place}": pa.array(names[random.integers(0, (5, 30, 100)[place % 3], rows)]) for place in range(15)}
    return pa.table(columns)


def interpreter(tool: str) -> tuple[str, str]:
    """Return (Python of the tool's environment, "") or ("", why there is none); the environment is made on first use."""
    name = tool.split("-")[0]
    if name not in ENVIRONMENTS:
        return sys.executable, ""
    python = CACHE / name / "bin" / "python"
    done = CACHE / name / "installed"
    if done.exists():
        return str(python), ""
    try:
        subprocess.run([sys.executable, "-m", "venv", str(CACHE / name)], check=True, capture_output=True, timeout=120)
        command = [str(python), "-m", "pip", "install", "--quiet", *ENVIRONMENTS[name]]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS, cwd=CACHE)
    except (subprocess.SubprocessError, OSError) as error:
        return "", f"not installed: {_last(getattr(error, 'stderr', '') or str(error))}"
    done.touch()
    return str(python), ""


def run(tool: str, files: Sequence[Path], repeats: int) -> dict[str, float] | str:
    """Return the figures of one tool, or why there are none."""
    python, why = interpreter(tool)
    if why:
        return why
    try:
        done = subprocess.run(
            [python, str(TOOL), tool, *map(str, files), str(repeats)],
            capture_output=True,
            text=True,
            timeout=_RUN_SECONDS,
            check=False,
            cwd=tempfile.gettempdir(),
        )
    except subprocess.TimeoutExpired:
        return f"not done after {_RUN_SECONDS} s"
    if done.returncode:
        return f"failed: {_last(done.stderr)}"
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(sizes: Sequence[int], tools: Sequence[str] = tuple(TITLES), *, all_sizes: bool = False) -> str:
    """Return the section of the report.

    Args:
        sizes: rows of the tables; the slow tools run at the first size only, unless `all_sizes`.
        tools: names of TITLES.
        all_sizes: Evidently's preset needs minutes for a million rows.
    """
    parts = []
    for place, rows in enumerate(sizes):
        with tempfile.TemporaryDirectory() as folder:
            files = [_written(rows, seed, Path(folder)) for seed in (0, 1)]
            chosen = [one for one in tools if all_sizes or not place or REPEATS.get(one, 9) > 1]
            found = {tool: run(tool, files, REPEATS.get(tool, 9)) for tool in chosen}
        parts.append(f"### {rows:,} rows x 50 columns\n\n{_shown(found, rows)}")
    return f"{__doc__.strip()}\n\n" + "\n\n".join(parts)


def _written(rows: int, seed: int, folder: Path) -> Path:
    import pyarrow.parquet as pq

    path = folder / f"{seed}.parquet"
    pq.write_table(table(rows, seed), path)
    return path


def _shown(found: dict[str, dict[str, float] | str], rows: int) -> str:
    lines = ["| tool | CPU ms | million rows/s | times ours | peak memory above the tables, MB |", "|---|---|---|---|---|"]
    ours = found.get("ours")
    for tool, one in found.items():
        if isinstance(one, str):
            lines.append(f"| {TITLES[tool]} | {one} | | | |")
            continue
        ratio = f"{one['cpu'] / ours['cpu']:,.2f}" if isinstance(ours, dict) else ""
        lines.append(
            f"| {TITLES[tool]} | {one['cpu'] * 1e3:,.1f} | {rows / one['cpu'] / 1e6:,.2f} | {ratio} | {one['memory'] / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].replace("|", "/")[:200] if lines else "no reason given"
