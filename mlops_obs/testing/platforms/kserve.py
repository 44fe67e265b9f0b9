"""KServe's part on a test's API server: a reconciler that reads an InferenceService and writes what KServe would write.

It follows KServe's code where a rollout depends on it (master of August 2026; files under pkg/controller/v1beta1/inferenceservice):
`reconcilers/knative/ksvc_reconciler.go` for the split between the latest and the rolled-out revision, `PropagateStatus` in
pkg/apis/serving/v1beta1/inference_service_status.go for when a revision counts as rolled out, `components/predictor.go` and
`reconcilers/ingress/httproute_reconciler.go` for the canary predictors of Standard mode and their weights, and
`inference_service_validation.go` for what KServe's webhook would refuse, which an API server without webhooks accepts.

The trap is a stand-in that is better than the original. So it can misbehave as the original does: see `Faults`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES, KNATIVE_REVISIONS
from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object
from mlops_obs.adapters.platform_object import HTTP_ROUTES
from mlops_obs.errors import Conflict

_MODE = "serving.kserve.io/deploymentMode"
_NOT_IN_A_CANARY = ("workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling")


class Pods(Protocol):
    """What runs behind a revision of the platform (a Knative revision, a predictor's Deployment)."""

    def start(self, revision: str, storage_uri: str) -> None:
        """Let `revision` run; idempotent."""
        ...

    def ready(self, revision: str) -> bool:
        """Tell whether it can serve."""
        ...

    def stop(self, revision: str) -> None:
        """End it; idempotent."""
        ...

    def route(self, weights: Mapping[str, int]) -> None:
        """Split the requests: the percent by platform revision that now holds."""
        ...


class PodsInMemory:
    """Pods that are ready at once, except those in `dead`; `weights` is the split that holds."""

    def __init__(self) -> None:
        self.running: dict[str, str] = {}
        self.dead: set[str] = set()
        self.weights: dict[str, int] = {}

    def start(self, revision: str, storage_uri: str) -> None:
        """Note that `revision` runs."""
        self.running[revision] = storage_uri

    def ready(self, revision: str) -> bool:
        """Tell whether it runs and is not dead."""
        return revision in self.running and revision not in self.dead

    def stop(self, revision: str) -> None:
        """Forget it."""
        self.running.pop(revision, None)

    def route(self, weights: Mapping[str, int]) -> None:
        """Note the split."""
        self.weights = dict(weights)


@dataclass
class Faults:
    """How the platform misbehaves. Changed by tests while it runs.

    Attributes:
        plain_ingress: Standard mode without Gateway API: no HTTPRoute, and the status echoes the percentage all the same.
        routes_nothing: KServe 0.20.0: an HTTPRoute, but never a canary in it.
        no_gateway: HTTPRoutes that no gateway accepts.
        stuck: nothing is reconciled any more.
        leaks: after a canary went back to 0 %, the revision before the last one counts as rolled out (kserve#2130).
    """

    plain_ingress: bool = False
    routes_nothing: bool = False
    no_gateway: bool = False
    stuck: bool = False
    leaks: bool = False


@dataclass
class _Knative:
    """What Knative and KServe remember of one service."""

    revisions: dict[str, str] = field(default_factory=dict)  # template -> revision name
    uris: dict[str, str] = field(default_factory=dict)
    ready: str = ""
    rolled: str = ""
    previous: str = ""


class KServeReconciler:
    """Plays KServe for one InferenceService; call `reconcile` about as often as a controller would look.

    Args:
        api: the API server.
        namespace: of the InferenceService.
        name: of the InferenceService.
        pods: what runs the models; in memory if not given.
        faults: how it misbehaves.
    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str, pods: Pods | None = None, faults: Faults | None = None) -> None:
        self._api, self._namespace, self._name = api, namespace, name
        self.pods: Pods = pods or PodsInMemory()
        self.faults = faults or Faults()
        self.violations: list[str] = []  # what KServe's webhook would have refused
        self._knative = _Knative()
        self._promoted: dict[str, Any] = {}
        self._generation = 0

    def reconcile(self) -> None:
        """Look once and do what is to be done; a conflict is left to the next look, as in a real controller."""
        if self.faults.stuck:
            return
        try:
            service = self._api.get(INFERENCE_SERVICES, self._namespace, self._name)
        except ApiError as error:
            if error.not_found:
                return
            raise
        mode = (service["metadata"].get("annotations") or {}).get(_MODE, "Knative")
        try:
            if mode in ("Standard", "RawDeployment"):
                if self._valid(service):
                    self._standard(service)
            else:
                self._knative_mode(service)
        except Conflict:
            return

    # --- Knative mode -------------------------------------------------------------------------------------------

    def _knative_mode(self, service: Object) -> None:
        """A new revision for each new template; the split of ksvc_reconciler.go; the status of PropagateStatus."""
        predictor, mine = service["spec"]["predictor"], self._knative
        template = json.dumps({key: value for key, value in predictor.items() if key != "canaryTrafficPercent"}, sort_keys=True)
        created = mine.revisions.setdefault(template, f"{self._name}-predictor-{len(mine.revisions) + 1:05d}")
        if list(mine.revisions)[-1] != template:  # an older template again is a new revision for Knative
            mine.revisions[template] = mine.revisions.pop(template)
            created = mine.revisions[template] = f"{self._name}-predictor-{len(mine.uris) + 1:05d}"
        mine.uris.setdefault(created, str((predictor.get("model") or {}).get("storageUri", "")))
        self._run(created, mine.uris[created])
        self._record(created)
        if self.pods.ready(created):
            mine.ready = created
        percent = int(predictor.get("canaryTrafficPercent", 100))
        traffic: list[dict[str, Any]] = []
        if mine.ready and (not mine.rolled or mine.rolled == mine.ready or percent == 100):
            traffic = [{"revisionName": mine.ready, "latestRevision": True, "percent": 100}]
            if mine.rolled != mine.ready and mine.ready == created:
                mine.previous, mine.rolled = mine.rolled, mine.ready
        elif mine.ready:
            traffic = [
                {"revisionName": mine.ready, "latestRevision": True, "percent": percent},
                {"revisionName": mine.rolled, "tag": "prev", "percent": 100 - percent},
            ]
            if self.faults.leaks and percent == 0 and mine.previous:
                mine.rolled = mine.previous
        status = {
            "latestCreatedRevision": created,
            "latestReadyRevision": mine.ready,
            "latestRolledoutRevision": mine.rolled,
            "previousRolledoutRevision": mine.previous,
            "traffic": traffic,
        }
        known = {key: value for key, value in status.items() if value}
        self._say(
            service,
            {"deploymentMode": "Knative", "components": {"predictor": known}, "conditions": [condition_of("Ready", bool(mine.ready))]},
        )
        if traffic:
            self._route({part["revisionName"]: part["percent"] for part in traffic})
        for name in list(mine.uris):  # after the route: whoever still got requests a moment ago must answer them
            if name not in (created, mine.ready, mine.rolled):
                self.pods.stop(name)

    def _run(self, revision: str, uri: str) -> None:
        self.pods.start(revision, uri)

    def _record(self, revision: str) -> None:
        """Keep a Knative Revision object, where the server knows the kind."""
        ready = self.pods.ready(revision)
        body = {"apiVersion": KNATIVE_REVISIONS.api_version, "kind": "Revision", "metadata": {"name": revision}}
        status = {"actualReplicas": int(ready), "conditions": [condition_of("Ready", ready)]}
        try:
            self._api.create(KNATIVE_REVISIONS, self._namespace, {**body, "status": status})
        except ApiError:  # it is there, or the kind is not
            return

    # --- Standard mode ------------------------------------------------------------------------------------------

    def _standard(self, service: Object) -> None:
        """A Deployment per predictor, an HTTPRoute with the ready canaries' weights, and a status that echoes what was asked."""
        spec = service["spec"]
        stable = self._backend(spec["predictor"].get("name"))
        wanted = {stable: str(spec["predictor"]["model"].get("storageUri"))}
        canaries = spec.get("canary") or []
        for one in canaries:
            model = {**spec["predictor"]["model"], **one["predictor"].get("model", {})}  # merged: nothing can be unset
            wanted[self._backend(one["predictor"]["name"])] = str(model.get("storageUri"))
        for name, uri in wanted.items():
            self._run(name, uri)
        ready = {name: self.pods.ready(name) for name in wanted}
        weights = {stable: 100}
        for one in canaries:
            name = self._backend(one["predictor"]["name"])
            if ready[name] and not self.faults.routes_nothing:
                weights[name] = int(one["trafficPercent"])
                weights[stable] -= weights[name]
        if not self.faults.plain_ingress:
            self._write_route(f"{self._name}-predictor", weights)
            self._route(weights)
        for name in [name for name in getattr(self.pods, "running", {}) if name not in wanted]:
            self.pods.stop(name)
        statuses = [
            {
                "name": one["predictor"]["name"],
                "ready": ready[self._backend(one["predictor"]["name"])],
                "trafficPercent": one["trafficPercent"],  # an echo of the spec, whatever the route has
            }
            for one in canaries
        ]
        conditions = [condition_of("PredictorReady", ready[stable]), condition_of("Ready", ready[stable])]
        if canaries:
            all_ready = all(one["ready"] for one in statuses)
            conditions.append(condition_of("CanaryPredictorReady", all_ready, "AllCanariesReady" if all_ready else "CanariesNotReady"))
        self._say(service, {"deploymentMode": "Standard", "conditions": conditions, "canaryStatuses": statuses})

    def _backend(self, predictor: str | None) -> str:
        return f"{self._name}-{predictor}-predictor" if predictor else f"{self._name}-predictor"

    def _write_route(self, name: str, weights: Mapping[str, int]) -> None:
        refs = [{"kind": "Service", "name": backend, "port": 80, "weight": weight} for backend, weight in weights.items()]
        write_route(self._api, self._namespace, name, refs, accepted=not self.faults.no_gateway)

    def _valid(self, service: Object) -> bool:
        """Note what inference_service_validation.go refuses, and tell whether that is nothing: what is refused never comes to be."""
        spec = service["spec"]
        stable, canaries = spec["predictor"], spec.get("canary") or []
        names = [stable.get("name") or "", *(one["predictor"].get("name") for one in canaries)]
        least = int(stable.get("minReplicas", 1))
        wrong = {
            "the predictor has no model": "model" not in stable,
            "predictor names are not unique": len(set(names)) != len(names),
            "a canary has no name": canaries and not all(names[1:]),
            "the percentages sum to more than 100": sum(one["trafficPercent"] for one in canaries) > 100,
            "a canary has a field that is not allowed": any(key in one["predictor"] for one in canaries for key in _NOT_IN_A_CANARY),
            "a canary has more minReplicas than the predictor": any(one["predictor"].get("minReplicas", 1) > least for one in canaries),
            "predictor.name changed without a change of the model": bool(self._promoted)
            and self._promoted.get("name") != stable.get("name")
            and self._promoted.get("model") == stable.get("model"),
        }
        found = [what for what, holds in wrong.items() if holds]
        self.violations += [what for what in found if what not in self.violations]
        if not found:
            self._promoted = dict(stable)
        return not found

    # --- both ---------------------------------------------------------------------------------------------------

    def _route(self, weights: Mapping[str, int]) -> None:
        self.pods.route(weights)

    def _say(self, service: Object, status: Mapping[str, Any]) -> None:
        said = {**status, "modelStatus": {"transitionStatus": "UpToDate", "copies": {"failedCopies": 0}}}
        if service.get("status") != said:
            self._api.patch(INFERENCE_SERVICES, self._namespace, self._name, [{"op": "add", "path": "/status", "value": said}], "status")


def write_route(api: KubernetesApi, namespace: str, name: str, refs: list[dict[str, Any]], *, accepted: bool = True) -> None:
    """Write an HTTPRoute with one rule, and the status by which a gateway says that it took this generation."""
    spec = {
        "parentRefs": [{"name": "gateway"}],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": refs}],
    }
    body = {"apiVersion": HTTP_ROUTES.api_version, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}
    try:
        route = api.get(HTTP_ROUTES, namespace, name)
    except ApiError as error:
        if not error.not_found:
            raise
        route = api.create(HTTP_ROUTES, namespace, body)
    if [_plain(ref) for ref in route["spec"]["rules"][0]["backendRefs"]] != [_plain(ref) for ref in refs]:
        route = api.patch(HTTP_ROUTES, namespace, name, [{"op": "add", "path": "/spec/rules/0/backendRefs", "value": refs}])
    taken = {**condition_of("Accepted", True), "observedGeneration": route["metadata"]["generation"]}
    parents = [{"parentRef": {"name": "gateway"}, "controllerName": "mlops-obs.dev/stand-in", "conditions": [taken]}] if accepted else []
    if (route.get("status") or {}).get("parents") != parents:
        api.patch(HTTP_ROUTES, namespace, name, [{"op": "add", "path": "/status", "value": {"parents": parents}}], "status")


def _plain(ref: Mapping[str, Any]) -> tuple[str, int]:
    return ref["name"], int(ref.get("weight", 1))


def condition_of(kind: str, holds: bool, reason: str = "") -> dict[str, Any]:
    """Return a condition as Kubernetes has them; its time stands still, so that nothing is written when nothing changed."""
    said = {"type": kind, "status": "True" if holds else "False", "reason": reason or ("Ready" if holds else "NotReady"), "message": ""}
    return {**said, "lastTransitionTime": "2026-01-01T00:00:00Z"}
