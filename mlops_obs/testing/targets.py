"""A `TrafficTarget` in memory that can fail as real platforms do.

The trap it is built for: a change that was applied although the caller saw a timeout, and one that was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack, Weights, compact

Fault = Literal["conflict", "timeout-before", "timeout-after", "down", "denied"]
Method = Literal["deploy", "weights", "set_weights", "way_back", "finish"]


class FakeTarget:
    """Weights in a dictionary. `fail(method, fault, times)` queues faults; `history` has every split that was ever applied."""

    def __init__(self, weights: Mapping[str, int], packages: Mapping[str, str] | None = None) -> None:
        self._weights: dict[str, int] = dict(weights)
        self.packages: dict[str, str] = dict(packages or dict.fromkeys(weights, ""))
        self.history: list[dict[str, int]] = [dict(weights)]
        self.calls: list[str] = []
        self._faults: dict[str, list[Fault]] = {}
        self._lost: dict[str, str] = {}

    def fail(self, method: Method, fault: Fault, times: int = 1) -> None:
        """Let the next `times` calls of `method` fail."""
        self._faults.setdefault(method, []).extend([fault] * times)

    def force(self, weights: Mapping[str, int]) -> None:
        """Change the weights behind everybody's back, as a person with kubectl does."""
        self._weights = dict(weights)
        self.history.append(dict(weights))

    def lose_way_back(self, revision: str, reason: str) -> None:
        """Let `revision` be gone: no traffic can be given to it, until `restore_way_back`."""
        self._lost[revision] = reason

    def restore_way_back(self, revision: str) -> None:
        """Let `revision` be able to take all traffic again."""
        self._lost.pop(revision, None)

    def way_back(self, revision: str) -> WayBack:
        """Tell whether `revision` could take all traffic now; at once, for it is only a dictionary."""
        self._late(self._next("way_back"))
        if revision in self._lost:
            return WayBack(False, self._lost[revision])
        return WayBack(revision in self.packages, "" if revision in self.packages else f"{revision} is not deployed", 0.0)

    def deploy(self, revision: str, package: str) -> None:
        """Make `revision` ready at weight 0."""
        fault = self._next("deploy")
        if self.packages.get(revision, package) != package:
            raise Conflict(
                "OBS-FAKE-001", f"{revision} already runs {self.packages[revision]}", todo="name the new package another revision"
            )
        self.packages[revision] = package
        self._late(fault)

    def weights(self) -> Weights:
        """Return the weights that are applied."""
        self._late(self._next("weights"))
        return dict(self._weights)

    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Replace the weights if they still are `expected`."""
        fault = self._next("set_weights")
        wanted, now = compact(weights), compact(self._weights)
        if now != wanted:
            if now != compact(expected):
                raise Conflict("OBS-FAKE-002", f"weights are {now}, not {dict(expected)}", todo="read again")
            unknown = set(wanted) - set(self.packages)
            if unknown or sum(wanted.values()) != 100:
                raise TargetError("OBS-FAKE-003", f"cannot route {wanted}", todo="deploy first; weights sum to 100")
            for revision in sorted(wanted.keys() - now.keys() | {one for one in wanted if wanted[one] > now.get(one, 0)}):
                if revision in self._lost:
                    raise TargetError("OBS-FAKE-005", f"{revision} is gone: {self._lost[revision]}", todo="bring it back")
            self._weights = dict(weights)
            self.history.append(dict(weights))
        self._late(fault)

    def _next(self, method: str) -> Fault | None:
        self.calls.append(method)
        queue = self._faults.get(method)
        fault = queue.pop(0) if queue else None
        if fault == "conflict":
            raise Conflict("OBS-FAKE-002", "somebody changed it first", todo="read again")
        if fault == "denied":
            raise TargetError("OBS-FAKE-006", "a webhook denied the change", todo="ask whoever runs it")
        if fault in ("timeout-before", "down"):
            raise TargetError("OBS-FAKE-004", "the target does not answer", todo="try again")
        return fault

    def _late(self, fault: Fault | None) -> None:
        if fault == "timeout-after":
            raise TargetError("OBS-FAKE-004", "the target does not answer", todo="try again")


class FinishingTarget(FakeTarget):
    """A FakeTarget on which the end of a rollout needs an act of its own, as KServe's Standard mode does."""

    finished = ""

    def finish(self, revision: str) -> None:
        """Make `revision` the only one; refused while others have traffic."""
        fault = self._next("finish")
        if compact(self._weights) != {revision: 100}:
            raise Conflict("OBS-FAKE-007", f"{revision} has not all the traffic: {self._weights}", todo="read again")
        self.finished = revision
        self._late(fault)
