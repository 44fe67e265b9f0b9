"""An InferenceService in Standard mode (once RawDeployment) as a `TrafficTarget`: one entry of `spec.canary` and an HTTPRoute.

The traps, and what is done about each. The status echoes the percentage that was asked for even where nothing routes it (plain
Ingress; KServe 0.20.0): so the split is read from the HTTPRoutes that a gateway has accepted, and a service without one is
refused before anything is changed. A canary at 0 % without `minReplicas` may have no pod at all, and one that gets traffic faster
than pods is overrun: so `minReplicas` rises first, and the weight when the pods are there. KServe promotes by renaming the
predictor and then deletes the old Deployment at once: so promotion is `finish`, when all traffic is on the canary already, and
never part of a step. A rename needs another storageUri: a canary that changes anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.adapters.kserve_knative import INFERENCE_SERVICES, failure, model_of
from mlops_obs.adapters.kserve_refusals import not_all_on, refuse_a_changed_split, refuse_an_edited, refuse_another_package, wait_for_start
from mlops_obs.adapters.kubernetes.api import KubernetesApi, Object
from mlops_obs.adapters.platform_object import (
    DEPLOYMENTS,
    FIRST,
    PACKAGES,
    REVISIONS,
    STARTS,
    PlatformObject,
    Settling,
    add,
    agreed,
    annotate,
    annotation,
    condition,
    decided_anew,
    shares,
    start_done,
    start_of,
    started,
    text,
    wait_until,
)
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack, Weights, compact

_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # of the definition
_LONGEST = 63  # of a Service's name
_CONTAINER = "kserve-container"  # what KServe calls the container of a model (pkg/constants, InferenceServiceContainerName)


class KServeStandardTarget:
    """Splits an InferenceService's traffic between its predictor and one canary predictor.

    Args:
        namespace: of the InferenceService.
        name: of the InferenceService.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        api: client to use instead of one made from `kubeconfig`.
        ready_timeout: seconds that `deploy` waits for the canary to become ready.
        room_timeout: seconds that `set_weights` waits for more pods; after them the caller is told to try again, for a controller
            that waits cannot roll back.
        poll: seconds between two looks while it waits.
    """

    keeps_the_way_back = True
    least_watch_weight = 0

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        kubeconfig: Path | None = None,
        api: KubernetesApi | None = None,
        ready_timeout: float = 300.0,
        room_timeout: float = 5.0,
        poll: float = 1.0,
    ) -> None:
        self._service = PlatformObject(api or KubernetesApi(kubeconfig), INFERENCE_SERVICES, namespace, name)
        self._where, self._name = self._service.where, name
        self._ready_timeout, self._room_timeout, self._poll = ready_timeout, room_timeout, poll
        self._settling = Settling()

    @staticmethod
    def limits() -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences."""
        return (
            "KServe in Standard mode splits traffic only with Gateway API (enableGatewayApi) and a KServe newer than 0.20.0.",
            "KServe in Standard mode promotes by renaming the predictor, which needs another storageUri: an image alone cannot be shipped.",
            "KServe in Standard mode: callers of the predictor's Service, such as a transformer, bypass the split.",
            "KServe in Standard mode deletes the old pods when a rollout is finished; a way back later is a cold start.",
        )

    @decided_anew
    def deploy(self, revision: str, package: str) -> None:
        """Add the canary predictor at 0 % and wait until it is ready.

        Raises:
            Conflict: OBS-KSERVE-001 if `revision` runs another package, OBS-KSERVE-018 if another canary has traffic.
            TargetError: OBS-KSERVE-002 if it does not become ready; -009, -014, -019, -020, -021 if it could not be split or
                promoted, with nothing changed.
        """
        service = self._service.read()
        names, packages = self._names(service), annotation(service, PACKAGES)
        running = {name: str((one.get("model") or {}).get("storageUri")) for name, one in _predictors(service).items()}
        refuse_another_package(revision, running.get(names.get(revision, "?"), package), package, self._where)
        if names.get(revision) not in running:
            self._start(service, revision, package, packages)
        wait_for_start(
            revision,
            lambda: self._adopted(revision),
            lambda: self._why_not(revision),
            timeout=self._ready_timeout,
            poll=self._poll,
            where=self._where,
            todo="read the predictor's events",
        )

    def weights(self) -> Weights:
        """Return the split of the HTTPRoutes, if a gateway has accepted them; what the status echoes is not believed."""
        out = self._split(self._service.read())
        self._settling.shown(compact(out))
        return out

    @decided_anew
    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Set the canary's `trafficPercent` if the split still is `expected`; more traffic waits for more pods."""
        service = self._service.read()
        wanted, now = compact(weights), compact(self._split(service))
        names, canary = self._names(service), _canary(service)
        stable = next((revision for revision, name in names.items() if name == _stable_name(service)), "")
        ours = next((revision for revision, name in names.items() if canary and name == canary["predictor"].get("name")), "")
        percent, asked = wanted.get(ours, 0), int(canary["trafficPercent"]) if canary else 0
        if now == wanted and asked == percent:
            return
        refuse_a_changed_split(now, wanted, expected, self._where)
        if set(wanted) - {ours, stable} or sum(wanted.values()) != 100 or not (ours or wanted == {stable: 100}):
            what = f"cannot route {wanted}: KServe splits between {stable or 'nothing'} and {ours or 'no canary'}"
            raise TargetError("OBS-KSERVE-007", what, where=self._where, todo="deploy first")
        if canary is not None and percent and percent >= now.get(ours, 0):  # its old pods stay ready: nothing else would tell
            refuse_an_edited(service, ours, _package(canary), self._where)
        if canary is not None and asked == percent:
            self._doubt(service, ours, percent, now)
        elif canary is not None:
            if percent > asked:
                service = self._make_room(service, ours, percent)
                if compact(self._split(service)) != now:
                    raise Conflict("OBS-KSERVE-004", "the split changed while pods started", where=self._where, todo="read again")
            self._set(service, percent)
        self._settling.asked(wanted)

    def way_back(self, revision: str) -> WayBack:
        """Tell whether `revision` still has pods behind the route, and how many."""
        service = self._service.read()
        name = self._names(service).get(revision)
        if name is None or name not in _predictors(service):
            took = started(service, revision)
            cold = f"; its start took {took:g} s the last time" if took is not None else ""
            return WayBack(False, f"{revision} is no predictor of the service any more: it would have to be deployed anew{cold}")
        least = _least(service)
        found, known = self._service.neighbour(DEPLOYMENTS, self._backend(name))
        if found is None and known:
            return WayBack(False, f"the Deployment of {revision} is gone")
        if found is not None:
            pods = int(found.get("status", {}).get("availableReplicas") or 0)
            if pods == 0:
                return WayBack(False, f"{revision} has no pod that is available")
            if pods < least and not self._has_all(
                service, revision
            ):  # KServe lends stable's pods to the canary: the way back exists, at less than full capacity at first
                return WayBack(True, f"{revision} has {pods} of {least} pods; the others start cold", started(service, revision))
            return WayBack(True, f"{revision} has {pods} pods", self._settling.seconds)
        ready, why = self._ready(service, name)
        seconds = 0.0 if ready and self._has_all(service, revision) else self._settling.seconds
        return WayBack(ready, f"{revision} is ready" if ready else f"{revision} is not ready: {why}", seconds)

    @decided_anew
    def finish(self, revision: str) -> None:
        """Make the canary, which has all traffic already, the predictor, in one write; KServe then deletes the old one.

        Raises:
            Conflict: OBS-KSERVE-004 if it has not all the traffic.
            TargetError: OBS-KSERVE-022 if it has fewer pods than the service's `minReplicas`.
        """
        service = self._service.read()
        name, canary = self._names(service).get(revision), _canary(service)
        if name == _stable_name(service) and canary is None:
            return
        now = compact(self._split(service))
        if now != {revision: 100} or canary is None or canary["predictor"].get("name") != name:
            raise not_all_on(revision, now, self._where)
        refuse_an_edited(service, revision, _package(canary), self._where)
        pods, least = self._pods(str(name)), _least(service)
        if pods is not None and pods < least:
            what = f"{revision} has {pods} of {least} pods, and KServe would delete the old ones at once"
            raise TargetError("OBS-KSERVE-022", what, where=self._where, todo="wait for its pods")
        predictor = {**service["spec"]["predictor"], "name": name}
        predictor["model"] = {**predictor["model"], "storageUri": canary["predictor"]["model"]["storageUri"]}
        self._service.patch(
            service,
            [
                {"op": "test", "path": "/spec/canary/0/trafficPercent", "value": 100},
                {"op": "replace", "path": "/spec/predictor", "value": predictor},
                {"op": "replace", "path": "/spec/canary", "value": []},  # an absent list is dropped by KServe's own clients
                *annotate(service, {REVISIONS: self._names(service)}),
            ],
        )

    # --- reading ------------------------------------------------------------------------------------------------

    def _split(self, service: Object) -> dict[str, int]:
        """Return the percent by revision that every route to the predictors has."""
        split, splits = agreed(lambda: self._splits(service))
        if not splits:
            what = "no HTTPRoute splits its traffic, so a canary would get none"
            raise TargetError("OBS-KSERVE-019", what, where=self._where, todo="turn on enableGatewayApi in KServe")
        if split is None:
            raise TargetError("OBS-KSERVE-024", f"the routes do not agree: {splits}", where=self._where, todo="wait for KServe")
        return split

    def _splits(self, service: Object) -> list[dict[str, int]]:
        """Return the percent by revision of each route to the predictors."""
        ours = {self._backend(name): revision for revision, name in self._names(service).items()}
        ours.setdefault(self._backend(_stable_name(service)), "unknown")
        splits = []
        for name in (f"{self._name}-predictor", self._name):  # the predictor's own host, and the service's
            route, why = self._service.route(name)
            if route is None:
                continue
            if why:
                raise TargetError("OBS-KSERVE-023", f"httproute {name}: {why}", where=self._where, todo="see the gateway's status")
            for rule in (route.get("spec") or {}).get("rules") or []:
                found = shares(rule.get("backendRefs") or [])
                if found and all(backend.endswith("-predictor") for backend in found):
                    splits.append({ours.get(backend, backend): round(share) for backend, share in found.items()})
        return splits

    def _has_all(self, service: Object, revision: str) -> bool:
        """Tell whether `revision` has all the traffic; a route that is just being changed says no."""
        try:
            return compact(self._split(service)) == {revision: 100}
        except TargetError:
            return False

    def _names(self, service: Object) -> dict[str, str]:
        """Return our revision -> predictor name (empty: the predictor has none)."""
        names = {revision: str(name) for revision, name in annotation(service, REVISIONS).items()}
        first, stable = text(service, FIRST), _stable_name(service)
        if first and first not in names and stable not in names.values():
            names[first] = stable
        return names

    def _backend(self, predictor: str) -> str:
        """Return the name of a predictor's Deployment and Service."""
        return f"{self._name}-{predictor}-predictor" if predictor else f"{self._name}-predictor"

    def _pods(self, predictor: str) -> int | None:
        """Return how many pods of a predictor are available, None if that cannot be seen."""
        found, known = self._service.neighbour(DEPLOYMENTS, self._backend(predictor))
        if found is None:
            return 0 if known else None
        return int(found.get("status", {}).get("availableReplicas") or 0)

    def _ready(self, service: Object, predictor: str) -> tuple[bool, str]:
        if predictor == _stable_name(service):
            status, why = condition(service, "PredictorReady")
            return status == "True", why
        for one in service.get("status", {}).get("canaryStatuses") or []:
            if one.get("name") == predictor:
                return bool(one.get("ready")), condition(service, "CanaryPredictorReady")[1]
        return False, "KServe does not know it yet"

    def _why_not(self, revision: str) -> str:
        service = self._service.read()
        return failure(service) or self._ready(service, self._names(service).get(revision, ""))[1]

    # --- writing ------------------------------------------------------------------------------------------------

    def _start(self, service: Object, revision: str, package: str, packages: Mapping[str, Any]) -> None:
        """Add the canary in one patch, after everything that would make the rollout impossible was looked at."""
        self._refuse_early(service, revision, package)
        names = self._names(service)
        stable = model_of(service, self._where)
        # The definition wants both in a canary's model, though KServe would take them from the predictor.
        required = {"name": stable.get("name", _CONTAINER), "modelFormat": stable["modelFormat"]}
        predictor = {"name": revision, "minReplicas": 1, "model": {**required, "storageUri": package}}
        entry = {"trafficPercent": 0, "predictor": predictor}
        notes = {
            REVISIONS: {**names, revision: revision},
            PACKAGES: {**packages, revision: package},
            STARTS: start_of(service, revision),
        }
        self._service.patch(service, [add("/spec/canary", [entry]), *annotate(service, notes)])

    def _refuse_early(self, service: Object, revision: str, package: str) -> None:
        spec, where = service["spec"], self._where
        old = model_of(service, where).get("storageUri")
        if not self._names(service):
            what = "does not say how the running predictor is called"
            raise TargetError("OBS-KSERVE-014", what, where=where, todo=f"annotate it, for example {FIRST}: v1")
        if not _LABEL.fullmatch(revision) or len(self._backend(revision)) > _LONGEST:
            what = f"{revision} cannot be a predictor's name (a-z, then a-z, 0-9 and -; {_LONGEST} characters with the service's)"
            raise TargetError("OBS-KSERVE-020", what, where=where, todo="choose another revision name")
        reasons = {
            "a transformer calls the predictor's Service and so bypasses the split": "transformer" in spec,
            "an explainer calls the predictor's Service and so bypasses the split": "explainer" in spec,
            "KServe gives a canary no worker pods (workerSpec)": "workerSpec" in spec["predictor"],
            f"only a change of storageUri can be promoted, and {package} is what runs": old == package,
        }
        for why in (why for why, holds in reasons.items() if holds):
            raise TargetError("OBS-KSERVE-021", f"no canary is possible: {why}", where=where, todo="ship it in another way")
        canary = _canary(service)
        if len(spec.get("canary") or []) > 1 or (canary and canary["trafficPercent"]):
            what = f"another canary has traffic: {[one['predictor'].get('name') for one in spec['canary']]}"
            raise Conflict("OBS-KSERVE-018", what, where=where, todo="end that rollout first")
        split = compact(self._split(service))  # raises where nothing could ever be split
        if len(split) != 1:
            raise Conflict("OBS-KSERVE-018", f"traffic is split already: {split}", where=where, todo="end that rollout first")

    def _adopted(self, revision: str) -> bool:
        service = self._service.read()
        name = self._names(service).get(revision)
        if name is None or not self._ready(service, name)[0] or self._pods(name) == 0:
            return False
        if len(annotation(service, STARTS).get(revision) or []) == 1:
            self._service.patch(service, annotate(service, {STARTS: start_done(service, revision)}))
        return True

    def _make_room(self, service: Object, ours: str, percent: int) -> Object:
        """Give the canary pods for `percent` of the traffic before it gets the traffic; return the service as it is then."""
        need = _share_of(_least(service), percent)
        predictor = (_canary(service) or {})["predictor"]
        if int(predictor.get("minReplicas") or 0) < need:
            self._service.patch(service, [*_guard(service), add("/spec/canary/0/predictor/minReplicas", need)])
        name = str(predictor["name"])
        if not wait_until(lambda: (pods := self._pods(name)) is None or pods >= need, self._room_timeout, self._poll):
            what = f"{ours} has {self._pods(name)} of {need} pods that {percent} % needs; its traffic was left as it is"
            raise TargetError("OBS-KSERVE-022", what, where=self._where, todo="see why its pods do not start")
        return self._service.read()

    def _set(self, service: Object, percent: int) -> None:
        # Never more than the predictor's own: KServe refuses that, also when somebody lowers the predictor's in mid-rollout.
        pods = _share_of(_least(service), percent)
        self._service.patch(
            service, [*_guard(service), add("/spec/canary/0/predictor/minReplicas", pods), add("/spec/canary/0/trafficPercent", percent)]
        )

    def _doubt(self, service: Object, ours: str, percent: int, now: Mapping[str, int]) -> None:
        """The share was asked for before and is not routed: say so if KServe believes that it did its part."""
        name = self._names(service)[ours]
        for one in service.get("status", {}).get("canaryStatuses") or []:
            if one.get("name") == name and one.get("ready") and one.get("trafficPercent") == percent and now.get(ours, 0) != percent:
                what = f"the status says {percent} % for {ours}, but the HTTPRoute gives it {now.get(ours, 0)} %"
                todo = "see that KServe is newer than 0.20.0 and enableGatewayApi is on"
                raise TargetError("OBS-KSERVE-025", what, where=self._where, todo=todo)


def _stable_name(service: Object) -> str:
    return str(service["spec"]["predictor"].get("name") or "")


def _canary(service: Object) -> dict[str, Any] | None:
    found: list[dict[str, Any]] = service["spec"].get("canary") or []
    return found[0] if found else None


def _package(canary: Mapping[str, Any]) -> str | None:
    return (canary["predictor"].get("model") or {}).get("storageUri")


def _predictors(service: Object) -> dict[str, dict[str, Any]]:
    """Return the predictors by name, the stable one first."""
    canaries = {str(one["predictor"].get("name")): one["predictor"] for one in service["spec"].get("canary") or []}
    return {_stable_name(service): service["spec"]["predictor"], **canaries}


def _least(service: Object) -> int:
    """Return the pods that the service has at least; KServe's default is 1."""
    return max(1, int(service["spec"]["predictor"].get("minReplicas", 1)))


def _share_of(least: int, percent: int) -> int:
    return max(1, -(-least * percent // 100))


def _guard(service: Object) -> list[dict[str, Any]]:
    """The entry that a patch by index means must still be the one that was read."""
    canary = service["spec"]["canary"][0]
    return [{"op": "test", "path": "/spec/canary/0/predictor/name", "value": canary["predictor"]["name"]}]
