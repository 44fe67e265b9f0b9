"""The loop with KServe in the place of Ray Serve: InferenceService, Rollout and controller on a real API server.

What is real: the API server, the custom resources and their schemas, the operator, KServe's model servers, HTTP traffic,
Prometheus and Alertmanager. What stands in: KServe's own reconciler, because no cluster fits on this machine; it is
`mlops_obs.testing.platforms.local_kserve`, and the screen says so.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.adapters.processes import free_port
from mlops_obs.cli.demo.loop import SERVICE, STABLE, Loop
from mlops_obs.cli.demo.processes import put_off_interrupts
from mlops_obs.errors import PlatformError

NAMESPACE = "models"
_PROGRAMS = {"etcd": "apt-get install etcd-server", "kubectl": "apt-get install kubernetes-client", "openssl": "apt-get install openssl"}


class KServeLoop(Loop):
    """As `Loop`; `api_server` is the folder whose `start` and `stop` run a Kubernetes API server with KServe's CRDs."""

    api_server: Path = Path()

    @property
    def kubeconfig(self) -> Path:
        """Address and credentials of the API server."""
        return self.settings.out / "kubernetes" / "kubeconfig"

    def stop(self) -> None:
        """Stop every piece, the API server last."""
        with put_off_interrupts():
            super().stop()
            if (self.settings.out / "kubernetes").exists():
                subprocess.run([self.api_server / "stop", self.settings.out / "kubernetes"], capture_output=True, check=False, timeout=60)

    def start_stack(self, on_line: Callable[[dict[str, Any]], None]) -> None:
        """Make features and packages on Ray, then serve v1 as an InferenceService.

        Raises:
            PlatformError: OBS-DEMO-004 or -013 if a piece fails, OBS-DEMO-010 if a program is missing.
        """
        self._prepare(on_line)
        self.start_serving(on_line)

    def start_serving(self, on_line: Callable[[dict[str, Any]], None]) -> None:
        """Start the API server and serve v1 of `packages` on it; `customers` and `store` are known by now."""
        on_line({"step": "kubernetes", "status": "start", "note": "API server"})
        self._start_api_server()
        on_line({"step": "kubernetes", "status": "done", "note": "a real API server with the resources of KServe and mlops-obs"})
        on_line({"step": "serving", "status": "start", "note": f"{STABLE} as an InferenceService"})
        self._serve()
        on_line({"step": "serving", "status": "done", "note": f"{STABLE} at 100 %: real model servers, a stand-in for KServe's reconciler"})

    def start_controller(self) -> None:
        """Start the operator that carries out Rollout resources. It may be killed and started again at any time."""
        argv = ["rollout", "operator", "--env", str(self.env_file), "--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE]
        self.children.start("controller", [sys.executable, "-m", "mlops_obs.cli.main", *argv])

    def kubectl(self, *arguments: str, document: str | None = None) -> str:
        """Run kubectl against the API server; raise PlatformError OBS-DEMO-011 with its words if it fails."""
        argv = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(argv, input=document, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise PlatformError("OBS-DEMO-011", f"kubectl {arguments[0]} failed: {done.stderr.strip()}", where=str(self.kubeconfig))
        return done.stdout

    # --- inside -------------------------------------------------------------------------------------------------

    def _prepare(self, on_line: Callable[[dict[str, Any]], None]) -> None:
        settings, lines = self.settings, self.settings.out / "stack.jsonl"
        argv = [sys.executable, "-m", "feature_train_serve", "--out", str(settings.out), "--seed", str(settings.seed), "--prepare-only"]
        argv += ["--data", str(settings.data)] if settings.data else []
        child = self.children.start("stack", argv, stdout=lines)
        for line in self._follow(child, lines):
            if line["status"] == "error" and line["step"] == "stack":
                raise PlatformError("OBS-DEMO-004", f"the stack failed: {line['note']}", where=str(child.log), todo="read its log")
            if line["status"] == "ready":
                self.packages, self.customers, self.store = line["packages"], Path(line["customers"]), Path(line["store"])
                break
            on_line(line)
        child.process.wait(60)
        self.children.running.remove(child)

    def _start_api_server(self) -> None:
        missing = [f"{one} ({todo})" for one, todo in _PROGRAMS.items() if shutil.which(one) is None]
        if missing:
            raise PlatformError("OBS-DEMO-010", f"missing: {', '.join(missing)}", todo="install them, or run `make demo`")
        argv = [str(self.api_server / "start"), str(self.settings.out / "kubernetes"), str(_three_free_ports())]
        with put_off_interrupts():
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode != 0:
            raise PlatformError("OBS-DEMO-013", f"the API server did not start: {done.stderr.strip()}", where=str(self.api_server))
        self.kubectl("apply", "--server-side", *_files(self.settings.repository / "platform" / "manifests" / "rollouts", "crd-*.yaml"))
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")

    def _serve(self) -> None:
        predictor = {"model": {"modelFormat": {"name": "pytorch"}, "storageUri": f"file://{self.packages[STABLE]}"}}
        service = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": SERVICE,
                "namespace": NAMESPACE,
                "annotations": {"serving.kserve.io/deploymentMode": "Serverless", "mlops-obs.dev/revision": STABLE},
            },
            "spec": {"predictor": predictor},
        }
        self.kubectl("apply", "--server-side", "-f", "-", document=json.dumps(service))
        port = self.settings.http_port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        server = f"{sys.executable} -m feature_train_serve.serve.kserve_server --package {{package}} --store {self.store} --port {{port}}"
        argv = ["--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE, "--name", SERVICE, "--port", str(port)]
        argv += ["--pod", server, "--logs", str(self.settings.out / "logs")]
        self.children.start("kserve", [sys.executable, "-m", "mlops_obs.testing.platforms.local_kserve", *argv])
        self.wait(self._answers, 120, f"{STABLE} answering")
        cluster = {"namespace": NAMESPACE, "kubeconfig": str(self.kubeconfig)}
        self._write_environment(self._metrics, {"kserve": {**cluster, "name": SERVICE}}, store={"kubernetes": cluster})

    def _answers(self) -> bool:
        try:
            return fetch(f"{self.url}/v2/models/{SERVICE}/ready", timeout=2).status == 200
        except Unreachable:
            return False


def _files(folder: Path, pattern: str) -> list[str]:
    return [part for path in sorted(folder.glob(pattern)) for part in ("-f", str(path))]


def _three_free_ports() -> int:
    """Return a port such that it and the two after it are free: the API server's, and etcd's two."""
    from mlops_obs.adapters.processes import try_port

    while True:
        port = free_port()
        try:
            for one in (port + 1, port + 2):
                try_port(one)
        except OSError:
            continue
        return port
