"""`python realtime_operator.py FILE ERROR_PERCENT ARGS...`: `obs rollout operator ARGS`, its target in FILE, counters made from that."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import typer

from mlops_obs.cli import rollout_operator, wiring
from tests.rollout.realtime_world import ClockCounters, FileTarget


def main() -> None:
    target = FileTarget(Path(sys.argv[1]))
    if not target.path.exists():
        target.path.write_text(json.dumps([(time.time(), {"v1": 100})]))
    wiring.target_of = lambda *_, **__: target  # type: ignore[assignment]
    wiring.counter_source = lambda _: ClockCounters(target, float(sys.argv[2]) / 100)  # type: ignore[assignment]
    app = typer.Typer()
    rollout_operator.register(app)
    app(sys.argv[3:])


if __name__ == "__main__":
    main()
