"""What a rollout needs from the world: a target that splits traffic, counters to judge by, somebody to tell, and a store that survives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Weights = Mapping[str, int]  # percent of traffic by revision; sums to 100


def compact(weights: Weights) -> dict[str, int]:
    """Drop revisions without traffic: {v1: 100, v2: 0} and {v1: 100} route alike."""
    return {revision: percent for revision, percent in sorted(weights.items()) if percent}


@dataclass(frozen=True, slots=True)
class WayBack:
    """Whether all traffic could be given back to a revision now: `reason` in words, `seconds` that it would take (None: not known)."""

    ready: bool
    reason: str
    seconds: float | None = None


class TrafficTarget(Protocol):
    """A serving platform that splits traffic between revisions: Ray Serve, KServe, KubeRay, or a fake."""

    def deploy(self, revision: str, package: str) -> None:
        """Make `revision` ready to serve at weight 0 from the model package at `package`. Idempotent.

        Raises TargetError if it does not become ready or the platform could not split its traffic (said before anything is
        changed), Conflict if `revision` already runs another package.
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

    def way_back(self, revision: str) -> WayBack:
        """Tell whether all traffic could return to `revision` now. Changes nothing; raises TargetError if that cannot be read."""
        ...


@runtime_checkable
class Finishes(Protocol):
    """A target on which the end of a rollout needs an act of its own, e.g. to make the canary the platform's stable predictor."""

    def finish(self, revision: str) -> None:
        """Make `revision`, which has all the traffic, the only one; others may be removed. Idempotent. Raises as `set_weights`."""
        ...


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people must learn exactly once; `key` is the same at every attempt to deliver it. `at` in Unix seconds."""

    key: str
    kind: str  # "rollback", "telemetry", "stuck", "step", "promoted"
    service: str
    at: float
    title: str
    text: str
    labels: Mapping[str, str]


class Notifier(Protocol):
    """Whoever tells people: Alertmanager, Grafana annotations, a webhook."""

    def deliver(self, notice: Notice) -> None:
        """Hand `notice` over; delivering the same key again is harmless. Raises ObsError if it was not taken."""
        ...
