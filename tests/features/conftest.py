"""A small synthetic lender, simulated once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from feature_train_serve.simulator.lender import Simulation, simulate

sys.path.insert(0, str(Path(__file__).parent))  # event_tables.py is shared by the tests of this folder


@pytest.fixture(scope="session")
def lender() -> Simulation:
    return simulate(seed=3, customers=300, days=360, end_ms=1_731_104_000_000)
