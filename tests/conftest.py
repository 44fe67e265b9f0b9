"""Settings of every test: on a busy machine a property may take long to try, and that says nothing about it."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the whole demo last: it keeps running for its tests, and would take the processor from all others."""
    items.sort(key=lambda item: item.path.parent.name == "stack")
