"""The kinds of objects that the operator touches, and its labels and annotations. The roles in the manifests follow from these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from mlops_obs.adapters.kubernetes.api import Object, Resource
from mlops_obs.rollout.machine.state import Kind, Request

GROUP, VERSION = "mlops-obs.dev", "v1alpha1"
ROLLOUTS = Resource(GROUP, VERSION, "rollouts", "Rollout")
RECORDS = Resource(GROUP, VERSION, "rolloutrecords", "RolloutRecord")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Resource("", "v1", "events", "Event")

FINALIZER = f"{GROUP}/rollout"
OF_ROLLOUT = f"{GROUP}/rollout"  # label of a RolloutRecord: the Rollout's name
REQUEST = f"request.{GROUP}/"  # annotation of a Rollout: REQUEST + number, what a person asks for
RETRY = "retry"  # a kind of request that the operator answers itself
_KINDS = (*get_args(Kind), RETRY)


def version_of(obj: Mapping[str, Any]) -> int:
    """Return the resourceVersion as a number: since Kubernetes 1.35 a greater one is promised to be newer."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def open_requests(obj: Mapping[str, Any]) -> tuple[tuple[Request, ...], list[str]]:
    """Return what people asked for and nobody has answered, in order; and the annotations that cannot be read, with the reason."""
    answered = int((obj.get("status") or {}).get("answered") or 0)
    found: list[Request] = []
    wrong: list[str] = []
    for key, text in (obj["metadata"].get("annotations") or {}).items():
        if not key.startswith(REQUEST):
            continue
        try:
            number, said = int(key.removeprefix(REQUEST)), json.loads(text)
            if number <= answered:
                continue
            if said["kind"] not in _KINDS:
                raise ValueError(f"kind is one of {', '.join(_KINDS)}")
            at = float(said.get("at") or 0.0)
            found.append(Request(number, said["kind"], str(said.get("actor") or "somebody"), str(said.get("reason") or ""), at))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            wrong.append(f'{key} is no request: {error}; write {{"kind": "pause", "actor": "ada", "reason": "..."}}')
    return tuple(sorted(found, key=lambda one: one.id)), sorted(wrong)


def highest_request(obj: Mapping[str, Any]) -> int:
    """Return the highest number of a request so far, answered or not."""
    numbers = [key.removeprefix(REQUEST) for key in obj["metadata"].get("annotations") or {} if key.startswith(REQUEST)]
    return max([int((obj.get("status") or {}).get("answered") or 0), *(int(one) for one in numbers if one.isdigit())])


def metadata(name: str, namespace: str, **more: Any) -> Object:
    """Return the metadata of a new object."""
    return {"name": name, "namespace": namespace, **more}


def rfc3339(at: float) -> str:
    """Return Unix seconds as the API writes times: whole seconds, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(at: float) -> str:
    """Return Unix seconds as the API writes a MicroTime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_of(text: str) -> float:
    """Return Unix seconds of a time of the API; 0 if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return 0.0
