"""One tool, one table, measured in a process of its own; imports nothing of ours but in our own functions, so that any environment runs it.

    python batch_tools.py TOOL REFERENCE.parquet CURRENT.parquet REPEATS  ->  one line of JSON

What is prepared once is outside of the clock: reading the files, the form that a tool wants (pandas for all but ours), fitting a
reference where a tool keeps one. Inside: from the current table in memory to verdicts. CPU time counts all threads.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"
os.environ["WHYLOGS_NO_ANALYTICS"] = "True"
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"

Run = Callable[[], Any]
Prepare = Callable[[str, str], Run]


def _arrow(path: str, *, encoded: bool) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(1)
    table = pq.read_table(path)
    if encoded:
        for place, field in enumerate(table.schema):
            if pa.types.is_string(field.type):
                table = table.set_column(place, field.name, table.column(place).combine_chunks().dictionary_encode())
    return table.combine_chunks()


def _ours(reference: str, current: str, *, encoded: bool, stages: tuple[str, ...] = ("profile", "score")) -> Run:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from mlops_obs.adapters.tables import profile_of_arrow, schema_of_arrow
    from mlops_obs.collectors.drift.compare import compare
    from mlops_obs.collectors.drift.reference import ReferenceProfile

    before, now = _arrow(reference, encoded=encoded), _arrow(current, encoded=encoded)
    schema = schema_of_arrow(before)
    kept = ReferenceProfile.from_bytes(profile_of_arrow(before, schema).to_bytes())
    for name in kept.feature_names:
        kept.partition(name)  # computed once for a reference, as others fit theirs

    def run() -> int:
        profile = profile_of_arrow(now, schema)
        if "score" not in stages:
            return 0
        return sum(one.alarm for one in compare(kept, profile).features)

    return run


def _floor(_reference: str, current: str) -> Run:
    import numpy as np

    buffers = [
        np.frombuffer(buffer, dtype=np.uint8)
        for column in _arrow(current, encoded=False).columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    ]
    words = [one[: one.size // 8 * 8].view(np.uint64) for one in buffers]
    return lambda: sum(int(np.bitwise_or.reduce(one)) for one in words) and 0


def _evidently(reference: str, current: str, *, bare: bool) -> Run:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    frames = [pd.read_parquet(path) for path in (reference, current)]
    numbers = [name for name in frames[0] if frames[0][name].dtype != object]
    names = [name for name in frames[0] if frames[0][name].dtype == object]

    def run() -> int:
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=names)
        before, now = (Dataset.from_pandas(frame, data_definition=definition) for frame in frames)
        metrics = [ValueDrift(column=name) for name in frames[0]] if bare else [DataDriftPreset()]
        found = Report(metrics).run(now, before).dict()
        return len(found["metrics"])

    return run


def _whylogs(reference: str, current: str) -> Run:
    import pandas as pd
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    before = why.log(pandas=pd.read_parquet(reference)).profile().view()
    frame = pd.read_parquet(current)

    def run() -> int:
        now = why.log(pandas=frame).profile().view()
        found = calculate_drift_scores(target_view=now, reference_view=before, with_thresholds=True)
        return sum(one is not None and one.get("drift_category") == "DRIFT" for one in found.values())

    return run


def _nannyml(reference: str, current: str) -> Run:
    import nannyml
    import pandas as pd

    nannyml.disable_usage_logging() if hasattr(nannyml, "disable_usage_logging") else None
    before, frame = pd.read_parquet(reference), pd.read_parquet(current)
    names = list(before)
    fitted = nannyml.UnivariateDriftCalculator(
        column_names=names,
        chunk_number=10,
        continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
    ).fit(before)

    def run() -> int:
        return len(fitted.calculate(frame).to_df())

    return run


TOOLS: dict[str, Prepare] = {
    "ours": lambda a, b: _ours(a, b, encoded=True),
    "ours-strings": lambda a, b: _ours(a, b, encoded=False),
    "ours-profile": lambda a, b: _ours(a, b, encoded=True, stages=("profile",)),
    "floor": _floor,
    "evidently-preset": lambda a, b: _evidently(a, b, bare=False),
    "evidently-bare": lambda a, b: _evidently(a, b, bare=True),
    "whylogs": _whylogs,
    "nannyml": _nannyml,
}


def _status(key: str) -> int:
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(key))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Measure one tool and print what was found."""
    tool, reference, current, repeats = sys.argv[1:5]
    run = TOOLS[tool](reference, current)
    resident = _status("VmRSS")
    cpu, wall = [], []
    for turn in range(int(repeats) + 1):
        started, began = time.process_time(), time.perf_counter()
        found = run()
        if turn or int(repeats) == 1:  # the first one warms up, unless there is time for one only
            cpu.append(time.process_time() - started)
            wall.append(time.perf_counter() - began)
        if int(repeats) == 1:
            break
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures = {"cpu": statistics.median(cpu), "wall": statistics.median(wall), "memory": max(0, peak - resident)}
    print(json.dumps({**figures, "runs": len(cpu), "found": found}))


if __name__ == "__main__":
    main()
