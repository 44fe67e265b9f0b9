"""Lets stand-ins of platforms work beside a test or a demo, as controllers do beside a cluster's users."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Protocol

from mlops_obs.errors import ObsError


class Reconciler(Protocol):
    """Something with one level-triggered pass."""

    def reconcile(self) -> None:
        """Look once and do what is to be done."""
        ...


class Playing:
    """Runs the passes of some reconcilers in a thread, again and again, for as long as the `with` block lasts.

    Args:
        reconcilers: who works.
        every: seconds between two passes.
    """

    def __init__(self, *reconcilers: Reconciler, every: float = 0.05) -> None:
        self._reconcilers, self._every = reconcilers, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self.problem = ""  # the last failure: a server that is away is met again at the next pass

    def __enter__(self) -> Playing:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End after the pass that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _play(self) -> None:
        while not self._stop.wait(self._every):
            for one in self._reconcilers:
                try:
                    one.reconcile()
                except ObsError as error:
                    self.problem = str(error)
