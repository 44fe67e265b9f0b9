"""The running loop on one machine: monitoring, the stack, collectors, traffic and the rollout controller.

Each piece is a process of its own, started in the order in which a platform would have them, and each can be killed and
started again: the tests do exactly that. The loop only ever talks to them as a user would: the `obs` command, obs.yaml,
HTTP and files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlops_obs.adapters import local_prometheus
from mlops_obs.adapters.discovery import prune_dead
from mlops_obs.adapters.files import write_atomically
from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.adapters.local_prometheus import LocalMonitoring
from mlops_obs.adapters.processes import free_port
from mlops_obs.cli.demo.outcome import Named, Request
from mlops_obs.cli.demo.processes import Child, Children, put_off_interrupts, wait_until
from mlops_obs.errors import PlatformError
from mlops_obs.slo.annotations import Links

SERVICE = "credit-risk"
STABLE = "v1"
_PREDICTOR = "feature_train_serve.serve.ray_app:predictor_app"
# Monitoring comes before the stack and reads the same environment file: until then nothing answers here.
_NOT_YET = {"ray_serve": {"address": "127.0.0.1:0", "url": "http://127.0.0.1:0", "import_path": _PREDICTOR}}
# Alertmanager's own default, and long enough that a page can already say what was done.
_GROUP_WAIT = "30s"
_NAMED_SECONDS = 5.0
_OBS = (sys.executable, "-m", "mlops_obs.cli.main")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user may choose. `repository` is the checkout that holds slo/, runbooks/ and platform/."""

    out: Path
    repository: Path
    seed: int = 7
    data: Path | None = None
    http_port: int = 0
    inbox_port: int = 0
    requests_per_second: float = 30.0
    embedded: bool = False


@dataclass
class Loop:
    """Starts and stops the pieces. Use as a context manager: leaving it leaves nothing running."""

    settings: Settings
    url: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    inbox: str = ""
    customers: Path = Path()
    store: Path = Path()
    monitoring: LocalMonitoring | None = None

    def __post_init__(self) -> None:
        self.began = time.time()
        out = self.settings.out
        for folder in ("logs", "discovery", "monitoring", "inbox"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        self._metrics: Mapping[str, Any] = {}
        self.children = Children(
            out / "logs",
            {
                "MLOPS_OBS_DISCOVERY_DIR": str(out / "discovery"),
                "MLOPS_OBS_TRACE_FILE": str(out / "traces.jsonl"),
                "PYTHONPATH": str(self.settings.repository / "platform"),
                "PYTHONUNBUFFERED": "1",
                "MLOPS_OBS_SKEW_DIR": str(out / "skew"),
                "MLOPS_OBS_SKEW_RATE": "0.5",  # a demo is short; 0.05 is the default
                "OMP_NUM_THREADS": "1",
                "RAY_AUTH_MODE": "disabled",
                "RAY_USAGE_STATS_ENABLED": "0",
                "DO_NOT_TRACK": "1",
            },
        )

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def env_file(self) -> Path:
        """The environment file that every `obs` command of this loop reads."""
        return self.settings.out / "obs.yaml"

    def stop(self) -> None:
        """Stop every piece: first who asks, then who answers, monitoring last."""
        with put_off_interrupts():
            self.children.stop_all()
            if self.monitoring is not None:
                self.monitoring.stop()
                self.monitoring = None

    # --- the pieces, in the order in which a platform would have them -------------------------------------------

    def start_monitoring(self) -> str:
        """Start Prometheus and Alertmanager, or the embedded engine where they are missing, and the on-call inbox. Say which."""
        port = self.settings.inbox_port or free_port()
        self.inbox = f"http://127.0.0.1:{port}"
        inbox = [sys.executable, "-m", "mlops_obs.adapters.inbox", "--port", str(port), "--dir", str(self.settings.out / "inbox")]
        if self.settings.embedded or not local_prometheus.available():
            self._write_environment({"embedded": "metrics.db"})
            self.children.start("inbox", inbox)
            self.children.start("monitor", [*_OBS, "monitor", "--env", str(self.env_file), "--interval", "1s", "--group-wait", _GROUP_WAIT])
            engine = "embedded engine" + ("" if self.settings.embedded else ": Prometheus and Alertmanager are not installed")
        else:
            self.monitoring = self._prometheus()
            self._write_environment({"prometheus": self.monitoring.prometheus_url})
            self.children.start("inbox", [*inbox, "--prometheus", self.monitoring.prometheus_url])
            engine = f"Prometheus {self.monitoring.prometheus_url}"
        self.wait(lambda: self._get("/-/ready") is not None, 30, "the on-call inbox answering")
        return f"{engine}, on-call inbox {self.inbox}"

    def start_stack(self, on_line: Callable[[dict[str, Any]], None]) -> None:
        """Start the reference stack; pass each of its progress lines to `on_line` until it serves.

        Raises:
            PlatformError: OBS-DEMO-004 with the stack's own words if it fails.
        """
        settings = self.settings
        argv = [sys.executable, "-m", "feature_train_serve", "--out", str(settings.out), "--seed", str(settings.seed)]
        argv += ["--http-port", str(settings.http_port)] + (["--data", str(settings.data)] if settings.data else [])
        lines = settings.out / "stack.jsonl"
        lines.unlink(missing_ok=True)
        child = self.children.start("stack", argv, stdout=lines)
        for line in self._follow(child, lines):
            on_line(line)
            if line["status"] == "error" and line["step"] == "stack":
                raise PlatformError("OBS-DEMO-004", f"the stack failed: {line['note']}", where=str(child.log), todo="read its log")
            if line["status"] == "ready":
                self.url, self.packages = line["url"], line["packages"]
                self.customers, self.store = Path(line["customers"]), Path(line["store"])
                target = {"address": line["address"], "url": self.url, "store": str(self.store), "import_path": _PREDICTOR}
                self._write_environment(self._metrics, {"ray_serve": target})
                return

    def start_collectors(self) -> None:
        """Start the GPU collector, as a DaemonSet would."""
        self.children.start("collector-gpu", [*_OBS, "collect", "gpu", "--discovery", str(self.settings.out / "discovery")])

    def start_traffic(self) -> None:
        """Start the callers."""
        argv = ["--url", self.url, "--customers", str(self.customers), "--rps", str(self.settings.requests_per_second)]
        argv += ["--seed", str(self.settings.seed), "--log", str(self._traffic_log), "--store", str(self.store)]
        argv += ["--events", str(self.settings.out / "live_events.jsonl")]
        self.children.start("traffic", [sys.executable, "-m", "feature_train_serve.traffic", *argv])

    def start_controller(self) -> None:
        """Start the rollout controller. It may be killed and started again at any time."""
        self.children.start("controller", [*_OBS, "rollout", "controller", "--env", str(self.env_file)])

    # --- what a person does and sees ----------------------------------------------------------------------------

    def obs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an `obs` command against this loop, as a person would."""
        return subprocess.run([*_OBS, *arguments, "--env", str(self.env_file)], capture_output=True, text=True, check=False)

    def ship(self, revision: str) -> None:
        """Ask for a rollout of `revision`.

        Raises:
            PlatformError: OBS-DEMO-006 with the command's words if it is refused.
        """
        spec = str(self.settings.repository / "platform" / "local" / "rollout.yaml")
        done = self.obs("rollout", "start", "-f", spec, "--revision", revision, "--package", self.packages[revision])
        if done.returncode != 0:
            raise PlatformError("OBS-DEMO-006", f"obs rollout start was refused: {done.stderr.strip()}", where=revision)

    def status(self) -> dict[str, Any]:
        """Return the newest rollout as `obs rollout status -o json` tells it; if it cannot, its words as the `reason`."""
        done = self.obs("rollout", "status", "-o", "json")
        return dict(json.loads(done.stdout)) if done.stdout.strip() else {"phase": "unknown", "reason": done.stderr.strip()}

    def pages(self) -> list[dict[str, Any]]:
        """Return the incidents of severity page that reached the inbox."""
        return [page for page in self._get("/pages.json") or [] if page["severity"] == "page"]

    def requests(self) -> list[Request]:
        """Return every request that the callers sent so far, as they saw it."""
        if not self._traffic_log.exists():
            return []
        lines = self._traffic_log.read_text().splitlines()
        return [Request(one["t"], one["revision"], one["status"], one["latency"]) for one in map(json.loads, lines[:-1])]

    def named_inputs(self, revision: str) -> list[Named]:
        """Return what drift and skew named of every revision's inputs so far; waits a little for the metrics to tell of `revision`.

        Raises:
            TelemetryUnavailable: the metrics did not answer in full.
        """
        from mlops_obs.cli import wiring
        from mlops_obs.cli.demo.inputs import named

        source = wiring.counter_source(wiring.load_environment(self.env_file))
        deadline = time.monotonic() + _NAMED_SECONDS
        while True:
            found = named(source, SERVICE, self.began, time.time())
            if any(one.revision == revision for one in found) or time.monotonic() > deadline:
                return found
            time.sleep(0.5)

    def wait(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until `condition()` is true; PlatformError OBS-DEMO-005 if `what` does not happen in time."""
        wait_until(condition, seconds=seconds, what=what, children=self.children)

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def slo_file(self) -> Path:
        """The SLO specs of the demo service."""
        return self.settings.repository / "slo" / f"{SERVICE}.yaml"

    @property
    def _traffic_log(self) -> Path:
        return self.settings.out / "traffic.jsonl"

    def _prometheus(self) -> LocalMonitoring:
        from mlops_obs.adapters.files import load_slos
        from mlops_obs.paging.alertmanager import render_config
        from mlops_obs.slo.rules import prometheus_rules

        out = self.settings.out / "monitoring"
        slos = load_slos(self.slo_file)
        links = Links(**self._links)
        rules, platform = out / "rules.yaml", out / "platform-rules.yaml"
        write_atomically(rules, prometheus_rules.render_rules(slos, links=links, evaluation_interval="1s"))
        write_atomically(platform, prometheus_rules.render_platform_rules(links=links, evaluation_interval="5s"))
        config = render_config(slos, self.inbox + "/alerts", group_wait=_GROUP_WAIT)
        return local_prometheus.LocalMonitoring(out, [rules, platform], self.settings.out / "discovery", config, prune=prune_dead)

    @property
    def _links(self) -> dict[str, str]:
        return {"dashboards": f"{self.inbox}/d", "runbooks": f"{self.inbox}/runbooks"}

    def _write_environment(self, metrics: Mapping[str, Any], target: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._metrics = metrics
        document = {
            "service": SERVICE,
            "state": "state.db",
            "discovery": "discovery",
            "metrics": dict(metrics),
            "target": dict(target or _NOT_YET),
            "links": self._links,
            "inbox": self.inbox,
            "slos": [str(self.slo_file)],
            "notify": {"alertmanager": self.monitoring.alertmanager_url} if self.monitoring else {"pager": f"{self.inbox}/alerts"},
            **more,
        }
        write_atomically(self.env_file, "# Written by obs demo.\n" + yaml.safe_dump(document, sort_keys=False))

    def _follow(self, child: Child, path: Path) -> Iterator[dict[str, Any]]:
        """Yield JSON lines of `path` as they appear, until the child ends."""
        position = 0
        while True:
            running = child.running
            if path.exists():
                with path.open("rb") as stream:
                    stream.seek(position)
                    chunk = stream.read()
                complete = chunk.rfind(b"\n") + 1
                position += complete
                for line in chunk[:complete].splitlines():
                    if line.startswith(b"{"):  # a library may print beside our lines
                        yield json.loads(line)
            if not running:
                self.children.check()
            time.sleep(0.1)

    def _get(self, path: str) -> Any:
        """Return the JSON at `path` of the inbox, or None while it does not answer."""
        try:
            return fetch(self.inbox + path, timeout=5).json()
        except (Unreachable, ValueError):
            return None
