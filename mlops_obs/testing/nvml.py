"""A GPU node without a GPU: the functions of NVML's C library, swapped under `pynvml`.

Everything above the C library is the real code: pynvml's wrappers with their ctypes structures, and our collector.
It cannot show what the driver costs or how a real chip fails; say "verified on fake NVML only" until it ran on one.

    with FakeNvml([FakeGpu(), FakeGpu(energy_millijoules=None)]) as node:
        node.gpus[1].lost = True
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

# NVML's return codes (nvml.h). They are part of its binary interface and do not change.
_OK, _UNINITIALIZED, _NOT_SUPPORTED, _DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND, _GPU_IS_LOST = 0, 1, 3, 9, 12, 15
_FIRST_HANDLE = 0xA000


@dataclass(slots=True)
class FakeGpu:
    """One GPU in NVML's units; None makes the field unsupported, `lost` takes the GPU off the bus."""

    uuid: str = "GPU-00000000-0000-0000-0000-000000000001"
    model_name: str = "NVIDIA H100 80GB HBM3"
    utilization_percent: int | None = 57
    memory_used_bytes: int | None = 8 << 30
    memory_total_bytes: int = 80 << 30
    power_milliwatts: int | None = 312_500
    energy_millijoules: int | None = 9_000_000
    temperature_celsius: int | None = 61
    lost: bool = False


class FakeNvml:
    """A context in which pynvml finds these GPUs. `driver = False` unloads the driver; `calls` counts each function."""

    def __init__(self, gpus: list[FakeGpu] | None = None, *, driver: bool = True) -> None:
        self.gpus = gpus if gpus is not None else [FakeGpu()]
        self.driver = driver
        self.calls: dict[str, int] = {}
        self._initialised = False
        self._saved: tuple[Any, dict[str, Any]] | None = None

    def __enter__(self) -> FakeNvml:
        import pynvml

        self._saved = (pynvml.nvmlLib, dict(pynvml._nvmlGetFunctionPointer_cache))
        pynvml.nvmlLib = self
        pynvml._nvmlGetFunctionPointer_cache.clear()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import pynvml

        if self._saved is not None:
            pynvml.nvmlLib, cache = self._saved
            pynvml._nvmlGetFunctionPointer_cache.clear()
            pynvml._nvmlGetFunctionPointer_cache.update(cache)

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Resolve a symbol of the library; one that we do not have looks to pynvml like an old driver."""
        implementation = _SYMBOLS.get(name)
        if implementation is None:
            raise AttributeError(name)

        def call(*args: Any) -> int:
            self.calls[name] = self.calls.get(name, 0) + 1
            if not self.driver:
                self._initialised = False
                return _DRIVER_NOT_LOADED
            if not self._initialised and name != "nvmlInitWithFlags":
                return _UNINITIALIZED
            return implementation(self, *args)

        return call

    def _init(self, _flags: int) -> int:
        self._initialised = True
        return _OK

    def _shutdown(self) -> int:
        self._initialised = False
        return _OK

    def _count(self, out: Any) -> int:
        out._obj.value = len(self.gpus)
        return _OK

    def _handle(self, index: Any, out: Any) -> int:
        ctypes.cast(out, ctypes.POINTER(ctypes.c_void_p))[0] = _FIRST_HANDLE + index.value
        return _OK

    def _gpu(self, handle: Any) -> FakeGpu:
        return self.gpus[ctypes.cast(handle, ctypes.c_void_p).value - _FIRST_HANDLE]  # type: ignore[operator]


def _number(field: str) -> Callable[..., int]:
    def get(node: FakeNvml, handle: Any, *rest: Any) -> int:
        gpu = node._gpu(handle)
        value = getattr(gpu, field)
        if gpu.lost or value is None:
            return _GPU_IS_LOST if gpu.lost else _NOT_SUPPORTED
        rest[-1]._obj.value = value
        return _OK

    return get


def _text(field: str) -> Callable[..., int]:
    def get(node: FakeNvml, handle: Any, buffer: Any, _size: Any) -> int:
        gpu = node._gpu(handle)
        if gpu.lost:
            return _GPU_IS_LOST
        buffer.value = getattr(gpu, field).encode()
        return _OK

    return get


def _utilization(node: FakeNvml, handle: Any, out: Any) -> int:
    gpu = node._gpu(handle)
    if gpu.lost or gpu.utilization_percent is None:
        return _GPU_IS_LOST if gpu.lost else _NOT_SUPPORTED
    out._obj.gpu = gpu.utilization_percent
    return _OK


def _memory(node: FakeNvml, handle: Any, out: Any) -> int:
    gpu = node._gpu(handle)
    if gpu.lost or gpu.memory_used_bytes is None:
        return _GPU_IS_LOST if gpu.lost else _NOT_SUPPORTED
    out._obj.total, out._obj.used = gpu.memory_total_bytes, gpu.memory_used_bytes
    out._obj.free = gpu.memory_total_bytes - gpu.memory_used_bytes
    return _OK


_SYMBOLS: dict[str, Callable[..., int]] = {
    "nvmlInitWithFlags": FakeNvml._init,
    "nvmlShutdown": FakeNvml._shutdown,
    "nvmlDeviceGetCount_v2": FakeNvml._count,
    "nvmlDeviceGetHandleByIndex_v2": FakeNvml._handle,
    "nvmlDeviceGetUUID": _text("uuid"),
    "nvmlDeviceGetName": _text("model_name"),
    "nvmlDeviceGetUtilizationRates": _utilization,
    "nvmlDeviceGetMemoryInfo": _memory,
    "nvmlDeviceGetPowerUsage": _number("power_milliwatts"),
    "nvmlDeviceGetTotalEnergyConsumption": _number("energy_millijoules"),
    "nvmlDeviceGetTemperature": _number("temperature_celsius"),
}
