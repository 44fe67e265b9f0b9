"""An InferenceService in Knative mode as a `TrafficTarget`: `canaryTrafficPercent` between the last two Knative revisions.

The traps, and what is done about each. Knative invents revision names: so the package's revision is written to an annotation
beside the Knative revision that serves it, and any other change of the template is noticed. `canaryTrafficPercent` is
ignored until a first revision is rolled out, and only two revisions are remembered: so a service that has none, or a
rollback after promotion, is refused with the reason instead of doing nothing. After a rollback KServe may take an older revision
for the rolled-out one, and would split the next canary against that (kserve#2130): so a canary is only started where the
rolled-out revision is the one that has the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.adapters.kserve_refusals import not_all_on, refuse_a_changed_split, refuse_an_edited, refuse_another_package, wait_for_start
from mlops_obs.adapters.kubernetes.api import KubernetesApi, Object, Resource
from mlops_obs.adapters.platform_object import (
    FIRST,
    PACKAGES,
    REVISIONS,
    STARTS,
    PlatformObject,
    Settling,
    add,
    annotate,
    annotation,
    condition,
    decided_anew,
    start_done,
    start_of,
    started,
    text,
)
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack, Weights, compact

INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
KNATIVE_REVISIONS = Resource("serving.knative.dev", "v1", "revisions", "Revision")
_PERCENT = "/spec/predictor/canaryTrafficPercent"


class KServeKnativeTarget:
    """Splits an InferenceService's traffic between the revision that is rolled out and the latest one.

    Args:
        namespace: of the InferenceService.
        name: of the InferenceService.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        api: client to use instead of one made from `kubeconfig`.
        ready_timeout: seconds that `deploy` waits for the canary to become ready.
        poll: seconds between two looks while it waits.
    """

    keeps_the_way_back = False
    least_watch_weight = 1

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        kubeconfig: Path | None = None,
        api: KubernetesApi | None = None,
        ready_timeout: float = 300.0,
        poll: float = 1.0,
    ) -> None:
        self._service = PlatformObject(api or KubernetesApi(kubeconfig), INFERENCE_SERVICES, namespace, name)
        self._where = self._service.where
        self._ready_timeout, self._poll = ready_timeout, poll
        self._settling = Settling()

    @staticmethod
    def limits() -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences."""
        return (
            "KServe in Knative mode forgets the old revision when the canary has 100 %: keep watch_weight at 1 or more for a way back.",
            "KServe in Knative mode splits between two revisions only; a third one, by an edit of the template, takes the canary's share.",
            "KServe in Knative mode does not tell how many pods a revision has: a revision that Knative scaled to zero starts cold.",
        )

    @decided_anew
    def deploy(self, revision: str, package: str) -> None:
        """Give the predictor the new package at 0 % and wait until Knative has its revision ready.

        Raises:
            Conflict: OBS-KSERVE-001 if `revision` runs another package, -005 if somebody edits the template while it starts.
            TargetError: OBS-KSERVE-002 if it does not become ready; -008, -009, -014, -017 if it cannot be split, with nothing changed.
        """
        service = self._service.read()
        names, packages, status = names_of(service), annotation(service, PACKAGES), status_of(service)
        if names.get(revision) == status.get("latestCreatedRevision") and revision not in packages:
            packages[revision] = str(model_of(service, self._where).get("storageUri"))  # the first one: no rollout of ours brought it
        refuse_another_package(revision, packages.get(revision, package), package, self._where)
        if names.get(revision, "") not in ("", status.get("latestCreatedRevision"), status.get("latestRolledoutRevision")):
            del names[revision]  # shipped before and replaced since: KServe can no longer route to that one
            packages.pop(revision, None)
        if revision not in packages and revision not in names:
            self._start(service, revision, package, names, packages)
        wait_for_start(
            revision,
            lambda: self._adopted(revision),
            lambda: failure(self._service.read()),
            timeout=self._ready_timeout,
            poll=self._poll,
            where=self._where,
            todo="read the predictor's events",
        )

    def weights(self) -> Weights:
        """Return the split in Knative's route; a Knative revision that is not ours appears under its own name."""
        out = self._split(self._service.read())
        self._settling.shown(compact(out))
        return out

    @decided_anew
    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Set `canaryTrafficPercent` if the split still is `expected`; Knative moves the traffic a moment later."""
        service = self._service.read()
        wanted, now = compact(weights), compact(self._split(service))
        names, status = names_of(service), status_of(service)
        latest = next((revision for revision, knative in names.items() if knative == status.get("latestReadyRevision")), "")
        rolled = next((revision for revision, knative in names.items() if knative == status.get("latestRolledoutRevision")), "")
        percent, asked = wanted.get(latest, 0), service["spec"]["predictor"].get("canaryTrafficPercent")
        if now == wanted and (rolled == latest or asked == percent):
            return  # nothing else is on its way either
        refuse_a_changed_split(now, wanted, expected, self._where)
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
            self._service.patch(service, [add(_PERCENT, percent)])
        self._settling.asked(wanted)

    def way_back(self, revision: str) -> WayBack:
        """Tell whether `revision` is still one of the two that KServe routes to, and what Knative says of its pods."""
        service = self._service.read()
        if compact(self._split(service)) == {revision: 100}:
            return WayBack(True, f"{revision} has all the traffic", 0.0)
        status, knative = status_of(service), names_of(service).get(revision)
        if not knative or knative not in (status.get("latestRolledoutRevision"), status.get("latestCreatedRevision")):
            took = started(service, revision)
            cold = f"; its start took {took:g} s the last time" if took is not None else ""
            return WayBack(False, f"KServe no longer routes to {revision}: its package would have to be deployed anew{cold}")
        return self._pods(service, revision, knative)

    @decided_anew
    def finish(self, revision: str) -> None:
        """See that `revision` has all the traffic; in Knative mode that is the end already."""
        now = compact(self.weights())
        if now != {revision: 100}:
            raise not_all_on(revision, now, self._where)

    def _split(self, service: Object) -> dict[str, int]:
        ours = {knative: revision for revision, knative in names_of(service).items()}
        out: dict[str, int] = {}
        for part in status_of(service).get("traffic") or []:
            name = ours.get(part.get("revisionName", ""), part.get("revisionName") or "unknown")
            out[name] = out.get(name, 0) + int(part.get("percent") or 0)
        if sum(out.values()) != 100:
            raise TargetError("OBS-KSERVE-003", f"the status tells no traffic split ({out})", where=self._where, todo="wait for KServe")
        return out

    def _pods(self, service: Object, revision: str, knative: str) -> WayBack:
        """Tell what Knative says of a revision that KServe can route to."""
        found, known = self._service.neighbour(KNATIVE_REVISIONS, knative)
        if found is None and known:
            return WayBack(False, f"Knative has deleted {knative}, which served {revision}")
        if found is None:
            return WayBack(True, f"KServe still routes to {revision}; its pods cannot be seen", self._settling.seconds)
        ready, why = condition(found, "Ready")
        if ready == "False":
            return WayBack(False, f"{revision} is not ready: {why}")
        if found.get("status", {}).get("actualReplicas") == 0:
            return WayBack(True, f"{revision} is scaled to zero and starts cold", started(service, revision))
        return WayBack(True, f"{revision} is ready", self._settling.seconds)

    def _start(self, service: Object, revision: str, package: str, names: dict[str, str], packages: dict[str, Any]) -> None:
        """Change the package and pin the traffic in one patch, so that no request can reach the canary in between."""
        status = status_of(service)
        rolled = status.get("latestRolledoutRevision")
        if not rolled:
            what = "has no rolled-out revision yet; KServe would send the canary all traffic"
            raise TargetError("OBS-KSERVE-008", what, where=self._where, todo="wait until the first revision is ready")
        model = model_of(service, self._where)
        if rolled not in names.values():
            what = f"does not say how the running revision {rolled} is called"
            raise TargetError("OBS-KSERVE-014", what, where=self._where, todo=f"annotate it, for example {FIRST}: v1")
        serving = {part.get("revisionName") for part in status.get("traffic") or [] if part.get("percent")}
        if serving != {rolled}:
            what = (
                f"KServe would split the canary's traffic with {rolled}, but {', '.join(sorted(map(str, serving))) or 'nothing'} serves now"
            )
            raise TargetError("OBS-KSERVE-017", what, where=self._where, todo="give one revision all the traffic first (kserve#2130)")
        old = model.get("storageUri")
        uri = [{"op": "test", "path": "/spec/predictor/model/storageUri", "value": old}] if old is not None else []
        latest = status.get("latestCreatedRevision")
        if latest and latest not in names.values():
            names[str(latest)] = str(latest)  # somebody's, which the status still tells just after our patch: never to be taken for ours
        notes = {PACKAGES: {**packages, revision: package}, REVISIONS: names, STARTS: start_of(service, revision)}
        self._service.patch(service, [*uri, add("/spec/predictor/model/storageUri", package), add(_PERCENT, 0), *annotate(service, notes)])

    def _adopted(self, revision: str) -> bool:
        """Note which Knative revision carries `revision`, once it is ready; tell whether that is so."""
        service = self._service.read()
        names, status = names_of(service), status_of(service)
        latest, rolled = status.get("latestReadyRevision"), status.get("latestRolledoutRevision")
        if revision in names:
            return True
        refuse_an_edited(service, revision, model_of(service, self._where).get("storageUri"), self._where)
        if not latest or latest != status.get("latestCreatedRevision") or latest == rolled or latest in names.values():
            return False
        notes = {REVISIONS: {**names, revision: latest}, STARTS: start_done(service, revision)}
        self._service.patch(service, annotate(service, notes))
        return True


def status_of(service: Object) -> Mapping[str, Any]:
    """Return the status of the predictor."""
    status: Mapping[str, Any] = service.get("status", {}).get("components", {}).get("predictor", {})
    return status


def model_of(service: Object, where: str) -> Mapping[str, Any]:
    """Return `spec.predictor.model`. Raises TargetError OBS-KSERVE-009 if the predictor is written in another way."""
    model: Mapping[str, Any] | None = service["spec"]["predictor"].get("model")
    if not model:
        raise TargetError("OBS-KSERVE-009", "the predictor has no `model`", where=where, todo="use spec.predictor.model.storageUri")
    return model


def names_of(service: Object) -> dict[str, str]:
    """Return our revision -> Knative revision; the first one takes the name that a person gave it."""
    names, rolled = annotation(service, REVISIONS), status_of(service).get("latestRolledoutRevision")
    first = text(service, FIRST)
    if first and rolled and first not in names and rolled not in names.values():
        names[first] = str(rolled)
    return names


def failure(service: Object) -> str:
    """Return what KServe says about a model that does not load."""
    said = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    return str(said.get("message") or said.get("reason") or "")
