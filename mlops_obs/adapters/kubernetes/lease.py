"""Leader election by a coordination.k8s.io Lease, with a fencing token.

The traps. Clocks of two pods disagree: so a lease counts as expired when *we* have watched it unrenewed for its duration,
never by comparing the other's time with ours. A leader can be stopped for minutes and wake up thinking it still leads: so
`token()` asks the clock at every call, and what is written with an old token is refused by the store. The token is
`leaseTransitions + 1`; a Lease that was deleted starts over, so a leader may have to outrank the tokens it finds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError, KubernetesApi, Object
from mlops_obs.adapters.kubernetes.resources import LEASES, metadata, micro_time, seconds_of
from mlops_obs.errors import ObsError


class LeaseLock:
    """One Lease object, taken and renewed with compare-and-set.

    Args:
        wall: Unix seconds, only written into the object for people to read.
    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str, *, wall: Callable[[], float] = time.time) -> None:
        self._api, self._namespace, self._name, self._wall = api, namespace, name, wall
        self._observed = ""  # resourceVersion of the Lease as we last saw it
        self._observed_at = 0.0
        self.floor = 0  # the token must be greater than this

    def acquire(self, owner: str, now: float, ttl: float) -> int | None:
        """Take or renew the lease for `ttl` seconds; return the fencing token, or None while somebody else has it.

        `now` is any clock that does not jump, always the same one. Raises ApiError if the API server does not answer.
        """
        try:
            lease = self._api.get(LEASES, self._namespace, self._name)
        except ApiError as error:
            if not error.not_found:
                raise
            return self._create(owner, now, ttl)
        spec = lease.get("spec") or {}
        self._see(lease, now)
        holder = spec.get("holderIdentity") or ""
        # A clock that was set back must not keep a dead leader's lease alive for ever.
        self._observed_at = min(self._observed_at, now)
        if holder not in ("", owner) and now < self._observed_at + float(spec.get("leaseDurationSeconds") or ttl):
            return None
        wall = micro_time(self._wall())
        transitions = max(int(spec.get("leaseTransitions") or 0) + (holder != owner), self.floor)
        taken = wall if holder != owner else spec.get("acquireTime") or wall
        return self._put(lease, _spec(owner, ttl, transitions, taken, wall), now)

    def release(self, owner: str) -> None:
        """Give the lease back, so that the next leader need not wait for it to expire; harmless if it is not ours."""
        lease = self._api.get(LEASES, self._namespace, self._name)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == owner:
            self._put(lease, {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._wall())}, 0.0)

    def holder(self, now: float) -> str | None:
        """Return who holds the lease at `now` (Unix seconds, as told by the holder's own clock), None if nobody does."""
        try:
            spec = self._api.get(LEASES, self._namespace, self._name).get("spec") or {}
        except ApiError as error:
            if error.not_found:
                return None
            raise
        fresh = seconds_of(spec.get("renewTime", "")) + float(spec.get("leaseDurationSeconds") or 0) > now
        return str(spec["holderIdentity"]) if fresh and spec.get("holderIdentity") else None

    def _create(self, owner: str, now: float, ttl: float) -> int | None:
        wall = micro_time(self._wall())
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata(self._name, self._namespace),
            "spec": _spec(owner, ttl, self.floor, wall, wall),
        }
        try:
            found = self._api.create(LEASES, self._namespace, body)
        except ApiConflict:
            return None
        self._see(found, now)
        return int(found["spec"]["leaseTransitions"]) + 1

    def _put(self, lease: Object, spec: Object, now: float) -> int | None:
        try:
            found = self._api.put(LEASES, self._namespace, self._name, {**lease, "spec": spec})
        except ApiConflict:
            return None
        self._see(found, now)
        return int(found["spec"]["leaseTransitions"]) + 1

    def _see(self, lease: Object, now: float) -> None:
        version = str(lease["metadata"]["resourceVersion"])
        if self._observed != version:  # somebody renewed it since we last looked
            self._observed, self._observed_at = version, now


class Elector:
    """Keeps trying to lead, on a thread of its own, until it is told to stop.

    Args:
        lease_seconds: what others wait after our last renewal.
        deadline: seconds without a renewal after which we no longer think that we lead; less than `lease_seconds`.
        retry: seconds between two renewals; `jitter` (0 to 1) is added in tenths, so that candidates do not march in step.
        clock: seconds of a clock that does not jump.
        tell: told True when leadership begins and False when it ends.
    """

    def __init__(
        self,
        lock: LeaseLock,
        owner: str,
        *,
        lease_seconds: float = 15.0,
        deadline: float = 10.0,
        retry: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: 0.0,
        tell: Callable[[bool], None] = lambda _: None,
    ) -> None:
        if not retry < deadline < lease_seconds:
            raise ValueError(f"retry {retry} < deadline {deadline} < lease {lease_seconds} must hold, or two could lead at once")
        self.owner = owner
        self._lock, self._lease, self._deadline, self._retry = lock, lease_seconds, deadline, retry
        self._clock, self._jitter, self._tell = clock, jitter, tell
        self._held: tuple[int, float] | None = None  # token, and when the renewal that brought it was sent
        self._told = False
        self.problem = ""

    def token(self) -> int | None:
        """Return the fencing token if we lead now; None from the moment that we cannot be sure of it."""
        held = self._held
        return held[0] if held and self._clock() < held[1] + self._deadline else None

    def outrank(self, token: int) -> None:
        """Make the next renewal bring a token greater than `token`; without effect if somebody else leads."""
        self._lock.floor = max(self._lock.floor, token)

    def step(self) -> None:
        """Try once to take or renew the lease."""
        sent = self._clock()
        try:
            token = self._lock.acquire(self.owner, sent, self._lease)
            self.problem = ""
        except ObsError as error:
            self.problem = str(error)  # a silent server takes nobody's leadership away before the deadline
        else:
            self._held = (token, sent) if token is not None else None
        leads = self.token() is not None
        if leads != self._told:
            self._told = leads
            self._tell(leads)

    def run(self, stop: threading.Event) -> None:
        """Step until `stop` is set, then give the lease back."""
        while not stop.is_set():
            self.step()
            stop.wait(self._retry * (1 + 0.1 * self._jitter()))
        self._held = None
        try:
            self._lock.release(self.owner)
        except ObsError as error:
            self.problem = str(error)


def _spec(owner: str, ttl: float, transitions: int, acquired: str, renewed: str) -> Object:
    return {
        "holderIdentity": owner,
        "leaseDurationSeconds": max(1, round(ttl)),
        "acquireTime": acquired,
        "renewTime": renewed,
        "leaseTransitions": transitions,
    }
