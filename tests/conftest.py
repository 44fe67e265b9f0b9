"""Settings of every test: on a busy machine a property may take long to try, and that says nothing about it."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
