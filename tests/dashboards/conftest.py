"""A real Prometheus filled with a known run, once for all dashboard tests that need one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def filled_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base address of a Prometheus that holds the run of `loop_openmetrics`."""
    for program in ("promtool", "prometheus"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing: apt-get install prometheus")
    from loop_openmetrics import openmetrics

    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "run.om").write_text(openmetrics())
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "run.om"), str(folder / "data")],
        check=True,
        capture_output=True,
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        from mlops_obs.adapters.prometheus import PrometheusCounters

        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            if PrometheusCounters(url).ready():
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()
        log.close()
