"""KServe's part on one machine: `python -m mlops_obs.testing.platforms.local_kserve`, for the demo and for tests.

An InferenceService on a real API server gets real model servers as its pods and a real ingress as its route, but no
cluster: the reconciler is our stand-in, and this says so wherever it shows. Each Knative revision is one process,
started from the command that is passed in, so that the toolkit never imports the stack that it observes.

The trap is a route that runs ahead of the truth: requests are split as the reconciler says, and by nobody else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import shlex
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES
from mlops_obs.adapters.kubernetes.api import KubernetesApi
from mlops_obs.adapters.processes import free_port
from mlops_obs.errors import ObsError
from mlops_obs.testing.platforms.ingress import Backend, WeightedIngress
from mlops_obs.testing.platforms.kserve import KServeReconciler

log = logging.getLogger(__name__)
_PASS_SECONDS, _GRACE_SECONDS = 0.2, 5.0
_FIRST, _REVISIONS = "mlops-obs.dev/revision", "mlops-obs.dev/revisions"


class ModelServers:
    """The pods: one model server process a revision, and the ingress in front of them.

    Args:
        name: of the InferenceService, which is the model's name in the URL too.
        command: how a server is started; `{package}` and `{port}` are filled in.
        logs: folder for one log a revision.
    """

    def __init__(self, name: str, command: str, logs: Path, ingress: WeightedIngress) -> None:
        self._name, self._command, self._logs, self._ingress = name, command, logs, ingress
        self._running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
        self.names: Mapping[str, str] = {}  # platform's revision -> ours

    def start(self, revision: str, storage_uri: str) -> None:
        """Start the server of `revision`; one that runs is left alone, one that died is started again."""
        held = self._running.get(revision)
        if held and held[0].poll() is None:
            return
        port = free_port()
        argv = [part.format(package=storage_uri.removeprefix("file://"), port=port) for part in shlex.split(self._command)]
        with (self._logs / f"{revision}.log").open("ab") as out:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._running[revision] = (process, f"http://127.0.0.1:{port}")

    def ready(self, revision: str) -> bool:
        """Ask the server itself, as a readiness probe does."""
        held = self._running.get(revision)
        if held is None or held[0].poll() is not None:
            return False
        try:
            return bool(fetch(f"{held[1]}/v2/models/{self._name}/ready", timeout=2).status == 200)
        except Unreachable:
            return False

    def stop(self, revision: str) -> None:
        """End the server of `revision` in the way a pod is ended: asked first."""
        held = self._running.pop(revision, None)
        if held:
            _end(held[0])

    def route(self, weights: Mapping[str, int]) -> None:
        """Split the requests. A revision that has no name of ours yet is not counted until it gets some."""
        backends = {
            self.names.get(one, one): Backend(self._running[one][1], percent)
            for one, percent in weights.items()
            if one in self._running and (percent or one in self.names)
        }
        if backends and sum(one.percent for one in backends.values()) == 100:
            self._ingress.route(backends)

    def stop_all(self) -> None:
        """End every server."""
        for revision in list(self._running):
            self.stop(revision)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()


def our_names(service: Mapping[str, Any]) -> dict[str, str]:
    """Return the platform's revision names -> ours, from the annotations that a person and the rollout wrote."""
    annotations = service["metadata"].get("annotations") or {}
    rolled = service.get("status", {}).get("components", {}).get("predictor", {}).get("latestRolledoutRevision")
    names = {knative: ours for ours, knative in json.loads(annotations.get(_REVISIONS, "{}")).items()}
    if rolled and rolled not in names and _FIRST in annotations:
        names[rolled] = annotations[_FIRST]
    return names


def play(api: KubernetesApi, namespace: str, name: str, pods: ModelServers, stop: threading.Event) -> None:
    """Reconcile until `stop`; a failing pass is logged once per kind and tried again, as a controller does."""
    reconciler, told = KServeReconciler(api, namespace, name, pods), ""
    while not stop.wait(_PASS_SECONDS):
        try:
            pods.names = our_names(api.get(INFERENCE_SERVICES, namespace, name))
            reconciler.reconcile()
            told = ""
        except ObsError as error:
            if str(error) != told:
                told = str(error)
                log.warning("%s", told)


def main() -> None:
    """Play KServe for one InferenceService until SIGTERM."""
    parser = argparse.ArgumentParser(prog="local_kserve", description="KServe's reconciler, pods and ingress on one machine.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--name", required=True, help="of the InferenceService")
    parser.add_argument("--port", type=int, required=True, help="of the ingress on 127.0.0.1")
    parser.add_argument("--pod", required=True, help="command of a model server, with {package} and {port}")
    parser.add_argument("--logs", type=Path, required=True, help="folder for the model servers' logs")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    ingress = WeightedIngress(options.name)
    pods = ModelServers(options.name, options.pod, options.logs, ingress)
    stop = threading.Event()
    controller = threading.Thread(
        target=play, args=(KubernetesApi(options.kubeconfig), options.namespace, options.name, pods, stop), daemon=True
    )
    controller.start()
    try:
        ingress.run(options.port)
    finally:
        stop.set()
        controller.join(_GRACE_SECONDS)
        pods.stop_all()


if __name__ == "__main__":
    main()
