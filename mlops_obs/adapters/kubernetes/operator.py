"""The controller for Kubernetes: threads that elect, watch, look and tell, put together.

Which thread does what: one renews the lease, one watches, one writes events, some look at rollouts. A deploy can take
minutes, a rollback must not wait for it: so deploys have threads of their own, and a rollout that deploys is left alone by
the others. Everything that decides reads `Elector.token()` again right before it writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlops_obs.adapters.kubernetes.api import KubernetesApi
from mlops_obs.adapters.kubernetes.controller_side import key_of
from mlops_obs.adapters.kubernetes.events import Event, EventSink, event_of
from mlops_obs.adapters.kubernetes.informer import Informer, Key
from mlops_obs.adapters.kubernetes.lease import Elector
from mlops_obs.adapters.kubernetes.reconcile import Looked, MakeController, MakeTarget, Reconciler
from mlops_obs.adapters.kubernetes.resources import ROLLOUTS
from mlops_obs.adapters.kubernetes.sample_watch import Newest, SampleWatch
from mlops_obs.adapters.kubernetes.self_metrics import SelfMetrics
from mlops_obs.adapters.kubernetes.store import KubernetesRolloutStore
from mlops_obs.adapters.kubernetes.work_queue import WorkQueue
from mlops_obs.errors import ObsError
from mlops_obs.metric_names import (
    CONTROLLER_DECISIONS,
    CONTROLLER_ERRORS,
    CONTROLLER_LEADER,
    CONTROLLER_QUEUE_DEPTH,
    CONTROLLER_REACTION,
    CONTROLLER_RECONCILE,
    CONTROLLER_RELISTS,
    CONTROLLER_WORK_AGE,
    Reading,
)
from mlops_obs.rollout.log.records import Record
from mlops_obs.rollout.machine.state import RolloutState
from mlops_obs.rollout.readings import rollout_readings

STUCK = 120.0  # seconds that a key may wait for a worker before /healthz says so


@dataclass(frozen=True, slots=True)
class Settings:
    """How much at once, and how often. Seconds."""

    namespace: str = ""
    workers: int = 16
    deploys: int = 16
    interval: float = 1.0
    resync: float = 300.0
    foreign: bool = False
    poll: float = 0.25
    ray_serve: tuple[tuple[str, str], ...] = ()


class Operator:
    """Carries out the Rollouts of one namespace, or of all.

    Args:
        watch: the client of the informer, apart from the others' connections.
        make_target, make_controller: see `Reconciler`.
        newest: up to when each service has been scraped, for looks at the right moment; None: only looks at intervals.
        clock: Unix seconds; `steady` is one that does not jump; `jitter` gives 0 to 1.
        tell: told of each change in words, for the log.
    """

    def __init__(
        self,
        api: KubernetesApi,
        elector: Elector,
        events: EventSink,
        settings: Settings,
        *,
        make_target: MakeTarget,
        make_controller: MakeController,
        metrics: SelfMetrics,
        newest: Newest | None = None,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: 1.0,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._api, self._elector, self._events, self._settings = api, elector, events, settings
        self._clock, self._steady, self._tell, self.metrics = clock, steady, tell, metrics
        self.queue: WorkQueue[Key] = WorkQueue(clock=steady, jitter=jitter)
        self._deploys: WorkQueue[Key] = WorkQueue(clock=steady, jitter=jitter)
        self._deploying: set[Key] = set()
        self.informer = Informer(api, ROLLOUTS, settings.namespace, self.queue.add, resync=settings.resync, jitter=jitter, clock=steady)
        self._stores: dict[str, KubernetesRolloutStore] = {}
        self._newest: dict[str, Record] = {}  # newest record with test results, by rollout
        self._held: dict[str, str] = {}  # reason of the last event, by rollout: a hold is told once
        self._words: dict[Key, str] = {}
        self._trouble: dict[Key, str] = {}
        self._lock = threading.Lock()
        self.reconciler = Reconciler(
            api,
            self.store,
            events,
            token=elector.token,
            make_target=make_target,
            make_controller=make_controller,
            clock=clock,
            interval=settings.interval,
            foreign=settings.foreign,
            ray_serve=settings.ray_serve,
        )
        self._samples = SampleWatch(newest, self.queue.add, poll=settings.poll) if newest else None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        metrics.register(self._own_readings)
        metrics.register(self.rollout_readings)

    def store(self, namespace: str) -> KubernetesRolloutStore:
        """Return the store of a namespace."""
        with self._lock:
            if namespace not in self._stores:
                self._stores[namespace] = KubernetesRolloutStore(
                    self._api,
                    namespace,
                    leader=self._elector,
                    cached=lambda name: self.informer.get(namespace, name),
                    saved=self._saved,
                    clock=self._clock,
                )
            return self._stores[namespace]

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all threads."""
        samples = self._samples
        jobs: list[tuple[str, Callable[[], None]]] = [
            ("watch", lambda: self.informer.run(self._stop)),
            ("lead", lambda: self._elector.run(self._stop)),
            ("tell", lambda: self._events.run(self._stop)),
            *([("samples", lambda: samples.run(self._stop))] if samples else []),
            *((f"look-{number}", lambda: self._work(self.queue, self._look)) for number in range(self._settings.workers)),
            *((f"deploy-{number}", lambda: self._work(self._deploys, self._deploy)) for number in range(self._settings.deploys)),
        ]
        for name, job in jobs:
            thread = threading.Thread(target=job, name=f"operator-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float = 20.0) -> bool:
        """Let the looks in flight end, then give the lease back; tell whether all ended within `seconds`.

        The order matters: a lease given back while a look is in flight would let the next leader begin beside it.
        """
        self.queue.close()
        self._deploys.close()
        until = self._steady() + seconds
        workers = [one for one in self._threads if "look-" in one.name or "deploy-" in one.name]
        for thread in workers:
            thread.join(max(0.0, until - self._steady()))
        ended = not any(thread.is_alive() for thread in workers)
        if not ended:
            return False  # the lease runs out by itself; whoever waits for it may trust it
        self._stop.set()
        next(one for one in self._threads if one.name == "operator-lead").join(max(1.0, until - self._steady()))
        return True

    def led(self, leads: bool) -> None:
        """Take note that leadership began or ended: the `tell` of the elector."""
        self._tell("leads" if leads else "leads no longer; stands by")
        if leads:
            self.reconciler.reset()
            with self._lock:
                self._stores = {}
                self._newest = {}
            for key in self.informer.known():
                self.queue.add(key)

    def healthy(self) -> str:
        """Return what is wrong with this process; empty if its threads move."""
        dead = [one.name for one in self._threads if not one.is_alive()]
        if dead and not self._stop.is_set():
            return f"threads ended: {', '.join(dead)}"
        return f"a rollout has waited {self.queue.age():.0f} s for a worker" if self.queue.age() > STUCK else ""

    def ready(self) -> str:
        """Return why no work can be done; empty if the rollouts have been listed."""
        return "" if self.informer.synced.is_set() else self.informer.problem or "rollouts are being listed"

    # --- looking ----------------------------------------------------------------------------------------------

    def _work(self, queue: WorkQueue[Key], look: Callable[[Key], None]) -> None:
        while (key := queue.get()) is not None:
            try:
                look(key)
            finally:
                queue.done(key)

    def _look(self, key: Key) -> None:
        with self._lock:
            deploying = key in self._deploying
        if deploying:
            self.queue.add_after(key, self._settings.interval)
            return
        looked = self._guarded(key, lambda: self.reconciler.look(key, may_deploy=False))
        if looked is None:
            return
        if looked.deploying:
            with self._lock:
                self._deploying.add(key)
            self._deploys.add(key)
        elif looked.again is not None:
            pause = looked.again and max(looked.again, self._patience(key, looked.state))
            self.queue.add_after(key, pause) if pause else self.queue.add(key)
        else:
            self._leave(key)

    def _leave(self, key: Key) -> None:
        """Stop watching a rollout that needs nothing now; drop what is remembered of an object that is gone."""
        if self._samples:
            self._samples.forget(key)
        if self.informer.get(*key) is None:
            self.queue.forget(key)
            for memory in (self._words, self._trouble):
                memory.pop(key, None)
            for told in (self._newest, self._held):
                for rollout in [one for one in told if key_of(one) == key[1]]:
                    told.pop(rollout, None)

    def _patience(self, key: Key, state: RolloutState | None) -> float:
        """Return how long a rollout may be left alone that will be looked at when its next slice is complete."""
        if self._samples is None or state is None or state.over or state.goal != "forward" or state.step_started_at is None:
            return 0.0
        assert state.began_at is not None  # noqa: S101 - a step has started
        self._samples.follow(key, state.spec.service, state.began_at, state.spec.slice)
        return state.spec.slice + self._settings.interval if self._samples.works else 0.0

    def _deploy(self, key: Key) -> None:
        try:
            looked = self._guarded(key, lambda: self.reconciler.look(key))
        finally:
            with self._lock:
                self._deploying.discard(key)
        if looked is not None and looked.again is not None:
            self.queue.add_after(key, looked.again)

    def _guarded(self, key: Key, look: Callable[[], Looked]) -> Looked | None:
        """Look, measure, and turn every failure into a later look."""
        began, code = self._steady(), ""
        try:
            looked = look()
        except ObsError as error:
            code, words = error.code, str(error)
        except Exception as error:  # noqa: BLE001 - a surprise in an adapter must not end the protection of the others
            code, words = "unexpected", f"unexpected {type(error).__name__}: {error}"
        self.metrics.observe(CONTROLLER_RECONCILE, self._steady() - began, "error" if code else "ok")
        if code:
            self.metrics.count(CONTROLLER_ERRORS, code)
            self._complain(key, code, words)
            self.queue.failed(key)
            return None
        self.queue.succeeded(key)
        self._trouble.pop(key, None)
        if looked.state is not None:
            self._say(key, looked.state)
        return looked

    def _say(self, key: Key, state: RolloutState) -> None:
        words = f"{state.id} {state.phase} {state.spec.canary} {state.weight} %: {state.reason}"
        if self._words.get(key) != words:
            self._words[key] = words
            self._tell(f"{key[0]}/{words}")

    def _complain(self, key: Key, code: str, words: str) -> None:
        if code in ("OBS-ROLL-012", "OBS-ROLL-013") or self._trouble.get(key) == code:
            return  # a conflict is no trouble: it is looked at again
        self._trouble[key] = code
        self._tell(f"{key[0]}/{key[1]}: {words}")
        obj = self.informer.get(*key)
        if obj is not None:
            self._events.emit(Event(obj, f"{code.lower()}-{int(self._clock())}", "Warning", "LookFailed", words, self._clock()))

    # --- telling ----------------------------------------------------------------------------------------------

    def _saved(self, about: dict[str, object], records: list[Record]) -> None:
        for record in records:
            if record["kind"] == "decision":
                self.metrics.count(CONTROLLER_DECISIONS, record["action"])
            evidence = record.get("evidence") or {}
            if evidence.get("tests"):
                self._newest[record["rollout"]] = record
            # Not the record of a later look in which the target confirms the change.
            changed = record["kind"] == "result" and record["ok"] and record["weights_after"] != record["weights_before"]
            if changed and record["action"] in ("advance", "rollback") and evidence.get("until"):
                self.metrics.observe(CONTROLLER_REACTION, max(0.0, record["at"] - evidence["until"]), record["action"])
            event = event_of(about, record)
            if event is None or (event.reason == "Holding" and self._held.get(record["rollout"]) == "Holding"):
                continue
            self._held[record["rollout"]] = event.reason
            self._events.emit(event)

    def rollout_readings(self) -> Iterable[Reading]:
        """Return the metrics of the newest rollout of each service; none while another process leads, or each would be told of twice."""
        if self._elector.token() is None:
            return
        newest: dict[str, tuple[float, Key, RolloutState]] = {}
        for key in self.informer.known():
            for state in self.store(key[0]).rollouts(key[1])[-1:]:
                if state.updated_at >= newest.get(state.spec.service, (-1.0,))[0]:
                    newest[state.spec.service] = (state.updated_at, key, state)
        for _, key, state in newest.values():
            yield from rollout_readings(state, self.store(key[0]).summary(key[1]), self._newest.get(state.id))

    def _own_readings(self) -> Iterable[Reading]:
        yield Reading(CONTROLLER_QUEUE_DEPTH, {}, float(self.queue.depth()))
        yield Reading(CONTROLLER_WORK_AGE, {}, self.queue.age())
        yield Reading(CONTROLLER_LEADER, {}, float(self._elector.token() is not None))
        yield Reading(CONTROLLER_RELISTS, {}, float(self.informer.relists))
