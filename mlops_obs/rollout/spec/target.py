"""Which platform splits the traffic of a rollout; the same words in `obs.yaml` and in the `target` of a Rollout.

The trap is the second target: with two, nobody knows which one is moved. Exactly one is given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from mlops_obs.rollout.spec.fields import Strict, wrong


class RayServe(Strict):
    """A weighted ingress on Ray Serve.

    `import_path` is `module:function`, called as `function(revision, package, store, service=...) -> Application`; the module also offers
    `ingress_app(weights, service=...)`. The controller imports it, so it must be importable where the controller runs;
    the operator of a cluster takes only what it was started with (`--allow-ray-serve`).
    """

    address: str = Field(min_length=1, description="address of the Ray cluster, host:port")
    url: str = Field(min_length=1, description="URL of the ingress")
    import_path: str = Field(min_length=1, description="module:function that builds the application of a revision")
    store: Path | None = Field(None, description="feature store, handed to the function")


class KServe(Strict):
    """An InferenceService, in Knative or Standard mode; without `kubeconfig`, the in-cluster account."""

    namespace: str = Field(min_length=1, description="namespace of the InferenceService")
    name: str = Field(min_length=1, description="its name")
    kubeconfig: Path | None = Field(None, description="file with the cluster's address and credentials; without it, the pod's account")
    mode: Literal["Knative", "Standard"] | None = Field(None, description="deployment mode; without it, what its status says")


class KServeLLM(Strict):
    """Two LLMInferenceServices in one traffic group: `stable` answers today, `canary` is the second one."""

    namespace: str = Field(min_length=1, description="namespace of both")
    stable: str = Field(min_length=1, description="name of the LLMInferenceService that answers today")
    canary: str = Field(min_length=1, description="name of the one that is shipped")
    group: str = Field(min_length=1, description="their spec.router.route.group")
    kubeconfig: Path | None = Field(None, description="file with the cluster's address and credentials; without it, the pod's account")

    @model_validator(mode="after")
    def _two_services(self) -> KServeLLM:
        if self.stable == self.canary:
            raise wrong("stable and canary are the same LLMInferenceService", "name the second one", "canary")
        return self


class KubeRay(Strict):
    """A RayService that is upgraded in steps (`NewClusterWithIncrementalUpgrade`)."""

    namespace: str = Field(min_length=1, description="namespace of the RayService")
    name: str = Field(min_length=1, description="its name")
    kubeconfig: Path | None = Field(None, description="file with the cluster's address and credentials; without it, the pod's account")


class Target(Strict):
    """What splits the traffic: exactly one of them."""

    ray_serve: RayServe | None = None
    kserve: KServe | None = None
    kserve_llm: KServeLLM | None = None
    kuberay: KubeRay | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Target:
        if sum(getattr(self, key) is not None for key in TARGETS) != 1:
            raise wrong(f"target needs exactly one of {', '.join(TARGETS)}", "keep one")
        return self

    @property
    def kind(self) -> str:
        """The key of the one that is given."""
        return next(key for key in TARGETS if getattr(self, key) is not None)

    @property
    def chosen(self) -> RayServe | KServe | KServeLLM | KubeRay:
        """The one that is given."""
        found: RayServe | KServe | KServeLLM | KubeRay = getattr(self, self.kind)
        return found

    def is_same_as(self, other: Target) -> bool:
        """Say whether both move the same traffic; how the platform is reached may differ."""
        how = {"kubeconfig", "mode", "store"}
        mine, theirs = (one.chosen.model_dump(exclude=how) for one in (self, other))
        return self.kind == other.kind and mine == theirs


TARGETS: dict[str, type[Strict]] = {"ray_serve": RayServe, "kserve": KServe, "kserve_llm": KServeLLM, "kuberay": KubeRay}
