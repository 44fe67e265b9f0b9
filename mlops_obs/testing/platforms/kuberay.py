"""KubeRay's part on a test's API server: incremental upgrades of one RayService, and their rollback.

After ray-operator/controllers/ray/rayservice_controller.go of KubeRay 1.7: `calculateTrafficRoutedPercent` (a stride of
stepSizePercent once intervalSeconds have passed since the last one, at most up to the new cluster's target capacity),
`reconcileServeTargetCapacity` (capacity moves by maxSurgePercent, and only while traffic has caught up with it),
`reconcilePromotionAndServingStatus` (promotion by itself), `reconcileServe` (the active cluster takes no config during an upgrade;
during a rollback it does again), and a cluster-spec hash that alone starts an upgrade.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from mlops_obs.adapters.kuberay import INCREMENTAL, RAY_SERVICES
from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object
from mlops_obs.adapters.platform_object import HTTP_ROUTES
from mlops_obs.errors import Conflict
from mlops_obs.testing.platforms.kserve import Faults, condition_of, write_route

_REPLICAS = ("replicas", "minReplicas", "maxReplicas")  # not part of the hash


@dataclass
class Cluster:
    """A RayCluster: the hash it was made from, and what Ray Serve runs on it."""

    name: str
    hash: str
    config: str
    capacity: int
    traffic: int
    moved_at: float | None = None


class KubeRayReconciler:
    """Plays KubeRay for one RayService.

    Args:
        api: the API server.
        namespace: of the RayService.
        name: of the RayService.
        clock: Unix seconds.
        faults: how it misbehaves (`no_gateway`, `plain_ingress`: no HTTPRoute, `stuck`).
    """

    def __init__(
        self, api: KubernetesApi, namespace: str, name: str, *, clock: Callable[[], float] = time.time, faults: Faults | None = None
    ) -> None:
        self._api, self._namespace, self._name, self._clock = api, namespace, name, clock
        self.faults = faults or Faults()
        self.dead: set[str] = set()  # names of clusters whose applications do not run
        self.active: Cluster | None = None
        self.pending: Cluster | None = None
        self._count = 0

    def reconcile(self) -> None:
        """Look once and do what is to be done."""
        if self.faults.stuck:
            return
        try:
            service = self._api.get(RAY_SERVICES, self._namespace, self._name)
        except ApiError as error:
            if error.not_found:
                return
            raise
        spec = service["spec"]
        options = (spec.get("upgradeStrategy") or {}).get("clusterUpgradeOptions") or {}
        back = self._clusters(spec)
        self._weights_of_the_route()
        self._traffic(options, back)
        self._capacity(options, back)
        try:
            if (spec.get("upgradeStrategy") or {}).get("type") == INCREMENTAL and not self.faults.plain_ingress:
                self._route()
            self._say(service, back)
        except Conflict:
            return

    def _clusters(self, spec: Mapping[str, Any]) -> bool:
        """Start and end clusters as the spec's hash asks; return whether a rollback is under way."""
        wanted, config = _hash(spec), str(spec.get("serveConfigV2") or "")
        if self.active is None:
            self.active = Cluster(self._fresh(), wanted, config, 100, 100)
        if self.pending is None:
            if wanted == self.active.hash:
                self.active.config = config  # in place, for everybody
                return False
            self.pending = Cluster(self._fresh(), wanted, config, 0, 0)
            return False
        if wanted == self.pending.hash:
            self.pending.config = config
            return False
        self.active.config = config  # a rollback: the active cluster takes config again
        return True

    def _traffic(self, options: Mapping[str, Any], back: bool) -> None:
        active, pending, now = self.active, self.pending, self._clock()
        if active is None or pending is None:
            return
        step, interval = int(options.get("stepSizePercent", 0)), int(options.get("intervalSeconds", 0))
        due = pending.moved_at is None or now - pending.moved_at >= interval
        before = pending.traffic
        if back and due:
            pending.traffic = max(0, pending.traffic - min(step, active.capacity))
        elif not back and due and pending.name not in self.dead and pending.traffic != pending.capacity:
            pending.traffic = min(100, pending.traffic + step, pending.capacity)
        active.traffic = 100 - pending.traffic
        if pending.traffic != before or pending.moved_at is None:
            pending.moved_at = now

    def _capacity(self, options: Mapping[str, Any], back: bool) -> None:
        active, pending = self.active, self.pending
        if active is None or pending is None:
            return
        surge = int(options.get("maxSurgePercent", 100))
        if back:
            if pending.traffic == 0:
                self.pending = None
                active.capacity = active.traffic = 100
            return
        if pending.capacity != pending.traffic:
            return
        if active.capacity + pending.capacity > 100:
            active.capacity = max(0, active.capacity - surge)
        else:
            pending.capacity = min(100, pending.capacity + surge)
        if active.capacity == 0 and pending.traffic == 100:
            self.active, self.pending = pending, None

    def _weights_of_the_route(self) -> None:
        """The route is the truth: KubeRay reads its weights back, also those that somebody else wrote."""
        if self.active is None or self.pending is None:
            return
        try:
            route = self._api.get(HTTP_ROUTES, self._namespace, f"{self._name}-httproute")
        except ApiError:
            return
        for ref in route["spec"]["rules"][0]["backendRefs"]:
            for cluster in (self.active, self.pending):
                if ref["name"] == f"{cluster.name}-serve-svc":
                    cluster.traffic = int(ref["weight"])

    def _route(self) -> None:
        clusters = [one for one in (self.active, self.pending) if one]
        refs = [{"kind": "Service", "name": f"{one.name}-serve-svc", "port": 8000, "weight": one.traffic} for one in clusters]
        write_route(self._api, self._namespace, f"{self._name}-httproute", refs, accepted=not self.faults.no_gateway)

    def _say(self, service: Object, back: bool) -> None:
        upgrading = self.pending is not None
        status = {
            "observedGeneration": service["metadata"]["generation"],
            "activeServiceStatus": self._status(self.active),
            "pendingServiceStatus": self._status(self.pending),
            "conditions": [
                condition_of("Ready", bool(self.active and self.active.name not in self.dead)),
                condition_of("UpgradeInProgress", upgrading),
                condition_of("RollbackInProgress", upgrading and back),
            ],
        }
        if service.get("status") != status:
            self._api.patch(RAY_SERVICES, self._namespace, self._name, [{"op": "add", "path": "/status", "value": status}], "status")

    def _status(self, cluster: Cluster | None) -> dict[str, Any]:
        if cluster is None:
            return {}
        word = "UNHEALTHY" if cluster.name in self.dead else "RUNNING"
        apps = [app["name"] for app in (yaml.safe_load(cluster.config) or {}).get("applications", [])]
        said = {
            "rayClusterName": cluster.name,
            "targetCapacity": cluster.capacity,
            "trafficRoutedPercent": cluster.traffic,
            "applicationStatuses": {app: {"status": word} for app in apps},
        }
        if cluster.moved_at is not None:
            said["lastTrafficMigratedTime"] = datetime.fromtimestamp(cluster.moved_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return said

    def _fresh(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count:05d}"


def _hash(spec: Mapping[str, Any]) -> str:
    config = json.loads(json.dumps(spec["rayClusterConfig"]))
    for group in config.get("workerGroupSpecs") or []:
        for key in _REPLICAS:
            group.pop(key, None)
    return json.dumps(config, sort_keys=True)
