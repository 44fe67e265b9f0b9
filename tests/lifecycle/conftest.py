"""A fresh telemetry process for each test, so that counts start at zero and nothing is served unless a test asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlops_obs.adapters import telemetry_process
from mlops_obs.adapters.telemetry_process import Process
from mlops_obs.testing.telemetry import Recorder


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    for name in ("MLOPS_OBS_DISCOVERY_DIR", "MLOPS_OBS_METRICS_PORT", "MLOPS_OBS_METRICS_HOST", "MLOPS_OBS_TRACE_FILE"):
        monkeypatch.delenv(name, raising=False)
    fresh = Process()
    monkeypatch.setattr(telemetry_process, "_process", fresh)
    yield fresh
    fresh.close()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
