"""The embedded engine: scrape, evaluate, page, with nothing installed but Python.

It reads the same `/metrics`, evaluates the same SLOs (`mlops_obs.slo.verdict`) and posts the same webhook document as
Prometheus with Alertmanager, for laptops and small machines. Two threads: one scrapes and evaluates, one delivers.
The trap: a webhook that hangs must never delay a scrape, or an outage of the pager would look like an outage of the model.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_obs.adapters import alert_groups
from mlops_obs.adapters.alert_groups import Firing, Group, Timing
from mlops_obs.adapters.http_client import Unreachable, fetch
from mlops_obs.adapters.sample_store import EmbeddedCounters, SampleStore
from mlops_obs.adapters.scrape import discovered, scrape
from mlops_obs.errors import ObsError
from mlops_obs.paging.plan import STANDARD, plan_of
from mlops_obs.slo.counters import CounterSource

if TYPE_CHECKING:
    from mlops_obs.slo.annotations import Links
    from mlops_obs.slo.spec import SLO

__all__ = ["EmbeddedCounters", "EmbeddedEngine", "Timing"]

log = logging.getLogger(__name__)
_GROUPS = "alert_groups"
_HOUSEKEEPING_SECONDS = 30.0
_WEBHOOK_TIMEOUT = 10.0
_FIRST_RETRY, _LAST_RETRY = 0.5, 30.0
Evaluate = Callable[[CounterSource, float], Sequence[Firing]]


class EmbeddedEngine:
    """Scrapes every discovered target each `interval` seconds, evaluates `slos`, and pages `webhook_url` once per incident.

    Args:
        db: SQLite file for samples and open incidents; created if absent.
        discovery_dir: folder of file_sd JSON files.
        slos: the SLOs to evaluate.
        links: base addresses of dashboards and runbooks, for the page.
        webhook_url: receives Alertmanager v4 webhook documents.
        interval: seconds between scrapes, and between evaluations.
        timing: group wait, group interval and repeat interval.
        prune: removes discovery files of dead processes; called every 30 s.
        evaluate: what fires now, given counters and Unix time; by default the SLO verdicts.

    Raises:
        StateError: OBS-STORE-001 if `db` cannot be written.
        SpecErrors: OBS-SLO-050 for SLOs whose events only a Prometheus can count.
    """

    def __init__(
        self,
        db: Path,
        discovery_dir: Path,
        slos: Sequence[SLO],
        links: Links | None,
        webhook_url: str,
        interval: float = 5.0,
        *,
        timing: Timing | None = None,
        prune: Callable[[Path], object] | None = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        self._store = SampleStore(db)
        self._counters = EmbeddedCounters(db)
        self._discovery_dir = discovery_dir
        self._webhook_url = webhook_url
        self._interval = interval
        self._timing = timing or Timing()
        # Without SLOs of its own the engine still routes and silences what it is given.
        self._plan = plan_of(slos) if slos else STANDARD
        self._prune = prune
        self._evaluate = evaluate or _verdicts(slos, links)
        self._lock = threading.Lock()
        self._groups = alert_groups.from_document(json.loads(self._store.document(_GROUPS) or "{}"))
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to scrape and to deliver, in two daemon threads."""
        for work in (self._watch, self._deliver):
            thread = threading.Thread(target=work, name=f"monitor{work.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End both threads and close the file; a delivery in flight is given its time."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_WEBHOOK_TIMEOUT + 5)
        self._store.close()

    def __enter__(self) -> EmbeddedEngine:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def round(self, now: float) -> None:
        """Scrape every target, then evaluate at Unix time `now`. One round of the loop; raises no ObsError, logs it."""
        try:
            self._scrape(now)
            firing = self._evaluate(self._counters, now)
            with self._lock:
                self._groups = alert_groups.fold(self._groups, firing, now, self._plan)
                self._save()
        except ObsError as error:
            # Ignorance: alerts keep the state they had. They neither fire nor resolve on a guess.
            log.error("round skipped: %s", error)

    def _scrape(self, now: float) -> None:
        targets = discovered(self._discovery_dir)
        if not targets:
            return
        # Like Prometheus, a scrape may not take longer than the time until the next.
        with ThreadPoolExecutor(min(8, len(targets)), "scrape") as pool:
            found = list(pool.map(lambda target: scrape(target, min(self._interval, 10.0)), targets))
        self._store.append((sample, now) for samples in found for sample in samples)

    def _watch(self) -> None:
        next_round, next_care = time.monotonic(), time.monotonic() + _HOUSEKEEPING_SECONDS
        while not self._stopping.wait(max(0.0, next_round - time.monotonic())):
            next_round = max(next_round + self._interval, time.monotonic())
            try:
                self.round(time.time())
                if time.monotonic() >= next_care:
                    next_care += _HOUSEKEEPING_SECONDS
                    self._store.thin(time.time())
                    if self._prune is not None:
                        self._prune(self._discovery_dir)
            except Exception:
                # The watcher outlives any fault of one round: a monitor that died in silence is worse than a lost sample.
                log.exception("round failed")

    def _deliver(self) -> None:
        retry_at: dict[str, float] = {}
        pause: dict[str, float] = {}
        while not self._stopping.wait(0.1):
            with self._lock:
                groups = list(self._groups.values())
            for group in groups:
                if time.monotonic() < retry_at.get(group.key, 0.0) or not alert_groups.due(group, time.time(), self._timing):
                    continue
                if self._told(group):
                    retry_at.pop(group.key, None)
                    pause.pop(group.key, None)
                else:
                    pause[group.key] = min(_LAST_RETRY, pause.get(group.key, _FIRST_RETRY / 2) * 2)
                    retry_at[group.key] = time.monotonic() + pause[group.key]

    def _told(self, group: Group) -> bool:
        try:
            return self._post(group)
        except Exception:
            # The messenger outlives any fault of one message, as the watcher does.
            log.exception("the page was not delivered; it will be tried again")
            return False

    def _post(self, group: Group) -> bool:
        body = json.dumps(alert_groups.payload(group)).encode()
        try:
            answer = fetch(self._webhook_url, timeout=_WEBHOOK_TIMEOUT, body=body, headers={"Content-Type": "application/json"})
        except Unreachable as error:
            log.warning("%s: the page was not delivered (%s); it will be tried again", self._webhook_url, error)
            return False
        if answer.status // 100 != 2:
            log.warning("%s: the page was refused (HTTP %d); it will be tried again", self._webhook_url, answer.status)
            return False
        with self._lock:
            self._groups = alert_groups.delivered(self._groups, group, time.time())
            try:
                self._save()
            except ObsError as error:
                # Told, but not remembered: after a restart the receiver may be told again and dedups by the group key.
                log.error("the delivery was not recorded: %s", error)
        return True

    def _save(self) -> None:
        self._store.keep(_GROUPS, json.dumps(alert_groups.to_document(self._groups)))


def _verdicts(slos: Sequence[SLO], links: Links | None) -> Evaluate:
    from mlops_obs.slo.verdict import check_readable, firing_alerts

    check_readable(slos)  # once, at the start, and not every few seconds in a log
    return lambda source, now: firing_alerts(slos, source, now, links)
