"""An InferenceService as a `TrafficTarget`, whatever its mode: the mode is looked up once, and the adapter of that mode does the rest.

The trap is a percentage that is written where nothing reads it: `canaryTrafficPercent` routes nothing in Standard mode, and
`spec.canary` routes nothing in Knative mode. KServe accepts both everywhere. So the mode that KServe itself reports decides; it
cannot change afterwards (KServe refuses that). A mode that splits no traffic (ModelMesh) is refused before anything is changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES, KServeKnativeTarget
from mlops_obs.adapters.kserve_standard import KServeStandardTarget
from mlops_obs.adapters.kubernetes.api import KubernetesApi, Object
from mlops_obs.adapters.platform_object import PlatformObject, text
from mlops_obs.errors import TargetError
from mlops_obs.rollout.ports import WayBack, Weights

Mode = Literal["Knative", "Standard"]
MODE = "serving.kserve.io/deploymentMode"
# What KServe called its modes before, which it still accepts (pkg/constants/constants.go, ParseDeploymentMode).
_MODES: Mapping[str, Mode] = {"Knative": "Knative", "Serverless": "Knative", "Standard": "Standard", "RawDeployment": "Standard"}


class KServeTarget:
    """Splits an InferenceService's traffic; nothing is asked of the cluster before the first call.

    Args:
        namespace: of the InferenceService.
        name: of the InferenceService.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        mode: `Knative` or `Standard`; None looks it up.
        api: client to use instead of one made from `kubeconfig`.
        ready_timeout: seconds that `deploy` waits for the canary to become ready.
        poll: seconds between two looks while it waits.

    Attributes:
        keeps_the_way_back: whether all traffic can return to the old revision, warm, when the canary has 100 %.
        least_watch_weight: percent that the old revision must keep for a way back.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        kubeconfig: Path | None = None,
        mode: Mode | None = None,
        api: KubernetesApi | None = None,
        ready_timeout: float = 300.0,
        poll: float = 1.0,
    ) -> None:
        self._api = api or KubernetesApi(kubeconfig)
        self._namespace, self._name, self._mode = namespace, name, mode
        self._ready_timeout, self._poll = ready_timeout, poll
        # What is not known yet is taken for the lesser of the two.
        self.keeps_the_way_back = mode == "Standard"
        self.least_watch_weight = 0 if self.keeps_the_way_back else 1
        self._chosen: KServeKnativeTarget | KServeStandardTarget | None = None

    def limits(self) -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences; of both modes while the mode is not known."""
        knative = KServeKnativeTarget.limits() if self._mode != "Standard" else ()
        standard = KServeStandardTarget.limits() if self._mode != "Knative" else ()
        return (*knative, *standard)

    def deploy(self, revision: str, package: str) -> None:
        """Make `revision` ready at weight 0. Raises as the adapter of the mode does, and OBS-KSERVE-015 for a mode that cannot split."""
        self._target().deploy(revision, package)

    def weights(self) -> Weights:
        """Return the split that the route has."""
        return self._target().weights()

    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Replace the split if it still is `expected`."""
        self._target().set_weights(weights, expected)

    def way_back(self, revision: str) -> WayBack:
        """Tell whether all traffic could return to `revision` now."""
        return self._target().way_back(revision)

    def finish(self, revision: str) -> None:
        """Make `revision` the service's only one."""
        self._target().finish(revision)

    def _target(self) -> KServeKnativeTarget | KServeStandardTarget:
        if self._chosen is None:
            service = PlatformObject(self._api, INFERENCE_SERVICES, self._namespace, self._name)
            self._mode = self._mode or mode_of(service.read(), service.where)
            kind = KServeKnativeTarget if self._mode == "Knative" else KServeStandardTarget
            self._chosen = kind(self._namespace, self._name, api=self._api, ready_timeout=self._ready_timeout, poll=self._poll)
        return self._chosen


def kserve_target(namespace: str, name: str, *, kubeconfig: Path | None = None, mode: Mode | None = None) -> KServeTarget:
    """Return the target of an InferenceService; its mode is looked up at the first call unless it is given."""
    return KServeTarget(namespace, name, kubeconfig=kubeconfig, mode=mode)


def mode_of(service: Object, where: str) -> Mode:
    """Return the mode that an InferenceService runs in: KServe's own word for it, else the annotation, else KServe's default.

    Raises:
        TargetError: OBS-KSERVE-015 if it is a mode that splits no traffic.
    """
    said = str((service.get("status") or {}).get("deploymentMode") or text(service, MODE) or "Knative")
    if said not in _MODES:
        what = f"it runs in {said} mode, which splits no traffic"
        raise TargetError("OBS-KSERVE-015", what, where=where, todo=f"create it anew with the annotation {MODE}: Knative or Standard")
    return _MODES[said]
