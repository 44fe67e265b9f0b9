"""From what NVML says about GPUs to readings in base units.

NVML mixes units (mW, mJ, percent) and, instead of failing, may answer with a sentinel that looks like a number:
9223372036854775794 as a temperature, 4294967295 as a power. A field that a GPU does not support, or that reads as a
sentinel, is left out; it is never exported as 0. A GPU that has fallen off the bus is said as `state="lost"`, because
its own series just end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops_obs.metric_names import (
    GPU,
    GPU_COUNT,
    GPU_ENERGY,
    GPU_MEMORY_TOTAL,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    MODEL_NAME,
    UUID,
    Reading,
)

_BLANK_32 = 0xFFFF_FFF0  # 4294967280 and above: "not available" as an unsigned int
_BLANK_64 = 10**18  # DCGM and NVML blanks start near 2**63 - 16
_HOTTEST = 300  # celsius; above this it is no temperature of a working chip


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One GPU as NVML gave it, in NVML's units; None where the GPU does not support the field."""

    index: int
    uuid: str
    model_name: str
    utilization_percent: int | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_milliwatts: int | None = None
    energy_millijoules: int | None = None
    temperature_celsius: int | None = None


def readings_from(samples: Sequence[GpuSample], lost: int = 0) -> list[Reading]:
    """Return the readings of the GPUs that answered, and how many are present and lost."""
    readings = [Reading(GPU_COUNT, {"state": "present"}, len(samples)), Reading(GPU_COUNT, {"state": "lost"}, lost)]
    for sample in samples:
        labels = {GPU: str(sample.index), UUID: sample.uuid, MODEL_NAME: sample.model_name}
        for metric, raw, limit, per_unit in (
            (GPU_UTILIZATION, sample.utilization_percent, 101, 100),
            (GPU_MEMORY_USED, sample.memory_used_bytes, _BLANK_64, 1),
            (GPU_MEMORY_TOTAL, sample.memory_total_bytes, _BLANK_64, 1),
            (GPU_POWER, sample.power_milliwatts, _BLANK_32, 1000),
            (GPU_ENERGY, sample.energy_millijoules, _BLANK_64, 1000),
            (GPU_TEMPERATURE, sample.temperature_celsius, _HOTTEST, 1),
        ):
            if raw is not None and raw < limit:
                readings.append(Reading(metric, dict(labels), raw / per_unit))
    return readings
