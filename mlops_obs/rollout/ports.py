"""What a rollout needs from the world: a target that splits traffic, counters to judge by, and a store that survives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Weights = Mapping[str, int]  # percent of traffic by revision; sums to 100


class TrafficTarget(Protocol):
    """A serving platform that splits traffic between revisions: Ray Serve, KServe, or a fake."""

    def deploy(self, revision: str, package: str) -> None:
        """Make `revision` ready to serve at weight 0 from the model package at `package`. Idempotent.

        Raises TargetError if it does not become ready, Conflict if `revision` already runs another package.
        """
        ...

    def weights(self) -> Weights:
        """Return the weights that the target applies now, read from the target and never from memory. Raises TargetError."""
        ...

    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Replace the weights if they still are `expected`. Setting what is already set succeeds.

        Raises Conflict if they are neither, TargetError if the target does not answer (the change may have been applied).
        """
        ...
