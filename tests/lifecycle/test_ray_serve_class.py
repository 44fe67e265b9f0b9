"""The same two lines inside real Ray: a Serve deployment class wrapped in the driver, and a stage in a worker."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlops_obs.adapters.drift_snapshots import merged
from mlops_obs.collectors.drift import ReferenceProfile
from mlops_obs.lifecycle import instrument
from mlops_obs.lifecycle.batches import WatchBatches

pytestmark = pytest.mark.stack


@pytest.fixture
def ray_with_discovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Path]]:
    ray = pytest.importorskip("ray")
    folder = tmp_path / "discovery"
    monkeypatch.setenv("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE", "disabled"))
    runtime = {"env_vars": {"MLOPS_OBS_DISCOVERY_DIR": str(folder), "MLOPS_OBS_STATE_DIR": str(tmp_path / "state")}}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    yield ray, folder
    from ray import serve

    serve.shutdown()
    ray.shutdown()


def _scrape(path: Path) -> str:
    target = json.loads(path.read_text())[0]["targets"][0]
    with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as response:
        return str(response.read().decode())


def _scrape_until(path: Path, name: str, value: str) -> str:
    deadline = time.monotonic() + 60
    text = _scrape(path)
    while not any(line.startswith(name) and line.endswith(value) for line in text.splitlines()) and time.monotonic() < deadline:
        time.sleep(0.1)
        text = _scrape(path)
    return text


def test_a_replica_serves_its_own_exact_counts_a_worker_its_stages_and_ray_data_its_rows(
    process: object, ray_with_discovery: tuple[Any, Path]
) -> None:
    ray, folder = ray_with_discovery
    from ray import serve

    table = {"income": np.arange(1.0, 3_001.0), "age": np.arange(3_000.0) % 70}
    profile = ReferenceProfile.from_columns(table)
    telemetry = instrument("credit-risk", "v1", reference=profile.to_bytes())

    @serve.deployment(ray_actor_options={"num_cpus": 0.5})
    @telemetry.wrap
    class Predictor:
        async def __call__(self, value: float) -> float:
            telemetry.features({"income": value, "age": None})
            return 1 / value

    @ray.remote(num_cpus=0.5)
    class Features:
        def build(self) -> str:
            with instrument("credit-risk", "v1", stage="features").stage() as run:
                run.rows(42)
            return str(run.trace_id)

    handle = serve.run(Predictor.bind(), name="credit-risk-v1", route_prefix=None)
    answers = [handle.remote(value).result(timeout_s=30) for value in (1, 2, 4)]
    with pytest.raises(Exception, match="division by zero"):
        handle.remote(0).result(timeout_s=30)
    worker = Features.remote()
    trace_id = ray.get(worker.build.remote(), timeout=60)
    watched = WatchBatches("credit-risk", "v1", profile.to_bytes())
    blocks = ray.data.from_items([{name: float(data[row]) for name, data in table.items()} for row in range(3_000)], override_num_blocks=4)
    handed_on = blocks.map_batches(watched, batch_size=500).sum("income")
    from_blocks = merged(folder.parent / "state", "credit-risk", "v1", "features")
    serving = _scrape_until(next(folder.glob("credit-risk-serve-v1-*.json")), "mlops_obs_drift_rows_total", " 4.0")
    features = _scrape(next(folder.glob("credit-risk-features-v1-*.json")))

    assert answers == [1.0, 0.5, 0.25]
    assert 'mlops_obs_drift_rows_total{revision="v1",service="credit-risk"} 4.0' in serving
    assert 'mlops_obs_requests_total{outcome="ok",revision="v1",service="credit-risk",stage="serve"} 3.0' in serving
    assert 'mlops_obs_requests_total{outcome="error",revision="v1",service="credit-risk",stage="serve"} 1.0' in serving
    assert 'mlops_obs_stage_rows_total{revision="v1",service="credit-risk",stage="features"} 42.0' in features
    assert len(trace_id) == 32
    assert handed_on == table["income"].sum()
    assert from_blocks.to_bytes() == profile.to_bytes()  # whatever workers the blocks went to
