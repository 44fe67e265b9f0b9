"""Settings of every test: on a busy machine a property may take long to try, and that says nothing about it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the whole demo last: it keeps running for its tests, and would take the processor from all others."""
    items.sort(key=lambda item: item.path.parent.name == "stack")


KUBERNETES = Path(__file__).resolve().parents[1].parent / "shared" / "k8s"


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a real Kubernetes API server that knows KServe's, KubeRay's and Gateway API's kinds, one for all tests.

    It takes seconds to start: whoever works on these tests starts one by hand and names its kubeconfig in $TEST_KUBECONFIG.
    """
    if os.environ.get("TEST_KUBECONFIG"):
        yield Path(os.environ["TEST_KUBECONFIG"])
        return
    if not (KUBERNETES / "start").exists():
        pytest.skip("the API server for tests is missing: ../shared/k8s/start")
    for program in ("etcd", "kubectl", "openssl", "xz"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: see ../shared/k8s/README.md")
    folder = tmp_path_factory.mktemp("kubernetes")
    try:
        done = subprocess.run([KUBERNETES / "start", folder, str(_free_ports())], capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
        yield Path(done.stdout.split()[-1])
    finally:
        subprocess.run([KUBERNETES / "stop", folder], capture_output=True, timeout=60, check=False)


def _free_ports() -> int:
    """Return a port such that it and the two after it are free."""
    for port in range(21_000, 30_000, 37):
        try:
            for one in range(port, port + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")
