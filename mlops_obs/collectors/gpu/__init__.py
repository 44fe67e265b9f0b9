"""GPUs: utilisation, memory, power, energy and temperature, in base units; those that are lost; and GPU time by model revision."""

from mlops_obs.collectors.gpu.meter import GpuMeter
from mlops_obs.collectors.gpu.readings import GpuSample, readings_from

__all__ = ["GpuMeter", "GpuSample", "readings_from"]
