"""`python realtime_operator.py FILE ERROR_PERCENT ARGS...`: `obs rollout operator ARGS`, its target in FILE, counters made from that."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import typer

from mlops_obs.cli import rollout_operator, wiring
from mlops_obs.errors import Conflict
from mlops_obs.testing.targets import FakeTarget
from tests.rollout.realtime_world import ClockCounters, FileTarget


class VersionedTarget(FileTarget):
    """FileTarget with a file for each version, so that a change is a compare-and-set: a process that was stopped in one comes too late."""

    def file(self, version: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{version:04d}")

    def begin(self) -> None:
        self.write([(time.time(), {"v1": 100})])

    def history(self) -> list[tuple[float, dict[str, int]]]:
        newest = max(self.path.parent.glob(f"{self.path.name}.[0-9]*"))
        return [(at, weights) for at, weights in json.loads(newest.read_text())]

    def set_weights(self, weights: Any, expected: Any) -> None:
        history = self.history()
        fake = FakeTarget(history[-1][1], {"v1": "", "v2": ""})
        fake.set_weights(weights, expected)
        self.write([*history, (time.time(), dict(fake.weights()))])

    def write(self, history: list[tuple[float, dict[str, int]]]) -> None:
        temporary = self.path.with_name(f"new-{os.getpid()}-{threading.get_ident()}")
        temporary.write_text(json.dumps(history))
        try:
            os.link(temporary, self.file(len(history)))
        except FileExistsError as error:
            raise Conflict("OBS-FAKE-002", "somebody else was first", todo="read again") from error
        finally:
            temporary.unlink()


def main() -> None:
    target = VersionedTarget(Path(sys.argv[1]))
    wiring.target_of = lambda *_, **__: target  # type: ignore[assignment]
    wiring.counter_source = lambda _: ClockCounters(target, float(sys.argv[2]) / 100)  # type: ignore[assignment]
    app = typer.Typer()
    rollout_operator.register(app)
    app(sys.argv[3:])


if __name__ == "__main__":
    main()
