"""One API server with our resource definitions on it; each test has a namespace of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path

import pytest

from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Resource
from mlops_obs.adapters.kubernetes.resources import ROLLOUTS
from mlops_obs.testing.api_proxy import ApiProxy

MANIFESTS = Path(__file__).resolve().parents[2] / "platform" / "manifests" / "rollouts"
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kubeconfig(api_server):
    """The kubeconfig of an API server that serves Rollouts and RolloutRecords."""
    files = [str(path) for path in sorted(MANIFESTS.glob("crd-*.yaml"))]
    apply = ["kubectl", "--kubeconfig", str(api_server), "apply", "--server-side", "--force-conflicts"]
    done = subprocess.run([*apply, *(part for one in files for part in ("-f", one))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wait = ["kubectl", "--kubeconfig", str(api_server), "wait", "--for=condition=Established", "--timeout=60s", "crd"]
    names = ["rollouts.mlops-obs.dev", "rolloutrecords.mlops-obs.dev"]
    done = subprocess.run([*wait, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    api = KubernetesApi(api_server)
    for _ in range(100):  # established is not yet served
        try:
            api.list_all(ROLLOUTS)
            return api_server
        except ApiError:
            pass
    return api_server


@pytest.fixture
def calls():
    """Every call of `api`: verb, resource, status."""
    return []


@pytest.fixture
def api(kubeconfig, calls):
    return KubernetesApi(kubeconfig, observe=lambda verb, resource, status, _: calls.append((verb, resource, status)))


@pytest.fixture
def namespace():
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def kubectl(kubeconfig, namespace):
    def run(*arguments: str, check: bool = True) -> str:
        done = subprocess.run(["kubectl", "--kubeconfig", str(kubeconfig), "-n", namespace, *arguments], capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


def rollout(name: str = "credit-risk", **spec: object) -> dict[str, object]:
    """Return a Rollout object."""
    body = {
        "service": "credit-risk",
        "canary": "v2",
        "package": "/packages/v2",
        "target": {"kserve": {"namespace": "", "name": "credit-risk"}},
        **spec,
    }
    return json.loads(json.dumps({"apiVersion": "mlops-obs.dev/v1alpha1", "kind": "Rollout", "metadata": {"name": name}, "spec": body}))


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def proxy(kubeconfig):
    """A proxy in front of the API server, to be made to fail."""
    one = ApiProxy(kubeconfig, slow=0.05)
    yield one
    one.close()


@pytest.fixture
def proxied(proxy, tmp_path):
    """A client that talks through the proxy."""
    return KubernetesApi(proxy.kubeconfig(tmp_path / "proxy.kubeconfig"), request_timeout=5.0)
