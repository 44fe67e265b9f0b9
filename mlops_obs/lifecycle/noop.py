"""Telemetry that does nothing, for programs that are instrumented but run where nothing is installed to receive it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

from mlops_obs.lifecycle.api import Headers, Request, StageRun, TrainingMeter, Wrapped
from mlops_obs.metric_names import Reading


class NoopRequest:
    """A request or stage run that records nothing."""

    trace_id = "0" * 32
    traceparent = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def client_error(self) -> None:
        """Do nothing."""

    def error(self) -> None:
        """Do nothing."""

    def status(self, code: int) -> None:
        """Do nothing."""

    def features(self, rows: Any) -> None:
        """Do nothing."""

    def attribute(self, key: str, value: str | float | bool) -> None:
        """Do nothing."""

    def rows(self, count: int) -> None:
        """Do nothing."""


class NoopTraining:
    """A training meter that records nothing."""

    def phase(self, name: str) -> AbstractContextManager[Any]:  # noqa: ARG002 - the port names it
        """Return a block that does nothing."""
        return nullcontext()

    def step(self, loss: float, samples: int) -> None:
        """Do nothing."""

    def checkpoint(self) -> None:
        """Do nothing."""

    def restart(self) -> None:
        """Do nothing."""

    def read(self) -> list[Reading]:
        """Return no readings."""
        return []


class NoopTelemetry:
    """A handle that records nothing and wraps nothing."""

    def __init__(self, service: str, revision: str, stage_name: str) -> None:
        self.service, self.revision, self.stage_name = service, revision, stage_name

    def request(self, *, headers: Headers | None = None, traceparent: str | None = None) -> Request:  # noqa: ARG002 - the port names them
        """Return a request that records nothing."""
        return NoopRequest()

    def stage(self, *, traceparent: str | None = None) -> StageRun:  # noqa: ARG002 - the port names it
        """Return a run that records nothing."""
        return NoopRequest()

    def features(self, rows: Any) -> None:
        """Do nothing."""

    def feature_table(self, rows: Any) -> None:
        """Do nothing."""

    def wrap(self, obj: Wrapped) -> Wrapped:
        """Return `obj` itself."""
        return obj

    def training(self) -> TrainingMeter:
        """Return a meter that records nothing."""
        return NoopTraining()

    def register_collector(self, name: str, read: Callable[[], Iterable[Reading]]) -> None:
        """Do nothing."""
