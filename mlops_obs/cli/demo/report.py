"""Gathers what happened in a demo run and writes `report.html`."""

from __future__ import annotations

from pathlib import Path

from mlops_obs.adapters.files import load_slos, write_atomically
from mlops_obs.cli import wiring
from mlops_obs.cli.demo.loop import SERVICE, Loop
from mlops_obs.cli.demo.screen import Screen
from mlops_obs.cli.rollout.shared import place
from mlops_obs.dashboards.report import render_report
from mlops_obs.dashboards.report_data import PageArrival, Promise, StageTiming, collect

_NOTE = "The customers and their histories are synthetic, made by the seeded simulator of the reference stack."


def write_report(loop: Loop, screen: Screen) -> Path:
    """Write `report.html` into the run's folder and return its path. Raises TelemetryUnavailable if metrics cannot be read."""
    environment = wiring.load_environment(loop.env_file)
    data = collect(
        wiring.counter_source(environment),
        SERVICE,
        screen.steps[0].start,
        screen.steps[-1].end,
        records=place(loop.env_file).records(),
        pages=[PageArrival(page["received_at"], page["text"], page["payload"]) for page in loop.pages()],
        stages=[StageTiming(step.name, step.start, step.end, step.note) for step in screen.steps],
        promises=[
            Promise(slo.name, float(slo.objective), slo.indicator.threshold_seconds)
            for slo in load_slos(loop.slo_file)
            if slo.indicator.type in ("availability", "latency")
        ],
        note="" if loop.settings.data else _NOTE,
    )
    path = loop.settings.out / "report.html"
    write_atomically(path, render_report(data))
    return path
