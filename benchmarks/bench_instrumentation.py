"""What does instrumentation cost per request? `make bench` prints the answer and writes it to `results/instrumentation.md`.

One KServe server holds the same model three times: plain, plain again, and instrumented with everything on (exact metrics, drift
profile of 50 features, tracing at its default ratio). A client asks them in turn in short blocks in random order, so that whatever
the machine does hits all three alike. The second plain copy is the control: no difference smaller than its difference means
anything. They share one process because two processes of the same program differ by more than what is measured here (up to 10 %
on this work, by where its memory happens to lie). The price of sharing: background work (folding rows, scrapes every second)
slows all three alike, so its CPU is measured by itself. Below: the parts alone, in a loop.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

FEATURES = 50
PLAIN, CONTROL, INSTRUMENTED = "plain", "plain-again", "instrumented"
VARIANTS = (PLAIN, CONTROL, INSTRUMENTED)
BLOCK = 10  # requests to one model before the next one is asked
IDLE_SECONDS = 5.0
RESULT = Path(__file__).with_name("results") / "instrumentation.md"


@dataclass
class Measured:
    """One model. Per block: client latencies in seconds and CPU seconds of the server process per request. Per request: `around`, the
    CPU seconds of the request thread inside the model's call but outside the prediction, that is KServe's own and ours."""

    latencies: list[list[float]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    around: list[float] = field(default_factory=list)


# --- the server ---------------------------------------------------------------------------------------------
def prediction(work: int) -> Callable[[Any], float]:
    import numpy as np

    matrix = np.random.default_rng(7).normal(size=(160, 160)) / 160

    def predict(row: Any) -> float:
        vector = np.resize(row, 160)
        for _ in range(work):
            vector = np.tanh(matrix @ vector)
        return float(vector[0])

    return predict


def calibrated(milliseconds: float) -> int:
    """Return how much work one prediction must do to take `milliseconds` on this machine now."""
    import numpy as np

    row, probe = np.zeros(FEATURES), 400
    predict = prediction(probe)
    fastest = min(_timed(lambda: predict(row)) for _ in range(20))
    return max(round(probe * milliseconds / 1000 / fastest), 1)


def _timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def reference() -> bytes:
    import numpy as np

    from mlops_obs.collectors.drift.reference import ReferenceProfile

    table = np.random.default_rng(3).normal(size=(4000, FEATURES))
    return ReferenceProfile.from_columns({f"feature_{number}": table[:, number] for number in range(FEATURES)}).to_bytes()


def serve(work: int) -> None:
    import kserve
    import numpy as np
    from kserve.model_repository import ModelRepository
    from kserve.protocol.dataplane import DataPlane
    from kserve.protocol.model_repository_extension import ModelRepositoryExtension
    from kserve.protocol.rest.server import RESTServer

    from mlops_obs.lifecycle import NoopTelemetry, Telemetry, instrument

    names = [f"feature_{number}" for number in range(FEATURES)]
    predict = prediction(work)

    class Bench(kserve.Model):
        def __init__(self, name: str, telemetry: Telemetry) -> None:
            super().__init__(name)
            self.ready = True
            self.telemetry = telemetry
            self.predicting = 0

        def predict(self, payload: Any, _headers: Any = None) -> dict[str, Any]:
            row = np.asarray(payload["instances"][0], dtype=np.float64)
            self.telemetry.features(row)
            started = time.thread_time_ns()
            answer = predict(row)
            self.predicting = time.thread_time_ns() - started
            return {"predictions": [answer]}

    class Outside(kserve.Model):
        """Stands where the server calls the model, and measures what the call costs around the prediction."""

        def __init__(self, inner: Bench) -> None:
            super().__init__(inner.name)
            self.ready = True
            self.inner = inner
            self.around: list[float] = []

        async def __call__(self, body: Any, headers: Any = None, **options: Any) -> Any:
            started = time.thread_time_ns()
            answer = await self.inner(body, headers, **options)
            self.around.append((time.thread_time_ns() - started - self.inner.predicting) / 1e9)
            return answer

    class Meter(kserve.Model):
        def __init__(self, models: dict[str, Outside]) -> None:
            super().__init__("meter")
            self.ready = True
            self.models = models

        def predict(self, payload: Any, _headers: Any = None) -> dict[str, Any]:
            asked = payload["instances"][0]
            return {"predictions": [time.process_time() if asked == "cpu" else self.models[asked].around]}

    models: dict[str, Outside] = {}
    for variant in VARIANTS:
        telemetry: Telemetry = NoopTelemetry("bench", variant, "serve")
        if variant == INSTRUMENTED:
            telemetry = instrument("bench", variant, reference=reference(), feature_names=names)
        models[variant] = Outside(telemetry.wrap(Bench(variant, telemetry)))
    repository = ModelRepository()
    for model in (*models.values(), Meter(models)):
        repository.update(model)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = "kserve.model_server:app"
    RESTServer(app, DataPlane(repository), ModelRepositoryExtension(repository), 0).run(sockets=[listener])


# --- the client ---------------------------------------------------------------------------------------------
class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, model: str, instance: Any) -> Any:
        body = json.dumps({"instances": [instance]})
        self._connection.request("POST", f"/v1/models/{model}:predict", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"the server answered {response.status}: {answer[:200]!r}")
        return json.loads(answer)["predictions"][0]

    def cpu(self) -> float:
        return float(self.ask("meter", "cpu"))

    def wait(self) -> None:
        for _ in range(600):
            try:
                self.cpu()
            except OSError:
                self._connection.close()
                time.sleep(0.1)
            else:
                return
        raise RuntimeError("the server did not start")


def compare(rounds: int, work: int, seed: int) -> tuple[dict[str, Measured], float]:
    """Return what each model cost, and the CPU seconds per second that the idle server uses for scrapes and folding."""
    with tempfile.TemporaryDirectory() as folder:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "MLOPS_OBS_"))}
        env |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        env |= {"MLOPS_OBS_DISCOVERY_DIR": str(Path(folder) / "discovery"), "MLOPS_OBS_TRACE_FILE": str(Path(folder) / "traces.jsonl")}
        command = [sys.executable, __file__, "--serve", "--work", str(work)]
        server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        stop = threading.Event()
        try:
            client = Client(int(server.stdout.readline()))  # type: ignore[union-attr]
            client.wait()
            threading.Thread(target=_scrape, args=(Path(folder) / "discovery", stop), daemon=True).start()
            measured = _rounds(client, rounds, random.Random(seed))
            before = client.cpu()
            time.sleep(IDLE_SECONDS)
            return measured, (client.cpu() - before) / IDLE_SECONDS
        finally:
            stop.set()
            server.terminate()
            server.wait(30)


def _scrape(discovery: Path, stop: threading.Event) -> None:
    target = json.loads(next(discovery.glob("*.json")).read_text())[0]["targets"][0]
    request = urllib.request.Request(f"http://{target}/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    while not stop.wait(1.0):
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()


def _rounds(client: Client, rounds: int, rng: random.Random) -> dict[str, Measured]:
    measured = {variant: Measured() for variant in VARIANTS}
    blocks = max(rounds // BLOCK, 2)
    for number in range(-2, blocks):
        for variant in rng.sample(VARIANTS, len(VARIANTS)):
            rows = [[rng.gauss(0, 1) for _ in range(FEATURES)] for _ in range(BLOCK)]
            before = client.cpu()
            seconds = [_timed(partial(client.ask, variant, row)) for row in rows]
            used = client.cpu() - before
            if number >= 0:
                measured[variant].latencies.append(seconds)
                measured[variant].cpu.append(used / BLOCK)
        if number % 25 == 0:
            print(f"  {max(number, 0) * BLOCK} of {blocks * BLOCK} requests to each", file=sys.stderr, flush=True)
    for variant, one in measured.items():
        one.around = client.ask("meter", variant)[2 * BLOCK :]
    return measured


# --- the parts ----------------------------------------------------------------------------------------------
PART = """
import sys, time
sys.path.insert(0, {folder!r})
import numpy as np
from bench_instrumentation import FEATURES, reference
from mlops_obs.lifecycle import instrument
handle = instrument("bench", "v1", reference=reference() if {drift} else None)
handle._process.stopping.set()
row = np.zeros(FEATURES)
def once():
    with handle.request({headers}) as request:
        {body}
best = []
for _ in range(7):
    started = time.thread_time_ns()
    for _ in range({count}): once()
    best.append((time.thread_time_ns() - started) / {count})
    time.sleep(1.2 if {pause} else 0)
print(min(best), sorted(best)[len(best) // 2])
"""
TRACED = {"OTEL_TRACES_SAMPLER_ARG": "1"}
UNTRACED = {"OTEL_TRACES_SAMPLER_ARG": "0"}
ROW = "request.features(row)"
HEADER = 'headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}'


def parts() -> list[tuple[str, float, float]]:
    """Measure each part alone: (name, fastest and median microseconds of thread CPU per request over seven loops)."""
    with tempfile.TemporaryDirectory() as folder:
        traces = {"MLOPS_OBS_TRACE_FILE": str(Path(folder) / "t.jsonl")}
        return [
            ("outcome counter, in-flight gauge, exact histogram", *_part()),
            (f"the same + drift capture of {FEATURES} features", *_part(body=ROW)),
            ("the same + tracing on, request not sampled", *_part(traces | UNTRACED, body=ROW)),
            ("the same, not sampled by the caller's header", *_part(traces | UNTRACED, headers=HEADER, body=ROW)),
            ("sampled: span, exemplar and drift capture", *_part(traces | TRACED, body=ROW, count=1000, pause=True)),
        ]


def _part(
    env: dict[str, str] | None = None, *, headers: str = "", body: str = "pass", count: int = 20000, pause: bool = False
) -> tuple[float, float]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "MLOPS_OBS_"))}
    folder = str(Path(__file__).parent)
    program = PART.format(folder=folder, drift=body == ROW, headers=headers, body=body, count=count, pause=pause)
    done = subprocess.run([sys.executable, "-c", program], env={**clean, **(env or {})}, capture_output=True, text=True, check=True)
    fastest, median = map(float, done.stdout.split())
    return fastest / 1000, median / 1000


# --- the report ---------------------------------------------------------------------------------------------
def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def difference(base: Sequence[float], other: Sequence[float], seed: int) -> tuple[float, float, float]:
    """Return the median of the paired differences in microseconds with its 95 % bootstrap interval."""
    rng = random.Random(seed)
    paired = [(b - a) * 1e6 for a, b in zip(base, other, strict=True)]
    medians = sorted(statistics.median(rng.choices(paired, k=len(paired))) for _ in range(400))
    return statistics.median(paired), medians[9], medians[389]


def against(base: Sequence[float], other: Sequence[float], seed: int) -> str:
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*difference(base, other, seed))


def machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")] or [platform.processor() or "unknown CPU"]
    packages = ", ".join(f"{name} {version(name)}" for name in ("kserve", "opentelemetry-sdk", "prometheus-client", "numpy"))
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{names[0]}, {os.cpu_count()} cores, {system}, {packages}. Load average at the end {os.getloadavg()[0]:.1f}."


def report(measured: dict[str, Measured], idle: float, alone: list[tuple[str, float, float]], milliseconds: float, seed: int) -> str:
    count = len(measured[PLAIN].latencies) * BLOCK
    lines = [
        "# What instrumentation costs per request",
        "",
        "Generated by `make bench`, do not edit. The method is described at the top of `benchmarks/bench_instrumentation.py`.",
        "",
        f"Machine: {machine()}",
        "",
        f"## A KServe server with a prediction of about {milliseconds:g} ms, {count} requests to each model",
        "",
        "| model | p50 ms | p99 ms | server CPU ms per request | CPU around it: p50 us | p99 us | p50 against plain, us (95 % interval) |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant, one in measured.items():
        everything = [seconds for block in one.latencies for seconds in block]
        p50, p99, cpu = percentile(everything, 0.5) * 1000, percentile(everything, 0.99) * 1000, statistics.median(one.cpu) * 1000
        around50, around99 = percentile(one.around, 0.5) * 1e6, percentile(one.around, 0.99) * 1e6
        more = "" if variant == PLAIN else against(measured[PLAIN].around, one.around, seed)
        lines.append(f"| {variant} | {p50:.3f} | {p99:.3f} | {cpu:.3f} | {around50:.1f} | {around99:.1f} | {more} |")
    lines += [
        "",
        "`plain-again` is the noise of this machine: the same model, measured the same way. Latency and server CPU contain the whole HTTP",
        "stack and the prediction; the CPU around the prediction is what the request thread spent in KServe's model call and in ours.",
        f"Idle, the whole server uses {idle * 1000:.1f} ms CPU per second ({idle:.2%} of a core): one scrape and one fold each second.",
        "",
        "## The parts, alone in a loop",
        "",
        f"| CPU in the request thread | fastest us | median us | of a {milliseconds:g} ms prediction |",
        "|---|---|---|---|",
    ]
    lines += [f"| {name} | {fastest:.2f} | {median:.2f} | {median / milliseconds / 10:.3f} % |" for name, fastest, median in alone]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2500, help="requests to each model")
    parser.add_argument("--milliseconds", type=float, default=5.0, help="CPU time of one prediction")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.work)
        return
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    measured, idle = compare(arguments.requests, calibrated(arguments.milliseconds), arguments.seed)
    text = report(measured, idle, parts(), arguments.milliseconds, arguments.seed)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
