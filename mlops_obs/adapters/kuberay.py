"""A KubeRay RayService as a `TrafficTarget`: an incremental upgrade that is led by the hand, one stride at a time.

KubeRay (1.7, NewClusterWithIncrementalUpgrade) moves `stepSizePercent` of the traffic to the new cluster every
`intervalSeconds` until it has all, looks at no metric and knows no pause. The traps, and what is done about each. A canary that
must wait for evidence is held by an interval of a year; one stride is let through by lowering the interval to the time that has
passed since the last one, and the year is put back when the stride is seen: a controller that dies in between has that much
time to come back, and the first look of the next one shuts the gate. A changed `serveConfigV2` alone is applied in place, to
everybody: so the cluster's template is marked with the revision, in the same write. During a rollback the old cluster takes config
again, so `serveConfigV2` is put back together with the mark, and the pace with both, or the bad model would be pushed onto the
good cluster. Traffic can only go up, or all the way back. (ray-operator/controllers/ray/rayservice_controller.go)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops_obs.adapters.kubernetes.api import KubernetesApi, Object, Resource
from mlops_obs.adapters.platform_object import (
    FIRST,
    HTTP_ROUTES,
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
    drop,
    shares,
    start_done,
    start_of,
    started,
    text,
    wait_until,
)
from mlops_obs.adapters.serve_config import package_of, renamed
from mlops_obs.errors import Conflict, TargetError
from mlops_obs.rollout.ports import WayBack, Weights, compact

RAY_SERVICES = Resource("ray.io", "v1", "rayservices", "RayService")
INCREMENTAL = "NewClusterWithIncrementalUpgrade"
BACK = "mlops-obs.dev/way-back"  # annotation: what the spec has to be put back to, and the pace that people had set
GATE = "mlops-obs.dev/gate"  # annotation: {"weight": percent} while one stride may pass
HOLD = 31_536_000  # seconds, a year: KubeRay has no pause
_REQUEUE = 2.0  # seconds between two passes of KubeRay (ServiceDefaultRequeueDuration)
_OPTIONS = "/spec/upgradeStrategy/clusterUpgradeOptions"
_HEAD = "/spec/rayClusterConfig/headGroupSpec/template/metadata"
_SUFFIX = "-serve-svc"


@dataclass(frozen=True, slots=True)
class _View:
    """One look at a RayService: clusters by role, our names for them, and the split of its HTTPRoute."""

    seen: Object
    active: str
    pending: str
    stable: str
    canary: str
    split: dict[str, int]
    rolling_back: bool

    @property
    def gate(self) -> int | None:
        """Percent of the canary at which the gate must be shut, None if it is."""
        return annotation(self.seen, GATE).get("weight")

    def status(self, role: str) -> Mapping[str, Any]:  # active or pending
        """Return the status of a cluster."""
        return (self.seen.get("status") or {}).get(f"{role}ServiceStatus") or {}


class KubeRayTarget:
    """Splits a RayService's traffic between its active cluster and the one of an incremental upgrade.

    Args:
        namespace: of the RayService.
        name: of the RayService.
        kubeconfig: file with the cluster's address and credentials; without it, the pod's own account.
        api: client to use instead of one made from `kubeconfig`.
        ready_timeout: seconds that `deploy` waits for the new cluster.
        poll: seconds between two looks while it waits.
        settle: seconds that `set_weights` waits for its stride, to shut the gate behind it.
        gap: seconds that must have passed since the last stride: so long a controller may be away while the gate is open.
        clock: Unix seconds.
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
        ready_timeout: float = 900.0,
        poll: float = 1.0,
        settle: float = 5.0,
        gap: float = 120.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._service = PlatformObject(api or KubernetesApi(kubeconfig), RAY_SERVICES, namespace, name)
        self._where, self._name = self._service.where, name
        self._ready_timeout, self._poll, self._settle, self._gap, self._clock = ready_timeout, poll, settle, gap, clock
        self._settling = Settling()

    @staticmethod
    def limits() -> tuple[str, ...]:
        """Return what this platform cannot do, in sentences."""
        return (
            "KubeRay's traffic can only go up, or all the way back to 0 %; a smaller share in between is refused.",
            "KubeRay promotes by itself at 100 % and deletes the old cluster: keep watch_weight at 1 or more for a way back.",
            "KubeRay has no pause: a share is held by an intervalSeconds of a year, and two steps are at least 2 min apart.",
            "KubeRay takes another stride by itself if no controller looks for 2 min just after a step.",
            "KubeRay needs maxSurgePercent 100: with less the old cluster loses capacity during the upgrade, and a rollback must wait.",
            "KubeRay ships a whole cluster: both run with all their resources until the rollout is over.",
        )

    @decided_anew
    def deploy(self, revision: str, package: str) -> None:
        """Start an upgrade that is held at 0 %, and wait until the new cluster serves.

        Raises:
            Conflict: OBS-KUBERAY-001 if `revision` runs another package, -002 if another upgrade is under way.
            TargetError: OBS-KUBERAY-003 if it does not become ready, -004 if it could not be split, with nothing changed.
        """
        view = self._look()
        asked = self._mark(view.seen) or view.stable  # whose package the spec has now
        packages = {**annotation(view.seen, PACKAGES), asked: package_of(view.seen["spec"].get("serveConfigV2") or "")}
        if revision in (asked, view.stable) and packages.get(revision, package) != package:
            what = f"{revision} already runs {packages[revision]}"
            raise Conflict("OBS-KUBERAY-001", what, where=self._where, todo="name the new package another revision")
        if revision == view.stable:
            return
        if revision != asked:
            self._start(view, revision, package)
        if not wait_until(lambda: self._adopted(revision), self._ready_timeout, self._poll):
            why = condition(self._service.read(), "Ready")[1] or f"not ready within {self._ready_timeout:g} s"
            raise TargetError("OBS-KUBERAY-003", f"{revision} did not start: {why}", where=self._where, todo="read the RayService's events")

    def weights(self) -> Weights:
        """Return the split of the HTTPRoute. Shuts a gate that a controller left open, and gives people back the pace they had set."""
        view = self._look()
        self._settling.shown(compact(view.split))
        self._tidy(view)
        return view.split

    @decided_anew
    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """Let one stride up pass, or put everything back; KubeRay moves the traffic at its next pass.

        Raises:
            Conflict: OBS-KUBERAY-005 if the split is neither.
            TargetError: OBS-KUBERAY-006 for weights that KubeRay cannot hold, -007 if the last stride is too fresh.
        """
        view = self._look()
        wanted, now = compact(weights), compact(view.split)
        share, has = wanted.get(view.canary, 0), now.get(view.canary, 0)
        back = wanted == {view.stable: 100}
        if now == wanted and (not view.pending or view.gate in (None, share)):
            return self._tidy(view)
        if now not in (wanted, compact(expected)) and not (back and view.rolling_back):
            raise Conflict("OBS-KUBERAY-005", f"the split is {now}, not {dict(expected)}", where=self._where, todo="read again")
        if back and now != {view.canary: 100}:
            if not view.rolling_back:
                self._revert(view)
            return self._settling.asked(wanted)
        self._refuse_what_cannot_be_held(view, wanted, share, has)
        if view.gate != share:
            self._open(view, share, has)
        self._settling.asked(wanted)
        wait_until(self._shut, self._settle, self._poll)
        return None

    def way_back(self, revision: str) -> WayBack:
        """Tell whether `revision` still runs with all its capacity."""
        view = self._look()
        role = "active" if revision == view.stable else "pending" if revision == view.canary else ""
        if not role:
            took = started(view.seen, revision)
            cold = f"; its start took {took:g} s the last time" if took is not None else ""
            return WayBack(False, f"KubeRay has no cluster of {revision} any more: it would have to be deployed anew{cold}")
        status = view.status(role)
        apps = status.get("applicationStatuses") or {}
        ill = [f"{app} is {one.get('status')}" for app, one in apps.items() if one.get("status") != "RUNNING"]
        if ill or not apps:
            return WayBack(False, f"{revision} does not serve: {', '.join(ill) or 'no application is known'}")
        capacity = int(status.get("targetCapacity", 100))
        if compact(view.split) == {revision: 100} and capacity == 100:
            return WayBack(True, f"{revision} has all the traffic", 0.0)
        if compact(view.split) == {view.canary: 100}:
            return WayBack(False, f"KubeRay is promoting {view.canary}, and deletes the cluster of {revision}")
        if role == "active" and capacity < 100:
            return WayBack(False, f"KubeRay has taken {100 - capacity} % of the capacity of {revision}")
        return WayBack(True, f"{revision} runs with all its capacity", self._settling.seconds or 2 * _REQUEUE + 1)

    @decided_anew
    def finish(self, revision: str) -> None:
        """See that KubeRay has promoted `revision`, and give people back the pace they had set.

        Raises:
            Conflict: OBS-KUBERAY-005 if it has not all the traffic.
            TargetError: OBS-KUBERAY-008 if KubeRay has not promoted it yet.
        """
        view = self._look()
        if compact(view.split) != {revision: 100}:
            what = f"the split is {compact(view.split)}, not all on {revision}"
            raise Conflict("OBS-KUBERAY-005", what, where=self._where, todo="read again")
        if view.pending or view.stable != revision:
            what = f"KubeRay is still taking down the cluster before {revision}"
            raise TargetError("OBS-KUBERAY-008", what, where=self._where, todo="wait for KubeRay")
        self._tidy(view)

    # --- reading ------------------------------------------------------------------------------------------------

    def _look(self) -> _View:
        seen = self._service.read()
        status = seen.get("status") or {}
        active = str((status.get("activeServiceStatus") or {}).get("rayClusterName") or "")
        pending = str((status.get("pendingServiceStatus") or {}).get("rayClusterName") or "")
        if not active:
            raise TargetError("OBS-KUBERAY-009", "it has no active cluster", where=self._where, todo="wait until KubeRay has started it")
        names = {cluster: revision for revision, cluster in annotation(seen, REVISIONS).items()}
        stable = names.get(active) or (text(seen, FIRST) if not names else "") or active
        canary = names.get(pending, pending)
        backends = {active + _SUFFIX: stable, pending + _SUFFIX: canary}
        route, why = self._service.route(f"{self._name}-httproute")
        if route is None:
            if pending:
                raise TargetError("OBS-KUBERAY-010", "no HTTPRoute splits its traffic", where=self._where, todo="see the gateway's status")
            split = {stable: 100}
        else:
            rules = (route.get("spec") or {}).get("rules") or [{}]
            split = {backends.get(backend, backend): round(share) for backend, share in shares(rules[0].get("backendRefs") or []).items()}
            if why or sum(split.values()) != 100:
                what = f"httproute {self._name}-httproute: {why or f'tells no split ({split})'}"
                raise TargetError("OBS-KUBERAY-010", what, where=self._where, todo="see the gateway's status")
        # The status may be older than the spec: where the spec is the old one again, the upgrade is on its way back.
        back = condition(seen, "RollbackInProgress")[0] == "True" or (bool(pending) and (self._mark(seen) or stable) == stable)
        return _View(seen, active, pending, stable, canary, split, back)

    @staticmethod
    def _mark(seen: Object) -> str:
        head = seen["spec"]["rayClusterConfig"]["headGroupSpec"]["template"].get("metadata") or {}
        return str((head.get("annotations") or {}).get(FIRST, ""))

    def _adopted(self, revision: str) -> bool:
        """Note which cluster carries `revision`, once all its applications run and it has its capacity."""
        seen = self._service.read()
        status = (seen.get("status") or {}).get("pendingServiceStatus") or {}
        apps = status.get("applicationStatuses") or {}
        ready = apps and all(one.get("status") == "RUNNING" for one in apps.values()) and status.get("targetCapacity") == 100
        if not status.get("rayClusterName") or not ready or status.get("trafficRoutedPercent") is None:
            return False
        names = annotation(seen, REVISIONS)
        if names.get(revision) != status["rayClusterName"]:
            notes = {REVISIONS: {**names, revision: status["rayClusterName"]}, STARTS: start_done(seen, revision)}
            self._service.patch(seen, annotate(seen, notes))
        return True

    # --- writing ------------------------------------------------------------------------------------------------

    def _start(self, view: _View, revision: str, package: str) -> None:
        """Change the application, mark the cluster, and hold the traffic, in one patch; keep what a way back needs."""
        self._refuse_early(view)
        seen, old = view.seen, str(view.seen["spec"].get("serveConfigV2") or "")
        head = seen["spec"]["rayClusterConfig"]["headGroupSpec"]["template"].get("metadata") or {}
        marked = {**head, "annotations": {**(head.get("annotations") or {}), FIRST: revision}}
        options = annotation(seen, BACK).get("options") or seen["spec"]["upgradeStrategy"]["clusterUpgradeOptions"]
        notes = {
            REVISIONS: {**annotation(seen, REVISIONS), view.stable: view.active},
            PACKAGES: {**annotation(seen, PACKAGES), view.stable: package_of(old), revision: package},
            STARTS: start_of(seen, revision),
            BACK: {"revision": view.stable, "serveConfigV2": old, "metadata": head, "options": options},
        }
        self._service.patch(
            seen,
            [
                {"op": "test", "path": "/spec/serveConfigV2", "value": old},
                add("/spec/serveConfigV2", renamed(old, view.stable, revision, package)),
                add(_HEAD, marked),
                add(f"{_OPTIONS}/intervalSeconds", HOLD),
                *annotate(seen, notes),
            ],
        )

    def _refuse_early(self, view: _View) -> None:
        if view.rolling_back:
            what = f"KubeRay is still rolling back {view.canary}"
            raise TargetError("OBS-KUBERAY-004", what, where=self._where, todo="try again when it is done")
        if view.pending:
            what = f"an upgrade to {view.canary or 'another cluster'} is under way"
            raise Conflict("OBS-KUBERAY-002", what, where=self._where, todo="let it end, or roll it back")
        spec = view.seen["spec"]
        strategy = spec.get("upgradeStrategy") or {}
        options = strategy.get("clusterUpgradeOptions") or {}
        route, _ = self._service.neighbour(HTTP_ROUTES, f"{self._name}-httproute")
        reasons = {
            f"upgradeStrategy.type is {strategy.get('type') or 'NewCluster'}, which moves all traffic at once: {INCREMENTAL} splits it": (
                strategy.get("type") != INCREMENTAL or not options
            ),
            f"maxSurgePercent is {options.get('maxSurgePercent')}: below 100 the old cluster loses the capacity that a rollback needs": (
                int(options.get("maxSurgePercent", 100)) < 100
            ),
            "enableInTreeAutoscaling is off, and KubeRay then does no incremental upgrade": (
                not spec["rayClusterConfig"].get("enableInTreeAutoscaling")
            ),
            "it has no HTTPRoute: no Gateway API, or KubeRay's gate RayServiceIncrementalUpgrade is off": route is None,
            "it is suspended": bool(spec.get("suspend")),
            "serveConfigV2 names no `package` in the args of an application": package_of(spec.get("serveConfigV2") or "") is None,
            f"does not say how the running revision is called (annotation {FIRST})": view.stable == view.active,
        }
        for why in (why for why, holds in reasons.items() if holds):
            raise TargetError("OBS-KUBERAY-004", f"no canary is possible: {why}", where=self._where, todo="change the RayService")

    def _refuse_what_cannot_be_held(self, view: _View, wanted: Mapping[str, int], share: int, has: int) -> None:
        why = ""
        if set(wanted) - {view.stable, view.canary} or sum(wanted.values()) != 100 or not view.pending:
            why = f"KubeRay splits between {view.stable} and {view.canary or 'nothing'}"
        elif view.rolling_back:
            why = "KubeRay is rolling back"
        elif has == 100:
            why = f"KubeRay is promoting {view.canary}, and deletes the cluster of {view.stable}"
        elif share < has:
            why = f"KubeRay's traffic goes up, or all the way back; {view.canary} has {has} %"
        elif package_of(view.seen["spec"].get("serveConfigV2") or "") != annotation(view.seen, PACKAGES).get(view.canary):
            why = f"serveConfigV2 was edited: it names another package than the one of {view.canary}"
        if why:
            raise TargetError("OBS-KUBERAY-006", f"cannot route {dict(wanted)}: {why}", where=self._where, todo="go up, or back to 0 %")

    def _open(self, view: _View, share: int, has: int) -> None:
        """Let one stride of the right size pass."""
        passed = self._clock() - _unix(view.status("pending").get("lastTrafficMigratedTime"))
        if passed < self._gap:
            what = f"KubeRay moved traffic {max(0.0, passed):.0f} s ago; the next stride needs {self._gap:g} s"
            raise TargetError("OBS-KUBERAY-007", what, where=self._where, todo="try again then")
        self._service.patch(
            view.seen,
            [
                add(f"{_OPTIONS}/stepSizePercent", share - has),
                add(f"{_OPTIONS}/intervalSeconds", min(HOLD, int(passed))),
                *annotate(view.seen, {GATE: {"weight": share}}),
            ],
        )

    def _shut(self) -> bool:
        try:
            view = self._look()
        except TargetError:  # the route is just being changed
            return False
        self._settling.shown(compact(view.split))
        if view.gate is not None and view.split.get(view.canary, 0) >= view.gate:
            self._tidy(view)
            return True
        return view.gate is None

    def _tidy(self, view: _View) -> None:
        """Shut a gate whose stride has passed; after the upgrade, or its rollback, put back the pace that people had set."""
        gate, back = view.gate, annotation(view.seen, BACK)
        ended = not view.pending and not view.rolling_back
        operations: list[dict[str, Any]] = []
        if gate is not None and (ended or view.split.get(view.canary, 0) >= gate):
            operations = [add(f"{_OPTIONS}/intervalSeconds", HOLD), drop(GATE)]
        if ended and back and (view.stable == self._mark(view.seen) or view.seen["spec"].get("serveConfigV2") == back["serveConfigV2"]):
            operations = [*([drop(GATE)] if gate is not None else []), add(_OPTIONS, back["options"]), drop(BACK)]
        if operations:
            try:
                self._service.patch(view.seen, operations)
            except Conflict:
                return  # somebody was first; the next look sees what is left to do

    def _revert(self, view: _View) -> None:
        """Put back the application, the mark and a quick pace, all in one patch: half of it would harm the good cluster."""
        back = annotation(view.seen, BACK)
        if not back or back.get("revision") != view.stable:
            what = f"what {view.stable} was made of is not noted"
            raise TargetError("OBS-KUBERAY-011", what, where=self._where, todo="put the old spec back by hand, serveConfigV2 included")
        options = {**view.seen["spec"]["upgradeStrategy"]["clusterUpgradeOptions"], "stepSizePercent": 100, "intervalSeconds": 1}
        head = add(_HEAD, back["metadata"]) if back["metadata"] else {"op": "remove", "path": _HEAD}
        shut = [drop(GATE)] if view.gate is not None else []
        self._service.patch(view.seen, [add("/spec/serveConfigV2", back["serveConfigV2"]), head, add(_OPTIONS, options), *shut])


def _unix(at: str | None) -> float:
    """Return Unix seconds of a time as Kubernetes writes it; none is long ago."""
    return datetime.fromisoformat(at).timestamp() if at else 0.0
