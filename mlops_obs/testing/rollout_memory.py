"""A store of rollouts in memory, with the contract of the real ones: for tests that run a hundred thousand rollouts.

The trap is a fake that is kinder than what it stands for. It passes the same contract tests as the stores on SQLite and on
the API server: versions, fencing tokens, requests that stay open, an append-only chained log.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mlops_obs.errors import StateError, UsageError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.log.records import GENESIS, Record, chain, first_broken
from mlops_obs.rollout.machine.known_bad import refuse_known_bad, rolled_back
from mlops_obs.rollout.machine.state import Kind, Request, RolloutState


class MemoryStore:
    """Rollouts, requests, a lease and the log in lists; `snapshot` and `restore` make it cheap to try many futures."""

    def __init__(self) -> None:
        self._rollouts: list[tuple[RolloutState, int]] = []
        self._requests: list[tuple[str, Request]] = []
        self._answered: set[int] = set()
        self._lease: tuple[str, float, int] | None = None
        self._records: list[Record] = []

    @property
    def token(self) -> int:
        """The fencing token of the lease; 0 before anybody had it."""
        return self._lease[2] if self._lease else 0

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        """Take or renew the lease."""
        holder, expires_at, token = self._lease or ("", 0.0, 0)
        if holder != owner:
            if self._lease is not None and now < expires_at <= now + 4 * ttl:  # a later end is one of a clock that was set back
                return None
            token += 1
        self._lease = (owner, now + ttl, token)
        return token

    def release(self, owner: str) -> None:
        """Give the lease back."""
        if self._lease is not None and self._lease[0] == owner:
            self._lease = ("", 0.0, self._lease[2])

    def load(self, key: str) -> Stored | None:
        """Return the newest rollout of the service `key`."""
        for state, version in reversed(self._rollouts):
            if state.spec.service == key:
                return self._stored(state, version)
        return None

    def save(self, stored: Stored, state: RolloutState, records: list[Record], token: int, *, answered: bool = False) -> Stored:
        """Replace the state and append `records`, all or nothing."""
        if token != self.token:
            raise StateError("OBS-ROLL-013", "another controller has taken over", todo="stop this one")
        index = next(index for index, (one, _) in enumerate(self._rollouts) if one.id == state.id)
        if self._rollouts[index][1] != stored.version:
            raise StateError("OBS-ROLL-012", f"rollout {state.id} was changed meanwhile", todo="read it again")
        self._rollouts[index] = (state, stored.version + 1)
        if answered:
            self._answered.update(one.id for one in stored.requests)
        self._records += records
        return Stored(state, stored.version + 1, () if answered else stored.requests, stored.known_bad)

    def history(self, rollout: str) -> list[Record]:
        """Return all records of one rollout with their `seq` and `hash`."""
        return [one for one in self._chained() if one["rollout"] == rollout]

    def raw(self) -> list[Record]:
        """Return the records as they were given, without hashes: to look at, not to change."""
        return self._records

    def create(self, state: RolloutState, record: Mapping[str, Any]) -> RolloutState:
        """Add a rollout; its id gets a number.

        Raises:
            UsageError: OBS-ROLL-010 if one is still running, OBS-ROLL-022 if its digest was rolled back before.
        """
        found = self.load(state.spec.service)
        if found is not None and not found.state.over:
            raise UsageError("OBS-ROLL-010", f"rollout {found.state.id} of {state.spec.service} is still running", todo="wait for it")
        refuse_known_bad(state.spec, self.bad_digests(state.spec.service), state.override)
        waiting = found.state.outbox if found is not None else ()
        state = state.model_copy(update={"id": f"{state.id}-{len(self._rollouts) + 1}", "outbox": (*waiting, *state.outbox)})
        self._rollouts.append((state, 1))
        given = {**record.get("input", {}), "state": state.model_dump(mode="json")}
        self._records.append({**record, "rollout": state.id, "input": given})
        return state

    def request(self, rollout: str, kind: Kind, actor: str, reason: str, at: float) -> int:
        """Ask the controller for something."""
        number = len(self._requests) + 1
        self._requests.append((rollout, Request(number, kind, actor, reason, at)))
        return number

    def find(self, rollout: str) -> Stored | None:
        """Return a rollout by its id."""
        return next((self._stored(state, version) for state, version in self._rollouts if state.id == rollout), None)

    def rollouts(self, service: str) -> list[RolloutState]:
        """Return all rollouts of `service`, oldest first."""
        return [state for state, _ in self._rollouts if state.spec.service == service]

    def bad_digests(self, service: str) -> dict[str, str]:
        """Return the digests that were rolled back, each with the newest rollout that did it."""
        return {one.spec.digest: one.id for one in self.rollouts(service) if rolled_back(one)}

    def broken_record(self) -> int | None:
        """Return the number of the first record that does not follow; in memory nobody can change one."""
        rows = [({key: one[key] for key in one if key not in ("seq", "hash")}, one["hash"]) for one in self._chained()]
        index = first_broken(rows)
        return None if index is None else index + 1

    def snapshot(self) -> MemoryStore:
        """Return a copy that goes its own way from here on; states and records are shared, for nobody changes one."""
        other = copy.copy(self)
        other._rollouts, other._requests = list(self._rollouts), list(self._requests)
        other._answered, other._records = set(self._answered), list(self._records)
        return other

    def _stored(self, state: RolloutState, version: int) -> Stored:
        requests = tuple(one for rollout, one in self._requests if rollout == state.id and one.id not in self._answered)
        bad = self.bad_digests(state.spec.service) if state.spec.digest and not state.deployed else {}
        return Stored(state, version, requests, bad.get(state.spec.digest, ""))

    def _chained(self) -> list[Record]:
        out, digest = [], GENESIS
        for seq, record in enumerate(self._records, 1):
            digest = chain(digest, record)
            out.append({**record, "seq": seq, "hash": digest})
        return out
