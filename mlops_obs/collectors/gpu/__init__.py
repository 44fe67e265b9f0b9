"""GPUs: utilisation, memory, power, energy and temperature, in base units; and those that are lost."""

from mlops_obs.collectors.gpu.readings import GpuSample, readings_from

__all__ = ["GpuSample", "readings_from"]
