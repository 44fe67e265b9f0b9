"""GPU time is counted for the revision that used it, and nothing that goes wrong in counting reaches a request."""

import math

import pytest

from mlops_obs.collectors.gpu import GpuMeter
from mlops_obs.metric_names import GPU_SECONDS


def seconds(meter: GpuMeter) -> dict[str, float]:
    assert all(one.metric is GPU_SECONDS for one in meter.read())
    return {one.labels["revision"]: one.value for one in meter.read()}


def test_gpu_seconds_add_up_by_revision():
    meter = GpuMeter("shop", iter([1.0, 1.5, 9.0, 9.25]).__next__)

    with meter.busy("v1"):
        pass
    with pytest.raises(RuntimeError), meter.busy("v2"):
        raise RuntimeError("the model failed; its GPU time is spent all the same")
    meter.add("v1", 2.0)

    assert seconds(meter) == {"v1": 2.5, "v2": 0.25}


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_what_is_no_duration_is_left_out(wrong):
    meter = GpuMeter("shop", float)
    meter.add("v1", 1.0)

    meter.add("v1", wrong)

    assert seconds(meter) == {"v1": 1.0}


def test_revisions_are_bounded():
    meter = GpuMeter("shop", float, revisions=2)

    for number in range(5):
        meter.add(f"v{number}", 1.0)

    assert seconds(meter) == {"v0": 1.0, "v1": 1.0, "other": 3.0}
