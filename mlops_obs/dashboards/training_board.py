"""GPU and training: is the hardware we pay for doing work, and does training move forward."""

from __future__ import annotations

from typing import Any

from mlops_obs import metric_names as m
from mlops_obs.dashboards import promql as q
from mlops_obs.dashboards.panels import Dashboard, Panel, Query, Row, Unit
from mlops_obs.dashboards.shared_panels import (
    MARKERS,
    REVISION,
    SERVICE,
    ZERO_IS_GOOD,
    panel,
)

_GPU_LEGEND = "GPU {{gpu}}"


def _gpu(slug: str, title: str, description: str, unit: Unit, expr: str, **options: Any) -> Panel:
    return panel(slug, title, description, unit, Query(expr, _GPU_LEGEND), width=8, needs="gpu", no_value="no GPU reported", **options)


GPU_TRAINING = Dashboard(
    "mlops-obs-gpu-training",
    "GPU and training",
    "Is the hardware that we pay for doing work, and does training move forward.",
    (
        Row(
            "Does training move forward?",
            (
                panel(
                    "goodput",
                    "Goodput",
                    "Share of wall time that trained: compute and optimiser steps, not waiting, checkpoints or restarts.",
                    "percentunit",
                    Query(
                        q.share(
                            q.increase_by(m.TRAINING_TIME, m.REVISION, where={m.PHASE: "~compute|optimizer"}),
                            q.increase_by(m.TRAINING_TIME, m.REVISION),
                        ),
                        "{{revision}}",
                        instant=True,
                    ),
                    kind="stat",
                    width=6,
                    height=6,
                    maximum=1,
                    steps=("bad", ((0.5, "warn"), (0.8, "good"))),
                    no_value="no training",
                ),
                panel(
                    "phases",
                    "Where the time goes",
                    "Share of wall time by phase.",
                    "percentunit",
                    Query(q.rate_by(m.TRAINING_TIME, m.PHASE), "{{phase}}"),
                    width=18,
                    height=6,
                    stacked=True,
                    no_value="no training",
                ),
                panel(
                    "loss",
                    "Loss",
                    "Loss of the last step.",
                    "none",
                    Query(q.gauge_max(m.TRAINING_LOSS, m.REVISION), "{{revision}}"),
                    width=8,
                    minimum=None,
                    decimals=3,
                    no_value="no training",
                ),
                panel(
                    "samples",
                    "Samples",
                    "Samples consumed per second.",
                    "short",
                    Query(q.rate_by(m.TRAINING_SAMPLES, m.REVISION), "{{revision}}"),
                    width=8,
                    no_value="no training",
                ),
                panel(
                    "steps",
                    "Steps",
                    "Optimiser steps per second. Zero while the phase says compute is a hang.",
                    "short",
                    Query(q.rate_by(m.TRAINING_STEPS, m.REVISION), "{{revision}}"),
                    width=8,
                    no_value="no training",
                ),
                panel(
                    "restarts",
                    "Restarts",
                    "Restarts after a lost worker in the shown range.",
                    "none",
                    Query(q.increase_by(m.TRAINING_RESTARTS, m.REVISION), "{{revision}}", instant=True),
                    kind="stat",
                    width=8,
                    height=5,
                    decimals=0,
                    steps=("good", ((1.0, "warn"),)),
                    no_value="no training",
                ),
                panel(
                    "nonfinite",
                    "NaN or infinite losses",
                    "Steps in the shown range whose loss was not a number.",
                    "none",
                    Query(q.increase_by(m.TRAINING_NONFINITE, m.REVISION), "{{revision}}", instant=True),
                    kind="stat",
                    width=8,
                    height=5,
                    decimals=0,
                    steps=ZERO_IS_GOOD,
                    no_value="no training",
                ),
                panel(
                    "checkpoint",
                    "Work at risk",
                    "Time since the last checkpoint: what a crash would cost a run that still goes.",
                    "s",
                    Query(q.seconds_since(m.TRAINING_CHECKPOINT_TIME, m.REVISION), "{{revision}}"),
                    kind="stat",
                    width=8,
                    height=5,
                    no_value="no checkpoint",
                ),
            ),
        ),
        Row(
            "Does the hardware work?",
            (
                _gpu(
                    "utilization",
                    "GPU utilisation",
                    "Share of time with a kernel resident. High does not mean efficient; low means waste.",
                    "percentunit",
                    q.gauge_max(m.GPU_UTILIZATION, m.GPU),
                    maximum=1,
                ),
                _gpu(
                    "memory",
                    "GPU memory",
                    "Share of memory in use.",
                    "percentunit",
                    q.ratio(m.GPU_MEMORY_USED, m.GPU_MEMORY_TOTAL, m.GPU),
                    maximum=1,
                ),
                _gpu("power", "GPU power", "Power drawn.", "watt", q.gauge_max(m.GPU_POWER, m.GPU)),
                _gpu("temperature", "GPU temperature", "Temperature of the chip.", "celsius", q.gauge_max(m.GPU_TEMPERATURE, m.GPU)),
                _gpu(
                    "energy",
                    "GPU energy",
                    "Joules per second, from the energy counter: exact where sampled power misses peaks.",
                    "watt",
                    q.rate_by(m.GPU_ENERGY, m.GPU),
                ),
                panel(
                    "gpus",
                    "GPUs present and lost",
                    "GPUs by state. A lost GPU has fallen off the bus and needs a reset or a visit.",
                    "none",
                    Query(q.gauge_max(m.GPU_COUNT, "state"), "{{state}}"),
                    width=8,
                    needs="gpu",
                    no_value="no GPU reported",
                ),
            ),
        ),
    ),
    (SERVICE, REVISION),
    MARKERS,
)
