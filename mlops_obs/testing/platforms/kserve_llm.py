"""KServe's part for LLMInferenceServices of one group: routes with the members' weights, and a status.

After KServe's pkg/controller/v1alpha2/llmisvc (controller_int_router_group_test.go says what it promises): each member has an
HTTPRoute `<name>-kserve-route` whose group rule holds every member of the group that serves the same model name and is not
stopped, by weight, and a rule of its own path that only reaches itself; members with another model name form a group of
their own and are told so by the condition GroupDegraded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops_obs.adapters.kserve_llm import LLM_SERVICES, STOP
from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object
from mlops_obs.adapters.platform_object import HTTP_ROUTES
from mlops_obs.errors import Conflict
from mlops_obs.testing.platforms.kserve import Faults, condition_of, write_route


class LLMReconciler:
    """Plays KServe for the LLMInferenceServices of a namespace that are in `group`.

    Args:
        api: the API server.
        namespace: of the members.
        group: which members.
        faults: how it misbehaves (`no_gateway`, `routes_nothing`, `stuck`).
    """

    def __init__(self, api: KubernetesApi, namespace: str, group: str, faults: Faults | None = None) -> None:
        self._api, self._namespace, self._group = api, namespace, group
        self.faults = faults or Faults()
        self.dead: set[str] = set()  # names of members that are not ready

    def reconcile(self) -> None:
        """Look once and do what is to be done."""
        if self.faults.stuck:
            return
        everything, _ = self._api.list_all(LLM_SERVICES, self._namespace)
        members = {one["metadata"]["name"]: one for one in everything if _route(one).get("group") == self._group}
        for name, one in members.items():
            try:
                self._one(name, one, members)
            except Conflict:
                continue

    def _one(self, name: str, one: Object, members: Mapping[str, Object]) -> None:
        routable = {
            other: self._weight(other, it)
            for other, it in members.items()
            if _model(it) == _model(one) and not _stopped(it) and other not in self.dead
        }
        if not _stopped(one):
            refs = [_ref(other, weight) for other, weight in routable.items()]
            if refs:
                write_route(self._api, self._namespace, f"{name}-kserve-route", refs, accepted=not self.faults.no_gateway)
        else:
            self._api.delete(HTTP_ROUTES, self._namespace, f"{name}-kserve-route")
        degraded = any(_model(it) != _model(one) for it in members.values())
        group = {
            "name": self._group,
            "members": [{"name": other, "weight": _route(it).get("weight", 0), "stopped": _stopped(it)} for other, it in members.items()],
        }
        ready = name not in self.dead and not _stopped(one)
        status = {
            "observedGeneration": one["metadata"]["generation"],
            "conditions": [
                condition_of("Ready", ready, "Stopped" if _stopped(one) else ""),
                condition_of("GroupReady", True),
                condition_of("GroupDegraded", degraded, "MemberDivergence" if degraded else ""),
            ],
            "router": {"group": group},
        }
        if one.get("status") != status:
            self._api.patch(LLM_SERVICES, self._namespace, name, [{"op": "add", "path": "/status", "value": status}], "status")

    def _weight(self, name: str, one: Object) -> int:
        weight = int(_route(one).get("weight", 0))
        if not self.faults.routes_nothing:
            return weight
        try:  # what was routed before stays routed
            route = self._api.get(HTTP_ROUTES, self._namespace, f"{name}-kserve-route")
        except ApiError:
            return 0
        refs = route["spec"]["rules"][0]["backendRefs"]
        return next((int(ref["weight"]) for ref in refs if ref["name"] == f"{name}-kserve-workload-svc"), 0)


def _ref(name: str, weight: int) -> dict[str, Any]:
    return {"kind": "Service", "name": f"{name}-kserve-workload-svc", "port": 8000, "weight": weight}


def _route(one: Object) -> Mapping[str, Any]:
    return (one["spec"].get("router") or {}).get("route") or {}


def _model(one: Object) -> str:
    return str(one["spec"]["model"].get("name") or one["spec"]["model"].get("uri"))


def _stopped(one: Object) -> bool:
    return (one["metadata"].get("annotations") or {}).get(STOP) == "true"
