import pytest

from mlops_obs.adapters.nvml import GpuUnavailable, NvmlSource
from mlops_obs.collectors.gpu import GpuSample, readings_from
from mlops_obs.metric_names import GPU_COUNT, GPU_ENERGY, GPU_MEMORY_USED, GPU_POWER, GPU_TEMPERATURE, GPU_UTILIZATION, Reading
from mlops_obs.testing.nvml import FakeGpu, FakeNvml

pynvml = pytest.importorskip("pynvml")


def value(readings: list[Reading], metric: object, **labels: str) -> float | None:
    found = [one.value for one in readings if one.metric is metric and labels.items() <= one.labels.items()]
    assert len(found) <= 1
    return found[0] if found else None


def test_nvml_units_become_base_units_through_the_real_pynvml():
    with FakeNvml([FakeGpu(uuid="GPU-a")]):
        readings = NvmlSource().read()

    assert value(readings, GPU_UTILIZATION, gpu="0", uuid="GPU-a", model_name="NVIDIA H100 80GB HBM3") == 0.57
    assert value(readings, GPU_MEMORY_USED) == 8 << 30
    assert value(readings, GPU_POWER) == 312.5
    assert value(readings, GPU_ENERGY) == 9000.0
    assert value(readings, GPU_TEMPERATURE) == 61.0
    assert all(set(one.labels) == set(one.metric.labels) for one in readings)


def test_an_unsupported_field_is_left_out_and_never_zero():
    with FakeNvml([FakeGpu(utilization_percent=None, energy_millijoules=None)]):
        readings = NvmlSource().read()

    assert value(readings, GPU_UTILIZATION) is None
    assert value(readings, GPU_ENERGY) is None
    assert value(readings, GPU_POWER) == 312.5


@pytest.mark.parametrize("blank", [4294967295, 4294967280, 9223372036854775794])
def test_a_sentinel_is_no_value(blank):
    sample = GpuSample(0, "GPU-a", "H100", utilization_percent=blank, power_milliwatts=blank, temperature_celsius=blank)

    assert [one for one in readings_from([sample]) if one.metric is not GPU_COUNT] == []


def test_a_gpu_that_falls_off_the_bus_is_lost_and_the_others_are_read():
    with FakeNvml([FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b")]) as node:
        source = NvmlSource()
        before = source.read()
        node.gpus[1].lost = True
        after = source.read()
        node.gpus.pop(0)
        node.gpus[0].lost = False
        relisted = source.read()

    assert (value(before, GPU_COUNT, state="present"), value(before, GPU_COUNT, state="lost")) == (2, 0)
    assert (value(after, GPU_COUNT, state="present"), value(after, GPU_COUNT, state="lost")) == (1, 1)
    assert (value(relisted, GPU_COUNT, state="present"), value(relisted, GPU_COUNT, state="lost")) == (1, 1)
    assert {"GPU-b"} == {one.labels["uuid"] for one in relisted if "uuid" in one.labels}
    assert {"GPU-a"} == {one.labels["uuid"] for one in after if "uuid" in one.labels}


def test_nvml_is_opened_once_and_names_are_asked_once():
    with FakeNvml() as node:
        source = NvmlSource()
        for _ in range(3):
            source.read()

    assert node.calls["nvmlInitWithFlags"] == 1
    assert node.calls["nvmlDeviceGetName"] == 1
    assert node.calls["nvmlDeviceGetPowerUsage"] == 3


def test_without_a_driver_the_reason_says_so():
    with FakeNvml(driver=False), pytest.raises(GpuUnavailable, match="OBS-GPU-002") as caught:
        NvmlSource().read()

    assert caught.value.reason == "no_driver"


def test_a_driver_that_comes_back_is_opened_again():
    with FakeNvml() as node:
        source = NvmlSource()
        source.read()
        node.driver = False
        with pytest.raises(GpuUnavailable) as caught:
            source.read()
        node.driver = True
        readings = source.read()

    assert caught.value.reason == "no_driver"
    assert value(readings, GPU_COUNT, state="present") == 1
    assert node.calls["nvmlInitWithFlags"] == 2


@pytest.mark.gpu
def test_a_real_gpu_reads_plausibly():
    try:
        readings = NvmlSource().read()
    except GpuUnavailable as error:
        pytest.skip(f"no GPU here: {error}")

    assert (value(readings, GPU_COUNT, state="present") or 0) >= 1
    assert all(10 <= one.value <= 110 for one in readings if one.metric is GPU_TEMPERATURE)
    assert all(0 <= one.value <= 1 for one in readings if one.metric is GPU_UTILIZATION)
