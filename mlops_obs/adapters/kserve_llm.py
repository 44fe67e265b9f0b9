"""A group of two LLMInferenceServices as a `TrafficTarget`: the weights of a group are proportional, and stand in two objects.

The trap is a split that needs two writes: between them, or when the second one fails, traffic is split as nobody asked. So one
write does it: the serving member's weight stays at 10,000, and the other one's alone sets every share from 0 to 99 %. Two writes
are left for the step to 100 % and back from there; they are ordered so that the canary never has more than before or after, and
never nobody has traffic, and a first write without its second is finished by asking again. The split is read from
the HTTPRoutes of both members, which must agree: a member that serves another model's name is dropped from a group in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlops_obs.adapters.kserve_refusals import not_all_on, refuse_a_changed_split, refuse_an_edited, refuse_another_package, wait_for_start
from mlops_obs.adapters.kubernetes.api import ApiConflict, KubernetesApi, Object, Resource
from mlops_obs.adapters.platform_object import (
    FIRST,
    PACKAGES,
    STARTS,
    PlatformObject,
    Settling,
    add,
    agreed,
    annotate,
    annotation,
    condition,
    decided_anew,
    drop,
    shares,
    start_done,
    start_of,
    started,
    text,
)
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack, Weights, compact

LLM_SERVICES = Resource("serving.kserve.io", "v1alpha2", "llminferenceservices", "LLMInferenceService")
STOP = "serving.kserve.io/stop"  # annotation by which KServe stops a member; it stays in the group at 0
_FULL = 10_000  # the serving member's weight: fine enough for each whole percent, and 99 % of it is within KServe's 1,000,000
_BACKENDS = ("-inference-pool", "-inference-pool-ip", "-kserve-workload-svc")  # of a member, in an HTTPRoute
_NEW: Object = {"metadata": {}}  # a member that has no notes yet
_WEIGHT = "/spec/router/route/weight"


class KServeLLMTarget:
    """Splits traffic between two LLMInferenceServices of one group; whichever has no traffic takes the next canary.

    Args:
        namespace: of both.
        stable: name of the one that serves before the first rollout.
        canary: name of the other one; created from the serving one if it is not there.
        group: name of the group, `spec.router.route.group` of both.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        api: client to use instead of one made from `kubeconfig`.
        ready_timeout: seconds that `deploy` waits for the canary to become ready.
        poll: seconds between two looks while it waits.
    """

    keeps_the_way_back = True
    least_watch_weight = 0

    def __init__(
        self,
        namespace: str,
        stable: str,
        canary: str,
        group: str,
        *,
        kubeconfig: Path | None = None,
        api: KubernetesApi | None = None,
        ready_timeout: float = 900.0,
        poll: float = 1.0,
    ) -> None:
        self._api = api or KubernetesApi(kubeconfig)
        self._members = {name: PlatformObject(self._api, LLM_SERVICES, namespace, name) for name in (stable, canary)}
        self._namespace, self._stable, self._group = namespace, stable, group
        self._where = f"group {namespace}/{group}"
        self._ready_timeout, self._poll = ready_timeout, poll
        self._settling = Settling()

    @staticmethod
    def limits() -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences."""
        return (
            "A group of LLMInferenceServices needs Gateway API and routes that KServe manages, and one model name in all members.",
            "A group of LLMInferenceServices has its weights in two objects: the step to 100 % and the one back take two writes.",
            "KServe drops a member of a group that is not ready: when the old one fails, the canary gets all the traffic.",
            "A group of LLMInferenceServices runs both models with all their GPUs until the rollout is finished.",
        )

    @decided_anew
    def deploy(self, revision: str, package: str) -> None:
        """Give the idle member the new model at weight 0 and wait until it is ready.

        Raises:
            Conflict: OBS-KSERVE-001 if `revision` runs another package, OBS-KSERVE-018 if both members have traffic.
            TargetError: OBS-KSERVE-002 if it does not become ready; -014, -026, -027 if it could not be split, with nothing changed.
        """
        seen = self._read()
        holder = next((name for name, one in seen.items() if _revision(one) == revision), "")
        if holder:
            refuse_another_package(revision, str(seen[holder]["spec"]["model"].get("uri")), package, self._where)
        if not holder or (text(seen[holder], STOP) == "true" and not _weight(seen[holder])):
            self._start(seen, revision, package)
        wait_for_start(
            revision,
            lambda: self._adopted(revision),
            lambda: self._why_not(revision),
            timeout=self._ready_timeout,
            poll=self._poll,
            where=self._where,
            todo="read its events",
        )

    def weights(self) -> Weights:
        """Return the split in the members' HTTPRoutes, if a gateway has accepted them; percents are rounded."""
        out = self._split(self._read())
        self._settling.shown(compact(out))
        return out

    @decided_anew
    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Set the members' weights if the split still is `expected`: one write, but for the step to 100 % and back."""
        seen = self._read()
        wanted, now = compact(weights), compact(self._split(seen))
        asked = _percents({_revision(one): float(_weight(one)) for one in seen.values()})
        if now == wanted and asked == wanted:
            return
        refuse_a_changed_split(now, wanted, expected, self._where)
        members = {_revision(one): name for name, one in seen.items()}
        if set(wanted) - set(members) or sum(wanted.values()) != 100:
            what = f"cannot route {wanted}: the group has {', '.join(sorted(members))}"
            raise TargetError("OBS-KSERVE-007", what, where=self._where, todo="deploy first")
        for revision in wanted:
            if now.get(revision, 0) < wanted[revision] < 100:  # all the traffic may be the way back, which nothing must stop
                _refuse_an_edited(seen[members[revision]], self._where)
        goal = self._goal({members[revision]: percent for revision, percent in wanted.items()}, seen)
        for name in sorted(goal, key=lambda one: goal[one] == 0):  # raise first: nobody's weight may be 0 at the same time
            if goal[name] != _weight(seen[name]):
                test = {"op": "test", "path": _WEIGHT, "value": _weight(seen[name])}
                self._members[name].patch(seen[name], [test, add(_WEIGHT, goal[name])])
        self._settling.asked(wanted)

    def way_back(self, revision: str) -> WayBack:
        """Tell whether the member that serves `revision` is ready to take all traffic."""
        seen = self._read()
        one = next((one for one in seen.values() if _revision(one) == revision), None)
        if one is None:
            return WayBack(False, f"no member of the group serves {revision}")
        if text(one, STOP) == "true":
            took = started(one, revision)
            cold = f"; its start took {took:g} s the last time" if took is not None else ""
            return WayBack(False, f"{revision} is stopped and would have to be deployed anew{cold}")
        status, why = condition(one, "Ready")
        if status != "True":
            return WayBack(False, f"{revision} is not ready: {why or 'KServe has not said so yet'}")
        if compact(self._split(seen)) == {revision: 100}:
            return WayBack(True, f"{revision} has all the traffic", 0.0)
        return WayBack(True, f"{revision} is ready", self._settling.seconds)

    @decided_anew
    def finish(self, revision: str) -> None:
        """Stop the member that has no traffic any more, which frees its GPUs. Raises Conflict OBS-KSERVE-004 if it still has some."""
        seen = self._read()
        now = compact(self._split(seen))
        if now != {revision: 100}:
            raise not_all_on(revision, now, self._where)
        for one in seen.values():
            if _revision(one) == revision:
                _refuse_an_edited(one, self._where)
        for name, one in seen.items():
            if _revision(one) != revision and text(one, STOP) != "true":
                self._members[name].patch(one, annotate(one, {STOP: "true"}))

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self) -> dict[str, Object]:
        """Return the members that are there, by name."""
        out = {}
        for name, member in self._members.items():
            found, _ = member.neighbour(LLM_SERVICES, name)
            if found is not None:
                out[name] = found
        if not out:
            raise TargetError("OBS-KSERVE-026", "neither member of the group is there", where=self._where, todo="check the names")
        return out

    def _split(self, seen: Mapping[str, Object]) -> dict[str, int]:
        """Return the percent by revision on which the routes of all members agree."""
        split, splits = agreed(lambda: self._splits(seen))
        if split is None:
            what = f"the members' routes do not agree: {splits}" if splits else "no route splits the group's traffic"
            raise TargetError("OBS-KSERVE-024", what, where=self._where, todo="wait for KServe; see condition GroupDegraded")
        return {**dict.fromkeys((_revision(one) for one in seen.values()), 0), **split}

    def _splits(self, seen: Mapping[str, Object]) -> list[dict[str, int]]:
        """Return the percent by revision of each route."""
        backends = {name + ending: _revision(one) for name, one in seen.items() for ending in _BACKENDS}
        splits: list[dict[str, int]] = []
        for name, one in seen.items():
            route, why = self._members[name].route(f"{name}-kserve-route")
            if route is None:
                if _weight(one) and text(one, STOP) != "true":
                    raise TargetError("OBS-KSERVE-019", f"{name} has no HTTPRoute", where=self._where, todo="let KServe manage its route")
                continue
            if why:
                raise TargetError("OBS-KSERVE-023", f"the route of {name}: {why}", where=self._where, todo="see the gateway's status")
            own = f"/{self._namespace}/{name}"  # by this path one reaches the member itself, whatever the group does
            for rule in (route.get("spec") or {}).get("rules") or []:
                paths = [str((match.get("path") or {}).get("value", "")) for match in rule.get("matches") or []]
                if rule.get("backendRefs") and not any(path == own or path.startswith(own + "/") for path in paths):
                    found = shares(rule["backendRefs"])
                    splits.append(_percents({backends.get(backend, backend): share for backend, share in found.items()}))
        return splits

    def _why_not(self, revision: str) -> str:
        return next((condition(one, "Ready")[1] for one in self._read().values() if _revision(one) == revision), "")

    # --- writing ------------------------------------------------------------------------------------------------

    def _start(self, seen: Mapping[str, Object], revision: str, package: str) -> None:
        """Put the new model into the member without traffic, or create that member."""
        split = compact(self._split(seen))
        serving = next((name for name, one in seen.items() if split == {_revision(one): 100}), "")
        if not serving:
            raise Conflict("OBS-KSERVE-018", f"traffic is split already: {split}", where=self._where, todo="end that rollout first")
        self._refuse_early(seen[serving])
        if _weight(seen[serving]) != _FULL:  # the other one has no weight now: this changes nobody's share
            self._members[serving].patch(seen[serving], [add(_WEIGHT, _FULL)])
        idle = next(name for name in self._members if name != serving)
        notes: dict[str, Mapping[str, Any] | str] = {FIRST: revision, PACKAGES: {revision: package}, STARTS: start_of(_NEW, revision)}
        if idle not in seen:
            self._create(idle, seen[serving], package, notes)
            return
        old = seen[idle]
        stopped = [drop(STOP)] if text(old, STOP) else []
        route = {**((old["spec"].get("router") or {}).get("route") or {}), "group": self._group, "weight": 0}
        changes = [add("/spec/router/route", route), add("/spec/model/uri", package), *stopped, *annotate(old, notes)]
        self._members[idle].patch(old, changes)

    def _create(self, name: str, serving: Object, package: str, notes: Mapping[str, Mapping[str, Any] | str]) -> None:
        spec = {**serving["spec"], "model": {**serving["spec"]["model"], "uri": package}}
        spec["router"] = {**spec["router"], "route": {**spec["router"]["route"], "weight": 0}}
        annotations = {key: value if isinstance(value, str) else json.dumps(dict(value), sort_keys=True) for key, value in notes.items()}
        metadata = {"name": name, "annotations": annotations, "labels": dict(serving["metadata"].get("labels") or {})}
        body = {"apiVersion": LLM_SERVICES.api_version, "kind": LLM_SERVICES.kind, "metadata": metadata, "spec": spec}
        try:
            self._api.create(LLM_SERVICES, self._namespace, body)
        except ApiConflict as error:
            if not error.already_exists:
                raise

    def _refuse_early(self, serving: Object) -> None:
        route = (serving["spec"].get("router") or {}).get("route") or {}
        if not _revision(serving):
            what = "does not say how the running revision is called"
            raise TargetError("OBS-KSERVE-014", what, where=self._where, todo=f"annotate {self._stable}, for example {FIRST}: v1")
        if route.get("group") != self._group:
            what = f"{serving['metadata']['name']} is in group {route.get('group')}, not in {self._group}"
            raise TargetError("OBS-KSERVE-027", what, where=self._where, todo="set spec.router.route.group and weight")
        if (route.get("http") or {}).get("refs"):
            what = "a member brings its own HTTPRoute (router.route.http.refs), which KServe does not split"
            raise TargetError("OBS-KSERVE-027", what, where=self._where, todo="let KServe manage the route")
        if not serving["spec"]["model"].get("name"):
            what = "the model has no name, so that another uri would be another model and leave the group"
            raise TargetError("OBS-KSERVE-027", what, where=self._where, todo="set spec.model.name")

    def _adopted(self, revision: str) -> bool:
        for name, one in self._read().items():
            if _revision(one) != revision:
                continue
            behind = int((one.get("status") or {}).get("observedGeneration") or 0) < one["metadata"]["generation"]
            if behind or condition(one, "Ready")[0] != "True" or condition(one, "GroupDegraded")[0] == "True":
                return False
            if len(annotation(one, STARTS).get(revision) or []) == 1:
                self._members[name].patch(one, annotate(one, {STARTS: start_done(one, revision)}))
            return True
        return False

    def _goal(self, percents: Mapping[str, int], seen: Mapping[str, Object]) -> dict[str, int]:
        """Return the weight of each member; the one that has most traffic now keeps its own where that is possible."""
        goal = dict.fromkeys(seen, 0)
        if 100 in percents.values():
            chosen = next(name for name, percent in percents.items() if percent == 100)
            goal[chosen] = _weight(seen[chosen]) or _FULL
            return goal
        base = next((name for name, one in seen.items() if _weight(one) == _FULL), next(iter(percents)))
        for name, percent in percents.items():
            goal[name] = _FULL if name == base else round(_FULL * percent / (100 - percent))
        return goal


def _revision(member: Object) -> str:
    return text(member, FIRST)


def _refuse_an_edited(member: Object, where: str) -> None:
    refuse_an_edited(member, _revision(member), member["spec"]["model"].get("uri"), where)


def _weight(member: Object) -> int:
    return int(((member["spec"].get("router") or {}).get("route") or {}).get("weight") or 0)


def _percents(weights: Mapping[str, float]) -> dict[str, int]:
    """Return whole percents of revisions that have some."""
    total = sum(weights.values())
    return {revision: share for revision, weight in weights.items() if total and (share := round(100 * weight / total))}
