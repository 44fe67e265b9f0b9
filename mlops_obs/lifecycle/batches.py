"""Watch the rows of a batch job as those of a server: a function for Ray Data's `map_batches`, or any loop over blocks.

    from mlops_obs.lifecycle.batches import WatchBatches
    ds = ds.map_batches(WatchBatches("credit-risk", "v2", reference)).map_batches(model)

The block is handed on as it came. The trap: a Ray worker unpickles its function for every task, so the handle is looked up in the
worker (handles with the same labels share their state there) and never travels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlops_obs.lifecycle import instrument
from mlops_obs.lifecycle.api import Telemetry
from mlops_obs.metric_names import STAGE_FEATURES


class WatchBatches:
    """Hands every block to the drift profile of (service, revision, stage) and returns it. Arguments as of `instrument`."""

    def __init__(
        self, service: str, revision: str, reference: bytes, feature_names: Sequence[str] = (), stage: str = STAGE_FEATURES
    ) -> None:
        self._arguments = (service, revision, stage, reference, tuple(feature_names))
        self._telemetry: Telemetry | None = None

    def __call__(self, block: Any) -> Any:
        """Take the rows of `block` in and return it."""
        if self._telemetry is None:
            self._telemetry = instrument(*self._arguments)
        self._telemetry.feature_table(block)
        return block

    def __reduce__(self) -> tuple[Any, ...]:
        service, revision, stage, reference, names = self._arguments
        return WatchBatches, (service, revision, reference, names, stage)
