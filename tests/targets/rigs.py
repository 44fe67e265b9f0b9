"""Platforms for the conformance suite: real API server, stand-in reconciler, adapter."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlops_obs.adapters.kserve import KServeTarget
from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES, KNATIVE_REVISIONS
from mlops_obs.adapters.kserve_llm import LLM_SERVICES, KServeLLMTarget
from mlops_obs.adapters.kuberay import RAY_SERVICES, KubeRayTarget
from mlops_obs.adapters.kubernetes.api import ApiConflict, ApiError, KubernetesApi, Resource
from mlops_obs.adapters.platform_object import HTTP_ROUTES
from mlops_obs.errors import TargetError
from mlops_obs.testing.platforms.kserve import Faults, KServeReconciler, PodsInMemory
from mlops_obs.testing.platforms.kserve_llm import LLMReconciler
from mlops_obs.testing.platforms.kuberay import KubeRayReconciler
from mlops_obs.testing.platforms.play import Playing

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
_COUNT = itertools.count(1)
_RUN = uuid.uuid4().hex[:5]  # the server may have been used before


class LossyApi(KubernetesApi):
    """Loses the answer to a patch when it is told to; the patch is applied."""

    lose = False

    def patch(self, resource, namespace, name, operations, subresource=""):
        done = super().patch(resource, namespace, name, operations, subresource)
        if self.lose:
            self.lose = False
            raise ApiError("OBS-KUBE-005", "the API server does not answer: lost", todo="try again")
        return done

    @contextmanager
    def losing(self) -> Iterator[None]:
        self.lose = True
        yield
        assert not self.lose, "nothing was patched"


class ClusterRig:
    """What the rigs on an API server have in common."""

    patience = 10.0
    going_down_is_all_or_nothing = False

    def __init__(self, kubeconfig: Path, kind: str) -> None:
        self.kubeconfig, self.name = kubeconfig, f"{kind}-{_RUN}-{next(_COUNT)}"
        self.namespace = self.name  # of its own, so that stand-ins have little to list
        self.api, self.cluster = LossyApi(kubeconfig), KubernetesApi(kubeconfig)
        self.playing: Playing | None = None

    def package(self, revision: str) -> str:
        return f"s3://models/{revision}"

    def losing_the_answer(self) -> Any:
        return self.api.losing()

    def split(self) -> dict[str, int]:
        return {revision: percent for revision, percent in self.target.weights().items() if percent}

    def eventually(self, wanted: dict[str, int]) -> None:
        seen: list[Any] = []

        def look() -> bool:
            try:
                seen.append(self.split())
            except TargetError as error:
                seen.append(error)
            return bool(seen[-1] == wanted)

        assert self.until(look), f"{wanted} is due; seen last: {seen[-1]}"

    def until(self, look: Any) -> bool:
        deadline = time.monotonic() + self.patience
        while not look():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.03)
        return True

    @staticmethod
    def refused(call: Any) -> bool:
        try:
            call()
        except TargetError:
            return True
        return False

    def play(self, reconciler: Any) -> None:
        reconciler.reconcile()
        self.playing = Playing(reconciler, every=0.03)
        self.playing.__enter__()

    def close(self) -> None:
        if self.playing:
            self.playing.stop()


def serve_knative_revisions(api: KubernetesApi) -> None:
    """Let the server know Knative's Revision, of which KServe's own definitions know nothing."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    body = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "revisions.serving.knative.dev"},
        "spec": {
            "group": KNATIVE_REVISIONS.group,
            "scope": "Namespaced",
            "names": {"plural": "revisions", "singular": "revision", "kind": "Revision"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    with suppress(ApiConflict):  # it is there
        api.create(DEFINITIONS, "", body)


class KServeRig(ClusterRig):
    """An InferenceService in one of the modes."""

    def __init__(self, kubeconfig: Path, mode: str, *, least: int = 2) -> None:
        super().__init__(kubeconfig, mode.lower())
        self.mode, self.pods, self.faults = mode, PodsInMemory(), Faults()
        self.create(self.name, least)
        self.reconciler = KServeReconciler(self.cluster, self.namespace, self.name, self.pods, self.faults)
        self.play(self.reconciler)
        self.target = KServeTarget(self.namespace, self.name, api=self.api, ready_timeout=10, poll=0.03)

    def create(self, name: str, least: int = 2) -> None:
        annotations = {"mlops-obs.dev/revision": "v1", "serving.kserve.io/deploymentMode": self.mode}
        model = {"modelFormat": {"name": "pytorch"}, "storageUri": self.package("v1")}
        body = {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": "InferenceService",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"predictor": {"minReplicas": least, "model": model}},
        }
        self.cluster.create(INFERENCE_SERVICES, self.namespace, body)

    def edit(self, path: str, value: Any) -> None:
        self.cluster.patch(INFERENCE_SERVICES, self.namespace, self.name, [{"op": "add", "path": path, "value": value}])

    def read(self) -> Any:
        return self.cluster.get(INFERENCE_SERVICES, self.namespace, self.name)

    def meddle(self) -> dict[str, int]:
        self.edit("/spec/predictor/canaryTrafficPercent" if self.mode == "Knative" else "/spec/canary/0/trafficPercent", 45)
        return {"v1": 55, "v2": 45}

    def kill(self, revision: str) -> None:
        if self.mode == "Knative":
            self.faults.stuck = True
            self.cluster.delete(KNATIVE_REVISIONS, self.namespace, f"{self.name}-predictor-00001")
        else:
            self.pods.dead.add(f"{self.name}-predictor")

    def unsplittable(self) -> Any:
        other = f"{self.name}-other"
        self.create(other)
        if self.mode == "Standard":
            KServeReconciler(self.cluster, self.namespace, other, faults=Faults(plain_ingress=True)).reconcile()
        self.other = other
        return KServeTarget(self.namespace, other, api=self.api, ready_timeout=1, poll=0.03)

    def lying(self) -> bool:
        if self.mode == "Knative":
            return False  # its status is Knative's route
        self.faults.routes_nothing = True
        return True

    def snapshot(self) -> Any:
        name = getattr(self, "other", self.name)
        service = self.cluster.get(INFERENCE_SERVICES, self.namespace, name)
        return service["spec"], service["metadata"]["annotations"], self.routes()

    def routes(self) -> Any:
        try:
            return self.cluster.get(HTTP_ROUTES, self.namespace, f"{self.name}-predictor")["spec"]
        except ApiError:
            return None

    def close(self) -> None:
        super().close()
        assert self.reconciler.violations == [], "KServe's webhook would have refused what the adapter wrote"


class LLMRig(ClusterRig):
    """Two LLMInferenceServices of one group, of which the second one is not there yet."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, "llm")
        self.faults, self.group = Faults(), f"{self.name}-group"
        self.a, self.b = f"{self.name}-a", f"{self.name}-b"
        self.create(self.a, self.group)
        self.reconciler = LLMReconciler(self.cluster, self.namespace, self.group, self.faults)
        self.play(self.reconciler)
        self.target = KServeLLMTarget(self.namespace, self.a, self.b, self.group, api=self.api, ready_timeout=10, poll=0.03)
        self.watched = (self.a, self.b)

    def create(self, name: str, group: str, **route: Any) -> None:
        body = {
            "apiVersion": LLM_SERVICES.api_version,
            "kind": LLM_SERVICES.kind,
            "metadata": {"name": name, "annotations": {"mlops-obs.dev/revision": "v1"}},
            "spec": {
                "model": {"uri": self.package("v1"), "name": "risk-llm"},
                "router": {"route": {"group": group, "weight": 100, **route}},
            },
        }
        self.cluster.create(LLM_SERVICES, self.namespace, body)

    def package(self, revision: str) -> str:
        return f"hf://models/{revision}"

    def weight(self, name: str, value: int) -> None:
        self.cluster.patch(LLM_SERVICES, self.namespace, name, [{"op": "add", "path": "/spec/router/route/weight", "value": value}])

    def meddle(self) -> dict[str, int]:
        self.weight(self.b, 8182)
        return {"v1": 55, "v2": 45}

    def kill(self, revision: str) -> None:
        self.reconciler.dead.add(self.a)

    def unsplittable(self) -> Any:
        group = f"{self.name}-own"
        self.create(f"{group}-a", group, http={"refs": [{"name": "mine"}]})
        LLMReconciler(self.cluster, self.namespace, group).reconcile()
        self.watched = (f"{group}-a", f"{group}-b")
        return KServeLLMTarget(self.namespace, f"{group}-a", f"{group}-b", group, api=self.api, ready_timeout=1, poll=0.03)

    def lying(self) -> bool:
        self.faults.routes_nothing = True
        return True

    def snapshot(self) -> Any:
        everything, _ = self.cluster.list_all(LLM_SERVICES, self.namespace)
        return [(one["spec"], one["metadata"]["annotations"]) for one in everything if one["metadata"]["name"] in self.watched]


SERVE_CONFIG = """applications:
- name: credit-risk-v1
  route_prefix: null
  import_path: app:build_predictor
  args: {revision: v1, package: s3://models/v1, store: online.db}
- name: ingress
  route_prefix: /
  import_path: app:build_ingress
  args: {stable: v1}
"""


class KubeRayRig(ClusterRig):
    """A RayService with incremental upgrades. KubeRay counts in seconds: its clock runs 10 times as fast, and jumps for the adapter."""

    going_down_is_all_or_nothing = True

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, "ray")
        self.began = self.jumped = int(time.time())
        self.create(self.name, "NewClusterWithIncrementalUpgrade")
        self.reconciler = KubeRayReconciler(self.cluster, self.namespace, self.name, clock=self.clock)
        self.play(self.reconciler)
        self.target = self.adapter(self.name)

    def adapter(self, name: str, **options: Any) -> KubeRayTarget:
        return KubeRayTarget(self.namespace, name, api=self.api, ready_timeout=10, poll=0.03, settle=2, clock=self.later, **options)

    def clock(self) -> float:
        return self.jumped + (time.time() - self.began) * 10

    def later(self) -> float:
        """Two minutes pass just before a stride is asked for, and hardly any time until the next one is."""
        self.jumped += 130
        return self.clock()

    def create(self, name: str, strategy: str, **options: Any) -> None:
        pod = {"spec": {"containers": [{"name": "ray", "image": "ray:2.60.0"}]}}
        pace = {"gatewayClassName": "istio", "stepSizePercent": 10, "intervalSeconds": 30, "maxSurgePercent": 100, **options}
        body = {
            "apiVersion": RAY_SERVICES.api_version,
            "kind": "RayService",
            "metadata": {"name": name, "annotations": {"mlops-obs.dev/revision": "v1"}},
            "spec": {
                "serveConfigV2": SERVE_CONFIG,
                "upgradeStrategy": {"type": strategy, "clusterUpgradeOptions": pace},
                "rayClusterConfig": {"enableInTreeAutoscaling": True, "headGroupSpec": {"rayStartParams": {}, "template": pod}},
            },
        }
        self.cluster.create(RAY_SERVICES, self.namespace, body)

    def read(self) -> Any:
        return self.cluster.get(RAY_SERVICES, self.namespace, getattr(self, "other", self.name))

    def meddle(self) -> dict[str, int]:
        weights = (("0", 55), ("1", 45))
        changes = [{"op": "replace", "path": f"/spec/rules/0/backendRefs/{n}/weight", "value": value} for n, value in weights]
        self.cluster.patch(HTTP_ROUTES, self.namespace, f"{self.name}-httproute", changes)
        return {"v1": 55, "v2": 45}

    def kill(self, revision: str) -> None:
        self.reconciler.dead.add(self.reconciler.active.name)

    def unsplittable(self) -> Any:
        self.other = f"{self.name}-other"
        self.create(self.other, "NewCluster")
        KubeRayReconciler(self.cluster, self.namespace, self.other).reconcile()
        return self.adapter(self.other)

    def lying(self) -> bool:
        return False  # its status is read back from the route

    def snapshot(self) -> Any:
        service = self.read()
        return service["spec"], service["metadata"]["annotations"]
