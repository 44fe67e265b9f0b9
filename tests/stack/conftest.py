"""One whole demo, kept running for the tests that look at it: real Ray, Prometheus, Alertmanager, HTTP traffic."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from mlops_obs.adapters import local_prometheus
from mlops_obs.cli.demo.loop import Loop, Settings
from mlops_obs.cli.demo.outcome import Claim
from mlops_obs.cli.demo.screen import Screen
from mlops_obs.cli.demo.story import tell

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prometheus_installed():
    if not local_prometheus.available():
        pytest.skip("Prometheus or Alertmanager is missing: apt-get install prometheus prometheus-alertmanager")


@dataclass
class Told:
    """A demo whose story has been told and whose processes still run."""

    loop: Loop
    screen: Screen
    claims: list[Claim]


@pytest.fixture(scope="session")
def told(tmp_path_factory, prometheus_installed):
    screen = Screen(Console(highlight=False, width=160))
    with Loop(Settings(tmp_path_factory.mktemp("demo"), ROOT, seed=7)) as loop:
        yield Told(loop, screen, tell(loop, screen))


def path_without_prometheus(folder: Path) -> str:
    """A PATH that has every program of this machine's but Prometheus and Alertmanager."""
    folder.mkdir()
    for directory in os.environ["PATH"].split(os.pathsep):
        for program in Path(directory).glob("*"):
            link = folder / program.name
            if not program.name.startswith(("prometheus", "alertmanager")) and not link.exists():
                link.symlink_to(program)
    return str(folder)


@pytest.fixture(scope="session")
def embedded_demo(tmp_path_factory):
    """A demo that a person ran to its end on a machine without Prometheus: its folder, and what was printed."""
    folder = tmp_path_factory.mktemp("embedded-demo")
    hidden = os.environ | {"PATH": path_without_prometheus(folder / "bin")}
    command = [sys.executable, "-m", "mlops_obs.cli.main", "demo", "--seed", "3", "--out", str(folder / "run")]
    return folder / "run", subprocess.run(command, env=hidden, capture_output=True, text=True, check=False)
