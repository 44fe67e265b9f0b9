"""`python realtime_world.py ENV ERROR_PERCENT ARGS...` runs `obs rollout ARGS` with a target in a file and counters made from it.

The weights and their history are in `target.json` beside the environment file, so that they outlive a killed controller as a platform does.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mlops_obs.cli import rollout, wiring
from mlops_obs.metric_names import OUTCOME, REQUEST_DURATION, REQUESTS, REVISION, SERVICE, STAGE
from mlops_obs.rollout.ports import WayBack
from mlops_obs.slo.counters import Series
from mlops_obs.testing.targets import FakeTarget

RATE, SCRAPE = 100, 0.1


class FileTarget:
    """FakeTarget kept in a file: each call reads it, and appends the split to the history."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def history(self) -> list[tuple[float, dict[str, int]]]:
        return [(at, weights) for at, weights in json.loads(self.path.read_text())]

    def deploy(self, revision: str, package: str) -> None:
        time.sleep(0.05)

    def weights(self) -> dict[str, int]:
        return self.history()[-1][1]

    def way_back(self, revision: str) -> WayBack:
        return WayBack(True, "", 0.0)

    def set_weights(self, weights: Any, expected: Any) -> None:
        fake = FakeTarget(self.weights(), {"v1": "", "v2": ""})
        fake.set_weights(weights, expected)
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps([*self.history(), (time.time(), dict(fake.weights()))]))
        temporary.rename(self.path)


class ClockCounters:
    """Counters as a function of time: RATE requests a second, split by the weights that were applied, errors in the canary."""

    def __init__(self, target: FileTarget, errors: float) -> None:
        self.target, self.errors = target, errors

    def total(self, revision: str, at: float) -> int:
        history = self.target.history()
        ends = [start for start, _ in history[1:]] + [at]
        spans = ((max(0.0, min(end, at) - start), weights) for (start, weights), end in zip(history, ends, strict=True))
        return int(sum(span * RATE * weights.get(revision, 0) / 100 for span, weights in spans))

    def series(self, metric: str, matchers: Any, start: float, end: float) -> list[Series]:
        base = {SERVICE: "credit-risk", STAGE: "ingress"}
        end = min(end, time.time())
        first = self.target.history()[0][0]
        ticks = [k * SCRAPE for k in range(int(max(start, first) / SCRAPE) + 1, int(end / SCRAPE) + 1)]
        out = []
        for revision, share in (("v1", 0.0), ("v2", self.errors)):
            totals = [(at, self.total(revision, at)) for at in ticks]
            failed = [(at, float(int(n * share))) for at, n in totals]
            if metric == REQUESTS.name:
                out.append(Series({**base, REVISION: revision, OUTCOME: "error"}, failed))
                out.append(
                    Series(
                        {**base, REVISION: revision, OUTCOME: "ok"},
                        [(at, n - bad) for (at, n), (_, bad) in zip(totals, failed, strict=True)],
                    )
                )
            elif metric.startswith(REQUEST_DURATION.name):
                le = {"le": "0.25"} if metric.endswith("_bucket") else {}
                out.append(Series({**base, REVISION: revision, **le}, [(at, float(n)) for at, n in totals]))
        return out


def main() -> None:
    env, errors, arguments = Path(sys.argv[1]), float(sys.argv[2]) / 100, sys.argv[3:]
    target = FileTarget(env.parent / "target.json")
    if not target.path.exists():
        target.path.write_text(json.dumps([(time.time(), {"v1": 100})]))
    wiring.traffic_target = lambda _: target  # type: ignore[assignment]
    wiring.counter_source = lambda _: ClockCounters(target, errors)  # type: ignore[assignment]
    rollout.app([*arguments, "--env", str(env)])


if __name__ == "__main__":
    main()
