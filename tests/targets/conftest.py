"""The tests of this folder share the API server of the whole suite; each makes objects of its own on it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cluster(api_server: Path) -> Path:
    return api_server
