"""The two servers under test, each started once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATHS = os.pathsep.join((str(ROOT / "platform"), str(ROOT), str(HERE)))

_KSERVE = """
import sys
from feature_train_serve.serve import kserve_server, predictor
from serving_double import DoubleScorer
predictor.CreditRiskModel.__init__.__defaults__ = (DoubleScorer,)
kserve_server.main()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def kserve_url(tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("kserve") / "log"
    argv = [sys.executable, "-c", _KSERVE, "--package", "p/v1", "--store", "s", "--port", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": PATHS}, stdout=out, stderr=out)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            assert server.poll() is None, log.read_text()[-2000:]
            try:
                if httpx.get(f"{url}/v2/health/ready").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(15)


@pytest.fixture(scope="module")
def ray_stack(tmp_path_factory):
    """A local Ray that serves v1 of the double: (url, GCS address). It and what it sets in the environment end with the module."""
    before = dict(os.environ)
    os.environ["PYTHONPATH"] = PATHS
    sys.path.insert(0, str(HERE)) if str(HERE) not in sys.path else None
    import feature_train_serve.__main__ as stack
    from serving_double import ingress_app, predictor_app

    address = stack.start_ray(tmp_path_factory.mktemp("stack"))
    try:
        yield stack.serve_apps({"v1": predictor_app("v1", "/p/v1", "s")}, ingress_app({"v1": 100}), 0), address
    finally:
        stack.shut_down()
        os.environ.clear()
        os.environ.update(before)
