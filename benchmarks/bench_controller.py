"""How many rollouts can one operator carry, and how fast does it act? Prints a table and writes `results/controller.md`.

    python benchmarks/bench_controller.py --kubeconfig FILE [--rollouts 1000] [--seconds 60] [--workers 4] [--seed 1]

Everything is real but two things: the API server (../shared/k8s, started if no kubeconfig is given) has no KServe behind it, so a
change of traffic is a JSON Patch of one object per rollout; and the counters come from a function in the operator's own process,
scraped every second at a phase of each service's own, so their CPU is counted too. All rollouts run at once; in the measured time a
part of the canaries turns bad at random moments, and is rolled back. What is measured: the time of a look, CPU and memory of the
operator's process, calls to the API by verb, and the time from the newest sample that a decision rests on to the moment when the API
server has accepted the patch.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mlops_obs.adapters.kubernetes.api import KubernetesApi
from mlops_obs.adapters.kubernetes.events import Event
from mlops_obs.adapters.kubernetes.lease import Elector, LeaseLock
from mlops_obs.adapters.kubernetes.operator import Operator, Settings
from mlops_obs.adapters.kubernetes.resources import LEASES, RECORDS, ROLLOUTS
from mlops_obs.adapters.kubernetes.self_metrics import SelfMetrics
from mlops_obs.metric_names import CONTROLLER_REACTION, CONTROLLER_RECONCILE, OUTCOME, REQUEST_DURATION, REQUESTS, REVISION, SERVICE, STAGE
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.ports import WayBack
from mlops_obs.slo.counters import Series

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_name("results") / "controller.md"
RATE, SCRAPE = 50, 1.0
SPEC = {
    "steps": [20, 50, 100],
    "step_duration_min": "10m",
    "slice": "2s",
    "block": "10s",
    "warm_up": "0s",
    "deadline": "4h",
    "least_detectable_ratio": 4,
}


class Service:
    """Traffic of one service: requests are split by the weights of the moment, and a bad canary fails half of its own."""

    def __init__(self, name: str, phase: float, now: float) -> None:
        self.name, self.phase, self.bad_from = name, phase, float("inf")
        self.weights: dict[str, int] = {"v1": 100}
        self._at = now - 130 + phase
        self._counts = {"v1": [0.0, 0.0], "v2": [0.0, 0.0]}  # all, failed
        self._times: list[float] = []
        self._rows: dict[tuple[str, int], list[tuple[float, float]]] = {(one, index): [] for one in self._counts for index in (0, 1)}

    def advance(self, now: float) -> None:
        while self._at <= now:
            for revision, counts in self._counts.items():
                requests = RATE * self.weights.get(revision, 0) / 100
                counts[0] += requests
                counts[1] += requests * (0.5 if revision == "v2" and self._at >= self.bad_from else 0.004)
                for index in (0, 1):
                    self._rows[revision, index].append((self._at, float(int(counts[index]))))
            self._times.append(self._at)
            self._at += SCRAPE

    def newest(self, now: float) -> float:
        return self._at + (now - self._at) // SCRAPE * SCRAPE

    def rows(self, revision: str, index: int, start: float, end: float) -> list[tuple[float, float]]:
        return self._rows[revision, index][bisect_right(self._times, start) : bisect_right(self._times, end)]


class Traffic:
    """The `CounterSource` of all services."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self.queries = 0

    def series(self, metric: str, matchers: Mapping[str, str], start: float, end: float) -> list[Series]:
        self.queries += 1
        service = self._services.get(matchers.get(SERVICE, ""))
        if service is None:
            return []
        service.advance(min(end, time.time()))
        out = []
        for revision in ("v1", "v2"):
            base = {SERVICE: service.name, STAGE: "ingress", REVISION: revision}
            every, failed = (service.rows(revision, index, start, end) for index in (0, 1))
            if metric == REQUESTS.name:
                out.append(Series({**base, OUTCOME: "error"}, failed))
                out.append(Series({**base, OUTCOME: "ok"}, [(at, n - bad) for (at, n), (_, bad) in zip(every, failed, strict=True)]))
            elif metric.startswith(REQUEST_DURATION.name):
                out.append(Series({**base, **({"le": "0.25"} if metric.endswith("_bucket") else {})}, every))
        return out

    def newest(self) -> dict[str, float]:
        """Up to when each service has been scraped, as one query of all would say."""
        now = time.time()
        return {name: one.newest(now) for name, one in self._services.items()}


class PatchedTarget:
    """Traffic that is moved by a JSON Patch of one object, as on KServe."""

    def __init__(self, api: KubernetesApi, namespace: str, service: Service) -> None:
        self._api, self._namespace, self._service = api, namespace, service

    def deploy(self, revision: str, package: str) -> None:
        pass

    def weights(self) -> dict[str, int]:
        return dict(self._service.weights)

    def way_back(self, _: str) -> WayBack:
        return WayBack(True, "", 1.0)

    def set_weights(self, weights: Mapping[str, int], _: Mapping[str, int]) -> None:
        said = ",".join(f"{name}={percent}" for name, percent in sorted(weights.items()))
        operation = {"op": "add", "path": "/metadata/annotations", "value": {"w": said}}
        self._api.patch(LEASES, self._namespace, self._service.name, [operation])
        self._service.weights = {name: percent for name, percent in weights.items() if percent}


class Silence:
    """Events are not measured: the API server of the tests has none."""

    def emit(self, event: Event) -> None:
        pass

    def run(self, stop: threading.Event) -> None:
        stop.wait()


class Exact(SelfMetrics):
    """Keeps every time, for exact percentiles."""

    def __init__(self) -> None:
        super().__init__()
        self.every: dict[str, list[float]] = {}
        self.calls: Counter[str] = Counter()

    def observe(self, metric: Any, seconds: float, *labels: str) -> None:
        super().observe(metric, seconds, *labels)
        self.every.setdefault(f"{metric.name} {' '.join(labels)}", []).append(seconds)

    def api_call(self, verb: str, resource: str, _: int, __: float) -> None:
        self.calls[f"{verb} {resource}"] += 1


def percentiles(values: Sequence[float]) -> str:
    if not values:
        return "none | | |"
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return f"{p50 * 1000:,.1f} ms | {p90 * 1000:,.1f} ms | {p99 * 1000:,.1f} ms | {max(values) * 1000:,.1f} ms"


def create(api: KubernetesApi, namespace: str, names: Sequence[str]) -> None:
    """Make the objects, from four threads."""

    def some(part: Sequence[str]) -> None:
        for name in part:
            lease = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": {"name": name}, "spec": {}}
            api.create(LEASES, namespace, lease)
            target = {"kserve": {"namespace": namespace, "name": name}}
            spec = {"service": name, "canary": "v2", "package": "s3://models/v2", "target": target, **SPEC}
            body = {"apiVersion": ROLLOUTS.api_version, "kind": "Rollout", "metadata": {"name": name}, "spec": spec}
            api.create(ROLLOUTS, namespace, body)

    threads = [threading.Thread(target=some, args=(names[number::4],)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def memory_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(kubeconfig: Path, options: argparse.Namespace) -> list[str]:
    chance = random.Random(options.seed)
    told, namespace = Exact(), f"bench-{os.getpid()}"
    api = KubernetesApi(kubeconfig, connections=options.workers + 8, observe=told.api_call)
    people = KubernetesApi(kubeconfig)
    names = [f"service-{number:04d}" for number in range(options.rollouts)]
    now = time.time()
    services = {name: Service(name, chance.random() * SCRAPE, now) for name in names}
    traffic = Traffic(services)
    before = memory_mib()
    elector = Elector(
        LeaseLock(KubernetesApi(kubeconfig), namespace, "op"), f"bench_{socket.gethostname()}", tell=lambda leads: operator.led(leads)
    )

    def controller(name: str, store: Any, target: Any, spec: Any) -> Controller:
        return Controller(spec.service, store, target, traffic, owner="bench", clock=time.time, key=name)

    operator = Operator(
        api,
        elector,
        Silence(),
        Settings(namespace, options.workers, options.workers, options.interval),
        make_target=lambda spec: PatchedTarget(api, namespace, services[spec.service]),
        make_controller=controller,
        metrics=told,
        newest=traffic.newest,
        jitter=chance.random,
    )
    began = time.monotonic()
    create(people, namespace, names)
    created = time.monotonic() - began
    operator.start()
    while (begun := sum(1 for one in services.values() if "v2" in one.weights)) < options.rollouts:
        print(f"{begun} of {options.rollouts} rollouts run", end="\r", file=sys.stderr)
        time.sleep(0.5)
        if time.monotonic() - began > 600:
            raise SystemExit("the rollouts did not begin within 10 minutes")
    ramp = time.monotonic() - began - created
    time.sleep(options.settle)

    bad = chance.sample(names, int(options.rollouts * options.bad))
    for name in bad:
        services[name].bad_from = time.time() + chance.random() * options.seconds * 0.7
    told.every.clear()
    told.calls.clear()
    queries, cpu, began = traffic.queries, cpu_seconds(), time.monotonic()
    depths = []
    while time.monotonic() - began < options.seconds:
        time.sleep(0.25)
        depths.append(operator.queue.depth())
    cpu, spent, queries = cpu_seconds() - cpu, time.monotonic() - began, traffic.queries - queries
    looks = told.every.get(f"{CONTROLLER_RECONCILE.name} ok", [])
    errors = told.every.get(f"{CONTROLLER_RECONCILE.name} error", [])
    reaction = told.every.get(f"{CONTROLLER_REACTION.name} rollback", [])
    calls, after = Counter(told.calls), memory_mib()
    rolled_back = sum(1 for name in bad if services[name].weights.get("v2", 0) == 0)
    wrongly = sum(1 for name in set(names) - set(bad) if services[name].weights.get("v2", 0) == 0)
    operator.stop(60)

    per = options.rollouts * spent / 60
    machine = f"{platform.machine()}, {os.cpu_count()} cores that the API server shares, Python {platform.python_version()}"
    verbs = ", ".join(f"{verb} {n / per:.2f}" for verb, n in calls.most_common(6))
    size = f"{(after - before) / options.rollouts * 1024:,.0f} KiB a rollout, with its samples"
    load = "/".join(f"{one:.1f}" for one in os.getloadavg())
    lines = [
        f"{options.rollouts} rollouts at once, {options.workers} workers, samples every {SCRAPE:g} s, slices of 2 s; {spent:.0f} s.",
        f"Machine: {machine}; load average while measuring {load}.",
        "",
        "| time of | p50 | p90 | p99 | most |",
        "|---|---|---|---|---|",
        f"| one look at a rollout | {percentiles(looks)} |",
        f"| newest sample of the decision to patch accepted | {percentiles(reaction)} |",
        "",
        "| figure | |",
        "|---|---|",
        f"| looks per second | {len(looks) / spent:,.0f} ({len(errors)} failed) |",
        f"| wait in the queue: keys, median and most | {int(np.median(depths))}, {max(depths)} |",
        f"| CPU of the operator | {cpu / spent:.2f} cores ({cpu / max(len(looks), 1) * 1000:.2f} ms a look) |",
        f"| memory of the operator | {after:,.0f} MiB ({size}) |",
        f"| calls to the API per rollout and minute | {sum(calls.values()) / per:.1f} ({verbs}) |",
        f"| queries of metrics per rollout and minute | {queries / per:.1f} |",
        f"| first look to first step, all rollouts | {ramp:.0f} s |",
        f"| bad canaries rolled back in the measured time | {rolled_back} of {len(bad)} |",
        f"| good canaries rolled back | {wrongly} of {options.rollouts - len(bad)} |",
    ]
    clean(people, namespace)
    return lines


def clean(api: KubernetesApi, namespace: str) -> None:
    """Take everything away that was made."""
    for kind in (ROLLOUTS, RECORDS, LEASES):
        for one in api.list_all(kind, namespace)[0]:
            if one["metadata"].get("finalizers"):
                api.patch(kind, namespace, one["metadata"]["name"], [{"op": "remove", "path": "/metadata/finalizers"}])
            api.delete(kind, namespace, one["metadata"]["name"])


def start_api_server(folder: Path) -> Path:
    """Start the API server of the tests and install our definitions."""
    start = ROOT.parent / "shared" / "k8s" / "start"
    if not start.exists():
        raise SystemExit("give --kubeconfig FILE of a cluster with the definitions of platform/manifests/rollouts")
    done = subprocess.run([start, folder, "19443"], capture_output=True, text=True, check=True)
    kubeconfig = Path(done.stdout.split()[-1])
    for name in ("crd-rollouts.yaml", "crd-rolloutrecords.yaml"):
        file = ROOT / "platform" / "manifests" / "rollouts" / name
        subprocess.run(["kubectl", "--kubeconfig", kubeconfig, "apply", "--server-side", "-f", file], check=True, capture_output=True)
    subprocess.run(
        ["kubectl", "--kubeconfig", kubeconfig, "wait", "--for=condition=Established", "crd", "--all"], check=True, capture_output=True
    )
    time.sleep(2)
    return kubeconfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--rollouts", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--settle", type=float, default=15.0, help="seconds before the measurement begins")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--bad", type=float, default=0.2, help="share of canaries that turn bad")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = options.kubeconfig or start_api_server(Path(folder))
        try:
            lines = measure(kubeconfig, options)
        finally:
            if options.kubeconfig is None:
                subprocess.run([ROOT.parent / "shared" / "k8s" / "stop", folder], check=False, capture_output=True)
    text = "\n".join(
        [
            "# What the operator costs, and how fast it acts",
            "",
            "Written by `make bench` (`benchmarks/bench_controller.py`).",
            "",
            *lines,
            "",
        ]
    )
    print(text)
    options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
