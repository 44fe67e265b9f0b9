"""The store of rollouts in the API server as a whole: the controller's side, and what commands ask of it.

A command never writes a status: it creates a Rollout, replaces its spec, or annotates it with a request, and the operator
answers. All of that works while no operator runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError, Object
from mlops_obs.adapters.kubernetes.controller_side import LEASE, ControllerSide, failed, key_of
from mlops_obs.adapters.kubernetes.lease import LeaseLock
from mlops_obs.adapters.kubernetes.record_log import first_wrong
from mlops_obs.adapters.kubernetes.resources import REQUEST, ROLLOUTS, highest_request
from mlops_obs.adapters.kubernetes.status import summary_of
from mlops_obs.errors import ObsError, UsageError
from mlops_obs.rollout.controller import Stored
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import Kind, RolloutState
from mlops_obs.rollout.readings import ActionSummary

HOME = "mlops-obs"  # the namespace of the operator in platform/manifests/rollouts


class KubernetesRolloutStore(ControllerSide):
    """The rollouts of one namespace; a key is the name of a Rollout object. See `ControllerSide` for its arguments."""

    def apply(self, document: Mapping[str, Any]) -> str:
        """Create the Rollout object of `document` (with `metadata.name` and `spec`), or give the one there its spec; return its name.

        Raises UsageError OBS-KUBE-019 if the API server refuses the spec, with its words.
        """
        name = str(document["metadata"]["name"])
        body = {**document, "metadata": {**document["metadata"], "namespace": self._namespace}}
        try:
            self._api.create(ROLLOUTS, self._namespace, body)
        except ApiConflict as error:
            if not error.already_exists:
                raise failed(error) from error
            self._edit(name, lambda _: [{"op": "add", "path": "/spec", "value": document["spec"]}])
        except ApiError as error:
            raise _refused(error, name) from error
        return name

    def request(self, rollout: str, kind: Kind | str, actor: str, reason: str, at: float) -> int:
        """Ask the operator for something by an annotation on the object of `rollout`; return the request's number."""
        said = json.dumps({"kind": kind, "actor": actor, "reason": reason, "at": at}, sort_keys=True)
        number = 0

        def operations(obj: Object) -> list[Object]:
            nonlocal number
            number = highest_request(obj) + 1
            found, answered = obj["metadata"].get("annotations"), int((obj.get("status") or {}).get("answered") or 0)
            out: list[Object] = [] if found else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
            for key in found or {}:  # annotations have a limit: what is answered is in the evidence log
                if key.startswith(REQUEST) and key.removeprefix(REQUEST).isdigit() and int(key.removeprefix(REQUEST)) < answered:
                    out.append({"op": "remove", "path": f"/metadata/annotations/{_escaped(key)}"})
            return [*out, {"op": "add", "path": f"/metadata/annotations/{_escaped(f'{REQUEST}{number}')}", "value": said}]

        self._edit(key_of(rollout), operations)
        return number

    def find(self, rollout: str) -> Stored | None:
        """Return a rollout by its id, also one that ended before the object's newest."""
        key = key_of(rollout)
        newest = self.load(key)
        if newest is None or newest.state.id == rollout:
            return newest
        past = {state.id: state for state in self.rollouts(key)}
        return Stored(past[rollout], newest.version) if rollout in past else None

    def rollouts(self, key: str) -> list[RolloutState]:
        """Return the rollouts that the object ran, oldest first: the newest and the last few before it."""
        obj = self.read(key)
        status = (obj or {}).get("status") or {}
        return [self._state(key, text) for text in [*(status.get("past") or []), status.get("state")] if text]

    def keys(self) -> list[str]:
        """Return the names of the namespace's Rollout objects."""
        try:
            return sorted(one["metadata"]["name"] for one in self._api.list_all(ROLLOUTS, self._namespace)[0])
        except ApiError as error:
            raise failed(error) from error

    def records(self, key: str, rollout: str | None = None) -> list[Record]:
        """Return the evidence log of an object, of one rollout or of all that it ever ran."""
        return self._records(key, rollout)

    def newest_evidence(self, rollout: str) -> Record | None:
        """Return the newest record of a rollout that carries test results."""
        key = key_of(rollout)
        waiting = [json.loads(text) for text in ((self.read(key) or {}).get("status") or {}).get("pending") or []]
        for records in (lambda: waiting, lambda: self.history(rollout)):
            for record in reversed(records()):
                if record.get("rollout") == rollout and (record.get("evidence") or {}).get("tests"):
                    return dict(record)
        return None

    def summary(self, key: str) -> list[ActionSummary]:
        """Return, per revision and action, how often it was decided and when it was last carried out."""
        return summary_of((self.read(key) or {}).get("status") or {})

    def controller(self, now: float) -> str | None:
        """Return who carries out this namespace's rollouts at `now` (Unix seconds), as its Lease says; None if no Lease is found.

        It is looked for where `obs rollout operator` and the manifests put it; one that may not be read is not found.
        """
        names = (f"{LEASE}-{self._namespace}", LEASE)
        places = [(namespace, name) for namespace in (self._namespace, HOME) for name in names]
        for namespace, name in places:
            try:
                holder = LeaseLock(self._api, namespace, name).holder(now)
            except ApiError as error:
                if error.status != 403:
                    raise failed(error) from error
                continue
            if holder:
                return holder
        return None

    def broken_record(self, key: str | None = None) -> int | None:
        """Return the number of the first record of `key` (of any object without it) that does not follow from those before it."""
        for one in [key] if key else self.keys():
            status = (self.read(one) or {}).get("status") or {}
            found = self._records(one, None, whole=True)
            wrong = first_wrong(found)
            if wrong is None and found and found[-1]["hash"] != (status.get("recordsHead") or {}).get("hash", found[-1]["hash"]):
                wrong = int(found[-1]["seq"]) + 1
            if wrong is not None:
                return wrong
        return None

    def _edit(self, name: str, operations: Callable[[Object], list[Object]]) -> None:
        """Patch an object, again if somebody else was first."""
        for attempt in range(6):
            try:
                obj = self._api.get(ROLLOUTS, self._namespace, name)
                test = {"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}
                self._api.patch(ROLLOUTS, self._namespace, name, [test, *operations(obj)])
                return
            except ApiConflict as error:
                if attempt == 5:
                    raise failed(error) from error
            except ApiError as error:
                if error.not_found:
                    what = f"there is no Rollout {self._namespace}/{name}"
                    raise UsageError("OBS-KUBE-012", what, todo="kubectl get rollouts lists them") from error
                raise _refused(error, name) from error


def _refused(error: ApiError, name: str) -> ObsError:
    if error.status != 422:
        return failed(error)
    return UsageError("OBS-KUBE-019", f"the API server refuses it: {error.what}", where=f"rollout {name}", todo="correct the spec")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
