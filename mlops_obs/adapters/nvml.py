"""Reads GPUs through NVML (`nvidia-ml-py`), the library behind nvidia-smi.

NVML is initialised once and kept open: opening it at every scrape costs more than all readings together and, on a
machine without persistence mode, may power the GPU up. No process lists: they take milliseconds under the driver's
lock, on the machine that is meant to train.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from mlops_obs.collectors.gpu import GpuSample, readings_from
from mlops_obs.errors import PlatformError
from mlops_obs.metric_names import Reading

T = TypeVar("T")


class GpuUnavailable(PlatformError):
    """The GPUs cannot be read; `reason` is the value of the label of the same name."""

    def __init__(self, code: str, reason: str, what: str, todo: str) -> None:
        self.reason = reason
        super().__init__(code, what, todo=todo)


class NvmlSource:
    """A collector: `telemetry.register_collector("gpu", NvmlSource().read)`.

    NVML is opened at the first `read`, and again after the driver has gone away (an upgrade, a reset).
    """

    def __init__(self) -> None:
        self._pynvml: Any = None
        self._models: dict[str, str] = {}  # uuid -> model name of every GPU ever seen; indices move when a GPU is lost

    def read(self) -> list[Reading]:
        """Return the readings of all GPUs; those that do not answer count as lost.

        Raises:
            GpuUnavailable: OBS-GPU-001 reason `no_library`, OBS-GPU-002 `no_driver`, OBS-GPU-003 `no_permission`,
                OBS-GPU-004 `nvml_error`.
        """
        nvml = self._pynvml or self._open()
        try:
            count = nvml.nvmlDeviceGetCount()
        except nvml.NVMLError as error:
            self.close()
            raise _unavailable(nvml, error) from error
        samples = [self._sample(nvml, index) for index in range(count)]
        present = [sample for sample in samples if sample is not None]
        silent = count - len(present)
        unlisted = len(self._models.keys() - {sample.uuid for sample in present})  # the driver may stop listing a lost GPU
        return readings_from(present, lost=max(silent, unlisted))

    def close(self) -> None:
        """Shut NVML down; the next `read` opens it again."""
        nvml, self._pynvml = self._pynvml, None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:
                return  # a driver that is gone needs no goodbye

    def _open(self) -> Any:
        try:
            import pynvml
        except ImportError as error:
            raise GpuUnavailable("OBS-GPU-001", "no_library", "nvidia-ml-py is not installed", "pip install 'mlops-obs[gpu]'") from error
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise _unavailable(pynvml, error) from error
        self._pynvml = pynvml
        return pynvml

    def _sample(self, nvml: Any, index: int) -> GpuSample | None:
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = nvml.nvmlDeviceGetUUID(handle)
            if uuid not in self._models:
                self._models[uuid] = nvml.nvmlDeviceGetName(handle)
            memory = _supported(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
            return GpuSample(
                index=index,
                uuid=uuid,
                model_name=self._models[uuid],
                utilization_percent=_supported(nvml, lambda: int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
                memory_used_bytes=None if memory is None else int(memory.used),
                memory_total_bytes=None if memory is None else int(memory.total),
                power_milliwatts=_supported(nvml, lambda: int(nvml.nvmlDeviceGetPowerUsage(handle))),
                energy_millijoules=_supported(nvml, lambda: int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))),
                temperature_celsius=_supported(nvml, lambda: int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
            )
        except nvml.NVMLError:
            return None


def _supported(nvml: Any, call: Callable[[], T]) -> T | None:
    """None for a field that this GPU or driver does not have; a GPU that is lost is no such case and is raised."""
    try:
        return call()
    except nvml.NVMLError as error:
        if error.value in (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_NO_PERMISSION):
            return None
        raise


def _unavailable(nvml: Any, error: Any) -> GpuUnavailable:
    if error.value in (nvml.NVML_ERROR_LIBRARY_NOT_FOUND, nvml.NVML_ERROR_DRIVER_NOT_LOADED):
        return GpuUnavailable("OBS-GPU-002", "no_driver", "this machine has no NVIDIA driver", "run the collector on GPU nodes only")
    if error.value == nvml.NVML_ERROR_NO_PERMISSION:
        return GpuUnavailable("OBS-GPU-003", "no_permission", "NVML refused access", "mount /dev/nvidia* into the container")
    return GpuUnavailable("OBS-GPU-004", "nvml_error", f"NVML failed: {error}", "see `nvidia-smi` and the kernel log of the node")
