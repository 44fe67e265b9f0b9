"""Rollouts kept in the API server: the controller's store on Rollout objects and their status.

One PUT of the status, guarded by its resourceVersion, is the commit point of everything: state, new records, answered
requests and the fencing token. So a conflict is harmless (nothing was done), and a lost answer is a kill like any other:
the next look reads what is there.

The traps. A watch can lag: a stale read is harmless too, for what is saved over it is refused. A new leader must fence off
the old one *before* it decides anything: its first look at a running rollout writes its token, and from then on nothing
that the old one still holds can be saved. A request is an annotation, and annotations are open to everyone who may edit
the object: who asked is as trustworthy as the right to edit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError, KubernetesApi, Object
from mlops_obs.adapters.kubernetes.lease import LeaseLock
from mlops_obs.adapters.kubernetes.record_log import RecordLog
from mlops_obs.adapters.kubernetes.resources import (
    RETRY,
    ROLLOUTS,
    highest_request,
    open_requests,
    seconds_of,
    version_of,
)
from mlops_obs.adapters.kubernetes.status import project
from mlops_obs.errors import StateError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.known_bad import rolled_back
from mlops_obs.rollout.machine.state import Request, RolloutState

LEASE = "mlops-obs-operator"
_PAST, _BAD = 5, 50  # ended rollouts and bad digests that an object remembers


class Leadership(Protocol):
    """Who may write: an `Elector`."""

    def token(self) -> int | None:
        """Return the fencing token while we lead."""
        ...

    def outrank(self, token: int) -> None:
        """Ask for a token greater than `token`."""
        ...


class ControllerSide:
    """The rollouts of one namespace; a key is the name of a Rollout object. Safe to use from several threads.

    Args:
        leader: who tells whether we lead; without it `lease` takes the Lease itself at each call.
        cached: returns an object as a watch last showed it, None if it has not; without it every `load` asks the API server.
        saved: told of each object that was written and its new records, with their `seq` and `hash`.
        clock: Unix seconds, for times in the status.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        *,
        leader: Leadership | None = None,
        cached: Callable[[str], Object | None] = lambda _: None,
        saved: Callable[[Object, list[Record]], None] = lambda _, __: None,
        clock: Callable[[], float] = time.time,
        lease: str = LEASE,
    ) -> None:
        self._api, self._namespace, self._leader, self._cached, self._clock = api, namespace, leader, cached, clock
        self._saved = saved
        self._lock = LeaseLock(api, namespace, lease, wall=clock)
        self._log = RecordLog(api, namespace)
        self._token: int | None = None
        self._until = 0.0
        self._held: dict[str, Object] = {}  # the newest object that we read or wrote ourselves, None: ask the server
        self._doubted: set[str] = set()
        self._flushed: dict[str, int] = {}
        self._read: dict[str, tuple[str, RolloutState]] = {}  # the state last read from text, for reading it is a third of a look

    # --- the controller's side ------------------------------------------------------------------------------

    def lease(self, owner: str, now: float, ttl: float) -> int | None:
        """Return the fencing token if we lead. With an elector this asks nobody."""
        if self._leader is not None:
            self._token = self._leader.token()
            return self._token
        try:
            self._token = self._lock.acquire(owner, now, ttl)
        except ApiError as error:
            raise failed(error) from error
        return self._token

    def release(self, owner: str) -> None:
        """Give the lease back at a clean stop."""
        try:
            self._lock.release(owner)
        except ApiError as error:
            raise failed(error) from error

    def load(self, key: str) -> Stored | None:
        """Return the newest rollout of the object `key` with its open requests; None if none has begun.

        Raises StateError OBS-ROLL-013 if a newer leader has written it.
        """
        obj = self.read(key)
        if obj is None or not (obj.get("status") or {}).get("state"):
            return None
        stored = self._stored(key, obj)
        token, written = self._token, int(obj["status"].get("token") or 0)
        if token is not None and written > token:
            if self._leader is not None:
                self._leader.outrank(written)  # if we do lead, the Lease was deleted and counts anew
            raise self._replaced(key)
        if token is not None and written < token and (not stored.state.over or stored.requests):
            obj = self._put(key, {**obj, "status": {**obj["status"], "token": token}})
            stored = self._stored(key, obj)
        return stored

    def save(self, stored: Stored, state: RolloutState, records: list[Record], token: int, *, answered: bool = False) -> Stored:
        """Replace the state and append `records`, all or nothing: one PUT of the status."""
        key = key_of(stored.state.id)
        obj = self._held.get(key)
        if obj is None or _saves(obj) != stored.version:
            raise self._moved(key)
        status = dict(obj.get("status") or {})
        if int(status.get("token") or 0) > token or (self._leader is not None and self._leader.token() != token):
            raise self._replaced(key)
        status["token"] = token
        if answered:
            status["answered"] = max([int(status.get("answered") or 0), *(one.id for one in stored.requests)])
        if rolled_back(state):
            known = [one for one in status.get("knownBad") or [] if one["digest"] != state.spec.digest]
            status["knownBad"] = [*known, {"digest": state.spec.digest, "rollout": state.id}][-_BAD:]
        self._write(key, obj, status, state, records)
        return self._stored(key, self._held[key])

    def history(self, rollout_id: str) -> list[Record]:
        """Return all records of one rollout, oldest first, each with its `seq` and `hash`."""
        return self._records(key_of(rollout_id), rollout_id)

    # --- the operator's side --------------------------------------------------------------------------------

    def read(self, key: str) -> Object | None:
        """Return the object: the newest of what a watch showed and what we wrote; from the server if neither is to be trusted."""
        seen = None if key in self._doubted else self._cached(key)
        own = self._held.get(key)
        newest = max((one for one in (seen, own) if one is not None), key=version_of, default=None)
        if newest is None or seen is None:
            try:
                newest = self._api.get(ROLLOUTS, self._namespace, key)
            except ApiError as error:
                if not error.not_found:
                    raise failed(error) from error
                self.forget(key)
                return None
            self._doubted.discard(key)
        self._held[key] = newest
        return newest

    def begin(
        self,
        key: str,
        state: RolloutState,
        record: Callable[[RolloutState], Record],
        token: int,
        also: Callable[[Object], None] = lambda _: None,
    ) -> Stored:
        """Make `state` the object's rollout, with the next number in its id, and `record(state)` its first record.

        What people were not told yet goes on with it. `also` changes the status further in the same write.
        """
        obj = self.read(key)
        if obj is None:
            raise self._moved(key)
        status = dict(obj.get("status") or {})
        if int(status.get("token") or 0) > token or (self._leader is not None and self._leader.token() != token):
            raise self._replaced(key)
        if not status.get("recordsHead"):  # the log of a deleted Rollout of this name goes on; ids stay unique in it
            status["recordsHead"] = self._newest(key)
            status["number"] = int(status["recordsHead"].get("seq") or 0)
        number = int(status.get("number") or 0) + 1
        waiting = self._state(key, status["state"]).outbox if status.get("state") else ()
        if status.get("state"):
            status["past"] = [*(status.get("past") or []), status["state"]][-_PAST:]
        state = state.model_copy(update={"id": f"{key}-{number}", "outbox": (*waiting, *state.outbox)})
        status.update(number=number, token=token, segments=[])
        status["answered"] = highest_request(obj)
        status["observedGeneration"] = int(obj["metadata"].get("generation") or 0)
        also(status)
        self._write(key, obj, status, state, [record(state)])
        return self._stored(key, self._held[key])

    def note(self, key: str, change: Callable[[Object], None]) -> None:
        """Apply `change` to a copy of the status and write it if that changed anything."""
        obj = self.read(key)
        if obj is None:
            return
        status = json.loads(json.dumps(obj.get("status") or {}))
        change(status)
        if status != (obj.get("status") or {}):
            self._put(key, {**obj, "status": status})

    def tidy(self, key: str) -> None:
        """Move sealed records from the status into objects; once a rollout is over, take them out of the status as well."""
        obj = self._held.get(key)
        status = (obj or {}).get("status") or {}
        if not status.get("pending") or not status.get("sealed") or obj is None:
            return
        try:
            if self._flushed.get(key, 0) < int(status["sealed"]):
                self._flushed[key] = self._log.flush(key, status)
            if status.get("phase") in ("Promoted", "RolledBack", "Aborted"):
                self._log.append(key, status := dict(status), [], retreating=True, seal=True, flushed=self._flushed[key])
                self._put(key, {**obj, "status": status})
        except ApiError as error:
            raise failed(error) from error

    def drain(self, key: str) -> None:
        """Move every record that still waits into objects, for the Rollout object is about to go."""
        while (obj := self._held.get(key)) is not None:
            status = dict(obj.get("status") or {})
            try:
                flushed = self._flushed[key] = max(self._flushed.get(key, 0), self._log.flush(key, status))
                if flushed >= int((status.get("recordsHead") or {}).get("seq") or 0):
                    return
                self._log.append(key, status, [], retreating=True, seal=True, flushed=flushed)
                self._put(key, {**obj, "status": status})
            except ApiError as error:
                raise failed(error) from error

    def take(self, key: str, obj: Object) -> None:
        """Know the object as the server has just answered it."""
        self._held[key] = obj

    def forget(self, key: str) -> None:
        """Drop what is remembered of an object that is gone."""
        for memory in (self._held, self._flushed, self._read):
            memory.pop(key, None)
        self._doubted.discard(key)

    # --- inside ---------------------------------------------------------------------------------------------

    def _write(self, key: str, obj: Object, status: Object, state: RolloutState, records: list[Record]) -> None:
        try:
            flushed = self._flushed.get(key, 0)
            retreating = state.goal != "forward"
            new = self._log.append(key, status, records, retreating=retreating, seal=state.over, flushed=flushed)
        except ApiError as error:
            raise failed(error) from error
        status["state"] = state.model_dump_json()
        status["saves"] = _saves(obj) + 1
        project(status, state, records, self._clock(), int(obj["metadata"].get("generation") or 0))
        found = self._put(key, {**obj, "status": status})
        if new:
            self._saved(found, [{**record, "seq": one.seq, "hash": one.hash} for record, one in zip(records, new, strict=True)])

    def _put(self, key: str, body: Object) -> Object:
        before = self._held.get(key, body)
        try:
            try:
                found = self._api.put_status(ROLLOUTS, self._namespace, key, body)
            except ApiConflict:
                # Often only an annotation is new. As long as the status is the one that we replace, so may it be replaced.
                now = self._api.get(ROLLOUTS, self._namespace, key)
                if now["metadata"]["uid"] != before["metadata"]["uid"] or now.get("status") != before.get("status"):
                    raise
                found = self._api.put_status(ROLLOUTS, self._namespace, key, {**now, "status": body["status"]})
        except ApiError as error:
            self._held.pop(key, None)
            self._doubted.add(key)  # whatever a watch showed is old, or the answer was lost
            raise (self._moved(key) if isinstance(error, ApiConflict) else failed(error)) from error
        self._held[key] = found
        return found

    def _records(self, key: str, rollout: str | None, *, whole: bool = False) -> list[Record]:
        status = (self.read(key) or {}).get("status") or {}
        try:
            found = self._log.read(key, status, whole=whole or rollout is None or status.get("rollout") != rollout)
        except ApiError as error:
            raise failed(error) from error
        return [one for one in found if rollout is None or one["rollout"] == rollout]

    def _newest(self, key: str) -> Object:
        try:
            return self._log.newest(key)
        except ApiError as error:
            raise failed(error) from error

    def _stored(self, key: str, obj: Object) -> Stored:
        state = self._state(key, obj["status"]["state"])
        requests = tuple(one for one in open_requests(obj)[0] if one.kind != RETRY)
        if not state.over and state.goal == "forward":
            requests += self._implied(obj, state)
        bad = {one["digest"]: one["rollout"] for one in obj["status"].get("knownBad") or []}
        return Stored(state, _saves(obj), requests, bad.get(state.spec.digest, "") if state.spec.digest else "")

    def _implied(self, obj: Object, state: RolloutState) -> tuple[Request, ...]:
        """Return what the object itself asks for: to take the canary back, because it is deleted or names another one."""
        meta, spec = obj["metadata"], obj.get("spec") or {}
        generation = int(meta.get("generation") or 0)
        if meta.get("deletionTimestamp"):
            at = seconds_of(meta["deletionTimestamp"])
            return (Request(-generation, "abort", "kubernetes", "the Rollout object is being deleted", at),)
        if identity(spec) != identity(state.spec.model_dump()):
            wanted = f"{spec.get('canary')} ({spec.get('package')})"
            why = f"the spec names {wanted} now (generation {generation}); {state.spec.canary} is taken back first"
            return (Request(-generation, "abort", "kubernetes", why, self._clock()),)
        return ()

    def _state(self, key: str, text: str) -> RolloutState:
        held = self._read.get(key)
        if held is not None and held[0] == text:
            return held[1]
        try:
            state = RolloutState.model_validate_json(text)
            self._read[key] = (text, state)
            return state
        except ValidationError as error:
            what = f"its state cannot be read: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})"
            todo = "use the version of obs that wrote it"
            raise StateError("OBS-ROLL-020", what, where=f"rollout {self._namespace}/{key}", todo=todo) from error

    def _moved(self, key: str) -> StateError:
        return StateError("OBS-ROLL-012", f"rollout {key} was changed meanwhile", where=self._namespace, todo="read it again")

    def _replaced(self, key: str) -> StateError:
        return StateError("OBS-ROLL-013", "another controller has taken over", where=f"{self._namespace}/{key}", todo="stop this one")


def key_of(rollout_id: str) -> str:
    """Return the name of the Rollout object whose rollout has this id."""
    return rollout_id.rpartition("-")[0]


def identity(spec: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what makes a canary another one: its name, its package and that one's digest."""
    return str(spec.get("canary") or ""), str(spec.get("package") or ""), str(spec.get("digest") or "")


def new_state(key: str, spec: Any, now: float, actor: str) -> RolloutState:
    """Return the state of a rollout that is about to begin."""
    return RolloutState(id=f"{key}-0", spec=spec, created_at=now, updated_at=now, actor=actor)


def _saves(obj: Object) -> int:
    """Return how often the state was saved. An annotation or a condition moves the resourceVersion, but not this."""
    return int((obj.get("status") or {}).get("saves") or 0)


def failed(error: ApiError) -> StateError:
    """Return what the API server said as a failure of the store."""
    what = f"the rollout store failed: {error.what}"
    return StateError("OBS-ROLL-011", what, where=error.where, todo=error.todo)


__all__ = ["LEASE", "ControllerSide", "Leadership", "failed", "identity", "key_of", "new_state"]
