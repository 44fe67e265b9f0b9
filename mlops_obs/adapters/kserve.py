"""A KServe InferenceService in Knative mode as a `TrafficTarget`; any other mode is refused, for it ignores the percentage.

The traps, and what is done about each. The Python SDK drops nulls and overwrites on conflict: so this sends JSON
Patches that test the resourceVersion and the old value. Knative invents revision names: so the package's revision is
written to an annotation beside the Knative revision that serves it, and any other change of the template is noticed.
`canaryTrafficPercent` is ignored until a first revision is rolled out, and only two revisions are remembered: so a
service that has none, or a rollback after promotion, is refused with the reason instead of doing nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import Weights

GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
FIRST = "mlops-obs.dev/revision"  # annotation a person writes: how the revision that runs before the first rollout is called
REVISIONS = "mlops-obs.dev/revisions"  # annotations we write: our revision -> Knative revision, our revision -> package
PACKAGES = "mlops-obs.dev/packages"
MODE = "serving.kserve.io/deploymentMode"
_KNATIVE = ("Knative", "Serverless")  # the mode's name, and what it was called before
_PERCENT = "/spec/predictor/canaryTrafficPercent"


class KServeTarget:
    """Splits an InferenceService's traffic between the revision that is rolled out and the latest one.

    Args:
        namespace: of the InferenceService.
        name: of the InferenceService.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        ready_timeout: seconds that `deploy` waits for the canary to become ready.
        poll: seconds between two looks while it waits.
        request_timeout: seconds for one call to the API server.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        kubeconfig: Path | None = None,
        ready_timeout: float = 300.0,
        poll: float = 1.0,
        request_timeout: float = 10.0,
    ) -> None:
        self._where = f"inferenceservice {namespace}/{name}"
        self._namespace, self._name, self._kubeconfig = namespace, name, kubeconfig
        self._ready_timeout, self._poll, self._request_timeout = ready_timeout, poll, request_timeout
        self._api: Any = None

    def deploy(self, revision: str, package: str) -> None:
        """Give the predictor the new package at 0 % and wait until Knative has its revision ready."""
        service = self._get()
        names, packages, status = _names(service), _annotation(service, PACKAGES), _status(service)
        if packages.get(revision, package) != package:
            what = f"{revision} already runs {packages[revision]}"
            raise Conflict("OBS-KSERVE-001", what, where=self._where, todo="name the new package another revision")
        if names.get(revision, "") not in ("", status.get("latestCreatedRevision"), status.get("latestRolledoutRevision")):
            del names[revision]  # shipped before and replaced since: KServe can no longer route to that one
            packages.pop(revision, None)
        if revision not in packages:
            self._start(service, revision, package, names, packages)
        deadline = time.monotonic() + self._ready_timeout
        while not self._adopted(revision):
            if time.monotonic() > deadline:
                why = _problem(self._get()) or f"not ready within {self._ready_timeout:g} s"
                raise TargetError(
                    "OBS-KSERVE-002", f"{revision} did not start: {why}", where=self._where, todo="read the predictor's events"
                )
            time.sleep(self._poll)

    def weights(self) -> Weights:
        """Return the split in the service's status; a Knative revision that is not ours appears under its own name."""
        service = self._get()
        ours = {knative: revision for revision, knative in _names(service).items()}
        out: dict[str, int] = {}
        for part in _status(service).get("traffic") or []:
            name = ours.get(part.get("revisionName", ""), part.get("revisionName") or "unknown")
            out[name] = out.get(name, 0) + int(part.get("percent") or 0)
        if sum(out.values()) != 100:
            raise TargetError("OBS-KSERVE-003", f"the status tells no traffic split ({out})", where=self._where, todo="wait for KServe")
        return out

    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Set `canaryTrafficPercent` if the split still is `expected`; KServe moves the traffic a moment later."""
        service = self._get()
        wanted, now = _compact(weights), _compact(self.weights())
        names, status = _names(service), _status(service)
        latest = next((revision for revision, knative in names.items() if knative == status.get("latestReadyRevision")), "")
        rolled = next((revision for revision, knative in names.items() if knative == status.get("latestRolledoutRevision")), "")
        percent, asked = wanted.get(latest, 0), service["spec"]["predictor"].get("canaryTrafficPercent")
        if now == wanted and (rolled == latest or asked == percent):
            return  # nothing else is on its way either
        if now not in (wanted, _compact(expected)):
            raise Conflict("OBS-KSERVE-004", f"the split is {now}, not {dict(expected)}", where=self._where, todo="read again")
        if wanted != {rolled: 100} and (not latest or status.get("latestReadyRevision") != status.get("latestCreatedRevision")):
            what = f"a Knative revision {status.get('latestCreatedRevision')} appeared that is not ours: someone edited the template"
            raise Conflict("OBS-KSERVE-005", what, where=self._where, todo="abort, and look who edits the service")
        if rolled == latest and wanted != {latest: 100}:
            what = f"{latest} is rolled out and KServe remembers no way back"
            raise TargetError("OBS-KSERVE-006", what, where=self._where, todo="end this rollout, then ship the old package as a new one")
        if set(wanted) - {latest, rolled} or sum(wanted.values()) != 100:
            what = f"cannot route {wanted}: KServe splits between {rolled or 'nothing'} and {latest}"
            raise TargetError("OBS-KSERVE-007", what, where=self._where, todo="deploy first")
        if asked != percent:  # else asked for already, and about to happen
            self._patch(service, [_set(service["spec"]["predictor"], percent)])

    def _start(self, service: dict[str, Any], revision: str, package: str, names: dict[str, str], packages: dict[str, str]) -> None:
        """Change the package and pin the traffic in one patch, so that no request can reach the canary in between."""
        rolled = _status(service).get("latestRolledoutRevision")
        if not rolled:
            what = "has no rolled-out revision yet; KServe would send the canary all traffic"
            raise TargetError("OBS-KSERVE-008", what, where=self._where, todo="wait until the first revision is ready")
        predictor = service["spec"]["predictor"]
        if "model" not in predictor:
            raise TargetError(
                "OBS-KSERVE-009", "the predictor has no `model`", where=self._where, todo="use spec.predictor.model.storageUri"
            )
        if rolled not in names.values():
            what = f"does not say how the running revision {rolled} is called"
            raise TargetError("OBS-KSERVE-014", what, where=self._where, todo=f"annotate it, for example {FIRST}: v1")
        old = predictor["model"].get("storageUri")
        uri = [{"op": "test", "path": "/spec/predictor/model/storageUri", "value": old}] if old is not None else []
        self._patch(
            service,
            [
                *uri,
                {"op": "add", "path": "/spec/predictor/model/storageUri", "value": package},
                _set(predictor, 0),
                *_annotate(service, {PACKAGES: {**packages, revision: package}, REVISIONS: names}),
            ],
        )

    def _adopted(self, revision: str) -> bool:
        """Note which Knative revision carries `revision`, once it is ready; tell whether that is so."""
        service = self._get()
        names, status = _names(service), _status(service)
        latest, rolled = status.get("latestReadyRevision"), status.get("latestRolledoutRevision")
        if revision in names:
            return True
        if not latest or latest != status.get("latestCreatedRevision") or latest == rolled or latest in names.values():
            return False
        self._patch(service, _annotate(service, {REVISIONS: {**names, revision: latest}}))
        return True

    # --- the API server -------------------------------------------------------------------------------------

    def _get(self) -> dict[str, Any]:
        service = dict(self._call("get_namespaced_custom_object"))
        mode = service.get("status", {}).get("deploymentMode") or (service["metadata"].get("annotations") or {}).get(MODE, "Knative")
        if mode not in _KNATIVE:
            what = f"it runs in {mode} mode, where canaryTrafficPercent routes nothing"
            raise TargetError("OBS-KSERVE-015", what, where=self._where, todo=f"create it anew with the annotation {MODE}: Serverless")
        return service

    def _patch(self, service: dict[str, Any], operations: list[dict[str, Any]]) -> None:
        version = service["metadata"]["resourceVersion"]
        test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
        # The client would send a list as a merge patch, which the server refuses.
        self._call("patch_namespaced_custom_object", [test, *operations], _content_type="application/json-patch+json")

    def _call(self, method: str, *body: object, **options: str) -> Any:
        try:
            from kubernetes.client.exceptions import ApiException
            from urllib3.exceptions import HTTPError
        except ImportError as error:
            what, todo = "the Kubernetes client is not installed", "pip install 'mlops-obs[k8s]'"
            raise TargetError("OBS-KSERVE-016", what, where=self._where, todo=todo) from error
        try:
            call = getattr(self._client(), method)
            return call(GROUP, VERSION, self._namespace, PLURAL, self._name, *body, _request_timeout=self._request_timeout, **options)
        except ApiException as error:
            said = str(_body(error.body).get("message") or error.reason)
            # A failed `test` of a JSON Patch is a 422 without details; a broken schema names its causes.
            if error.status == 409 or (error.status == 422 and not _body(error.body).get("details")):
                raise Conflict("OBS-KSERVE-004", "it changed meanwhile", where=self._where, todo="read again") from error
            todo = {403: "give the controller's account get and patch", 404: "check namespace and name"}.get(
                error.status, "read the message"
            )
            raise TargetError("OBS-KSERVE-010", f"HTTP {error.status}: {said[:300]}", where=self._where, todo=todo) from error
        except (HTTPError, OSError) as error:
            raise TargetError("OBS-KSERVE-011", f"the API server does not answer: {error}", where=self._where, todo="try again") from error

    def _client(self) -> Any:
        if self._api is None:
            from kubernetes import client, config
            from kubernetes.config import ConfigException

            try:
                if self._kubeconfig:
                    self._api = client.CustomObjectsApi(config.new_client_from_config(str(self._kubeconfig)))
                else:
                    config.load_incluster_config()
                    self._api = client.CustomObjectsApi()
            except ConfigException as error:
                todo = "set target.kserve.kubeconfig, or run in the cluster"
                raise TargetError("OBS-KSERVE-012", f"no cluster configuration: {error}", where=self._where, todo=todo) from error
        return self._api


def _status(service: Mapping[str, Any]) -> Mapping[str, Any]:
    status: Mapping[str, Any] = service.get("status", {}).get("components", {}).get("predictor", {})
    return status


def _names(service: Mapping[str, Any]) -> dict[str, str]:
    """Return our revision -> Knative revision; the first one takes the name that a person gave it."""
    names, rolled = _annotation(service, REVISIONS), _status(service).get("latestRolledoutRevision")
    first = (service["metadata"].get("annotations") or {}).get(FIRST)
    if first and rolled and first not in names and rolled not in names.values():
        names[first] = str(rolled)
    return names


def _annotation(service: Mapping[str, Any], key: str) -> dict[str, str]:
    try:
        return dict(json.loads((service["metadata"].get("annotations") or {}).get(key, "{}")))
    except ValueError as error:
        raise TargetError("OBS-KSERVE-013", f"annotation {key} is not JSON", where=service["metadata"]["name"], todo="mend it") from error


def _annotate(service: Mapping[str, Any], values: Mapping[str, Mapping[str, str]]) -> list[dict[str, Any]]:
    start = [] if service["metadata"].get("annotations") else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    add = [
        {"op": "add", "path": f"/metadata/annotations/{key.replace('/', '~1')}", "value": json.dumps(dict(value), sort_keys=True)}
        for key, value in values.items()
    ]
    return [*start, *add]


def _set(predictor: Mapping[str, Any], percent: int) -> dict[str, Any]:
    return {"op": "replace" if "canaryTrafficPercent" in predictor else "add", "path": _PERCENT, "value": percent}


def _problem(service: Mapping[str, Any]) -> str:
    """Return what KServe says about a model that does not load."""
    failure = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    return str(failure.get("message") or failure.get("reason") or "")


def _body(text: Any) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError):
        return {}


def _compact(weights: Mapping[str, int]) -> dict[str, int]:
    return {revision: percent for revision, percent in weights.items() if percent}
