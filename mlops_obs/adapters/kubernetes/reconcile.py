"""One look at one Rollout object: what a change of the object, a deletion or the passing of time asks for.

All judging and acting is the `Controller`'s; here is only what an object in a cluster has beyond it: a spec that may be
wrong or change under way, a finalizer, conditions, and a leadership that may end at any moment.

The trap of a finalizer: an object that can never be deleted. It is let go as soon as the canary has no traffic, or the
target says that it is itself gone; otherwise it stays, for the traffic must not be left on a canary that nobody watches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_obs.adapters.kubernetes.api import ApiError, KubernetesApi, Object
from mlops_obs.adapters.kubernetes.controller_side import identity, new_state
from mlops_obs.adapters.kubernetes.events import Event, EventSink
from mlops_obs.adapters.kubernetes.informer import Key
from mlops_obs.adapters.kubernetes.resources import FINALIZER, RETRY, ROLLOUTS, open_requests
from mlops_obs.adapters.kubernetes.status import condition, set_condition
from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
from mlops_obs.errors import ObsError, SpecError, StateError, TargetError
from mlops_obs.rollout.controller import Controller
from mlops_obs.rollout.log.records import make_record
from mlops_obs.rollout.machine.retreat import guarded
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.ports import Finishes, TrafficTarget, WayBack, Weights
from mlops_obs.rollout.spec.document import parse_document
from mlops_obs.rollout.spec.rollout import Rollout

ACCEPTED = "SpecAccepted"
_CALM = 10  # times the interval between two looks after a promotion, when nothing of ours can do harm any more
MakeTarget = Callable[[Rollout], TrafficTarget]
MakeController = Callable[[str, KubernetesRolloutStore, TrafficTarget, Rollout], Controller]


class GuardedTarget:
    """A target that is only written to while we lead, and that notes when the platform says it is gone."""

    def __init__(self, target: TrafficTarget, leads: Callable[[], bool]) -> None:
        self._target, self._leads = target, leads
        self.gone = False

    def deploy(self, revision: str, package: str) -> None:
        """See `TrafficTarget.deploy`."""
        self._only_as_leader()
        self._target.deploy(revision, package)

    def weights(self) -> Weights:
        """See `TrafficTarget.weights`."""
        try:
            found = self._target.weights()
        except Exception as error:
            self.gone = _says_gone(error)
            raise
        self.gone = False
        return found

    def set_weights(self, weights: Weights, expected: Weights) -> None:
        """See `TrafficTarget.set_weights`."""
        self._only_as_leader()
        self._target.set_weights(weights, expected)

    def way_back(self, revision: str) -> WayBack:
        """See `TrafficTarget.way_back`."""
        return self._target.way_back(revision)

    def _only_as_leader(self) -> None:
        if not self._leads():
            raise TargetError("OBS-KUBE-013", "this operator leads no longer", todo="the one that leads goes on")


class FinishingTarget(GuardedTarget):
    """The same for a target that ends a rollout with an act of its own."""

    def __init__(self, target: TrafficTarget, leads: Callable[[], bool]) -> None:
        super().__init__(target, leads)
        self._finishes = target

    def finish(self, revision: str) -> None:
        """See `Finishes.finish`."""
        self._only_as_leader()
        assert isinstance(self._finishes, Finishes)  # noqa: S101 - `behind_guard` looked
        self._finishes.finish(revision)


def behind_guard(target: TrafficTarget, leads: Callable[[], bool]) -> GuardedTarget:
    """Return `target` behind a guard that offers what it offers."""
    return FinishingTarget(target, leads) if isinstance(target, Finishes) else GuardedTarget(target, leads)


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look: when to look again in seconds (None: when the object changes), and whether a deploy comes next."""

    again: float | None
    state: RolloutState | None = None
    deploying: bool = False


@dataclass(slots=True)
class _Running:
    uid: str
    rollout: str
    controller: Controller
    target: GuardedTarget


class Reconciler:
    """Looks at Rollout objects; never at the same one from two threads at once (the queue sees to that).

    Args:
        stores: the store of a namespace.
        token: the fencing token while we lead, else None.
        make_target: a new target for a spec; called once per rollout.
        make_controller: a Controller for (name, store, guarded target, spec).
        interval: seconds between two looks at a running rollout.
        foreign: let a Rollout move the traffic of targets in other namespaces than its own.
        ray_serve: the only targets on Ray Serve that are taken, each as (import path, address of the cluster): the operator imports the
            one and unpickles what the other sends, so that whoever may write a Rollout must not choose them.
    """

    def __init__(
        self,
        api: KubernetesApi,
        stores: Callable[[str], KubernetesRolloutStore],
        events: EventSink,
        *,
        token: Callable[[], int | None],
        make_target: MakeTarget,
        make_controller: MakeController,
        clock: Callable[[], float],
        interval: float = 1.0,
        foreign: bool = False,
        ray_serve: Collection[tuple[str, str]] = (),
    ) -> None:
        self._ray_serve = frozenset(ray_serve)
        self._api, self._stores, self._events = api, stores, events
        self._token, self._make_target, self._make_controller = token, make_target, make_controller
        self._clock, self._interval, self._foreign = clock, interval, foreign
        self._running: dict[Key, _Running] = {}
        self._ignored: dict[Key, list[str]] = {}  # requests that cannot be read, as they were last told of

    def reset(self) -> None:
        """Forget what was learnt while leading before: others have led since."""
        self._running = {}

    def forget(self, key: Key) -> None:
        """Drop what is kept for an object that is gone."""
        self._running.pop(key, None)
        self._ignored.pop(key, None)
        self._stores(key[0]).forget(key[1])

    def look(self, key: Key, *, may_deploy: bool = True) -> Looked:
        """Look at one object and do at most one thing; without `may_deploy`, only tell if a deploy comes next.

        Raises ObsError if the API server does not answer, the spec is wrong or another operator has taken over.
        """
        token = self._token()
        if token is None:
            return Looked(None)
        namespace, name = key
        store = self._stores(namespace)
        store.lease("", self._clock(), 0.0)
        obj = store.read(name)
        if obj is None:
            self.forget(key)
            return Looked(None)
        stored = store.load(name)
        state = stored.state if stored else None
        # Asked of the rollout that is over, e.g. to roll it back: answered before the next one begins, which would not know of it.
        asked = stored is not None and stored.state.over and bool(stored.requests)
        self._tell_of_nonsense(key, obj)
        deleting = bool(obj["metadata"].get("deletionTimestamp"))
        if deleting:
            if FINALIZER not in (obj["metadata"].get("finalizers") or []):
                return Looked(None)
            if state is None or (self._given_back(state) and not (stored and stored.requests)):
                return self._let_go(key, obj, state.reason if state else "no rollout has begun")
        else:
            obj = self._hold_on(store, obj)
            state = state if asked else self._follow_spec(key, store, obj, state, token)
        if state is None:
            return Looked(None)
        running = self._controller(key, obj, store, state)
        if not may_deploy and not state.deployed and not state.over and state.goal == "forward":
            return Looked(0.0, state, deploying=True)
        state = running.controller.step()
        store.tidy(name)
        if deleting and running.target.gone:
            return self._let_go(key, obj, "its target is gone")
        if state is None:
            return Looked(None)
        if self._done(state):
            return Looked(0.0 if deleting or asked or (self._wants_another(obj, state) and not _refused(obj)) else None, state)
        return Looked(self._interval * (_CALM if state.phase == "Promoted" else 1), state)

    # --- the spec ---------------------------------------------------------------------------------------------

    def _follow_spec(
        self, key: Key, store: KubernetesRolloutStore, obj: Object, state: RolloutState | None, token: int
    ) -> RolloutState | None:
        """Begin the rollout that the object asks for if none runs; say so in a condition if it cannot be done."""
        generation = int(obj["metadata"].get("generation") or 0)
        status = obj.get("status") or {}
        retry = next((one for one in open_requests(obj)[0] if one.kind == RETRY), None)
        seen = int(status.get("observedGeneration") or 0) == generation
        failed = state is not None and state.phase in ("RolledBack", "Aborted")
        begins = state is None or (state.over and ((failed and retry is not None) or self._wants_another(obj, state)))
        if seen and not begins:
            return state
        if begins and (retry is None or not failed) and _refused(obj):
            return state
        try:
            spec = self._parse(obj)
        except ObsError as error:
            self._accept(key, store, obj, accepted=False, reason="Refused", message=str(error))
            return state
        if not begins:
            assert state is not None  # noqa: S101 - `begins` says so
            third = identity(spec.model_dump()) != identity(state.spec.model_dump())
            same = spec == state.spec
            words = (
                f"{state.spec.canary} is taken back first, then {spec.canary} begins"
                if third and not state.over
                else "as it runs"
                if same
                else f"{state.spec.canary} runs with the settings it began with; the change is for the next rollout"
            )
            self._accept(key, store, obj, accepted=True, reason="AsAsked" if same else "Later", message=words)
            return state
        actor = retry.actor if retry else str((obj["metadata"].get("annotations") or {}).get("mlops-obs.dev/actor") or "kubernetes")
        fresh = new_state(key[1], spec, self._clock(), actor)
        if retry is not None and retry.reason:
            fresh = fresh.model_copy(update={"override": retry.reason})
        words = f"retry asked by {retry.actor}: {retry.reason}" if retry else "started"
        now = self._clock()

        def accepted(status: dict[str, Any]) -> None:
            set_condition(status, ACCEPTED, True, "AsAsked", "as it runs", now, generation)

        return store.begin(key[1], fresh, lambda one: _start(one, words), token, accepted).state

    def _done(self, state: RolloutState) -> bool:
        """Nothing is left to do: it is over, people have been told, and no late change of ours can still appear."""
        return state.over and not state.outbox and not guarded(state, self._clock())

    def _given_back(self, state: RolloutState) -> bool:
        """The traffic is where it belongs. Only a first step that was never seen to arrive is waited for a little longer."""
        return state.over and not state.outbox and not (state.step_started_at is None and guarded(state, self._clock()))

    def _wants_another(self, obj: Object, state: RolloutState) -> bool:
        return identity(obj.get("spec") or {}) != identity(state.spec.model_dump())

    def _parse(self, obj: Object) -> Rollout:
        document = {
            "apiVersion": ROLLOUTS.api_version,
            "kind": ROLLOUTS.kind,
            "metadata": {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]},
            "spec": obj.get("spec"),
        }
        spec = parse_document(document).spec
        where = f"rollout {obj['metadata']['namespace']}/{obj['metadata']['name']}"
        if spec.target is None:
            raise SpecError("OBS-KUBE-015", "it names no target", where=where, todo="add spec.target")
        namespace = getattr(spec.target.chosen, "namespace", None)
        if namespace not in (None, obj["metadata"]["namespace"]) and not self._foreign:
            what = f"its target is in namespace {namespace}, and whoever may write Rollouts here may not move traffic there"
            todo = "create it there, or start the operator with --allow-foreign-targets"
            raise SpecError("OBS-KUBE-016", what, where=where, todo=todo)
        ray = spec.target.ray_serve
        if ray is not None and (ray.import_path, ray.address) not in self._ray_serve:
            what = f"this operator runs no code of {ray.import_path} against the Ray cluster {ray.address}"
            todo = f"whoever runs the operator may start it with --allow-ray-serve {ray.import_path}@{ray.address}"
            raise SpecError("OBS-KUBE-020", what, where=where, todo=todo)
        return spec

    def _accept(self, key: Key, store: KubernetesRolloutStore, obj: Object, *, accepted: bool, reason: str, message: str) -> None:
        generation, now = int(obj["metadata"].get("generation") or 0), self._clock()

        def change(status: dict[str, Any]) -> None:
            status["observedGeneration"] = generation
            set_condition(status, ACCEPTED, accepted, reason, message, now, generation)
            if not accepted and not status.get("state"):
                status.update(phase="Refused", message=message)

        store.note(key[1], change)
        if not accepted:
            self._events.emit(Event(obj, f"spec-{generation}", "Warning", "SpecRefused", message, now))

    def _tell_of_nonsense(self, key: Key, obj: Object) -> None:
        """A request that cannot be read is told of once; it is never guessed at."""
        wrong = open_requests(obj)[1]
        if wrong != self._ignored.get(key, []):
            self._ignored[key] = wrong
            for one in wrong:
                name = f"request-{hashlib.sha256(one.encode()).hexdigest()[:10]}"
                self._events.emit(Event(obj, name, "Warning", "RequestIgnored", one, self._clock()))

    # --- the object -------------------------------------------------------------------------------------------

    def _hold_on(self, store: KubernetesRolloutStore, obj: Object) -> Object:
        """Put the finalizer on before anything touches the traffic."""
        meta = obj["metadata"]
        if FINALIZER in (meta.get("finalizers") or []):
            return obj
        held = self._patch_finalizers(obj, [*(meta.get("finalizers") or []), FINALIZER])
        store.take(meta["name"], held)
        return held

    def _let_go(self, key: Key, obj: Object, why: str) -> Looked:
        self._keep_records(key, obj)
        current = self._fresh(obj)
        if FINALIZER in (current["metadata"].get("finalizers") or []):
            self._patch_finalizers(current, [one for one in current["metadata"]["finalizers"] if one != FINALIZER])
        self._events.emit(Event(obj, "let-go", "Normal", "LetGo", f"the object may be deleted: {why}", self._clock()))
        self.forget(key)
        return Looked(None)

    def _keep_records(self, key: Key, obj: Object) -> None:
        """Save the newest records before the object goes; an account that may not write them must not keep the object for ever."""
        try:
            self._stores(key[0]).drain(key[1])
        except StateError as error:
            if getattr(error.__cause__, "status", None) not in (403, 404, 422) and error.code != "OBS-KUBE-011":
                raise
            self._events.emit(Event(obj, "records-lost", "Warning", "RecordsLost", str(error), self._clock()))

    def _fresh(self, obj: Object) -> Object:
        try:
            return self._api.get(ROLLOUTS, obj["metadata"]["namespace"], obj["metadata"]["name"])
        except ApiError as error:
            if error.not_found:
                return {**obj, "metadata": {**obj["metadata"], "finalizers": []}}
            raise

    def _patch_finalizers(self, obj: Object, wanted: list[str]) -> Object:
        meta = obj["metadata"]
        operations: list[Mapping[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]
        return self._api.patch(ROLLOUTS, meta["namespace"], meta["name"], operations)

    def _controller(self, key: Key, obj: Object, store: KubernetesRolloutStore, state: RolloutState) -> _Running:
        uid, running = str(obj["metadata"]["uid"]), self._running.get(key)
        if running is None or (running.uid, running.rollout) != (uid, state.id):
            target = behind_guard(self._make_target(state.spec), lambda: self._token() is not None)
            running = _Running(uid, state.id, self._make_controller(key[1], store, target, state.spec), target)
            self._running[key] = running
        return running


def _start(state: RolloutState, words: str) -> dict[str, Any]:
    return make_record("request", state, at=state.created_at, action="start", reason=words, before=None, after=None, actor=state.actor)


def _refused(obj: Object) -> bool:
    """Tell whether this very spec was refused before."""
    found = condition(obj.get("status") or {}, ACCEPTED) or {}
    return found.get("status") == "False" and found.get("observedGeneration") == int(obj["metadata"].get("generation") or 0)


def _says_gone(error: BaseException) -> bool:
    """Tell whether the platform said that the target itself is not there: an HTTP 404 at the root of the error."""
    seen: BaseException | None = error
    while seen is not None:
        if getattr(seen, "status", None) == 404:
            return True
        seen = seen.__cause__
    return False
